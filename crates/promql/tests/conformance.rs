//! Prometheus' decided cases about texts of PromQL: expressions, selectors, metrics, series, durations, numbers.
//!
//! The cases lie in the folder that the environment variable NARTHEX_CONFORMANCE names; without it nothing is checked.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, though not all of it stands in test functions")]

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/durations.rs"]
mod durations;
#[path = "conformance/expressions.rs"]
mod expressions;
#[path = "conformance/numbers.rs"]
mod numbers;
#[path = "conformance/series.rs"]
mod series;
