use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use batch::Batch;
use futures::FutureExt;
use model::TimestampMs;
use peer::Answer;
use replication::Entry;
use replication::replica::{NotNow, PushReply};
use server::{Metrics, clock};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use writer::testing::{PushOnly, TAKEN, alone};

use crate::{Distributor, Limits};

const LIMITS: Limits = Limits { body_bytes_max: 1000, requests_max: 1 };

fn distributor(reply: PushReply) -> Arc<Distributor> {
    distributor_that_waits(reply, Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)))
}

/// Of a replica that answers always the same, once it may; one permit for each batch that has arrived.
fn distributor_that_waits(reply: PushReply, arrived: Arc<Semaphore>, may: Arc<Semaphore>) -> Arc<Distributor> {
    let push = move |_: Entry, _: Batch| -> Answer<PushReply> {
        let (reply, may) = (reply.clone(), may.clone());
        arrived.add_permits(1);
        async move {
            drop(may.acquire().await);
            Ok(reply)
        }
        .boxed()
    };
    let writer = alone(Arc::new(PushOnly(push)), writer::Limits::default());
    Distributor::new(Arc::new(writer), LIMITS, &Metrics::default())
}

/// One series `m` with samples at these times, relative to now; in snappy.
fn request(offsets_ms: &[i64]) -> Vec<u8> {
    let mut series = b"\x0a\x0d\x0a\x08__name__\x12\x01m".to_vec();
    for offset in offsets_ms {
        let at = clock::now().0 + offset;
        let mut sample = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10];
        let mut n = at.cast_unsigned();
        while n >= 0x80 {
            sample.push(n as u8 | 0x80);
            n >>= 7;
        }
        sample.push(n as u8);
        series.extend([0x12, sample.len() as u8]);
        series.extend(sample);
    }
    let message = [vec![0x0a, series.len() as u8], series].concat();
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

/// Status, `Retry-After` and text of the answer.
async fn post(distributor: &Arc<Distributor>, body: impl Into<Body>) -> (u16, Option<String>, String) {
    let request = Request::post("/api/v1/write").body(body.into()).unwrap();
    let answer = distributor.router().oneshot(request).await.unwrap();
    let retry = answer.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
    (status, retry, String::from_utf8(text.to_vec()).unwrap())
}

