//! Planning of operators between two operands.

use super::{Built, BuiltKind, Changes, Planner, Scope};
use crate::ast::{Binary, Expr, ValueType};
use crate::engine::column::Grid;
use crate::engine::error::QueryError;
use crate::engine::invariant::unparen;
use crate::engine::math::{self, Keep};
use crate::engine::node::{BinaryNode, MapOp, Node};

impl Planner<'_> {
    #[inline(never)]
    pub(super) fn binary(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        grid: Grid,
        scope: Scope,
    ) -> Result<Built, QueryError> {
        let (lhs, rhs) = (unparen(&binary.lhs), unparen(&binary.rhs));
        let op = binary.op;
        let is_scalar = |e: &Expr| e.value_type() == ValueType::Scalar;
        let (vector, number, scalar_first) = match (is_scalar(lhs), is_scalar(rhs)) {
            (false, false) | (true, true) => return Err(QueryError::Malformed("operands of an operator")),
            (true, false) => (rhs, lhs, true),
            (false, true) => (lhs, rhs, false),
        };
        let scope = Scope { needs_buckets: scope.needs_buckets || math::is_trim(op), ..scope };
        let scalar = self.scalar(number, grid, scope)?;
        let built = self.vector(vector, grid, scope)?;
        let keep = match (math::is_comparison(op), binary.return_bool, scalar_first) {
            (false, _, _) => Keep::Result,
            (true, true, _) => Keep::Bool,
            (true, false, false) => Keep::Left,
            (true, false, true) => Keep::Right,
        };
        let changes = if math::is_arithmetic(op) || binary.return_bool { Changes::DropsName } else { Changes::Nothing };
        Ok(self.map(built, MapOp::Scalar { op, keep, scalar, scalar_first, pos: expr.pos }, grid, changes))
    }

    #[inline(never)]
    pub(super) fn join(&mut self, expr: &Expr, binary: &Binary, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let scope = Scope { needs_buckets: scope.needs_buckets || math::is_trim(binary.op), ..scope };
        let lhs = self.vector_node(&binary.lhs, grid, scope)?;
        let rhs = self.vector_node(&binary.rhs, grid, scope)?;
        let kind = BuiltKind::Node(join_of(expr, binary, lhs, rhs, grid));
        Ok(Built { kind, grid, names_vary: true })
    }
}

#[inline(never)]
fn join_of(expr: &Expr, binary: &Binary, lhs: Box<Node>, rhs: Box<Node>, grid: Grid) -> Box<Node> {
    Box::new(Node::Binary(Box::new(BinaryNode {
        op: binary.op,
        lhs,
        rhs,
        matching: binary.matching.clone().unwrap_or_default(),
        return_bool: binary.return_bool,
        grid,
        pos: expr.pos,
    })))
}
