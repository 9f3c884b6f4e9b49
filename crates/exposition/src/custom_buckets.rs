//! Classic histograms as native ones with custom buckets. Source: Prometheus `util/convertnhcb`.

use model::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram, SampleValue, Span};

/// Why a classic histogram is none. The words are Prometheus'.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CustomBucketsError {
    /// A bound is not a number.
    #[error("bucket boundary is NaN")]
    NanBound,
    /// A bucket with less than nothing.
    #[error("bucket count must be non-negative: le={le}, count={count}")]
    NegativeBucket {
        /// Its upper bound.
        le: f64,
        /// What it holds.
        count: f64,
    },
    /// Less than nothing was observed.
    #[error("count must be non-negative: count={count}")]
    NegativeCount {
        /// The count.
        count: f64,
    },
    /// A bucket holds less than the one before.
    #[error("count is not cumulative: {count} < {before}")]
    NotCumulative {
        /// What it holds.
        count: f64,
        /// What the one before holds.
        before: f64,
    },
    /// The last bucket does not hold all.
    #[error("count mismatch: count={count} != le={le} count={in_bucket}")]
    Mismatch {
        /// The count of all observations.
        count: f64,
        /// Upper bound of the last bucket.
        le: f64,
        /// What it holds.
        in_bucket: f64,
    },
}

// NaN never compares: a bound that is none has its own variant, and counts of NaN are unequal to all others.
impl Eq for CustomBucketsError {}

/// A classic histogram, as its series come.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassicHistogram {
    /// Upper bounds and cumulative counts, in any order.
    buckets: Vec<(f64, f64)>,
    pub(crate) count: Option<f64>,
    pub(crate) sum: f64,
}

impl ClassicHistogram {
    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
        (self.count, self.sum) = (None, 0.0);
    }

    pub(crate) fn bucket(&mut self, le: f64, count: f64) {
        self.buckets.push((le, count));
    }

    /// The native histogram, of integers where all counts are whole.
    pub(crate) fn convert(&mut self) -> Result<SampleValue, CustomBucketsError> {
        if self.buckets.iter().any(|(le, _)| le.is_nan()) {
            return Err(CustomBucketsError::NanBound);
        }
        let buckets = &mut self.buckets;
        // Stable: of two buckets with one bound the first counts.
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets.dedup_by(|b, a| a.0 == b.0);
        let count = self.count.or(buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if count < 0.0 {
            return Err(CustomBucketsError::NegativeCount { count });
        }
        if buckets.last().is_none_or(|(le, _)| *le != f64::INFINITY) {
            buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        for (le, count) in buckets.iter() {
            if *count < 0.0 {
                return Err(CustomBucketsError::NegativeBucket { le: *le, count: *count });
            }
            if *count < before {
                return Err(CustomBucketsError::NotCumulative { count: *count, before });
            }
            before = *count;
        }
        if count != before {
            return Err(CustomBucketsError::Mismatch { count, le: f64::INFINITY, in_bucket: before });
        }
        Ok(if is_whole(count) && buckets.iter().all(|(_, count)| is_whole(*count)) {
            SampleValue::Histogram(Box::new(self.integers(count)))
        } else {
            SampleValue::FloatHistogram(Box::new(self.floats(count)))
        })
    }

    fn spans(&self) -> Vec<Span> {
        vec![Span { offset: 0, length: u32::try_from(self.buckets.len()).unwrap_or(u32::MAX) }]
    }

    fn bounds(&self) -> Vec<f64> {
        self.buckets.iter().map(|(le, _)| *le).filter(|le| *le != f64::INFINITY).collect()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, not negative, below 2^63")]
    fn integers(&self, count: f64) -> Histogram {
        let (mut before, mut in_bucket_before) = (0, 0);
        let deltas = self.buckets.iter().map(|(_, cumulative)| {
            let in_bucket = *cumulative as i64 - before;
            let delta = in_bucket - in_bucket_before;
            (before, in_bucket_before) = (*cumulative as i64, in_bucket);
            delta
        });
        let mut h = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_buckets: deltas.collect(),
            positive_spans: self.spans(),
            count: count as u64,
            sum: self.sum,
            custom_values: self.bounds(),
            ..Histogram::default()
        };
        h.compact(2);
        h
    }

    fn floats(&self, count: f64) -> FloatHistogram {
        let mut before = 0.0;
        let counts =
            self.buckets.iter().map(|(_, cumulative)| cumulative - std::mem::replace(&mut before, *cumulative));
        let mut h = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_buckets: counts.collect(),
            positive_spans: self.spans(),
            count,
            sum: self.sum,
            custom_values: self.bounds(),
            ..FloatHistogram::default()
        };
        h.compact(0);
        h
    }
}

