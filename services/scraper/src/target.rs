//! From a group's labels and a job to a target, a dropped one, or an error. Source: `PopulateLabels` and `Target` of Prometheus
//! `scrape/target.go`.

use std::collections::BTreeMap;

use config::ScrapeConfig;
use discovery::Group;
use exposition::HistogramChoice;
use model::{DurationMs, Labels, LabelsBuilder, ParseDurationError};
use relabel::{Rule, Verdict};
use xxhash_rust::xxh3::Xxh3;

use crate::url;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";
/// Labels that begin so are not those of series.
const RESERVED_PREFIX: &str = "__";
/// Labels with a truth value, and what they are called in errors.
const SWITCHES: [(&str, &str); 3] = [
    ("__convert_classic_histograms_to_nhcb__", "convert classic histograms to nhcb"),
    ("__always_scrape_classic_histograms__", "always scrape classic histograms"),
    ("__scrape_native_histograms__", "scrape native histograms"),
];

/// Something to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Before relabelling.
    pub(crate) discovered: Labels,
    /// Those that series get.
    pub(crate) labels: Labels,
    pub(crate) url: String,
    pub(crate) interval: DurationMs,
    pub(crate) timeout: DurationMs,
    /// What is read of histograms.
    pub(crate) histograms: HistogramChoice,
    /// Identity: of all labels after relabelling and the URL.
    pub(crate) hash: u64,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("no address")]
    NoAddress,
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    #[error("error parsing scrape interval: {0}")]
    Interval(ParseDurationError),
    #[error("scrape interval cannot be 0")]
    NoInterval,
    #[error("error parsing scrape timeout: {0}")]
    Timeout(ParseDurationError),
    #[error("scrape timeout cannot be 0")]
    NoTimeout,
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutAboveInterval { timeout: String, interval: String },
    #[error("error parsing {what}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    Switch { what: &'static str, value: String },
    #[error("a label without a name")]
    EmptyName,
}

/// What became of one address of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Target(Box<Target>),
    /// The labels before relabelling.
    Dropped(Labels),
}

/// The labels of one address before relabelling.
fn discovered(address: &str, group: &Group, job: &ScrapeConfig) -> LabelsBuilder {
    let mut builder = LabelsBuilder::default();
    for (name, value) in &group.labels {
        builder.set(name, value);
    }
    // What the target itself says wins, be it empty.
    builder.set(ADDRESS, address);
    let interval = job.scrape_interval.to_string();
    let timeout = job.scrape_timeout.to_string();
    let switch = |on: bool| if on { "true" } else { "false" };
    for (name, value) in [
        ("job", job.job_name.as_str()),
        (SCRAPE_INTERVAL, &interval),
        (SCRAPE_TIMEOUT, &timeout),
        (METRICS_PATH, &job.metrics_path),
        (SCHEME, &job.scheme),
        (SWITCHES[0].0, switch(job.convert_classic_histograms_to_nhcb)),
        (SWITCHES[1].0, switch(job.always_scrape_classic_histograms)),
        (SWITCHES[2].0, switch(job.scrape_native_histograms)),
    ] {
        set_if_absent(&mut builder, name, value);
    }
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            set_if_absent(&mut builder, &format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    builder
}

fn set_if_absent(builder: &mut LabelsBuilder, name: &str, value: &str) {
    if builder.get(name).is_empty() {
        builder.set(name, value);
    }
}

/// One address of a group, relabelled by `rules`.
pub(crate) fn find(address: &str, group: &Group, job: &ScrapeConfig, rules: &[Rule]) -> Result<Found, TargetError> {
    let mut builder = discovered(address, group, job);
    let before = builder.build();
    if relabel::process(rules, &mut builder) == Verdict::Drop {
        return Ok(Found::Dropped(before));
    }
    let address = builder.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::Address(address));
    }
    let (interval, timeout) = times(&builder)?;
    let histograms = histogram_choice(&builder, job)?;
    let meta: Vec<String> =
        builder.iter().map(|(name, _)| name).filter(|n| n.starts_with(META_PREFIX)).map(str::to_owned).collect();
    for name in &meta {
        builder.del(name);
    }
    set_if_absent(&mut builder, "instance", &address);
    let full = Labels::from_pairs(builder.iter()).ok_or(TargetError::EmptyName)?;
    let public = full.iter().filter(|l| !l.name.starts_with(RESERVED_PREFIX)).map(|l| (l.name, l.value));
    let labels = Labels::from_pairs(public).expect("a part of a label set is one");
    let url = url_of(&full, &job.params);
    let hash = hash(&full, &url);
    Ok(Found::Target(Box::new(Target { discovered: before, labels, url, interval, timeout, histograms, hash })))
}

fn times(builder: &LabelsBuilder) -> Result<(DurationMs, DurationMs), TargetError> {
    let (interval_text, timeout_text) = (builder.get(SCRAPE_INTERVAL), builder.get(SCRAPE_TIMEOUT));
    let interval = DurationMs::parse(interval_text).map_err(TargetError::Interval)?;
    if interval == DurationMs::ZERO {
        return Err(TargetError::NoInterval);
    }
    let timeout = DurationMs::parse(timeout_text).map_err(TargetError::Timeout)?;
    if timeout == DurationMs::ZERO {
        return Err(TargetError::NoTimeout);
    }
    if timeout > interval {
        let (timeout, interval) = (timeout_text.to_owned(), interval_text.to_owned());
        return Err(TargetError::TimeoutAboveInterval { timeout, interval });
    }
    Ok((interval, timeout))
}

/// What relabelling has left of the job's switches; the job's own where a label is gone.
fn histogram_choice(builder: &LabelsBuilder, job: &ScrapeConfig) -> Result<HistogramChoice, TargetError> {
    let switch = |at: usize, of_job: bool| {
        let (name, what) = SWITCHES[at];
        let value = builder.get(name);
        if value.is_empty() {
            return Ok(of_job);
        }
        go_bool(value).ok_or_else(|| TargetError::Switch { what, value: value.to_owned() })
    };
    Ok(HistogramChoice {
        to_custom_buckets: switch(0, job.convert_classic_histograms_to_nhcb)?,
        classic_too: switch(1, job.always_scrape_classic_histograms)?,
        native: switch(2, job.scrape_native_histograms)?,
    })
}

/// Source: `strconv.ParseBool`.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn url_of(labels: &Labels, params: &BTreeMap<String, Vec<String>>) -> String {
    let mut params = params.clone();
    for label in labels {
        let Some(name) = label.name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(name.to_owned()).or_default();
        match values.first_mut() {
            Some(first) => label.value.clone_into(first),
            None => values.push(label.value.to_owned()),
        }
    }
    let get = |name| labels.get(name).unwrap_or("");
    url::build(get(SCHEME), get(ADDRESS), get(METRICS_PATH), &params)
}

/// The same in every scraper: it decides the phase.
fn hash(labels: &Labels, url: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(labels.as_packed());
    hasher.update(url.as_bytes());
    hasher.digest()
}

#[cfg(test)]
mod tests;
