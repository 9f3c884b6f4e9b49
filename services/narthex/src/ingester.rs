//! `narthex ingester`: holds the recent samples of its partitions.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use cluster::Role;

use crate::flags::WalSync;
use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;

/// Flags of `narthex ingester`.
#[derive(Args, Debug, Clone)]
#[allow(dead_code, reason = "`serve_role` will read them")]
pub(crate) struct Ingester {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Object store of the blocks, in Thanos' form.
    #[arg(long = "objstore.config-file", value_name = "FILE")]
    pub(crate) objstore_config_file: PathBuf,
    /// When what was written is made to survive power loss: before each acknowledgement, or every 100 ms (a killed process
    /// loses nothing either way).
    #[arg(long = "wal.sync", value_name = "WHEN", default_value = "commit")]
    pub(crate) wal_sync: WalSync,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Ingester) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Ingester, has_disk: true, stays: true };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

/// TO BE WIRED: the ingester, its pulling and closing, `wire::IngesterService`. Until then the sub-command is hidden,
/// and this is where it ends, before the node has joined.
async fn serve_role(_node: &Node, _flags: &Ingester) -> anyhow::Result<Serving> {
    bail!("narthex ingester: not built yet")
}
