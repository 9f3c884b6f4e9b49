//! Ranges whose edges are taken from samples beside them: `anchored` (the last sample before the range stands at its start) and
//! `smoothed` (lines between samples are cut at both edges).
//!
//! Source: Prometheus `extendedRate`, `extendFloats`, `pickFirstSampleIndices` and `smoothSeries` of `promql/`.

use super::column::{ABSENT, Grid, float, secs};
use super::error::QueryError;
use super::limits::Ticker;
use super::starts::{self, Starts};
use super::window::{Call, Samples, WindowEnd, WindowFn, WindowSpec, Windows};
use crate::ast::Edges;

/// How far beyond a range samples are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) edges: Edges,
    /// Milliseconds to each side (`anchored`: to the left only).
    pub(crate) lookback: i64,
}

impl Extension {
    /// `None` where samples beside the range do not count.
    pub(crate) fn new(edges: Edges, lookback: i64) -> Option<Extension> {
        (edges != Edges::Plain).then_some(Extension { edges, lookback })
    }

    /// The window of the samples that are looked at.
    pub(crate) fn widen(self, spec: WindowSpec) -> WindowSpec {
        let ahead = if self.is_smoothed() { self.lookback } else { 0 };
        let end = match spec.end {
            WindowEnd::Before(offset) => WindowEnd::Before(offset.saturating_sub(ahead)),
            WindowEnd::At(at) => WindowEnd::At(at.saturating_add(ahead)),
        };
        WindowSpec { range: spec.range.saturating_add(self.lookback).saturating_add(ahead), end }
    }

    pub(crate) fn is_smoothed(self) -> bool {
        self.edges == Edges::Smoothed
    }
}

/// The functions that `edges` can be used with, in Prometheus' words; `None` where `function` is one of them.
pub(crate) fn refusal(edges: Edges, function: &'static str) -> Option<QueryError> {
    let (modifier, functions): (_, &[&str]) = match edges {
        Edges::Plain => return None,
        Edges::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
        Edges::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
    };
    if functions.contains(&function) {
        return None;
    }
    Some(QueryError::EdgesNotAllowed { modifier, functions: functions.join(", "), function })
}

/// One window: the samples that are looked at, and the range itself, both edges in milliseconds.
#[derive(Clone, Copy)]
struct Window<'a> {
    ts: &'a [i64],
    values: &'a [f64],
    start: i64,
    end: i64,
    is_smoothed: bool,
}

/// Which samples count, and the values at the edges.
struct Edge {
    first: usize,
    last: usize,
    left: f64,
    right: f64,
}

impl Window<'_> {
    /// `None` where no sample tells of the range.
    fn edges(&self, is_counter: bool) -> Option<Edge> {
        let Window { ts, start, end, .. } = *self;
        let mut last = ts.len().checked_sub(1)?;
        let first = ts[..last].partition_point(|t| *t <= start).saturating_sub(1);
        if self.is_smoothed {
            last = ts[..last].partition_point(|t| *t < end);
        }
        if ts[last] <= start {
            return None;
        }
        let left = if self.is_smoothed && ts[first] < start {
            self.between(first, start, is_counter)
        } else {
            self.values[first]
        };
        let right = if self.is_smoothed && last > 0 && ts[last] > end {
            self.between(last - 1, end, is_counter)
        } else {
            self.values[last]
        };
        Some(Edge { first, last, left, right })
    }

    /// The value at `t` on the line from sample `at` to the next.
    fn between(&self, at: usize, t: i64, is_counter: bool) -> f64 {
        let point = |at: usize| (self.ts[at], self.values[at]);
        interpolate(point(at), point(at + 1), t, is_counter)
    }

    /// `first .. end` of the samples that lie between the edges.
    fn inner(&self, edge: &Edge) -> (usize, usize) {
        let first = edge.first + usize::from(self.ts[edge.first] <= self.start);
        let end = edge.last + usize::from(self.ts[edge.last] < self.end);
        (first, end.max(first))
    }

    /// The change over the range.
    fn change(&self, is_counter: bool) -> Option<f64> {
        let edge = self.edges(is_counter)?;
        if self.is_smoothed && self.ts[edge.first] > self.end {
            return None;
        }
        let mut change = edge.right - edge.left;
        if is_counter {
            let (first, end) = self.inner(&edge);
            change += corrections(edge.left, &self.values[first..end], edge.right);
        }
        Some(change)
    }
}

