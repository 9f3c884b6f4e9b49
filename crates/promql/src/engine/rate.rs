//! `rate`, `increase`, `delta`, `irate`, `idelta`.
//!
//! Source: Prometheus `extrapolatedRate` and `instantValue` of `promql/functions.go`.

use super::column::{ABSENT, float, secs};
use super::error::QueryError;
use super::limits::Ticker;
use super::window::{Call, Samples, Scratch, WindowEnd};

/// Which of the extrapolating functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rate,
    Increase,
    Delta,
}

/// The change over each window, extrapolated to its ends.
pub(crate) fn extrapolated(
    call: &Call<'_>,
    kind: Kind,
    out: &mut [f64],
    scratch: &mut Scratch,
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    let is_counter = kind != Kind::Delta;
    scratch.resets.clear();
    if is_counter {
        find_resets(call.samples.values, &mut scratch.resets, ticker)?;
    }
    let divisor = if kind == Kind::Rate { secs(call.spec.range) } else { 1.0 };
    let Samples { ts, values } = call.samples;
    let resets = &scratch.resets;
    let mut first_reset = 0;
    let mut shape = Shape::default();
    let mut end = call.spec.end.of(call.grid.start);
    let step = match call.spec.end {
        WindowEnd::Before(_) => call.grid.step,
        WindowEnd::At(_) => 0,
    };
    for ((o, lo), hi) in out.iter_mut().zip(&call.windows.lo).zip(&call.windows.hi) {
        let (lo, last) = (*lo as usize, (*hi as usize).wrapping_sub(1));
        let window_end = end;
        end = end.wrapping_add(step);
        if *hi < 2 || last <= lo {
            *o = ABSENT;
            continue;
        }
        let mut change = values[last] - values[lo];
        if !resets.is_empty() {
            // A reset at sample r counts where r and the sample before it lie in the window.
            while first_reset < resets.len() && (resets[first_reset] as usize) <= lo {
                first_reset += 1;
            }
            for r in resets[first_reset..].iter().take_while(|r| (**r as usize) <= last) {
                ticker.tick(1)?;
                change += values[*r as usize - 1];
            }
        }
        let to_start = ts[lo].wrapping_sub(window_end.wrapping_sub(call.spec.range));
        let to_end = window_end.wrapping_sub(ts[last]);
        if (to_start, to_end, last - lo) != (shape.to_start_ms, shape.to_end_ms, shape.gaps) {
            shape = Shape::new(to_start, to_end, last - lo, ts[last].wrapping_sub(ts[lo]), divisor);
        }
        let first = values[lo];
        // Where the first value is not below the change and the samples span more than what is added, zero lies further away
        // than the start of the window: that spares most windows two divisions.
        let zero_is_far = !is_counter || (first >= change && shape.interval >= shape.to_start);
        *o = change * if zero_is_far { shape.factor } else { shape.factor_from_zero(first, change, divisor) };
    }
    Ok(())
}

/// How the samples of a window of two at least lie in it. Windows of a series that is scraped at even times have few shapes, so
/// that the last one is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    to_start_ms: i64,
    to_end_ms: i64,
    /// Samples minus one.
    gaps: usize,
    /// Seconds from first to last sample.
    interval: f64,
    /// Seconds that the change is extended to the left.
    to_start: f64,
    /// Seconds that the change is extended to the right.
    to_end: f64,
    /// By what the change is multiplied.
    factor: f64,
}

impl Shape {
    /// Extends the change to ends of the window that are nearer than 1.1 average gaps, by half a gap otherwise.
    fn new(to_start_ms: i64, to_end_ms: i64, gaps: usize, interval_ms: i64, divisor: f64) -> Shape {
        let interval = secs(interval_ms);
        let average = interval / float(gaps);
        let threshold = average * 1.1;
        let extend = |ms: i64| if secs(ms) >= threshold { average / 2.0 } else { secs(ms) };
        let (to_start, to_end) = (extend(to_start_ms), extend(to_end_ms));
        let factor = factor(interval, to_start, to_end, divisor);
        Shape { to_start_ms, to_end_ms, gaps, interval, to_start, to_end, factor }
    }

    /// The factor of a counter, which is not extended beyond the point where it would be zero.
    fn factor_from_zero(&self, first: f64, change: f64, divisor: f64) -> f64 {
        if change > 0.0 && first >= 0.0 {
            let to_zero = self.interval * (first / change);
            if to_zero < self.to_start {
                return factor(self.interval, to_zero, self.to_end, divisor);
            }
        }
        self.factor
    }
}

fn factor(interval: f64, to_start: f64, to_end: f64, divisor: f64) -> f64 {
    let stretched = if interval == 0.0 { 1.0 } else { (interval + to_start + to_end) / interval };
    stretched / divisor
}

/// Places where the value is less than the one before.
fn find_resets(values: &[f64], resets: &mut Vec<u32>, ticker: &mut Ticker) -> Result<(), QueryError> {
    let mut any = false;
    // Parts overlap by the sample that both compare with.
    let mut from = 0;
    ticker.each_part(values, |part| {
        let to = from + part.len();
        let joined = &values[from.max(1) - 1..to];
        any |= joined.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0]));
        from = to;
    })?;
    if !any {
        return Ok(());
    }
    let (mut at, mut before) = (0u32, f64::NEG_INFINITY);
    ticker.each_part(values, |part| {
        for v in part {
            if *v < before {
                resets.push(at);
            }
            before = *v;
            at += 1;
        }
    })
}

/// The change between the last two samples of each window.
pub(crate) fn instant(call: &Call<'_>, is_rate: bool, out: &mut [f64]) {
    let Samples { ts, values } = call.samples;
    for (i, o) in out.iter_mut().enumerate() {
        let (lo, hi) = call.windows.at(i);
        if hi < lo + 2 {
            *o = ABSENT;
            continue;
        }
        let (before, after) = (values[hi - 2], values[hi - 1]);
        let change = if is_rate && after < before { after } else { after - before };
        *o = if is_rate { change / secs(ts[hi - 1].wrapping_sub(ts[hi - 2])) } else { change };
    }
}
