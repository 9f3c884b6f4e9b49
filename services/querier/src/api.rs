//! Prometheus' HTTP API over whatever holds series: routes, methods, headers; what each endpoint does is in the modules below.
//!
//! Writing (`/api/v1/write`) is the distributor's. Not here yet, and answered with `not_found`: rules and alerts, remote read,
//! live notifications, self metrics, blocks, the OpenAPI description.

mod answer;
mod error;
mod features;
mod federate;
mod form;
mod json;
mod pages;
mod params;
mod query;
mod result;
mod series;
mod status;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use futures::future::BoxFuture;
use model::DurationMs;
use promql::{ParseOptions, engine};
use regexp::Regexp;
use server::Metrics;
use tokio::time::Instant;
use tracing::error;

use crate::metrics::HttpMetrics;
use crate::{Evaluator, ExemplarSource, Lifecycle, MetadataSource, Readiness, StatusSource, TargetSource};
use answer::{ApiResult, Encoding};
use error::{ApiError, ErrorType};
use form::Form;
pub(crate) use json::put_text;
pub(crate) use params::fuzz as fuzz_parameters;

/// Bounds and ways of the API.
#[derive(Clone)]
pub struct ApiOptions {
    /// The longest that a query may take (`--query.timeout`).
    pub query_timeout: Duration,
    /// How old the sample of an instant may be (`--query.lookback-delta`).
    pub lookback: DurationMs,
    /// The step of subqueries that name none: the configuration's `evaluation_interval`, which a reload changes.
    pub subquery_step: Arc<dyn Fn() -> DurationMs + Send + Sync>,
    /// Bounds of one query (`--query.max-samples`).
    pub query_limits: engine::Limits,
    /// Ways of evaluation.
    pub engine: engine::Options,
    /// Parts of the language that are on.
    pub parse: ParseOptions,
    /// Who may read answers in a browser (`--web.cors.origin`).
    pub cors_origin: Regexp,
    /// Whether `/-/reload` and `/-/quit` do something (`--web.enable-lifecycle`).
    pub lifecycle_enabled: bool,
    /// Bytes of a form in a body: protects memory. Prometheus has 10 MiB.
    pub body_bytes_max: usize,
}

impl Default for ApiOptions {
    fn default() -> ApiOptions {
        ApiOptions {
            query_timeout: Duration::from_secs(120),
            lookback: DurationMs::mins(5),
            subquery_step: Arc::new(|| DurationMs::mins(1)),
            query_limits: engine::Limits::default(),
            engine: engine::Options::default(),
            parse: ParseOptions::default(),
            cors_origin: Regexp::matcher(".*").expect("a pattern"),
            lifecycle_enabled: false,
            body_bytes_max: 10 << 20,
        }
    }
}

/// What the API tells besides series. Endpoints of what a role does not have answer `not_found`.
#[derive(Clone)]
pub struct ApiSources {
    /// The process and its configuration.
    pub status: Arc<dyn StatusSource>,
    /// Steers the process.
    pub lifecycle: Arc<dyn Lifecycle>,
    /// What is scraped.
    pub targets: Option<Arc<dyn TargetSource>>,
    /// Types, helps, units.
    pub metadata: Option<Arc<dyn MetadataSource>>,
    /// Exemplars.
    pub exemplars: Option<Arc<dyn ExemplarSource>>,
    /// The page of `/metrics`.
    pub metrics: Metrics,
}

/// The HTTP API.
pub struct Api {
    evaluator: Evaluator,
    sources: ApiSources,
    options: ApiOptions,
    metrics: HttpMetrics,
}

type Endpoint = for<'a> fn(&'a Api, &'a Form) -> BoxFuture<'a, ApiResult>;

/// What stands around an endpoint.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    /// Readiness, compression, CORS: nearly everything.
    Everything,
    /// Readiness and CORS: the search API.
    ReadinessAndCors,
    /// CORS alone: what is asked while the process starts.
    Cors,
}

const GET: &[Method] = &[Method::GET];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const POST_PUT: &[Method] = &[Method::POST, Method::PUT];

/// An endpoint that waits for something.
macro_rules! waits {
    ($f:path) => {
        |api, form| Box::pin($f(api, form))
    };
}

/// An endpoint that answers at once.
macro_rules! at_once {
    (|$api:ident, $form:ident| $answer:expr) => {
        |$api, $form| {
            let answer = $answer;
            Box::pin(async move { answer })
        }
    };
}

/// An endpoint of Prometheus that is not built.
macro_rules! missing {
    ($what:literal) => {
        at_once!(|_api, _form| Err(ApiError::missing($what)))
    };
}

