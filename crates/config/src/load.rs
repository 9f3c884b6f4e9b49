//! Loads `prometheus.yml` and the files it imports.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use model::{DurationMs, Labels};

use crate::error::{LoadError, Position, Refused};
use crate::glob::Pattern;
use crate::go;
use crate::raw::discovery::BUILT;
use crate::raw::global::RawGlobal;
use crate::raw::scrape::RawScrapeConfig;
use crate::raw::storage::{RawExemplars, RawRetention};
use crate::raw::{RawConfig, RawScrapeConfigs, scrape};
use crate::read::read_into;
use crate::scheme::{NameEscaping, NameValidation};
use crate::scrape_config::{ScrapeConfig, ScrapeLimits, given};
use crate::size::ByteSize;
use crate::yaml::decode::{Bytes, Int64};
use crate::yaml::record::Paths;
use crate::yaml::{Encode, Refusal};

/// What the file does not say and the server's flags decide.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Defaults {
    /// How long samples are kept where the file has no `storage.tsdb.retention`; zero says nothing.
    pub retention_time: DurationMs,
    /// How many bytes are kept where the file has no `storage.tsdb.retention`; zero says nothing.
    pub retention_size: ByteSize,
    /// How many exemplars are kept where the file has no `storage.exemplars`; `None` where exemplars are not stored at all.
    pub max_exemplars: Option<i64>,
}

/// What loading needs of the system.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The contents of a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The files that match a pattern; [`crate::glob::expand`] finds them.
    pub glob: &'a dyn Fn(&str) -> Vec<String>,
    /// An environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What relative names of imported files are relative to, for messages alone.
    pub working_directory: &'a str,
}

/// A loaded configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What concerns the whole server, and is passed on to others.
    pub global: GlobalConfig,
    /// The jobs of the main file, then those of imported ones.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Patterns of rule files; `*` in the last part alone.
    pub rule_files: Vec<String>,
    /// Patterns of imported files; already imported.
    pub scrape_config_files: Vec<String>,
    /// What the storage is told.
    pub storage: StorageConfig,
    /// Blocks that are valid and that Narthex does not act on, sorted by name, each once.
    pub unsupported: Vec<UnsupportedBlock>,
    /// Variables that external labels name and that are empty or not there.
    pub empty_variables: Vec<String>,
    raw: RawConfig,
}

/// The `global` block, as far as jobs have not taken it over.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalConfig {
    /// Time from one scrape to the next of jobs that do not say.
    pub scrape_interval: DurationMs,
    /// Time for one scrape of jobs that do not say.
    pub scrape_timeout: DurationMs,
    /// Time from one evaluation of rules to the next; the default step of subqueries.
    pub evaluation_interval: DurationMs,
    /// How far back rules look.
    pub rule_query_offset: DurationMs,
    /// Where queries are logged.
    pub query_log_file: Option<String>,
    /// Where failed scrapes are logged.
    pub scrape_failure_log_file: Option<String>,
    /// Labels for everything that leaves the server; variables are expanded.
    pub external_labels: Labels,
    /// Bounds of jobs that do not say.
    pub limits: ScrapeLimits,
    /// Which names are allowed.
    pub name_validation: NameValidation,
    /// How other names are asked for.
    pub name_escaping: NameEscaping,
}

/// The `storage` block.
#[derive(Clone, Debug, PartialEq)]
pub struct StorageConfig {
    /// How far behind the newest sample of a series another may come; 0 where the file says so, none where it says nothing.
    pub out_of_order_time_window: Option<DurationMs>,
    /// How long samples are kept; none where nothing is said.
    pub retention_time: Option<DurationMs>,
    /// How many bytes are kept; none where nothing is said.
    pub retention_size: Option<ByteSize>,
    /// How much of the disk may be used, in percent; none where nothing is said.
    pub retention_percentage: Option<f64>,
    /// How many exemplars are kept, 0 or less for none; none where nothing is said.
    pub max_exemplars: Option<i64>,
}

/// A block that is valid and not acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedBlock {
    /// Its key: `remote_write`, `kubernetes_sd_configs`.
    pub block: String,
    /// The jobs that have it, where it is a job's.
    pub jobs: Vec<String>,
}

/// Loads `file` and what it imports. Errors say what Prometheus says, and where.
pub fn load(file: &str, defaults: &Defaults, outside: &Outside<'_>) -> Result<Config, LoadError> {
    let text = (outside.read)(Path::new(file)).map_err(|source| LoadError::Read { file: file.to_owned(), source })?;
    let main = |source| LoadError::Main { file: file.to_owned(), source };
    let loading = Loading::of_text(&text, &go::dir_of(file), defaults, outside).map_err(main)?;
    let imported = loading.imported(outside)?;
    loading.finish(imported).map_err(|refusal| main(unplaced(refusal)))
}

