//! Native histograms as texts: as Prometheus prints them, as test scripts write them, as the HTTP API shows them.
//!
//! Source: `String` and `TestExpression` of Prometheus `model/histogram/float_histogram.go`, `util/jsonutil`.

use std::fmt::Write;

use model::{Bucket, CounterResetHint, FloatHistogram, Span};

use crate::numbers::{format_g, json_float};

/// `{count:3, sum:4.5, (1,2]:3}`; empty buckets are left out.
pub fn format_histogram(h: &FloatHistogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", format_g(h.count), format_g(h.sum));
    let mut negative: Vec<Bucket> = h.negative().collect();
    negative.reverse();
    let zero = (h.zero_count != 0.0).then(|| h.zero_bucket());
    for b in negative.into_iter().chain(zero).chain(h.positive()).filter(|b| b.count != 0.0) {
        let open = if b.lower_inclusive { '[' } else { '(' };
        let close = if b.upper_inclusive { ']' } else { ')' };
        let (lower, upper, count) = (format_g(b.lower), format_g(b.upper), format_g(b.count));
        write!(out, ", {open}{lower},{upper}{close}:{count}").expect("a String takes every write");
    }
    out.push('}');
    out
}

fn list(numbers: &[f64]) -> String {
    let texts: Vec<String> = numbers.iter().map(|v| format_g(*v)).collect();
    format!("[{}]", texts.join(" "))
}

/// `{{schema:1 count:3 sum:4.5 buckets:[3]}}`, with one run of buckets per side.
pub fn test_expression(h: &FloatHistogram) -> String {
    let mut h = h.clone();
    h.compact(usize::MAX);
    let mut parts = Vec::new();
    if h.schema != 0 {
        parts.push(format!("schema:{}", h.schema));
    }
    for (key, v) in [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)] {
        if v != 0.0 {
            parts.push(format!("{key}:{}", format_g(v)));
        }
    }
    if h.is_custom() {
        parts.push(format!("custom_values:{}", list(&h.custom_values)));
    }
    let hint = match h.counter_reset_hint {
        CounterResetHint::Unknown => None,
        CounterResetHint::Reset => Some("reset"),
        CounterResetHint::NotReset => Some("not_reset"),
        CounterResetHint::Gauge => Some("gauge"),
    };
    parts.extend(hint.map(|hint| format!("counter_reset_hint:{hint}")));
    let mut side = |key: &str, offset_key: &str, buckets: &[f64], spans: &[Span]| {
        if let Some(span) = spans.first().filter(|span| span.offset != 0) {
            parts.push(format!("{offset_key}:{}", span.offset));
        }
        if !buckets.is_empty() {
            parts.push(format!("{key}:{}", list(buckets)));
        }
    };
    side("buckets", "offset", &h.positive_buckets, &h.positive_spans);
    side("n_buckets", "n_offset", &h.negative_buckets, &h.negative_spans);
    format!("{{{{{}}}}}", parts.join(" "))
}

/// `{"count":"3","sum":"4.5","buckets":[[0,"1","2","3"]]}`; the first number of a bucket says which bounds belong to it: 0 the
/// upper, 1 the lower, 2 none, 3 both. Empty buckets are left out.
pub fn histogram_json(h: &FloatHistogram) -> String {
    let mut out = format!("{{\"count\":{},\"sum\":{}", json_float(h.count), json_float(h.sum));
    let mut before = ",\"buckets\":[";
    for b in h.ascending().filter(|b| b.count != 0.0) {
        let bounds = match (b.lower_inclusive, b.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        let (lower, upper, count) = (json_float(b.lower), json_float(b.upper), json_float(b.count));
        write!(out, "{before}[{bounds},{lower},{upper},{count}]").expect("a String takes every write");
        before = ",";
    }
    out.push_str(if before == "," { "]}" } else { "}" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SequenceValue, parse_series_desc};

    fn parsed(text: &str) -> FloatHistogram {
        let combine = |a: &FloatHistogram, _: &FloatHistogram, _| Ok(a.clone());
        let series = parse_series_desc(format!("x {text}"), &combine).unwrap();
        let SequenceValue::Histogram { histogram, .. } = &series.values[0] else { panic!("{text} is no histogram") };
        FloatHistogram::clone(histogram)
    }

    #[test]
    fn histograms_are_written_as_prometheus_writes_them() {
        for (script, printed, json) in [
            ("{{}}", "{count:0, sum:0}", r#"{"count":"0","sum":"0"}"#),
            (
                "{{schema:0 sum:2.25 count:18 z_bucket:2 z_bucket_w:0.001 buckets:[3 0 4] offset:-2 n_buckets:[2]}}",
                "{count:18, sum:2.25, [-1,-0.5):2, [-0.001,0.001]:2, (0.125,0.25]:3, (0.5,1]:4}",
                r#"{"count":"18","sum":"2.25","buckets":[[1,"-1","-0.5","2"],[3,"-0.001","0.001","2"],[0,"0.125","0.25","3"],[0,"0.5","1","4"]]}"#,
            ),
            (
                "{{schema:-53 count:3 sum:1 custom_values:[1 2.5] buckets:[1 1 1]}}",
                "{count:3, sum:1, [-Inf,1]:1, (1,2.5]:1, (2.5,+Inf]:1}",
                r#"{"count":"3","sum":"1","buckets":[[3,"-Inf","1","1"],[0,"1","2.5","1"],[0,"2.5","+Inf","1"]]}"#,
            ),
        ] {
            let h = parsed(script);
            assert_eq!(format_histogram(&h), printed, "{script}");
            assert_eq!(histogram_json(&h), json, "{script}");
            assert!(parsed(&test_expression(&h)).equals(&h), "{script} {}", test_expression(&h));
        }
    }
}
