//! What a ruler shows over HTTP: health, readiness, metrics, the cluster.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cluster::{Promise, shortcomings};
use membership::{Standing, map_as_json};
use raft::Node;
use serde_json::json;
use server::Metrics;
use tokio::sync::watch;

use crate::entry::Entry;

/// What the pages are made of.
pub(crate) struct Pages {
    pub(crate) node: Arc<Node>,
    pub(crate) entry: watch::Receiver<Entry>,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) lease: Duration,
    pub(crate) metrics: Metrics,
}

impl Pages {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/-/healthy", get(|| async { "Narthex ruler is healthy.\n" }))
            .route("/-/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/api/v1/status/cluster", get(cluster))
            .with_state(Arc::new(self))
    }

    /// Why this ruler cannot do its job; empty where it can.
    fn hindrances(&self) -> Vec<String> {
        if let Entry::Waiting(reason) = &*self.entry.borrow() {
            return vec![reason.clone()];
        }
        let (raft, mut found) = (self.node.metrics(), Vec::new());
        if !raft.running {
            found.push("the raft node has stopped".to_owned());
        }
        if raft.leader.is_none() || self.node.map_age().is_none_or(|age| age >= self.lease) {
            found.push("the control plane has no leader that this ruler hears".to_owned());
        }
        if self.node.map().borrow().cluster().is_none() {
            found.push("the cluster is not born yet".to_owned());
        }
        match &*self.standing.borrow() {
            Standing::Joined | Standing::Unheard => {}
            Standing::Joining => found.push("joining the cluster".to_owned()),
            Standing::Refused(reason) => found.push(format!("the cluster refuses this node: {reason}")),
        }
        found
    }
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    let hindrances = pages.hindrances();
    let map = pages.node.map().borrow().clone();
    let mut text = String::new();
    let (status, word) = match hindrances.is_empty() {
        true => (StatusCode::OK, "Narthex ruler is ready.\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Narthex ruler is not ready.\n"),
    };
    text.push_str(word);
    let short = shortcomings(&map);
    let lines = hindrances.into_iter().chain(short.iter().map(ToString::to_string));
    for line in Promise::of(&map).map(|promise| promise.to_string()).into_iter().chain(lines) {
        writeln!(text, "{line}").expect("a String takes every write");
    }
    (status, text).into_response()
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], pages.metrics.encode()).into_response()
}

async fn cluster(State(pages): State<Arc<Pages>>) -> Response {
    let raft = pages.node.metrics();
    let peer = |peer: &raft::Peer| json!({ "id": peer.id.to_string(), "name": peer.name, "address": peer.address });
    let mut data = map_as_json(&pages.node.map().borrow(), pages.node.map_age());
    data["raft"] = json!({
        "id": raft.id.to_string(),
        "term": raft.term,
        "leader": raft.leader.as_ref().map(peer),
        "voters": raft.voters.iter().map(peer).collect::<Vec<_>>(),
        "lastLog": raft.last_log,
        "lastApplied": raft.last_applied,
        "snapshot": raft.snapshot,
    });
    let page = json!({ "status": "success", "data": data });
    ([(header::CONTENT_TYPE, "application/json")], page.to_string()).into_response()
}
