//! Windows over the samples of one series, and the functions that look at them (`*_over_time` and their kin).
//!
//! A function runs over all steps of a series at once. Where that gives the same number, it moves with the window instead of
//! looking at each window anew: sums by prefix sums in double-double arithmetic, extremes by a queue, counts by prefix counts.

mod function;
mod histograms;
mod sums;

pub(crate) use function::WindowFn;
pub(crate) use histograms::{HistSamples, HistogramMean, Histograms, smooth as smooth_histograms};

use std::sync::Arc;

use model::FloatHistogram;

use super::column::{ABSENT, Grid, NORMAL_NAN, float, secs};
use super::error::QueryError;
use super::hists::weight;
use super::limits::Ticker;
use super::math::kahan;
use super::{lanes, rate, regression, select};
use sums::{avg, sum};

/// Samples of one series without staleness markers, ordered by time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<'a> {
    pub(crate) ts: &'a [i64],
    pub(crate) values: &'a [f64],
}

impl<'a> Samples<'a> {
    /// Those that lie in `range`.
    pub(crate) fn within(self, range: model::TimeRange) -> Samples<'a> {
        let from = self.ts.partition_point(|t| *t < range.mint.0);
        let to = self.ts.partition_point(|t| *t < range.maxt.0).max(from);
        Samples { ts: &self.ts[from..to], values: &self.values[from..to] }
    }
}

/// Where the window of a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowEnd {
    /// So many milliseconds before the step.
    Before(i64),
    /// There, at every step (`@`).
    At(i64),
}

impl WindowEnd {
    /// Where the window of the step at `t` ends.
    #[inline(always)]
    pub(crate) fn of(self, t: i64) -> i64 {
        match self {
            WindowEnd::Before(offset) => t.saturating_sub(offset),
            WindowEnd::At(at) => at,
        }
    }
}

/// A window of `range` milliseconds: `(end - range, end]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowSpec {
    pub(crate) range: i64,
    pub(crate) end: WindowEnd,
}

/// The windows of all steps: window `i` is samples `lo[i] .. hi[i]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    pub(crate) lo: Vec<u32>,
    pub(crate) hi: Vec<u32>,
}

/// How many samples the windows of a series hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// All windows together.
    pub(crate) seen: u64,
    /// Those that came new to a step.
    pub(crate) read: u64,
    /// The fuller of the first and the last.
    pub(crate) fuller: u64,
}

impl Totals {
    /// Of both together.
    pub(crate) fn and(self, other: Totals) -> Totals {
        Totals { seen: self.seen + other.seen, read: self.read + other.read, fuller: self.fuller + other.fuller }
    }
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a series at hand has far fewer than 2^32 samples; checked in `find`"
)]
fn index(n: usize) -> u32 {
    n as u32
}

impl Windows {
    /// Finds the windows of all steps.
    pub(crate) fn find(&mut self, ts: &[i64], grid: Grid, spec: WindowSpec) {
        assert!(u32::try_from(ts.len()).is_ok(), "{} samples in one series", ts.len());
        self.lo.clear();
        self.hi.clear();
        match spec.end {
            WindowEnd::At(at) => {
                let lo = ts.partition_point(|t| *t <= at.saturating_sub(spec.range));
                let hi = ts.partition_point(|t| *t <= at);
                self.lo.resize(grid.count, index(lo));
                self.hi.resize(grid.count, index(hi));
            }
            WindowEnd::Before(offset) => {
                let end = grid.start.saturating_sub(offset);
                starts_after(ts, end, grid, &mut self.hi);
                let mut starts = grid;
                if spec.range % grid.step == 0 {
                    // From here on windows start where others ended.
                    starts.count = grid.count.min(usize::try_from(spec.range / grid.step).unwrap_or(usize::MAX));
                }
                starts_after(ts, end.saturating_sub(spec.range), starts, &mut self.lo);
                self.lo.extend_from_slice(&self.hi[..grid.count - starts.count]);
            }
        }
    }

