//! Cutting off the observations on one side of a number.
//!
//! Source: `TrimBuckets` of Prometheus `model/histogram/float_histogram.go`.

use super::{Bucket, FloatHistogram};

/// Which observations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

impl FloatHistogram {
    /// Removes observations above `bound`; count and sum are estimated anew from the buckets where anything was removed.
    pub fn trim_above(&mut self, bound: f64) {
        self.trim(bound, Keep::Below);
    }

    /// Removes observations below `bound`; count and sum are estimated anew from the buckets where anything was removed.
    pub fn trim_below(&mut self, bound: f64) {
        self.trim(bound, Keep::Above);
    }

    fn trim(&mut self, bound: f64, keep: Keep) {
        let is_linear = self.is_custom();
        let (mut count, mut sum, mut trimmed) = (0.0, 0.0, false);
        let mut filled = [false, false];
        let positive: Vec<Bucket> = self.positive().collect();
        let negative: Vec<Bucket> = self.negative().collect();
        let sides = [(positive, &mut self.positive_buckets, true), (negative, &mut self.negative_buckets, false)];
        for ((buckets, counts, is_positive), filled) in sides.into_iter().zip(&mut filled) {
            for (bucket, slot) in buckets.iter().zip(counts).filter(|(bucket, _)| bucket.count != 0.0) {
                *filled = true;
                let (is_whole, is_cut) = match keep {
                    Keep::Below => (bucket.upper <= bound, bucket.lower < bound),
                    Keep::Above => (bucket.lower >= bound, bucket.upper > bound),
                };
                let (kept, middle) = if is_whole {
                    (bucket.count, middle(bucket.lower, bucket.upper, is_positive, is_linear))
                } else if is_cut {
                    cut(bucket, bound, keep, is_positive, is_linear)
                } else {
                    *slot = 0.0;
                    trimmed = true;
                    continue;
                };
                count += kept;
                sum += middle * kept;
                if *slot != kept {
                    *slot = kept;
                    trimmed = true;
                }
            }
        }
        if self.zero_count > 0.0 {
            let (kept, middle) = cut_zero(self.zero_bucket(), bound, keep, filled);
            trimmed |= self.zero_count != kept;
            self.zero_count = kept;
            sum += middle * kept;
            count += kept;
        }
        if trimmed {
            (self.count, self.sum) = (count, sum);
            self.compact(0);
        }
    }
}

/// What is kept of the zero bucket, and its middle. Where only one side has observations it reaches to zero only.
fn cut_zero(zero: Bucket, bound: f64, keep: Keep, [has_positive, has_negative]: [bool; 2]) -> (f64, f64) {
    let lower = if has_positive && !has_negative { 0.0 } else { zero.lower };
    let upper = if has_negative && !has_positive { 0.0 } else { zero.upper };
    let whole = (zero.count, (lower + upper) / 2.0);
    match keep {
        Keep::Below if bound <= lower => (0.0, 0.0),
        Keep::Below if bound >= upper => whole,
        Keep::Below => (zero.count * ((bound - lower) / (upper - lower)), (lower + bound) / 2.0),
        Keep::Above if bound <= lower => whole,
        Keep::Above if bound >= upper => (0.0, 0.0),
        Keep::Above => (zero.count * ((upper - bound) / (upper - lower)), (bound + upper) / 2.0),
    }
}

/// What is kept of a bucket that `bound` lies in, and the middle of that.
fn cut(bucket: &Bucket, bound: f64, keep: Keep, is_positive: bool, is_linear: bool) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY {
        return cut_lowest(bucket, bound, keep);
    }
    if bucket.upper == f64::INFINITY {
        return match keep {
            Keep::Above if bound >= bucket.lower => (bucket.count, bound),
            _ => (0.0, finite(bucket.lower)),
        };
    }
    let below = if bound <= bucket.lower {
        0.0
    } else if bound >= bucket.upper {
        bucket.count
    } else {
        bucket.count * bucket.share_below(bound, is_linear)
    };
    match keep {
        Keep::Below => (below, middle(bucket.lower, bound, is_positive, is_linear)),
        Keep::Above => (bucket.count - below, middle(bound, bucket.upper, is_positive, is_linear)),
    }
}

/// The same of a bucket that has no lower end: where it reaches beyond zero it is taken to start there.
fn cut_lowest(bucket: &Bucket, bound: f64, keep: Keep) -> (f64, f64) {
    let upper = bucket.upper;
    match keep {
        Keep::Below if bound >= upper => (bucket.count, 0.0),
        Keep::Below if bound > 0.0 && upper > 0.0 && upper != f64::INFINITY => {
            (bucket.count * bound / upper, bound / 2.0)
        }
        Keep::Below if upper <= 0.0 => (bucket.count, bound),
        Keep::Above if bound <= bucket.lower => (bucket.count, 0.0),
        Keep::Above if bound >= 0.0 && upper > bound && upper != f64::INFINITY => {
            (bucket.count * (1.0 - bound / upper), (bound + upper) / 2.0)
        }
        Keep::Below | Keep::Above => (0.0, finite(upper)),
    }
}

fn finite(v: f64) -> f64 {
    if v.is_infinite() { 0.0 } else { v }
}

/// Where the observations between two bounds are taken to lie on average.
fn middle(lower: f64, upper: f64, is_positive: bool, is_linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if is_linear => (lower + upper) / 2.0,
        (false, false) => {
            let geometric = (lower * upper).abs().sqrt();
            if is_positive { geometric } else { -geometric }
        }
    }
}
