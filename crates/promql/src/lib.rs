//! PromQL: lexer, parser, printer and types; planner and engine; the runner of `.test` scripts.
//!
//! No I/O and no clock: expressions, series and times go in, values come out.

pub mod ast;
pub mod duration;
pub mod engine;
pub mod features;
pub mod functions;
#[doc(hidden)]
pub mod fuzzing;
mod histogram_text;
mod lexer;
pub mod numbers;
mod parse_error;
mod parser;
mod prettier;
mod printer;
pub mod promqltest;
mod quote;
mod token;
mod tree_json;
mod value_type;

pub use histogram_text::{format_histogram, histogram_json, test_expression};
pub use parse_error::{ParseError, ParseErrors};
pub use parser::{
    CombineHistograms, DEPTH_MAX, MetricDesc, ParseOptions, SequenceValue, SeriesDesc, Sign, parse_expr, parse_metric,
    parse_selector, parse_series_desc,
};
pub use prettier::pretty;
pub use quote::quoted;
pub use tree_json::{TreeError, tree_json};
