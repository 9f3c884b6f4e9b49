//! Entry points for fuzzing: each takes any bytes and must neither panic nor run long.

use std::fmt::Write;

use crate::{ParseOptions, parse_expr, parse_metric, parse_selector, parse_series_desc, pretty, tree_json};

/// Expressions: what parses must print, and its print must parse and print the same.
pub fn fuzz_expr(bytes: &[u8]) {
    let Ok(expr) = parse_expr(bytes, &ParseOptions::ALL) else { return };
    let printed = expr.to_string();
    assert!(!pretty(&expr).is_empty(), "{printed}");
    // Fill values that JSON cannot hold are refused.
    drop(tree_json(&expr));
    assert!(expr.value_type().name() != "none", "{printed}");
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
