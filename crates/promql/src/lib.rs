//! PromQL: lexer, parser, printer and types; planner and engine; the runner of `.test` scripts.
//!
//! No I/O and no clock: expressions, series and times go in, values come out.

pub mod ast;
pub mod engine;
