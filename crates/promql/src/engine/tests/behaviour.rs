//! What the engine promises besides values: decoding once, limits, interruption, sharing, immediate name removal.

use model::{DurationMs, join_values, stale_nan};

use super::*;
use crate::{ParseOptions, parse_expr};

fn parse(text: &str) -> Expr {
    parse_expr(text, &ParseOptions::ALL).unwrap()
}

fn labels(text: &str) -> Labels {
    crate::parse_metric(text).unwrap().labels().unwrap()
}

/// Ten series `x_total{n="0", parity="even"}` … of 480 samples each, a sample every 15 s.
fn counters() -> Double {
    Double::of((0..10u32).map(|n| {
        let parity = if n % 2 == 0 { "even" } else { "odd" };
        let samples = (0..480u32).map(|i| (i64::from(i) * 15_000, f64::from(i * n))).collect();
        (labels(&format!("x_total{{n=\"{n}\", parity=\"{parity}\"}}")), samples)
    }))
}

fn two_hours() -> QueryParams {
    QueryParams::range(TimestampMs(0), TimestampMs(479 * 15_000), DurationMs::secs(15))
}

fn vector(text: &str, at: i64, double: &Double) -> Result<Vec<(String, f64)>, String> {
    match evaluate(&parse(text), QueryParams::instant(TimestampMs(at)), double).map_err(|e| e.to_string())?.value {
        Value::Vector { samples, .. } => Ok(samples.into_iter().map(|s| (s.labels.to_string(), s.value)).collect()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_sample_is_decoded_once() {
    let result = evaluate(&parse("sum(rate(x_total[5m]))"), two_hours(), &counters()).unwrap();
    assert_eq!((result.stats.series, result.stats.samples_decoded), (10, 4800));
    let twice = parse("sum by (parity) (rate(x_total[5m])) / on () group_left sum(rate(x_total[1m] offset 1m))");
    let planned = plan(&twice, two_hours()).unwrap();
    assert_eq!(planned.leaves().len(), 1, "selectors that ask for the same share a leaf");
    let result = evaluate(&twice, two_hours(), &counters()).unwrap();
    assert_eq!(result.stats.samples_decoded, 4800);
}

#[test]
fn leaves_ask_for_what_is_looked_at() {
    let day = 86_400_000;
    let params = || QueryParams::range(TimestampMs(day), TimestampMs(day + 60_000), DurationMs::secs(60));
    for (text, ranges) in [
        ("x", vec![(day - 299_999, day + 60_001)]),
        ("rate(x[1m])", vec![(day - 59_999, day + 60_001)]),
        ("rate(x[1m] offset 1h)", vec![(day - 3_659_999, day - 3_539_999)]),
        ("x @ 10", vec![(-289_999, 10_001)]),
        (
            "x + x offset 1w",
            vec![(day - 299_999, day + 60_001), (-519_099_999 + day - 86_000_000, day - 604_740_000 + 1)],
        ),
        ("x + x offset 1m", vec![(day - 359_999, day + 60_001)]),
        ("max_over_time(x[10m:1m])", vec![(day - 540_000 - 299_999, day + 60_001)]),
    ] {
        let planned = plan(&parse(text), params()).unwrap();
        let found: Vec<(i64, i64)> = planned.leaves().iter().map(|l| (l.range.mint.0, l.range.maxt.0)).collect();
        if text == "x + x offset 1w" {
            assert_eq!(found.len(), 2, "ranges far apart are asked for apart");
            continue;
        }
        assert_eq!(found, ranges, "{text}");
    }
}

#[test]
fn memory_follows_the_result() {
    let mut params = two_hours();
    // Too few for rows to be kept.
    params.limits = Limits { samples_max: 3000, ..Limits::default() };
    let result = evaluate(&parse("sum by (parity) (rate(x_total[5m]))"), params, &counters()).unwrap();
    // Two groups in two workers, and the samples of the series at hand.
    assert!(result.stats.held_samples <= 4 * 480 + 480, "{:?}", result.stats);
}

#[test]
fn limits_end_a_query() {
    let with_limit = |text: &str, samples_max: u64| {
        let mut params = two_hours();
        params.limits = Limits { samples_max, ..Limits::default() };
        evaluate(&parse(text), params, &counters()).map(drop)
    };
    for (text, samples_max, fits) in [
        ("x_total", 4800, true),
        ("x_total", 4799, false),
        ("sum(x_total)", 2000, true),
        ("x_total{n=\"1\"}", 479, false),
        ("max_over_time(x_total[1h:1ms])", 100_000, false),
        ("vector(1)", 479, false),
        ("x_total * 2 + x_total", 20_000, true),
        ("topk(3, x_total)", 4800, true),
        ("quantile(0.5, x_total)", 4000, false),
    ] {
        match with_limit(text, samples_max) {
            Ok(()) => assert!(fits, "{text} with {samples_max}"),
            Err(e) => {
                assert!(!fits, "{text} with {samples_max}");
                assert!(matches!(e, QueryError::TooManySamples), "{e}");
            }
        }
    }
}

#[test]
fn every_bound_ends_a_query_with_its_own_words() {
    let with_limits = |limits: Limits| {
        let params = QueryParams { limits, ..two_hours() };
        evaluate(&parse("count(x_total)"), params, &counters()).map(drop).map_err(|e| e.to_string())
    };
    let bytes: u64 = counters().series.iter().flat_map(|s| &s.chunks).map(|c| c.data.len() as u64).sum();
    let default = Limits::default();
    let too_many =
        |what: &str| Err(format!("query processing would load too many {what} into memory in query execution"));
    for (limits, expected) in [
        (Limits { series_max: 10, chunk_bytes_max: bytes, steps_max: 479, ..default }, Ok(())),
        (Limits { series_max: 9, ..default }, too_many("series")),
        (Limits { chunk_bytes_max: bytes - 1, ..default }, too_many("bytes")),
        (Limits { samples_max: 479, ..default }, too_many("samples")),
    ] {
        assert_eq!(with_limits(limits), expected, "{limits:?}");
    }
    // As the HTTP API of Prometheus says it.
    let range = |end: i64| QueryParams::range(TimestampMs(0), TimestampMs(end), DurationMs::secs(1));
    assert!(evaluate(&parse("1"), range(11_000_000), &counters()).is_ok());
    assert_eq!(
        evaluate(&parse("1"), range(11_001_000), &counters()).map(drop).unwrap_err().to_string(),
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
    );
}

#[test]
fn an_interrupted_query_says_why() {
    for text in ["x_total", "sum(rate(x_total[5m]))", "1 + 1", "x_total / x_total", "vector(time())"] {
        let params = two_hours();
        let interrupt = params.interrupt.clone();
        let planned = plan(&parse(text), params).unwrap();
        let mut workers: Vec<LeafWorker> = (0..planned.leaves().len()).map(|at| planned.worker(at)).collect();
        for worker in &mut workers {
            worker.push(&counters().series).unwrap();
        }
        interrupt.cancel();
        for worker in &mut workers {
            assert!(matches!(worker.push(&counters().series), Err(QueryError::Canceled)), "{text}");
        }
        interrupt.time_out();
        match planned.finish(workers) {
            Ok(result) => assert_eq!(text, "1 + 1", "{result:?}"),
            Err(e) => assert_eq!(e.to_string(), "query timed out in expression evaluation", "{text}"),
        }
    }
}

#[test]
fn workers_can_go_to_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Send + Sync>() {}
    is_send::<LeafWorker>();
    is_sync::<Plan>();
    let expr = parse("topk(2, sum by (parity) (rate(x_total[5m])) + 1) or quantile(0.5, x_total)");
    let all = counters();
    let answer = |parts: usize| {
        let planned = plan(&expr, two_hours()).unwrap();
        let mut workers = Vec::new();
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for leaf in 0..planned.leaves().len() {
                for part in all.series.chunks(10usize.div_ceil(parts)) {
                    let mut worker = planned.worker(leaf);
                    running.push(scope.spawn(move || {
                        worker.push(part).unwrap();
                        worker
                    }));
                }
            }
            workers.extend(running.into_iter().map(|r| r.join().unwrap()));
        });
        match planned.finish(workers).unwrap().value {
            Value::Matrix(series) => {
                let points = |s: &RangeSeries| s.points.iter().map(|(t, v)| (t, v.to_bits())).collect::<Vec<_>>();
                series.iter().map(|s| (s.labels.clone(), points(s))).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(answer(1) == answer(5));
    assert_eq!(answer(1).len(), 3);
}

#[test]
fn overlapping_chunks_are_one_series() {
    let part = |range: std::ops::Range<i64>, v: f64| -> Vec<(i64, f64)> { range.map(|i| (i * 1000, v)).collect() };
    let (old, new) = (part(0..10, 1.0), part(5..15, 2.0));
    let mut ended = part(14..16, 0.0);
    ended.iter_mut().for_each(|(_, v)| *v = stale_nan());
    let mut double = Double::of([(labels("x"), old)]);
    double.series[0].chunks.extend([chunk(&new), chunk(&ended)]);
    assert_eq!(vector("count_over_time(x[1m])", 14_000, &double).unwrap(), [("{}".to_owned(), 15.0)]);
    // The larger of two values, and a value before a marker.
    assert_eq!(join_values(2.0, 1.0), 2.0);
    assert_eq!(vector("sum_over_time(x[1m])", 20_000, &double).unwrap(), [("{}".to_owned(), 5.0 + 20.0)]);
    assert_eq!(vector("x", 14_000, &double).unwrap(), [("{__name__=\"x\"}".to_owned(), 2.0)]);
    assert_eq!(vector("x", 15_000, &double).unwrap(), [], "the series ended");
}

#[test]
fn the_bits_that_mean_absence_are_an_ordinary_nan_in_data() {
    let double = Double::of([(labels("x"), vec![(0, f64::from_bits(0x7ffd_6e61_7274_6878)), (1000, 1.0)])]);
    let found = vector("x", 0, &double).unwrap();
    assert!(found.len() == 1 && found[0].1.is_nan(), "{found:?}");
    assert_eq!(vector("count_over_time(x[1m])", 1000, &double).unwrap(), [("{}".to_owned(), 2.0)]);
}

#[test]
fn names_are_removed_at_once_by_default() {
    let double = Double::of([
        (labels("a{l=\"1\"}"), vec![(0, 1.0), (60_000, 2.0)]),
        (labels("b{l=\"1\"}"), vec![(60_000, 5.0), (120_000, 4.0)]),
    ]);
    let duplicate = Err("vector cannot contain metrics with the same labelset".to_owned());
    for text in [
        "max_over_time({l=\"1\"}[5m])",
        "abs({l=\"1\"})",
        "-{l=\"1\"}",
        "{l=\"1\"} * 2",
        "timestamp({l=\"1\"})",
        "sum(count_over_time({l=\"1\"}[5m]))",
        "label_replace({l=\"1\"}, \"__name__\", \"c\", \"\", \"\")",
        "sum by (l) (max_over_time(abs({l=\"1\"})[5m:1m]))",
    ] {
        assert_eq!(vector(text, 60_000, &double), duplicate, "{text}");
    }
    assert_eq!(vector("sum({l=\"1\"})", 60_000, &double).unwrap(), [("{}".to_owned(), 7.0)]);
    assert_eq!(vector("last_over_time({l=\"1\"}[5m])", 60_000, &double).unwrap().len(), 2);
    assert_eq!(
        vector("count by (__name__) (abs(a))", 60_000, &double).unwrap(),
        [("{}".to_owned(), 1.0)],
        "the name is gone for what comes after"
    );
    assert_eq!(
        vector("label_replace(abs(a), \"x\", \"$1\", \"__name__\", \"(.*)\")", 60_000, &double).unwrap(),
        [("{l=\"1\"}".to_owned(), 2.0)]
    );
}

#[test]
fn a_regular_expression_that_is_none_is_shown() {
    let double = Double::of([(labels("x{l=\"1\"}"), vec![(0, 1.0)])]);
    for (pattern, shown) in [("(", "("), ("a**", "a**"), ("\\xff", "\u{fffd}"), ("(\\xe4)", "(\u{fffd})")] {
        let text = format!("label_replace(x, \"d\", \"\", \"l\", (\"{pattern}\"))");
        let expected = Err(format!("invalid regular expression in label_replace(): {shown}"));
        assert_eq!(vector(&text, 0, &double), expected, "{text}");
    }
}

#[test]
fn series_that_follow_each_other_become_one_where_names_are_removed() {
    let double = Double::of([
        (labels("a{l=\"1\"}"), vec![(0, 1.0), (60_000, stale_nan())]),
        (labels("b{l=\"1\"}"), vec![(60_000, 5.0), (120_000, 4.0)]),
    ]);
    let params = QueryParams::range(TimestampMs(0), TimestampMs(120_000), DurationMs::secs(60));
    for text in ["{l=\"1\"} + 0", "abs({l=\"1\"})", "abs({l=\"1\"}) + scalar(vector(0))"] {
        let Value::Matrix(series) = evaluate(&parse(text), params.clone(), &double).unwrap().value else {
            panic!("{text}")
        };
        let points: Vec<Vec<f64>> = series.iter().map(|s| s.points.iter().map(|(_, v)| v).collect()).collect();
        assert_eq!(points, [[1.0, 5.0, 4.0]], "{text}");
    }
}

#[test]
fn damaged_chunks_are_an_error_that_names_the_series() {
    let mut double = counters();
    double.series[3].chunks[1].data = Bytes::from_static(&[0, 5, 1]);
    let e = evaluate(&parse("sum(x_total)"), two_hours(), &double).unwrap_err();
    assert!(matches!(e, QueryError::Corrupt { .. }), "{e}");
    assert_eq!(e.class(), storage::ErrorClass::Corrupt);
    double.series[3].chunks[1].encoding = ChunkEncoding::Histogram;
    let e = evaluate(&parse("sum(x_total)"), two_hours(), &double).unwrap_err();
    assert!(matches!(e, QueryError::Corrupt { .. }), "{e}");
}

#[test]
fn a_range_query_wants_a_value_per_step() {
    for (text, found) in [("x[5m]", "range vector"), ("x[5m:1m]", "range vector"), ("\"a\"", "string")] {
        let e = plan(&parse(text), two_hours()).unwrap_err();
        assert_eq!(
            e.to_string(),
            format!("invalid expression type \"{found}\" for range query, must be Scalar or instant Vector")
        );
    }
}

#[test]
fn the_deepest_expressions_fit_the_stack() {
    let double = counters();
    let deep = crate::DEPTH_MAX - 2;
    for text in [
        format!("{}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("{}x_total", "-".repeat(deep)),
        vec!["x_total"; deep].join(" + "),
        format!("{}x_total{}", "abs(".repeat(deep / 2), ")".repeat(deep / 2)),
        format!("{}x_total{}", "max_over_time(".repeat(deep / 3), "[1m:1m])".repeat(deep / 3)),
    ] {
        let Ok(expr) = parse_expr(&text, &ParseOptions::ALL) else { panic!("{}", &text[..40]) };
        println!("{}", &text[..20]);
        evaluate(&expr, QueryParams::instant(TimestampMs(600_000)), &double).unwrap();
    }
}

#[test]
fn times_at_the_ends_of_the_clock_do_no_harm() {
    let double = counters();
    for text in [
        "x_total @ 9223372036854775.807",
        "rate(x_total[1000000h])",
        "rate(x_total[5m] offset -1000000h)",
        "max_over_time(x_total[1m:1m] @ -9223372036854775)",
        "x_total offset 2562047h",
        "predict_linear(x_total[5m], 1e300)",
        "hour(x_total * 1e300)",
    ] {
        for at in [i64::MIN, -1, 0, i64::MAX] {
            let params = QueryParams::instant(TimestampMs(at));
            let expr = parse(text);
            match evaluate(&expr, params, &double) {
                Ok(_) | Err(QueryError::TooManySamples) => {}
                Err(e) => panic!("{text} at {at}: {e}"),
            }
        }
    }
}

#[test]
fn histograms_have_no_samples_at_edges() {
    let mut double = Double::of([]);
    double.add_histograms(labels("h"), &[(0, FloatHistogram::default()), (60_000, FloatHistogram::default())]);
    for modifier in ["anchored", "smoothed"] {
        let instant = |at: i64| QueryParams::instant(TimestampMs(at));
        let found = |at: i64| evaluate(&parse(&format!("h[1m] {modifier}")), instant(at), &double).map(|r| r.value);
        let expected = format!("{modifier} modifier is not supported with histograms");
        assert_eq!(found(60_000).unwrap_err().to_string(), expected);
        assert!(matches!(found(10_000_000), Ok(Value::Matrix(series)) if series.is_empty()), "{modifier}");
    }
}