    /// How many samples the windows hold.
    pub(crate) fn totals(&self, grid: Grid, spec: WindowSpec) -> Totals {
        let (Some(lo), Some(hi), Some(last)) = (self.lo.first(), self.hi.first(), self.hi.last()) else {
            return Totals::default();
        };
        let sum = |ends: &[u32]| ends.iter().map(|end| u64::from(*end)).sum::<u64>();
        let last_lo = self.lo.last().unwrap_or(lo);
        let mut totals =
            Totals { seen: sum(&self.hi) - sum(&self.lo), read: 0, fuller: u64::from((hi - lo).max(last - last_lo)) };
        totals.read = match spec.end {
            WindowEnd::At(_) => u64::from(hi - lo),
            WindowEnd::Before(_) if spec.range >= grid.step => u64::from(last - lo),
            WindowEnd::Before(_) => totals.seen,
        };
        totals
    }

    /// As [`Windows::totals`], of histograms by their weight.
    pub(crate) fn weights(&self, hists: &[Arc<FloatHistogram>], grid: Grid, spec: WindowSpec) -> Totals {
        let mut sums = Vec::with_capacity(hists.len() + 1);
        let mut sum = 0;
        sums.push(sum);
        for h in hists {
            sum += weight(h) as u64;
            sums.push(sum);
        }
        let of = |lo: usize, hi: usize| sums[hi] - sums[lo];
        let of_step = |i: usize| of(self.at(i).0, self.at(i).1);
        let steps = self.lo.len();
        if steps == 0 {
            return Totals::default();
        }
        let seen = (0..steps).map(of_step).sum();
        let fuller = of_step(0).max(of_step(steps - 1));
        let read = match spec.end {
            WindowEnd::At(_) => of_step(0),
            WindowEnd::Before(_) if spec.range >= grid.step => of(self.at(0).0, self.at(steps - 1).1),
            WindowEnd::Before(_) => seen,
        };
        Totals { seen, read, fuller }
    }

    #[inline(always)]
    pub(crate) fn at(&self, i: usize) -> (usize, usize) {
        (self.lo[i] as usize, self.hi[i] as usize)
    }
}

/// For each step the number of samples at or before `start + i * step`.
fn starts_after(ts: &[i64], start: i64, grid: Grid, out: &mut Vec<u32>) {
    out.reserve(grid.count);
    let mut at = 0;
    let mut t = start;
    // With many samples to a step those between are not looked at.
    let is_sparse = ts.len() / 16 > grid.count;
    for _ in 0..grid.count {
        if is_sparse {
            at += ts[at..].partition_point(|sample| *sample <= t);
        }
        while at < ts.len() && ts[at] <= t {
            at += 1;
        }
        out.push(index(at));
        t = t.saturating_add(grid.step);
    }
}

/// A number that may differ from step to step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number<'a> {
    Const(f64),
    Column(&'a [f64]),
}

impl Number<'_> {
    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> f64 {
        match self {
            Number::Const(v) => v,
            Number::Column(column) => column[i],
        }
    }
}

/// Buffers of the functions of this file, kept from series to series.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    values: Vec<f64>,
    queue: Vec<u32>,
    counts: Vec<u32>,
    sums: Vec<(f64, f64)>,
    pub(crate) resets: Vec<u32>,
}

/// What a function of a window is called with.
pub(crate) struct Call<'a> {
    pub(crate) samples: Samples<'a>,
    pub(crate) windows: &'a Windows,
    pub(crate) grid: Grid,
    pub(crate) spec: WindowSpec,
    /// Arguments besides the window, in order.
    pub(crate) numbers: [Number<'a>; 2],
}

