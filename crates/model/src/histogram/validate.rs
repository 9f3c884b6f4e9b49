//! Whether a histogram may be stored. Source: `Validate` of Prometheus `model/histogram/float_histogram.go`.

use super::{FloatHistogram, SCHEMA_MAX, SCHEMA_MIN, Span};

/// Why a histogram is none; the words are Prometheus'.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidHistogram {
    /// Fewer than no observations.
    #[error("observation count is  {0}: histogram's observation count is negative")]
    Count(f64),
    /// Fewer than no observations in the zero bucket.
    #[error("zero bucket has observation count of {0}: histogram has a bucket whose observation count is negative")]
    ZeroCount(f64),
    /// Fewer than no observations in a bucket.
    #[error(
        "{side}: bucket number {number} has observation count of {count}: histogram has a bucket whose observation count \
         is negative"
    )]
    BucketCount {
        /// `positive side` or `negative side`.
        side: &'static str,
        /// From 1.
        number: usize,
        /// Its count.
        count: f64,
    },
    /// Spans that run backwards.
    #[error("{side}: span number {number} with offset {offset}: histogram has a span whose offset is negative")]
    SpanOffset {
        /// `positive side`, `negative side` or `custom buckets`.
        side: &'static str,
        /// From 1.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// Spans of other buckets than there are.
    #[error(
        "{side}: spans need {wanted} buckets, have {found} buckets: histogram spans specify different number of buckets \
         than provided"
    )]
    BucketsMismatch {
        /// `positive side`, `negative side` or `custom buckets`.
        side: &'static str,
        /// By the spans.
        wanted: u64,
        /// That there are.
        found: usize,
    },
    /// Fewer custom bounds than buckets.
    #[error(
        "custom buckets: only {bounds} custom bounds defined which is insufficient to cover total span length of {length}: \
         histogram custom bounds are too few"
    )]
    TooFewBounds {
        /// That there are.
        bounds: usize,
        /// Places of buckets.
        length: i64,
    },
    /// Custom bounds out of order.
    #[error(
        "custom buckets: previous bound is {before:.6} and current is {after:.6}: histogram custom bounds must be in \
         strictly increasing order"
    )]
    BoundsOrder {
        /// A bound.
        before: f64,
        /// The next.
        after: f64,
    },
    /// A custom bound that is none.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    BoundNan,
    /// A bound that goes without saying.
    #[error("custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    BoundInfinite,
    /// Custom buckets with a part that only exponential ones have.
    #[error("custom buckets: must {0}")]
    CustomWith(&'static str),
    /// Exponential buckets with custom bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithBounds,
    /// An unknown schema.
    #[error(
        "histogram has an invalid schema, which must be between {SCHEMA_MIN} and {SCHEMA_MAX} for exponential buckets, or \
         -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
}

impl FloatHistogram {
    /// An error where the parts do not fit together.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.is_custom() {
            self.validate_custom()?;
        } else if (SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            check_spans("positive side", &self.positive_spans, self.positive_buckets.len(), 1)?;
            check_spans("negative side", &self.negative_spans, self.negative_buckets.len(), 1)?;
            check_counts("negative side", &self.negative_buckets)?;
            if self.zero_count < 0.0 {
                return Err(InvalidHistogram::ZeroCount(self.zero_count));
            }
            if !self.custom_values.is_empty() {
                return Err(InvalidHistogram::ExponentialWithBounds);
            }
        } else {
            return Err(InvalidHistogram::Schema(self.schema));
        }
        if self.count < 0.0 {
            return Err(InvalidHistogram::Count(self.count));
        }
        check_counts("positive side", &self.positive_buckets)
    }

    fn validate_custom(&self) -> Result<(), InvalidHistogram> {
        if self.custom_values.iter().any(|bound| bound.is_nan()) {
            return Err(InvalidHistogram::BoundNan);
        }
        if let Some(pair) = self.custom_values.windows(2).find(|pair| pair[1] <= pair[0]) {
            return Err(InvalidHistogram::BoundsOrder { before: pair[0], after: pair[1] });
        }
        if self.custom_values.last() == Some(&f64::INFINITY) {
            return Err(InvalidHistogram::BoundInfinite);
        }
        check_spans("custom buckets", &self.positive_spans, self.positive_buckets.len(), 0)?;
        let length = self.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
        let bounds = self.custom_values.len();
        if i64::try_from(bounds).is_ok_and(|bounds| bounds + 1 < length) {
            return Err(InvalidHistogram::TooFewBounds { bounds, length });
        }
        for (has, text) in [
            (self.zero_count != 0.0, "have zero count of 0"),
            (self.zero_threshold != 0.0, "have zero threshold of 0"),
            (!self.negative_spans.is_empty(), "not have negative spans"),
            (!self.negative_buckets.is_empty(), "not have negative buckets"),
        ] {
            if has {
                return Err(InvalidHistogram::CustomWith(text));
            }
        }
        Ok(())
    }
}

/// Offsets are checked from span `first` on.
fn check_spans(side: &'static str, spans: &[Span], found: usize, first: usize) -> Result<(), InvalidHistogram> {
    if let Some((at, span)) = spans.iter().enumerate().skip(first).find(|(_, span)| span.offset < 0) {
        return Err(InvalidHistogram::SpanOffset { side, number: at + 1, offset: span.offset });
    }
    let wanted = spans.iter().map(|span| u64::from(span.length)).sum();
    if wanted != found as u64 {
        return Err(InvalidHistogram::BucketsMismatch { side, wanted, found });
    }
    Ok(())
}

fn check_counts(side: &'static str, buckets: &[f64]) -> Result<(), InvalidHistogram> {
    match buckets.iter().enumerate().find(|(_, count)| **count < 0.0) {
        Some((at, count)) => Err(InvalidHistogram::BucketCount { side, number: at + 1, count: *count }),
        None => Ok(()),
    }
}
