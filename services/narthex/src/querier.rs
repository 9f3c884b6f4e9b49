//! `narthex querier`: PromQL and Prometheus' HTTP API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use cluster::Role;
use model::DurationMs;

use crate::flags::{duration, model_duration};
use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;

/// Flags of `narthex querier`.
#[derive(Args, Debug, Clone)]
#[allow(dead_code, reason = "`serve_role` will read them")]
pub(crate) struct Querier {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// The URL under which users reach this server.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub(crate) external_url: Option<String>,
    /// Allow POST /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
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

/// Runs until a signal to stop.
pub(crate) fn run(flags: Querier) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Querier, has_disk: false, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

/// TO BE WIRED: the API over the union of members and stores of `node.connections`. Until then the sub-command is
/// hidden, and this is where it ends, before the node has joined.
async fn serve_role(_node: &Node, _flags: &Querier) -> anyhow::Result<Serving> {
    bail!("narthex querier: not built yet")
}
