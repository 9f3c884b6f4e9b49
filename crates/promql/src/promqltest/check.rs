//! Evaluates expressions of a script and compares what comes of them.

use std::sync::Arc;

use model::{FloatHistogram, Labels, TimestampMs, spans_match};
use storage::Series;

use super::script::{Eval, TextMatch, When};
use super::series::Store;
use crate::ast::{AtModifier, Call, Expr, ExprKind, VectorSelector};
use crate::engine::{
    Annotations, Feature, Limits, Options, QueryError, QueryParams, QueryResult, RangeSeries, Severity, Value,
    VectorSample, plan,
};
use crate::{SequenceValue, test_expression};

/// Relative difference that is allowed.
const EPSILON: f64 = 1e-6;

/// What came of one evaluation.
pub(super) enum Outcome {
    Passed,
    LeftOut(Feature),
    Failed(String),
}

/// Why an evaluation did not pass.
enum Problem {
    Needs(Feature),
    Wrong(String),
}

type Checked = Result<(), Problem>;

fn wrong(text: String) -> Checked {
    Err(Problem::Wrong(text))
}

/// Runs an evaluation and all its repetitions.
pub(super) fn evaluate(eval: &Eval, store: &Store) -> Outcome {
    match run(eval, store) {
        Ok(()) => Outcome::Passed,
        Err(Problem::Needs(feature)) => Outcome::LeftOut(feature),
        Err(Problem::Wrong(reason)) => Outcome::Failed(reason),
    }
}

fn run(eval: &Eval, store: &Store) -> Checked {
    let at = match eval.when {
        When::Range { start, end, step_ms } => {
            let params = QueryParams::range(start, end, model::DurationMs(step_ms));
            return check(eval, query(&eval.expr, params, store)?, start, end, step_ms).map(drop);
        }
        When::Instant(at) => at,
    };
    check_instant(eval, &eval.expr, at, store)?;
    // With `expect range vector` upstream evaluates at the end of the range that is expected.
    let pin = eval.expect.range_vector.map_or(at, |(_, end, _)| end);
    let Some(pinned) = pinned(&eval.expr, pin) else { return Ok(()) };
    let t = pin.0;
    let times = if t == 0 { vec![-1000, 0, 1000] } else { vec![-10 * t, 0, t / 5, t, 10 * t] };
    for other in times {
        check_instant(eval, &pinned, TimestampMs(other), store).map_err(|problem| match problem {
            Problem::Wrong(reason) => Problem::Wrong(format!("pinned to {t}, at {other}: {reason}")),
            needs @ Problem::Needs(_) => needs,
        })?;
    }
    Ok(())
}

/// An instant query, and the same as the middle of a range query.
fn check_instant(eval: &Eval, expr: &Expr, at: TimestampMs, store: &Store) -> Checked {
    let (start, end, step_ms) = eval.expect.range_vector.unwrap_or((at, at, 0));
    let result = query(expr, QueryParams::instant(at), store)?;
    let Some(value) = check(eval, result, start, end, step_ms)? else { return Ok(()) };
    let context = ["start()", "end()", "range()", "step()"];
    if eval.expect.range_vector.is_some()
        || eval.expect.string.is_some()
        || context.iter().any(|call| eval.text.contains(call))
    {
        return Ok(());
    }
    let minute = model::DurationMs::mins(1);
    let params = QueryParams::range(at - minute, at + minute, minute);
    let in_range = |reason: String| Problem::Wrong(format!("as a range query: {reason}"));
    let result = query(expr, params, store)?.map_err(|e| in_range(e.to_string()))?;
    let Value::Matrix(series) = result.value else { return Err(in_range("no matrix".to_owned())) };
    if eval.expect.ordered {
        return Ok(());
    }
    check_sorted(&series)?;
    let samples = series.into_iter().filter_map(|s| {
        let float = s.points.iter().find(|(t, _)| *t == at).map(|(_, v)| v);
        let histogram = s.points.histograms().find(|(t, _)| *t == at).map(|(_, h)| Arc::clone(h));
        if float.is_none() && histogram.is_none() {
            return None;
        }
        Some(VectorSample { labels: s.labels, value: float.unwrap_or(0.0), histogram })
    });
    let samples: Vec<VectorSample> = samples.collect();
    let value = match value {
        Value::Scalar { at, .. } => {
            Value::Scalar { at, value: samples.first().map_or(f64::NAN, |sample| sample.value) }
        }
        Value::Matrix(_) | Value::Vector { .. } | Value::String { .. } => Value::Vector { at, samples },
    };
    compare(eval, &value, start, end, step_ms).map_err(|problem| match problem {
        Problem::Wrong(reason) => in_range(reason),
        needs @ Problem::Needs(_) => needs,
    })
}

