//! Numbers that had to wait for storage, and the operations that waited for them.

use std::sync::Arc;

use super::Evaluator;
use crate::engine::error::QueryError;
use crate::engine::math::{go_max, go_min, scalar_binary};
use crate::engine::node::{MapOp, Scalar, ScalarNode, WindowCall};

impl Evaluator<'_> {
    /// The number, known.
    #[inline(never)]
    pub(super) fn resolve(&mut self, scalar: &Scalar) -> Result<Scalar, QueryError> {
        let Scalar::Late(node) = scalar else { return Ok(scalar.clone()) };
        if let Some(known) = self.late.get(&Arc::as_ptr(node)) {
            return Ok(known.clone());
        }
        let value = match node.as_ref() {
            ScalarNode::Of(node) => {
                let row = self.rows(node)?.into_iter().next();
                Scalar::Column(row.map_or_else(|| Arc::from([]), |row| row.values.into()))
            }
            ScalarNode::Binary(op, a, b) => self.combine(a, b, |a, b| scalar_binary(*op, a, b))?,
            ScalarNode::Max(a, b) => self.combine(a, b, go_max)?,
            ScalarNode::Min(a, b) => self.combine(a, b, go_min)?,
            ScalarNode::Negate(a) => match self.resolve(a)? {
                Scalar::Column(column) => Scalar::Column(column.iter().map(|v| -v).collect()),
                Scalar::Const(v) => Scalar::Const(-v),
                late @ Scalar::Late(_) => late,
            },
            ScalarNode::Repeat(a) => match self.resolve(a)? {
                Scalar::Column(column) => Scalar::Const(column.first().copied().unwrap_or(f64::NAN)),
                other => other,
            },
        };
        self.late.insert(Arc::as_ptr(node), value.clone());
        Ok(value)
    }

    fn combine(&mut self, a: &Scalar, b: &Scalar, f: impl Fn(f64, f64) -> f64) -> Result<Scalar, QueryError> {
        Ok(match (self.resolve(a)?, self.resolve(b)?) {
            (Scalar::Const(a), Scalar::Const(b)) => Scalar::Const(f(a, b)),
            (Scalar::Column(a), Scalar::Const(b)) => Scalar::Column(a.iter().map(|a| f(*a, b)).collect()),
            (Scalar::Const(a), Scalar::Column(b)) => Scalar::Column(b.iter().map(|b| f(a, *b)).collect()),
            (Scalar::Column(a), Scalar::Column(b)) => {
                Scalar::Column(a.iter().zip(b.iter()).map(|(a, b)| f(*a, *b)).collect())
            }
            (late @ Scalar::Late(_), _) | (_, late @ Scalar::Late(_)) => late,
        })
    }

    pub(super) fn resolve_call(&mut self, call: &WindowCall) -> Result<WindowCall, QueryError> {
        let [a, b] = &call.numbers;
        Ok(WindowCall { numbers: [self.resolve(a)?, self.resolve(b)?], ..call.clone() })
    }

    pub(super) fn resolve_op(&mut self, op: &MapOp) -> Result<MapOp, QueryError> {
        Ok(match op {
            MapOp::Round(s) => MapOp::Round(self.resolve(s)?),
            MapOp::LimitRatio(s) => MapOp::LimitRatio(self.resolve(s)?),
            MapOp::Clamp { min, max } => MapOp::Clamp { min: self.resolve(min)?, max: self.resolve(max)? },
            MapOp::Scalar { op, keep, scalar, scalar_first, pos } => MapOp::Scalar {
                op: *op,
                keep: *keep,
                scalar: self.resolve(scalar)?,
                scalar_first: *scalar_first,
                pos: *pos,
            },
            MapOp::Subquery { call, from, repeat } => {
                MapOp::Subquery { call: self.resolve_call(call)?, from: *from, repeat: *repeat }
            }
            other => other.clone(),
        })
    }
}
