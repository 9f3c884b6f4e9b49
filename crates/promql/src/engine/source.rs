//! From the samples of a series to its column: what a selector or a function of its windows gives at each step.

use std::sync::Arc;

use super::annotations::Annotations;
use super::column::{ABSENT, Grid, any_present, is_absent, secs};
use super::decode::Decoded;
use super::error::QueryError;
use super::extended;
use super::hists::{Hists, View, weight};
use super::limits::Ticker;
use super::load::Count;
use super::map::Work;
use super::node::{Source, WindowCall};
use super::regression;
use super::row::Key;
use super::starts::{self, Starts};
use super::steps::{Counted, weight_of};
use super::window::{self, Call, HistSamples, Histograms, Number, Samples, Scratch, WindowEnd, Windows};

/// What the operations of one thread share.
pub(crate) struct Env<'a> {
    pub(crate) delayed: bool,
    pub(crate) type_and_unit_labels: bool,
    pub(crate) start_timestamps: bool,
    /// Whether it is to be noted what is looked at at each step.
    pub(crate) counts_steps: bool,
    pub(crate) annotations: &'a mut Annotations,
    pub(crate) ticker: &'a mut Ticker,
    pub(crate) buffers: &'a mut Buffers,
}

/// Buffers that are kept from series to series.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    windows: Windows,
    hist_windows: Windows,
    scratch: Scratch,
    /// What was looked at last, step by step, where that is noted.
    pub(crate) counted: Counted,
    pub(crate) ts: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// What a source or subquery looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Samples seen, summed over steps.
    pub(crate) seen: u64,
    /// Samples that came new to a step.
    pub(crate) read: u64,
    /// The fullest window, and what came of it all.
    pub(crate) out: Count,
}

/// Fills the column of `work` from the samples of a series; false where nothing came of them.
pub(crate) fn run(
    source: &Source,
    decoded: (&Decoded, bool),
    grid: Grid,
    work: &mut Work,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    let ran = run_uncounted(source, decoded, grid, work, env)?;
    if env.counts_steps {
        match source {
            Source::Window(_) => {}
            Source::Smoothed { .. } => env.buffers.counted.clear(grid.count),
            Source::Instant { .. } => env.buffers.counted.values(work.view(), true),
            Source::Timestamp { .. } | Source::Start { .. } | Source::Info { .. } => {
                env.buffers.counted.values(work.view(), false);
            }
        }
    }
    Ok(ran)
}

fn run_uncounted(
    source: &Source,
    (decoded, stats_only): (&Decoded, bool),
    grid: Grid,
    work: &mut Work,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    // What is left of the last series is overwritten.
    work.column.resize(grid.count, ABSENT);
    work.hists.clear();
    let (end, lookback, is_timestamp) = match source {
        Source::Instant { end, lookback } => (*end, *lookback, false),
        Source::Timestamp { end, lookback } => (*end, *lookback, true),
        Source::Start { .. } | Source::Smoothed { .. } | Source::Info { .. } => {
            return run_without_hists(source, (decoded, stats_only), grid, work, env);
        }
        Source::Window(call) => {
            let starts = decoded.starts().filter(|_| env.start_timestamps && starts::concern(call.function));
            let input = Input { floats: decoded.without_markers(), hists: decoded.hists(stats_only) };
            let Work { key, column, hists, .. } = work;
            return windows(call, input, starts, grid, key, Out { column, hists }, env);
        }
    };
    work.key.drop_name |= is_timestamp;
    let (samples, has_markers) = decoded.with_markers();
    let hists = decoded.hists_with_markers(stats_only);
    let column = &mut work.column;
    if !hists.ts.is_empty() {
        let seen = mixed_instant(samples, hists, grid, (end, lookback, is_timestamp), work);
        let out = Count::of(work.view(), 0);
        return Ok((seen > 0, Looked { seen, read: seen, out }));
    }
    let seen = if is_timestamp {
        instant(samples, has_markers, grid, end, lookback, column, |s, at| secs(s.ts[at]))
    } else {
        instant(samples, has_markers, grid, end, lookback, column, |s, at| s.values[at])
    };
    Ok((seen > 0, looked_at(seen, column)))
}

