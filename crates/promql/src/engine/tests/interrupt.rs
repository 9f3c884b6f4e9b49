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
fn no_two_looks_are_further_apart_than_100_000_samples() {
    let mut long_chunks = long_series();
    // As long as a chunk can be.
    let samples: Vec<(i64, f64)> = (0..SAMPLES).map(|i| (i * 1000, 1.0)).collect();
    long_chunks.series[0].chunks = samples.chunks(65_535).map(chunk).collect();
    for (double, chunks) in [(long_series(), "120"), (long_chunks, "65,535")] {
        for text in [
            DECODES,
            "sum_over_time(x_total[20d])",
            "rate(x_total[20d])",
            "quantile_over_time(0.9, x_total[20d])",
            "max_over_time(x_total[20d])",
            "deriv(x_total[20d])",
            "x_total",
            "x_total[20d]",
        ] {
            let expr = parse_expr(text, &ParseOptions::ALL).unwrap();
            let params = QueryParams::instant(TimestampMs(SAMPLES * 1000));
            let interrupt = params.interrupt.clone();
            evaluate(&expr, params, &double).unwrap();
            let (all, most) = interrupt.samples_between_looks();
            assert!(most <= 100_000, "{text}, chunks of {chunks}: {most} samples without a look");
            let reads_all = u64::try_from(SAMPLES - 100_000).unwrap();
            assert!(
                all >= reads_all || text == "x_total",
                "{text}, chunks of {chunks}: {all} of a million are told of"
            );
        }
    }
}

#[test]
fn a_stopped_worker_goes_through_100_000_further_samples_at_most() {
    let double = long_series();
    for text in [DECODES, "quantile_over_time(0.5, x_total[20d])", "rate(x_total[20d])"] {
        let (all, _) = looks(text, &double, 0);
        for look in [1, 2, all / 2, all] {
            let expr = parse_expr(text, &ParseOptions::ALL).unwrap();
            let params = QueryParams::instant(TimestampMs(SAMPLES * 1000));
            let interrupt = params.interrupt.clone();
            interrupt.cancel_at(look);
            assert!(matches!(evaluate(&expr, params, &double), Err(QueryError::Canceled)), "{text}");
            let after = interrupt.samples_after_stop();
            assert!(after <= 100_000, "{text}, stopped at look {look} of {all}: {after}");
        }
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
