//! Functions of native histograms.
//!
//! Source: Prometheus `HistogramQuantile` and `HistogramFraction` of `promql/quantile.go`, `histogramVariance` of
//! `promql/functions.go`.

use model::{Bucket, FloatHistogram};

use crate::engine::annotations::Annotations;
use crate::engine::column::NORMAL_NAN;
use crate::engine::go_math;
use crate::engine::math::kahan;

/// Numbers of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramStat {
    Avg,
    Count,
    Sum,
    Stddev,
    Stdvar,
}

impl HistogramStat {
    pub(crate) fn of_name(name: &str) -> Option<HistogramStat> {
        Some(match name {
            "histogram_avg" => HistogramStat::Avg,
            "histogram_count" => HistogramStat::Count,
            "histogram_sum" => HistogramStat::Sum,
            "histogram_stddev" => HistogramStat::Stddev,
            "histogram_stdvar" => HistogramStat::Stdvar,
            _ => return None,
        })
    }

    /// Whether it is told by count and sum alone.
    pub(crate) fn needs_no_buckets(self) -> bool {
        matches!(self, HistogramStat::Avg | HistogramStat::Count | HistogramStat::Sum)
    }

    pub(crate) fn of(self, h: &FloatHistogram) -> f64 {
        match self {
            HistogramStat::Avg => h.sum / h.count,
            HistogramStat::Count => h.count,
            HistogramStat::Sum => h.sum,
            HistogramStat::Stddev => variance(h).sqrt(),
            HistogramStat::Stdvar => variance(h),
        }
    }
}

/// The variance, as if all observations of a bucket lay in its middle.
fn variance(h: &FloatHistogram) -> f64 {
    let mean = h.sum / h.count;
    let (mut variance, mut c) = (0.0, 0.0);
    for b in h.ascending().filter(|b| b.count != 0.0) {
        let middle = if h.is_custom() {
            f64::midpoint(b.upper, b.lower)
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            let geometric = (b.upper * b.lower).sqrt();
            if b.upper < 0.0 { -geometric } else { geometric }
        };
        let delta = middle - mean;
        (variance, c) = kahan(b.count * delta * delta, variance, c);
    }
    (variance + c) / h.count
}

/// What there is to say of a quantile or fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    QuantileIsNan,
    QuantileIsSkewed,
    FractionWithoutNans,
}

impl Note {
    pub(super) fn say(self, pos: crate::ast::Pos, name: &str, annotations: &mut Annotations) {
        match self {
            Note::QuantileIsNan => annotations.quantile_is_nan(pos, name),
            Note::QuantileIsSkewed => annotations.quantile_is_skewed(pos, name),
            Note::FractionWithoutNans => annotations.fraction_without_nans(pos, name),
        }
    }
}

/// The `q` quantile. NaNs that were observed are in no bucket, and count as the highest.
pub(super) fn quantile(q: f64, h: &FloatHistogram) -> (f64, Option<Note>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (NORMAL_NAN, None);
    }
    // From the nearer end, so that rounding errors of large counts do not add up; NaNs allow only one direction.
    if h.sum.is_nan() || q < 0.5 {
        quantile_from(h, q * h.count, true, h.ascending())
    } else {
        quantile_from(h, (1.0 - q) * h.count, false, h.descending())
    }
}

/// The value at `rank`, counted through `buckets` from their first.
fn quantile_from(
    h: &FloatHistogram,
    rank: f64,
    is_ascending: bool,
    mut buckets: impl Iterator<Item = Bucket>,
) -> (f64, Option<Note>) {
    let has_nans = h.sum.is_nan();
    let mut bucket = Bucket::default();
    let mut count = 0.0;
    for b in buckets.by_ref() {
        bucket = b;
        count += b.count;
        if b.count != 0.0 && count >= rank {
            break;
        }
    }
    if !h.is_custom() && bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow(&mut bucket, h);
    } else if h.is_custom() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    }
    count = if count > h.count { h.count } else { count };
    if count < rank {
        return if has_nans { (NORMAL_NAN, Some(Note::QuantileIsNan)) } else { (bucket.upper, None) };
    }
    let rank = if is_ascending { rank - (count - bucket.count) } else { count - rank };
    let mut note = None;
    if has_nans {
        // As in Prometheus, which goes on with the last bucket.
        for b in buckets {
            count += b.count;
            bucket = b;
        }
        note = (count < h.count).then_some(Note::QuantileIsSkewed);
    }
    let Bucket { lower, upper, .. } = bucket;
    let fraction = rank / bucket.count;
    if h.is_custom() || (lower <= 0.0 && upper >= 0.0) {
        return (lower + (upper - lower) * fraction, note);
    }
    let (lower_log, upper_log) = (go_math::log2(lower.abs()), go_math::log2(upper.abs()));
    let value = if lower > 0.0 {
        go_math::exp2(lower_log + (upper_log - lower_log) * fraction)
    } else {
        -go_math::exp2(upper_log + (lower_log - upper_log) * (1.0 - fraction))
    };
    (value, note)
}

/// A zero bucket reaches only to where there are other buckets.
fn narrow(zero: &mut Bucket, h: &FloatHistogram) {
    match (h.negative_buckets.is_empty(), h.positive_buckets.is_empty()) {
        (true, false) => zero.lower = 0.0,
        (false, true) => zero.upper = 0.0,
        (true, true) | (false, false) => {}
    }
}

/// The share of observations in `[lower, upper]`; NaNs lie nowhere.
pub(super) fn fraction(lower: f64, upper: f64, h: &FloatHistogram) -> (f64, Option<Note>) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (NORMAL_NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let mut ranks = Ranks { lower: None, upper: None };
    let (mut rank, mut count) = (0.0, 0.0);
    let mut buckets = h.ascending();
    for mut b in buckets.by_ref() {
        count += b.count;
        let is_zero = b.lower <= 0.0 && b.upper >= 0.0;
        if is_zero {
            narrow(&mut b, h);
        }
        let is_linear = h.is_custom() || is_zero;
        let rank_of = |v: f64| {
            if b.lower >= v {
                Some(rank)
            } else if b.upper > v {
                let has_end = b.lower != f64::NEG_INFINITY;
                Some(if is_linear && !has_end { b.count } else { rank + b.count * b.share_below(v, is_linear) })
            } else {
                None
            }
        };
        ranks.lower = ranks.lower.or_else(|| rank_of(lower));
        ranks.upper = ranks.upper.or_else(|| rank_of(upper));
        if ranks.lower.is_some() && ranks.upper.is_some() {
            break;
        }
        rank += b.count;
    }
    let mut note = None;
    if h.sum.is_nan() {
        count += buckets.map(|b| b.count).sum::<f64>();
        note = (count < h.count).then_some(Note::FractionWithoutNans);
    } else {
        count = h.count;
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count || rank.is_nan()).unwrap_or(count);
    ((capped(ranks.upper) - capped(ranks.lower)) / h.count, note)
}

/// How many observations lie below the two ends.
struct Ranks {
    lower: Option<f64>,
    upper: Option<f64>,
}
