//! `narthex ingester`: holds the recent samples of its partitions.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use bucket::Bucket;
use clap::Args;
use cluster::{ClusterMap, Replica, Role};
use futures::FutureExt;
use futures::future::BoxFuture;
use ingester::{Closer, Ingester as Engine, OpenError, PullLimits};
use model::DurationMs;
use peer::Members;
use server::{Metrics, clock};
use tokio::sync::watch;
use tonic::service::Routes;
use tracing::{error, info, warn};
use wire::{Connections, IngesterService};

use crate::configured::{Configured, Source, Users};
use crate::flags::WalSync;
use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;
use crate::seat::{Seat, entry_of};
use crate::storage_parts::{self, Place, SNAPSHOT_INTERVAL, stopped};
use crate::{lifecycle, process_metrics};

/// A pull that ended longer ago than this says nothing about now.
const PULLED_LATELY: DurationMs = DurationMs::secs(10);

/// Flags of `narthex ingester`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Ingester {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml: `storage.tsdb.out_of_order_time_window` and `storage.exemplars` are read.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Allow POST /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
    /// Object store of the blocks, in Thanos' form.
    #[arg(long = "objstore.config-file", value_name = "FILE")]
    pub(crate) objstore_config_file: PathBuf,
    /// When what was written is made to survive power loss: before each acknowledgement, or every 100 ms (a killed process
    /// loses nothing either way).
    #[arg(long = "wal.sync", value_name = "WHEN", default_value = "commit")]
    pub(crate) wal_sync: WalSync,
    /// Bytes of log that are kept for members that do not answer; past it the group takes no writes.
    #[arg(long = "wal.retention-bytes", value_name = "BYTES", default_value_t = 8 << 30)]
    pub(crate) wal_retention_bytes: u64,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Ingester) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Ingester, has_disk: true, stays: true };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

async fn serve_role(node: &Node, flags: &Ingester) -> anyhow::Result<Serving> {
    let configured = Configured::load(Source { file: flags.config_file.clone(), retention: None }, &node.metrics)?;
    let bucket = storage_parts::open_bucket(Some(&flags.objstore_config_file), &flags.node.storage_path)?;
    let seat = Seat::default();
    let membership = Membership {
        flags: flags.clone(),
        configured: configured.clone(),
        bucket,
        replica: node.own.replica.clone(),
        map: node.map.clone(),
        connections: node.connections.clone(),
        metrics: node.metrics.clone(),
        seat: seat.clone(),
        stopped: node.stopped.clone(),
    };
    // A member that comes back replays its log before it says that it is there.
    let known = entry_of(&node.map.borrow(), &node.own.replica).is_some();
    let membership: BoxFuture<'static, anyhow::Result<()>> = if known {
        membership.sit_down().await?.run().boxed()
    } else {
        info!("this ingester is a member of no group yet");
        membership.wait_and_run().boxed()
    };
    let quit = node.quit.clone();
    let task = tokio::spawn(async move {
        if let Err(e) = membership.await {
            error!(error = format!("{e:#}"), "the ingester cannot be a member");
            quit.notify_one();
        }
    });
    configured.start(Users::default()).await?;
    drop(tokio::spawn(configured.clone().reload_on_hangup(node.stopped.clone())));
    let mut services = Routes::builder();
    services.add_service(IngesterService::server(node.own.clone(), Arc::new(seat.clone()), Some(node.map.clone())));
    let (hindered, remarked) = (seat.clone(), seat.clone());
    Ok(Serving {
        router: lifecycle::router(configured, node.quit.clone(), flags.enable_lifecycle),
        services,
        hindrances: Arc::new(move || hindrances(&hindered)),
        remarks: Arc::new(move || remarks(&remarked)),
        stop: Box::pin(async move {
            task.await?;
            if let Some(ingester) = seat.ingester().cloned() {
                tokio::task::spawn_blocking(move || ingester.stop()).await?;
            }
            Ok(())
        }),
        ..Serving::nothing()
    })
}

/// Why it cannot do its job. After a restart it has to catch up with those peers that answer.
fn hindrances(seat: &Seat) -> Vec<String> {
    let Some(ingester) = seat.ingester() else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(why) = ingester.status().log_failure {
        found.push(format!("the log takes no samples: {why}"));
    }
    for (peer, status) in ingester.status().peers {
        if status.pulled.is_none() && status.failure.is_none() {
            found.push(format!("nothing was pulled from {} yet", peer.node));
        }
    }
    found
}

