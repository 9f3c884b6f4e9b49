//! `prometheus.yml` as Prometheus' Go structs hold it: every key that Prometheus 3.14 knows, with its defaults, its own
//! checks and its printed form. Nothing outside of this crate sees these types; [`crate::load`] turns those that Narthex
//! acts on into the public ones.

mod alerting;
pub(crate) mod discovery;
pub(crate) mod global;
pub(crate) mod http_client;
mod otlp;
mod remote;
pub(crate) mod scrape;
pub(crate) mod storage;
pub(crate) mod text;
mod tracing;

use std::collections::HashSet;

use crate::go;
use crate::yaml::{Encode, Refusal, record, refuse_at};
use alerting::RawAlerting;
use global::RawGlobal;
use otlp::RawOtlp;
use remote::{RawRemoteRead, RawRemoteWrite};
use scrape::RawScrapeConfig;
use storage::RawStorage;
use tracing::RawTracing;

record! {
    /// The whole file.
    pub(crate) struct RawConfig as "config.Config" in "config.plain" [reset = RawConfig::defaults, check = RawConfig::check] {
        global: RawGlobal = "global" [];
        runtime: RawRuntime = "runtime" [omit];
        alerting: RawAlerting = "alerting" [omit];
        rule_files: Vec<String> = "rule_files" [omit, path];
        scrape_config_files: Vec<String> = "scrape_config_files" [omit, path];
        scrape_configs: Vec<Option<RawScrapeConfig>> = "scrape_configs" [omit];
        storage: RawStorage = "storage" [omit];
        tracing: RawTracing = "tracing" [omit];
        remote_write: Vec<Option<RawRemoteWrite>> = "remote_write" [omit];
        remote_read: Vec<Option<RawRemoteRead>> = "remote_read" [omit];
        otlp: RawOtlp = "otlp" [omit];
    }
}

record! {
    /// What tunes the Go runtime.
    pub(crate) struct RawRuntime as "config.RuntimeConfig" in "config.RuntimeConfig" [] {
        gogc: i64 = "gogc" [omit];
    }
}

record! {
    /// A file named by `scrape_config_files`.
    pub(crate) struct RawScrapeConfigs as "config.ScrapeConfigs" in "config.ScrapeConfigs" [] {
        scrape_configs: Vec<Option<RawScrapeConfig>> = "scrape_configs" [omit];
    }
}

impl RawConfig {
    pub(crate) fn defaults() -> RawConfig {
        RawConfig { global: RawGlobal::defaults(), otlp: RawOtlp::defaults(), ..RawConfig::default() }
    }

    /// What is checked once all blocks are read. Places are those of the blocks, as far as a mapping's key can say them;
    /// refusals inside a list carry the place themselves.
    pub(crate) fn check(&mut self) -> Result<(), Refusal> {
        // An empty block has overwritten the defaults.
        if self.global.is_zero() {
            self.global = RawGlobal::defaults();
        }
        for file in &self.rule_files {
            if !is_file_pattern(file) {
                return refuse_at("rule_files", format!("invalid rule file path {}", go::quote(file)));
            }
        }
        for file in &self.scrape_config_files {
            if !is_file_pattern(file) {
                let text = format!("invalid scrape config file path {}", go::quote(file));
                return refuse_at("scrape_config_files", text);
            }
        }
        let mut seen = HashSet::new();
        for job in &mut self.scrape_configs {
            let job = scrape::validate(job.as_mut(), &self.global)?;
            if !seen.insert(job.job_name.clone()) {
                let text = format!("found multiple scrape configs with job name {}", go::quote(&job.job_name));
                return Err(Refusal::placed(job.at, text));
            }
        }
        self.alerting.validate(self.global.metric_name_validation_scheme)?;
        self.check_remotes()
    }

    fn check_remotes(&mut self) -> Result<(), Refusal> {
        let scheme = self.global.metric_name_validation_scheme;
        let mut names = Vec::new();
        for remote in &mut self.remote_write {
            let Some(remote) = remote else {
                return refuse_at("remote_write", "empty or null remote write config section");
            };
            if !remote.name.is_empty() && names.contains(&remote.name) {
                let name = go::quote(&remote.name);
                return Err(Refusal::placed(
                    remote.at,
                    format!("found multiple remote write configs with job name {name}"),
                ));
            }
            remote.validate(scheme)?;
            names.push(remote.name.clone());
        }
        names.clear();
        for remote in &self.remote_read {
            let Some(remote) = remote else {
                return refuse_at("remote_read", "empty or null remote read config section");
            };
            if !remote.name.is_empty() && names.contains(&remote.name) {
                let name = go::quote(&remote.name);
                return Err(Refusal::placed(
                    remote.at,
                    format!("found multiple remote read configs with job name {name}"),
                ));
            }
            names.push(remote.name.clone());
        }
        Ok(())
    }
}

/// Whether `*` stands in the last part of a path alone: `[^*]*(\*[^/]*)?`.
fn is_file_pattern(path: &str) -> bool {
    path.split_once('*').is_none_or(|(_, behind)| !behind.contains('/'))
}