impl Api {
    /// The API over the store of `evaluator`. Registers metrics, hence once per process.
    pub fn new(evaluator: Evaluator, sources: ApiSources, options: ApiOptions) -> Api {
        let metrics = HttpMetrics::register(&sources.metrics);
        Api { evaluator, sources, options, metrics }
    }

    /// All routes, and a fallback for what is none. Routes of other services are merged in.
    pub fn router(self: &Arc<Api>) -> Router {
        pages::routes(self)
            .merge(federate::routes(self))
            .merge(self.series_routes())
            .merge(self.status_routes())
            .merge(self.routes_not_built())
            .fallback(any({
                let api = self.clone();
                move |request: Request| async move { api.no_such_route(&request) }
            }))
    }

    fn series_routes(self: &Arc<Api>) -> Router {
        let both = |endpoint| self.route(GET_POST, Around::Everything, endpoint);
        Router::new()
            .route("/api/v1/query", both(waits!(query::instant)))
            .route("/api/v1/query_range", both(waits!(query::range)))
            .route("/api/v1/query_exemplars", both(waits!(query::exemplars)))
            .route("/api/v1/format_query", both(at_once!(|api, form| query::format(api, form))))
            .route("/api/v1/parse_query", both(at_once!(|api, form| query::parse(api, form))))
            .route("/api/v1/labels", both(waits!(series::names)))
            .route("/api/v1/series", both(waits!(series::series)))
            .route("/api/v1/label/{name}/values", self.get(waits!(series::values)))
    }

    fn status_routes(self: &Arc<Api>) -> Router {
        let early = |endpoint| self.route(GET, Around::Cors, endpoint);
        Router::new()
            .route("/api/v1/targets", self.get(waits!(targets::targets)))
            .route("/api/v1/targets/metadata", self.get(waits!(targets::target_metadata)))
            .route("/api/v1/targets/relabel_steps", self.get(waits!(targets::relabel_steps)))
            .route("/api/v1/scrape_pools", self.get(waits!(targets::scrape_pools)))
            .route("/api/v1/metadata", self.get(waits!(targets::metadata)))
            .route("/api/v1/status/config", self.get(at_once!(|api, _form| status::config(api))))
            .route("/api/v1/status/flags", self.get(at_once!(|api, _form| status::flags(api))))
            .route("/api/v1/status/runtimeinfo", self.get(at_once!(|api, _form| status::runtime_info(api))))
            .route("/api/v1/status/buildinfo", self.get(at_once!(|api, _form| status::build_info(api))))
            .route("/api/v1/status/tsdb", self.get(waits!(status::tsdb)))
            .route("/api/v1/status/walreplay", early(at_once!(|api, _form| status::wal_replay(api))))
            .route("/api/v1/notifications", early(at_once!(|api, _form| status::notifications(api))))
            .route("/api/v1/features", self.get(at_once!(|api, _form| features::features(api))))
    }

    fn routes_not_built(self: &Arc<Api>) -> Router {
        // As in Prometheus without the flags for them.
        const SEARCH: Endpoint = at_once!(|_api, _form| Err(ApiError::unavailable("search API disabled")));
        const ADMIN: Endpoint = at_once!(|_api, _form| Err(ApiError::unavailable("admin APIs disabled")));
        let search = || self.route(GET_POST, Around::ReadinessAndCors, SEARCH);
        let admin = || self.route(POST_PUT, Around::Everything, ADMIN);
        Router::new()
            .route("/api/v1/search/metric_names", search())
            .route("/api/v1/search/label_names", search())
            .route("/api/v1/search/label_values", search())
            .route("/api/v1/admin/tsdb/delete_series", admin())
            .route("/api/v1/admin/tsdb/clean_tombstones", admin())
            .route("/api/v1/admin/tsdb/snapshot", admin())
            .route("/api/v1/rules", self.get(missing!("rules")))
            .route("/api/v1/alerts", self.get(missing!("alerts")))
            .route("/api/v1/alertmanagers", self.get(missing!("notifications to Alertmanager")))
            .route("/api/v1/read", self.route(&[Method::POST], Around::Everything, missing!("remote read")))
            // The distributor's route answers POST where it is merged in; what stands around it is the same for all of the API.
            .route(
                "/api/v1/write",
                self.route(&[Method::POST], Around::Everything, missing!("remote write in this role")),
            )
            .route("/api/v1/status/tsdb/blocks", self.get(missing!("a list of blocks")))
            .route("/api/v1/status/self_metrics", self.get(missing!("metrics of itself as JSON; see /metrics")))
            .route("/api/v1/notifications/live", self.get(missing!("live notifications; see /api/v1/notifications")))
            .route("/api/v1/openapi.yaml", self.get(missing!("an OpenAPI description")))
    }

