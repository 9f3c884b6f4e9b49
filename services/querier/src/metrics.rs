//! What the querier tells of itself. The names are Prometheus', which existing dashboards read.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use server::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HandlerAndCode {
    code: u64,
    handler: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handler {
    handler: String,
}

/// Metrics of the HTTP API.
#[derive(Clone)]
pub(crate) struct HttpMetrics {
    /// Requests by route and status.
    requests: Family<HandlerAndCode, Counter>,
    /// Seconds until an answer began, by route.
    durations: Family<Handler, Histogram, fn() -> Histogram>,
}

impl HttpMetrics {
    pub(crate) fn register(metrics: &Metrics) -> HttpMetrics {
        let requests = Family::default();
        let buckets = || Histogram::new([0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0]);
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        metrics.register(|registry| {
            registry.register("prometheus_http_requests", "Counter of HTTP requests", requests.clone());
            let help = "Histogram of latencies for HTTP requests, until the answer begins";
            registry.register("prometheus_http_request_duration_seconds", help, durations.clone());
        });
        HttpMetrics { requests, durations }
    }

    /// Notes an answer to a request for `path`, which is that of a route.
    pub(crate) fn answered(&self, path: &str, status: u16, seconds: f64) {
        let is_label = path.starts_with("/api/v1/label/");
        let handler = if is_label { "/api/v1/label/:name/values" } else { path }.to_owned();
        let code = u64::from(status);
        self.durations.get_or_create(&Handler { handler: handler.clone() }).observe(seconds);
        self.requests.get_or_create(&HandlerAndCode { code, handler }).inc();
    }
}
