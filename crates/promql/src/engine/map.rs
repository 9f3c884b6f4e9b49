//! Operations on one row at a time.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, LabelsBuilder, METRIC_NAME};

use super::column::{ABSENT, Grid, any_present, is_absent, secs};
use super::elements;
use super::error::QueryError;
use super::hists::{Hists, View};
use super::math::{self, binary_columns};
use super::node::{LabelJoin, LabelReplace, MapOp, Scalar};
use super::row::Key;
use super::source::{self, Env, Input, Looked, Out};
use super::window::{HistSamples, Number, Samples};

/// A row at hand.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) key: Key,
    pub(crate) column: Vec<f64>,
    pub(crate) hists: Hists,
    /// The column of the next operation.
    pub(crate) other: Vec<f64>,
}

impl Work {
    pub(crate) fn new(key: Key) -> Work {
        Work { key, column: Vec::new(), hists: Hists::default(), other: Vec::new() }
    }

    /// The values at hand.
    pub(crate) fn view(&self) -> View<'_> {
        View { values: &self.column, hists: &self.hists }
    }
}

/// A point of a subquery. What is known of a counter reset holds since the sample before, which may be no point.
fn unhinted(h: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    let mut h = Arc::clone(h);
    if matches!(h.counter_reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
        Arc::make_mut(&mut h).counter_reset_hint = CounterResetHint::Unknown;
    }
    h
}

/// Multiplies copies of histograms.
fn scaled(factor: f64) -> impl Fn(usize, &Arc<FloatHistogram>) -> Option<Arc<FloatHistogram>> {
    move |_, h| {
        let mut h = FloatHistogram::clone(h);
        h.mul(factor);
        Some(Arc::new(h))
    }
}

/// Applies `op` to the row, whose steps are `from`; false where nothing is left of it. Only operations that are ready may come.
pub(crate) fn apply(
    op: &MapOp,
    from: Grid,
    to: Grid,
    work: &mut Work,
    env: &mut Env<'_>,
) -> Result<(bool, Looked), QueryError> {
    let column = &mut work.column;
    let mut looked = Looked::default();
    let mut left = true;
    match op {
        MapOp::Negate => {
            math::map(column, |v| -v);
            work.hists.replace(scaled(-1.0));
            work.key.drop_name = true;
        }
        MapOp::Math(function) => {
            function.apply(column);
            work.hists.clear();
            work.key.drop_name = true;
        }
        MapOp::Round(to_nearest) => {
            let inverse = numbers(to_nearest);
            each(column, |i, v| math::round(v, 1.0 / inverse.at(i)));
            work.hists.clear();
            work.key.drop_name = true;
        }
        MapOp::Clamp { min, max } => {
            let (min, max) = (numbers(min), numbers(max));
            each(column, |i, v| {
                let (min, max) = (min.at(i), max.at(i));
                if max < min { ABSENT } else { math::go_max(min, math::go_min(max, v)) }
            });
            work.hists.clear();
            work.key.drop_name = true;
            left = any_present(column);
        }
        MapOp::Scalar { op, keep, scalar, scalar_first, pos } => {
            if math::is_trim(*op) && any_present(column) {
                env.annotations.incompatible_types(*pos, "float", op.as_str(), "float");
            }
            scalar_operator(*op, *keep, numbers(scalar), *scalar_first, column, &mut work.other);
            if !work.hists.is_empty() {
                let operator = elements::ScalarOperator { op: *op, scalar_first: *scalar_first, pos: *pos };
                operator.apply(numbers(scalar), &mut work.hists, env.annotations);
            }
            work.key.drop_name |= math::is_arithmetic(*op) || *keep == math::Keep::Bool;
            left = math::is_arithmetic(*op) || work.view().any();
        }
        MapOp::Time(function) => {
            math::map(column, |v| function.apply(v));
            work.hists.clear();
            work.key.drop_name = true;
        }
        MapOp::StepTime => {
            each(column, |i, _| secs(to.at(i)));
            work.hists.iter().for_each(|(i, _)| column[i] = secs(to.at(i)));
            work.hists.clear();
            work.key.drop_name = true;
        }
        MapOp::LabelReplace(arguments) => label_replace(arguments, &mut work.key, env.delayed),
        MapOp::LabelJoin(arguments) => label_join(arguments, &mut work.key, env.delayed),
        MapOp::Subquery { call, repeat, .. } => {
            let (mut ts, mut values) = (std::mem::take(&mut env.buffers.ts), std::mem::take(&mut env.buffers.values));
            ts.clear();
            values.clear();
            for (i, v) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                ts.push(from.at(i));
                values.push(*v);
            }
            let (hist_ts, hists): (Vec<i64>, Vec<_>) =
                work.hists.iter().map(|(i, h)| (from.at(i), unhinted(h))).unzip();
            let hists = HistSamples { ts: &hist_ts, hists: &hists };
            let input = Input { floats: Samples { ts: &ts, values: &values }, hists };
            let out = Out { column: &mut work.other, hists: &mut work.hists };
            let result = source::windows(call, input, None, to, &mut work.key, out, env);
            (env.buffers.ts, env.buffers.values) = (ts, values);
            (left, looked) = result?;
            looked = Looked { seen: looked.seen * repeat, read: 0, ..looked };
            std::mem::swap(&mut work.column, &mut work.other);
        }
        MapOp::Repeat(n) => {
            let v = column.first().copied().unwrap_or(ABSENT);
            column.resize(*n, v);
            if let Some(h) = work.hists.get(0).cloned() {
                // What is no longer there is not looked at.
                column.fill(ABSENT);
                work.hists.clear();
                (0..*n).for_each(|i| work.hists.set(i, *n, Arc::clone(&h)));
            }
        }
        MapOp::LimitRatio(ratio) => {
            if !env.delayed {
                work.key.settle();
            }
            let at = offset_of(&work.key);
            let ratio = numbers(ratio);
            each(column, |i, v| if is_sampled(ratio.at(i), at) { v } else { ABSENT });
            work.hists.retain(|i| is_sampled(ratio.at(i), at));
            left = work.view().any();
        }
        MapOp::HistogramStat(stat) => {
            column.fill(ABSENT);
            work.hists.iter().for_each(|(i, h)| column[i] = stat.of(h));
            left = !work.hists.is_empty();
            work.hists.clear();
            work.key.drop_name = true;
        }
        MapOp::Nothing => left = false,
        MapOp::FloatsOnly => {
            work.hists.clear();
            left = any_present(column);
        }
    }
    env.ticker.tick(to.count)?;
    Ok((left, looked))
}

