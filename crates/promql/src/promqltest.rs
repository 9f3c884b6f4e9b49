//! The runner of Prometheus' PromQL test scripts (`*.test`).
//!
//! A script loads series, evaluates expressions and says what must come of them. As Prometheus' own runner does, each instant
//! evaluation is repeated with its selectors pinned by `@`, at other times, and as a range query. What needs parts of the
//! language that the engine refuses is left out, by name and counted; see [`Report`].
//! Source: `promql/promqltest/test.go` of Prometheus 3.14.

mod check;
mod script;
pub(crate) mod series;
mod starts;

use std::collections::BTreeMap;

pub use script::ScriptError;

use crate::engine::Feature;
use check::Outcome;
use script::Command;
use series::Store;

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Evaluations that gave what was expected, in all their repetitions.
    pub passed: usize,
    /// Evaluations that need what is not built yet.
    pub left_out: BTreeMap<&'static str, usize>,
    /// Evaluations that gave something else.
    pub failures: Vec<Failure>,
}

impl Report {
    /// All that were left out.
    pub fn left_out_count(&self) -> usize {
        self.left_out.values().sum()
    }
}

/// An evaluation that did not give what was expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The line of the script, from 1.
    pub line: usize,
    /// The expression.
    pub expr: String,
    /// What was wrong.
    pub reason: String,
}

/// Runs a script.
pub fn run(text: &str) -> Result<Report, ScriptError> {
    let commands = script::parse(text)?;
    let mut store = Store::default();
    let mut report = Report::default();
    for command in commands {
        match command {
            Command::Clear => store = Store::default(),
            Command::Load(load) => {
                let line = load.line;
                store.load(load).map_err(|problem| ScriptError::Load { line, problem })?;
            }
            Command::Eval(eval) => match check::evaluate(&eval, &store) {
                Outcome::Passed => report.passed += 1,
                Outcome::LeftOut(feature) => *report.left_out.entry(Feature::as_str(feature)).or_default() += 1,
                Outcome::Failed(reason) => {
                    report.failures.push(Failure { line: eval.line, expr: eval.text.clone(), reason });
                }
            },
        }
    }
    Ok(report)
}

/// Whether a script can be read.
pub(crate) fn check_syntax(text: &str) -> Result<(), ScriptError> {
    script::parse(text).map(drop)
}

#[cfg(test)]
mod tests;
