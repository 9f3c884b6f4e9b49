//! `narthex store`: serves blocks out of the bucket.

use std::path::PathBuf;
use std::sync::Arc;

use ::store::{BlockStore, Config, Limits, Metrics};
use anyhow::Context;
use clap::Args;
use cluster::Role;
use tonic::service::Routes;
use wire::StoreService;

use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;
use crate::storage_parts;

/// Flags of `narthex store`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Store {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Object store of the blocks, in Thanos' form.
    #[arg(long = "objstore.config-file", value_name = "FILE")]
    pub(crate) objstore_config_file: PathBuf,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Store) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Store, has_disk: true, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

async fn serve_role(node: &Node, flags: &Store) -> anyhow::Result<Serving> {
    let bucket = storage_parts::open_bucket(Some(&flags.objstore_config_file), &flags.node.storage_path)?;
    let metrics = Metrics::default();
    node.metrics.register(|registry| metrics.register(registry));
    let map = node.map.clone();
    let config = Config {
        bucket,
        folder: flags.node.storage_path.join("headers"),
        cluster: Arc::new(move || map.borrow().cluster().map(|cluster| format!("{:032x}", cluster.0))),
        limits: Limits::default(),
        metrics,
    };
    let store = BlockStore::new(config).context("start the store")?;
    let (listing, mut stopped) = (store.clone(), node.stopped.clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            // Cancel-safe because a listing that is given up leaves the one before.
            () = listing.run() => {}
            () = storage_parts::stopped(&mut stopped) => {}
        }
    });
    let mut services = Routes::builder();
    services.add_service(StoreService::server(node.own.clone(), Arc::new(store.clone())));
    Ok(Serving {
        services,
        hindrances: Arc::new(move || match store.age() {
            Some(_) => Vec::new(),
            None => vec!["the bucket was not listed yet".to_owned()],
        }),
        stop: Box::pin(async move { Ok(task.await?) }),
        ..Serving::nothing()
    })
}
