//! `series`, `labels`, `label/<name>/values`.

use std::collections::BTreeSet;

use futures::StreamExt;
use model::{Labels, Matcher, TenantId, TimeRange};
use promql::numbers::ApiTime;
use storage::{LabelQuery, SelectRequest, Shard};

use super::Api;
use super::answer::{Answer, ApiResult};
use super::error::ApiError;
use super::form::{Form, Plus, unescape};
use super::json::{put_labels, put_list, put_texts};
use super::params;
use super::query::TRUNCATED;

/// `series`
pub(crate) async fn series(api: &Api, form: &Form) -> ApiResult {
    if let Some(problem) = form.problem() {
        return Err(ApiError::bad_data(format!("error parsing form values: {problem}")));
    }
    if form.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params::limit(form)?;
    let (start, end) = params::start_and_end(form)?;
    let sets = params::matcher_sets(form).map_err(|problem| ApiError::parameter("match[]", problem))?;
    let mut found: Vec<Labels> = Vec::new();
    let mut missing = BTreeSet::new();
    let range = params::range(start, end);
    // One more than asked for tells that there are more. With several sets one series may come more than once.
    let wanted = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    if range.mint < range.maxt {
        for matchers in sets {
            missing.extend(select(api, matchers, range, wanted, &mut found).await?);
        }
    }
    let sort = move || {
        found.sort_unstable();
        found.dedup();
        let truncated = limit.is_some_and(|limit| found.len() > limit);
        found.truncate(limit.unwrap_or(usize::MAX));
        let mut warnings: Vec<String> = missing.into_iter().collect();
        warnings.extend(truncated.then(|| TRUNCATED.to_owned()));
        Answer::with_warnings(warnings, |out| put_list(out, b"[]", &found, put_labels))
    };
    api.compute(sort).await
}

/// Adds the labels of at most `wanted` series. Returns what is missing.
async fn select(
    api: &Api,
    matchers: Vec<Matcher>,
    range: TimeRange,
    wanted: usize,
    found: &mut Vec<Labels>,
) -> Result<Vec<String>, ApiError> {
    let mut batches = api.evaluator.store().select(SelectRequest {
        tenant: TenantId::anonymous(),
        range,
        matchers,
        shard: Shard::ALL,
        with_chunks: false,
        series_max: api.evaluator.limits().series_max,
    });
    let mut left = wanted;
    while left > 0 {
        let Some(batch) = batches.next().await else { break };
        let before = found.len();
        found.extend(batch?.into_iter().take(left).map(|series| series.labels));
        left -= found.len() - before;
    }
    Ok(batches.missing())
}

/// `labels`
pub(crate) async fn names(api: &Api, form: &Form) -> ApiResult {
    let limit = params::limit(form)?;
    let query = label_query(form)?;
    let found = api.evaluator.store().label_names(query).await?;
    texts(api, found.values, found.warnings, limit).await
}

/// `label/<name>/values`
pub(crate) async fn values(api: &Api, form: &Form) -> ApiResult {
    // `/api/v1/label/<name>/values`
    let written = form.path().split('/').nth(4).unwrap_or("");
    let decoded = unescape(written.as_bytes(), Plus::IsPlus).unwrap_or_else(|_| written.as_bytes().to_vec());
    let refused = |name: &[u8]| ApiError::bad_data(format!("invalid label name: {}", promql::quoted(name)));
    let Ok(name) = std::str::from_utf8(&decoded) else { return Err(refused(&decoded)) };
    let name = params::unescape_label_name(name);
    if name.is_empty() {
        return Err(refused(b""));
    }
    let limit = params::limit(form)?;
    let query = label_query(form)?;
    let found = api.evaluator.store().label_values(&name, query).await?;
    texts(api, found.values, found.warnings, limit).await
}

fn label_query(form: &Form) -> Result<LabelQuery, ApiError> {
    let (start, end) = params::start_and_end(form)?;
    let matcher_sets = params::matcher_sets(form).map_err(ApiError::bad_data)?;
    Ok(LabelQuery { tenant: TenantId::anonymous(), range: touching(start, end), matcher_sets })
}

/// Prometheus asks here only whether two ranges touch, so one that ends before it starts counts as if it were the other way
/// round.
fn touching(start: ApiTime, end: ApiTime) -> TimeRange {
    if end.millis() < start.millis() { params::range(end, start) } else { params::range(start, end) }
}

async fn texts(api: &Api, mut values: Vec<String>, mut warnings: Vec<String>, limit: Option<usize>) -> ApiResult {
    if let Some(limit) = limit.filter(|limit| values.len() > *limit) {
        values.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let write = move || Answer::with_warnings(warnings, |out| put_texts(out, &values));
    api.compute(write).await
}
