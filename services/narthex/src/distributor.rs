//! `narthex distributor`: takes remote write.

use std::path::PathBuf;
use std::sync::Arc;

use ::distributor::Distributor as Service;
use clap::Args;
use cluster::{ClusterMap, Role};
use tokio::sync::watch;
use writer::Writer;

use crate::configured::{Configured, Source, Users};
use crate::node::{self, Kind, Node, Remarks, Serving};
use crate::node_flags::NodeFlags;
use crate::{lifecycle, writer_metrics};

/// Flags of `narthex distributor`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Distributor {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml: `storage.tsdb.out_of_order_time_window` is read.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Allow POST /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Distributor) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Distributor, has_disk: false, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

async fn serve_role(node: &Node, flags: &Distributor) -> anyhow::Result<Serving> {
    let configured = Configured::load(Source { file: flags.config_file.clone(), retention: None }, &node.metrics)?;
    let writer = writer(node, &configured);
    let service = Service::new(writer.clone(), ::distributor::Limits::default(), &node.metrics);
    configured.start(Users { writer: Some(writer), scraper: None }).await?;
    drop(tokio::spawn(configured.clone().reload_on_hangup(node.stopped.clone())));
    let lifecycle = lifecycle::router(configured, node.quit.clone(), flags.enable_lifecycle);
    Ok(Serving {
        router: service.router().merge(lifecycle),
        hindrances: placed(node.map.clone()),
        ..Serving::nothing()
    })
}

/// A writer to the cluster's ingesters.
pub(crate) fn writer(node: &Node, configured: &Configured) -> Arc<Writer> {
    let limits = writer::Limits { window: configured.window(), ..writer::Limits::default() };
    let writer = Arc::new(Writer::new(rand::random(), node.map.clone(), node.connections.clone(), limits));
    writer_metrics::register(&node.metrics, &writer);
    writer
}

/// Nothing can be written before partitions are placed.
pub(crate) fn placed(map: watch::Receiver<Arc<ClusterMap>>) -> Remarks {
    Arc::new(move || {
        let map = map.borrow();
        let unplaced = map.unplaced().count();
        let waits = map.cluster().is_some() && (unplaced > 0 || map.groups().is_empty());
        if waits {
            vec![format!("{unplaced} partitions are not placed yet: writes to them are refused")]
        } else {
            Vec::new()
        }
    })
}
