//! The recorded answers of Prometheus 3.14 to remote write, and what was stored then, through the distributor, the writer, the
//! ingester and the querier as `narthex all` wires them. The disk alone is simulated.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, though not all of it stands in test functions")]

#[path = "../../querier/tests/common/client.rs"]
mod client;
#[path = "../../querier/tests/common/compare.rs"]
mod compare;
#[path = "../../querier/tests/common/sources.rs"]
#[expect(dead_code, reason = "other tests steer the process")]
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use disk::SimDisk;
use distributor::Distributor;
use futures::FutureExt;
use futures::future::BoxFuture;
use ingester::Ingester;
use model::{Matcher, TenantId, TimeRange, TimestampMs};
use querier::{Api, ApiOptions, ApiSources, Evaluator, ExemplarSeries, ExemplarSource};
use serde_json::{Value, json};
use server::{ComputePool, Metrics, clock};
use sources::Process;
use storage::SelectError;
use tokio::net::TcpListener;

/// The recorded samples are of this time; one case is of 1970, which must be too old.
const OLDEST: TimestampMs = TimestampMs(1_699_900_000_000);

/// Where Narthex means to differ: nothing is rolled back, a sample inside the window is never out of order, and two values of
/// one timestamp are joined (the larger stays). Case, and our status or our series: labels and samples.
const DIFFERENCES: [(&str, Ours); 9] = [
    // Joined.
    ("remote_write-004", Ours::Taken),
    // Not out of order.
    ("remote_write-005", Ours::Taken),
    ("remote_write-008", Ours::Taken),
    ("remote_write-009", Ours::Stored(&[("x", X), ("y", &[(1_700_002_210, "7")])])),
    (
        "remote_write-012",
        Ours::Stored(&[
            ("w", &[(1_700_002_210, "2"), (1_700_002_220, "1")]),
            ("x", X),
            ("y", &[(1_700_002_210, "7")]),
            ("z", &[(1_700_002_210, "2")]),
        ]),
    ),
    // The same of remote write 2.0, which tells how many samples it stored.
    ("remote_write-065", Ours::TakenOf2(2)),
    ("remote_write-066", Ours::TakenOf2(1)),
    ("remote_write-067", Ours::TakenOf2(1)),
    (
        "remote_write-076",
        Ours::Stored(&[
            ("abc", &[(1_700_002_230, "4")]),
            ("x", &[(1_700_002_200, "1"), (1_700_002_230, "9"), (1_700_002_260, "2"), (1_700_002_320, "9")]),
        ]),
    ),
];
/// `written{job="x"}` after the cases 1 to 8.
const X: &[(i64, &str)] = &[(1_700_002_200, "1"), (1_700_002_210, "9"), (1_700_002_230, "9"), (1_700_002_260, "3")];

enum Ours {
    /// 204.
    Taken,
    /// 204, and so many samples written.
    TakenOf2(u64),
    /// Series of `written` (or `v2_written`, as recorded) by job, with seconds and values.
    Stored(&'static [(&'static str, &'static [(i64, &'static str)])]),
}

/// Cases that write, that read what was written, and the one with a wrong method.
const CASES: usize = 78;

/// All series that the cases leave behind, by name: those with labels that cannot be are not among them.
const STORED: [(&str, usize); 8] = [
    ("millis", 1),
    ("special", 3),
    ("typed", 1),
    ("v2_first", 1),
    ("v2_written", 2),
    ("wr.it ten", 1),
    ("written", 8),
    ("written_hist", 1),
];
/// The headers that 2.0 must have; the comparison of headers does not know them.
const WRITTEN: [&str; 3] = ["samples", "histograms", "exemplars"];

fn conformance() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "says where the recorded answers are")]
    let root = std::env::var("NARTHEX_CONFORMANCE").ok();
    if root.is_none() {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
    }
    root.map(PathBuf::from)
}

struct Exemplars(Arc<Ingester>);

impl ExemplarSource for Exemplars {
    fn exemplars(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        sets: Vec<Vec<Matcher>>,
    ) -> BoxFuture<'static, Result<Vec<ExemplarSeries>, SelectError>> {
        let found = self.0.head().exemplars(tenant, range, &sets).into_iter();
        let found = found.map(|s| ExemplarSeries { labels: s.labels, exemplars: s.exemplars }).collect();
        futures::future::ready(Ok(found)).boxed()
    }
}

