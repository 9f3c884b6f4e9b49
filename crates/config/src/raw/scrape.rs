//! A scrape configuration: its keys, and what it takes from `global`.

use std::collections::BTreeMap;

use model::DurationMs;

use super::discovery::{RawDiscoveries, check_static_targets};
use super::global::RawGlobal;
use super::http_client::RawHttpClient;
use super::text::{MaybeList, named_string};
use crate::go;
use crate::relabel_config::{RawRelabelConfig, RelabelConfig};
use crate::scheme::{NameEscaping, NameValidation};
use crate::scrape_config::ScrapeProtocol;
use crate::size::ByteSize;
use crate::yaml::{Refusal, record, refuse_at};

named_string! {
    /// The name of an exposition format; unknown ones are refused once the job is checked.
    pub(crate) struct ProtocolName as "config.ScrapeProtocol"
}

record! {
    /// One entry of `scrape_configs`.
    pub(crate) struct RawScrapeConfig as "config.ScrapeConfig" in "config.ScrapeConfig" [reset = RawScrapeConfig::defaults, check = RawScrapeConfig::check] {
        job_name: String = "job_name" [];
        honor_labels: bool = "honor_labels" [omit];
        honor_timestamps: bool = "honor_timestamps" [];
        track_timestamps_staleness: bool = "track_timestamps_staleness" [];
        params: BTreeMap<String, Vec<String>> = "params" [omit];
        scrape_interval: DurationMs = "scrape_interval" [omit];
        scrape_timeout: DurationMs = "scrape_timeout" [omit];
        scrape_protocols: MaybeList<ProtocolName> = "scrape_protocols" [omit];
        fallback_scrape_protocol: ProtocolName = "fallback_scrape_protocol" [omit];
        scrape_native_histograms: Option<bool> = "scrape_native_histograms" [omit];
        always_scrape_classic_histograms: Option<bool> = "always_scrape_classic_histograms" [omit];
        convert_classic_histograms_to_nhcb: Option<bool> = "convert_classic_histograms_to_nhcb" [omit];
        scrape_failure_log_file: String = "scrape_failure_log_file" [omit, path];
        metrics_path: String = "metrics_path" [omit];
        scheme: String = "scheme" [omit];
        enable_compression: bool = "enable_compression" [];
        body_size_limit: ByteSize = "body_size_limit" [omit];
        sample_limit: u64 = "sample_limit" [omit];
        target_limit: u64 = "target_limit" [omit];
        label_limit: u64 = "label_limit" [omit];
        label_name_length_limit: u64 = "label_name_length_limit" [omit];
        label_value_length_limit: u64 = "label_value_length_limit" [omit];
        native_histogram_bucket_limit: u64 = "native_histogram_bucket_limit" [omit];
        native_histogram_min_bucket_factor: f64 = "native_histogram_min_bucket_factor" [omit];
        keep_dropped_targets: u64 = "keep_dropped_targets" [omit];
        metric_name_validation_scheme: NameValidation = "metric_name_validation_scheme" [omit];
        metric_name_escaping_scheme: String = "metric_name_escaping_scheme" [omit];
        extra_scrape_metrics: Option<bool> = "extra_scrape_metrics" [omit];
        http_client: RawHttpClient = inline [];
        relabel_configs: Vec<Option<RawRelabelConfig>> = "relabel_configs" [omit];
        metric_relabel_configs: Vec<Option<RawRelabelConfig>> = "metric_relabel_configs" [omit];
        discoveries: RawDiscoveries = inline [];
    }
}

