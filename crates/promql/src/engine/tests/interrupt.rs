//! How often an interrupt is looked at, counted.

use super::*;
use crate::{ParseOptions, parse_expr};

const SAMPLES: i64 = 1_000_000;

/// Decodes everything and looks at one sample of it.
const DECODES: &str = "last_over_time(x_total[20d])";

/// One series of a million samples, a second apart; a value now and then below the one before.
fn long_series() -> Double {
    let labels = crate::parse_metric("x_total").unwrap().labels().unwrap();
    let samples = (0..SAMPLES).map(|i| (i * 1000, f64::from(u16::try_from(i * 7919 % 10_007).unwrap()))).collect();
    Double::of([(labels, samples)])
}

/// Pushes the series and finishes; the looks that were taken by then.
fn looks(text: &str, double: &Double, cancel_at: u64) -> (u64, Result<(), QueryError>) {
    let expr = parse_expr(text, &ParseOptions::ALL).unwrap();
    let params = QueryParams::instant(TimestampMs(SAMPLES * 1000));
    let interrupt = params.interrupt.clone();
    interrupt.cancel_at(cancel_at);
    let result = evaluate(&expr, params, double).map(drop);
    (interrupt.looks(), result)
}

#[test]
fn an_interrupt_is_seen_at_least_every_100_000_samples_of_one_series() {
    let double = long_series();
    let (decoding, _) = looks(DECODES, &double, 0);
    let least = u64::try_from(SAMPLES / 100_000).unwrap();
    assert!(decoding >= least, "{decoding} looks while a million samples are decoded");
    for function in [
        "sum_over_time(W)",
        "avg_over_time(W)",
        "min_over_time(W)",
        "max_over_time(W)",
        "ts_of_max_over_time(W)",
        "stddev_over_time(W)",
        "stdvar_over_time(W)",
        "mad_over_time(W)",
        "quantile_over_time(0.9, W)",
        "changes(W)",
        "resets(W)",
        "rate(W)",
        "increase(W)",
        "deriv(W)",
        "predict_linear(W, 60)",
        "double_exponential_smoothing(W, 0.5, 0.5)",
    ] {
        let text = function.replace('W', "x_total[20d]");
        let (all, result) = looks(&text, &double, 0);
        result.unwrap();
        assert!(all >= decoding + least, "{text}: {all} looks, {decoding} of them while decoding");
    }
}

#[test]
fn each_look_can_end_a_query() {
    let double = long_series();
    for text in ["quantile_over_time(0.5, x_total[20d])", "rate(x_total[20d])"] {
        let (all, _) = looks(text, &double, 0);
        for look in [1, 2, all / 3, all / 2, all - 1, all] {
            let (taken, result) = looks(text, &double, look);
            assert!(matches!(result, Err(QueryError::Canceled)), "{text}: look {look} of {all}");
            assert!(taken <= look + 1, "{text}: {taken} looks, canceled at {look}");
        }
    }
}

#[test]
fn chunks_that_overlap_are_joined_under_the_same_eye() {
    let mut double = long_series();
    let series = &mut double.series[0];
    series.chunks.rotate_left(1);
    let (all, result) = looks(DECODES, &double, 0);
    result.unwrap();
    let (ordered, _) = looks(DECODES, &long_series(), 0);
    assert!(all >= ordered + 10, "{all} looks, {ordered} without sorting");
}