/// Sources of which histograms are rare or none.
fn run_without_hists(
    source: &Source,
    (decoded, stats_only): (&Decoded, bool),
    grid: Grid,
    work: &mut Work,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    let column = &mut work.column;
    let (samples, has_markers) = decoded.with_markers();
    let (seen, is_smooth) = match source {
        Source::Start { end, lookback } => {
            let starts = decoded.starts_with_markers();
            let tell = |_: Samples<'_>, at: usize| secs(starts.map_or(0, |starts| starts[at]));
            work.key.drop_name = true;
            (instant(samples, has_markers, grid, *end, *lookback, column, tell), false)
        }
        Source::Smoothed { end, lookback, pos } => {
            let (floats, hists) = (decoded.without_markers(), decoded.hists(stats_only));
            let seen = extended::smooth(floats, grid, *end, *lookback, column);
            if !hists.ts.is_empty() {
                env.ticker.tick(grid.count.saturating_mul(20))?;
                let name = work.key.labels.metric_name().unwrap_or("");
                let (out, place) = ((column.as_mut_slice(), &mut work.hists), (&mut *env.annotations, *pos, name));
                window::smooth_histograms((floats, hists), grid, (*end, *lookback), out, place);
                let out = Count::of(work.view(), 0);
                return Ok((out.points > 0, Looked { out, ..Looked::default() }));
            }
            (seen, true)
        }
        Source::Info { range, lookback } => {
            if !decoded.hists(false).ts.is_empty() {
                return Err(QueryError::InfoHistogram(work.key.labels.clone()));
            }
            let (samples, end) = (samples.within(*range), WindowEnd::Before(0));
            (instant(samples, has_markers, grid, end, *lookback, column, |s, at| ms(s.ts[at])), false)
        }
        Source::Instant { .. } | Source::Timestamp { .. } | Source::Window(_) => {
            return Err(QueryError::Malformed("a source of histograms where floats are wanted"));
        }
    };
    let looked = looked_at(seen, column);
    Ok((seen > 0, if is_smooth { Looked { seen: 0, read: 0, ..looked } } else { looked }))
}

/// As [`instant`], of a series with histograms; returns for how many samples what was seen counts.
fn mixed_instant(
    floats: Samples<'_>,
    hists: HistSamples<'_>,
    grid: Grid,
    (end, lookback, is_timestamp): (WindowEnd, i64, bool),
    work: &mut Work,
) -> u64 {
    let (mut float, mut hist, mut seen) = (0, 0, 0);
    for i in 0..grid.count {
        work.column[i] = ABSENT;
        let t = end.of(grid.at(i));
        let is_before = |at: Option<&i64>| at.is_some_and(|at| *at <= t);
        while is_before(floats.ts.get(float)) {
            float += 1;
        }
        while is_before(hists.ts.get(hist)) {
            hist += 1;
        }
        let newest_float = float.checked_sub(1).map(|at| (floats.ts[at], at));
        let newest_hist = hist.checked_sub(1).map(|at| (hists.ts[at], at));
        let is_hist = newest_hist.map(|(t, _)| t) > newest_float.map(|(t, _)| t);
        let Some((newest, at)) = (if is_hist { newest_hist } else { newest_float }) else { continue };
        let has_ended = if is_hist { hists.hists[at].is_stale() } else { model::is_stale(floats.values[at]) };
        if newest <= t.saturating_sub(lookback) || has_ended {
            continue;
        }
        seen += if is_hist && !is_timestamp { weight(&hists.hists[at]) as u64 } else { 1 };
        if is_timestamp {
            work.column[i] = secs(newest);
        } else if is_hist {
            work.hists.set(i, grid.count, Arc::clone(&hists.hists[at]));
        } else {
            work.column[i] = floats.values[at];
        }
    }
    seen
}

/// What an instant selector of floats looked at.
fn looked_at(seen: u64, column: &[f64]) -> Looked {
    let last = u64::from(column.last().is_some_and(|v| !is_absent(*v)));
    Looked { seen, read: seen, out: Count { points: seen, last, window: 0 } }
}

/// The newest sample of each step, told by `tell`; returns how many steps have one.
fn instant(
    samples: Samples<'_>,
    has_markers: bool,
    grid: Grid,
    end: WindowEnd,
    lookback: i64,
    column: &mut [f64],
    tell: impl Fn(Samples<'_>, usize) -> f64,
) -> u64 {
    let ts = samples.ts;
    let mut after = 0;
    let mut seen = 0;
    let (mut next, step) = match end {
        WindowEnd::Before(offset) => (grid.start.saturating_sub(offset), grid.step),
        WindowEnd::At(at) => (at, 0),
    };
    // With many samples to a step those between are not looked at.
    let is_sparse = ts.len() / 16 > column.len();
    for out in column.iter_mut() {
        let t = next;
        next = next.saturating_add(step);
        if is_sparse {
            after += ts[after..].partition_point(|at| *at <= t);
        }
        while after < ts.len() && ts[after] <= t {
            after += 1;
        }
        *out = ABSENT;
        let Some(at) = after.checked_sub(1) else { continue };
        let is_old = ts[at] <= t.saturating_sub(lookback);
        let has_ended = has_markers && model::is_stale(samples.values[at]);
        if is_old || has_ended {
            continue;
        }
        *out = tell(samples, at);
        seen += 1;
    }
    seen
}

/// The samples that windows are made of.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) floats: Samples<'a>,
    pub(crate) hists: HistSamples<'a>,
}

