//! The query API of Prometheus: answers as values.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Client;

/// Labels of a series of an answer, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// A series of an answer: milliseconds and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// Its labels.
    pub labels: Labels,
    /// Its samples, in the order of the answer.
    pub samples: Vec<(i64, f64)>,
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One sample per series.
    Vector(Vec<Points>),
    /// Samples over time.
    Matrix(Vec<Points>),
    /// A number without labels.
    Scalar(i64, f64),
    /// A text.
    String(i64, String),
}

/// What a query gave, and what was said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotated {
    /// The value.
    pub answer: Answer,
    /// Warnings and infos.
    pub annotations: Vec<String>,
}

/// Bounds of a range query, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First step, milliseconds.
    pub start_ms: i64,
    /// The last step is at most here, milliseconds.
    pub end_ms: i64,
    /// Between steps, milliseconds.
    pub step_ms: i64,
}

impl Answer {
    /// Its series; none where it is a scalar or a string.
    pub fn series(&self) -> &[Points] {
        match self {
            Answer::Vector(series) | Answer::Matrix(series) => series,
            Answer::Scalar(..) | Answer::String(..) => &[],
        }
    }

    /// Whether it has no series.
    pub fn is_empty(&self) -> bool {
        matches!(self, Answer::Vector(series) | Answer::Matrix(series) if series.is_empty())
    }

    /// The only value.
    pub fn number(&self) -> Option<f64> {
        match self {
            Answer::Scalar(_, value) => Some(*value),
            Answer::Vector(series) => match series.as_slice() {
                [only] => only.samples.first().map(|sample| sample.1),
                _ => None,
            },
            Answer::Matrix(_) | Answer::String(..) => None,
        }
    }
}

/// Seconds with all three decimals.
pub fn seconds(at_ms: i64) -> String {
    // Exact: a float holds the milliseconds of times far beyond ours.
    format!("{:.3}", at_ms as f64 / 1000.0)
}

/// An instant query.
pub fn query(client: &mut Client, expr: &str, at_ms: i64) -> Result<Annotated> {
    answer(client, "/api/v1/query", &[("query", expr), ("time", &seconds(at_ms))])
}

/// A range query.
pub fn query_range(client: &mut Client, expr: &str, range: &Range) -> Result<Annotated> {
    let [start, end, step] = [range.start_ms, range.end_ms, range.step_ms].map(seconds);
    answer(client, "/api/v1/query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", &step)])
}

/// The `data` of any answer.
pub fn data(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Result<Value> {
    Ok(body(client, path, fields)?["data"].take())
}

/// Warnings and infos of an answer, sorted.
pub fn annotations(body: &Value) -> Vec<String> {
    let all = ["warnings", "infos"].into_iter().flat_map(|name| body[name].as_array().into_iter().flatten());
    let mut all: Vec<String> = all.filter_map(Value::as_str).map(str::to_string).collect();
    all.sort();
    all
}

fn body(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Result<Value> {
    let response = client.post_form(path, fields)?;
    let excerpt = response.excerpt();
    ensure!(response.status == 200, "{path} {fields:?}: status {}: {excerpt}", response.status);
    let body: Value = serde_json::from_slice(&response.body).with_context(|| format!("not JSON: {excerpt}"))?;
    ensure!(body["status"] == "success", "{path} {fields:?}: {excerpt}");
    Ok(body)
}

fn answer(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Result<Annotated> {
    let body = body(client, path, fields)?;
    let data = &body["data"];
    let result = &data["result"];
    let answer = match data["resultType"].as_str().context("no resultType")? {
        "vector" => Answer::Vector(all_points(result)?),
        "matrix" => Answer::Matrix(all_points(result)?),
        "scalar" => {
            let (at_ms, value) = sample(result)?;
            Answer::Scalar(at_ms, value)
        }
        "string" => {
            let text = result[1].as_str().context("not a text")?;
            Answer::String(time(&result[0])?, text.to_string())
        }
        other => bail!("an answer of type {other}"),
    };
    Ok(Annotated { answer, annotations: annotations(&body) })
}

fn all_points(result: &Value) -> Result<Vec<Points>> {
    result.as_array().context("no list of series")?.iter().map(points).collect()
}

fn points(series: &Value) -> Result<Points> {
    let mut labels = Labels::new();
    for (name, value) in series["metric"].as_object().context("no labels")? {
        labels.insert(name.clone(), value.as_str().context("a label is no text")?.to_string());
    }
    let samples = match (series.get("value"), series.get("values")) {
        (Some(one), None) => vec![sample(one)?],
        (None, Some(many)) => {
            many.as_array().context("no list of samples")?.iter().map(sample).collect::<Result<_>>()?
        }
        _ => bail!("neither value nor values: {series}"),
    };
    Ok(Points { labels, samples })
}

fn sample(pair: &Value) -> Result<(i64, f64)> {
    let text = pair[1].as_str().with_context(|| format!("not a sample: {pair}"))?;
    Ok((time(&pair[0])?, text.parse().with_context(|| format!("not a number: {text}"))?))
}

fn time(value: &Value) -> Result<i64> {
    let seconds = value.as_f64().with_context(|| format!("not a time: {value}"))?;
    Ok((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_their_milliseconds_and_special_values() {
        let pair = serde_json::json!([1_700_000_000.123, "+Inf"]);
        assert_eq!(sample(&pair).unwrap(), (1_700_000_000_123, f64::INFINITY));
        assert!(sample(&serde_json::json!([1, "NaN"])).unwrap().1.is_nan());
        assert_eq!(seconds(-1), "-0.001");
        assert_eq!(seconds(1_700_000_000_007), "1700000000.007");
    }
}