/// Parses the text of a main file that lies in `dir`, without reading what it imports.
pub fn parse(
    text: &str,
    dir: &str,
    defaults: &Defaults,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Refused> {
    let outside = Outside {
        read: &|_| Err(io::ErrorKind::Unsupported.into()),
        glob: &|_| Vec::new(),
        variable,
        working_directory: "",
    };
    Loading::of_text(text, dir, defaults, &outside)?.finish(Vec::new()).map_err(unplaced)
}

fn unplaced(refusal: Refusal) -> Refused {
    Refused::Value { at: refusal.at().unwrap_or(Position { line: 1, column: 1 }), text: refusal.into_text() }
}

/// A main file that is read and checked.
struct Loading {
    raw: RawConfig,
    runtime_given: bool,
    empty_variables: Vec<String>,
}

impl Loading {
    fn of_text(text: &str, dir: &str, defaults: &Defaults, outside: &Outside<'_>) -> Result<Loading, Refused> {
        let mut raw = RawConfig::defaults();
        read_into(text, &mut raw)?;
        // A document that is null has emptied everything, intervals included; it is no less a file that says nothing.
        if raw.global.is_zero() {
            raw = RawConfig::defaults();
        }
        let runtime_given = !raw.runtime.is_zero();
        fill(&mut raw, defaults, outside.variable);
        let empty_variables = expand_labels(&mut raw.global, outside.variable);
        raw.otlp.check_strategy(raw.global.metric_name_validation_scheme).map_err(unplaced)?;
        raw.set_directory(dir);
        Ok(Loading { raw, runtime_given, empty_variables })
    }

    /// The jobs of the files that `scrape_config_files` name.
    fn imported(&self, outside: &Outside<'_>) -> Result<Vec<RawScrapeConfig>, LoadError> {
        let jobs = self.raw.scrape_configs.iter().flatten();
        let mut first_in: HashMap<String, String> =
            jobs.map(|job| (job.job_name.clone(), "main config file".to_owned())).collect();
        let mut imported = Vec::new();
        for pattern in &self.raw.scrape_config_files {
            Pattern::parse(pattern).map_err(|source| LoadError::Pattern { pattern: pattern.clone(), source })?;
            for file in (outside.glob)(pattern) {
                let absolute = go::join_dir(outside.working_directory, &file);
                let text = (outside.read)(Path::new(&file))
                    .map_err(|source| LoadError::ReadImported { file: absolute.clone(), source })?;
                let refused = |source| LoadError::Imported { file: absolute.clone(), source };
                let mut jobs = RawScrapeConfigs::default();
                read_into(&text, &mut jobs).map_err(refused)?;
                for mut job in jobs.scrape_configs {
                    scrape::validate(job.as_mut(), &self.raw.global).map_err(|r| refused(unplaced(r)))?;
                    let Some(mut job) = job else { continue };
                    if let Some(first) = first_in.get(&job.job_name) {
                        let name = go::quote(&job.job_name);
                        let text =
                            format!("found multiple scrape configs with job name {name}, first found in {first}");
                        return Err(refused(Refused::Value { at: job.at, text }));
                    }
                    first_in.insert(job.job_name.clone(), go::quote(&absolute));
                    job.set_directory(&go::dir_of(&file));
                    imported.push(job);
                }
            }
        }
        Ok(imported)
    }

    fn finish(self, imported: Vec<RawScrapeConfig>) -> Result<Config, Refusal> {
        let Loading { raw, runtime_given, empty_variables } = self;
        let jobs = || raw.scrape_configs.iter().flatten().chain(&imported);
        let scrape_configs = jobs().map(ScrapeConfig::from_raw).collect::<Result<Vec<_>, _>>()?;
        let unsupported = unsupported(&raw, runtime_given, jobs());
        Ok(Config {
            global: GlobalConfig::from_raw(&raw.global),
            scrape_configs,
            rule_files: raw.rule_files.clone(),
            scrape_config_files: raw.scrape_config_files.clone(),
            storage: StorageConfig::from_raw(&raw),
            unsupported,
            empty_variables,
            raw,
        })
    }
}

impl Config {
    /// What `/api/v1/status/config` shows: the whole main file with defaults filled in and secrets hidden.
    pub fn to_yaml(&self) -> String {
        self.raw.encode().print()
    }
}

impl GlobalConfig {
    fn from_raw(raw: &RawGlobal) -> GlobalConfig {
        let labels = raw.external_labels.0.iter().filter_map(|(name, value)| {
            // Both were checked; a file without a `global` block has none.
            Some((str::from_utf8(&name.0).ok()?, str::from_utf8(&value.0).ok()?))
        });
        GlobalConfig {
            scrape_interval: raw.scrape_interval,
            scrape_timeout: raw.scrape_timeout,
            evaluation_interval: raw.evaluation_interval,
            rule_query_offset: raw.rule_query_offset,
            query_log_file: given(&raw.query_log_file),
            scrape_failure_log_file: given(&raw.scrape_failure_log_file),
            external_labels: Labels::from_pairs(labels).expect("keys of a map, and none is empty"),
            limits: ScrapeLimits {
                body_size: raw.body_size_limit,
                samples: raw.sample_limit,
                targets: raw.target_limit,
                labels: raw.label_limit,
                label_name_length: raw.label_name_length_limit,
                label_value_length: raw.label_value_length_limit,
                native_histogram_buckets: 0,
                native_histogram_min_bucket_factor: 0.0,
                keep_dropped_targets: raw.keep_dropped_targets,
            },
            name_validation: raw.metric_name_validation_scheme,
            name_escaping: NameEscaping::parse(&raw.metric_name_escaping_scheme).unwrap_or(
                match raw.metric_name_validation_scheme {
                    NameValidation::Legacy => NameEscaping::Underscores,
                    NameValidation::Utf8 | NameValidation::Unset => NameEscaping::AllowUtf8,
                },
            ),
        }
    }
}

impl StorageConfig {
    fn from_raw(raw: &RawConfig) -> StorageConfig {
        let tsdb = raw.storage.tsdb.clone().unwrap_or_default();
        let retention = tsdb.retention.unwrap_or_default();
        StorageConfig {
            out_of_order_time_window: tsdb.out_of_order_time_window.0,
            retention_time: Some(retention.time).filter(|t| !t.is_zero()),
            retention_size: Some(retention.size).filter(|s| !s.is_zero()),
            retention_percentage: Some(retention.percentage).filter(|p| !p.is_zero()),
            max_exemplars: raw.storage.exemplars.as_ref().map(|e| e.max_exemplars.0),
        }
    }
}

/// Fills in what neither the file nor its defaults say.
fn fill(raw: &mut RawConfig, defaults: &Defaults, variable: &dyn Fn(&str) -> Option<String>) {
    if raw.runtime.is_zero() {
        raw.runtime.gogc = gogc(variable);
    }
    raw.storage.tsdb.get_or_insert_default().retention.get_or_insert_with(|| RawRetention {
        time: defaults.retention_time,
        size: defaults.retention_size,
        ..RawRetention::default()
    });
    if let Some(max_exemplars) = defaults.max_exemplars {
        raw.storage
            .exemplars
            .get_or_insert_with(|| RawExemplars { max_exemplars: Int64(max_exemplars), ..RawExemplars::default() });
    }
}

/// What `GOGC` is where the environment does not say.
const GOGC_DEFAULT: i64 = 75;

/// `GOGC` as Go reads it.
fn gogc(variable: &dyn Fn(&str) -> Option<String>) -> i64 {
    match variable("GOGC") {
        Some(text) if text.eq_ignore_ascii_case("off") => -1,
        Some(text) => text.parse().unwrap_or(GOGC_DEFAULT),
        None => GOGC_DEFAULT,
    }
}

/// Expands variables in the values of external labels; gives the names of those that are empty.
fn expand_labels(global: &mut RawGlobal, variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut empty = Vec::new();
    for Bytes(value) in global.external_labels.0.values_mut() {
        let Ok(text) = str::from_utf8(value) else { continue };
        let expanded = go::expand(text, |name| match variable(name) {
            _ if name == "$" => "$".to_owned(),
            Some(text) if !text.is_empty() => text,
            _ => {
                empty.push(name.to_owned());
                String::new()
            }
        });
        *value = expanded.into_bytes();
    }
    empty
}

/// The blocks that are set to something and not acted on.
fn unsupported<'a>(
    raw: &RawConfig,
    runtime_given: bool,
    jobs: impl Iterator<Item = &'a RawScrapeConfig>,
) -> Vec<UnsupportedBlock> {
    let defaults = RawConfig::defaults();
    let tsdb = raw.storage.tsdb.clone().unwrap_or_default();
    let blocks = [
        ("alerting", !raw.alerting.is_zero()),
        ("otlp", !raw.otlp.is_zero() && raw.otlp.encode() != defaults.otlp.encode()),
        ("remote_read", !raw.remote_read.is_empty()),
        ("remote_write", !raw.remote_write.is_empty()),
        ("runtime", runtime_given),
        ("storage.tsdb.chunk_encoding", !tsdb.chunk_encoding.is_zero()),
        ("storage.tsdb.stale_series_compaction_threshold", !tsdb.stale_series_compaction_threshold.is_zero()),
        ("tracing", !raw.tracing.is_zero()),
    ];
    let mut out: Vec<UnsupportedBlock> = blocks
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(block, _)| UnsupportedBlock { block: block.to_owned(), jobs: Vec::new() })
        .collect();
    for job in jobs {
        for key in job.discoveries.used().into_iter().filter(|key| !BUILT.contains(key)) {
            match out.iter_mut().find(|b| b.block == key) {
                Some(block) => block.jobs.push(job.job_name.clone()),
                None => out.push(UnsupportedBlock { block: key.to_owned(), jobs: vec![job.job_name.clone()] }),
            }
        }
    }
    out.sort_by(|a, b| a.block.cmp(&b.block));
    out
}

#[cfg(test)]
mod tests;