impl Call<'_> {
    /// Fills `out` from each window that is not empty; the others are absent.
    #[inline(always)]
    fn each(&self, out: &mut [f64], mut f: impl FnMut(usize, usize, usize) -> f64) {
        for (i, o) in out.iter_mut().enumerate() {
            let (lo, hi) = self.windows.at(i);
            *o = if lo < hi { f(i, lo, hi) } else { ABSENT };
        }
    }

    /// As [`Call::each`], for functions that look at each sample of each window, and at the interrupt in long ones.
    #[inline(always)]
    fn each_slice(
        &self,
        out: &mut [f64],
        ticker: &mut Ticker,
        mut f: impl FnMut(usize, &[f64], &mut Ticker) -> Result<f64, QueryError>,
    ) -> Result<(), QueryError> {
        for (i, o) in out.iter_mut().enumerate() {
            let (lo, hi) = self.windows.at(i);
            *o = if lo < hi { f(i, &self.samples.values[lo..hi], ticker)? } else { ABSENT };
        }
        Ok(())
    }
}

/// Runs `function` over all steps.
pub(crate) fn run(
    function: WindowFn,
    call: &Call<'_>,
    out: &mut [f64],
    scratch: &mut Scratch,
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    let Samples { ts, values } = call.samples;
    debug_assert_eq!(out.len(), call.windows.lo.len());
    match function {
        WindowFn::Rate => return rate::extrapolated(call, rate::Kind::Rate, out, scratch, ticker),
        WindowFn::Increase => return rate::extrapolated(call, rate::Kind::Increase, out, scratch, ticker),
        WindowFn::Delta => return rate::extrapolated(call, rate::Kind::Delta, out, scratch, ticker),
        WindowFn::Irate => rate::instant(call, true, out),
        WindowFn::Idelta => rate::instant(call, false, out),
        WindowFn::Sum => return sum(call, out, scratch, ticker),
        WindowFn::Avg => return avg(call, out, scratch, ticker),
        WindowFn::Count => call.each(out, |_, lo, hi| float(hi - lo)),
        WindowFn::Present => call.each(out, |_, _, _| 1.0),
        WindowFn::Min => return extreme(call, out, scratch, ticker, |new, old| new < old, |i| values[i]),
        WindowFn::Max => return extreme(call, out, scratch, ticker, |new, old| new > old, |i| values[i]),
        WindowFn::TsOfMin => return extreme(call, out, scratch, ticker, |new, old| new <= old, |i| secs(ts[i])),
        WindowFn::TsOfMax => return extreme(call, out, scratch, ticker, |new, old| new >= old, |i| secs(ts[i])),
        WindowFn::First => call.each(out, |_, lo, _| values[lo]),
        WindowFn::Last => call.each(out, |_, _, hi| values[hi - 1]),
        WindowFn::TsOfFirst => call.each(out, |_, lo, _| secs(ts[lo])),
        WindowFn::TsOfLast => call.each(out, |_, _, hi| secs(ts[hi - 1])),
        WindowFn::Changes => {
            let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
            return count_pairs(call, out, scratch, ticker, differ);
        }
        WindowFn::Resets => return count_pairs(call, out, scratch, ticker, |before, after| after < before),
        WindowFn::Stdvar => return lanes::variance(call, out, ticker, variance, |v| v),
        WindowFn::Stddev => return lanes::variance(call, out, ticker, variance, f64::sqrt),
        WindowFn::Quantile => {
            let q = call.numbers[0];
            return call.each_slice(out, ticker, |i, v, ticker| {
                scratch.values.clear();
                scratch.values.extend_from_slice(v);
                select::quantile(q.at(i), &mut scratch.values, ticker)
            });
        }
        WindowFn::Mad => return call.each_slice(out, ticker, |_, v, ticker| mad(v, &mut scratch.values, ticker)),
        WindowFn::Deriv => {
            return lanes::line(call, out, ticker, |_, start| start, regression::line, |_, slope, _| slope);
        }
        WindowFn::PredictLinear => {
            let (grid, ahead) = (call.grid, call.numbers[0]);
            let tell = |i: usize, slope: f64, intercept: f64| slope * ahead.at(i) + intercept;
            return lanes::line(call, out, ticker, |i, _| grid.at(i), regression::line, tell);
        }
        WindowFn::DoubleExponentialSmoothing => {
            let [sf, tf] = call.numbers;
            return call.each_slice(out, ticker, |i, v, ticker| regression::smooth(v, sf.at(i), tf.at(i), ticker));
        }
    }
    Ok(())
}

