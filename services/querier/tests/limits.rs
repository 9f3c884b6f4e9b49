//! What ends a query before it has an answer: clients that go away, and each of the bounds, with Prometheus' text and status.
#![expect(clippy::unwrap_used, reason = "a test, though not all of it stands in test functions")]

#[path = "common/sources.rs"]
#[expect(dead_code, reason = "shared with the test of the API")]
mod sources;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkenc::XorEncoder;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use model::{Labels, SeriesId, TenantId, TimestampMs};
use promql::engine::{self, Interrupt, QueryParams};
use promql::{ParseOptions, parse_expr};
use querier::{Api, ApiOptions, ApiSources, Evaluator, Limits};
use server::{ComputePool, Metrics};
use sources::Process;
use storage::{
    Chunk, ChunkEncoding, LabelQuery, LabelQueryAnswer, Queryable, SelectError, SelectRequest, Selection, Series,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Threads that evaluate.
const WORKERS: usize = 2;
/// A machine may be busy with forty other tests.
const PATIENCE: Duration = Duration::from_secs(60);
const END_S: i64 = 1_000_000;

/// A store whose answer never ends: series after series, each of so many samples, a second apart.
#[derive(Clone)]
struct Endless {
    samples: i64,
    /// After so many batches nothing comes, and the answer does not end either.
    batches_max: u64,
    /// Batches that were taken.
    taken: Arc<AtomicU64>,
    /// Whether an answer was begun, and let go.
    begun: Arc<AtomicBool>,
    dropped: Arc<AtomicBool>,
}

impl Endless {
    fn new(samples: i64, batches_max: u64) -> Endless {
        let (taken, flag) = (Arc::default(), || Arc::new(AtomicBool::new(false)));
        Endless { samples, batches_max, taken, begun: flag(), dropped: flag() }
    }
}

/// Tells that the answer that owns it was let go.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn series(number: u64, samples: i64) -> Series {
    let number = number.to_string();
    let labels = Labels::from_pairs([("__name__", "x_total"), ("n", number.as_str())]).unwrap();
    let chunks = (END_S - samples..END_S).collect::<Vec<_>>();
    let chunk = |part: &[i64]| {
        let mut encoder = XorEncoder::new();
        part.iter().for_each(|s| encoder.append(s * 1000, (s % 97) as f64));
        let (mint, maxt) = (TimestampMs(part[0] * 1000), TimestampMs(part[part.len() - 1] * 1000));
        Chunk { encoding: ChunkEncoding::Xor, mint, maxt, data: Bytes::copy_from_slice(encoder.bytes()) }
    };
    let id = SeriesId::compute(&TenantId::anonymous(), &labels, &mut Vec::new());
    Series { id, labels, chunks: chunks.chunks(120).map(chunk).collect() }
}

impl Queryable for Endless {
    fn select(&self, _: SelectRequest) -> Selection {
        let (store, guard) = (self.clone(), Dropped(self.dropped.clone()));
        store.begun.store(true, Ordering::SeqCst);
        let batches = stream::unfold((store, guard), |(store, guard)| async move {
            let number = store.taken.load(Ordering::SeqCst);
            if number == store.batches_max {
                std::future::pending::<()>().await;
            }
            // The runtime goes on with other tasks between two batches.
            tokio::task::yield_now().await;
            store.taken.fetch_add(1, Ordering::SeqCst);
            Some((Ok(vec![series(number, store.samples)]), (store, guard)))
        });
        batches.boxed().into()
    }

    fn label_names(&self, _: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Box::pin(async { Ok(LabelQueryAnswer::default()) })
    }

    fn label_values(&self, _: &str, _: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Box::pin(async { Ok(LabelQueryAnswer::default()) })
    }
}

/// A store of so many series of 100 samples.
#[derive(Clone)]
struct Finite(u64);

