//! The querier: PromQL and the Prometheus HTTP API over whatever holds series.

mod evaluate;

pub use evaluate::{EvaluateError, Evaluator, Limits};
