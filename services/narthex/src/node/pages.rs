//! The pages of every node: health, readiness, metrics, the cluster map.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cluster::{Promise, Replica, Role, shortcomings};
use membership::{HeldMap, MapSource, Standing, map_as_json};
use serde_json::json;
use server::Metrics;
use tokio::sync::watch;

use super::Remarks;

/// What the pages are made of.
pub(super) struct Pages {
    pub(super) role: Role,
    pub(super) own: Replica,
    pub(super) held: Arc<HeldMap>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) metrics: Metrics,
    pub(super) hindrances: Remarks,
    pub(super) remarks: Remarks,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Pages {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/-/healthy", get(healthy))
            .route("/-/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/cluster", get(cluster))
            .route("/api/v1/status/cluster", get(cluster))
            .with_state(Arc::new(self))
    }

    /// Whether those who need this node find it. Nobody looks for front doors; others must be in the map as they are.
    fn is_found(&self) -> bool {
        let map = self.held.map().borrow().clone();
        let is_recorded = map.node(&self.own.node).is_some_and(|node| node.incarnation == self.own.incarnation);
        matches!(self.role, Role::Distributor | Role::Querier) || is_recorded
    }

    /// Why this node cannot do its job; empty where it can.
    fn hindrances(&self) -> Vec<String> {
        if *self.stopped.borrow() {
            return vec!["stopping".to_owned()];
        }
        let mut found = Vec::new();
        match &*self.standing.borrow() {
            // Without a ruler a node goes on with the map that it has.
            Standing::Joined | Standing::Unheard => {}
            // Nor does one that is on record from before, or that nobody looks for.
            Standing::Joining if self.is_found() => {}
            Standing::Joining => found.push("joining the cluster".to_owned()),
            Standing::Refused(reason) => found.push(format!("the cluster refuses this node: {reason}")),
        }
        if self.held.map().borrow().cluster().is_none() {
            found.push("no cluster map has come yet".to_owned());
        }
        found.extend((self.hindrances)());
        found
    }
}

async fn healthy(State(pages): State<Arc<Pages>>) -> String {
    format!("Narthex {} is healthy.\n", pages.role.as_str())
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    let hindrances = pages.hindrances();
    let (status, word) = match hindrances.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let map = pages.held.map().borrow().clone();
    let short = shortcomings(&map);
    let mut text = format!("Narthex {} is {word}.\n", pages.role.as_str());
    let lines = hindrances.into_iter().chain((pages.remarks)()).chain(short.iter().map(ToString::to_string));
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
    let data = map_as_json(&pages.held.map().borrow(), pages.held.age());
    let page = json!({ "status": "success", "data": data });
    ([(header::CONTENT_TYPE, "application/json")], page.to_string()).into_response()
}