/// Whether it is an integer that 63 bits hold.
fn is_whole(v: f64) -> bool {
    v.fract() == 0.0 && v < 9_223_372_036_854_775_808.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(buckets: &[(f64, f64)], count: Option<f64>) -> Result<SampleValue, CustomBucketsError> {
        let mut classic = ClassicHistogram { count, sum: 1.5, ..ClassicHistogram::default() };
        buckets.iter().for_each(|(le, count)| classic.bucket(*le, *count));
        classic.convert()
    }

    #[test]
    fn whole_counts_become_an_integer_histogram() {
        let expected = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 7,
            sum: 1.5,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_buckets: vec![2, 1, -1],
            custom_values: vec![0.5, 1.0],
            ..Histogram::default()
        };
        let all = &[(0.5, 2.0), (1.0, 5.0), (f64::INFINITY, 7.0)];
        let expected = Ok(SampleValue::Histogram(Box::new(expected)));
        assert_eq!(converted(all, Some(7.0)), expected);
        // Without what can be known from the rest, in another order, and with a bucket twice.
        assert_eq!(converted(all, None), expected);
        assert_eq!(converted(&all[..2], Some(7.0)), expected);
        assert_eq!(converted(&[all[2], all[1], all[0], (1.0, 6.0)], Some(7.0)), expected);
    }

    #[test]
    fn counts_that_are_not_whole_become_a_float_histogram() {
        let expected = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 2.5,
            sum: 1.5,
            positive_spans: vec![Span { offset: 1, length: 1 }],
            positive_buckets: vec![2.5],
            custom_values: vec![0.5, 1.0],
            ..FloatHistogram::default()
        };
        let got = converted(&[(0.5, 0.0), (1.0, 2.5), (f64::INFINITY, 2.5)], Some(2.5));
        assert_eq!(got, Ok(SampleValue::FloatHistogram(Box::new(expected))));
    }

    #[test]
    fn a_histogram_without_buckets_has_one() {
        let Ok(SampleValue::Histogram(h)) = converted(&[], Some(3.0)) else { panic!("three observations") };
        assert_eq!((h.count, h.positive_buckets, h.custom_values), (3, vec![3], vec![]));
        let Ok(SampleValue::Histogram(h)) = converted(&[], None) else { panic!("no observation") };
        assert_eq!((h.count, h.positive_buckets, h.custom_values), (0, vec![], vec![]));
    }

    #[test]
    fn what_is_no_histogram_is_told_in_prometheus_words() {
        let inf = f64::INFINITY;
        for (buckets, count, words) in [
            (&[(f64::NAN, 1.0)][..], None, "bucket boundary is NaN"),
            (&[(1.0, -1.0), (inf, 2.0)], None, "bucket count must be non-negative: le=1, count=-1"),
            (&[(1.0, 3.0), (inf, 2.0)], None, "count is not cumulative: 2 < 3"),
            (&[(1.0, 3.0)], Some(-1.0), "count must be non-negative: count=-1"),
            (&[(inf, 2.0)], Some(3.0), "count mismatch: count=3 != le=inf count=2"),
        ] {
            assert_eq!(converted(buckets, count).unwrap_err().to_string(), words);
        }
    }
}
