//! What a server says to a query, whole, and whether two say the same: label sets and texts equal, numbers of floats and of
//! native histograms within a relative bound.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use e2e::compare::{equal, without_count};
use e2e::narthex::Server;
use e2e::{Client, api};
use serde_json::Value;

/// A query.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    At(i64),
    Over(api::Range),
}

impl When {
    /// As a sender would write it.
    pub(crate) fn text(&self) -> String {
        match self {
            When::At(at) => format!("time={}", api::seconds(*at)),
            When::Over(range) => {
                let [start, end, step] = [range.start_ms, range.end_ms, range.step_ms].map(api::seconds);
                format!("start={start} end={end} step={step}")
            }
        }
    }
}

/// How far two answers are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strictness {
    /// Texts of errors, warnings and infos count.
    pub(crate) texts: bool,
    /// Of an instant query: the order of its elements counts.
    pub(crate) order: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn is_error(&self) -> bool {
        self.status != 200
    }

    /// A vector or a matrix of nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.body["data"]["result"].as_array().is_some_and(Vec::is_empty)
    }

    fn error(&self) -> (&Value, &Value) {
        (&self.body["errorType"], &self.body["error"])
    }

    pub(crate) fn annotations(&self) -> Vec<String> {
        api::annotations(&self.body).iter().map(|text| without_count(text)).collect()
    }

    pub(crate) fn has_histograms(&self) -> bool {
        let series = self.body["data"]["result"].as_array().into_iter().flatten();
        series.into_iter().any(|one| one.get("histogram").is_some() || one.get("histograms").is_some())
    }

    pub(crate) fn excerpt(&self) -> String {
        let mut body = self.body.clone();
        if let Some(object) = body.as_object_mut() {
            object.remove("status");
        }
        body.to_string().chars().take(700).collect()
    }
}

/// Asks.
pub(crate) fn ask(server: &mut Server, expr: &str, when: When) -> Result<Answer> {
    ask_client(&mut server.client, expr, when)
}

fn ask_client(client: &mut Client, expr: &str, when: When) -> Result<Answer> {
    let response = match when {
        When::At(at) => client.post_form("/api/v1/query", &[("query", expr), ("time", &api::seconds(at))])?,
        When::Over(range) => {
            let [start, end, step] = [range.start_ms, range.end_ms, range.step_ms].map(api::seconds);
            let fields = [("query", expr), ("start", &start), ("end", &end), ("step", &step)];
            client.post_form("/api/v1/query_range", &fields)?
        }
    };
    let body = serde_json::from_slice(&response.body).with_context(|| response.excerpt())?;
    Ok(Answer { status: response.status, body })
}

/// How they differ; none where they do not.
pub(crate) fn difference(ours: &Answer, theirs: &Answer, strictness: Strictness) -> Option<String> {
    if ours.status != theirs.status || strictness.texts && ours.error() != theirs.error() {
        return Some("status or error".to_owned());
    }
    if ours.is_error() {
        return None;
    }
    if strictness.texts && ours.annotations() != theirs.annotations() {
        return Some(format!("annotations: {:?} and {:?}", ours.annotations(), theirs.annotations()));
    }
    let (a, b) = (&ours.body["data"], &theirs.body["data"]);
    if a["resultType"] != b["resultType"] {
        return Some("types".to_owned());
    }
    match a["resultType"].as_str() {
        Some("vector" | "matrix") => series(&a["result"], &b["result"], strictness.order),
        _ => (!same(&a["result"], &b["result"])).then(|| "values".to_owned()),
    }
}

fn series(ours: &Value, theirs: &Value, in_order: bool) -> Option<String> {
    let lists = [ours, theirs].map(|list| list.as_array().map(Vec::as_slice).unwrap_or_default());
    let names = lists.map(|list| list.iter().map(|one| name_of(&one["metric"])).collect::<Vec<_>>());
    let [ours, theirs] =
        [0, 1].map(|side: usize| names[side].iter().cloned().zip(lists[side]).collect::<BTreeMap<String, &Value>>());
    if lists[0].len() != ours.len() {
        return Some("a series is there twice".to_owned());
    }
    if let Some(metric) = ours.keys().find(|metric| !theirs.contains_key(*metric)) {
        return Some(format!("only we have {metric}"));
    }
    for (metric, b) in &theirs {
        let Some(a) = ours.get(metric) else { return Some(format!("only they have {metric}")) };
        for name in ["value", "values", "histogram", "histograms"] {
            if let Some(why) = points(&a[name], &b[name]) {
                return Some(format!("{metric}: {why}"));
            }
        }
    }
    (in_order && names[0] != names[1]).then(|| "the order of series".to_owned())
}

/// The labels of a series as one text. Where `count_values` has made a label of a number, its last digits are left out.
fn name_of(metric: &Value) -> String {
    let labels = metric.as_object().into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        match value.parse::<f64>() {
            Ok(number) if value.len() > 12 => format!("{name}={number:.9e}"),
            _ => format!("{name}={value}"),
        }
    });
    labels.collect::<Vec<_>>().join(",")
}

/// The first difference of one sample or of several.
fn points(a: &Value, b: &Value) -> Option<String> {
    if same(a, b) {
        return None;
    }
    match (a, b) {
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() && x.iter().all(Value::is_array) => {
            let (x, y) = x.iter().zip(y).find(|(x, y)| !same(x, y))?;
            Some(format!("{x} and {y}"))
        }
        (Value::Array(x), Value::Array(y)) if x.len() != y.len() => {
            let other = x.iter().zip(y).find(|(x, y)| x[0] != y[0]).map(|(x, y)| format!("{x} and {y}"));
            Some(format!("{} and {} samples, {other:?}", x.len(), y.len()))
        }
        _ => Some(format!("{a} and {b}")),
    }
}

/// Equal, numbers in quotes but for rounding.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (Value::String(a), Value::String(b)) => {
            a == b || matches!((a.parse(), b.parse()), (Ok(a), Ok(b)) if equal(a, b))
        }
        _ => a == b,
    }
}
