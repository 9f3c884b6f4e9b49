//! Addition and subtraction of histograms of whatever layouts.
//!
//! Source: `Add`, `KahanAdd`, `Sub` of Prometheus `model/histogram/float_histogram.go`.

use std::borrow::Cow;

use super::side::{self, Cell, Side};
use super::{CounterResetHint, FloatHistogram, bounds};

/// Exponential and custom buckets do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct MixedSchemas;

/// What there is to say of an operation on two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One says that there was a counter reset, the other that there was none.
    pub resets_collide: bool,
    /// Custom bounds differed; those that both have are left.
    pub bounds_reconciled: bool,
}

impl FloatHistogram {
    /// Adds `other`. An error leaves everything as it is.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Combined, MixedSchemas> {
        self.combine(other, false)
    }

    /// Subtracts `other`. An error leaves everything as it is.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Combined, MixedSchemas> {
        self.combine(other, true)
    }

    fn combine(&mut self, other: &FloatHistogram, negative: bool) -> Result<Combined, MixedSchemas> {
        let mut parts: Parts<f64> = Parts::of(self);
        let combined = parts.combine(other, negative)?;
        *self = parts.map(|v| *v);
        Ok(combined)
    }
}

/// A histogram whose counts may be more than numbers.
#[derive(Clone, Debug)]
pub(super) struct Parts<C> {
    pub(super) hint: CounterResetHint,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero: C,
    pub(super) count: C,
    pub(super) sum: C,
    pub(super) positive: Side<C>,
    pub(super) negative: Side<C>,
    pub(super) custom_values: Vec<f64>,
}

impl<C: Cell> Parts<C> {
    pub(super) fn of(h: &FloatHistogram) -> Parts<C> {
        Parts {
            hint: h.counter_reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero: C::of(h.zero_count),
            count: C::of(h.count),
            sum: C::of(h.sum),
            positive: Side::of(&h.positive_spans, &h.positive_buckets),
            negative: Side::of(&h.negative_spans, &h.negative_buckets),
            custom_values: h.custom_values.clone(),
        }
    }