/// A server with an empty store.
async fn start() -> SocketAddr {
    let config = ingester::Config {
        exemplars_max: 1000,
        disk: Arc::new(SimDisk::new()),
        ..ingester::Config::new("/data".into())
    };
    let ingester = Ingester::open(config).unwrap();
    let window = clock::now() - OLDEST;
    let limits = writer::Limits { window, ..writer::Limits::default() };
    let writer = Arc::new(writer::testing::alone(ingester.clone(), limits));
    let metrics = Metrics::default();
    let distributor = Distributor::new(writer, distributor::Limits::default(), &metrics);
    let evaluator = Evaluator::new(ingester.clone(), ComputePool::start(2, 64).unwrap(), querier::Limits::default());
    let process = Arc::new(Process::default());
    let sources = ApiSources {
        status: process.clone(),
        lifecycle: process,
        targets: None,
        metadata: None,
        exemplars: Some(Arc::new(Exemplars(ingester))),
        metrics,
    };
    let api = Arc::new(Api::new(evaluator, sources, ApiOptions::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api.router().merge(distributor.router());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The case with the answer that we mean to give.
fn expected(mut case: Value) -> Value {
    let id = case["id"].as_str().unwrap().to_owned();
    match DIFFERENCES.iter().find(|(differs, _)| *differs == id) {
        None => {}
        Some((_, Ours::Taken)) => case["response"] = json!({ "status": 204, "headers": [], "text": "" }),
        Some((_, Ours::TakenOf2(samples))) => {
            let headers = WRITTEN.map(|what| {
                let count = if what == "samples" { *samples } else { 0 };
                (format!("X-Prometheus-Remote-Write-{what}-Written"), count.to_string())
            });
            case["response"] = json!({ "status": 204, "headers": headers, "text": "" });
        }
        Some((_, Ours::Stored(series))) => {
            let name = case["response"]["json"]["data"]["result"][0]["metric"]["__name__"].clone();
            let one = |(job, samples): &(&str, &[(i64, &str)])| json!({ "metric": { "__name__": name, "job": job }, "values": samples });
            case["response"]["json"]["data"]["result"] = series.iter().map(one).collect();
        }
    }
    case
}

/// The counts of 2.0 in the headers, recorded or answered, in order.
fn written<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let of_2 = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let mut found: Vec<_> = of_2.filter(|(name, _)| name.starts_with("x-prometheus-remote-write-")).collect();
    found.sort();
    found
}

/// As the comparison of all answers, and that 2.0 says what was written, and 1.0 does not.
fn compare(mut case: Value, answer: &client::HttpAnswer, host: &str) -> Result<(), String> {
    let all = case["response"]["headers"].as_array().cloned().unwrap_or_default();
    let pair = |h: &Value| (h[0].as_str().unwrap().to_owned(), h[1].as_str().unwrap().to_owned());
    let pairs: Vec<(String, String)> = all.iter().map(pair).collect();
    let recorded = written(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let is_other = |h: &Value| !h[0].as_str().unwrap().to_lowercase().starts_with("x-prometheus-remote-write-");
    case["response"]["headers"] = all.into_iter().filter(is_other).collect();
    compare::compare(&case, answer, host, 0)?;
    let got = written(answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if recorded == got { Ok(()) } else { Err(format!("expected {recorded:?}, got {got:?}")) }
}

async fn series_by_name(address: SocketAddr) -> Vec<(String, usize)> {
    let query = [["query", "count by (__name__) (last_over_time({__name__!=\"\"}[1d]))"], ["time", "1700002450"]];
    let case = json!({ "method": "GET", "path": "/api/v1/query", "query": query });
    let answer: Value = serde_json::from_slice(&client::send_case(address, &case).await.body).unwrap();
    let result = answer["data"]["result"].as_array().unwrap().iter();
    let one = |s: &Value| {
        (s["metric"]["__name__"].as_str().unwrap().to_owned(), s["value"][1].as_str().unwrap().parse().unwrap())
    };
    let mut found: Vec<(String, usize)> = result.map(one).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_answers_hold() {
    let Some(root) = conformance() else { return };
    let address = start().await;
    let cases = std::fs::read_to_string(root.join("api/requests.jsonl")).unwrap();
    let cases = cases.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let concerns = |c: &Value| c["data"] == "data" && (c["writes"] == true || c["path"] == "/api/v1/write");
    let (mut held, mut failed) = (0, Vec::new());
    for case in cases.filter(concerns) {
        let answer = client::send_case(address, &case).await;
        let id = case["id"].as_str().unwrap();
        match compare(expected(case.clone()), &answer, &address.to_string()) {
            Ok(()) => held += 1,
            Err(e) => failed.push(format!("{id} {}: {e}", case["note"])),
        }
    }
    assert!(failed.is_empty(), "{held} held, {} failed\n{}", failed.len(), failed.join("\n"));
    assert_eq!(held, CASES);
    assert_eq!(series_by_name(address).await, STORED.map(|(name, count)| (name.to_owned(), count)));
}
