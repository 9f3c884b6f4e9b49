//! Planning of numbers: those that need no storage are computed here.

use std::sync::Arc;

use super::{Planner, Scope};
use crate::ast::{Expr, ExprKind, UnaryOp};
use crate::engine::column::{Grid, secs};
use crate::engine::error::QueryError;
use crate::engine::invariant::unparen;
use crate::engine::math;
use crate::engine::node::{Scalar, ScalarNode, SinkSpec};

impl Planner<'_> {
    /// Plans a number per step.
    pub(super) fn scalar(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Scalar, QueryError> {
        let expr = unparen(expr);
        if grid.count < 2 || !self.invariants.contains(expr) {
            return self.scalar_each(expr, grid, scope);
        }
        let once = Scope { repeat: scope.repeat.saturating_mul(grid.count as u64), ..scope };
        Ok(match self.up_to(grid.start, |planner| planner.scalar_each(expr, grid.first(), once))? {
            Scalar::Const(v) => Scalar::Const(v),
            Scalar::Column(column) => Scalar::Const(column[0]),
            late @ Scalar::Late(_) => Scalar::Late(Arc::new(ScalarNode::Repeat(late))),
        })
    }

    #[inline(never)]
    fn scalar_each(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Scalar, QueryError> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Scalar::Const(number.value)),
            ExprKind::Unary(UnaryOp::Plus, inner) => self.scalar(inner, grid, scope),
            ExprKind::Unary(UnaryOp::Minus, inner) => Ok(match self.scalar(inner, grid, scope)? {
                Scalar::Const(v) => Scalar::Const(-v),
                Scalar::Column(column) => Scalar::Column(column.iter().map(|v| -v).collect()),
                late @ Scalar::Late(_) => Scalar::Late(Arc::new(ScalarNode::Negate(late))),
            }),
            ExprKind::Binary(binary) => {
                let a = self.scalar(&binary.lhs, grid, scope)?;
                let b = self.scalar(&binary.rhs, grid, scope)?;
                let op = binary.op;
                Ok(combine(a, b, |a, b| math::scalar_binary(op, a, b), |a, b| ScalarNode::Binary(op, a, b)))
            }
            ExprKind::Call(call) => {
                let two = |planner: &mut Self| match call.args.as_slice() {
                    [a, b] => Ok((planner.scalar(a, grid, scope)?, planner.scalar(b, grid, scope)?)),
                    _ => Err(QueryError::Malformed("arguments of a function of two numbers")),
                };
                Ok(match call.function {
                    "time" => Scalar::Column(grid.iter().map(secs).collect()),
                    "pi" => Scalar::Const(std::f64::consts::PI),
                    "start" => Scalar::Const(secs(self.times.start)),
                    "end" => Scalar::Const(secs(self.times.end)),
                    "range" => Scalar::Const(self.times.range_secs()),
                    "step" if self.times.start == self.times.end => Scalar::Const(0.0),
                    "step" => Scalar::Const(self.times.step_secs()),
                    "max_of" => two(self).map(|(a, b)| combine(a, b, math::go_max, ScalarNode::Max))?,
                    "min_of" => two(self).map(|(a, b)| combine(a, b, math::go_min, ScalarNode::Min))?,
                    "scalar" => {
                        let arg = call.args.first().ok_or(QueryError::Malformed("scalar() of nothing"))?;
                        let built = self.vector(arg, grid, scope)?;
                        let single = self.reduce(built, SinkSpec::ScalarOf, false);
                        Scalar::Late(Arc::new(ScalarNode::Of(self.close(single))))
                    }
                    _ => return Err(QueryError::Malformed("a function that gives no number")),
                })
            }
            _ => Err(QueryError::Malformed("no number where one is wanted")),
        }
    }
}

/// `f` of two numbers per step, now if both are known.
fn combine(
    a: Scalar,
    b: Scalar,
    f: impl Fn(f64, f64) -> f64,
    late: impl FnOnce(Scalar, Scalar) -> ScalarNode,
) -> Scalar {
    match (&a, &b) {
        (Scalar::Late(_), _) | (_, Scalar::Late(_)) => Scalar::Late(Arc::new(late(a, b))),
        (Scalar::Const(a), Scalar::Const(b)) => Scalar::Const(f(*a, *b)),
        (Scalar::Column(a), Scalar::Const(b)) => Scalar::Column(a.iter().map(|a| f(*a, *b)).collect()),
        (Scalar::Const(a), Scalar::Column(b)) => Scalar::Column(b.iter().map(|b| f(*a, *b)).collect()),
        (Scalar::Column(a), Scalar::Column(b)) => {
            let both: Arc<[f64]> = a.iter().zip(b.iter()).map(|(a, b)| f(*a, *b)).collect();
            Scalar::Column(both)
        }
    }
}
