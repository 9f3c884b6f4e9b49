//! Operators where an operand is a histogram.
//!
//! Source: Prometheus `vectorElemBinop` of `promql/engine.go`.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, MixedSchemas};

use super::annotations::{Annotations, HistogramOperation};
use super::hists::Hists;
use super::math::Keep;
use super::window::Number;
use crate::ast::{BinaryOp, Pos};

/// An operand.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl Operand<'_> {
    fn kind(self) -> &'static str {
        match self {
            Operand::Float(_) => "float",
            Operand::Histogram(_) => "histogram",
        }
    }
}

/// What comes of two operands.
pub(crate) enum Element {
    /// They do not go together.
    Mismatch,
    /// A comparison does not hold.
    Unequal,
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

fn changed(h: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> Element {
    let mut h = h.clone();
    change(&mut h);
    Element::Histogram(Arc::new(h))
}

fn changed_compact(h: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> Element {
    changed(h, |h| {
        change(h);
        h.compact(0);
    })
}

/// An operator between two operands at least one of which is a histogram.
pub(crate) fn combine(
    op: BinaryOp,
    lhs: Operand<'_>,
    rhs: Operand<'_>,
    pos: Pos,
    annotations: &mut Annotations,
) -> Element {
    use Operand::{Float, Histogram};
    match (op, lhs, rhs) {
        (BinaryOp::Mul, Float(v), Histogram(h)) | (BinaryOp::Mul, Histogram(h), Float(v)) => {
            changed_compact(h, |h| h.mul(v))
        }
        (BinaryOp::Div, Histogram(h), Float(v)) => changed_compact(h, |h| h.div(v)),
        (BinaryOp::TrimUpper, Histogram(h), Float(v)) => changed(h, |h| h.trim_above(v)),
        (BinaryOp::TrimLower, Histogram(h), Float(v)) => changed(h, |h| h.trim_below(v)),
        (BinaryOp::Add, Histogram(a), Histogram(b)) => sum(a, b, HistogramOperation::Addition, pos, annotations),
        (BinaryOp::Sub, Histogram(a), Histogram(b)) => sum(a, b, HistogramOperation::Subtraction, pos, annotations),
        (BinaryOp::Eql, Histogram(a), Histogram(b)) => equal(a, a.equals(b)),
        (BinaryOp::Neq, Histogram(a), Histogram(b)) => equal(a, !a.equals(b)),
        _ => {
            annotations.incompatible_types(pos, lhs.kind(), op.as_str(), rhs.kind());
            Element::Mismatch
        }
    }
}

fn equal(a: &Arc<FloatHistogram>, holds: bool) -> Element {
    if holds { Element::Histogram(Arc::clone(a)) } else { Element::Unequal }
}

fn sum(
    a: &FloatHistogram,
    b: &FloatHistogram,
    operation: HistogramOperation,
    pos: Pos,
    annotations: &mut Annotations,
) -> Element {
    let mut h = a.clone();
    let is_sum = operation == HistogramOperation::Addition;
    let combined = if is_sum { h.add(b) } else { h.sub(b) };
    let combined = match combined {
        Ok(combined) => combined,
        Err(MixedSchemas) => {
            annotations.incompatible_layout(pos, if is_sum { "+" } else { "-" });
            return Element::Mismatch;
        }
    };
    if !is_sum {
        h.counter_reset_hint = CounterResetHint::Gauge;
    }
    // A warning leaves no result in Prometheus.
    if combined.resets_collide {
        annotations.resets_collide(pos, operation);
        return Element::Mismatch;
    }
    if combined.bounds_reconciled {
        annotations.bounds_reconciled(pos, operation);
    }
    h.compact(0);
    Element::Histogram(Arc::new(h))
}

/// An operator between the histograms of a column and a number per step.
pub(crate) struct ScalarOperator {
    pub(crate) op: BinaryOp,
    pub(crate) scalar_first: bool,
    pub(crate) pos: Pos,
}

impl ScalarOperator {
    pub(crate) fn apply(&self, scalar: Number<'_>, hists: &mut Hists, annotations: &mut Annotations) {
        hists.replace(|i, h| {
            let (histogram, number) = (Operand::Histogram(h), Operand::Float(scalar.at(i)));
            let (lhs, rhs) = if self.scalar_first { (number, histogram) } else { (histogram, number) };
            match combine(self.op, lhs, rhs, self.pos, annotations) {
                Element::Histogram(h) => Some(h),
                Element::Float(_) | Element::Mismatch | Element::Unequal => None,
            }
        });
    }
}

/// What becomes of an element: `None` where there is no result.
pub(crate) fn keep(element: Element, keep: Keep) -> Option<Element> {
    match (element, keep) {
        (Element::Mismatch, _) => None,
        (Element::Unequal, Keep::Bool) => Some(Element::Float(0.0)),
        (Element::Unequal, _) => None,
        (Element::Histogram(_), Keep::Bool) => Some(Element::Float(1.0)),
        (kept, _) => Some(kept),
    }
}
