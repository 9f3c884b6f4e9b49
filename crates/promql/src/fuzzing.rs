//! Entry points for fuzzing: each takes any bytes and must neither panic nor run long.

use std::fmt::Write;

use crate::duration::{format_duration, parse_api_duration, parse_duration, parse_duration_allow_negative};
use crate::numbers::{self, format_e, format_f, format_g, json_float};
use crate::promqltest;
use crate::{ParseOptions, parse_expr, parse_metric, parse_selector, parse_series_desc, pretty, tree_json};

/// Expressions: what parses must print, and its print must parse and print the same.
pub fn fuzz_expr(bytes: &[u8]) {
    let Ok(expr) = parse_expr(bytes, &ParseOptions::ALL) else { return };
    let printed = expr.to_string();
    assert!(!pretty(&expr).is_empty(), "{printed}");
    // Fill values that JSON cannot hold are refused.
    drop(tree_json(&expr));
    assert!(expr.value_type().name() != "none", "{printed}");
    let again = parse_expr(&printed, &ParseOptions::ALL).map(|again| again.to_string());
    assert_eq!(again.as_ref().ok(), Some(&printed), "{:?}", again.as_ref().err().map(ToString::to_string));
}

/// Selectors and metrics.
pub fn fuzz_selector(bytes: &[u8]) {
    let mut out = String::new();
    if let Ok(matchers) = parse_selector(bytes) {
        for m in matchers {
            write!(out, "{}", m.op()).expect("a String takes every write");
        }
    }
    if let Ok(labels) = parse_metric(bytes) {
        write!(out, "{labels}").expect("a String takes every write");
    }
}

/// Series descriptions.
pub fn fuzz_series_desc(bytes: &[u8]) {
    let sum = |a: &model::FloatHistogram, _: &model::FloatHistogram, _| Ok(a.clone());
    drop(parse_series_desc(bytes, &sum));
}

/// Numbers in all notations; what is written of one means the same.
pub fn fuzz_numbers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    drop((numbers::parse_uint(&text), numbers::parse_limit(&text), numbers::parse_number(&text)));
    if let Some(time) = numbers::parse_time(&text) {
        time.millis();
    }
    let Ok(value) = numbers::parse_float(&text) else { return };
    let json = json_float(value);
    for written in [&format_f(value), &format_e(value), &format_g(value), json.trim_matches('"')] {
        let again = numbers::parse_float(written).expect("we wrote it");
        assert!(again.to_bits() == value.to_bits() || again.is_nan() && value.is_nan(), "{text:?} {written}");
    }
}

/// Durations in all notations.
pub fn fuzz_durations(bytes: &[u8]) {
    const NS_PER_MS: i64 = 1_000_000;
    let text = String::from_utf8_lossy(bytes);
    drop(parse_api_duration(&text));
    let negative = parse_duration_allow_negative(&text);
    let Ok(ns) = parse_duration(&text) else { return };
    assert_eq!(negative.ok(), Some(ns), "{text:?}");
    let ms = ns - ns % NS_PER_MS;
    assert_eq!(parse_duration(&format_duration(ms)).ok(), Some(ms), "{text:?}");
}

/// Test scripts, read and not run.
pub fn fuzz_script(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Err(e) = promqltest::check_syntax(text) {
        assert!(!e.to_string().is_empty());
    }
}
