//! Remote write from the HTTP request to the batch, with a replica that takes everything.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Request};
use batch::Batch;
use distributor::Distributor;
use server::Metrics;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use writer::testing::{TAKEN, saying};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).enable_time().build();
    built.expect("a thread can be started")
});

/// A line with the content type, one with the content encoding, then the body of a request.
pub(crate) fn request(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |b| *b == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (Ok(content_type), Ok(encoding)) = (HeaderValue::from_bytes(part()), HeaderValue::from_bytes(part())) else {
        return;
    };
    // What the writer remembers must not leak from one input to the next.
    let _within = RUNTIME.enter();
    let take = |batch: &Batch| {
        batch::fuzzing::fuzz_batch(batch.bytes());
        TAKEN
    };
    let writer = Arc::new(saying(take, writer::Limits::default()));
    let router: Router = Distributor::new(writer, distributor::Limits::default(), &Metrics::default()).router();
    let request = Request::post("/api/v1/write")
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_ENCODING, encoding)
        .body(Body::from(part().to_vec()))
        .expect("all of it is valid");
    let response = RUNTIME.block_on(router.oneshot(request)).expect("a router answers");
    let status = response.status().as_u16();
    assert!([204, 400, 415].contains(&status), "status {status}");
}
