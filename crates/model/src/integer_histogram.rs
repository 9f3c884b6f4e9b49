//! Native histograms with integer counts, whose buckets are differences. Source: Prometheus `model/histogram/histogram.go`.
//!
//! This is what clients send and what a chunk of integer histograms holds; queries calculate with [`FloatHistogram`].

use crate::histogram::side;
use crate::{BucketCount, CounterResetHint, FloatHistogram, HistogramError, Span, is_stale, reduce_resolution};

/// The schema of histograms whose buckets have bounds of their own ("NHCB").
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The finest resolution that is stored; what comes in finer (up to [`SCHEMA_RESERVED_MAX`]) is reduced to it.
pub const SCHEMA_MAX: i32 = 8;
/// The coarsest resolution that is stored.
pub const SCHEMA_MIN: i32 = -4;
/// The finest resolution that is understood.
pub const SCHEMA_RESERVED_MAX: i32 = 52;
/// The coarsest resolution that is known to the formats, though not taken.
pub const SCHEMA_RESERVED_MIN: i32 = -9;

/// A native histogram sample with integer counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// See [`CounterResetHint`].
    pub counter_reset_hint: CounterResetHint,
    /// -4..=8: exponential buckets of base `2^(2^-schema)`; [`CUSTOM_BUCKETS_SCHEMA`]: custom buckets.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Sum of observations; holds the staleness marker.
    pub sum: f64,
    /// Spans of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive buckets: the first as it is, each other as the difference to the one before.
    pub positive_buckets: Vec<i64>,
    /// Counts of the negative buckets, likewise.
    pub negative_buckets: Vec<i64>,
    /// Upper bounds, for custom buckets only.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// What stands for the end of a series: a marker as the sum, and nothing else.
    pub fn stale() -> Histogram {
        Histogram { sum: crate::stale_nan(), ..Histogram::default() }
    }

    /// Whether this marks the end of a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Whether the buckets have bounds of their own.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The same with float counts.
    pub fn to_float(&self) -> FloatHistogram {
        let custom = self.uses_custom_buckets();
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: if custom { 0.0 } else { self.zero_threshold },
            zero_count: if custom { 0.0 } else { self.zero_count as f64 },
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: if custom { Vec::new() } else { self.negative_spans.clone() },
            positive_buckets: absolute(&self.positive_buckets),
            negative_buckets: if custom { Vec::new() } else { absolute(&self.negative_buckets) },
            custom_values: if custom { self.custom_values.clone() } else { Vec::new() },
        }
    }

    /// Merges buckets until the resolution is `schema`, which must be a coarser exponential one than that of the histogram.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        reduce_resolution(&mut self.positive_spans, &mut self.positive_buckets, self.schema, schema)?;
        reduce_resolution(&mut self.negative_spans, &mut self.negative_buckets, self.schema, schema)?;
        self.schema = schema;
        Ok(())
    }

    /// Drops empty buckets, but for runs of at most `empty_max` between others; fills gaps up to that length.
    pub fn compact(&mut self, empty_max: usize) {
        let compact = |spans: &mut Vec<Span>, buckets: &mut Vec<i64>| {
            i64::to_absolute(buckets);
            side::compact(spans, buckets, empty_max);
            i64::from_absolute(buckets);
        };
        compact(&mut self.positive_spans, &mut self.positive_buckets);
        compact(&mut self.negative_spans, &mut self.negative_buckets);
    }
}

/// Float counts from differences, added as floats like upstream's.
fn absolute(deltas: &[i64]) -> Vec<f64> {
    let add = |sum: &mut f64, delta: &i64| {
        *sum += *delta as f64;
        Some(*sum)
    };
    deltas.iter().scan(0.0, add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn differences_become_counts() {
        let h = Histogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: 1,
            zero_threshold: 0.5,
            zero_count: 2,
            count: 19,
            sum: 18.4,
            positive_spans: vec![span(0, 2), span(1, 2)],
            negative_spans: vec![span(-3, 1)],
            positive_buckets: vec![2, 1, -2, 3],
            negative_buckets: vec![7],
            custom_values: vec![],
        };
        let f = h.to_float();
        assert_eq!(f.positive_buckets, [2.0, 3.0, 1.0, 4.0]);
        assert_eq!(f.negative_buckets, [7.0]);
        assert_eq!((f.count, f.sum, f.zero_count, f.zero_threshold, f.schema), (19.0, 18.4, 2.0, 0.5, 1));
        assert_eq!((f.counter_reset_hint, f.positive_spans), (CounterResetHint::Gauge, h.positive_spans));
    }

    #[test]
    fn custom_buckets_have_no_zero_bucket_and_no_negative_side() {
        let h = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            zero_count: 1,
            zero_threshold: 1.0,
            negative_buckets: vec![1],
            negative_spans: vec![span(0, 1)],
            custom_values: vec![0.5, 1.0],
            ..Histogram::default()
        };
        let expected = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: vec![0.5, 1.0],
            ..FloatHistogram::default()
        };
        assert_eq!(h.to_float(), expected);
    }

    #[test]
    fn compacting_drops_empty_buckets_and_joins_what_lies_close() {
        let check = |spans: &[(i32, u32)], deltas: &[i64], empty_max, compact_spans: &[(i32, u32)], compact: &[i64]| {
            let of = |spans: &[(i32, u32)]| spans.iter().map(|(offset, length)| span(*offset, *length)).collect();
            let mut h =
                Histogram { positive_spans: of(spans), positive_buckets: deltas.to_vec(), ..Histogram::default() };
            h.compact(empty_max);
            let expected: Vec<Span> = of(compact_spans);
            assert_eq!((&h.positive_spans, &h.positive_buckets[..]), (&expected, compact));
        };
        // Counts 0 3 0 0 0 2 0.
        check(&[(0, 7)], &[0, 3, -3, 0, 0, 2, -2], 0, &[(1, 1), (3, 1)], &[3, -1]);
        check(&[(0, 7)], &[0, 3, -3, 0, 0, 2, -2], 2, &[(1, 1), (3, 1)], &[3, -1]);
        // A gap of two is filled, one of three stays.
        check(&[(-1, 1), (2, 1), (3, 1)], &[1, 1, 1], 2, &[(-1, 4), (3, 1)], &[1, -1, 0, 2, 1]);
        check(&[(0, 0)], &[], 0, &[], &[]);
    }

    #[test]
    fn only_the_marker_is_stale() {
        assert!(Histogram::stale().is_stale());
        assert!(!Histogram { sum: f64::NAN, ..Histogram::default() }.is_stale());
    }
}
