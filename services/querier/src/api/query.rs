//! `query`, `query_range`, `query_exemplars`, `format_query`, `parse_query`.

use std::time::Duration;

use model::{DurationMs, Matcher, TenantId, TimestampMs};
use promql::ast::{Expr, ExprKind};
use promql::engine::{QueryParams, QueryStats, Severity, StepStats, Value};
use promql::numbers::ApiTime;
use promql::tree_json;

use super::Api;
use super::answer::{Answer, ApiResult, put_envelope_end};
use super::error::ApiError;
use super::form::Form;
use super::json::{put_labels, put_list, put_number, put_text, put_timestamp, put_tree, put_uint, put_value};
use super::params;
use super::result::ResultJson;
use crate::{Evaluated, ExemplarSeries, Timings};

/// Points per series of a range query.
const POINTS_MAX: i64 = 11_000;

/// Warnings, and infos, of one answer.
const ANNOTATIONS_MAX: usize = 10;

pub(crate) const TRUNCATED: &str = "results truncated due to limit";

fn parse_query(api: &Api, form: &Form) -> Result<Expr, ApiError> {
    promql::parse_expr(form.get("query"), &api.options.parse).map_err(|e| ApiError::parameter("query", e))
}

/// `query`
pub(crate) async fn instant(api: &Api, form: &Form) -> ApiResult {
    let limit = params::limit(form)?;
    let at = params::optional_time(form, "time")?.map_or_else(server::clock::now, |t| TimestampMs(t.millis()));
    let timeout = params::timeout(form, api.options.query_timeout)?;
    evaluate(api, form, QueryParams::instant(at), limit, timeout).await
}

/// `query_range`
pub(crate) async fn range(api: &Api, form: &Form) -> ApiResult {
    let limit = params::limit(form)?;
    let start = params::time(form, "start")?;
    let end = params::time(form, "end")?;
    if end.order() < start.order() {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ns = params::duration_ns(form, "step")?;
    if step_ns <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", text));
    }
    if nanos_between(start, end) / step_ns > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let timeout = params::timeout(form, api.options.query_timeout)?;
    // Times are whole milliseconds; a shorter step would never move on.
    let step = DurationMs((step_ns / 1_000_000).max(1));
    let params = QueryParams::range(TimestampMs(start.millis()), TimestampMs(end.millis()), step);
    evaluate(api, form, params, limit, timeout).await
}

/// Nanoseconds from `start` to `end`, at most what 64 bits hold.
fn nanos_between(start: ApiTime, end: ApiTime) -> i64 {
    let [end, start] = [end.order(), start.order()].map(|(s, nanos)| i128::from(s) * 1_000_000_000 + i128::from(nanos));
    i64::try_from(end - start).unwrap_or(i64::MAX)
}

async fn evaluate(api: &Api, form: &Form, query: QueryParams, limit: Option<usize>, timeout: Duration) -> ApiResult {
    let params = QueryParams {
        lookback: params::lookback(form)?.unwrap_or(api.options.lookback),
        subquery_step: (api.options.subquery_step)(),
        limits: api.options.query_limits,
        options: api.options.engine,
        counts_steps: api.options.engine.per_step_stats && form.get("stats") == b"all",
        text: String::from_utf8_lossy(form.get("query")).into(),
        ..query
    };
    let times = (params.start.0, params.step.0);
    let expr = parse_query(api, form)?;
    let Evaluated { mut result, timings, missing } =
        api.evaluator.evaluate(&TenantId::anonymous(), &expr, params, timeout).await?;

    // What is missing comes first: it must not be cut off by the bound on annotations.
    let mut warnings = missing;
    if limit.is_some_and(|limit| truncate(&mut result.value, limit)) {
        warnings.push(TRUNCATED.to_owned());
    }
    let wanted = String::from_utf8_lossy(form.get("stats"));
    warnings.extend(stats_warning(&wanted));
    let text = String::from_utf8_lossy(form.get("query"));
    let room = ANNOTATIONS_MAX.saturating_sub(warnings.len());
    warnings.extend(result.annotations.render(Severity::Warning, &text, room));
    let infos = result.annotations.render(Severity::Info, &text, ANNOTATIONS_MAX);

    let mut tail = Vec::new();
    if !wanted.is_empty() {
        put_stats(&mut tail, &timings, &result.stats, result.steps.as_ref().map(|steps| (steps, times)));
    }
    tail.push(b'}');
    put_envelope_end(&mut tail, &warnings, &infos);
    Ok(Answer::Result(Box::new(ResultJson::new(result.value, tail))))
}

/// Keeps `limit` elements. Scalars and texts have no elements.
fn truncate(value: &mut Value, limit: usize) -> bool {
    let len = match value {
        Value::Matrix(series) => {
            let len = series.len();
            series.truncate(limit);
            len
        }
        Value::Vector { samples, .. } => {
            let len = samples.len();
            samples.truncate(limit);
            len
        }
        Value::Scalar { .. } | Value::String { .. } => 0,
    };
    len > limit
}

