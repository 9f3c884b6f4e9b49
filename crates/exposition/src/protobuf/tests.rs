use super::*;
use crate::{Entry, Parser};

fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    // Fields above 15 have tags of two bytes.
    let mut out = if number > 15 { vec![(number & 15) << 3 | 0x82, number >> 4] } else { vec![number << 3 | 2] };
    put_length(&mut out, content.len());
    out.extend_from_slice(content);
    out
}

fn put_length(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn double(number: u8, v: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &v.to_le_bytes()].concat()
}

fn varint(number: u8, v: u8) -> Vec<u8> {
    vec![number << 3, v]
}

fn label(name: &str, value: &str) -> Vec<u8> {
    bytes_field(1, &[bytes_field(1, name.as_bytes()), bytes_field(2, value.as_bytes())].concat())
}

/// A metric of some fields.
fn metric(fields: &[Vec<u8>]) -> Vec<u8> {
    bytes_field(4, &fields.concat())
}

fn delimited_family(name: &str, kind: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    let message = [bytes_field(1, name.as_bytes()), varint(3, kind), rest.concat()].concat();
    let mut out = Vec::new();
    put_length(&mut out, message.len());
    out.extend(message);
    out
}

/// A second and half of it, where `second` is given.
fn exemplar(number: u8, trace: &str, value: f64, second: Option<u8>) -> Vec<u8> {
    // 500,000,000 nanoseconds.
    let time = second.map(|s| bytes_field(3, &[varint(1, s), vec![2 << 3, 0x80, 0xca, 0xb5, 0xee, 0x01]].concat()));
    bytes_field(number, &[label("trace_id", trace), double(2, value), time.unwrap_or_default()].concat())
}

fn span(number: u8, offset: u8, length: u8) -> Vec<u8> {
    bytes_field(number, &[varint(1, offset), varint(2, length)].concat())
}

fn bucket(upper: f64, cumulative: u8, exemplar: Vec<u8>) -> Vec<u8> {
    bytes_field(3, &[varint(1, cumulative), double(2, upper), exemplar].concat())
}

const CLASSIC: HistogramChoice = HistogramChoice { native: false, classic_too: false, to_custom_buckets: false };
const NATIVE: HistogramChoice = HistogramChoice { native: true, ..CLASSIC };

/// What stands beside the lines, in words.
fn beside(lines: &Lines) -> Vec<String> {
    let histogram = |h: &crate::LineHistogram| match &h.value {
        SampleValue::Histogram(i) => {
            let (count, buckets, hint) = (i.count, &i.positive_buckets, i.counter_reset_hint);
            format!("{} integers {count} {:?} {buckets:?} {:?} {hint:?}", h.line, i.positive_spans, i.custom_values)
        }
        SampleValue::FloatHistogram(f) => {
            let (count, buckets, hint) = (f.count, &f.positive_buckets, f.counter_reset_hint);
            format!("{} floats {count} {:?} {buckets:?} {:?} {hint:?}", h.line, f.positive_spans, f.custom_values)
        }
        SampleValue::Float(_) => unreachable!("no histogram"),
    };
    let exemplar =
        |(line, e): &(u64, model::Exemplar)| format!("{line} {} {} {:?}", e.labels, e.value, e.timestamp.map(|t| t.0));
    lines.histograms.iter().map(histogram).chain(lines.exemplars.iter().map(exemplar)).collect()
}

#[track_caller]
fn check(page: &[u8], choice: HistogramChoice, text: &str, expected: &[&str]) {
    let got = lines(page, choice);
    assert_eq!(got.error, None);
    assert_eq!(String::from_utf8_lossy(&got.text), text);
    assert_eq!(beside(&got), expected);
}