/// Evaluates over the store, with two workers per leaf.
fn query(expr: &Expr, mut params: QueryParams, store: &Store) -> Result<Result<QueryResult, QueryError>, Problem> {
    params.limits = Limits { samples_max: 10_000, ..Limits::default() };
    params.options = Options { delayed_name_removal: true, start_timestamps: true, ..Options::default() };
    let result = query_of(expr, params, store)?;
    match result {
        Err(QueryError::Unsupported(feature)) => Err(Problem::Needs(feature)),
        other => Ok(other),
    }
}

fn query_of(expr: &Expr, params: QueryParams, store: &Store) -> Result<Result<QueryResult, QueryError>, Problem> {
    let planned = match plan(expr, params) {
        Ok(planned) => planned,
        Err(e) => return Ok(Err(e)),
    };
    let mut workers = Vec::new();
    for (at, leaf) in planned.leaves().iter().enumerate() {
        if let Some(feature) = store.missing_for(leaf) {
            return Err(Problem::Needs(feature));
        }
        let series = store.select(leaf);
        let (even, odd): (Vec<(usize, Series)>, Vec<(usize, Series)>) =
            series.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
        for part in [even, odd] {
            let part: Vec<Series> = part.into_iter().map(|(_, series)| series).collect();
            let mut worker = planned.worker(at);
            if let Err(e) = worker.push(&part) {
                return Ok(Err(e));
            }
            workers.push(worker);
        }
    }
    Ok(planned.finish(workers))
}

/// `expr` with all selectors and subqueries pinned to `at`; `None` where something in it depends on the time of evaluation.
fn pinned(expr: &Expr, at: TimestampMs) -> Option<Expr> {
    let mut expr = expr.clone();
    pin(&mut expr, AtModifier::Timestamp(at.0)).then_some(expr)
}

fn pin(expr: &mut Expr, at: AtModifier) -> bool {
    let pin_at = |slot: &mut Option<AtModifier>| {
        if !matches!(slot, Some(AtModifier::Timestamp(_))) {
            *slot = Some(at);
        }
    };
    let pin_selector = |selector: &mut VectorSelector| pin_at(&mut selector.at);
    match &mut expr.kind {
        ExprKind::Vector(selector) => pin_selector(selector),
        ExprKind::Matrix(matrix) => pin_selector(&mut matrix.selector),
        ExprKind::Subquery(subquery) => pin_at(&mut subquery.at),
        ExprKind::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| pin(param, at));
            return pin(&mut aggregate.expr, at) && param;
        }
        ExprKind::Binary(binary) => {
            let lhs = pin(&mut binary.lhs, at);
            return pin(&mut binary.rhs, at) && lhs;
        }
        ExprKind::Call(call) => {
            let dependent = call.args.iter_mut().filter_map(|arg| (!pin(arg, at)).then_some(())).count();
            return dependent == 0 && !depends_on_time(call);
        }
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => return pin(inner, at),
        ExprKind::Number(_) | ExprKind::String(_) => {}
    }
    true
}

/// Source: `AtModifierUnsafeFunctions` of Prometheus.
fn depends_on_time(call: &Call) -> bool {
    matches!(
        call.function,
        "days_in_month"
            | "day_of_month"
            | "day_of_week"
            | "day_of_year"
            | "end"
            | "hour"
            | "minute"
            | "month"
            | "year"
            | "predict_linear"
            | "range"
            | "start"
            | "step"
            | "time"
            | "timestamp"
    )
}

