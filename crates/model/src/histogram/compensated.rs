//! Sums that know what rounding lost: of numbers and of histograms.
//!
//! Source: Prometheus `util/kahansum`, and `KahanAdd` of `model/histogram/float_histogram.go`.

use super::add::{Combined, MixedSchemas, Parts};
use super::side::Cell;
use super::{CounterResetHint, FloatHistogram};

/// Kahan summation in Neumaier's variant: the new sum, and the new compensation that is added to it at the end.
#[inline(always)]
pub fn kahan(inc: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + inc;
    if t.is_infinite() {
        (t, 0.0)
    } else if sum.abs() >= inc.abs() {
        (t, c + ((sum - t) + inc))
    } else {
        (t, c + ((inc - t) + sum))
    }
}

/// A count and what rounding lost of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compensated {
    sum: f64,
    c: f64,
}

impl Cell for Compensated {
    fn of(count: f64) -> Compensated {
        Compensated { sum: count, c: 0.0 }
    }

    fn add(&mut self, other: Compensated) {
        (self.sum, self.c) = kahan(other.sum, self.sum, self.c);
        if other.c != 0.0 {
            (self.sum, self.c) = kahan(other.c, self.sum, self.c);
        }
    }

    fn is_zero(self) -> bool {
        self.sum == 0.0 && self.c == 0.0
    }
}

/// A sum of histograms.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    parts: Parts<Compensated>,
}

impl HistogramSum {
    /// The sum of one histogram.
    pub fn new(first: &FloatHistogram) -> HistogramSum {
        HistogramSum { parts: Parts::of(first) }
    }

    /// Adds a histogram. An error leaves the sum as it is.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Combined, MixedSchemas> {
        self.parts.add(other)
    }

    /// Adds another sum, with what rounding lost of it. An error leaves the sum as it is.
    pub fn merge(&mut self, other: &HistogramSum) -> Result<Combined, MixedSchemas> {
        let combined = self.parts.add(&other.parts.map(|cell| cell.sum))?;
        let mut lost = other.parts.map(|cell| cell.c);
        lost.counter_reset_hint = self.parts.hint;
        self.parts.add(&lost)?;
        Ok(combined)
    }

    /// Multiplies everything by a positive factor.
    pub fn scale(&mut self, factor: f64) {
        self.parts.each(|cell| {
            cell.sum *= factor;
            cell.c *= factor;
        });
    }

    /// Divides everything by a positive divisor.
    pub fn divide(&mut self, divisor: f64) {
        self.parts.each(|cell| {
            cell.sum /= divisor;
            cell.c /= divisor;
        });
    }

    /// Whether any number is infinite.
    pub fn has_overflow(&self) -> bool {
        let parts = &self.parts;
        [parts.zero, parts.count, parts.sum]
            .iter()
            .chain(&parts.positive.cells)
            .chain(&parts.negative.cells)
            .any(|cell| cell.sum.is_infinite())
            || parts.custom_values.iter().any(|bound| bound.is_infinite())
    }

    /// The hint of the sum so far.
    pub fn hint(&self) -> CounterResetHint {
        self.parts.hint
    }

    /// The sum with what rounding lost.
    pub fn total(&self) -> FloatHistogram {
        self.parts.map(|cell| cell.sum + cell.c)
    }
}
