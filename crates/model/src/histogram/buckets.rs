//! Buckets with their bounds, in order.

use super::side::{self, Place};
use super::{FloatHistogram, Span, bounds};

/// A bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

impl Bucket {
    /// The share of the bucket's observations that are taken to lie below `v`, which lies within.
    pub fn share_below(&self, v: f64, is_linear: bool) -> f64 {
        if is_linear {
            return (v - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, v_log) = (self.lower.abs().log2(), self.upper.abs().log2(), v.abs().log2());
        if v > 0.0 { (v_log - lower) / (upper - lower) } else { 1.0 - (v_log - upper) / (lower - upper) }
    }
}

/// Buckets of one side that are wanted from either end.
struct Run<'a> {
    spans: &'a [Span],
    buckets: &'a [f64],
}

impl Run<'_> {
    /// The places of buckets from the last to the first.
    fn backwards(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let length = |span: &Span| usize::try_from(span.length).unwrap_or(usize::MAX);
        let mut end =
            self.spans.iter().fold(0i32, |end, span| end.wrapping_add(span.offset).wrapping_add_unsigned(span.length));
        // Spans may claim more buckets than there are: those beyond have none.
        let mut rest = self.spans.iter().map(length).fold(0usize, usize::saturating_add);
        let buckets = self.buckets;
        self.spans.iter().rev().flat_map(move |span| {
            let span_end = end;
            let below = rest.saturating_sub(length(span));
            let (from, to) = (below.min(buckets.len()), rest.min(buckets.len()));
            rest = below;
            end = end.wrapping_sub_unsigned(span.length).wrapping_sub(span.offset);
            let first = span_end.wrapping_sub_unsigned(span.length);
            (from..to).rev().map(move |at| {
                let within = u32::try_from(at - below).unwrap_or(u32::MAX);
                (first.wrapping_add_unsigned(within), buckets[at])
            })
        })
    }
}

impl FloatHistogram {
    /// The upper bound of positive bucket `index`.
    pub(super) fn bound(&self, index: i32) -> f64 {
        if !self.is_custom() {
            return bounds::exponential(index, self.schema);
        }
        match usize::try_from(index) {
            Ok(at) => self.custom_values.get(at).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (self.bound(index.wrapping_sub(1)), self.bound(index));
        let lower_inclusive = if self.is_custom() { index == 0 } else { lower < 0.0 };
        Bucket { lower, upper, lower_inclusive, upper_inclusive: self.is_custom() || upper > 0.0, count }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (-self.bound(index), -self.bound(index.wrapping_sub(1)));
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
    }

    /// Positive buckets from zero on, as they lie whatever the width of the zero bucket.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        let all = side::places(&self.positive_spans).zip(&self.positive_buckets);
        all.map(|(Place { index, .. }, count)| self.positive_bucket(index, *count))
    }

    /// Negative buckets from zero on, as they lie whatever the width of the zero bucket.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        let all = side::places(&self.negative_spans).zip(&self.negative_buckets);
        all.map(|(Place { index, .. }, count)| self.negative_bucket(index, *count))
    }

    /// The zero bucket.
    pub fn zero_bucket(&self) -> Bucket {
        let width = self.zero_threshold;
        Bucket { lower: -width, upper: width, lower_inclusive: true, upper_inclusive: true, count: self.zero_count }
    }

    /// All buckets from the lowest to the highest, cut where the zero bucket covers them.
    pub fn ascending(&self) -> impl Iterator<Item = Bucket> + '_ {
        let negative = Run { spans: &self.negative_spans, buckets: &self.negative_buckets };
        let negative: Vec<(i32, f64)> = negative.backwards().collect();
        let negative = negative.into_iter().map(|(index, count)| self.negative_bucket(index, count));
        self.cut_by_zero(negative, self.positive())
    }

    /// All buckets from the highest to the lowest, cut where the zero bucket covers them.
    pub fn descending(&self) -> impl Iterator<Item = Bucket> + '_ {
        let positive = Run { spans: &self.positive_spans, buckets: &self.positive_buckets };
        let positive: Vec<(i32, f64)> = positive.backwards().collect();
        let positive = positive.into_iter().map(|(index, count)| self.positive_bucket(index, count));
        self.cut_by_zero(positive, self.negative())
    }

    fn cut_by_zero<'a>(
        &'a self,
        before: impl Iterator<Item = Bucket> + 'a,
        after: impl Iterator<Item = Bucket> + 'a,
    ) -> impl Iterator<Item = Bucket> + 'a {
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        let width = self.zero_threshold;
        let cut = move |mut b: Bucket| {
            if b.upper < 0.0 && b.upper > -width {
                b.upper = -width;
            } else if b.lower > 0.0 && b.lower < width {
                b.lower = width;
            }
            b
        };
        before.map(cut).chain(zero).chain(after.map(cut))
    }
}
