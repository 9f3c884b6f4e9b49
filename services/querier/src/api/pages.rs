//! What is not under `/api/v1`: the start page, `/metrics`, `/version`, and the state of the process under `/-/`.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, any};

use super::answer::{empty, error_text, text, with_type};
use super::{Api, method_not_allowed, status};

const START_PAGE: &str = include_str!("start.html");

const GET: &[Method] = &[Method::GET];
const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/", page(api, GET, |_, _| with_type(StatusCode::OK, "text/html; charset=utf-8", START_PAGE)))
        .route("/query", page(api, GET, |_, _| with_type(StatusCode::OK, "text/html; charset=utf-8", START_PAGE)))
        .route("/graph", page(api, GET, |_, request| old_graph(request)))
        .route("/metrics", page(api, GET, |api, _| metrics(api)))
        .route("/version", page(api, GET, |api, _| version(api)))
        .route("/-/healthy", page(api, GET_HEAD, |_, request| state(request, "Prometheus Server is Healthy.\n")))
        .route("/-/ready", page(api, GET_HEAD, ready))
        .route("/-/reload", steer(api, Action::Reload))
        .route("/-/quit", steer(api, Action::Quit))
}

fn page(api: &Arc<Api>, methods: &'static [Method], answer: fn(&Api, &Request) -> Response) -> MethodRouter {
    let api = api.clone();
    any(move |request: Request| async move {
        if methods.contains(request.method()) {
            answer(&api, &request)
        } else if *request.method() == Method::OPTIONS {
            api.options_answer(methods, &request)
        } else {
            method_not_allowed(methods)
        }
    })
}

/// Links of old dashboards and alerts go on to the start page, which knows their parameters.
fn old_graph(request: &Request) -> Response {
    let location = format!("/query?{}", request.uri().query().unwrap_or(""));
    let mut response = empty(StatusCode::FOUND);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn metrics(api: &Api) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    with_type(StatusCode::OK, content_type, api.sources.metrics.encode())
}

fn version(api: &Api) -> Response {
    let mut json = Vec::new();
    status::put_build_info(api, &mut json);
    json.push(b'\n');
    // As in Prometheus, which does not say that it is JSON.
    text(StatusCode::OK, json)
}

fn state(request: &Request, words: &'static str) -> Response {
    if *request.method() == Method::HEAD { empty(StatusCode::OK) } else { text(StatusCode::OK, words) }
}

fn ready(api: &Api, request: &Request) -> Response {
    api.not_ready().unwrap_or_else(|| state(request, "Prometheus Server is Ready.\n"))
}

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Reload,
    Quit,
}

fn steer(api: &Arc<Api>, action: Action) -> MethodRouter {
    let api = api.clone();
    any(move |request: Request| async move {
        match *request.method() {
            Method::POST | Method::PUT if !api.options.lifecycle_enabled => {
                text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
            }
            Method::POST | Method::PUT => act(&api, action).await,
            Method::GET => text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed"),
            Method::OPTIONS => api.options_answer(&[Method::GET, Method::POST, Method::PUT], &request),
            _ => method_not_allowed(&[Method::GET, Method::POST, Method::PUT]),
        }
    })
}

async fn act(api: &Api, action: Action) -> Response {
    let lifecycle = &api.sources.lifecycle;
    match action {
        Action::Reload => match lifecycle.reload().await {
            Ok(()) => empty(StatusCode::OK),
            Err(problem) => {
                error_text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {problem}\n"))
            }
        },
        Action::Quit if lifecycle.quit() => text(StatusCode::OK, "Requesting termination... Goodbye!"),
        Action::Quit => text(StatusCode::OK, "Termination already in progress."),
    }
}
