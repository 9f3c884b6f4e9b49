//! The front door: answers from the first moment on, 503 until the log is replayed and the routes are known.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

/// Routes that come later.
#[derive(Clone, Default)]
pub(crate) struct Front(Arc<OnceLock<Router>>);

impl Front {
    /// From now on `router` answers. The first one stays.
    pub(crate) fn open(&self, router: Router) {
        drop(self.0.set(router));
    }

    /// What a listener serves.
    pub(crate) fn router(&self) -> Router {
        let front = self.clone();
        Router::new().fallback(move |request: Request| front.clone().answer(request))
    }

    async fn answer(self, request: Request) -> Response {
        match self.0.get() {
            Some(router) => router.clone().oneshot(request).await.into_response(),
            None if request.uri().path() == "/-/healthy" => "Prometheus Server is Healthy.\n".into_response(),
            None => {
                let header = [(HeaderName::from_static("x-prometheus-stopping"), "false")];
                (StatusCode::SERVICE_UNAVAILABLE, header, "Service Unavailable\n").into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;

    async fn status(router: &Router, path: &str) -> u16 {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn nothing_but_health_is_answered_before_the_routes_are_known() {
        let front = Front::default();
        let router = front.router();
        assert_eq!(status(&router, "/-/ready").await, 503);
        assert_eq!(status(&router, "/-/healthy").await, 200);
        front.open(Router::new().route("/-/ready", get(|| async { "yes" })));
        assert_eq!(status(&router, "/-/ready").await, 200);
        assert_eq!(status(&router, "/nothing").await, 404);
    }
}
