//! `rate`, `increase`, `delta`, `irate`, `idelta`.
//!
//! Source: Prometheus `extrapolatedRate` and `instantValue` of `promql/functions.go`.

use super::column::{ABSENT, float, secs};
use super::window::{Call, Samples, Scratch};

/// Which of the extrapolating functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rate,
    Increase,
    Delta,
}

/// The change over each window, extrapolated to its ends.
pub(crate) fn extrapolated(call: &Call<'_>, kind: Kind, out: &mut [f64], scratch: &mut Scratch) {
    let is_counter = kind != Kind::Delta;
    scratch.resets.clear();
    if is_counter {
        find_resets(call.samples.values, &mut scratch.resets);
    }
    let divisor = if kind == Kind::Rate { secs(call.spec.range) } else { 1.0 };
    let Samples { ts, values } = call.samples;
    let resets = &scratch.resets;
    let mut first_reset = 0;
    for (i, o) in out.iter_mut().enumerate() {
        let (lo, hi) = call.windows.at(i);
        if hi < lo + 2 {
            *o = ABSENT;
            continue;
        }
        let last = hi - 1;
        let mut change = values[last] - values[lo];
        if !resets.is_empty() {
            // A reset at sample r counts where r and the sample before it lie in the window.
            while first_reset < resets.len() && (resets[first_reset] as usize) <= lo {
                first_reset += 1;
            }
            for r in resets[first_reset..].iter().take_while(|r| (**r as usize) <= last) {
                change += values[*r as usize - 1];
            }
        }
        let end = call.spec.end.of(call.grid.at(i));
        let window = Window {
            change,
            first: values[lo],
            interval: secs(ts[last].wrapping_sub(ts[lo])),
            to_start: secs(ts[lo].wrapping_sub(end.wrapping_sub(call.spec.range))),
            to_end: secs(end.wrapping_sub(ts[last])),
            gaps: float(last - lo),
        };
        *o = window.extrapolate(is_counter, divisor);
    }
}

/// Places where the value is less than the one before.
fn find_resets(values: &[f64], resets: &mut Vec<u32>) {
    let any = values.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0]));
    if !any {
        return;
    }
    for (at, pair) in (1u32..).zip(values.windows(2)) {
        if pair[1] < pair[0] {
            resets.push(at);
        }
    }
}

/// A window of at least two samples.
struct Window {
    /// Last minus first value, resets made good.
    change: f64,
    /// The first value.
    first: f64,
    /// Seconds from first to last sample.
    interval: f64,
    /// Seconds from the start of the window to the first sample.
    to_start: f64,
    /// Seconds from the last sample to the end of the window.
    to_end: f64,
    /// Samples minus one.
    gaps: f64,
}

impl Window {
    /// Extends the change to ends of the window that are nearer than 1.1 average gaps, by half a gap otherwise; a counter not
    /// beyond the point where it would be zero.
    #[inline(always)]
    fn extrapolate(&self, is_counter: bool, divisor: f64) -> f64 {
        let average = self.interval / self.gaps;
        let threshold = average * 1.1;
        let mut to_start = if self.to_start >= threshold { average / 2.0 } else { self.to_start };
        let to_end = if self.to_end >= threshold { average / 2.0 } else { self.to_end };
        // Where the first value is not below the change and the samples span more than what is added, zero lies further away
        // than the start of the window: that spares most windows a division.
        let zero_may_be_near = !(self.first >= self.change && self.interval >= to_start);
        if is_counter && zero_may_be_near && self.change > 0.0 && self.first >= 0.0 {
            let to_zero = self.interval * (self.first / self.change);
            to_start = if to_zero < to_start { to_zero } else { to_start };
        }
        let factor =
            if self.interval == 0.0 { 1.0 } else { (self.interval + to_start + to_end) / self.interval } / divisor;
        self.change * factor
    }
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
