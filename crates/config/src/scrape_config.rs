//! A job: what it scrapes, how, and what becomes of it.

use std::collections::BTreeMap;

use model::DurationMs;

use crate::discovery::ServiceDiscovery;
use crate::http_client::HttpClientConfig;
use crate::raw::scrape::RawScrapeConfig;
use crate::relabel_config::RelabelConfig;
use crate::scheme::{NameEscaping, NameValidation};
use crate::size::ByteSize;
use crate::yaml::Refusal;

/// An exposition format, as `scrape_protocols` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// Delimited `io.prometheus.client.MetricFamily` messages.
    PrometheusProto,
    /// The text format.
    PrometheusText0_0_4,
    /// The text format with quoted names.
    PrometheusText1_0_0,
    /// OpenMetrics before its first release.
    OpenMetricsText0_0_1,
    /// OpenMetrics.
    OpenMetricsText1_0_0,
}

impl ScrapeProtocol {
    /// All of them.
    pub const ALL: [ScrapeProtocol; 5] = [
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::PrometheusText0_0_4,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::OpenMetricsText1_0_0,
    ];

    /// What is asked for where nothing is said, the most wanted first.
    pub const DEFAULT: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];

    /// The same where native histograms are scraped, which only protobuf carries.
    pub const WITH_NATIVE_HISTOGRAMS: [ScrapeProtocol; 5] = [
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];

    /// As it is written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => "PrometheusProto",
            ScrapeProtocol::PrometheusText0_0_4 => "PrometheusText0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "PrometheusText1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The media type to put into `Accept`.
    pub fn header(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            ScrapeProtocol::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// The protocol of that name; case counts.
    pub fn parse(text: &str) -> Option<ScrapeProtocol> {
        ScrapeProtocol::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// Bounds of one job; 0 is no bound, as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapeLimits {
    /// Bytes of a body, uncompressed; a larger one fails the scrape.
    pub body_size: ByteSize,
    /// Samples after relabelling; more fail the scrape.
    pub samples: u64,
    /// Targets after relabelling; more fail all scrapes of the job.
    pub targets: u64,
    /// Labels of a series after relabelling; more fail the scrape.
    pub labels: u64,
    /// Bytes of a label's name; more fail the scrape.
    pub label_name_length: u64,
    /// Bytes of a label's value; more fail the scrape.
    pub label_value_length: u64,
    /// Buckets of a native histogram; more are merged.
    pub native_histogram_buckets: u64,
    /// Growth from one bucket to the next of a native histogram; finer ones are merged.
    pub native_histogram_min_bucket_factor: f64,
    /// Dropped targets that are remembered.
    pub keep_dropped_targets: u64,
}

/// A job, with everything that `global` says filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// Its name: the `job` label; unique.
    pub job_name: String,
    /// Labels in a page win over those of the target.
    pub honor_labels: bool,
    /// Timestamps in a page count.
    pub honor_timestamps: bool,
    /// Series with timestamps of their own become stale, too.
    pub track_timestamps_staleness: bool,
    /// Parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Time from one scrape to the next.
    pub scrape_interval: DurationMs,
    /// Time for one scrape; not above the interval.
    pub scrape_timeout: DurationMs,
    /// What to ask for, the most wanted first; not empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// How to read a page that does not say what it is.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Native histograms are taken.
    pub scrape_native_histograms: bool,
    /// Classic histograms are taken beside native ones.
    pub always_scrape_classic_histograms: bool,
    /// Classic histograms become native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Where failed scrapes are logged.
    pub scrape_failure_log_file: Option<String>,
    /// The path of the URL.
    pub metrics_path: String,
    /// The scheme of the URL.
    pub scheme: String,
    /// gzip is asked for.
    pub enable_compression: bool,
    /// Bounds.
    pub limits: ScrapeLimits,
    /// Which names are allowed.
    pub name_validation: NameValidation,
    /// How other names are asked for.
    pub name_escaping: NameEscaping,
    /// `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` are stored.
    pub extra_scrape_metrics: bool,
    /// How to connect.
    pub http_client: HttpClientConfig,
    /// What happens to targets.
    pub relabel_configs: Vec<RelabelConfig>,
    /// What happens to samples.
    pub metric_relabel_configs: Vec<RelabelConfig>,
    /// Where targets come from: those mechanisms that Narthex runs.
    pub service_discoveries: Vec<ServiceDiscovery>,
}

impl ScrapeConfig {
    pub(crate) fn from_raw(raw: &RawScrapeConfig) -> Result<ScrapeConfig, Refusal> {
        let scheme = raw.metric_name_validation_scheme;
        Ok(ScrapeConfig {
            job_name: raw.job_name.clone(),
            honor_labels: raw.honor_labels,
            honor_timestamps: raw.honor_timestamps,
            track_timestamps_staleness: raw.track_timestamps_staleness,
            params: raw.params.clone(),
            scrape_interval: raw.scrape_interval,
            scrape_timeout: raw.scrape_timeout,
            scrape_protocols: raw
                .scrape_protocols
                .0
                .iter()
                .flatten()
                .filter_map(|p| ScrapeProtocol::parse(&p.0))
                .collect(),
            fallback_scrape_protocol: ScrapeProtocol::parse(&raw.fallback_scrape_protocol.0),
            scrape_native_histograms: raw.scrape_native_histograms == Some(true),
            always_scrape_classic_histograms: raw.always_scrape_classic_histograms == Some(true),
            convert_classic_histograms_to_nhcb: raw.convert_classic_histograms_to_nhcb == Some(true),
            scrape_failure_log_file: given(&raw.scrape_failure_log_file),
            metrics_path: raw.metrics_path.clone(),
            scheme: raw.scheme.clone(),
            enable_compression: raw.enable_compression,
            limits: ScrapeLimits {
                body_size: raw.body_size_limit,
                samples: raw.sample_limit,
                targets: raw.target_limit,
                labels: raw.label_limit,
                label_name_length: raw.label_name_length_limit,
                label_value_length: raw.label_value_length_limit,
                native_histogram_buckets: raw.native_histogram_bucket_limit,
                native_histogram_min_bucket_factor: raw.native_histogram_min_bucket_factor,
                keep_dropped_targets: raw.keep_dropped_targets,
            },
            name_validation: scheme,
            name_escaping: NameEscaping::parse(&raw.metric_name_escaping_scheme).unwrap_or_default(),
            extra_scrape_metrics: raw.extra_scrape_metrics == Some(true),
            http_client: HttpClientConfig::from_raw(&raw.http_client),
            relabel_configs: RawScrapeConfig::rules(&raw.relabel_configs, scheme)?,
            metric_relabel_configs: RawScrapeConfig::rules(&raw.metric_relabel_configs, scheme)?,
            service_discoveries: ServiceDiscovery::from_raw(&raw.discoveries),
        })
    }
}

/// A text, if there is one.
pub(crate) fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
