//! Start timestamps: since when a counter counts. They tell resets that values do not show, and where a counter was zero.
//!
//! Source: Prometheus `isStartTimestampReset`, `checkStartTimeOverlap`, `extrapolatedRate`, `instantValue`, `funcResets` of
//! `promql/functions.go`.

use super::column::{ABSENT, float, secs};
use super::error::QueryError;
use super::limits::Ticker;
use super::window::{Call, Samples, WindowFn};

/// The start timestamp of each sample, in milliseconds; 0 where it is not known.
pub(crate) type Starts<'a> = &'a [i64];

/// Whether `function` looks at start timestamps.
pub(crate) fn concern(function: WindowFn) -> bool {
    matches!(function, WindowFn::Rate | WindowFn::Increase | WindowFn::Irate | WindowFn::Resets)
}

/// A timestamp and the start timestamp that belongs to it.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) start: i64,
    pub(crate) at: i64,
}

impl Stamp {
    /// Whether the start timestamp says that the counter began anew behind `before`.
    pub(crate) fn is_reset_after(self, before: Stamp) -> bool {
        if self.start == 0 || self.start >= self.at || self.start < before.at {
            return false;
        }
        if self.start > before.at {
            return true;
        }
        // It points to the sample before: a delta, unless that sample's own start is unknown or invalid.
        before.start <= before.at && before.start != 0 && before.start != before.at
    }

    /// Whether it claims time that `before` has counted, though it is not of the same start.
    pub(crate) fn overlaps(self, before: Stamp) -> bool {
        self.start != 0 && self.start < before.at && self.start != before.start
    }
}

/// Whether the start timestamps tell of a reset between sample `at` and the one before.
pub(crate) fn is_reset(starts: Starts<'_>, ts: &[i64], at: usize) -> bool {
    let stamp = |at: usize| Stamp { start: starts[at], at: ts[at] };
    stamp(at).is_reset_after(stamp(at - 1))
}

/// Runs a function that start timestamps concern over all steps; returns in how many windows they overlap samples.
pub(crate) fn run(
    function: WindowFn,
    call: &Call<'_>,
    starts: Starts<'_>,
    out: &mut [f64],
    ticker: &mut Ticker,
) -> Result<u64, QueryError> {
    let mut overlaps = 0;
    for (i, o) in out.iter_mut().enumerate() {
        let (lo, hi) = call.windows.at(i);
        ticker.tick(hi - lo)?;
        let samples = Samples { ts: &call.samples.ts[lo..hi], values: &call.samples.values[lo..hi] };
        let starts = &starts[lo..hi];
        let end = call.spec.end.of(call.grid.at(i));
        let found = match function {
            WindowFn::Irate => irate(samples, starts),
            WindowFn::Resets => resets(samples, starts),
            WindowFn::Rate => increase(samples, starts, end, call.spec.range, secs(call.spec.range), &mut overlaps),
            _ => increase(samples, starts, end, call.spec.range, 1.0, &mut overlaps),
        };
        *o = found.unwrap_or(ABSENT);
    }
    Ok(overlaps)
}

fn irate(samples: Samples<'_>, starts: Starts<'_>) -> Option<f64> {
    let Samples { ts, values } = samples;
    let last = ts.len().checked_sub(1)?;
    let before = last.checked_sub(1)?;
    let was_reset = values[last] < values[before] || is_reset(starts, ts, last);
    let change = if was_reset { values[last] } else { values[last] - values[before] };
    Some(change / secs(ts[last].wrapping_sub(ts[before])))
}

fn resets(samples: Samples<'_>, starts: Starts<'_>) -> Option<f64> {
    let Samples { ts, values } = samples;
    if ts.is_empty() {
        return None;
    }
    let count = (1..ts.len()).filter(|at| values[*at] < values[at - 1] || is_reset(starts, ts, *at)).count();
    Some(float(count))
}

/// The increase over one window, extrapolated to its ends: to the left not where the start timestamp of the first sample says
/// that it was zero within the window.
fn increase(
    samples: Samples<'_>,
    starts: Starts<'_>,
    end: i64,
    range: i64,
    divisor: f64,
    overlaps: &mut u64,
) -> Option<f64> {
    let Samples { ts, values } = samples;
    let last = ts.len().checked_sub(1)?;
    let window_start = end.wrapping_sub(range);
    let mut change = values[last] - values[0];
    let mut any_overlap = false;
    for at in 1..ts.len() {
        let (before, now) = (Stamp { start: starts[at - 1], at: ts[at - 1] }, Stamp { start: starts[at], at: ts[at] });
        any_overlap |= now.overlaps(before);
        if values[at] < values[at - 1] || now.is_reset_after(before) {
            change += values[at - 1];
        }
    }
    *overlaps += u64::from(any_overlap);
    let mut to_start = secs(ts[0].wrapping_sub(window_start));
    let mut to_end = secs(end.wrapping_sub(ts[last]));
    let mut sampled = secs(ts[last].wrapping_sub(ts[0]));
    let average = if last > 0 { sampled / float(last) } else { 0.0 };
    let threshold = average * 1.1;
    if starts[0] != 0 && starts[0] > window_start && starts[0] < ts[0] {
        to_start = 0.0;
        sampled = secs(ts[last].wrapping_sub(starts[0]));
        change += values[0];
    } else if last == 0 {
        return None;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if change > 0.0 && values[0] >= 0.0 {
            let to_zero = sampled * (values[0] / change);
            to_start = if to_zero < to_start { to_zero } else { to_start };
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    Some(change * (factor / divisor))
}
