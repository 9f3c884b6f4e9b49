//! Pages, against what `expfmt` of prometheus/common v0.70.1 writes, and read back.

use super::*;
use crate::{Entry, Format, LabelsScratch, Parser};
use proptest::prelude::*;

fn page(page: Page, escaping: Escaping) -> String {
    let mut e = Encoder::new(page, escaping);
    let at = Some(TimestampMs(1_520_879_607_789));
    let family = |name, metric_type, help, unit| Family { name, metric_type, help, unit };
    e.family(&family("req_total", MetricType::Counter, Some("All \"requests\"\n of \\ it."), None));
    let exemplar = ExemplarLine { labels: &[("trace_id", "x")], value: 1.0, timestamp: at };
    let labels = [("path", "a\"b\\c\nd"), ("code", "200")];
    e.sample("req_total", labels, Value::Float(1_234_567.0), None, Some(&exemplar));
    e.sample("req_total", [], Value::Float(0.0), at, None);
    e.family(&family("odd", MetricType::Counter, None, None));
    e.sample("odd", [], Value::Float(1.0), None, None);
    e.family(&family("temp_celsius", MetricType::Gauge, Some(""), Some("celsius")));
    e.sample("temp_celsius", [], Value::Float(f64::NEG_INFINITY), None, None);
    e.sample("temp_celsius", [("a", "")], Value::Float(f64::NAN), Some(TimestampMs(-1500)), None);
    e.family(&family("my.name", MetricType::Unknown, None, None));
    e.sample("my.name", [], Value::Float(0.1), None, None);
    e.sample("my.name", [("l.b", "ü")], Value::Float(-1.0), None, None);
    e.family(&family("h_seconds", MetricType::Histogram, None, None));
    let exemplar = ExemplarLine { labels: &[("t", "q\"x")], value: 0.5, timestamp: None };
    let bound = e.float_label(1.0);
    e.sample("h_seconds_bucket", [("a", "b"), ("le", bound.as_str())], Value::Count(2), None, Some(&exemplar));
    let bound = e.float_label(f64::INFINITY);
    e.sample("h_seconds_bucket", [("a", "b"), ("le", bound.as_str())], Value::Count(1_000_000), None, None);
    e.sample("h_seconds_sum", [("a", "b")], Value::Float(10.0), None, None);
    e.sample("h_seconds_count", [("a", "b")], Value::Count(1_000_000), None, None);
    assert!(!e.is_empty());
    String::from_utf8(e.finish()).unwrap()
}

const TEXT: &str = r#"# HELP req_total All "requests"\n of \\ it.
# TYPE req_total counter
req_total{path="a\"b\\c\nd",code="200"} 1.234567e+06
req_total 0 1520879607789
# TYPE odd counter
odd 1
# HELP temp_celsius 
# TYPE temp_celsius gauge
temp_celsius -Inf
temp_celsius{a=""} NaN -1500
# TYPE "my.name" untyped
{"my.name"} 0.1
{"my.name","l.b"="ü"} -1
# TYPE h_seconds histogram
h_seconds_bucket{a="b",le="1"} 2
h_seconds_bucket{a="b",le="+Inf"} 1e+06
h_seconds_sum{a="b"} 10
h_seconds_count{a="b"} 1e+06
"#;

const OPENMETRICS: &str = r#"# HELP req All \"requests\"\n of \\ it.
# TYPE req counter
req_total{path="a\"b\\c\nd",code="200"} 1.234567e+06 # {trace_id="x"} 1.0 1.520879607789e+09
req_total 0.0 1.520879607789e+09
# TYPE odd unknown
odd 1.0
# HELP temp_celsius 
# TYPE temp_celsius gauge
# UNIT temp_celsius celsius
temp_celsius -Inf
temp_celsius{a=""} NaN -1.5
# TYPE "my.name" unknown
{"my.name"} 0.1
{"my.name","l.b"="ü"} -1.0
# TYPE h_seconds histogram
h_seconds_bucket{a="b",le="1.0"} 2 # {t="q\"x"} 0.5
h_seconds_bucket{a="b",le="+Inf"} 1000000
h_seconds_sum{a="b"} 10.0
h_seconds_count{a="b"} 1000000
# EOF
"#;

#[test]
fn pages_are_those_of_expfmt() {
    assert_eq!(page(Page::Text, Escaping::AllowUtf8), TEXT);
    assert_eq!(page(Page::OpenMetrics1_0_0, Escaping::AllowUtf8), OPENMETRICS);
    let underscores = |text: &str| {
        text.replace("# TYPE \"my.name\"", "# TYPE my_name")
            .replace("{\"my.name\"}", "my_name")
            .replace("{\"my.name\",\"l.b\"=", "my_name{l_b=")
    };
    assert_eq!(page(Page::Text, Escaping::Underscores), underscores(TEXT));
    assert_eq!(page(Page::OpenMetrics0_0_1, Escaping::Underscores), underscores(OPENMETRICS));
}