/// Compares a result with all that is expected; gives the value where it was to be one.
fn check(
    eval: &Eval,
    result: Result<QueryResult, QueryError>,
    start: TimestampMs,
    end: TimestampMs,
    step_ms: i64,
) -> Result<Option<Value>, Problem> {
    let result = match (result, &eval.expect.fail) {
        (Err(e), Some(expected)) if expected.matches(&e.to_string()) => return Ok(None),
        (Err(e), Some(expected)) => return Err(Problem::Wrong(format!("error {e}, expected {expected}"))),
        (Err(e), None) => return Err(Problem::Wrong(format!("error {e}"))),
        (Ok(_), Some(expected)) => return Err(Problem::Wrong(format!("no error, expected {expected}"))),
        (Ok(result), None) => result,
    };
    check_annotations(eval, &result.annotations)?;
    compare(eval, &result.value, start, end, step_ms)?;
    Ok(Some(result.value))
}

fn check_annotations(eval: &Eval, annotations: &Annotations) -> Checked {
    let expect = &eval.expect;
    for (severity, expected, none) in
        [(Severity::Warning, &expect.warn, expect.no_warn), (Severity::Info, &expect.info, expect.no_info)]
    {
        let found: Vec<&str> = annotations.of(severity).iter().map(|a| a.text.as_str()).collect();
        if none && !found.is_empty() {
            return wrong(format!("unexpected annotations {found:?}"));
        }
        if expected.is_empty() {
            continue;
        }
        if let Some(absent) = expected.iter().find(|e: &&TextMatch| !found.iter().any(|text| e.matches(text))) {
            return wrong(format!("no annotation {absent}, found {found:?}"));
        }
        if let Some(other) = found.iter().find(|text| !expected.iter().any(|e| e.matches(text))) {
            return wrong(format!("unexpected annotation {other:?}"));
        }
    }
    Ok(())
}

/// Compares a value with the rows that are expected.
fn compare(eval: &Eval, value: &Value, start: TimestampMs, end: TimestampMs, step_ms: i64) -> Checked {
    let expect = &eval.expect;
    match value {
        Value::String { text, .. } => match &expect.string {
            Some(expected) if expected == text => Ok(()),
            expected => wrong(format!("string {text:?}, expected {expected:?}")),
        },
        Value::Scalar { value, .. } => match expect.scalar {
            Some(expected) if almost_equal(*value, expected) => Ok(()),
            expected => wrong(format!("scalar {value}, expected {expected:?}")),
        },
        Value::Vector { .. } | Value::Matrix(_) if expect.scalar.is_some() => wrong("no scalar".to_owned()),
        Value::Vector { samples, .. } => compare_vector(eval, samples),
        Value::Matrix(_) if expect.ordered => wrong("a matrix where order is expected".to_owned()),
        Value::Matrix(series) => compare_matrix(eval, series, start, end, step_ms),
    }
}

fn compare_vector(eval: &Eval, samples: &[VectorSample]) -> Checked {
    for (at, sample) in samples.iter().enumerate() {
        let Some((position, row)) = eval.expect.row(&sample.labels) else {
            return wrong(format!("unexpected {} {}", sample.labels, text(sample.value, sample.histogram.as_deref())));
        };
        if eval.expect.ordered && *position != at + 1 {
            return wrong(format!("{} at {}, expected at {position}", sample.labels, at + 1));
        }
        let (expected, hint_set) = match row.values.first() {
            Some(SequenceValue::Float(v)) => (Err(*v), false),
            Some(SequenceValue::Histogram { histogram, hint_set }) => (Ok(histogram), *hint_set),
            // Upstream compares with the zero value of what was omitted.
            Some(SequenceValue::Omitted) | None => (Err(0.0), false),
        };
        let same = match (&sample.histogram, expected) {
            (None, Err(expected)) => almost_equal(sample.value, expected),
            (Some(h), Ok(expected)) => same_histogram(h, expected, hint_set),
            (_, _) => false,
        };
        if !same {
            let found = text(sample.value, sample.histogram.as_deref());
            let expected = text(expected.err().unwrap_or(0.0), expected.ok().map(Arc::as_ref));
            return wrong(format!("{} is {found}, expected {expected}", sample.labels));
        }
    }
    let found = |labels: &Labels| samples.iter().any(|sample| sample.labels == *labels);
    match eval.expect.rows.iter().find(|(_, row)| !found(&row.labels)) {
        Some((_, row)) => wrong(format!("{} not found", row.labels)),
        None => Ok(()),
    }
}

