//! What is scraped: `targets`, `targets/metadata`, `targets/relabel_steps`, `scrape_pools`, `metadata`.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Labels, LabelsBuilder, Metadata, TenantId};
use relabel::{Rule, Verdict};
use serde_json::Value;

use super::Api;
use super::answer::{Answer, ApiResult};
use super::error::ApiError;
use super::form::Form;
use super::json::{NO_DATE, put_date, put_labels, put_list, put_number, put_text, put_texts, put_uint};
use super::params;
use crate::{ActiveTarget, DroppedTarget, TargetMetadata, TargetSource, Told, Wanted};

fn source(api: &Api) -> Result<&Arc<dyn TargetSource>, ApiError> {
    api.sources.targets.as_ref().ok_or_else(|| ApiError::missing("targets in this role"))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// `scrape_pools`
pub(crate) async fn scrape_pools(api: &Api, _form: &Form) -> ApiResult {
    let Told { value: mut pools, warnings } = source(api)?.scrape_pools().await;
    pools.sort_unstable();
    Ok(Answer::with_warnings(warnings, |out| {
        out.extend_from_slice(b"{\"scrapePools\":");
        put_texts(out, &pools);
        out.push(b'}');
    }))
}

/// `targets`
pub(crate) async fn targets(api: &Api, form: &Form) -> ApiResult {
    let wanted = Wanted::of(text(form.url_get("scrapePool")), &text(form.url_get("state")));
    let Told { value: mut snapshot, warnings } = source(api)?.targets(wanted.clone()).await;
    snapshot.active.retain(|t| wanted.active && wanted.takes_pool(&t.scrape_pool));
    snapshot.dropped.retain(|t| wanted.dropped && wanted.takes_pool(&t.scrape_pool));
    // Within a pool the order stays.
    snapshot.active.sort_by(|a, b| a.scrape_pool.cmp(&b.scrape_pool));
    snapshot.dropped.sort_by(|a, b| a.scrape_pool.cmp(&b.scrape_pool));
    Ok(Answer::with_warnings(warnings, |out| {
        out.extend_from_slice(b"{\"activeTargets\":");
        put_list(out, b"[]", &snapshot.active, put_active);
        out.extend_from_slice(b",\"droppedTargets\":");
        put_list(out, b"[]", &snapshot.dropped, put_dropped);
        out.extend_from_slice(b",\"droppedTargetCounts\":");
        if wanted.dropped {
            put_list(out, b"{}", &snapshot.dropped_counts, |out, (pool, count)| {
                put_text(out, pool);
                out.push(b':');
                put_uint(out, *count);
            });
        } else {
            out.extend_from_slice(b"null");
        }
        out.push(b'}');
    }))
}

fn put_active(out: &mut Vec<u8>, target: &ActiveTarget) {
    out.extend_from_slice(b"{\"discoveredLabels\":");
    put_labels(out, &target.discovered_labels);
    out.extend_from_slice(b",\"labels\":");
    put_labels(out, &target.labels);
    for (name, value) in [
        ("scrapePool", &target.scrape_pool),
        ("scrapeUrl", &target.scrape_url),
        ("globalUrl", &target.global_url),
        ("lastError", &target.last_error),
    ] {
        put_member(out, name, value);
    }
    out.extend_from_slice(b",\"lastScrape\":");
    match target.last_scrape {
        Some(at) => put_date(out, at),
        None => out.extend_from_slice(NO_DATE),
    }
    out.extend_from_slice(b",\"lastScrapeDuration\":");
    put_number(out, target.last_scrape_seconds);
    put_member(out, "health", target.health.as_str());
    put_member(out, "scrapeInterval", &target.scrape_interval);
    put_member(out, "scrapeTimeout", &target.scrape_timeout);
    // A member that Prometheus does not have.
    if let Some(scraper) = &target.scraper {
        put_member(out, "scraper", scraper);
    }
    out.push(b'}');
}

fn put_dropped(out: &mut Vec<u8>, target: &DroppedTarget) {
    out.extend_from_slice(b"{\"discoveredLabels\":");
    put_labels(out, &target.discovered_labels);
    put_member(out, "scrapePool", &target.scrape_pool);
    out.push(b'}');
}

/// `,"name":"value"`
fn put_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    put_text(out, name);
    out.push(b':');
    put_text(out, value);
}

/// `targets/metadata`
pub(crate) async fn target_metadata(api: &Api, form: &Form) -> ApiResult {
    let limit = params::number(form, "limit", "limit must be a number")?;
    let matchers = match form.get("match_target") {
        b"" => Vec::new(),
        selector => promql::parse_selector(selector).map_err(|e| ApiError::parameter("match_target", e))?,
    };
    let family = text(form.get("metric"));
    let named = (!family.is_empty()).then_some(family.as_str());
    let Told { value: mut found, warnings } = source(api)?.metadata(named.map(str::to_owned)).await;
    found.retain(|m| matchers.iter().all(|matcher| matcher.matches_labels(&m.target)));
    if let Some(limit) = limit.and_then(|l| usize::try_from(l).ok()) {
        found.truncate(whole_targets(&found, limit));
    }
    let put = |out: &mut Vec<u8>, m: &TargetMetadata| put_target_metadata(out, m, named.is_none());
    Ok(Answer::with_warnings(warnings, |out| put_list(out, b"[]", &found, put)))
}