#[test]
fn names_are_escaped_as_prometheus_escapes_them() {
    for (name, underscores, dots, values) in [
        ("", "", "", ""),
        ("a:b_c", "a:b_c", "a:b__c", "a:b_c"),
        ("my.name_x", "my_name_x", "my_dot_name__x", "U__my_2e_name__x"),
        ("ü1", "_1", "__1", "U___fc_1"),
        ("1ab", "_ab", "__ab", "U___31_ab"),
        ("a b.c", "a_b_c", "a__b_dot_c", "U__a_20_b_2e_c"),
        ("😀", "_", "__", "U___1f600_"),
    ] {
        assert_eq!(escape_name(name, Escaping::Underscores), underscores);
        assert_eq!(escape_name(name, Escaping::Dots), dots);
        assert_eq!(escape_name(name, Escaping::Values), values);
        assert_eq!(escape_name(name, Escaping::AllowUtf8), name);
    }
}

#[test]
fn types_that_a_format_lacks_become_the_nearest() {
    let written = |page, metric_type| {
        let mut e = Encoder::new(page, Escaping::AllowUtf8);
        e.family(&Family { name: "x", metric_type, help: None, unit: Some("y") });
        String::from_utf8(e.finish()).unwrap()
    };
    for (metric_type, text, openmetrics) in [
        (MetricType::Info, "gauge", "info"),
        (MetricType::StateSet, "gauge", "stateset"),
        (MetricType::GaugeHistogram, "histogram", "gaugehistogram"),
        (MetricType::Summary, "summary", "summary"),
    ] {
        assert_eq!(written(Page::Text, metric_type), format!("# TYPE x {text}\n"));
        assert_eq!(written(Page::OpenMetrics1_0_0, metric_type), format!("# TYPE x {openmetrics}\n# EOF\n"));
    }
}

#[derive(Clone, Debug)]
struct Written {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
    seconds: Option<i64>,
    exemplar: Option<(String, f64)>,
}

fn any_written() -> impl Strategy<Value = Written> {
    let name = prop_oneof!["[a-z_:][a-z0-9_:]{0,8}", "[^\\p{C}]{1,8}", "[a\\\\\"\n.]{1,5}"];
    let labels = proptest::collection::btree_map(
        prop_oneof!["[a-z_][a-z0-9_]{0,8}", "[^\\p{C}]{1,8}", "[a\\\\\"\n.:]{1,5}"],
        prop_oneof!["[^\\p{C}]{0,12}", "[n\\\\\"\n]{0,6}"],
        0..4,
    );
    let exemplar = proptest::option::of(("[a-z]{1,5}", -1e3..1e3f64));
    (name, labels, any::<f64>(), proptest::option::of(-1_000_000i64..4_000_000_000), exemplar).prop_map(
        |(name, labels, value, seconds, exemplar)| Written {
            name,
            labels: labels.into_iter().collect(),
            value,
            seconds,
            exemplar,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(samples in proptest::collection::vec(any_written(), 0..6), help in "[^\\p{C}]{0,9}[\\\\\"\nn]{0,3}") {
        for (page, format) in [(Page::Text, Format::Text), (Page::OpenMetrics1_0_0, Format::OpenMetrics)] {
            let mut e = Encoder::new(page, Escaping::AllowUtf8);
            for s in &samples {
                e.family(&Family { name: &s.name, metric_type: MetricType::Gauge, help: Some(&help), unit: None });
                let labels = s.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                let pairs = s.exemplar.as_ref().map(|(v, _)| [("id", v.as_str())]);
                let exemplar = s.exemplar.as_ref().zip(pairs.as_ref()).map(|((_, value), pairs)| ExemplarLine {
                    labels: pairs,
                    value: *value,
                    timestamp: None,
                });
                // Text has no times before the epoch: its parser refuses them, as Prometheus' does.
                let at = s.seconds.filter(|t| format == Format::OpenMetrics || *t >= 0).map(|t| TimestampMs(t * 1000));
                e.sample(&s.name, labels, Value::Float(s.value), at, exemplar.as_ref());
            }
            let page = e.finish();
            let mut parser = Parser::new(format, &page);
            for s in &samples {
                check_sample(s, &help, format, &mut parser);
            }
            prop_assert!(parser.next().unwrap().is_none());
        }
    }
}

fn check_sample(s: &Written, expected_help: &str, format: Format, parser: &mut Parser<'_>) {
    let help = parser.next().unwrap();
    assert!(matches!(&help, Some(Entry::Help { text, .. }) if text == expected_help), "{help:?} {expected_help:?}");
    assert!(matches!(parser.next(), Ok(Some(Entry::Type { metric_type: MetricType::Gauge, .. }))));
    let Ok(Some(Entry::Series(series))) = parser.next() else { panic!("{s:?}") };
    let mut scratch = LabelsScratch::new();
    series.labels(&mut scratch).unwrap();
    let mut expected: Vec<(&str, &str)> = s.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    expected.push(("__name__", &s.name));
    expected.sort_unstable();
    let mut read: Vec<(&str, &str)> = scratch.iter().collect();
    read.sort_unstable();
    assert_eq!(read, expected);
    assert!(series.sample.value == s.value || s.value.is_nan() && series.sample.value.is_nan());
    let at = s.seconds.filter(|t| format == Format::OpenMetrics || *t >= 0).map(|t| TimestampMs(t * 1000));
    assert_eq!(series.sample.timestamp, at);
    let exemplar = parser.exemplar().map(|e| e.to_exemplar(&mut scratch).unwrap());
    let expected = s.exemplar.as_ref().filter(|_| format == Format::OpenMetrics);
    assert_eq!(exemplar.map(|e| (e.labels.get("id").unwrap().to_owned(), e.value)).as_ref(), expected);
}
