//! Flags of what answers queries: `narthex all` and `narthex querier`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use model::DurationMs;
use promql::{engine, features};
use querier::{ActiveQueries, ApiOptions, Evaluator};
use regexp::Regexp;
use server::ComputePool;
use storage::Queryable;
use tracing::{info, warn};

use crate::configured::Configured;
use crate::flags::{duration, model_duration};

/// Computations waiting for a thread.
const COMPUTE_QUEUE_MAX: usize = 256;

/// How queries are answered.
#[derive(Args, Debug, Clone)]
pub(crate) struct QueryFlags {
    /// The URL under which users reach this server.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub(crate) external_url: Option<String>,
    /// Allow POST /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
    /// Accepted for compatibility: the remote-write receiver is always on.
    #[arg(long = "web.enable-remote-write-receiver")]
    pub(crate) enable_remote_write_receiver: bool,
    /// Regular expression of origins that browsers may call from.
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*")]
    pub(crate) cors_origin: String,
    /// How old the newest sample of a series may be.
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = model_duration)]
    pub(crate) lookback_delta: DurationMs,
    /// How long a query may take.
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub(crate) query_timeout: Duration,
    /// Queries at once.
    #[arg(long = "query.max-concurrency", value_name = "N", default_value_t = 20)]
    pub(crate) query_max_concurrency: usize,
    /// Samples that a query may hold in memory.
    #[arg(long = "query.max-samples", value_name = "N", default_value_t = 50_000_000)]
    pub(crate) query_max_samples: u64,
    /// Experimental features, comma separated, by Prometheus' names.
    #[arg(long = "enable-feature", value_name = "NAMES", value_delimiter = ',')]
    pub(crate) enable_feature: Vec<String>,
}

impl QueryFlags {
    /// As `/api/v1/status/flags` shows them.
    pub(crate) fn as_pairs(&self) -> Vec<(&'static str, String)> {
        let timeout = DurationMs(i64::try_from(self.query_timeout.as_millis()).unwrap_or(i64::MAX));
        vec![
            ("web.external-url", self.external_url.clone().unwrap_or_default()),
            ("web.enable-lifecycle", self.enable_lifecycle.to_string()),
            ("web.enable-remote-write-receiver", "true".to_owned()),
            ("web.cors.origin", self.cors_origin.clone()),
            ("query.lookback-delta", self.lookback_delta.to_string()),
            ("query.timeout", timeout.to_string()),
            ("query.max-concurrency", self.query_max_concurrency.to_string()),
            ("query.max-samples", self.query_max_samples.to_string()),
            ("enable-feature", self.enable_feature.join(",")),
        ]
    }

    /// Evaluates over `store`, on threads of its own. Queries under way are written down in `folder`, where there is one, so that
    /// a start after a crash says which they were.
    pub(crate) fn evaluator(&self, store: Arc<dyn Queryable>, folder: Option<&Path>) -> anyhow::Result<Evaluator> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pool = ComputePool::start(threads, COMPUTE_QUEUE_MAX).context("start compute pool")?;
        let limits = querier::Limits { concurrency_max: self.query_max_concurrency, ..querier::Limits::default() };
        let evaluator = Evaluator::new(store, pool, limits);
        let Some(folder) = folder else { return Ok(evaluator) };
        let (active, unfinished) =
            ActiveQueries::open(folder, limits.concurrency_max).context("open queries.active")?;
        if let Some(queries) = unfinished {
            info!(queries, "these queries did not finish in the last run");
        }
        Ok(evaluator.with_active_queries(active))
    }

    /// What the API is told of them; says which features are not there.
    pub(crate) fn api_options(&self, configured: &Arc<Configured>) -> anyhow::Result<ApiOptions> {
        for feature in self.enable_feature.iter().filter(|f| !features::is_known(f)) {
            warn!(feature, "this feature of --enable-feature is not supported and does nothing");
        }
        let (parse, engine) = features::options(|feature| self.enable_feature.iter().any(|f| f == feature));
        let configured = configured.clone();
        Ok(ApiOptions {
            query_timeout: self.query_timeout,
            lookback: self.lookback_delta,
            subquery_step: Arc::new(move || configured.config().global.evaluation_interval),
            query_limits: engine::Limits { samples_max: self.query_max_samples, ..Default::default() },
            engine,
            parse,
            cors_origin: Regexp::matcher(&self.cors_origin).context("parse --web.cors.origin")?,
            lifecycle_enabled: self.enable_lifecycle,
            ..ApiOptions::default()
        })
    }
}
