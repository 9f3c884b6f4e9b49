//! What a histogram must obey before it is stored, with Prometheus' verdicts and words. Source: `Validate` of
//! `model/histogram/histogram.go` and `float_histogram.go`, the checks in `generic.go`.

use std::fmt;

use crate::integer_histogram::{
    CUSTOM_BUCKETS_SCHEMA, SCHEMA_MAX, SCHEMA_MIN, SCHEMA_RESERVED_MAX, SCHEMA_RESERVED_MIN,
};
use crate::{FloatHistogram, Histogram, Span, reduce_resolution};

/// Most buckets, spans or custom bounds of one side of a histogram. It protects memory against a few bytes that claim much;
/// at the finest resolution these are 256 powers of two.
pub const BUCKETS_MAX: usize = 1 << 16;

/// The buckets that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanSide {
    /// Those of positive observations.
    Positive,
    /// Those of negative observations.
    Negative,
    /// Those of a histogram with custom buckets.
    Custom,
    /// Not said.
    Unnamed,
}

impl fmt::Display for SpanSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpanSide::Positive => "positive side: ",
            SpanSide::Negative => "negative side: ",
            SpanSide::Custom => "custom buckets: ",
            SpanSide::Unnamed => "",
        })
    }
}

/// Why a histogram is not stored. The words are Prometheus'.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// Buckets hold more than there was, with a sum of NaN.
    #[error(
        "{in_buckets} observations found in buckets, but the Count field is {count}: histogram's observation count \
         should be at least the number of observations found in the buckets"
    )]
    CountNotBigEnough {
        /// Observations in all buckets.
        in_buckets: u64,
        /// The count.
        count: u64,
    },
    /// Buckets do not hold what there was.
    #[error(
        "{in_buckets} observations found in buckets, but the Count field is {count}: histogram's observation count \
         should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// Observations in all buckets.
        in_buckets: u64,
        /// The count.
        count: u64,
    },
    /// The count is negative.
    #[error("observation count is  {}: histogram's observation count is negative", GoFloat(*count))]
    NegativeCount {
        /// The count.
        count: f64,
    },
    /// A bucket's count is negative.
    #[error(
        "{side}bucket number {number} has observation count of {count}: histogram has a bucket whose observation count \
         is negative"
    )]
    NegativeBucket {
        /// Where.
        side: SpanSide,
        /// From 1.
        number: usize,
        /// The count.
        count: Observations,
    },
    /// The zero bucket's count is negative.
    #[error(
        "zero bucket has observation count of {}: histogram has a bucket whose observation count is negative",
        GoFloat(*count)
    )]
    NegativeZeroBucket {
        /// The count.
        count: f64,
    },
    /// A span but the first goes back.
    #[error("{side}span number {number} with offset {offset}: histogram has a span whose offset is negative")]
    NegativeOffset {
        /// Where.
        side: SpanSide,
        /// From 1.
        number: usize,
        /// The offset.
        offset: i32,
    },
    /// There are not as many buckets as the spans say.
    #[error(
        "{side}spans need {needed} buckets, have {buckets} buckets: histogram spans specify different number of buckets \
         than provided"
    )]
    SpansBucketsMismatch {
        /// Where.
        side: SpanSide,
        /// Buckets that the spans name.
        needed: u64,
        /// Buckets there are.
        buckets: usize,
    },
    /// There are more buckets than bounds.
    #[error(
        "custom buckets: only {bounds} custom bounds defined which is insufficient to cover total span length of \
         {needed}: histogram custom bounds are too few"
    )]
    BoundsTooFew {
        /// Bounds there are.
        bounds: usize,
        /// Buckets from the first possible to the last used.
        needed: u64,
    },
    /// Bounds do not rise.
    #[error(
        "custom buckets: previous bound is {} and current is {}: histogram custom bounds must be in strictly increasing \
         order",
        SixPlaces(*previous),
        SixPlaces(*current)
    )]
    BoundsNotRising {
        /// A bound.
        previous: f64,
        /// The one after it.
        current: f64,
    },
    /// The last bound, which is never written, is.
    #[error("custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    BoundInfinite,
    /// A bound is not a number.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    BoundNaN,
    /// Custom buckets and a zero bucket.
    #[error("custom buckets: must have zero count of 0")]
    CustomZeroCount,
    /// Custom buckets and a zero bucket with a width.
    #[error("custom buckets: must have zero threshold of 0")]
    CustomZeroThreshold,
    /// Custom buckets and spans of negative ones.
    #[error("custom buckets: must not have negative spans")]
    CustomNegativeSpans,
    /// Custom buckets and negative ones.
    #[error("custom buckets: must not have negative buckets")]
    CustomNegativeBuckets,
    /// Exponential buckets and bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialCustomBounds,
    /// More buckets, spans or bounds than [`BUCKETS_MAX`]. Prometheus has no such limit.
    #[error("{side}histogram has {found} buckets, spans or bounds, more than {BUCKETS_MAX}")]
    TooMany {
        /// Where.
        side: SpanSide,
        /// How many.
        found: u64,
    },
    /// Buckets lie beyond the indexes of 32 bits. Prometheus lets them wrap.
    #[error("{side}histogram has a bucket beyond index {}", i32::MAX)]
    IndexTooHigh {
        /// Where.
        side: SpanSide,
    },
    /// A schema that cannot be stored.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom \
         buckets, got schema {schema}"
    )]
    InvalidSchema {
        /// The schema.
        schema: i32,
    },
}

