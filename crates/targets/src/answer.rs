//! Answers of one scraper, in the envelope of the HTTP API.

use model::Labels;
use relabel::Rule;
use serde_json::{Map, Value, json};

use crate::{ActiveTarget, TargetMetadata, TargetsSnapshot, date};

fn success(data: Value) -> String {
    json!({ "status": "success", "data": data }).to_string()
}

/// An error: what was asked is refused.
pub fn refusal(error: &str) -> String {
    json!({ "status": "error", "errorType": "bad_data", "error": error }).to_string()
}

/// `targets`
pub fn targets(snapshot: &TargetsSnapshot) -> String {
    let active: Vec<Value> = snapshot.active.iter().map(active_target).collect();
    let dropped = snapshot
        .dropped
        .iter()
        .map(|t| json!({ "discoveredLabels": labels(&t.discovered_labels), "scrapePool": t.scrape_pool }));
    success(json!({
        "activeTargets": active,
        "droppedTargets": dropped.collect::<Vec<Value>>(),
        "droppedTargetCounts": snapshot.dropped_counts,
    }))
}

fn active_target(target: &ActiveTarget) -> Value {
    let mut json = json!({
        "discoveredLabels": labels(&target.discovered_labels),
        "labels": labels(&target.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": target.global_url,
        "lastError": target.last_error,
        "lastScrape": target.last_scrape.map_or_else(|| date::NEVER.to_owned(), date::format),
        "lastScrapeDuration": target.last_scrape_seconds,
        "health": target.health.as_str(),
        "scrapeInterval": target.scrape_interval,
        "scrapeTimeout": target.scrape_timeout,
    });
    if let Some(scraper) = &target.scraper {
        json["scraper"] = Value::from(scraper.as_str());
    }
    json
}

/// `scrape_pools`
pub fn scrape_pools(names: &[String]) -> String {
    success(json!({ "scrapePools": names }))
}

/// `targets/metadata`. The name of the family is always there, also where one was asked for.
pub fn metadata(all: &[TargetMetadata]) -> String {
    let all = all.iter().map(|m| {
        json!({
            "target": labels(&m.target),
            "metric": m.family,
            "type": m.metadata.metric_type.as_str(),
            "help": m.metadata.help,
            "unit": m.metadata.unit,
        })
    });
    success(Value::Array(all.collect()))
}

/// `targets/relabel_steps` for no labels: of each step the rule.
pub fn relabel_rules(rules: &[Rule]) -> String {
    let steps: Vec<Value> = rules.iter().map(|r| json!({ "rule": rule(r), "output": {}, "keep": true })).collect();
    success(json!({ "steps": steps }))
}

fn rule(rule: &Rule) -> Value {
    let mut json = json!({
        "separator": rule.separator(),
        "regex": rule.regex(),
        "replacement": rule.replacement(),
        "action": rule.action().as_str(),
    });
    if !rule.source_labels().is_empty() {
        json["source_labels"] = json!(rule.source_labels());
    }
    if rule.modulus() != 0 {
        json["modulus"] = json!(rule.modulus());
    }
    if !rule.target_label().is_empty() {
        json["target_label"] = json!(rule.target_label());
    }
    json
}

fn labels(labels: &Labels) -> Value {
    let members: Map<String, Value> =
        labels.iter().map(|label| (label.name.to_owned(), Value::from(label.value))).collect();
    Value::Object(members)
}