/// The column that is made of them.
pub(crate) struct Out<'a> {
    pub(crate) column: &'a mut Vec<f64>,
    pub(crate) hists: &'a mut Hists,
}

/// A function of the windows of a series or of the points of a subquery.
pub(crate) fn windows(
    call: &WindowCall,
    input: Input<'_>,
    starts: Option<Starts<'_>>,
    grid: Grid,
    key: &mut Key,
    out: Out<'_>,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    let samples = input.floats;
    out.hists.clear();
    if env.counts_steps {
        env.buffers.counted.clear(grid.count);
    }
    if samples.ts.is_empty() && input.hists.ts.is_empty() {
        return Ok((false, Looked::default()));
    }
    let Out { column, hists } = out;
    column.resize(grid.count, ABSENT);
    let Buffers { windows, hist_windows, scratch, counted, .. } = &mut *env.buffers;
    let wide = call.extension.map_or(call.spec, |extension| extension.widen(call.spec));
    windows.find(samples.ts, grid, wide);
    let mut totals = windows.totals(grid, wide);
    if !input.hists.ts.is_empty() {
        hist_windows.find(input.hists.ts, grid, wide);
        totals = totals.and(hist_windows.weights(input.hists.hists, grid, wide));
    }
    if env.counts_steps {
        counted.windows(windows, wide.end, |lo, hi| (hi - lo) as u64);
        if !input.hists.ts.is_empty() {
            counted.windows(hist_windows, wide.end, weight_of(input.hists.hists));
        }
    }
    if totals.seen == 0 {
        return Ok((false, Looked::default()));
    }
    let numbers = [&call.numbers[0], &call.numbers[1]].map(|n| n.known().unwrap_or(Number::Const(0.0)));
    let arguments = Call { samples, windows, grid, spec: call.spec, numbers };
    env.ticker.announce(grid.count, samples.ts.len())?;
    if call.function == window::WindowFn::DoubleExponentialSmoothing {
        let holds = |windows: &Windows, i: usize| windows.lo.get(i) < windows.hi.get(i);
        let has_hists = !input.hists.ts.is_empty();
        for i in (0..grid.count).filter(|i| holds(windows, *i) || has_hists && holds(hist_windows, *i)) {
            regression::check_factors(numbers[0].at(i), numbers[1].at(i))?;
        }
    }
    let mut overlaps = 0;
    match (call.extension, starts) {
        (Some(extension), _) => extended::run(call.function, &arguments, extension, starts, column, env.ticker)?,
        (None, Some(starts)) => overlaps = starts::run(call.function, &arguments, starts, column, env.ticker)?,
        (None, None) => window::run(call.function, &arguments, column, scratch, env.ticker)?,
    }
    if overlaps > 0 {
        env.annotations.start_time_overlap(call.pos, metric_name(key, env.delayed), overlaps);
    }
    if !input.hists.ts.is_empty() {
        let name = metric_name(key, env.delayed);
        let (hists_in, extension, pos) = (input.hists, call.extension, call.pos);
        let what = Histograms { floats: &arguments, hists: hists_in, windows: hist_windows, extension, pos, name };
        what.run(call.function, column, hists, env.annotations, env.ticker)?;
    }
    let view = View { values: column, hists };
    let out = Count::of(view, totals.fuller);
    if any_present(column) {
        annotate(call, key, numbers[0], column, env);
    }
    key.drop_name |= !call.function.keeps_name();
    Ok((out.points > 0, Looked { seen: totals.seen, read: totals.read, out }))
}

/// The name by which annotations call a series; none where it was dropped.
fn metric_name(key: &Key, delayed: bool) -> &str {
    let is_dropped = key.drop_name && !delayed;
    key.labels.metric_name().filter(|_| !is_dropped).unwrap_or("")
}

/// Milliseconds as they are.
#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
fn ms(ms: i64) -> f64 {
    ms as f64
}

/// Says what is odd about the arguments of a function that gave something.
fn annotate(call: &WindowCall, key: &Key, number: Number<'_>, column: &[f64], env: &mut Env<'_>) {
    if call.function == window::WindowFn::Quantile {
        for (i, _) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
            let q = number.at(i);
            if q.is_nan() || !(0.0..=1.0).contains(&q) {
                env.annotations.invalid_quantile(call.pos, q);
            }
            if matches!(number, Number::Const(_)) {
                break;
            }
        }
    }
    if !call.function.wants_counter() || (key.drop_name && !env.delayed) {
        return;
    }
    let Some(name) = key.labels.metric_name() else { return };
    if env.type_and_unit_labels {
        let found = key.labels.get("__type__").unwrap_or("");
        if found != "counter" && found != "histogram" {
            env.annotations.possible_non_counter_type(call.pos, name, found);
        }
    } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
        env.annotations.possible_non_counter(call.pos, name);
    }
}
