//! Native histograms with floating-point counts. Source: Prometheus `model/histogram`.
//!
//! Values only: chunks are encoded in `chunkenc`, texts are written and read in `promql`. Histograms that storage gives are not
//! trusted: what does not fit together gives some result, never a panic or a loop without end.

mod add;
mod bounds;
mod buckets;
mod compensated;
mod reset;
pub(crate) mod side;
mod trim;

pub use add::{Combined, MixedSchemas};
pub use buckets::Bucket;
pub use compensated::{HistogramSum, kahan};

use crate::CUSTOM_BUCKETS_SCHEMA;

/// What is known of a counter reset before a histogram sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing: compare to find out.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge; resets mean nothing.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the span before (to bucket 0 for the first).
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// A native histogram sample with float counts per bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// See [`CounterResetHint`].
    pub counter_reset_hint: CounterResetHint,
    /// -4..=8: exponential buckets of base `2^(2^-schema)`; -53: custom buckets.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of observations; holds the staleness marker.
    pub sum: f64,
    /// Spans of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Absolute counts of the positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Absolute counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds, for custom buckets only.
    pub custom_values: Vec<f64>,
}

impl FloatHistogram {
    /// Whether the buckets are custom ones, whose upper bounds are listed.
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Whether this is a staleness marker.
    pub fn is_stale(&self) -> bool {
        crate::is_stale(self.sum)
    }

    /// A histogram of the same buckets without observations.
    pub fn empty_like(&self) -> FloatHistogram {
        FloatHistogram { schema: self.schema, custom_values: self.custom_values.clone(), ..FloatHistogram::default() }
    }

    /// Multiplies all counts and the sum; a negative factor makes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.each_number(|v| *v *= factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum; a negative divisor makes a gauge, and zero leaves no buckets but that of zero.
    pub fn div(&mut self, divisor: f64) {
        self.each_number(|v| *v /= divisor);
        if divisor == 0.0 {
            for buckets in [&mut self.positive_buckets, &mut self.negative_buckets] {
                buckets.clear();
            }
            for spans in [&mut self.positive_spans, &mut self.negative_spans] {
                spans.clear();
            }
        }
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn each_number(&mut self, f: impl Fn(&mut f64)) {
        f(&mut self.zero_count);
        f(&mut self.count);
        f(&mut self.sum);
        self.positive_buckets.iter_mut().for_each(&f);
        self.negative_buckets.iter_mut().for_each(&f);
    }

    /// Drops empty buckets, but for runs of at most `empty_max` between others; fills gaps up to that length.
    pub fn compact(&mut self, empty_max: usize) {
        side::compact(&mut self.positive_spans, &mut self.positive_buckets, empty_max);
        side::compact(&mut self.negative_spans, &mut self.negative_buckets, empty_max);
    }

    /// Merges buckets until the schema is `schema`; nothing where it is coarser already or buckets are custom.
    pub fn reduce_resolution(&mut self, schema: i32) {
        if self.is_custom() || schema >= self.schema {
            return;
        }
        let reduce = |spans: &mut Vec<Span>, buckets: &mut Vec<f64>| {
            let reduced = side::Side::reduced(spans, buckets, self.schema, schema);
            (*spans, *buckets) = (reduced.spans, reduced.cells);
        };
        reduce(&mut self.positive_spans, &mut self.positive_buckets);
        reduce(&mut self.negative_spans, &mut self.negative_buckets);
        self.schema = schema;
    }

    /// Whether all numbers have the same bits and all buckets lie at the same places; hints do not count.
    pub fn equals(&self, other: &FloatHistogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let all_same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b));
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && (!self.is_custom() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && spans_match(&self.negative_spans, &other.negative_spans)
            && all_same(&self.negative_buckets, &other.negative_buckets)
            && spans_match(&self.positive_spans, &other.positive_spans)
            && all_same(&self.positive_buckets, &other.positive_buckets)
    }

    /// Bytes that Prometheus takes this histogram for.
    pub fn size_bytes(&self) -> usize {
        const STRUCT_BYTES: usize = 168;
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let numbers = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        STRUCT_BYTES + 8 * (spans + numbers)
    }
}

/// Whether two lists of spans have their buckets at the same places; spans without buckets do not count.
pub fn spans_match(a: &[Span], b: &[Span]) -> bool {
    fn filled(spans: &[Span]) -> impl Iterator<Item = (i32, u32)> + '_ {
        let mut gap = 0i32;
        spans.iter().filter_map(move |span| {
            gap = gap.wrapping_add(span.offset);
            (span.length > 0).then(|| (std::mem::take(&mut gap), span.length))
        })
    }
    filled(a).eq(filled(b))
}

#[cfg(test)]
mod tests;