fn compare_matrix(eval: &Eval, series: &[RangeSeries], start: TimestampMs, end: TimestampMs, step_ms: i64) -> Checked {
    check_sorted(series)?;
    for s in series {
        let Some((_, row)) = eval.expect.row(&s.labels) else {
            return wrong(format!("unexpected {} {:?}", s.labels, s.points.iter().collect::<Vec<_>>()));
        };
        let steps = (0i64..).map(|i| TimestampMs(start.0 + i * step_ms));
        let (mut expected, mut expected_histograms) = (Vec::new(), Vec::new());
        for (t, value) in steps.zip(&row.values) {
            if t > end {
                return wrong(format!("more values are expected of {} than fit the range", s.labels));
            }
            match value {
                SequenceValue::Omitted => {}
                SequenceValue::Float(v) => expected.push((t, *v)),
                SequenceValue::Histogram { histogram, hint_set } => {
                    expected_histograms.push((t, histogram, *hint_set));
                }
            }
        }
        let found: Vec<(TimestampMs, f64)> = s.points.iter().collect();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|((t, v), (at, e))| t == at && almost_equal(*v, *e));
        if !same {
            return wrong(format!("{} is {found:?}, expected {expected:?}", s.labels));
        }
        let found: Vec<_> = s.points.histograms().collect();
        let same = found.len() == expected_histograms.len()
            && found
                .iter()
                .zip(&expected_histograms)
                .all(|((t, h), (at, e, hint_set))| t == at && same_histogram(h, e, *hint_set));
        if !same {
            let found: Vec<_> = found.iter().map(|(t, h)| (t.0, test_expression(h))).collect();
            let expected: Vec<_> = expected_histograms.iter().map(|(t, h, _)| (t.0, test_expression(h))).collect();
            return wrong(format!("{} is {found:?}, expected {expected:?}", s.labels));
        }
    }
    let found = |labels: &Labels| series.iter().any(|s| s.labels == *labels);
    match eval.expect.rows.iter().find(|(_, row)| !found(&row.labels)) {
        Some((_, row)) => wrong(format!("{} not found", row.labels)),
        None => Ok(()),
    }
}

fn check_sorted(series: &[RangeSeries]) -> Checked {
    if series.is_sorted_by(|a, b| a.labels <= b.labels) { Ok(()) } else { wrong("not ordered by labels".to_owned()) }
}

fn almost_equal(a: f64, b: f64) -> bool {
    crate::engine::almost_equal(a, b, EPSILON)
}

/// A value in words.
fn text(float: f64, histogram: Option<&FloatHistogram>) -> String {
    histogram.map_or_else(|| float.to_string(), test_expression)
}

/// Whether two histograms are almost the same once they are compact; the hint counts where it was written.
fn same_histogram(found: &FloatHistogram, expected: &FloatHistogram, hint_set: bool) -> bool {
    let (mut found, mut expected) = (found.clone(), expected.clone());
    found.compact(0);
    expected.compact(0);
    let all_equal = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b));
    found.schema == expected.schema
        && almost_equal(found.count, expected.count)
        && almost_equal(found.sum, expected.sum)
        && (!expected.is_custom() || found.custom_values == expected.custom_values)
        && found.zero_threshold == expected.zero_threshold
        && almost_equal(found.zero_count, expected.zero_count)
        && spans_match(&found.negative_spans, &expected.negative_spans)
        && all_equal(&found.negative_buckets, &expected.negative_buckets)
        && spans_match(&found.positive_spans, &expected.positive_spans)
        && all_equal(&found.positive_buckets, &expected.positive_buckets)
        && (!hint_set || found.counter_reset_hint == expected.counter_reset_hint)
}
