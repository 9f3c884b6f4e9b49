//! Histograms in ranges whose edges are taken from samples beside them, and on the lines between samples.
//!
//! Source: Prometheus `extendedHistogramRate`, `correctForCounterResetsHistogram`, `interpolateHistograms`,
//! `pickFirstSampleIndices` and `smoothSeries` of `promql/`.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, MixedSchemas};

use super::rate::is_gauge;
use super::{HistSamples, Histograms, Outcome, Window, differ, is_reset};
use crate::ast::Pos;
use crate::engine::annotations::{Annotations, HistogramOperation};
use crate::engine::column::{ABSENT, Grid, secs};
use crate::engine::extended::{Extension, ms};
use crate::engine::hists::Hists;
use crate::engine::window::{Samples, WindowEnd, WindowFn};

/// Where what is odd is told.
struct Notes<'a> {
    annotations: &'a mut Annotations,
    pos: Pos,
    name: &'a str,
}

impl Notes<'_> {
    fn add(&mut self, to: &mut FloatHistogram, other: &FloatHistogram) -> Option<()> {
        let combined = to.add(other).map(|combined| combined.bounds_reconciled);
        self.combined(combined, HistogramOperation::Addition)
    }

    fn sub(&mut self, from: &mut FloatHistogram, other: &FloatHistogram) -> Option<()> {
        let combined = from.sub(other).map(|combined| combined.bounds_reconciled);
        self.combined(combined, HistogramOperation::Subtraction)
    }

    fn combined(&mut self, reconciled: Result<bool, MixedSchemas>, operation: HistogramOperation) -> Option<()> {
        match reconciled {
            Err(_) => {
                self.annotations.mixed_schemas(self.pos, self.name);
                return None;
            }
            Ok(true) => self.annotations.bounds_reconciled(self.pos, operation),
            Ok(false) => {}
        }
        Some(())
    }

    /// The histogram at `t` on the line between samples `at` and `at + 1`; a counter that was reset between them began
    /// empty.
    fn between(&mut self, samples: HistSamples<'_>, at: usize, t: i64, is_counter: bool) -> Option<FloatHistogram> {
        let (t1, t2) = (samples.ts[at], samples.ts[at + 1]);
        let (a, b) = (&samples.hists[at], &samples.hists[at + 1]);
        if t == t1 || t == t2 {
            return Some(FloatHistogram::clone(if t == t1 { a } else { b }));
        }
        let fraction = ms(t.wrapping_sub(t1)) / ms(t2.wrapping_sub(t1));
        let mut result = FloatHistogram::clone(b);
        if is_counter && b.is_reset_after(a) {
            result.mul(fraction);
            return Some(result);
        }
        self.sub(&mut result, a)?;
        result.mul(fraction);
        self.add(&mut result, a)?;
        Some(result)
    }
}

/// The histograms that are looked at, and the range itself, both edges in milliseconds.
struct Range<'a> {
    samples: HistSamples<'a>,
    start: i64,
    end: i64,
    is_smoothed: bool,
    is_counter: bool,
}

impl Range<'_> {
    /// First and last sample that count; `None` where no sample tells of the range.
    fn ends(&self) -> Option<(usize, usize)> {
        let ts = self.samples.ts;
        let mut last = ts.len().checked_sub(1)?;
        let first = ts[..last].partition_point(|t| *t <= self.start).saturating_sub(1);
        if self.is_smoothed {
            last = ts[..last].partition_point(|t| *t < self.end);
        }
        let is_beside = ts[last] <= self.start || self.is_smoothed && ts[first] > self.end;
        (!is_beside).then_some((first, last))
    }

    /// The change over the range.
    fn change(&self, notes: &mut Notes<'_>) -> Option<FloatHistogram> {
        let (first, last) = self.ends()?;
        let HistSamples { ts, hists } = self.samples;
        for h in &hists[first..=last] {
            if h.is_custom() != hists[first].is_custom() {
                notes.annotations.mixed_schemas(notes.pos, notes.name);
                return None;
            }
            if self.is_counter && is_gauge(h) {
                notes.annotations.histogram_not_counter(notes.pos, notes.name);
            }
        }
        let left = if self.is_smoothed && ts[first] < self.start {
            notes.between(self.samples, first, self.start, self.is_counter)?
        } else {
            FloatHistogram::clone(&hists[first])
        };
        let right = if self.is_smoothed && last > 0 && ts[last] > self.end {
            notes.between(self.samples, last - 1, self.end, self.is_counter)?
        } else {
            FloatHistogram::clone(&hists[last])
        };
        if !self.is_counter && (!is_gauge(&left) || !is_gauge(&right)) {
            notes.annotations.histogram_not_gauge(notes.pos, notes.name);
        }
        let mut change = right.clone();
        notes.sub(&mut change, &left)?;
        if self.is_counter
            && let Some(lost) = self.lost(first, last, &left, &right, notes)?
        {
            notes.add(&mut change, &lost)?;
        }
        Some(change)
    }

    /// What a counter lost in resets between the edges; the outer `None` where that cannot be added up.
    fn lost(
        &self,
        first: usize,
        last: usize,
        left: &FloatHistogram,
        right: &FloatHistogram,
        notes: &mut Notes<'_>,
    ) -> Option<Option<FloatHistogram>> {
        let HistSamples { ts, hists } = self.samples;
        // The first sample is `left`. Where the line to it crossed a reset, that is done, and the next sample is what the
        // following are compared with.
        let (mut from, mut before) = (first + 1, left);
        if self.is_smoothed && ts[first] < self.start && hists[from].is_reset_after(&hists[first]) {
            before = &hists[from];
            from += 1;
        }
        // The last sample is `right`, whose hint may be its own.
        let Some(between) = hists.get(from..last) else { return Some(None) };
        let mut lost: Option<FloatHistogram> = None;
        for h in between.iter().map(Arc::as_ref).chain([right]) {
            if h.is_reset_after(before) {
                match &mut lost {
                    None => lost = Some(before.clone()),
                    Some(lost) => notes.add(lost, before)?,
                }
            }
            before = h;
        }
        Some(lost)
    }
}