const HOUR: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_whether_to_try_again() {
    for (reply, status, retry, text) in [
        (TAKEN, 204, None, ""),
        (PushReply::Full { limit_bytes: 9 }, 503, Some("1"), "too many bytes in flight (limit 9)\n"),
        (
            PushReply::NotNow(NotNow::Unavailable),
            503,
            Some("1"),
            "ingester unavailable: n0/0000000000000001 takes nothing now: unavailable\n",
        ),
        // Not to be tried again.
        (
            PushReply::Refused("m{} is held with other labels".to_owned()),
            400,
            None,
            "n0/0000000000000001: m{} is held with other labels\n",
        ),
    ] {
        let got = post(&distributor(reply.clone()), request(&[0])).await;
        assert_eq!(got, (status, retry.map(str::to_owned), text.to_owned()), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_told_in_prometheus_words() {
    let taking = distributor(TAKEN);
    for (offsets, expected) in
        [(&[-4 * HOUR][..], "out of bounds\n"), (&[HOUR], "out of bounds: timestamp is too far in the future\n")]
    {
        assert_eq!(post(&taking, request(offsets)).await, (400, None, expected.to_owned()), "{offsets:?}");
    }
    // Where something is stored it is said how much.
    let (status, _, text) = post(&taking, request(&[-4 * HOUR, 0, -5 * HOUR, HOUR])).await;
    assert_eq!(status, 400);
    let parts: Vec<&str> = text.split("; ").collect();
    assert!(parts[0].starts_with("out of bounds: 2 samples refused: sample at "), "{text}");
    assert!(parts[1].starts_with("out of bounds: timestamp is too far in the future: 1 samples refused: "), "{text}");
    assert!(parts[1].ends_with(" (1 samples of the request are stored)\n"), "{text}");
    // All of it lies before what a seal lets in.
    let sealed = distributor(PushReply::Sealed(TimestampMs(i64::MAX)));
    assert_eq!(post(&sealed, request(&[0])).await, (400, None, "out of bounds\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_requests_are_bounded() {
    let (arrived, may) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let distributor = distributor_that_waits(TAKEN, arrived.clone(), may.clone());
    let too_long = (413, None, "request body is longer than 1000 bytes\n".to_owned());
    assert_eq!(post(&distributor, vec![0; 1001]).await, too_long, "by its length");
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 100]));
    assert_eq!(post(&distributor, Body::from_stream(endless)).await, too_long, "without a length");
    // One waits for its acknowledgement; the next is not taken.
    let first = tokio::spawn({
        let distributor = distributor.clone();
        async move { post(&distributor, request(&[0])).await }
    });
    drop(arrived.acquire().await.unwrap());
    let busy = post(&distributor, request(&[0])).await;
    assert_eq!(busy, (503, Some("1".to_owned()), "too many write requests at once\n".to_owned()));
    assert!(!first.is_finished());
    may.add_permits(1);
    assert_eq!(first.await.unwrap().0, 204);
}

/// As [`request`], of remote write 2.0: the symbols, and series with references and samples.
fn request_2(symbols: &[&str], series: &[(&[u8], &[i64])]) -> Vec<u8> {
    let mut message = Vec::new();
    for symbol in symbols {
        message.extend([4 << 3 | 2, symbol.len() as u8]);
        message.extend(symbol.as_bytes());
    }
    for (refs, offsets_ms) in series {
        let mut one = vec![0x0a, refs.len() as u8];
        one.extend(*refs);
        for offset in *offsets_ms {
            let mut sample = vec![0x10];
            let mut n = (clock::now().0 + offset).cast_unsigned();
            while n >= 0x80 {
                sample.push(n as u8 | 0x80);
                n >>= 7;
            }
            sample.push(n as u8);
            one.extend([0x12, sample.len() as u8]);
            one.extend(sample);
        }
        message.extend([5 << 3 | 2, one.len() as u8]);
        message.extend(one);
    }
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

/// Status, what was written (samples, histograms, exemplars), and text of the answer.
async fn post_2(distributor: &Arc<Distributor>, body: Vec<u8>) -> (u16, String, String) {
    let request = Request::post("/api/v1/write")
        .header(header::CONTENT_TYPE, "application/x-protobuf;proto=io.prometheus.write.v2.Request")
        .body(Body::from(body))
        .unwrap();
    let answer = distributor.router().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let written = |what: &str| {
        let name = format!("X-Prometheus-Remote-Write-{what}-Written");
        answer.headers().get(name).map_or("none", |v| v.to_str().unwrap()).to_owned()
    };
    let written = ["Samples", "Histograms", "Exemplars"].map(written).join(" ");
    let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
    (status, written, String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_2_0_says_what_was_written_and_what_is_wrong_with_the_rest() {
    let symbols = &["", "__name__", "m", "job", "a"];
    let taking = distributor(TAKEN);
    for (series, status, written, text) in [
        (&[(&[1, 2][..], &[0, -1][..])][..], 204, "2 0 0", ""),
        (&[(&[3, 4][..], &[0][..])][..], 400, "0 0 0", "invalid metric name or labels, got {job=\"a\"}\n"),
        (&[(&[1, 2][..], &[HOUR][..])][..], 400, "0 0 0", "out of bounds: timestamp is too far in the future\n"),
        (
            &[(&[1, 2][..], &[0][..]), (&[1, 9][..], &[0, 0][..])][..],
            400,
            "1 0 0",
            "2 samples refused: parsing labels for series [1 9]: labelRefs 1 (name) = 9 (value) outside of symbols table \
             (size 5) (1 samples of the request are stored)\n",
        ),
    ] {
        let got = post_2(&taking, request_2(symbols, series)).await;
        assert_eq!(got, (status, written.to_owned(), text.to_owned()), "{series:?}");
    }
    let torn = snap::raw::Encoder::new().compress_vec(&[5 << 3 | 2, 9, 1]).unwrap();
    assert_eq!(post_2(&taking, torn).await, (400, "0 0 0".to_owned(), "unexpected EOF\n".to_owned()));
    let full = distributor(PushReply::Full { limit_bytes: 9 });
    let got = post_2(&full, request_2(symbols, &[(&[1, 2], &[0])])).await;
    assert_eq!(got, (503, "0 0 0".to_owned(), "too many bytes in flight (limit 9)\n".to_owned()));
}