/// The numbers of an operation that is ready.
fn numbers(scalar: &Scalar) -> Number<'_> {
    debug_assert!(!scalar.is_late(), "operations run when their numbers are known");
    scalar.known().unwrap_or(Number::Const(f64::NAN))
}

fn each(column: &mut [f64], f: impl Fn(usize, f64) -> f64) {
    for (i, v) in column.iter_mut().enumerate() {
        *v = if is_absent(*v) { ABSENT } else { f(i, *v) };
    }
}

/// An operator between the values and a number per step.
fn scalar_operator(
    op: crate::ast::BinaryOp,
    keep: math::Keep,
    scalar: Number<'_>,
    scalar_first: bool,
    column: &mut Vec<f64>,
    other: &mut Vec<f64>,
) {
    let constant;
    let scalars: &[f64] = match scalar {
        Number::Column(numbers) => numbers,
        Number::Const(v) => {
            constant = vec![v; column.len()];
            &constant
        }
    };
    other.clear();
    other.resize(column.len(), ABSENT);
    let (a, b): (&[f64], &[f64]) = if scalar_first { (scalars, column) } else { (column, scalars) };
    binary_columns(op, keep, a, b, other);
    std::mem::swap(column, other);
}

fn label_replace(arguments: &LabelReplace, key: &mut Key, delayed: bool) {
    if !delayed {
        key.settle();
    }
    let src = key.labels.get(&arguments.src).unwrap_or("");
    let mut value = String::new();
    if arguments.regexp.expand(src, &arguments.replacement, &mut value) {
        set_label(key, &arguments.dst, &value);
    }
}

fn label_join(arguments: &LabelJoin, key: &mut Key, delayed: bool) {
    if !delayed {
        key.settle();
    }
    let values: Vec<&str> = arguments.srcs.iter().map(|src| key.labels.get(src).unwrap_or("")).collect();
    let value = values.join(&arguments.separator);
    set_label(key, &arguments.dst, &value);
}

fn set_label(key: &mut Key, name: &str, value: &str) {
    let mut builder = LabelsBuilder::from_labels(&key.labels);
    builder.set(name, value);
    key.relabel(builder.build());
    if name == METRIC_NAME {
        key.drop_name = false;
    }
}

/// Where in [0, 1] the labels lie, for `limit_ratio`: the hash that Prometheus takes of labels as its usual build holds them
/// (for each text a byte of length, or 255 and three bytes, and the text). Source: `model/labels/labels_stringlabels.go`.
#[expect(clippy::cast_precision_loss, reason = "Prometheus divides floats too")]
fn offset_of(key: &Key) -> f64 {
    let mut bytes = Vec::with_capacity(key.labels.as_packed().len() + 16);
    for text in key.labels.iter().flat_map(|l| [l.name, l.value]) {
        let n = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
        if text.len() < 255 {
            bytes.push(n[0]);
        } else {
            bytes.extend_from_slice(&[255, n[0], n[1], n[2]]);
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// Whether `limit_ratio` keeps a row.
pub(crate) fn is_in_ratio(ratio: f64, key: &Key) -> bool {
    is_sampled(ratio, offset_of(key))
}

fn is_sampled(ratio: f64, offset: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    (ratio > 0.0 && offset < ratio) || (ratio < 0.0 && offset >= 1.0 + ratio)
}