impl Queryable for Finite {
    fn select(&self, request: SelectRequest) -> Selection {
        if self.0 > request.series_max as u64 {
            return stream::iter([Err(SelectError::TooManySeries { limit: request.series_max })]).boxed().into();
        }
        let batch = (0..self.0).map(|number| series(number, 100)).collect();
        stream::iter([Ok(batch)]).boxed().into()
    }

    fn label_names(&self, _: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Box::pin(async { Ok(LabelQueryAnswer::default()) })
    }

    fn label_values(&self, _: &str, _: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Box::pin(async { Ok(LabelQueryAnswer::default()) })
    }
}

fn evaluator(store: impl Queryable, limits: Limits) -> Evaluator {
    Evaluator::new(Arc::new(store), ComputePool::start(WORKERS, 64).unwrap(), limits)
}

async fn start(store: impl Queryable, limits: Limits, options: ApiOptions) -> SocketAddr {
    let process = Arc::new(Process::default());
    let sources = ApiSources {
        status: process.clone(),
        lifecycle: process,
        targets: None,
        metadata: None,
        exemplars: None,
        metrics: Metrics::default(),
    };
    let api = Arc::new(Api::new(evaluator(store, limits), sources, options));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, api.router()).await });
    address
}

/// Sends a request and leaves the answer to come.
async fn ask(address: SocketAddr, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The status, and the error's type and text.
async fn refusal(address: SocketAddr, target: &str) -> (u16, String, String) {
    let mut received = String::new();
    ask(address, target).await.read_to_string(&mut received).await.unwrap();
    let status = received.split(' ').nth(1).unwrap().parse().unwrap();
    let body: serde_json::Value =
        serde_json::from_str(&received[received.find('{').unwrap()..=received.rfind('}').unwrap()]).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (status, text("errorType"), text("error"))
}

/// Waits for a condition.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_the_connection_stops_the_work() {
    for query in ["sum(x_total)", "sum(rate(x_total[5m]))", "max_over_time(x_total[1h])"] {
        let store = Endless::new(1_000, u64::MAX);
        let address = start(store.clone(), Limits::default(), ApiOptions::default()).await;
        let connection = ask(address, &format!("/api/v1/query?query={query}&time={END_S}")).await;
        until("series are taken", || store.taken.load(Ordering::SeqCst) > 10).await;
        assert!(!store.dropped.load(Ordering::SeqCst), "it goes on while the client waits");
        drop(connection);
        until("the answer of the store is let go", || store.dropped.load(Ordering::SeqCst)).await;
    }
}

