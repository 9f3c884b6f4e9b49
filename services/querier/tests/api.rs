//! The recorded answers of Prometheus 3.14 to the same requests over the same data.

#[path = "common/client.rs"]
mod client;
#[path = "common/compare.rs"]
mod compare;
#[path = "common/sources.rs"]
mod sources;
#[path = "common/store.rs"]
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use promql::engine;
use querier::{Api, ApiOptions, ApiSources, Evaluator, Limits};
use serde_json::Value;
use server::{ComputePool, Metrics};
use store::MemoryStore;
use tokio::net::TcpListener;

/// Endpoints that are left out whole.
const ENDPOINTS_LEFT_OUT: [(&str, usize, &str); 0] = [];

fn conformance() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "says where the recorded answers are")]
    let root = std::env::var("NARTHEX_CONFORMANCE").ok();
    if root.is_none() {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
    }
    root.map(PathBuf::from)
}

fn load(root: &std::path::Path) -> MemoryStore {
    let mut store = MemoryStore::default();
    store.load_openmetrics(&std::fs::read(root.join("api/data.om")).unwrap());
    store.load_extra(&std::fs::read_to_string(root.join("api/data_extra.jsonl")).unwrap());
    store
}

async fn start(store: MemoryStore) -> SocketAddr {
    let pool = ComputePool::start(2, 64).unwrap();
    let store = Arc::new(store);
    let evaluator = Evaluator::new(store.clone(), pool, Limits::default());
    let empty = Arc::new(sources::Nothing);
    let api = Arc::new(Api::new(
        evaluator,
        ApiSources {
            status: empty.clone(),
            lifecycle: empty.clone(),
            targets: Some(empty.clone()),
            metadata: Some(empty),
            exemplars: Some(store),
            metrics: Metrics::default(),
        },
        ApiOptions { query_limits: engine::Limits { samples_max: 50_000 }, ..ApiOptions::default() },
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, api.router()).await });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_answers_hold() {
    let Some(root) = conformance() else { return };
    let store = load(&root);
    let address = start(store).await;
    let cases = std::fs::read_to_string(root.join("api/requests.jsonl")).unwrap();
    let cases = cases.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let cases = cases.filter(|c| c["data"] == "data" && c.get("writes").is_none());
    let mut failed = Vec::new();
    let mut held = 0;
    for case in cases {
        let answer = client::send_case(address, &case).await;
        match compare::compare(&case, &answer, &address.to_string(), 0) {
            Ok(()) => held += 1,
            Err(e) => failed.push(format!("{} {} {}: {e}", case["id"], case["path"], case["query"])),
        }
    }
    println!("{held} held, {} failed\n{}", failed.len(), failed.join("\n"));
    assert!(failed.is_empty());
}