    /// The histogram whose counts `f` tells.
    pub(super) fn map(&self, f: impl Fn(&C) -> f64) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: f(&self.zero),
            count: f(&self.count),
            sum: f(&self.sum),
            positive_spans: self.positive.spans.clone(),
            negative_spans: self.negative.spans.clone(),
            positive_buckets: self.positive.cells.iter().map(&f).collect(),
            negative_buckets: self.negative.cells.iter().map(&f).collect(),
            custom_values: self.custom_values.clone(),
        }
    }

    pub(super) fn each(&mut self, f: impl Fn(&mut C)) {
        f(&mut self.zero);
        f(&mut self.count);
        f(&mut self.sum);
        self.positive.cells.iter_mut().for_each(&f);
        self.negative.cells.iter_mut().for_each(&f);
    }

    pub(super) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, MixedSchemas> {
        self.combine(other, false)
    }

    fn is_custom(&self) -> bool {
        self.schema == crate::CUSTOM_BUCKETS_SCHEMA
    }

    fn combine(&mut self, other: &FloatHistogram, negative: bool) -> Result<Combined, MixedSchemas> {
        if self.is_custom() != other.is_custom() {
            return Err(MixedSchemas);
        }
        let signed = |v: f64| C::of(if negative { -v } else { v });
        let resets_collide = self.join_hint(other.counter_reset_hint);
        let mut other = Cow::Borrowed(other);
        if !self.is_custom() {
            self.reconcile_zero(&mut other);
            self.zero.add(signed(other.zero_count));
        }
        self.count.add(signed(other.count));
        self.sum.add(signed(other.sum));
        if self.is_custom() {
            let bounds_reconciled = self.combine_custom(&other, &signed);
            return Ok(Combined { resets_collide, bounds_reconciled });
        }
        if other.schema < self.schema {
            for side in [&mut self.positive, &mut self.negative] {
                *side = Side::reduced(&side.spans, &side.cells, self.schema, other.schema);
            }
            self.schema = other.schema;
        }
        if other.schema > self.schema {
            other.to_mut().reduce_resolution(self.schema);
        }
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let beyond_zero = |index: i32| bounds::exponential(index, schema) > threshold;
        for (side, spans, buckets) in [
            (&mut self.positive, &other.positive_spans, &other.positive_buckets),
            (&mut self.negative, &other.negative_spans, &other.negative_buckets),
        ] {
            if threshold == 0.0 && side.spans == *spans && side.cells.len() == buckets.len() {
                side.cells.iter_mut().zip(buckets).for_each(|(cell, v)| cell.add(signed(*v)));
                continue;
            }
            let new = side::indexed(spans, buckets).skip_while(|(index, _)| !beyond_zero(*index));
            side.add(new.map(|(index, v)| (index, signed(v))));
        }
        Ok(Combined { resets_collide, bounds_reconciled: false })
    }

    /// Notes the hint of what is added; true where both say the opposite.
    fn join_hint(&mut self, other: CounterResetHint) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        match (self.hint, other) {
            (a, b) if a == b => false,
            (_, Gauge) => {
                self.hint = Gauge;
                false
            }
            (Gauge | Unknown, _) => false,
            (_, Unknown) => {
                self.hint = Unknown;
                false
            }
            (_, _) => {
                self.hint = Unknown;
                true
            }
        }
    }

    /// Adds custom buckets; true where bounds had to be reconciled.
    fn combine_custom(&mut self, other: &FloatHistogram, signed: &impl Fn(f64) -> C) -> bool {
        let new = side::indexed(&other.positive_spans, &other.positive_buckets).map(|(index, v)| (index, signed(v)));
        if self.custom_values == other.custom_values {
            self.positive.add(new);
            return false;
        }
        let common = common_bounds(&self.custom_values, &other.custom_values);
        let mut cells = vec![C::of(0.0); common.len() + 1];
        for (index, cell) in side::indexed(&self.positive.spans, &self.positive.cells) {
            cells[place_in(&common, &self.custom_values, index)].add(cell);
        }
        for (index, cell) in new {
            cells[place_in(&common, &other.custom_values, index)].add(cell);
        }
        let length = u32::try_from(cells.len()).unwrap_or(u32::MAX);
        self.positive = Side::of(&[super::Span { offset: 0, length }], &[]);
        self.positive.cells = cells;
        side::compact(&mut self.positive.spans, &mut self.positive.cells, 0);
        self.custom_values = common;
        true
    }

    /// Widens the narrower of both zero buckets until they are equally wide. As in Prometheus the buckets of `other` stay: those
    /// that the zero bucket covers now are passed over later, if they are still told apart at the resolution of the result.
    fn reconcile_zero(&mut self, other: &mut Cow<'_, FloatHistogram>) {
        // Each round that changes something widens to the bound of a bucket, so there are no more than buckets.
        let rounds = self.positive.cells.len()
            + self.negative.cells.len()
            + other.positive_buckets.len()
            + other.negative_buckets.len()
            + 2;
        for _ in 0..rounds {
            if self.zero_threshold > other.zero_threshold {
                let (count, threshold) = Parts::<f64>::of(other).widened_zero(self.zero_threshold);
                let other = other.to_mut();
                (other.zero_count, other.zero_threshold) = (count, threshold);
            }
            if other.zero_threshold > self.zero_threshold {
                (self.zero, self.zero_threshold) = self.widened_zero(other.zero_threshold);
                self.clear_within_zero();
            }
            if self.zero_threshold == other.zero_threshold {
                return;
            }
        }
    }

    /// The count of the zero bucket if it were as wide as `threshold`, and its width then: where that is within a bucket that
    /// holds something, it is widened to the bound of that bucket.
    pub(super) fn widened_zero(&self, threshold: f64) -> (C, f64) {
        if threshold == self.zero_threshold {
            return (self.zero, threshold);
        }
        let mut threshold = threshold;
        'again: loop {
            let mut count = self.zero;
            for side in [&self.positive, &self.negative] {
                for (index, cell) in side::indexed(&side.spans, &side.cells) {
                    let (near, far) = self.edges(index);
                    if near >= threshold {
                        break;
                    }
                    count.add(cell);
                    if far > threshold {
                        if !cell.is_zero() {
                            threshold = far;
                            continue 'again;
                        }
                        break;
                    }
                }
            }
            return (count, threshold);
        }
    }

    /// Distances of a bucket's bounds from zero.
    fn edges(&self, index: i32) -> (f64, f64) {
        (bounds::exponential(index.wrapping_sub(1), self.schema), bounds::exponential(index, self.schema))
    }

    /// Removes what the zero bucket has taken in.
    fn clear_within_zero(&mut self) {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for side in [&mut self.positive, &mut self.negative] {
            for (place, cell) in side::places(&side.spans).zip(&mut side.cells) {
                if bounds::exponential(place.index.wrapping_sub(1), schema) >= threshold {
                    break;
                }
                *cell = C::of(0.0);
            }
            side::compact(&mut side.spans, &mut side.cells, 0);
        }
    }
}

/// The bounds that both have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut b = b.iter().peekable();
    a.iter()
        .filter(|bound| {
            while b.next_if(|other| *other < *bound).is_some() {}
            b.next_if(|other| *other == *bound).is_some()
        })
        .copied()
        .collect()
}

/// The bucket of `common` bounds that bucket `index` of `bounds` falls into.
pub(super) fn place_in(common: &[f64], bounds: &[f64], index: i32) -> usize {
    let upper = usize::try_from(index).ok().and_then(|at| bounds.get(at));
    upper.map_or(common.len(), |upper| common.partition_point(|bound| bound < upper))
}
