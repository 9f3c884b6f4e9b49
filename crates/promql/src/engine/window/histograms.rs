//! Functions of windows over series with histograms. The functions of floats have run before; here their results are put right
//! at the steps whose windows hold histograms.
//!
//! Source: Prometheus `promql/functions.go`.

mod extended;
mod rate;

pub(crate) use extended::smooth;

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, HistogramSum, MixedSchemas};

use super::{Call, WindowFn, Windows};
use crate::ast::Pos;
use crate::engine::annotations::{Annotations, HistogramOperation};
use crate::engine::column::{ABSENT, float, secs};
use crate::engine::error::QueryError;
use crate::engine::extended::Extension;
use crate::engine::hists::Hists;
use crate::engine::limits::Ticker;

/// Histograms of one series, ordered by time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistSamples<'a> {
    pub(crate) ts: &'a [i64],
    pub(crate) hists: &'a [Arc<FloatHistogram>],
}

/// The histograms in the windows of a series, beside its floats.
pub(crate) struct Histograms<'a> {
    pub(crate) floats: &'a Call<'a>,
    pub(crate) hists: HistSamples<'a>,
    pub(crate) windows: &'a Windows,
    /// How far the windows go beyond the range.
    pub(crate) extension: Option<Extension>,
    /// To what annotations point.
    pub(crate) pos: Pos,
    /// The metric, for annotations.
    pub(crate) name: &'a str,
}

/// What comes of a window.
enum Outcome {
    /// What the function made of the floats.
    AsFloats,
    Nothing,
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Outcome {
    fn of(h: Option<FloatHistogram>) -> Outcome {
        h.map_or(Outcome::Nothing, |h| Outcome::Histogram(Arc::new(h)))
    }
}

/// The samples of one window that holds histograms.
struct Window<'a> {
    /// Its step.
    step: usize,
    float_ts: &'a [i64],
    floats: &'a [f64],
    hist_ts: &'a [i64],
    hists: &'a [Arc<FloatHistogram>],
}

/// A sample of either kind.
#[derive(Clone, Copy)]
enum Sample<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl<'a> Window<'a> {
    /// Floats and histograms in order of time.
    fn samples(&self) -> impl Iterator<Item = (i64, Sample<'a>)> + '_ {
        let (mut float, mut hist) = (0, 0);
        std::iter::from_fn(move || {
            let (float_at, hist_at) = (self.float_ts.get(float), self.hist_ts.get(hist));
            let is_float = match (float_at, hist_at) {
                (Some(float), Some(hist)) => float < hist,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return None,
            };
            Some(if is_float {
                float += 1;
                (self.float_ts[float - 1], Sample::Float(self.floats[float - 1]))
            } else {
                hist += 1;
                (self.hist_ts[hist - 1], Sample::Histogram(&self.hists[hist - 1]))
            })
        })
    }

    fn count_pairs(&self, test: impl Fn(Sample<'_>, Sample<'_>) -> bool) -> f64 {
        let after = self.samples().skip(1);
        float(self.samples().zip(after).filter(|((_, a), (_, b))| test(*a, *b)).count())
    }
}

impl Histograms<'_> {
    /// Puts the results of all steps right whose windows hold histograms.
    pub(crate) fn run(
        &self,
        function: WindowFn,
        column: &mut [f64],
        hists: &mut Hists,
        annotations: &mut Annotations,
        ticker: &mut Ticker,
    ) -> Result<(), QueryError> {
        let n = column.len();
        for (step, out) in column.iter_mut().enumerate() {
            let (lo, hi) = self.windows.at(step);
            if lo == hi {
                continue;
            }
            let (float_lo, float_hi) = self.floats.windows.at(step);
            ticker.tick((hi - lo).saturating_mul(20) + float_hi - float_lo)?;
            let window = Window {
                step,
                float_ts: &self.floats.samples.ts[float_lo..float_hi],
                floats: &self.floats.samples.values[float_lo..float_hi],
                hist_ts: &self.hists.ts[lo..hi],
                hists: &self.hists.hists[lo..hi],
            };
            let outcome = match self.extension {
                None => self.outcome(function, &window, annotations),
                Some(extension) => self.extended(function, &window, extension, annotations),
            };
            match outcome {
                Outcome::AsFloats => {}
                Outcome::Nothing => *out = ABSENT,
                Outcome::Float(v) => *out = v,
                Outcome::Histogram(h) => {
                    *out = ABSENT;
                    hists.set(step, n, h);
                }
            }
        }
        Ok(())
    }