/// Population variance by Welford's method with compensation.
fn variance(values: &[f64], ticker: &mut Ticker) -> Result<f64, QueryError> {
    let (mut count, mut mean, mut c_mean, mut aux, mut c_aux) = (0.0, 0.0, 0.0, 0.0, 0.0);
    ticker.each_part(values, |part| {
        for v in part {
            count += 1.0;
            let delta = v - (mean + c_mean);
            (mean, c_mean) = kahan(delta / count, mean, c_mean);
            (aux, c_aux) = kahan(delta * (v - (mean + c_mean)), aux, c_aux);
        }
    })?;
    Ok((aux + c_aux) / count)
}

/// Median absolute deviation; NaN where any value is.
fn mad(values: &[f64], scratch: &mut Vec<f64>, ticker: &mut Ticker) -> Result<f64, QueryError> {
    let mut any_nan = false;
    ticker.each_part(values, |part| any_nan |= part.iter().any(|v| v.is_nan()))?;
    if any_nan {
        return Ok(NORMAL_NAN);
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = select::quantile(0.5, scratch, ticker)?;
    for v in scratch.iter_mut() {
        *v = (*v - median).abs();
    }
    select::quantile(0.5, scratch, ticker)
}

/// The sample that `beats` all others of its window, told by `tell`; NaN is beaten by everything. A queue holds the samples
/// that no later sample beats, so each sample is looked at twice in all.
fn extreme(
    call: &Call<'_>,
    out: &mut [f64],
    scratch: &mut Scratch,
    ticker: &mut Ticker,
    beats: impl Fn(f64, f64) -> bool,
    tell: impl Fn(usize) -> f64,
) -> Result<(), QueryError> {
    let values = call.samples.values;
    let queue = &mut scratch.queue;
    queue.clear();
    let (mut front, mut seen) = (0, 0);
    for (i, o) in out.iter_mut().enumerate() {
        let (lo, hi) = call.windows.at(i);
        seen = seen.max(lo);
        for at in seen..hi {
            if Ticker::is_long(hi - seen) {
                ticker.tick(1)?;
            }
            let v = values[at];
            while queue.len() > front {
                let last = values[queue[queue.len() - 1] as usize];
                if beats(v, last) || last.is_nan() {
                    queue.pop();
                } else {
                    break;
                }
            }
            // A NaN waits at the end: it counts only where nothing else is in the window.
            queue.push(index(at));
        }
        seen = seen.max(hi);
        while front < queue.len() && (queue[front] as usize) < lo {
            front += 1;
        }
        *o = if lo < hi { tell(queue[front] as usize) } else { ABSENT };
    }
    Ok(())
}

/// Number of neighbours of which `test` holds.
fn count_pairs(
    call: &Call<'_>,
    out: &mut [f64],
    scratch: &mut Scratch,
    ticker: &mut Ticker,
    test: impl Fn(f64, f64) -> bool,
) -> Result<(), QueryError> {
    let counts = &mut scratch.counts;
    counts.clear();
    counts.push(0);
    let mut n = 0;
    let values = call.samples.values;
    let mut before = values.first().copied().unwrap_or(0.0);
    ticker.each_part(values.get(1..).unwrap_or(&[]), |part| {
        for v in part {
            n += u32::from(test(before, *v));
            counts.push(n);
            before = *v;
        }
    })?;
    call.each(out, |_, lo, hi| f64::from(counts[hi - 1] - counts[lo]));
    Ok(())
}

#[cfg(test)]
mod tests;