#[test]
fn simple_metrics_become_a_line_each() {
    let help = bytes_field(2, b"One\nhelp \\.");
    let unit = bytes_field(5, b"seconds");
    let counter = bytes_field(3, &[double(1, 7.0), exemplar(2, "x", 0.5, Some(3))].concat());
    let page = [
        delimited_family("c_total", 0, &[help, unit, metric(&[label("a", "x\"y\n"), label("b", ""), counter])]),
        delimited_family("nothing", 1, &[]),
        delimited_family("g", 1, &[metric(&[bytes_field(2, &double(1, -0.0)), varint(6, 77)])]),
        delimited_family("g ü", 3, &[metric(&[label("ü", "1"), bytes_field(5, &double(1, f64::NAN))])]),
        delimited_family("none", 1, &[metric(&[])]),
    ]
    .concat();
    check(
        &page,
        CLASSIC,
        "# HELP c_total One\\nhelp \\\\.\n# TYPE c_total counter\n# UNIT c_total seconds\n\
         c_total{a=\"x\\\"y\\n\",b=\"\"} 7\n\
         # TYPE g gauge\ng -0 77\n\
         # TYPE \"g ü\" untyped\n{\"g ü\",\"ü\"=\"1\"} NaN\n\
         # TYPE none gauge\nnone 0\n",
        &[r#"0 {trace_id="x"} 0.5 Some(3500)"#],
    );
    check(b"", NATIVE, "", &[]);
}

#[test]
fn summaries_have_a_line_for_each_quantile() {
    let quantile = |q: f64, v: f64| bytes_field(3, &[double(1, q), double(2, v)].concat());
    let full = bytes_field(4, &[varint(1, 5), double(2, 1.5), quantile(0.5, 0.1), quantile(1.0, 9.0)].concat());
    let empty = bytes_field(4, &[varint(1, 1)].concat());
    let page = delimited_family("s", 2, &[metric(&[label("a", "1"), full]), metric(&[empty])]);
    check(
        &page,
        NATIVE,
        "# TYPE s summary\ns_count{a=\"1\"} 5\ns_sum{a=\"1\"} 1.5\ns{a=\"1\",quantile=\"0.5\"} 0.1\n\
         s{a=\"1\",quantile=\"1.0\"} 9\ns_count 1\ns_sum 0\n",
        &[],
    );
}

/// Three observations, classic buckets of which the last is not written, and two native buckets.
fn both() -> Vec<u8> {
    let classic =
        [bucket(0.5, 1, exemplar(3, "dated", 0.4, Some(1))), bucket(1.0, 3, exemplar(3, "undated", 0.9, None))];
    let native = [varint(5, 2), span(12, 2, 2), bytes_field(13, &[2, 2])];
    let message = [varint(1, 3), double(2, 1.5), classic.concat(), native.concat()].concat();
    bytes_field(7, &message)
}

const TYPE: &str = "# TYPE h histogram\n";
const CLASSIC_LINES: &str =
    "h_count 3\nh_sum 1.5\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1.0\"} 3\nh_bucket{le=\"+Inf\"} 3\n";

#[test]
fn a_histogram_is_read_as_is_chosen() {
    let page = delimited_family("h", 4, &[metric(&[both()])]);
    let native = "0 integers 3 [Span { offset: 1, length: 2 }] [1, 1] [] Unknown";
    let dated = |line: u64| format!(r#"{line} {{trace_id="dated"}} 0.4 Some(1500)"#);
    let undated = |line: u64| format!(r#"{line} {{trace_id="undated"}} 0.9 None"#);
    check(&page, CLASSIC, &format!("{TYPE}{CLASSIC_LINES}"), &[&dated(2), &undated(3)]);
    // Only what has a time of its own is an exemplar of a native histogram.
    check(&page, NATIVE, &format!("{TYPE}h 0\n"), &[native, &dated(0)]);
    let also = HistogramChoice { classic_too: true, ..NATIVE };
    check(&page, also, &format!("{TYPE}h 0\n{CLASSIC_LINES}"), &[native, &dated(0), &dated(3), &undated(4)]);
    // What is native is not converted, unless that is not read.
    check(&page, HistogramChoice { to_custom_buckets: true, ..NATIVE }, &format!("{TYPE}h 0\n"), &[native, &dated(0)]);
    let custom = |line: u64| format!("{line} integers 3 [Span {{ offset: 0, length: 2 }}] [1, 1] [0.5, 1.0] Unknown");
    let to_custom_buckets = HistogramChoice { to_custom_buckets: true, ..CLASSIC };
    check(&page, to_custom_buckets, &format!("{TYPE}h 0\n"), &[&custom(0), &dated(0)]);
    let all = HistogramChoice { classic_too: true, ..to_custom_buckets };
    check(&page, all, &format!("{TYPE}{CLASSIC_LINES}h 0\n"), &[&custom(5), &dated(2), &undated(3), &dated(5)]);
}

#[test]
fn native_histograms_of_floats_and_gauges_are_told_apart() {
    let zero = [double(4, 2.5), double(8, 0.5), double(6, 0.25)];
    let floats = [zero.concat(), span(9, 0, 1), double(11, 2.0), exemplar(16, "own", 1.0, Some(1))];
    let page = [
        delimited_family("f", 5, &[metric(&[bytes_field(7, &floats.concat()), varint(6, 9)])]),
        // A span that says no more than that this is a native histogram.
        delimited_family("n", 4, &[metric(&[bytes_field(7, &span(12, 0, 0))])]),
        delimited_family(
            "c",
            4,
            &[metric(&[bytes_field(7, &[varint(1, 0), bucket(f64::INFINITY, 0, vec![])].concat())])],
        ),
    ]
    .concat();
    check(
        &page,
        NATIVE,
        "# TYPE f gaugehistogram\nf 0 9\n# TYPE n histogram\nn 0\n# TYPE c histogram\nc_count 0\nc_sum 0\nc_bucket{le=\"+Inf\"} 0\n",
        &["0 floats 2.5 [] [] [] Gauge", "1 integers 0 [] [] [] Unknown", r#"0 {trace_id="own"} 1 Some(1500)"#],
    );
    let got = lines(&page, NATIVE);
    let SampleValue::FloatHistogram(h) = &got.histograms[0].value else { panic!("a float histogram") };
    assert_eq!((h.zero_count, h.zero_threshold, &h.negative_buckets[..]), (0.5, 0.25, &[2.0][..]));
    assert_eq!(got.histograms[0].timestamp, Some(TimestampMs(9)));
}

#[test]
fn what_cannot_be_is_told_behind_the_lines_before() {
    let good = delimited_family("g", 1, &[metric(&[])]);
    let invalid = |label: Vec<u8>| delimited_family("x", 1, &[metric(&[label])]);
    let of = |histogram: &[Vec<u8>]| delimited_family("x", 4, &[metric(&[bytes_field(7, &histogram.concat())])]);
    let decreasing = of(&[varint(1, 1), bucket(0.5, 3, vec![]), bucket(1.0, 1, vec![])]);
    for (bad, choice, words) in [
        (vec![9, 1], NATIVE, "unexpected EOF"),
        (vec![2, 0x08, 1], NATIVE, "proto: wrong wireType"),
        (delimited_family("", 1, &[metric(&[])]), NATIVE, "invalid metric name: "),
        (delimited_family("a\0b", 1, &[metric(&[])]), NATIVE, "invalid metric name: a\0b"),
        (delimited_family("x", 9, &[metric(&[])]), NATIVE, r#"unknown metric type for metric "x": 9"#),
        (delimited_family("x", 1, &[bytes_field(2, b"\xff"), metric(&[])]), NATIVE, r#"invalid help for metric "x""#),
        (invalid(label("", "x")), NATIVE, "invalid label name: "),
        (invalid(bytes_field(1, &bytes_field(1, b"\xff"))), NATIVE, "invalid label name: \u{fffd}"),
        (
            invalid(bytes_field(1, &[bytes_field(1, b"a"), bytes_field(2, b"\xff")].concat())),
            NATIVE,
            "invalid label value: \u{fffd}",
        ),
        (
            of(&[span(12, 0, 2), bytes_field(13, &[2])]),
            NATIVE,
            r#"histogram "x": positive side: spans require 2 buckets, have 1"#,
        ),
        (of(&[span(9, 0, 1)]), NATIVE, r#"histogram "x": negative side: spans require 1 buckets, have 0"#),
        (decreasing, HistogramChoice { to_custom_buckets: true, ..CLASSIC }, "count is not cumulative: 1 < 3"),
    ] {
        let got = lines(&[&good[..], &bad].concat(), choice);
        assert_eq!(got.error.unwrap().to_string(), words);
        assert!(got.text.starts_with(b"# TYPE g gauge\ng 0\n"));
    }
}

#[test]
fn a_page_that_becomes_too_long_is_refused() {
    let buckets: Vec<Vec<u8>> = (0..100).map(|i| bucket(f64::from(i), 0, vec![])).collect();
    let histogram = bytes_field(7, &buckets.concat());
    let page = delimited_family("h", 4, &[metric(&[label("a", &"x".repeat(1000)), histogram])]);
    assert_eq!(lines_within(&page, CLASSIC, 200_000).error, None);
    assert_eq!(lines_within(&page, CLASSIC, 50_000).error, Some(LinesError::TooLong));
}

#[test]
fn lines_say_again_what_the_messages_said() {
    let value = "a\\b\"c\nd\0e\\";
    let gauge = bytes_field(2, &double(1, 1e-300));
    let page =
        delimited_family("g", 1, &[metric(&[label("l", value), label("quote\"d", "x"), gauge, vec![6 << 3, 0x85, 7]])]);
    let got = lines(&page, NATIVE);
    let mut parser = Parser::new(Format::Protobuf, &got.text);
    let mut scratch = crate::LabelsScratch::new();
    assert!(matches!(parser.next(), Ok(Some(Entry::Type { .. }))));
    let Ok(Some(Entry::Series(series))) = parser.next() else { panic!("a series") };
    assert_eq!((series.sample.value, series.sample.timestamp), (1e-300, Some(TimestampMs(901))));
    series.labels(&mut scratch).unwrap();
    let labels: Vec<(&str, &str)> = scratch.iter().collect();
    assert_eq!(labels, [("__name__", "g"), ("l", value), ("quote\"d", "x")]);
    assert!(parser.next().unwrap().is_none());
}