/// What else is to be known: `repaired` is a line of its own once all members are filled and each peer's log is held here.
fn remarks(seat: &Seat) -> Vec<String> {
    let Some(ingester) = seat.ingester() else { return vec!["this ingester is a member of no group".to_owned()] };
    let (mut found, now) = (Vec::new(), clock::now());
    let entry = ingester.entry();
    if !entry.newest().all_filled() {
        found.push(format!("group {}: a member is not filled yet", entry.id()));
    }
    for (peer, status) in ingester.status().peers {
        let node = &peer.node;
        if let Some(failure) = &status.failure {
            found.push(format!("group {}: pulling from {node}: {failure}", entry.id()));
        } else if status.pulled.is_none_or(|at| now - at > PULLED_LATELY) {
            found.push(format!("group {}: nothing was pulled from {node} lately", entry.id()));
        } else if let Some(behind) = status.behind.filter(|behind| *behind > 0) {
            found.push(format!("group {}: {behind} positions of {node} are not held here yet", entry.id()));
        }
    }
    if found.is_empty() {
        found.push("repaired".to_owned());
    }
    found
}

/// What it takes to become a member, and to be one.
struct Membership {
    flags: Ingester,
    configured: Arc<Configured>,
    bucket: Bucket,
    replica: Replica,
    map: watch::Receiver<Arc<ClusterMap>>,
    connections: Arc<Connections>,
    metrics: Metrics,
    seat: Seat,
    stopped: watch::Receiver<bool>,
}

/// A member's loops.
struct Background {
    ingester: Arc<Engine>,
    closer: Closer,
    blocks: Arc<bucket::Blocks>,
    membership: Membership,
}

impl Membership {
    async fn wait_and_run(mut self) -> anyhow::Result<()> {
        let (mut map, mut stop) = (self.map.clone(), self.stopped.clone());
        let replica = self.replica.clone();
        tokio::select! {
            // Cancel-safe because both only wait.
            named = map.wait_for(|map| entry_of(map, &replica).is_some()) => { named.context("the map is followed no more")?; }
            () = stopped(&mut stop) => return Ok(()),
        }
        self.map = map;
        self.sit_down().await?.run().await
    }

    /// Opens the directory as the member that the map names, and serves it.
    async fn sit_down(self) -> anyhow::Result<Background> {
        let map = self.map.borrow().clone();
        let entry = entry_of(&map, &self.replica).context("the map does not name this ingester")?;
        let storage = &self.flags.node.storage_path;
        let (group, cluster) = (entry.id(), map.cluster().context("the cluster map has no cluster id")?);
        let place = Place {
            storage,
            replica: self.replica.clone(),
            entry,
            partition_count: map.partition_count(),
            wal_sync: self.flags.wal_sync,
            log_bytes_max: Some(self.flags.wal_retention_bytes),
        };
        let ingester = match storage_parts::open_ingester(place, &self.configured).await {
            Err(e) if matches!(e.downcast_ref::<OpenError>(), Some(OpenError::Damaged(_))) => {
                storage_parts::put_aside(storage)?;
                bail!("{e:#}; the node comes back as a new incarnation when it is started again");
            }
            opened => opened?,
        };
        process_metrics::register_ingester(&self.metrics, &ingester);
        let blocks = storage_parts::open_blocks(self.bucket.clone()).await?;
        let members: Arc<dyn Members> = self.connections.clone();
        self.connections.set_own_member(self.replica.clone(), ingester.clone());
        let closer =
            Closer::new(ingester.clone(), members, self.bucket.clone(), blocks.clone(), storage.join("cut"), cluster);
        self.seat.take(ingester.clone());
        info!(%group, "this ingester is a member");
        Ok(Background { ingester, closer, blocks, membership: self })
    }
}

impl Background {
    async fn run(self) -> anyhow::Result<()> {
        let Background { ingester, closer, blocks, membership } = self;
        let Membership { configured, map, connections, stopped, .. } = membership;
        let tasks = [
            tokio::spawn(ingester.clone().snapshot_loop(SNAPSHOT_INTERVAL, stopped.clone())),
            tokio::spawn(ingester.clone().pull_loop(connections, PullLimits::default(), stopped.clone())),
            tokio::spawn(storage_parts::maintain(closer, configured, blocks, false, stopped.clone())),
            tokio::spawn(follow(ingester, map, stopped)),
        ];
        for task in tasks {
            task.await?;
        }
        Ok(())
    }
}

/// Tells the ingester of newer entries of its group, and of what the map says was lost.
async fn follow(ingester: Arc<Engine>, mut map: watch::Receiver<Arc<ClusterMap>>, mut stop: watch::Receiver<bool>) {
    let group = ingester.entry().id();
    loop {
        let held = map.borrow_and_update().clone();
        if let Some(entry) = held.group(group) {
            ingester.adopt(&Arc::new(entry.clone()));
            if entry.newest().position(ingester.replica()).is_none() {
                warn!(%group, "this ingester is no member of the newest generation");
            }
        }
        tokio::select! {
            // Cancel-safe because both only wait.
            changed = map.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
    }
}
