//! `narthex distributor`: takes remote write.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use cluster::Role;

use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;

/// Flags of `narthex distributor`.
#[derive(Args, Debug, Clone)]
#[allow(dead_code, reason = "`serve_role` will read them")]
pub(crate) struct Distributor {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Distributor) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Distributor, has_disk: false, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

/// TO BE WIRED: the distributor over a writer with `node.connections`. Until then the sub-command is hidden, and this
/// is where it ends, before the node has joined.
async fn serve_role(_node: &Node, _flags: &Distributor) -> anyhow::Result<Serving> {
    bail!("narthex distributor: not built yet")
}
