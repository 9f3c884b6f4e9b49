//! From the samples of a series to its column: what a selector or a function of its windows gives at each step.

use super::annotations::Annotations;
use super::column::{ABSENT, Grid, is_absent, secs};
use super::decode::Decoded;
use super::error::QueryError;
use super::extended;
use super::limits::Ticker;
use super::load::Count;
use super::node::{Source, WindowCall};
use super::row::Key;
use super::starts::{self, Starts};
use super::window::{self, Call, Number, Samples, Scratch, WindowEnd, Windows};

/// What the operations of one thread share.
pub(crate) struct Env<'a> {
    pub(crate) delayed: bool,
    pub(crate) type_and_unit_labels: bool,
    pub(crate) start_timestamps: bool,
    pub(crate) annotations: &'a mut Annotations,
    pub(crate) ticker: &'a mut Ticker,
    pub(crate) buffers: &'a mut Buffers,
}

/// Buffers that are kept from series to series.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    windows: Windows,
    scratch: Scratch,
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

/// Fills `column` from the samples of a series; false where nothing came of them.
pub(crate) fn run(
    source: &Source,
    decoded: &Decoded,
    grid: Grid,
    key: &mut Key,
    column: &mut Vec<f64>,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    // What is left of the last series is overwritten.
    column.resize(grid.count, ABSENT);
    match source {
        Source::Instant { end, lookback } => {
            let (samples, has_markers) = decoded.with_markers();
            let seen = instant(samples, has_markers, grid, *end, *lookback, column, |s, at| s.values[at]);
            Ok((seen > 0, looked_at(seen, column)))
        }
        Source::Timestamp { end, lookback } => {
            let (samples, has_markers) = decoded.with_markers();
            let seen = instant(samples, has_markers, grid, *end, *lookback, column, |s, at| secs(s.ts[at]));
            key.drop_name = true;
            Ok((seen > 0, looked_at(seen, column)))
        }
        Source::Start { end, lookback } => {
            let (samples, has_markers) = decoded.with_markers();
            let starts = decoded.starts_with_markers();
            let tell = |_: Samples<'_>, at: usize| secs(starts.map_or(0, |starts| starts[at]));
            let seen = instant(samples, has_markers, grid, *end, *lookback, column, tell);
            key.drop_name = true;
            Ok((seen > 0, looked_at(seen, column)))
        }
        Source::Smoothed { end, lookback } => {
            let seen = extended::smooth(decoded.without_markers(), grid, *end, *lookback, column);
            Ok((seen > 0, Looked { seen: 0, read: 0, ..looked_at(seen, column) }))
        }
        Source::Info { range, lookback } => {
            let (samples, has_markers) = decoded.with_markers();
            let samples = samples.within(*range);
            let seen =
                instant(samples, has_markers, grid, WindowEnd::Before(0), *lookback, column, |s, at| ms(s.ts[at]));
            Ok((seen > 0, looked_at(seen, column)))
        }
        Source::Window(call) => {
            let starts = decoded.starts().filter(|_| env.start_timestamps && starts::concern(call.function));
            windows(call, decoded.without_markers(), starts, grid, key, column, env)
        }
    }
}

/// What an instant selector looked at.
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

/// A function of the windows of a series or of the points of a subquery.
pub(crate) fn windows(
    call: &WindowCall,
    samples: Samples<'_>,
    starts: Option<Starts<'_>>,
    grid: Grid,
    key: &mut Key,
    column: &mut Vec<f64>,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    if samples.ts.is_empty() {
        return Ok((false, Looked::default()));
    }
    column.resize(grid.count, ABSENT);
    let Buffers { windows, scratch, .. } = &mut *env.buffers;
    let wide = call.extension.map_or(call.spec, |extension| extension.widen(call.spec));
    windows.find(samples.ts, grid, wide);
    let totals = windows.totals(grid, wide);
    if totals.seen == 0 {
        return Ok((false, Looked::default()));
    }
    let numbers = [&call.numbers[0], &call.numbers[1]].map(|n| n.known().unwrap_or(Number::Const(0.0)));
    let arguments = Call { samples, windows, grid, spec: call.spec, numbers };
    env.ticker.tick(grid.count + samples.ts.len())?;
    let mut overlaps = 0;
    match (call.extension, starts) {
        (Some(extension), _) => extended::run(call.function, &arguments, extension, starts, column, env.ticker)?,
        (None, Some(starts)) => overlaps = starts::run(call.function, &arguments, starts, column, env.ticker)?,
        (None, None) => window::run(call.function, &arguments, column, scratch, env.ticker)?,
    }
    if overlaps > 0 {
        env.annotations.start_time_overlap(call.pos, metric_name(key, env.delayed), overlaps);
    }
    let out = Count::of(column, totals.fuller);
    let any = out.points > 0;
    if any {
        annotate(call, key, numbers[0], column, env);
    }
    key.drop_name |= !call.function.keeps_name();
    Ok((any, Looked { seen: totals.seen, read: totals.read, out }))
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