/// Runs a query in which every worker is inside of a series of a million samples, lets go of it, and waits until all workers have
/// ended; the samples that they went through after that.
async fn samples_after(query: &str) -> u64 {
    let store = Endless::new(END_S, WORKERS as u64);
    let evaluator = evaluator(store.clone(), Limits::default());
    let params = QueryParams::instant(TimestampMs(END_S * 1000));
    let interrupt: Interrupt = params.interrupt.clone();
    let expr = parse_expr(query, &ParseOptions::ALL).unwrap();
    {
        let tenant = TenantId::anonymous();
        let mut running = pin!(evaluator.evaluate(&tenant, &expr, params, PATIENCE * 10));
        // Each worker has a series by now; the store has no more, so the query goes on until it is let go.
        let all_taken = until("series are taken", || store.taken.load(Ordering::SeqCst) == WORKERS as u64);
        tokio::select! {
            _ = &mut running => panic!("a query without an end ended"),
            () = all_taken => {}
        }
    }
    // A thread takes one job at a time, so jobs that all run at once come after what ran before.
    let all = Arc::new(std::sync::Barrier::new(WORKERS));
    let jobs = (0..WORKERS).map(|_| {
        let all = all.clone();
        evaluator.pool().run(move || all.wait().is_leader())
    });
    let ended = tokio::time::timeout(PATIENCE, stream::iter(jobs).buffer_unordered(WORKERS).collect::<Vec<_>>()).await;
    assert!(ended.is_ok_and(|ended| ended.iter().all(Option::is_some)), "{query}: the workers go on");
    interrupt.samples_after_stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_let_go_ends_inside_a_series_of_a_million_samples() {
    for query in ["sum(x_total)", "sum(rate(x_total[20d]))", "max(quantile_over_time(0.9, x_total[20d]))"] {
        let after = samples_after(query).await;
        assert!(after <= WORKERS as u64 * 100_000, "{query}: {after} samples after the end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bound_of_a_query_ends_it_with_its_text_and_status() {
    let default = engine::Limits::default();
    let too_many = |what: &str| format!("query processing would load too many {what} into memory in query execution");
    let range = format!("/api/v1/query_range?query=x_total&start={}&end={END_S}&step=1", END_S - 99);
    let instant = format!("/api/v1/query?query=count(x_total)&time={END_S}");
    let many_steps = format!("/api/v1/query_range?query=x_total&start={}&end={END_S}&step=1", END_S - 11_001);
    let resolution =
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
    for (target, limits, series_max, expected) in [
        (&range, engine::Limits { samples_max: 999, ..default }, 10, (422, "execution", too_many("samples"))),
        (&instant, engine::Limits { series_max: 9, ..default }, 10, (422, "execution", too_many("series"))),
        (&instant, engine::Limits { chunk_bytes_max: 10, ..default }, 10, (422, "execution", too_many("bytes"))),
        (&instant, default, 9, (422, "execution", "the query selects more than 9 series".to_owned())),
        (&many_steps, default, 10, (400, "bad_data", resolution.to_owned())),
    ] {
        let options = ApiOptions { query_limits: limits, ..ApiOptions::default() };
        let address = start(Finite(10), Limits { series_max, ..Limits::default() }, options).await;
        let (status, kind, text) = refusal(address, target).await;
        assert_eq!((status, kind.as_str(), text), expected, "{target} with {limits:?}");
    }
    // What is just within all of them has an answer.
    let limits = engine::Limits { series_max: 10, steps_max: 99, ..default };
    let options = ApiOptions { query_limits: limits, ..ApiOptions::default() };
    let address = start(Finite(10), Limits { series_max: 10, ..Limits::default() }, options).await;
    let target = range.replace("x_total", "count(x_total)");
    assert_eq!(refusal(address, &target).await, (200, String::new(), String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_takes_too_long_ends_and_so_does_its_work() {
    // Long enough that a busy machine has planned it by then: before, the text is another.
    let expected = (503, "timeout".to_owned(), "query timed out in expression evaluation".to_owned());
    // One waits for its store, the other is at work.
    for store in [Endless::new(1_000, 0), Endless::new(1_000, u64::MAX)] {
        let address = start(store.clone(), Limits::default(), ApiOptions::default()).await;
        let target = format!("/api/v1/query?query=sum(x_total)&time={END_S}&timeout=3s");
        assert_eq!(refusal(address, &target).await, expected);
        until("the answer of the store is let go", || store.dropped.load(Ordering::SeqCst)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_beyond_the_concurrency_waits_and_then_ends_in_the_queue() {
    let store = Endless::new(1_000, 0);
    let limits = Limits { concurrency_max: 1, ..Limits::default() };
    let address = start(store.clone(), limits, ApiOptions::default()).await;
    let first = ask(address, &format!("/api/v1/query?query=sum(x_total)&time={END_S}")).await;
    until("the first runs", || store.begun.load(Ordering::SeqCst)).await;
    let target = format!("/api/v1/query?query=1&time={END_S}&timeout=3s");
    let expected = (503, "timeout".to_owned(), "query timed out in query queue".to_owned());
    assert_eq!(refusal(address, &target).await, expected);
    // When the first goes away, there is room.
    drop(first);
    until("the first is let go", || store.dropped.load(Ordering::SeqCst)).await;
    let target = format!("/api/v1/query?query=1&time={END_S}&timeout=60s");
    assert_eq!(refusal(address, &target).await.0, 200);
}
