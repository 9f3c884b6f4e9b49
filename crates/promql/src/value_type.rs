//! Types of expressions, and how they are called.

use crate::ast::{Expr, ExprKind, ValueType};
use crate::functions;

impl ValueType {
    /// As the HTTP API calls it.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::None => "none",
            ValueType::Vector => "vector",
            ValueType::Scalar => "scalar",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }

    /// As the documentation and most error texts call it.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::None | ValueType::Scalar | ValueType::String => self.name(),
        }
    }
}

impl Expr {
    /// The type of its value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Aggregate(_) | ExprKind::Vector(_) => ValueType::Vector,
            ExprKind::Binary(b) => {
                let scalar = |e: &Expr| e.value_type() == ValueType::Scalar;
                if scalar(&b.lhs) && scalar(&b.rhs) { ValueType::Scalar } else { ValueType::Vector }
            }
            ExprKind::Call(c) => functions::function(c.function).map_or(ValueType::None, |f| f.returns),
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Paren(e) | ExprKind::Unary(_, e) => e.value_type(),
        }
    }
}