fn stats_warning(wanted: &str) -> Option<String> {
    let known = matches!(wanted, "" | "true" | "all");
    let value = promql::quoted(wanted.as_bytes());
    (!known).then(|| {
        format!(
            "value {value} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \
             \"true\" or \"all\""
        )
    })
}

/// `steps` comes with the first instant and the distance of instants in milliseconds.
fn put_stats(out: &mut Vec<u8>, timings: &Timings, stats: &QueryStats, steps: Option<(&StepStats, (i64, i64))>) {
    let Timings { queue, preparation, evaluation } = *timings;
    let times = [
        ("evalTotalTime", preparation + evaluation),
        // Results come in order.
        ("resultSortTime", Duration::ZERO),
        ("queryPreparationTime", preparation),
        ("innerEvalTime", evaluation),
        ("execQueueTime", queue),
        ("execTotalTime", queue + preparation + evaluation),
    ];
    out.extend_from_slice(b",\"stats\":{\"timings\":");
    put_list(out, b"{}", times, |out, (name, time)| {
        put_text(out, name);
        out.push(b':');
        put_number(out, time.as_secs_f64());
    });
    out.extend_from_slice(b",\"samples\":");
    out.push(b'{');
    if let Some((steps, times)) = steps {
        put_step_counts(out, "totalQueryableSamplesPerStep", &steps.total, times);
    }
    put_count(out, "totalQueryableSamples", stats.total_queryable_samples);
    out.push(b',');
    if let Some((steps, times)) = steps {
        put_step_counts(out, "samplesReadPerStep", &steps.read, times);
    }
    put_count(out, "samplesRead", stats.samples_read);
    out.push(b',');
    put_count(out, "peakSamples", stats.peak_samples);
    out.extend_from_slice(b"}}");
}

fn put_count(out: &mut Vec<u8>, name: &str, count: u64) {
    put_text(out, name);
    out.push(b':');
    put_uint(out, count);
}

/// Counts with their times, and a comma.
#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
fn put_step_counts(out: &mut Vec<u8>, name: &str, counts: &[u64], (start, step): (i64, i64)) {
    put_text(out, name);
    out.push(b':');
    put_list(out, b"[]", (0i64..).zip(counts), |out, (i, count)| {
        out.push(b'[');
        put_number(out, start.saturating_add(step.saturating_mul(i)) as f64 / 1000.0);
        out.push(b',');
        put_uint(out, *count);
        out.push(b']');
    });
    out.push(b',');
}

/// `format_query`
pub(crate) fn format(api: &Api, form: &Form) -> ApiResult {
    let expr = parse_query(api, form)?;
    Ok(Answer::data(|out| put_text(out, &promql::pretty(&expr))))
}

/// `parse_query`
pub(crate) fn parse(api: &Api, form: &Form) -> ApiResult {
    let expr = parse_query(api, form)?;
    let tree = tree_json(&expr).map_err(ApiError::internal)?;
    Ok(Answer::data(|out| put_tree(out, &tree)))
}

/// `query_exemplars`
pub(crate) async fn exemplars(api: &Api, form: &Form) -> ApiResult {
    let (start, end) = params::start_and_end(form)?;
    if end.order() < start.order() {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = promql::parse_expr(form.get("query"), &api.options.parse).map_err(ApiError::bad_data)?;
    let mut matcher_sets = Vec::new();
    selectors(&expr, &mut matcher_sets);
    if matcher_sets.is_empty() {
        return Ok(Answer::Nothing);
    }
    let Some(source) = &api.sources.exemplars else { return Err(ApiError::missing("exemplars in this role")) };
    let found = source.exemplars(&TenantId::anonymous(), params::range(start, end), matcher_sets).await?;
    Ok(Answer::data(|out| put_list(out, b"[]", &found, put_exemplars)))
}

fn put_exemplars(out: &mut Vec<u8>, series: &ExemplarSeries) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    put_labels(out, &series.labels);
    out.extend_from_slice(b",\"exemplars\":");
    put_list(out, b"[]", &series.exemplars, |out, exemplar| {
        out.extend_from_slice(b"{\"labels\":");
        put_labels(out, &exemplar.labels);
        out.extend_from_slice(b",\"value\":");
        put_value(out, exemplar.value);
        out.extend_from_slice(b",\"timestamp\":");
        put_timestamp(out, exemplar.timestamp.unwrap_or_default());
        out.push(b'}');
    });
    out.push(b'}');
}

/// The conditions of every selector in `expr`.
fn selectors(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        ExprKind::Aggregate(a) => {
            selectors(&a.expr, found);
            if let Some(param) = &a.param {
                selectors(param, found);
            }
        }
        ExprKind::Binary(b) => {
            selectors(&b.lhs, found);
            selectors(&b.rhs, found);
        }
        ExprKind::Call(c) => c.args.iter().for_each(|arg| selectors(arg, found)),
        ExprKind::Matrix(m) => found.push(m.selector.matchers.clone()),
        ExprKind::Vector(v) => found.push(v.matchers.clone()),
        ExprKind::Subquery(s) => selectors(&s.expr, found),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => selectors(inner, found),
        ExprKind::Number(_) | ExprKind::String(_) => {}
    }
}
