//! `POST /api/v1/write`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::TenantId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use remotewrite::{WriteRequest, v2};
use server::{Metrics, clock};
use storage::{AppendError, AppendOutcome, ErrorClass, RejectReason, Rejection};
use tokio::sync::Semaphore;
use writer::Writer;

use crate::content::{self, Message};

/// What was stored of a request of 2.0: samples, histograms, exemplars.
const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// Bounds of the distributor.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a compressed request.
    pub body_bytes_max: usize,
    /// Requests being decoded or waiting for their acknowledgement; more get 503 at once.
    pub requests_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_bytes_max: 32 << 20, requests_max: 64 }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Takes remote write.
pub struct Distributor {
    writer: Arc<Writer>,
    limits: Limits,
    running: Arc<Semaphore>,
    /// Of remote write 2.0.
    known_families: v2::KnownFamilies,
    samples: Counter,
    rejected: Family<Reason, Counter>,
}

impl Distributor {
    /// A distributor that writes through `writer`.
    pub fn new(writer: Arc<Writer>, limits: Limits, metrics: &Metrics) -> Arc<Distributor> {
        let (samples, rejected) = (Counter::default(), Family::default());
        metrics.register(|r| {
            let name = "narthex_distributor_received_samples";
            r.register(name, "Samples that were acknowledged", samples.clone());
            let name = "narthex_distributor_rejected_samples";
            r.register(name, "Samples that were refused for good, by reason", rejected.clone());
        });
        let running = Arc::new(Semaphore::new(limits.requests_max));
        let known_families = v2::KnownFamilies::default();
        Arc::new(Distributor { writer, limits, running, known_families, samples, rejected })
    }

    /// The routes.
    pub fn router(self: &Arc<Distributor>) -> Router {
        Router::new().route("/api/v1/write", post(write)).with_state(self.clone())
    }

    fn count(&self, outcome: &AppendOutcome) {
        self.samples.inc_by(outcome.stored_samples);
        for r in &outcome.rejections {
            self.rejected.get_or_create(&Reason { reason: r.reason.as_str() }).inc_by(r.sample_count);
        }
    }
}

async fn write(State(distributor): State<Arc<Distributor>>, request: Request) -> Response {
    let message = match content::check(request.headers()) {
        Ok(message) => message,
        Err(why) => return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why),
    };
    let Ok(permit) = distributor.running.clone().try_acquire_owned() else {
        return unavailable("too many write requests at once");
    };
    let body = match read_body(request, distributor.limits.body_bytes_max).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let runtime = tokio::runtime::Handle::current();
    // Decoding and hashing 5,000 series takes milliseconds: not for the threads that serve sockets.
    let this = distributor.clone();
    let done = tokio::task::spawn_blocking(move || {
        let decompressed = remotewrite::decompress(&body).map_err(|e| AppendError::Malformed(e.to_string()))?;
        drop(body);
        let (tenant, now) = (TenantId::anonymous(), clock::now());
        match message {
            Message::V1 => {
                let request = WriteRequest::new(&decompressed);
                runtime.block_on(this.writer.write(&tenant, &request, now))
            }
            Message::V2 => {
                let request = v2::Request::new(&decompressed).map_err(AppendError::Malformed)?;
                let request = request.leaving_out(&this.known_families, now);
                let written = runtime.block_on(this.writer.write(&tenant, &request, now));
                written.inspect(|_| request.is_stored())
            }
        }
    })
    .await;
    drop(permit);
    let mut written = [0; WRITTEN.len()];
    let mut response = match done {
        Ok(Ok(outcome)) => {
            distributor.count(&outcome);
            let floats = outcome.stored_samples.saturating_sub(outcome.stored_histograms);
            written = [floats, outcome.stored_histograms, outcome.stored_exemplars];
            answer(message, &outcome)
        }
        Ok(Err(e)) => match e.class() {
            ErrorClass::Caller => text(StatusCode::BAD_REQUEST, &e.to_string()),
            ErrorClass::Overload | ErrorClass::Unavailable | ErrorClass::Corrupt => unavailable(&e.to_string()),
        },
        Err(e) => {
            tracing::error!(error = %e, "a write request panicked");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    };
    if message == Message::V2 {
        let names = WRITTEN.map(HeaderName::from_static);
        response.headers_mut().extend(names.into_iter().zip(written.map(HeaderValue::from)));
    }
    response
}

/// What was refused for good is a 400, so that the sender does not try again; the rest is stored. Unusable labels are only
/// counted in 1.0, as in Prometheus, and told in 2.0.
fn answer(message: Message, outcome: &AppendOutcome) -> Response {
    fn words(r: &Rejection) -> &str {
        prometheus_words(r).unwrap_or_default()
    }
    let is_told = |r: &&Rejection| match (message, r.reason) {
        (Message::V1, RejectReason::InvalidLabels) => false,
        (Message::V2, RejectReason::InvalidLabels) => true,
        _ => r.sample_count > 0 && prometheus_words(r).is_some(),
    };
    let told: Vec<&Rejection> = outcome.rejections.iter().filter(is_told).collect();
    let why = match told.as_slice() {
        [] => return StatusCode::NO_CONTENT.into_response(),
        // Nothing is stored, as nothing would be there: then the text is Prometheus', which tools may know.
        [first, more @ ..] if outcome.stored_samples == 0 && more.iter().all(|r| words(r) == words(first)) => {
            words(first).to_owned()
        }
        several => {
            let each = |r: &&Rejection| match words(r) {
                same if same == r.example => format!("{} samples refused: {same}", r.sample_count),
                words => format!("{words}: {} samples refused: {}", r.sample_count, r.example),
            };
            let all: Vec<String> = several.iter().map(each).collect();
            format!("{} ({} samples of the request are stored)", all.join("; "), outcome.stored_samples)
        }
    };
    tracing::debug!(why, "samples refused");
    text(StatusCode::BAD_REQUEST, &why)
}

/// Prometheus' words for a refusal. `None`: the sender is not told.
fn prometheus_words(rejection: &Rejection) -> Option<&str> {
    match rejection.reason {
        RejectReason::TooOld => Some("out of bounds"),
        RejectReason::TooFarInFuture => Some("out of bounds: timestamp is too far in the future"),
        RejectReason::InvalidHistogram | RejectReason::InvalidLabels => Some(&rejection.example),
        RejectReason::InvalidExemplar => None,
    }
}

async fn read_body(request: Request<Body>, bytes_max: usize) -> Result<axum::body::Bytes, Response> {
    let too_long = || text(StatusCode::PAYLOAD_TOO_LARGE, &format!("request body is longer than {bytes_max} bytes"));
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|n| n > bytes_max as u64) {
        return Err(too_long());
    }
    // The only error besides the limit is a client that went away, which hears nothing anyway.
    to_bytes(request.into_body(), bytes_max).await.map_err(|_| too_long())
}

fn unavailable(why: &str) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn text(status: StatusCode, why: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, format!("{why}\n")).into_response()
}
