//! Series descriptions.

use std::collections::BTreeMap;

use model::{CounterResetHint, FloatHistogram, Span, is_stale};
use promql::numbers::{format_f, format_g};
use promql::{SequenceValue, Sign, parse_series_desc};
use serde_json::{Map, Value, json};

use crate::cases::text;
use crate::expressions::{check_errors, check_kind};

const CUSTOM_BUCKETS: i32 = -53;

/// Buckets by their index.
fn buckets(spans: &[Span], counts: &[f64]) -> BTreeMap<i32, f64> {
    let mut at = 0;
    let mut counts = counts.iter();
    let mut out = BTreeMap::new();
    for span in spans {
        at += span.offset;
        for _ in 0..span.length {
            out.insert(at, *counts.next().expect("a count for each bucket"));
            at += 1;
        }
    }
    out
}

/// One span from the first to the last bucket that is not empty.
fn packed(buckets: &BTreeMap<i32, f64>) -> (Vec<Span>, Vec<f64>) {
    let mut indexes = buckets.iter().filter(|(_, n)| **n != 0.0).map(|(i, _)| *i);
    let Some(first) = indexes.next() else { return (Vec::new(), Vec::new()) };
    let last = indexes.next_back().unwrap_or(first);
    let counts: Vec<f64> = (first..=last).map(|i| buckets.get(&i).copied().unwrap_or(0.0)).collect();
    (vec![Span { offset: first, length: u32::try_from(counts.len()).unwrap() }], counts)
}

/// Adds or subtracts, for exponential buckets and equal zero buckets: all that the cases need. The engine has the rest.
fn combine(base: &FloatHistogram, step: &FloatHistogram, sign: Sign) -> Result<FloatHistogram, String> {
    if (base.schema == CUSTOM_BUCKETS) != (step.schema == CUSTOM_BUCKETS) {
        return Err(
            "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas".to_owned()
        );
    }
    assert!(base.zero_threshold.to_bits() == step.zero_threshold.to_bits(), "not needed by the cases");
    let factor = if sign == Sign::Plus { 1.0 } else { -1.0 };
    let add = |a: BTreeMap<i32, f64>, b: BTreeMap<i32, f64>| {
        let mut sum = a;
        for (i, n) in b {
            // Each step to a coarser schema joins pairs of buckets.
            let i = ((i - 1) >> (step.schema - base.schema)) + 1;
            *sum.entry(i).or_default() += factor * n;
        }
        sum
    };
    let of = |h: &FloatHistogram| {
        (buckets(&h.positive_spans, &h.positive_buckets), buckets(&h.negative_spans, &h.negative_buckets))
    };
    let ((base_positive, base_negative), (step_positive, step_negative)) = (of(base), of(step));
    let (positive_spans, positive_buckets) = packed(&add(base_positive, step_positive));
    let (negative_spans, negative_buckets) = packed(&add(base_negative, step_negative));
    Ok(FloatHistogram {
        zero_count: base.zero_count + factor * step.zero_count,
        count: base.count + factor * step.count,
        sum: base.sum + factor * step.sum,
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        ..base.clone()
    })
}

/// A histogram in the notation of test scripts, as Prometheus' `TestExpression` prints it.
fn test_expression(h: &FloatHistogram) -> String {
    let mut parts = Vec::new();
    if h.schema != 0 {
        parts.push(format!("schema:{}", h.schema));
    }
    for (name, value) in
        [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)]
    {
        if value != 0.0 {
            parts.push(format!("{name}:{}", format_g(value)));
        }
    }
    let list = |values: &[f64]| format!("[{}]", values.iter().map(|v| format_g(*v)).collect::<Vec<_>>().join(" "));
    if h.schema == CUSTOM_BUCKETS {
        parts.push(format!("custom_values:{}", list(&h.custom_values)));
    }
    match h.counter_reset_hint {
        CounterResetHint::Unknown => {}
        CounterResetHint::Reset => parts.push("counter_reset_hint:reset".to_owned()),
        CounterResetHint::NotReset => parts.push("counter_reset_hint:not_reset".to_owned()),
        CounterResetHint::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
    }
    for (prefix, spans, counts) in
        [("", &h.positive_spans, &h.positive_buckets), ("n_", &h.negative_spans, &h.negative_buckets)]
    {
        let (spans, counts) = packed(&buckets(spans, counts));
        if let Some(span) = spans.first().filter(|s| s.offset != 0) {
            parts.push(format!("{prefix}offset:{}", span.offset));
        }
        if !counts.is_empty() {
            parts.push(format!("{prefix}buckets:{}", list(&counts)));
        }
    }
    format!("{{{{{}}}}}", parts.join(" "))
}

fn value_json(value: &SequenceValue) -> Value {
    match value {
        SequenceValue::Omitted => json!({ "omitted": true }),
        SequenceValue::Float(f) if is_stale(*f) => json!({ "value": "stale" }),
        SequenceValue::Float(f) => json!({ "value": format_f(*f) }),
        SequenceValue::Histogram { histogram, hint_set } => {
            let mut fields = Map::new();
            fields.insert("test_expression".to_owned(), json!(test_expression(histogram)));
            if *hint_set {
                fields.insert("counter_reset_hint_set".to_owned(), json!(true));
            }
            Value::Object(fields)
        }
    }
}

/// The values of a case. How a histogram prints as a result is the engine's: its notation in scripts says as much.
fn expected_values(case: &Value) -> Vec<Value> {
    let mut values = case["values"].as_array().cloned().unwrap_or_default();
    for value in &mut values {
        value.as_object_mut().unwrap().remove("histogram");
    }
    values
}

#[test]
fn series_descriptions_parse_as_in_prometheus() {
    check_kind("series", 141, |report, name, case, input| match parse_series_desc(input, &combine) {
        Ok(series) => {
            report.check(name, true, case["ok"].as_bool().unwrap());
            report.check(name, series.metric.to_string().as_str(), text(case, "string"));
            let got: Vec<Value> = series.values.iter().map(value_json).collect();
            report.check(name, Value::Array(got), Value::Array(expected_values(case)));
        }
        Err(errors) => {
            report.check(name, false, case["ok"].as_bool().unwrap());
            check_errors(report, name, case, &errors, "");
        }
    });
}
