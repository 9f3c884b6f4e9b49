//! Answers of the query API, and their comparison.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::http::Client;

/// One series of an answer. Times are seconds, values text, as in the JSON.
#[derive(Debug, Deserialize)]
pub struct Series<'a> {
    /// Labels, the metric name as `__name__`.
    pub metric: BTreeMap<String, String>,
    /// The sample of an instant vector.
    #[serde(borrow)]
    pub value: Option<(f64, &'a str)>,
    /// The samples of a matrix.
    #[serde(borrow, default)]
    pub values: Vec<(f64, &'a str)>,
}

impl Series<'_> {
    /// All samples as milliseconds and numbers.
    pub fn samples(&self) -> Result<Vec<(i64, f64)>> {
        let read = |(seconds, value): &(f64, &str)| {
            let value = value.parse::<f64>().with_context(|| format!("not a value: {value}"))?;
            Ok(((seconds * 1000.0).round() as i64, value))
        };
        self.value.iter().chain(&self.values).map(read).collect()
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    status: &'a str,
    #[serde(borrow)]
    data: Option<Vectors<'a>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Vectors<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

/// Reads the answer to a query whose result is a vector or a matrix.
pub fn parse(body: &[u8]) -> Result<Vec<Series<'_>>> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).context("not an answer of the query API")?;
    match envelope.data {
        Some(vectors) if envelope.status == "success" => Ok(vectors.result),
        _ => bail!("the query failed: {}", envelope.error.unwrap_or_default()),
    }
}

/// What a system said to a question.
#[derive(Debug)]
pub enum Said {
    /// The body of an answer, to be parsed.
    Answer(Vec<u8>),
    /// It refused the question, as one that it does not understand or cannot work out.
    Refusal(String),
}

/// Asks at one time, or over a range with a step. Fails where nothing was said; a refusal is no failure.
pub fn ask(client: &mut Client, query: &str, (start_ms, end_ms): (i64, i64), step_ms: Option<i64>) -> Result<Said> {
    let (start, end, step) = (seconds(start_ms), seconds(end_ms), seconds(step_ms.unwrap_or_default()));
    // VictoriaMetrics alone knows `nocache`; the others ignore it.
    let (path, form) = match step_ms {
        None => ("/api/v1/query", vec![("query", query), ("time", end.as_str()), ("nocache", "1")]),
        Some(_) => (
            "/api/v1/query_range",
            vec![("query", query), ("start", &start), ("end", &end), ("step", &step), ("nocache", "1")],
        ),
    };
    let response = client.post_form(path, &form).with_context(|| format!("ask {query}"))?;
    match response.status {
        200..=299 => Ok(Said::Answer(response.body)),
        400..=499 => Ok(Said::Refusal(response.excerpt())),
        status => bail!("ask {query}: status {status}: {}", response.excerpt()),
    }
}

/// Asks for the value of an expression at a time; the body, to be parsed.
pub fn ask_instant(client: &mut Client, query: &str, at_ms: i64) -> Result<Vec<u8>> {
    // VictoriaMetrics alone knows `nocache`; the others ignore it.
    let form = [("query", query), ("time", &seconds(at_ms)), ("nocache", "1")];
    let response = client.post_form("/api/v1/query", &form).and_then(|response| response.success("query"));
    Ok(response.with_context(|| format!("ask {query}"))?.body)
}

/// Asks for the values of an expression over `[start_ms, end_ms]`.
pub fn ask_range(client: &mut Client, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Vec<u8>> {
    let (start, end, step) = (seconds(start_ms), seconds(end_ms), seconds(step_ms));
    let form = [("query", query), ("start", &start), ("end", &end), ("step", &step), ("nocache", "1")];
    let response = client.post_form("/api/v1/query_range", &form).and_then(|response| response.success("query"));
    Ok(response.with_context(|| format!("ask {query}"))?.body)
}

/// Milliseconds as the API takes times.
pub fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// What identifies a series in a map: its labels but `__name__`, which functions drop.
pub fn key<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut key = String::with_capacity(200);
    for (name, value) in labels.filter(|(name, _)| *name != "__name__") {
        key.push_str(name);
        key.push('\u{1}');
        key.push_str(value);
        key.push('\u{2}');
    }
    key
}

/// Whether two values are equal within a relative error; NaN equals NaN.
pub fn close(a: f64, b: f64, relative: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= relative * a.abs().max(b.abs())
}

/// Whether two parsed answers hold the same series with the same samples, values within 1e-9; else what differs first.
pub fn compare(ours: &[u8], theirs: &[u8]) -> Result<Option<String>> {
    let (ours, theirs) = (by_labels(ours)?, by_labels(theirs)?);
    if ours.len() != theirs.len() {
        return Ok(Some(format!("{} series against {}", ours.len(), theirs.len())));
    }
    for ((labels, samples), (other_labels, other)) in ours.iter().zip(&theirs) {
        if labels != other_labels {
            return Ok(Some(format!("series {labels:?} against {other_labels:?}")));
        }
        let equal = |(a, b): (&(i64, f64), &(i64, f64))| a.0 == b.0 && close(a.1, b.1, 1e-9);
        if samples.len() != other.len() || !samples.iter().zip(other).all(equal) {
            let differing = samples.iter().zip(other).find(|pair| !equal(*pair));
            let counts = (samples.len(), other.len());
            return Ok(Some(format!("samples of {labels:?}: counts {counts:?}, first difference {differing:?}")));
        }
    }
    Ok(None)
}

type Samples = Vec<(i64, f64)>;

fn by_labels(body: &[u8]) -> Result<BTreeMap<BTreeMap<String, String>, Samples>> {
    parse(body)?
        .into_iter()
        .map(|series| {
            let samples = series.samples()?;
            Ok((series.metric, samples))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(series: &str) -> Vec<u8> {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}},"stats":{{}}}}"#)
            .into_bytes()
    }

    fn check_difference(ours: &str, theirs: &str, expected: Option<&str>) {
        let difference = compare(&vector(ours), &vector(theirs)).unwrap();
        match expected {
            None => assert_eq!(difference, None),
            Some(text) => assert!(difference.as_deref().is_some_and(|d| d.contains(text)), "{difference:?}"),
        }
    }

    #[test]
    fn answers_are_equal_whatever_the_order_and_the_last_digit() {
        let (a, b) =
            (r#"{"metric":{"a":"1"},"value":[7,"1"]}"#, r#"{"metric":{"a":"2"},"values":[[7,"NaN"],[8,"+Inf"]]}"#);
        check_difference(&format!("{a},{b}"), &format!("{b},{a}"), None);
        check_difference(a, r#"{"metric":{"a":"1"},"value":[7.000,"1.0000000001"]}"#, None);
        check_difference(a, r#"{"metric":{"a":"1"},"value":[7,"1.00001"]}"#, Some("first difference"));
        check_difference(a, r#"{"metric":{"a":"1"},"value":[7.015,"1"]}"#, Some("first difference"));
        check_difference(a, r#"{"metric":{"a":"3"},"value":[7,"1"]}"#, Some("series"));
        check_difference(a, "", Some("1 series against 0"));
    }

    #[test]
    fn a_failed_query_is_an_error_with_its_reason() {
        let error = parse(br#"{"status":"error","errorType":"bad_data","error":"no such thing"}"#).unwrap_err();
        assert!(error.to_string().contains("no such thing"));
        assert!(parse(b"<html>").is_err());
    }

    #[test]
    fn times_have_three_decimals() {
        assert_eq!(seconds(1_700_000_000_007), "1700000000.007");
    }
}
