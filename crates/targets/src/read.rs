//! Reads the answers of one scraper. Members that are not known are passed over; one that is missing or of another type is an
//! error, so that no half answer is taken for a whole one.

use std::collections::BTreeMap;

use model::{Labels, Metadata, MetricType};
use relabel::{Draft, Fields, NameValidationScheme, Rule};
use serde_json::{Map, Value};

use crate::{ActiveTarget, DroppedTarget, TargetHealth, TargetMetadata, TargetsSnapshot, date};

/// Why there is no answer in what a scraper said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It refused, in its words.
    #[error("{0}")]
    Refused(String),
    /// Not JSON.
    #[error("the answer is not JSON: {0}")]
    Json(String),
    /// A member.
    #[error("{0:?} in the answer is missing or not what it should be")]
    Member(&'static str),
}

/// `targets`
pub fn targets(text: &str) -> Result<TargetsSnapshot, ReadError> {
    let data = data(text)?;
    let all = object(&data, "data")?;
    let mut snapshot = TargetsSnapshot::default();
    for target in array(all, "activeTargets")? {
        snapshot.active.push(active_target(object(target, "activeTargets")?)?);
    }
    for target in array(all, "droppedTargets")? {
        let target = object(target, "droppedTargets")?;
        snapshot.dropped.push(DroppedTarget {
            discovered_labels: labels(target, "discoveredLabels")?,
            scrape_pool: text_of(target, "scrapePool")?,
        });
    }
    if let Some(counts) = all.get("droppedTargetCounts").and_then(Value::as_object) {
        for (pool, count) in counts {
            let count = count.as_u64().ok_or(ReadError::Member("droppedTargetCounts"))?;
            snapshot.dropped_counts.insert(pool.clone(), count);
        }
    }
    Ok(snapshot)
}

fn active_target(target: &Map<String, Value>) -> Result<ActiveTarget, ReadError> {
    let last_scrape = date::parse(&text_of(target, "lastScrape")?).ok_or(ReadError::Member("lastScrape"))?;
    let word = text_of(target, "health")?;
    let health = TargetHealth::ALL.into_iter().find(|h| h.as_str() == word).ok_or(ReadError::Member("health"))?;
    let seconds = target.get("lastScrapeDuration").and_then(Value::as_f64);
    Ok(ActiveTarget {
        discovered_labels: labels(target, "discoveredLabels")?,
        labels: labels(target, "labels")?,
        scrape_pool: text_of(target, "scrapePool")?,
        scrape_url: text_of(target, "scrapeUrl")?,
        global_url: text_of(target, "globalUrl")?,
        last_error: text_of(target, "lastError")?,
        last_scrape: Some(last_scrape).filter(|at| date::format(*at) != date::NEVER),
        last_scrape_seconds: seconds.ok_or(ReadError::Member("lastScrapeDuration"))?,
        health,
        scrape_interval: text_of(target, "scrapeInterval")?,
        scrape_timeout: text_of(target, "scrapeTimeout")?,
        scraper: target.get("scraper").and_then(Value::as_str).map(str::to_owned),
    })
}

/// `scrape_pools`
pub fn scrape_pools(text: &str) -> Result<Vec<String>, ReadError> {
    let data = data(text)?;
    texts(array(object(&data, "data")?, "scrapePools")?, "scrapePools")
}

/// `targets/metadata`
pub fn metadata(text: &str) -> Result<Vec<TargetMetadata>, ReadError> {
    let data = data(text)?;
    let mut all = Vec::new();
    for item in data.as_array().ok_or(ReadError::Member("data"))? {
        let item = object(item, "data")?;
        let word = text_of(item, "type")?;
        let metric_type = metric_type(&word).ok_or(ReadError::Member("type"))?;
        let metadata = Metadata { metric_type, help: text_of(item, "help")?, unit: text_of(item, "unit")? };
        all.push(TargetMetadata { target: labels(item, "target")?, family: text_of(item, "metric")?, metadata });
    }
    Ok(all)
}

fn metric_type(word: &str) -> Option<MetricType> {
    use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Summary, Unknown};
    let all = [Unknown, Counter, Gauge, Histogram, GaugeHistogram, Summary, Info, StateSet];
    all.into_iter().find(|t| t.as_str() == word)
}

/// The rules of `targets/relabel_steps`.
pub fn relabel_rules(text: &str) -> Result<Vec<Rule>, ReadError> {
    let data = data(text)?;
    let mut rules = Vec::new();
    for step in array(object(&data, "data")?, "steps")? {
        let step = object(step, "steps")?;
        rules.push(rule(object(step.get("rule").unwrap_or(&Value::Null), "rule")?)?);
    }
    Ok(rules)
}

fn rule(json: &Map<String, Value>) -> Result<Rule, ReadError> {
    // Some actions refuse fields that are set; what has its default need not be.
    let unless = |name: &'static str, default: &str| -> Result<Option<String>, ReadError> {
        Ok(Some(text_of(json, name)?).filter(|value| value != default))
    };
    let source_labels = match json.get("source_labels") {
        None => None,
        Some(_) => Some(texts(array(json, "source_labels")?, "source_labels")?),
    };
    let fields = Fields {
        source_labels,
        separator: unless("separator", ";")?,
        regex: unless("regex", "(.*)")?,
        modulus: json.get("modulus").and_then(Value::as_u64).filter(|m| *m != 0),
        target_label: json.get("target_label").and_then(Value::as_str).map(str::to_owned),
        replacement: unless("replacement", "$1")?,
        action: Some(Some(text_of(json, "action")?)),
    };
    // The scraper that sent it has checked names by the scheme of its configuration.
    let draft = Draft::new(fields).map_err(|_| ReadError::Member("rule"))?;
    draft.validate(NameValidationScheme::Utf8).map_err(|_| ReadError::Member("rule"))
}

fn data(text: &str) -> Result<Value, ReadError> {
    let mut envelope: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|e| ReadError::Json(e.to_string()))?;
    match envelope.get("status").and_then(Value::as_str) {
        Some("success") => envelope.remove("data").ok_or(ReadError::Member("data")),
        Some("error") => {
            let error = envelope.get("error").and_then(Value::as_str).unwrap_or("an error without words");
            Err(ReadError::Refused(error.to_owned()))
        }
        _ => Err(ReadError::Member("status")),
    }
}

fn object<'a>(value: &'a Value, member: &'static str) -> Result<&'a Map<String, Value>, ReadError> {
    value.as_object().ok_or(ReadError::Member(member))
}

fn array<'a>(of: &'a Map<String, Value>, member: &'static str) -> Result<&'a [Value], ReadError> {
    of.get(member).and_then(Value::as_array).map(Vec::as_slice).ok_or(ReadError::Member(member))
}

fn text_of(of: &Map<String, Value>, member: &'static str) -> Result<String, ReadError> {
    of.get(member).and_then(Value::as_str).map(str::to_owned).ok_or(ReadError::Member(member))
}

fn texts(values: &[Value], member: &'static str) -> Result<Vec<String>, ReadError> {
    values.iter().map(|v| v.as_str().map(str::to_owned).ok_or(ReadError::Member(member))).collect()
}

fn labels(of: &Map<String, Value>, member: &'static str) -> Result<Labels, ReadError> {
    let mut pairs = Vec::new();
    for (name, value) in object(of.get(member).unwrap_or(&Value::Null), member)? {
        pairs.push((name.as_str(), value.as_str().ok_or(ReadError::Member(member))?));
    }
    Labels::from_pairs(pairs).ok_or(ReadError::Member(member))
}
