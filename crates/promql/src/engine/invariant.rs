//! Which expressions have the same value at every step, so that they are evaluated once.
//!
//! Source: Prometheus `preprocessExprHelper` of `promql/engine.go`.

use std::collections::HashSet;

use crate::ast::{Call, Expr, ExprKind};

/// Functions whose value may change with the time of evaluation though their arguments do not. `start`, `end`, `range` and
/// `step` are numbers of the query.
const TIME_DEPENDENT: [&str; 11] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
];

/// The expressions of one tree that do not depend on the step.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    nodes: HashSet<*const Expr>,
}

/// The expression within parentheses.
pub(crate) fn unparen(expr: &Expr) -> &Expr {
    let mut expr = expr;
    while let ExprKind::Paren(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

impl Invariants {
    pub(crate) fn of(expr: &Expr) -> Invariants {
        let mut invariants = Invariants::default();
        invariants.visit(expr);
        invariants
    }

    /// Whether `expr`, a part of the tree, has one value for all steps.
    pub(crate) fn contains(&self, expr: &Expr) -> bool {
        self.nodes.contains(&std::ptr::from_ref(expr))
    }

    fn visit(&mut self, expr: &Expr) -> bool {
        let invariant = match &expr.kind {
            ExprKind::Vector(selector) => selector.at.is_some(),
            ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
            ExprKind::Subquery(subquery) => {
                self.visit(&subquery.expr);
                subquery.at.is_some()
            }
            // The parameter does not count, as in Prometheus: it is taken at the first step then.
            ExprKind::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    self.visit(param);
                }
                self.visit(&aggregate.expr)
            }
            ExprKind::Binary(binary) => {
                let (lhs, rhs) = (self.visit(&binary.lhs), self.visit(&binary.rhs));
                lhs && rhs
            }
            ExprKind::Call(call) => self.visit_call(call),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.visit(inner),
            ExprKind::Number(_) | ExprKind::String(_) => true,
        };
        if invariant {
            self.nodes.insert(std::ptr::from_ref(expr));
        }
        invariant
    }

    fn visit_call(&mut self, call: &Call) -> bool {
        let mut all = true;
        for arg in &call.args {
            all &= self.visit(arg);
        }
        let of_selector = || call.args.iter().all(|arg| matches!(unparen(arg).kind, ExprKind::Vector(_)));
        all && (!TIME_DEPENDENT.contains(&call.function) || (call.function == "timestamp" && of_selector()))
    }
}
