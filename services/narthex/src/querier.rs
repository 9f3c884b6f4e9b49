//! `narthex querier`: PromQL and Prometheus' HTTP API over the whole cluster, and the front door for writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ::distributor::Distributor;
use ::querier::{Api, ApiSources, ExemplarSeries, ExemplarSource, MetadataSource, ScrapersOfCluster};
use clap::Args;
use cluster::Role;
use fanout::{Cluster, Timing};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Matcher, Metadata, TenantId, TimeRange};
use server::clock;
use storage::SelectError;
use tokio::sync::watch;

use crate::configured::{Configured, Source, Users};
use crate::distributor::writer;
use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;
use crate::query_flags::QueryFlags;
use crate::state::{Running, State};

/// Flags of `narthex querier`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Querier {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml: `global` and `storage.tsdb.out_of_order_time_window` are read.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    #[command(flatten)]
    pub(crate) query: QueryFlags,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Querier) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Querier, has_disk: false, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

async fn serve_role(node: &Node, flags: &Querier) -> anyhow::Result<Serving> {
    let configured = Configured::load(Source { file: flags.config_file.clone(), retention: None }, &node.metrics)?;
    let metrics = fanout::Metrics::default();
    node.metrics.register(|registry| metrics.register(registry));
    let timing = Timing { recent: configured.window(), ..Timing::default() };
    let (members, stores) = (node.connections.clone(), node.connections.clone());
    let cluster = Cluster::new(node.map.clone(), members, stores, timing, Arc::new(clock::now), metrics);
    let writer = writer(node, &configured);
    let distributor = Distributor::new(writer.clone(), ::distributor::Limits::default(), &node.metrics);
    let (stop, mut told) = watch::channel(false);
    let state = Arc::new(State::new(flags.as_map(), configured.clone(), None, stop));
    let of_cluster = Arc::new(OfCluster(cluster.clone()));
    let sources = ApiSources {
        status: state.clone(),
        lifecycle: Arc::new(Running(state.clone())),
        targets: Some(Arc::new(ScrapersOfCluster::new(node.connections.clone()))),
        metadata: Some(of_cluster.clone()),
        exemplars: Some(of_cluster),
        metrics: node.metrics.clone(),
    };
    let evaluator = flags.query.evaluator(Arc::new(cluster), None)?;
    let api = Arc::new(Api::new(evaluator, sources, flags.query.api_options(&configured)?));
    configured.start(Users { writer: Some(writer), scraper: None }).await?;
    drop(tokio::spawn(configured.reload_on_hangup(node.stopped.clone())));
    state.set_ready();
    let quit = node.quit.clone();
    drop(tokio::spawn(async move {
        if told.wait_for(|told| *told).await.is_ok() {
            quit.notify_one();
        }
    }));
    Ok(Serving { router: api.router().merge(distributor.router()), ..Serving::nothing() })
}

impl Querier {
    /// All flags as `/api/v1/status/flags` shows them.
    fn as_map(&self) -> BTreeMap<String, String> {
        let mut flags = self.node.as_pairs();
        flags.push(("config.file", self.config_file.to_string_lossy().into_owned()));
        flags.extend(self.query.as_pairs());
        flags.into_iter().map(|(flag, value)| (flag.to_owned(), value)).collect()
    }
}

/// What ingesters know besides samples.
struct OfCluster(Cluster);

impl MetadataSource for OfCluster {
    fn metadata(&self, tenant: &TenantId, family: Option<&str>) -> BoxFuture<'_, BTreeMap<String, Vec<Metadata>>> {
        let (tenant, family) = (tenant.clone(), family.map(str::to_owned));
        async move {
            let all = self.0.metadata(tenant).await.into_iter();
            all.filter(|(name, _)| family.as_ref().is_none_or(|f| f == name)).map(|(name, m)| (name, vec![m])).collect()
        }
        .boxed()
    }
}

impl ExemplarSource for OfCluster {
    fn exemplars(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        matcher_sets: Vec<Vec<Matcher>>,
    ) -> BoxFuture<'static, Result<Vec<ExemplarSeries>, SelectError>> {
        let (cluster, tenant) = (self.0.clone(), tenant.clone());
        async move {
            let found = cluster.exemplars(tenant, range, matcher_sets).await;
            Ok(found.into_iter().map(|s| ExemplarSeries { labels: s.labels, exemplars: s.exemplars }).collect())
        }
        .boxed()
    }
}