    fn outcome(&self, function: WindowFn, window: &Window<'_>, annotations: &mut Annotations) -> Outcome {
        let only_histograms =
            matches!(function, WindowFn::Rate | WindowFn::Increase | WindowFn::Delta | WindowFn::Sum | WindowFn::Avg);
        if only_histograms && !window.floats.is_empty() {
            annotations.mixed_range(self.pos, self.name);
            return Outcome::Nothing;
        }
        let first = || window.samples().next();
        let last = || {
            let is_float = window.float_ts.last() > window.hist_ts.last();
            let of_floats = window.float_ts.last().zip(window.floats.last()).map(|(t, v)| (*t, Sample::Float(*v)));
            let of_hists = window.hist_ts.last().zip(window.hists.last()).map(|(t, h)| (*t, Sample::Histogram(h)));
            if is_float { of_floats } else { of_hists }
        };
        let value = |sample: Option<(i64, Sample<'_>)>| match sample {
            Some((_, Sample::Float(v))) => Outcome::Float(v),
            Some((_, Sample::Histogram(h))) => Outcome::Histogram(Arc::clone(h)),
            None => Outcome::Nothing,
        };
        let time =
            |sample: Option<(i64, Sample<'_>)>| sample.map_or(Outcome::Nothing, |(t, _)| Outcome::Float(secs(t)));
        match function {
            WindowFn::Rate | WindowFn::Increase | WindowFn::Delta => {
                Outcome::of(self.extrapolated(function, window, annotations))
            }
            WindowFn::Irate => self.last_change(true, window, annotations),
            WindowFn::Idelta => self.last_change(false, window, annotations),
            WindowFn::Sum => Outcome::of(self.sum(window, annotations, sum_of)),
            WindowFn::Avg => Outcome::of(self.sum(window, annotations, mean_of)),
            WindowFn::Count => Outcome::Float(float(window.floats.len() + window.hists.len())),
            WindowFn::Present => Outcome::Float(1.0),
            WindowFn::First => value(first()),
            WindowFn::Last => value(last()),
            WindowFn::TsOfFirst => time(first()),
            WindowFn::TsOfLast => time(last()),
            WindowFn::Changes => Outcome::Float(window.count_pairs(differ)),
            WindowFn::Resets => Outcome::Float(window.count_pairs(is_reset)),
            WindowFn::Min
            | WindowFn::Max
            | WindowFn::TsOfMin
            | WindowFn::TsOfMax
            | WindowFn::Stddev
            | WindowFn::Stdvar
            | WindowFn::Mad
            | WindowFn::Quantile
            | WindowFn::Deriv
            | WindowFn::PredictLinear
            | WindowFn::DoubleExponentialSmoothing => {
                if !window.floats.is_empty() {
                    annotations.ignored_in_range(self.pos, self.name);
                }
                Outcome::AsFloats
            }
        }
    }

    /// A sum or mean, and what there is to say of it.
    fn sum(
        &self,
        window: &Window<'_>,
        annotations: &mut Annotations,
        f: impl Fn(&[Arc<FloatHistogram>], &mut bool) -> Result<FloatHistogram, MixedSchemas>,
    ) -> Option<FloatHistogram> {
        let mut reconciled = false;
        let Ok(result) = f(window.hists, &mut reconciled) else {
            annotations.mixed_schemas(self.pos, self.name);
            return None;
        };
        let says = |hint: CounterResetHint| window.hists.iter().any(|h| h.counter_reset_hint == hint);
        if says(CounterResetHint::Reset) && says(CounterResetHint::NotReset) {
            annotations.resets_collide(self.pos, HistogramOperation::Aggregation);
        }
        if reconciled {
            annotations.bounds_reconciled(self.pos, HistogramOperation::Aggregation);
        }
        Some(result)
    }
}

fn sum_of(hists: &[Arc<FloatHistogram>], reconciled: &mut bool) -> Result<FloatHistogram, MixedSchemas> {
    let mut sum = HistogramSum::new(&hists[0]);
    for h in &hists[1..] {
        *reconciled |= sum.add(h)?.bounds_reconciled;
    }
    Ok(sum.total())
}

/// The mean, from the sum while that is finite, incrementally from where it is not.
fn mean_of(hists: &[Arc<FloatHistogram>], reconciled: &mut bool) -> Result<FloatHistogram, MixedSchemas> {
    let mut mean = HistogramMean::new(&hists[0]);
    for h in &hists[1..] {
        *reconciled |= mean.add(h)?;
    }
    Ok(mean.total())
}

/// A mean of histograms that is being built.
#[derive(Clone, Debug)]
pub(crate) struct HistogramMean {
    /// The sum; the mean itself where `incremental`, because the sum overflowed.
    sum: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    pub(crate) fn new(first: &FloatHistogram) -> HistogramMean {
        HistogramMean { sum: HistogramSum::new(first), count: 1.0, incremental: false }
    }