    fn get(self: &Arc<Api>, endpoint: Endpoint) -> MethodRouter {
        self.route(GET, Around::Everything, endpoint)
    }

    /// `methods` in the order of their names. `OPTIONS` is always answered.
    fn route(self: &Arc<Api>, methods: &'static [Method], around: Around, endpoint: Endpoint) -> MethodRouter {
        let api = self.clone();
        any(move |request: Request| async move {
            if methods.contains(request.method()) {
                let path = request.uri().path().to_owned();
                let asked = Instant::now();
                let response = api.answer(around, endpoint, request).await;
                api.metrics.answered(&path, response.status().as_u16(), asked.elapsed().as_secs_f64());
                response
            } else if *request.method() == Method::OPTIONS {
                api.options_answer(methods, &request)
            } else {
                method_not_allowed(methods)
            }
        })
    }

    async fn answer(&self, around: Around, endpoint: Endpoint, request: Request) -> Response {
        if let (Around::Everything | Around::ReadinessAndCors, Some(response)) = (around, self.not_ready()) {
            return response;
        }
        let (parts, body) = request.into_parts();
        let compressed = around == Around::Everything;
        let encoding = if compressed { Encoding::of_request(&parts.headers) } else { Encoding::Identity };
        let is_form = matches!(parts.method, Method::POST | Method::PUT)
            && parts.headers.get(header::CONTENT_TYPE).is_some_and(is_form_type);
        let body = match is_form {
            true => to_bytes(body, self.options.body_bytes_max).await.map(Some),
            false => Ok(None),
        };
        let result = match body {
            Ok(body) => {
                let form = Form::parse(parts.uri.path(), parts.uri.query().unwrap_or(""), body.as_deref());
                endpoint(self, &form).await
            }
            Err(_) => Err(ApiError::bad_data("error parsing form values: http: POST too large")),
        };
        if let Err(ApiError { error_type: ErrorType::Internal, text }) = &result {
            error!(path = parts.uri.path(), error = text, "request failed inside");
        }
        let mut response = answer::respond(result, encoding, self.evaluator.pool()).await;
        if compressed {
            answer::vary_by_encoding(response.headers_mut());
        }
        self.set_cors(&mut response, parts.headers.get(header::ORIGIN));
        response
    }

    /// Runs `f` on the compute pool.
    async fn compute<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        self.evaluator.pool().run(f).await.ok_or_else(|| ApiError::internal("the answer failed inside"))
    }

    fn set_cors(&self, response: &mut Response, origin: Option<&HeaderValue>) {
        answer::set_cors(response.headers_mut(), &self.options.cors_origin, origin);
    }

    /// The answer while the process starts or stops.
    fn not_ready(&self) -> Option<Response> {
        let stopping = match self.sources.lifecycle.readiness() {
            Readiness::Ready => return None,
            Readiness::NotReady => "false",
            Readiness::Stopping => "true",
        };
        let mut response = answer::text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        response.headers_mut().insert("x-prometheus-stopping", HeaderValue::from_static(stopping));
        Some(response)
    }

    /// Within the API browsers ask first, whatever the path.
    fn options_answer(&self, methods: &[Method], request: &Request) -> Response {
        if !request.uri().path().starts_with("/api/v1/") {
            let mut response = answer::empty(StatusCode::OK);
            response.headers_mut().insert(header::ALLOW, allow(methods));
            return response;
        }
        if let Some(response) = self.not_ready() {
            return response;
        }
        let mut response = answer::empty(StatusCode::NO_CONTENT);
        answer::vary_by_encoding(response.headers_mut());
        self.set_cors(&mut response, request.headers().get(header::ORIGIN));
        response
    }

    fn no_such_route(&self, request: &Request) -> Response {
        if *request.method() == Method::OPTIONS && request.uri().path().starts_with("/api/v1/") {
            return self.options_answer(&[], request);
        }
        answer::error_text(StatusCode::NOT_FOUND, "404 page not found\n")
    }
}

fn is_form_type(content_type: &HeaderValue) -> bool {
    let media_type = content_type.to_str().unwrap_or("").split(';').next().unwrap_or("");
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// `GET, OPTIONS, POST`
fn allow(methods: &[Method]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
    names.sort_unstable();
    HeaderValue::from_str(&names.join(", ")).expect("names of methods are header text")
}

fn method_not_allowed(methods: &[Method]) -> Response {
    let mut response = answer::error_text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers_mut().insert(header::ALLOW, allow(methods));
    response
}
