//! `POST /-/reload` and `/-/quit` of roles without the query API.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::sync::Notify;

use crate::configured::Configured;

/// The two pages; refused in Prometheus' words where they are not enabled.
pub(crate) fn router(configured: Arc<Configured>, quit: Arc<Notify>, enabled: bool) -> Router {
    if !enabled {
        let refused = || async { (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.") };
        return Router::new().route("/-/reload", any(refused)).route("/-/quit", any(refused));
    }
    let reload = move || {
        let configured = configured.clone();
        async move {
            // A task of its own: it goes on when the caller goes away.
            match tokio::spawn(async move { configured.reload().await }).await {
                Ok(Ok(())) => StatusCode::OK.into_response(),
                Ok(Err(e)) => failed(&e),
                Err(e) => failed(&e.to_string()),
            }
        }
    };
    let quit = move || {
        let quit = quit.clone();
        async move {
            quit.notify_one();
            "Requesting termination... Goodbye!"
        }
    };
    let router = Router::new().route("/-/reload", axum::routing::post(reload.clone()).put(reload));
    router.route("/-/quit", axum::routing::post(quit.clone()).put(quit))
}

fn failed(why: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n")).into_response()
}