impl Histograms<'_> {
    /// As `outcome`, of a window that is wider than the range.
    pub(super) fn extended(
        &self,
        function: WindowFn,
        window: &Window<'_>,
        extension: Extension,
        annotations: &mut Annotations,
    ) -> Outcome {
        let range = self.floats.spec.range;
        let end = self.floats.spec.end.of(self.floats.grid.at(window.step));
        let start = end.saturating_sub(range);
        if matches!(function, WindowFn::Changes | WindowFn::Resets) {
            let test = if function == WindowFn::Changes { differ } else { is_reset };
            return anchored(window, start).map_or(Outcome::Nothing, |w| Outcome::Float(w.count_pairs(test)));
        }
        if !window.floats.is_empty() {
            annotations.mixed_range(self.pos, self.name);
            return Outcome::Nothing;
        }
        let samples = HistSamples { ts: window.hist_ts, hists: window.hists };
        let is_counter = function != WindowFn::Delta;
        let looked = Range { samples, start, end, is_smoothed: extension.is_smoothed(), is_counter };
        let change = looked.change(&mut Notes { annotations, pos: self.pos, name: self.name });
        Outcome::of(change.map(|mut change| {
            if function == WindowFn::Rate {
                change.div(secs(range));
            }
            change.counter_reset_hint = CounterResetHint::Gauge;
            change.compact(0);
            change
        }))
    }
}

/// The window from its anchor on, the last sample of either kind at or before `start`; `None` where nothing is behind
/// `start`.
fn anchored<'a>(window: &Window<'a>, start: i64) -> Option<Window<'a>> {
    let up_to = |ts: &[i64]| ts.partition_point(|t| *t <= start);
    let (mut float, mut hist) = (up_to(window.float_ts), up_to(window.hist_ts));
    if float == window.float_ts.len() && hist == window.hist_ts.len() {
        return None;
    }
    let anchor = |ts: &[i64], after: usize| after.checked_sub(1).map(|at| ts[at]);
    let (of_floats, of_hists) = (anchor(window.float_ts, float), anchor(window.hist_ts, hist));
    if of_floats.is_some() && of_floats >= of_hists {
        float -= 1;
    } else if of_hists.is_some() {
        hist -= 1;
    }
    Some(Window {
        step: window.step,
        float_ts: &window.float_ts[float..],
        floats: &window.floats[float..],
        hist_ts: &window.hist_ts[hist..],
        hists: &window.hists[hist..],
    })
}

/// `x smoothed` at the steps beside which there are histograms; the column has what floats give.
pub(crate) fn smooth(
    (floats, samples): (Samples<'_>, HistSamples<'_>),
    grid: Grid,
    (end, lookback): (WindowEnd, i64),
    (column, hists): (&mut [f64], &mut Hists),
    (annotations, pos, name): (&mut Annotations, Pos, &str),
) {
    let n = column.len();
    let mut notes = Notes { annotations, pos, name };
    for (i, out) in column.iter_mut().enumerate() {
        let t = end.of(grid.at(i));
        let beside = |ts: &[i64]| {
            let from = ts.partition_point(|at| *at <= t.saturating_sub(lookback));
            let to = ts.partition_point(|at| *at <= t.saturating_add(lookback));
            from..to.max(from)
        };
        let window = beside(samples.ts);
        if window.is_empty() {
            continue;
        }
        *out = ABSENT;
        if !beside(floats.ts).is_empty() {
            notes.annotations.mixed_range(pos, name);
            continue;
        }
        let samples = HistSamples { ts: &samples.ts[window.clone()], hists: &samples.hists[window] };
        if let Some(h) = smooth_one(samples, t, &mut notes) {
            hists.set(i, n, h);
        }
    }
}

/// The histogram at `t`.
fn smooth_one(samples: HistSamples<'_>, t: i64, notes: &mut Notes<'_>) -> Option<Arc<FloatHistogram>> {
    let HistSamples { ts, hists } = samples;
    let next = ts.partition_point(|at| *at < t);
    if ts.get(next) == Some(&t) {
        return Some(Arc::clone(&hists[next]));
    }
    let before = next.checked_sub(1)?;
    if next == ts.len() {
        // What is said of counter resets holds between neighbours.
        let mut h = FloatHistogram::clone(&hists[before]);
        h.counter_reset_hint = CounterResetHint::Unknown;
        return Some(Arc::new(h));
    }
    if hists[before].is_custom() != hists[next].is_custom() {
        notes.annotations.mixed_schemas(notes.pos, notes.name);
        return None;
    }
    let is_counter = !is_gauge(&hists[before]) || !is_gauge(&hists[next]);
    notes.between(samples, before, t, is_counter).map(Arc::new)
}
