//! Durations of selectors and subqueries, computed from the query's range and step.
//!
//! Source: Prometheus `promql/durations.go`.

use super::error::{DurationProblem, QueryError};
use super::math::{go_max, go_min};
use crate::ast::{BinaryOp, DurationExpr, DurationNode, DurationNodeKind, Pos, UnaryOp};

/// What duration expressions may refer to, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTimes {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// 0 in instant queries.
    pub(crate) step: i64,
}

/// Seconds in 2^63 nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

impl QueryTimes {
    /// The end less the start, in seconds.
    pub(crate) fn range_secs(self) -> f64 {
        super::column::secs(self.end.saturating_sub(self.start))
    }

    pub(crate) fn step_secs(self) -> f64 {
        super::column::secs(self.step)
    }

    /// A width, in milliseconds.
    pub(crate) fn positive(self, expr: &DurationExpr) -> Result<i64, QueryError> {
        self.duration(expr, false)
    }

    /// An offset, in milliseconds.
    pub(crate) fn any(self, expr: &DurationExpr) -> Result<i64, QueryError> {
        self.duration(expr, true)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the range was checked, and fractions are cut off as in Go")]
    fn duration(self, expr: &DurationExpr, may_be_negative: bool) -> Result<i64, QueryError> {
        let node = match expr {
            DurationExpr::Literal(literal) => return Ok(literal.0),
            DurationExpr::Computed(node) => node,
        };
        let seconds = self.evaluate(node)?;
        if !seconds.is_finite() {
            return Err(error(node.pos, DurationProblem::NotFinite));
        }
        if seconds <= 0.0 && !may_be_negative {
            return Err(error(node.pos, DurationProblem::NotPositive));
        }
        if !(-SECONDS_MAX..=SECONDS_MAX).contains(&seconds) {
            return Err(error(node.pos, DurationProblem::OutOfRange));
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn evaluate(self, node: &DurationNode) -> Result<f64, QueryError> {
        Ok(match &node.kind {
            DurationNodeKind::Number(number) => number.value,
            DurationNodeKind::Step => self.step_secs(),
            DurationNodeKind::Range => self.range_secs(),
            DurationNodeKind::MinOf(a, b) => go_min(self.evaluate(a)?, self.evaluate(b)?),
            DurationNodeKind::MaxOf(a, b) => go_max(self.evaluate(a)?, self.evaluate(b)?),
            DurationNodeKind::Unary(UnaryOp::Plus, a) | DurationNodeKind::Paren(a) => self.evaluate(a)?,
            DurationNodeKind::Unary(UnaryOp::Minus, a) => -self.evaluate(a)?,
            DurationNodeKind::Binary(op, a, b) => {
                let (a, b) = (self.evaluate(a)?, self.evaluate(b)?);
                match op {
                    BinaryOp::Div if b == 0.0 => return Err(error(node.pos, DurationProblem::DivisionByZero)),
                    BinaryOp::Mod if b == 0.0 => return Err(error(node.pos, DurationProblem::ModuloByZero)),
                    BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow => {
                        super::math::scalar_binary(*op, a, b)
                    }
                    _ => return Err(QueryError::Malformed("operator between durations")),
                }
            }
        })
    }
}

fn error(pos: Pos, problem: DurationProblem) -> QueryError {
    QueryError::Duration { start: pos.start, end: pos.end, problem }
}