// No variant ever holds NaN: each float in it was found less than something.
impl Eq for HistogramError {}

/// A count of integers or floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observations {
    /// Of an integer histogram.
    Integer(i64),
    /// Of a float histogram.
    Float(f64),
}

impl fmt::Display for Observations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observations::Integer(n) => n.fmt(f),
            Observations::Float(n) => GoFloat(*n).fmt(f),
        }
    }
}

impl Histogram {
    /// Brings a resolution that is understood but too fine to the finest that is stored, then checks.
    pub fn normalize(&mut self) -> Result<(), HistogramError> {
        if (SCHEMA_MAX + 1..=SCHEMA_RESERVED_MAX).contains(&self.schema) {
            self.reduce_resolution(SCHEMA_MAX)?;
        }
        self.validate()
    }

    /// Checks that counts, buckets, spans and bounds belong together.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let mut in_negative = 0;
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => {
                check_bounds(&self.custom_values, &self.positive_spans, self.positive_buckets.len())?;
                check_custom(
                    self.zero_count != 0,
                    self.zero_threshold,
                    self.negative_spans.len(),
                    self.negative_buckets.len(),
                )?;
            }
            SCHEMA_MIN..=SCHEMA_MAX => {
                check_spans(&self.positive_spans, self.positive_buckets.len(), SpanSide::Positive)?;
                check_spans(&self.negative_spans, self.negative_buckets.len(), SpanSide::Negative)?;
                in_negative = integer_observations(&self.negative_buckets, SpanSide::Negative)?;
                if !self.custom_values.is_empty() {
                    return Err(HistogramError::ExponentialCustomBounds);
                }
            }
            schema => return Err(HistogramError::InvalidSchema { schema }),
        }
        let in_positive = integer_observations(&self.positive_buckets, SpanSide::Positive)?;
        let in_buckets = in_negative.wrapping_add(in_positive).wrapping_add(self.zero_count);
        match in_buckets.cmp(&self.count) {
            // An observation of NaN counts but lies in no bucket.
            std::cmp::Ordering::Greater if self.sum.is_nan() => {
                Err(HistogramError::CountNotBigEnough { in_buckets, count: self.count })
            }
            std::cmp::Ordering::Less if self.sum.is_nan() => Ok(()),
            std::cmp::Ordering::Equal => Ok(()),
            _ => Err(HistogramError::CountMismatch { in_buckets, count: self.count }),
        }
    }
}

