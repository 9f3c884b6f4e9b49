//! `narthex store`: serves blocks out of the bucket.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use cluster::Role;

use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;

/// Flags of `narthex store`.
#[derive(Args, Debug, Clone)]
#[allow(dead_code, reason = "`serve_role` will read them")]
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

/// TO BE WIRED: the blocks, `wire::StoreService`. Until then the sub-command is hidden, and this is where it ends,
/// before the node has joined.
async fn serve_role(_node: &Node, _flags: &Store) -> anyhow::Result<Serving> {
    bail!("narthex store: not built yet")
}