/// The value at `t` on the line between two samples; a counter that was reset between them began at zero.
fn interpolate((t1, v1): (i64, f64), (t2, v2): (i64, f64), t: i64, is_counter: bool) -> f64 {
    let v1 = if is_counter && v2 < v1 { 0.0 } else { v1 };
    v1 + (v2 - v1) * ms(t.wrapping_sub(t1)) / ms(t2.wrapping_sub(t1))
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
pub(crate) fn ms(ms: i64) -> f64 {
    ms as f64
}

/// What a counter lost in resets on the way.
fn corrections(left: f64, values: &[f64], right: f64) -> f64 {
    let (mut correction, mut before) = (0.0, left);
    for v in values.iter().chain([&right]) {
        if *v < before {
            correction += before;
        }
        before = *v;
    }
    correction
}

/// Runs `function` over all steps. The windows of `call` are widened, its range is not.
pub(crate) fn run(
    function: WindowFn,
    call: &Call<'_>,
    extension: Extension,
    starts: Option<Starts<'_>>,
    out: &mut [f64],
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    let Samples { ts, values } = call.samples;
    let divisor = if function == WindowFn::Rate { secs(call.spec.range) } else { 1.0 };
    for (i, o) in out.iter_mut().enumerate() {
        let (lo, hi) = call.windows.at(i);
        ticker.tick(hi - lo)?;
        let end = call.spec.end.of(call.grid.at(i));
        let start = end.saturating_sub(call.spec.range);
        let is_smoothed = extension.is_smoothed();
        let window = Window { ts: &ts[lo..hi], values: &values[lo..hi], start, end, is_smoothed };
        let found = match function {
            WindowFn::Changes | WindowFn::Resets => {
                anchor(window).map(|at| count(function, call.samples, lo + at, hi, starts))
            }
            WindowFn::Delta => window.change(false),
            _ => window.change(true).map(|change| change / divisor),
        };
        *o = found.unwrap_or(ABSENT);
    }
    Ok(())
}

/// The last sample at or before the start of the range, else the first; `None` where none is behind the start.
fn anchor(window: Window<'_>) -> Option<usize> {
    let before = window.ts.partition_point(|t| *t <= window.start);
    (before < window.ts.len()).then(|| before.saturating_sub(1))
}

fn count(function: WindowFn, samples: Samples<'_>, lo: usize, hi: usize, starts: Option<Starts<'_>>) -> f64 {
    let values = samples.values;
    let pairs = (lo + 1..hi).filter(|at| {
        let (before, after) = (values[at - 1], values[*at]);
        match function {
            WindowFn::Changes => before != after && !(before.is_nan() && after.is_nan()),
            _ => after < before || starts.is_some_and(|starts| starts::is_reset(starts, samples.ts, *at)),
        }
    });
    float(pairs.count())
}

/// The samples of the only window, with values at both edges: `x[5m] anchored` as the whole query.
pub(crate) fn points(samples: Samples<'_>, grid: Grid, spec: WindowSpec, extension: Extension) -> (Vec<i64>, Vec<f64>) {
    let mut windows = Windows::default();
    windows.find(samples.ts, grid.first(), extension.widen(spec));
    let nothing = || (Vec::new(), Vec::new());
    if windows.lo.is_empty() {
        return nothing();
    }
    let (lo, hi) = windows.at(0);
    let end = spec.end.of(grid.start);
    let start = end.saturating_sub(spec.range);
    let is_smoothed = extension.is_smoothed();
    let window = Window { ts: &samples.ts[lo..hi], values: &samples.values[lo..hi], start, end, is_smoothed };
    let Some(edge) = window.edges(false) else { return nothing() };
    let (first, inner_end) = window.inner(&edge);
    let ts = [&[start], &window.ts[first..inner_end], &[end]].concat();
    let values = [&[edge.left], &window.values[first..inner_end], &[edge.right]].concat();
    (ts, values)
}

/// `x smoothed`: the value at each step on the line between the samples beside it, which are at most `lookback` away; the last
/// sample where none follows. Returns how many steps have a value.
pub(crate) fn smooth(samples: Samples<'_>, grid: Grid, end: WindowEnd, lookback: i64, column: &mut [f64]) -> u64 {
    let Samples { ts, values } = samples;
    let mut seen = 0;
    let mut next = 0;
    for (i, out) in column.iter_mut().enumerate() {
        *out = ABSENT;
        let t = end.of(grid.at(i));
        // The first sample that is not before `t`; steps go forward, or stand still.
        while next < ts.len() && ts[next] < t {
            next += 1;
        }
        let after = (next < ts.len() && ts[next] <= t.saturating_add(lookback)).then_some(next);
        let before = next.checked_sub(1).filter(|at| ts[*at] > t.saturating_sub(lookback));
        *out = match (before, after) {
            (_, Some(at)) if ts[at] == t => values[at],
            (Some(a), Some(b)) => interpolate((ts[a], values[a]), (ts[b], values[b]), t, false),
            (Some(at), None) => values[at],
            (None, _) => continue,
        };
        seen += 1;
    }
    seen
}