impl FloatHistogram {
    /// As [`Histogram::normalize`].
    pub fn normalize(&mut self) -> Result<(), HistogramError> {
        if (SCHEMA_MAX + 1..=SCHEMA_RESERVED_MAX).contains(&self.schema) {
            reduce_resolution(&mut self.positive_spans, &mut self.positive_buckets, self.schema, SCHEMA_MAX)?;
            reduce_resolution(&mut self.negative_spans, &mut self.negative_buckets, self.schema, SCHEMA_MAX)?;
            self.schema = SCHEMA_MAX;
        }
        self.validate()
    }

    /// Checks that buckets, spans and bounds belong together and no count is negative. The sum of the buckets is not compared
    /// with the count: floats may differ a little.
    pub fn validate(&self) -> Result<(), HistogramError> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => {
                check_bounds(&self.custom_values, &self.positive_spans, self.positive_buckets.len())?;
                check_custom(
                    self.zero_count != 0.0,
                    self.zero_threshold,
                    self.negative_spans.len(),
                    self.negative_buckets.len(),
                )?;
            }
            SCHEMA_MIN..=SCHEMA_MAX => {
                check_spans(&self.positive_spans, self.positive_buckets.len(), SpanSide::Positive)?;
                check_spans(&self.negative_spans, self.negative_buckets.len(), SpanSide::Negative)?;
                check_float_buckets(&self.negative_buckets, SpanSide::Negative)?;
                if self.zero_count < 0.0 {
                    return Err(HistogramError::NegativeZeroBucket { count: self.zero_count });
                }
                if !self.custom_values.is_empty() {
                    return Err(HistogramError::ExponentialCustomBounds);
                }
            }
            schema => return Err(HistogramError::InvalidSchema { schema }),
        }
        if self.count < 0.0 {
            return Err(HistogramError::NegativeCount { count: self.count });
        }
        check_float_buckets(&self.positive_buckets, SpanSide::Positive)
    }
}

/// Checks that spans go forward and name as many buckets as there are.
pub(crate) fn check_spans(spans: &[Span], buckets: usize, side: SpanSide) -> Result<(), HistogramError> {
    if let Some((i, span)) = spans.iter().enumerate().skip(1).find(|(_, span)| span.offset < 0) {
        return Err(HistogramError::NegativeOffset { side, number: i + 1, offset: span.offset });
    }
    check_bucket_count(spans, buckets, side)
}

fn check_bucket_count(spans: &[Span], buckets: usize, side: SpanSide) -> Result<(), HistogramError> {
    let needed = spans.iter().map(|span| u64::from(span.length)).sum();
    if needed != buckets as u64 {
        return Err(HistogramError::SpansBucketsMismatch { side, needed, buckets });
    }
    check_extent(spans, buckets, side)
}

/// The limits of our own.
fn check_extent(spans: &[Span], buckets: usize, side: SpanSide) -> Result<(), HistogramError> {
    let found = buckets.max(spans.len());
    if found > BUCKETS_MAX {
        return Err(HistogramError::TooMany { side, found: found as u64 });
    }
    let end: i64 = spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    if end > i64::from(i32::MAX) { Err(HistogramError::IndexTooHigh { side }) } else { Ok(()) }
}

/// Checks what a chunk says of the buckets of all its histograms: as [`Histogram::validate`], but any known schema is taken.
pub fn check_layout(
    schema: i32,
    positive: &[Span],
    negative: &[Span],
    custom_values: &[f64],
) -> Result<(), HistogramError> {
    let buckets = |spans: &[Span]| usize::try_from(spans.iter().map(|s| u64::from(s.length)).sum::<u64>());
    let (Ok(in_positive), Ok(in_negative)) = (buckets(positive), buckets(negative)) else {
        return Err(HistogramError::TooMany { side: SpanSide::Unnamed, found: u64::MAX });
    };
    match schema {
        CUSTOM_BUCKETS_SCHEMA => {
            check_bounds(custom_values, positive, in_positive)?;
            check_custom(false, 0.0, negative.len(), in_negative)
        }
        SCHEMA_RESERVED_MIN..=SCHEMA_RESERVED_MAX => {
            check_spans(positive, in_positive, SpanSide::Positive)?;
            check_spans(negative, in_negative, SpanSide::Negative)
        }
        schema => Err(HistogramError::InvalidSchema { schema }),
    }
}

