//! `/federate`: the newest sample of each series that is asked for, as a page that another Prometheus scrapes.
//!
//! Pages are of the text format; native histograms have no place in it and are left out, as in Prometheus.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use exposition::{Encoder, Escaping, Family, Offer, Page, Value, escape_name, negotiate};
use futures::StreamExt;
use model::{
    Labels, METRIC_NAME, MatchOp, Matcher, MetricType, TenantId, TimeRange, TimestampMs, is_legacy_metric_name,
};
use server::clock;
use storage::{Chunk, ChunkEncoding, SelectRequest, Series, Shard};

use super::answer::{self, Encoding};
use super::error::ApiError;
use super::form::Form;
use super::{Api, method_not_allowed};

/// The label that names a target: where it is absent it is said to be empty, so that the scraping side sets none.
const INSTANCE: &str = "instance";

struct Newest {
    name: String,
    labels: Labels,
    at: TimestampMs,
    value: f64,
}

pub(crate) fn routes(api: &Arc<Api>) -> Router {
    let api = api.clone();
    let federate = move |request: Request| async move {
        match *request.method() {
            Method::GET => match api.not_ready() {
                Some(response) => response,
                None => federate(&api, &request.into_parts().0).await,
            },
            Method::OPTIONS => api.options_answer(&[Method::GET], &request),
            _ => method_not_allowed(&[Method::GET]),
        }
    };
    Router::new().route("/federate", any(federate))
}

async fn federate(api: &Api, request: &Parts) -> Response {
    let form = Form::parse(request.uri.path(), request.uri.query().unwrap_or(""), None);
    let accept = request.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let encoding = Encoding::of_request(&request.headers);
    let page = match selectors(&form) {
        Ok(sets) => tokio::time::timeout(api.options.query_timeout, page(api, sets, accept, encoding)).await,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    match page {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.text),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "federation timed out"),
    }
}

fn refused(status: StatusCode, problem: &str) -> Response {
    let mut response = answer::error_text(status, format!("{problem}\n"));
    answer::vary_by_encoding(response.headers_mut());
    response
}

/// Other than elsewhere, a selector may match everything.
fn selectors(form: &Form) -> Result<Vec<Vec<Matcher>>, String> {
    if let Some(problem) = form.problem() {
        return Err(format!("error parsing form values: {problem}"));
    }
    let sets: Result<Vec<_>, _> = form.all("match[]").map(promql::parse_selector).collect();
    let mut sets = sets.map_err(|e| e.to_string())?;
    for set in &mut sets {
        // Series without a name are not federated; storage wants one condition that is not empty.
        set.push(Matcher::new(METRIC_NAME, MatchOp::NotEqual, "").expect("no pattern"));
    }
    Ok(sets)
}

async fn page(api: &Api, sets: Vec<Vec<Matcher>>, accept: &str, encoding: Encoding) -> Result<Response, ApiError> {
    let now = clock::now();
    let mut newest = Vec::new();
    for set in sets {
        select(api, set, now, &mut newest).await?;
    }
    let (page, escaping) = negotiate(accept, Offer::Text, Escaping::Underscores);
    let external = api.sources.status.external_labels();
    let write = move || {
        let text = write_page(newest, &external, escaping, page);
        answer::compress(text, encoding)
    };
    let text = api.compute(write).await?.map_err(ApiError::internal)?;
    Ok(answer::page(page.content_type(escaping), encoding, text))
}

async fn select(api: &Api, matchers: Vec<Matcher>, now: TimestampMs, newest: &mut Vec<Newest>) -> Result<(), ApiError> {
    let range = TimeRange::new(TimestampMs(now.0 - api.options.lookback.0), TimestampMs(now.0 + 1));
    let mut batches = api.evaluator.store().select(SelectRequest {
        tenant: TenantId::anonymous(),
        range,
        matchers,
        shard: Shard::ALL,
        with_chunks: true,
        series_max: api.evaluator.limits().series_max,
    });
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let decode =
            move || batch.into_iter().filter_map(|s| newest_of(s, range).transpose()).collect::<Result<Vec<_>, _>>();
        let found = api.compute(decode).await?;
        newest.extend(found.map_err(|e: chunkenc::DecodeError| ApiError::internal(format!("decode chunk: {e}")))?);
    }
    Ok(())
}