/// As in Prometheus, the limit ends the list between two targets, not within one.
fn whole_targets(found: &[TargetMetadata], limit: usize) -> usize {
    if limit == 0 || limit >= found.len() {
        return limit.min(found.len());
    }
    let last = &found[limit - 1].target;
    limit + found[limit..].iter().take_while(|m| m.target == *last).count()
}

fn put_target_metadata(out: &mut Vec<u8>, of: &TargetMetadata, names_family: bool) {
    out.extend_from_slice(b"{\"target\":");
    put_labels(out, &of.target);
    if names_family {
        put_member(out, "metric", &of.family);
    }
    out.push(b',');
    out.extend_from_slice(b"\"type\":");
    put_text(out, of.metadata.metric_type.as_str());
    put_member(out, "help", &of.metadata.help);
    put_member(out, "unit", &of.metadata.unit);
    out.push(b'}');
}

/// The order is another one than under `targets/metadata`.
fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.extend_from_slice(b"{\"type\":");
    put_text(out, metadata.metric_type.as_str());
    put_member(out, "unit", &metadata.unit);
    put_member(out, "help", &metadata.help);
    out.push(b'}');
}

/// `metadata`
pub(crate) async fn metadata(api: &Api, form: &Form) -> ApiResult {
    let limit = params::number(form, "limit", "limit must be a number")?;
    let per_family = params::number(form, "limit_per_metric", "limit_per_metric must be a number")?;
    let family = text(form.get("metric"));
    let named = (!family.is_empty()).then_some(family.as_str());
    let Some(source) = &api.sources.metadata else { return Err(ApiError::missing("metadata in this role")) };
    let found: BTreeMap<String, Vec<Metadata>> = source.metadata(&TenantId::anonymous(), named).await;
    let bound = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok());
    let families_max = bound(limit).unwrap_or(usize::MAX);
    let per_family_max = bound(per_family).filter(|n| *n > 0).unwrap_or(usize::MAX);
    Ok(Answer::data(|out| {
        put_list(out, b"{}", found.iter().take(families_max), |out, (family, all)| {
            put_text(out, family);
            out.push(b':');
            put_list(out, b"[]", all.iter().take(per_family_max), put_metadata);
        });
    }))
}

/// `targets/relabel_steps`: what each rule of a pool makes of some labels.
pub(crate) async fn relabel_steps(api: &Api, form: &Form) -> ApiResult {
    let pool = text(form.get("scrapePool"));
    if pool.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    if form.get("labels").is_empty() {
        return Err(ApiError::bad_data("no labels parameter provided"));
    }
    let labels = parse_labels(form.get("labels"))
        .map_err(|problem| ApiError::bad_data(format!("error parsing labels: {problem}")))?;
    let Told { value: rules, warnings } = source(api)?.relabel_rules(pool.clone()).await;
    let rules = rules.ok_or_else(|| no_rules(&pool, &warnings))?;
    let mut builder = LabelsBuilder::from_labels(&labels);
    let mut keeps = true;
    Ok(Answer::with_warnings(warnings, |out| {
        out.extend_from_slice(b"{\"steps\":");
        put_list(out, b"[]", &rules, |out, rule| {
            keeps = keeps && relabel::process(std::slice::from_ref(rule), &mut builder) == Verdict::Keep;
            let output = if keeps { Labels::from_pairs(builder.iter()) } else { None };
            out.extend_from_slice(b"{\"rule\":");
            put_rule(out, rule);
            out.extend_from_slice(b",\"output\":");
            put_labels(out, &output.unwrap_or_default());
            out.extend_from_slice(if keeps { b",\"keep\":true}" } else { b",\"keep\":false}" });
        });
        out.push(b'}');
    }))
}

/// There is no such pool, or whoever knows of it does not answer.
fn no_rules(pool: &str, warnings: &[String]) -> ApiError {
    let text = format!("error retrieving scrape config: scrape pool {} not found", promql::quoted(pool.as_bytes()));
    match warnings {
        [] => ApiError::bad_data(text),
        _ => ApiError::unavailable(format!("{text}: {}", warnings.join("; "))),
    }
}

/// An object of texts.
fn parse_labels(json: &[u8]) -> Result<Labels, String> {
    let members: BTreeMap<String, Value> = serde_json::from_slice(json)
        .map_err(|e| if e.is_eof() { "unexpected end of JSON input".to_owned() } else { e.to_string() })?;
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in &members {
        let value = value.as_str().ok_or_else(|| format!("the value of {name:?} is not a string"))?;
        pairs.push((name.as_str(), value));
    }
    Labels::from_pairs(pairs).ok_or_else(|| "a label has no name".to_owned())
}

/// A rule with its defaults filled in.
fn put_rule(out: &mut Vec<u8>, rule: &Rule) {
    out.push(b'{');
    if !rule.source_labels().is_empty() {
        out.extend_from_slice(b"\"source_labels\":");
        put_texts(out, rule.source_labels());
        out.push(b',');
    }
    out.extend_from_slice(b"\"separator\":");
    put_text(out, rule.separator());
    put_member(out, "regex", rule.regex());
    if rule.modulus() != 0 {
        out.extend_from_slice(b",\"modulus\":");
        put_uint(out, rule.modulus());
    }
    if !rule.target_label().is_empty() {
        put_member(out, "target_label", rule.target_label());
    }
    put_member(out, "replacement", rule.replacement());
    put_member(out, "action", rule.action().as_str());
    out.push(b'}');
}
