//! Which expressions have the same value at every step, so that they are evaluated once.
//!
//! Source: Prometheus `preprocessExprHelper` of `promql/engine.go`.

use std::collections::HashSet;

use crate::ast::{AtModifier, Call, Expr, ExprKind};

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
    /// Those within the parameter of an aggregation, where Prometheus does not look.
    in_params: HashSet<*const Expr>,
    lost: HashSet<*const Expr>,
    within_param: bool,
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

    /// Whether Prometheus evaluates `expr` once, at the first step, as an instant query would.
    pub(crate) fn is_wrapped(&self, expr: &Expr) -> bool {
        self.contains(expr) && !self.in_params.contains(&std::ptr::from_ref(expr))
    }

    /// Whether a function does not get this subquery, its argument. Prometheus 3.14 wraps a subquery that is pinned by `@` where
    /// the call as a whole has another value at each step, and does not see the range vector within.
    pub(crate) fn is_lost(&self, subquery: &Expr) -> bool {
        self.lost.contains(&std::ptr::from_ref(subquery))
    }

    fn visit(&mut self, expr: &Expr) -> bool {
        let invariant = match &expr.kind {
            ExprKind::Vector(selector) => self.pins(selector.at),
            ExprKind::Matrix(matrix) => self.pins(matrix.selector.at),
            ExprKind::Subquery(subquery) => {
                self.visit(&subquery.expr);
                self.pins(subquery.at)
            }
            // The parameter does not count, as in Prometheus: it is taken at the first step then.
            ExprKind::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    let outside = std::mem::replace(&mut self.within_param, true);
                    self.visit(param);
                    self.within_param = outside;
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
            if self.within_param {
                self.in_params.insert(std::ptr::from_ref(expr));
            }
        }
        invariant
    }

    /// Whether `@` makes it the same at every step. In the parameter of an aggregation it does not.
    fn pins(&self, at: Option<AtModifier>) -> bool {
        at.is_some() && !self.within_param
    }

    fn visit_call(&mut self, call: &Call) -> bool {
        let mut all = true;
        for arg in &call.args {
            all &= self.visit(arg);
        }
        let of_selector = || call.args.iter().all(|arg| matches!(unparen(arg).kind, ExprKind::Vector(_)));
        let invariant =
            all && (!TIME_DEPENDENT.contains(&call.function) || (call.function == "timestamp" && of_selector()));
        if !invariant && !self.within_param {
            let subqueries = call.args.iter().map(unparen).filter(|arg| matches!(arg.kind, ExprKind::Subquery(_)));
            self.lost.extend(
                subqueries.filter(|arg| self.nodes.contains(&std::ptr::from_ref(*arg))).map(std::ptr::from_ref),
            );
        }
        invariant
    }
}