impl RawScrapeConfig {
    fn defaults() -> RawScrapeConfig {
        RawScrapeConfig {
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            honor_timestamps: true,
            http_client: RawHttpClient::defaults(),
            enable_compression: true,
            ..RawScrapeConfig::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        self.discoveries.check()?;
        if self.job_name.is_empty() {
            return refuse_at("job_name", "job_name is empty");
        }
        self.http_client.check()?;
        // With relabelling, an address may become one only then.
        if self.relabel_configs.is_empty() {
            check_static_targets(&self.discoveries.static_configs)?;
        }
        if self.relabel_configs.contains(&None) {
            return refuse_at("relabel_configs", "empty or null target relabeling rule in scrape config");
        }
        if self.metric_relabel_configs.contains(&None) {
            return refuse_at("metric_relabel_configs", "empty or null metric relabeling rule in scrape config");
        }
        Ok(())
    }

    fn inherit(&mut self, global: &RawGlobal) {
        inherit(&mut self.body_size_limit, &global.body_size_limit);
        inherit(&mut self.sample_limit, &global.sample_limit);
        inherit(&mut self.target_limit, &global.target_limit);
        inherit(&mut self.label_limit, &global.label_limit);
        inherit(&mut self.label_name_length_limit, &global.label_name_length_limit);
        inherit(&mut self.label_value_length_limit, &global.label_value_length_limit);
        inherit(&mut self.keep_dropped_targets, &global.keep_dropped_targets);
        inherit(&mut self.scrape_failure_log_file, &global.scrape_failure_log_file);
        inherit(&mut self.scrape_native_histograms, &global.scrape_native_histograms);
        inherit(&mut self.extra_scrape_metrics, &global.extra_scrape_metrics);
        inherit(&mut self.convert_classic_histograms_to_nhcb, &Some(global.convert_classic_histograms_to_nhcb));
        inherit(&mut self.always_scrape_classic_histograms, &Some(global.always_scrape_classic_histograms));
    }

    fn settle_protocols(&mut self, global: &RawGlobal) -> Result<(), Refusal> {
        if self.scrape_protocols.0.is_none() {
            let histograms = self.scrape_native_histograms == Some(true);
            let default =
                if histograms { &ScrapeProtocol::WITH_NATIVE_HISTOGRAMS[..] } else { &ScrapeProtocol::DEFAULT[..] };
            let default = || default.iter().map(|p| ProtocolName(p.as_str().to_owned())).collect();
            self.scrape_protocols.0 = Some(global.scrape_protocols.0.clone().unwrap_or_else(default));
        }
        let job = go::quote(&self.job_name);
        check_protocols(self.scrape_protocols.0.as_deref().unwrap_or_default())
            .or_else(|e| refuse_at("scrape_protocols", format!("{e} for scrape config with job name {job}")))?;
        if !self.fallback_scrape_protocol.0.is_empty() {
            check_protocol(&self.fallback_scrape_protocol).or_else(|e| {
                let text = format!("invalid fallback_scrape_protocol for scrape config with job name {job}: {e}");
                refuse_at("fallback_scrape_protocol", text)
            })?;
        }
        Ok(())
    }

    fn settle_names(&mut self, global: &RawGlobal) -> Result<(), Refusal> {
        let own_validation = self.metric_name_validation_scheme != NameValidation::Unset;
        if !own_validation {
            self.metric_name_validation_scheme = global.metric_name_validation_scheme;
        }
        let follows = |validation: NameValidation| {
            let escaping = match validation {
                NameValidation::Legacy => NameEscaping::Underscores,
                NameValidation::Utf8 | NameValidation::Unset => NameEscaping::AllowUtf8,
            };
            escaping.as_str().to_owned()
        };
        let mut global_escaping = global.metric_name_escaping_scheme.clone();
        if global_escaping.is_empty() {
            global_escaping = follows(global.metric_name_validation_scheme);
        }
        check_escaping("global name", &global_escaping)?;
        if self.metric_name_escaping_scheme.is_empty() {
            // A job that narrows its validation does not inherit an escaping that contradicts it.
            self.metric_name_escaping_scheme =
                if own_validation { follows(self.metric_name_validation_scheme) } else { global_escaping };
        }
        let escaping = check_escaping("scrape config name", &self.metric_name_escaping_scheme)?;
        if escaping == NameEscaping::AllowUtf8 && self.metric_name_validation_scheme != NameValidation::Utf8 {
            let text = "utf8 metric names requested but validation scheme is not set to UTF8";
            return refuse_at("metric_name_escaping_scheme", text);
        }
        Ok(())
    }

    fn settle(&mut self, global: &RawGlobal) -> Result<(), Refusal> {
        inherit(&mut self.scrape_interval, &global.scrape_interval);
        if self.scrape_timeout > self.scrape_interval {
            let job = go::quote(&self.job_name);
            let text = format!("scrape timeout greater than scrape interval for scrape config with job name {job}");
            return refuse_at("scrape_timeout", text);
        }
        let timeout = global.scrape_timeout.min(self.scrape_interval);
        inherit(&mut self.scrape_timeout, &timeout);
        self.inherit(global);
        self.settle_protocols(global)?;
        self.settle_names(global)
    }

    /// The checked rules of one of the two lists.
    pub(crate) fn rules(
        list: &[Option<RawRelabelConfig>],
        scheme: NameValidation,
    ) -> Result<Vec<RelabelConfig>, Refusal> {
        list.iter().flatten().map(|rule| rule.validate(scheme)).collect()
    }
}

/// Go's `ScrapeConfig.Validate`: takes from `global` what the job does not say, and checks the result.
pub(crate) fn validate<'a>(
    job: Option<&'a mut RawScrapeConfig>,
    global: &RawGlobal,
) -> Result<&'a mut RawScrapeConfig, Refusal> {
    let Some(job) = job else { return refuse_at("scrape_configs", "empty or null scrape config section") };
    job.settle(global).map_err(|refusal| refusal.moved_to(job.at))?;
    RawScrapeConfig::rules(&job.relabel_configs, job.metric_name_validation_scheme)?;
    RawScrapeConfig::rules(&job.metric_relabel_configs, job.metric_name_validation_scheme)?;
    Ok(job)
}

fn inherit<T: crate::yaml::Encode + Clone>(own: &mut T, global: &T) {
    if own.is_zero() {
        own.clone_from(global);
    }
}

fn check_escaping(whose: &str, text: &str) -> Result<NameEscaping, Refusal> {
    match NameEscaping::parse(text) {
        Some(escaping) => Ok(escaping),
        None => refuse_at(
            "metric_name_escaping_scheme",
            format!(
                "unknown {whose} escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or \
                 'values', got {}",
                go::quote(text)
            ),
        ),
    }
}

/// A list of protocols to ask for: not empty, known, each once.
pub(crate) fn check_protocols(protocols: &[ProtocolName]) -> Result<(), String> {
    if protocols.is_empty() {
        return Err("scrape_protocols cannot be empty".to_owned());
    }
    let mut seen = Vec::new();
    for protocol in protocols {
        let lower = protocol.0.to_lowercase();
        if seen.contains(&lower) {
            let all: Vec<&str> = protocols.iter().map(|p| p.0.as_str()).collect();
            return Err(format!("duplicated protocol in scrape_protocols, got [{}]", all.join(" ")));
        }
        check_protocol(protocol).map_err(|e| format!("scrape_protocols: {e}"))?;
        seen.push(lower);
    }
    Ok(())
}

fn check_protocol(protocol: &ProtocolName) -> Result<(), String> {
    if ScrapeProtocol::parse(&protocol.0).is_some() {
        return Ok(());
    }
    let mut known: Vec<&str> = ScrapeProtocol::ALL.iter().map(|p| p.as_str()).collect();
    known.sort_unstable();
    Err(format!("unknown scrape protocol {}, supported: [{}]", protocol.0, known.join(" ")))
}