fn check_bounds(bounds: &[f64], spans: &[Span], buckets: usize) -> Result<(), HistogramError> {
    let mut previous = f64::NEG_INFINITY;
    for (i, &current) in bounds.iter().enumerate() {
        if current.is_nan() {
            return Err(HistogramError::BoundNaN);
        }
        if i > 0 && current <= previous {
            return Err(HistogramError::BoundsNotRising { previous, current });
        }
        previous = current;
    }
    if previous == f64::INFINITY {
        return Err(HistogramError::BoundInfinite);
    }
    let side = SpanSide::Custom;
    if let Some((i, span)) = spans.iter().enumerate().find(|(_, span)| span.offset < 0) {
        return Err(HistogramError::NegativeOffset { side, number: i + 1, offset: span.offset });
    }
    check_bucket_count(spans, buckets, side)?;
    let needed = spans.iter().map(|span| u64::from(span.length) + u64::from(span.offset.unsigned_abs())).sum();
    if bounds.len() > BUCKETS_MAX {
        return Err(HistogramError::TooMany { side, found: bounds.len() as u64 });
    }
    if bounds.len() as u64 + 1 < needed {
        return Err(HistogramError::BoundsTooFew { bounds: bounds.len(), needed });
    }
    Ok(())
}

fn check_custom(
    zero_count: bool,
    zero_threshold: f64,
    negative_spans: usize,
    negative_buckets: usize,
) -> Result<(), HistogramError> {
    if zero_count {
        return Err(HistogramError::CustomZeroCount);
    }
    if zero_threshold != 0.0 {
        return Err(HistogramError::CustomZeroThreshold);
    }
    if negative_spans > 0 {
        return Err(HistogramError::CustomNegativeSpans);
    }
    if negative_buckets > 0 {
        return Err(HistogramError::CustomNegativeBuckets);
    }
    Ok(())
}

/// The observations of one side. Sums wrap as upstream's.
fn integer_observations(deltas: &[i64], side: SpanSide) -> Result<u64, HistogramError> {
    let (mut all, mut count) = (0u64, 0i64);
    for (i, delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(*delta);
        if count < 0 {
            let count = Observations::Integer(count);
            return Err(HistogramError::NegativeBucket { side, number: i + 1, count });
        }
        all = all.wrapping_add(count.unsigned_abs());
    }
    Ok(all)
}

fn check_float_buckets(buckets: &[f64], side: SpanSide) -> Result<(), HistogramError> {
    match buckets.iter().position(|count| *count < 0.0) {
        Some(i) => {
            let count = Observations::Float(buckets[i]);
            Err(HistogramError::NegativeBucket { side, number: i + 1, count })
        }
        None => Ok(()),
    }
}

/// A float as Go's `%v` prints it.
struct GoFloat(f64);

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scientific = format!("{:e}", self.0);
        match scientific.split_once('e') {
            Some((digits, exponent)) if self.0.is_finite() => {
                let exponent: i32 = exponent.parse().expect("Rust prints a number");
                if (-4..6).contains(&exponent) {
                    return write!(f, "{}", self.0);
                }
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
            }
            _ => f.write_str(infinite(self.0)),
        }
    }
}

/// A float as Go's `%f` prints it.
struct SixPlaces(f64);

impl fmt::Display for SixPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() { write!(f, "{:.6}", self.0) } else { f.write_str(infinite(self.0)) }
    }
}

fn infinite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

#[cfg(test)]
mod tests;
