//! A job as its loops see it: the configuration and what is made of it once.

use std::sync::Arc;

use config::{NameEscaping, NameValidation, ScrapeConfig};
use exposition::{Escaping, ScrapeProtocol};
use httpclient::header::{ACCEPT, ACCEPT_ENCODING};
use httpclient::{Client, EnvironmentProxy, HeaderMap, HeaderValue, UnsupportedOption};
use relabel::{Draft, Fields, NameValidationScheme, Rule};

/// Why a configuration that Prometheus takes is refused here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedJob {
    /// An option of the client.
    #[error("scrape config {job:?}: {source}")]
    Client {
        /// The job.
        job: String,
        /// Which option.
        source: UnsupportedOption,
    },
    /// An option of http discovery's client.
    #[error("scrape config {job:?}: http_sd_configs: {source}")]
    Discovery {
        /// The job.
        job: String,
        /// Which option.
        source: UnsupportedOption,
    },
    /// A relabelling rule.
    #[error("scrape config {job:?}: relabelling: {text}")]
    Relabel {
        /// The job.
        job: String,
        /// What is wrong.
        text: String,
    },
    /// A header that cannot be.
    #[error("scrape config {job:?}: a header holds characters that it cannot")]
    Header {
        /// The job.
        job: String,
    },
}

pub(crate) struct JobSettings {
    pub(crate) config: ScrapeConfig,
    pub(crate) client: Client,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) metric_relabel: Vec<Rule>,
    /// Those of each request, but for the timeout.
    pub(crate) headers: HeaderMap,
    pub(crate) fallback: Option<ScrapeProtocol>,
    /// Bytes of a body that are too many.
    pub(crate) body_bytes_limit: usize,
}

impl JobSettings {
    pub(crate) fn new(
        config: &ScrapeConfig,
        environment: &EnvironmentProxy,
        user_agent: &str,
        body_bytes_max: usize,
    ) -> Result<Arc<JobSettings>, RefusedJob> {
        let job = || config.job_name.clone();
        let client = Client::new(&config.http_client, environment, user_agent)
            .map_err(|source| RefusedJob::Client { job: job(), source })?;
        let compile = |rules: &[config::RelabelConfig]| -> Result<Vec<Rule>, RefusedJob> {
            let compiled = rules.iter().map(rule).collect::<Result<_, _>>();
            compiled.map_err(|text| RefusedJob::Relabel { job: job(), text })
        };
        let accept = exposition::accept_header(&protocols(config), escaping(config.name_escaping));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(&accept).map_err(|_| RefusedJob::Header { job: job() })?);
        let encoding = if config.enable_compression { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let limit = usize::try_from(config.limits.body_size.0).unwrap_or(0);
        Ok(Arc::new(JobSettings {
            client,
            relabel: compile(&config.relabel_configs)?,
            metric_relabel: compile(&config.metric_relabel_configs)?,
            headers,
            fallback: config.fallback_scrape_protocol.map(protocol),
            body_bytes_limit: if limit == 0 { body_bytes_max } else { limit.min(body_bytes_max) },
            config: config.clone(),
        }))
    }

    /// Whether what is remembered of a target's pages under `other` is still right here: lines that are known are neither
    /// relabelled nor checked again. Prometheus' `reusableCache` is more careful and forgets at almost every change.
    pub(crate) fn reads_pages_like(&self, other: &JobSettings) -> bool {
        fn relevant(config: &ScrapeConfig) -> impl PartialEq + '_ {
            let limits = &config.limits;
            (
                (config.honor_labels, config.honor_timestamps, config.track_timestamps_staleness),
                (limits.labels, limits.label_name_length, limits.label_value_length),
                (config.name_validation, &config.metric_relabel_configs),
                // The series of the report.
                config.extra_scrape_metrics,
            )
        }
        relevant(&self.config) == relevant(&other.config)
    }
}

/// What to ask for.
fn protocols(config: &ScrapeConfig) -> Vec<ScrapeProtocol> {
    config.scrape_protocols.iter().map(|p| protocol(*p)).collect()
}

fn rule(config: &config::RelabelConfig) -> Result<Rule, String> {
    let scheme = match config.name_validation {
        NameValidation::Legacy => NameValidationScheme::Legacy,
        NameValidation::Utf8 | NameValidation::Unset => NameValidationScheme::Utf8,
    };
    // Some actions refuse fields that are set; what has its default need not be.
    let unless = |value: &str, default: &str| (value != default).then(|| value.to_owned());
    let fields = Fields {
        source_labels: (!config.source_labels.is_empty()).then(|| config.source_labels.clone()),
        separator: unless(&config.separator, config::relabel_config::SEPARATOR_DEFAULT),
        regex: unless(&config.regex, config::relabel_config::REGEX_DEFAULT),
        modulus: (config.modulus != 0).then_some(config.modulus),
        target_label: unless(&config.target_label, ""),
        replacement: unless(&config.replacement, config::relabel_config::REPLACEMENT_DEFAULT),
        action: Some(Some(config.action.as_str().to_owned())),
    };
    Draft::new(fields).map_err(|e| e.to_string())?.validate(scheme).map_err(|e| e.to_string())
}

fn protocol(protocol: config::ScrapeProtocol) -> ScrapeProtocol {
    match protocol {
        config::ScrapeProtocol::PrometheusProto => ScrapeProtocol::PrometheusProto,
        config::ScrapeProtocol::PrometheusText0_0_4 => ScrapeProtocol::PrometheusText0_0_4,
        config::ScrapeProtocol::PrometheusText1_0_0 => ScrapeProtocol::PrometheusText1_0_0,
        config::ScrapeProtocol::OpenMetricsText0_0_1 => ScrapeProtocol::OpenMetricsText0_0_1,
        config::ScrapeProtocol::OpenMetricsText1_0_0 => ScrapeProtocol::OpenMetricsText1_0_0,
    }
}

fn escaping(escaping: NameEscaping) -> Escaping {
    match escaping {
        NameEscaping::AllowUtf8 => Escaping::AllowUtf8,
        NameEscaping::Underscores => Escaping::Underscores,
        NameEscaping::Dots => Escaping::Dots,
        NameEscaping::Values => Escaping::Values,
    }
}