/// `None` where the series has no sample, has ended, or is a histogram.
fn newest_of(series: Series, range: TimeRange) -> Result<Option<Newest>, chunkenc::DecodeError> {
    let mut newest: Option<(i64, Option<f64>)> = None;
    for chunk in &series.chunks {
        for (at, value) in samples(chunk, range)? {
            newest = match newest {
                Some((t, _)) if t > at => newest,
                Some((t, Some(known))) if t == at => Some((t, value.map(|v| model::join_values(known, v)))),
                _ => Some((at, value)),
            };
        }
    }
    let Some((at, Some(value))) = newest.filter(|(_, v)| v.is_some_and(|v| !model::is_stale(v))) else {
        return Ok(None);
    };
    let Some(name) = series.labels.metric_name().map(str::to_owned) else { return Ok(None) };
    Ok(Some(Newest { name, labels: series.labels, at: TimestampMs(at), value }))
}

/// Those within `range`; of a chunk of histograms only its newest, without a value.
fn samples(chunk: &Chunk, range: TimeRange) -> Result<Vec<(i64, Option<f64>)>, chunkenc::DecodeError> {
    match chunk.encoding {
        ChunkEncoding::Xor => {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            chunkenc::decode_xor(&chunk.data, &mut times, &mut values)?;
            let all = times.into_iter().zip(values.into_iter().map(Some));
            Ok(all.filter(|(t, _)| range.contains(TimestampMs(*t))).collect())
        }
        ChunkEncoding::Xor2 => {
            let (mut starts, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
            chunkenc::decode_xor2(&chunk.data, &mut starts, &mut times, &mut values)?;
            let all = times.into_iter().zip(values.into_iter().map(Some));
            Ok(all.filter(|(t, _)| range.contains(TimestampMs(*t))).collect())
        }
        ChunkEncoding::Histogram | ChunkEncoding::FloatHistogram => {
            Ok(vec![(chunk.maxt.0.min(range.maxt.0 - 1), None)])
        }
    }
}

/// A name as a page has it: one that is plain stays, also where the scheme would double its underscores. Source:
/// `EscapeMetricFamily` of prometheus/common.
fn written(name: &str, escaping: Escaping) -> Cow<'_, str> {
    if is_legacy_metric_name(name) { Cow::Borrowed(name) } else { escape_name(name, escaping) }
}

fn write_page(mut all: Vec<Newest>, external: &Labels, escaping: Escaping, page: Page) -> Vec<u8> {
    // Names are escaped here, see `written`.
    let mut page = Encoder::new(page, Escaping::AllowUtf8);
    all.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    // A series that several selectors match.
    all.dedup_by(|a, b| a.labels == b.labels);
    let mut added: Vec<(&str, &str)> = external.iter().map(|l| (l.name, l.value)).collect();
    if external.get(INSTANCE).is_none() {
        added.push((INSTANCE, ""));
        added.sort_unstable();
    }
    let mut family = None;
    for one in &all {
        if family != Some(&one.name) {
            let name = &written(&one.name, escaping);
            page.family(&Family { name, metric_type: MetricType::Unknown, help: None, unit: None });
            family = Some(&one.name);
        }
        let own = one.labels.iter().filter(|l| l.name != METRIC_NAME).map(|l| (l.name, l.value));
        let absent = added.iter().copied().filter(|(name, _)| one.labels.get(name).is_none());
        let labels: Vec<(Cow<'_, str>, &str)> = own.chain(absent).map(|(n, v)| (written(n, escaping), v)).collect();
        let labels = labels.iter().map(|(name, value)| (name.as_ref(), *value));
        page.sample(&written(&one.name, escaping), labels, Value::Float(one.value), Some(one.at), None);
    }
    page.finish()
}