    /// Adds a histogram; true where bounds had to be reconciled. An error leaves the mean as it is.
    pub(crate) fn add(&mut self, h: &FloatHistogram) -> Result<bool, MixedSchemas> {
        let count = self.count + 1.0;
        if !self.incremental {
            let mut sum = self.sum.clone();
            let combined = sum.add(h)?;
            if !sum.has_overflow() {
                (self.sum, self.count) = (sum, count);
                return Ok(combined.bounds_reconciled);
            }
            self.sum.divide(self.count);
            self.incremental = true;
        }
        self.sum.scale(self.count / count);
        self.count = count;
        let mut part = h.clone();
        part.div(count);
        Ok(self.sum.add(&part)?.bounds_reconciled)
    }

    /// Adds another mean.
    pub(crate) fn merge(&mut self, mut other: HistogramMean) -> Result<bool, MixedSchemas> {
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let mut sum = self.sum.clone();
            let combined = sum.merge(&other.sum)?;
            if !sum.has_overflow() {
                (self.sum, self.count) = (sum, count);
                return Ok(combined.bounds_reconciled);
            }
        }
        for mean in [&mut *self, &mut other] {
            if !mean.incremental {
                mean.sum.divide(mean.count);
                mean.incremental = true;
            }
            mean.sum.scale(mean.count / count);
        }
        self.count = count;
        Ok(self.sum.merge(&other.sum)?.bounds_reconciled)
    }

    pub(crate) fn total(mut self) -> FloatHistogram {
        if !self.incremental {
            self.sum.divide(self.count);
        }
        self.sum.total()
    }
}

/// Whether the value changed.
fn differ(a: Sample<'_>, b: Sample<'_>) -> bool {
    match (a, b) {
        (Sample::Float(a), Sample::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Sample::Histogram(a), Sample::Histogram(b)) => !b.equals(a),
        (Sample::Float(_), Sample::Histogram(_)) | (Sample::Histogram(_), Sample::Float(_)) => true,
    }
}

/// Whether a counter was reset.
fn is_reset(before: Sample<'_>, after: Sample<'_>) -> bool {
    match (before, after) {
        (Sample::Float(before), Sample::Float(after)) => after < before,
        (Sample::Histogram(before), Sample::Histogram(after)) => after.is_reset_after(before),
        (Sample::Float(_), Sample::Histogram(_)) | (Sample::Histogram(_), Sample::Float(_)) => true,
    }
}
