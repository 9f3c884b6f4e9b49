//! Sums and means of the histograms of a group, step by step.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, HistogramSum, MixedSchemas};

use crate::ast::{AggregateOp, Pos};
use crate::engine::annotations::{Annotations, HistogramOperation};
use crate::engine::column::is_absent;
use crate::engine::hists::{Hists, weight};
use crate::engine::window::HistogramMean;

/// The histograms of a group at one step.
#[derive(Debug)]
struct Total {
    value: Value,
    /// Exponential and custom buckets were seen: there is no result.
    incompatible: bool,
    reset_seen: bool,
    not_reset_seen: bool,
}

#[derive(Debug)]
enum Value {
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl Value {
    fn add(&mut self, h: &FloatHistogram) -> Result<bool, MixedSchemas> {
        match self {
            Value::Sum(sum) => Ok(sum.add(h)?.bounds_reconciled),
            Value::Mean(mean) => mean.add(h),
        }
    }

    fn merge(&mut self, other: Value) -> Result<bool, MixedSchemas> {
        match (self, other) {
            (Value::Sum(a), Value::Sum(b)) => Ok(a.merge(&b)?.bounds_reconciled),
            (Value::Mean(a), Value::Mean(b)) => a.merge(b),
            (Value::Sum(_), Value::Mean(_)) | (Value::Mean(_), Value::Sum(_)) => {
                debug_assert!(false, "values of two aggregations");
                Ok(false)
            }
        }
    }
}

/// What annotations need.
pub(super) struct Notes<'a> {
    pub(super) annotations: &'a mut Annotations,
    pub(super) pos: Pos,
}

impl Notes<'_> {
    /// Notes what came of adding; true where it could be added.
    fn take(&mut self, added: Result<bool, MixedSchemas>, name: &str) -> bool {
        match added {
            Ok(reconciled) => {
                if reconciled {
                    self.annotations.bounds_reconciled(self.pos, HistogramOperation::Aggregation);
                }
                true
            }
            Err(MixedSchemas) => {
                self.annotations.mixed_schemas(self.pos, name);
                false
            }
        }
    }
}

/// The histograms of a group at all steps; nothing where there are none.
#[derive(Debug, Default)]
pub(super) struct HistTotals(Option<Box<[Option<Box<Total>>]>>);

impl HistTotals {
    /// Adds the histograms of a row; returns how many samples more are held.
    pub(super) fn add(&mut self, op: AggregateOp, n: usize, hists: &Hists, name: &str, notes: &mut Notes<'_>) -> usize {
        let mut held = 0;
        for (i, h) in hists.iter() {
            let steps = self.0.get_or_insert_with(|| std::iter::repeat_with(|| None).take(n).collect());
            let Some(total) = &mut steps[i] else {
                let value = match op {
                    AggregateOp::Avg => Value::Mean(HistogramMean::new(h)),
                    _ => Value::Sum(HistogramSum::new(h)),
                };
                let mut total =
                    Box::new(Total { value, incompatible: false, reset_seen: false, not_reset_seen: false });
                total.see(h.counter_reset_hint);
                steps[i] = Some(total);
                held += weight(h);
                continue;
            };
            if !total.incompatible {
                total.see(h.counter_reset_hint);
                total.incompatible = !notes.take(total.value.add(h), name);
            }
        }
        held
    }

    /// Adds those of the same group on another thread.
    pub(super) fn merge(&mut self, other: HistTotals, notes: &mut Notes<'_>) {
        let Some(theirs) = other.0 else { return };
        let Some(mine) = &mut self.0 else {
            self.0 = Some(theirs);
            return;
        };
        for (mine, theirs) in mine.iter_mut().zip(theirs) {
            match (mine.as_mut(), theirs) {
                (_, None) => {}
                (None, theirs) => *mine = theirs,
                (Some(mine), Some(theirs)) => {
                    mine.reset_seen |= theirs.reset_seen;
                    mine.not_reset_seen |= theirs.not_reset_seen;
                    mine.incompatible |= theirs.incompatible;
                    mine.incompatible = mine.incompatible || !notes.take(mine.value.merge(theirs.value), "");
                }
            }
        }
    }

    /// Puts the results beside those of floats. Where a group has both it has no result.
    pub(super) fn finish(self, floats: &mut [f64], notes: &mut Notes<'_>) -> Hists {
        let mut out = Hists::default();
        let Some(steps) = self.0 else { return out };
        let n = floats.len();
        for (i, total) in steps.into_iter().enumerate() {
            let Some(total) = total else { continue };
            if !is_absent(floats[i]) {
                notes.annotations.mixed_group(notes.pos);
                floats[i] = crate::engine::column::ABSENT;
                continue;
            }
            if total.incompatible {
                continue;
            }
            if total.reset_seen && total.not_reset_seen {
                notes.annotations.resets_collide(notes.pos, HistogramOperation::Aggregation);
            }
            let mut h = match total.value {
                Value::Sum(sum) => sum.total(),
                Value::Mean(mean) => mean.total(),
            };
            h.compact(0);
            out.set(i, n, Arc::new(h));
        }
        out
    }
}

impl Total {
    fn see(&mut self, hint: CounterResetHint) {
        self.reset_seen |= hint == CounterResetHint::Reset;
        self.not_reset_seen |= hint == CounterResetHint::NotReset;
    }
}
