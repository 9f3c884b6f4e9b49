//! `narthex scraper`: discovers targets and scrapes its share of them.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use cluster::Role;

use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;

/// Flags of `narthex scraper`.
#[derive(Args, Debug, Clone)]
#[allow(dead_code, reason = "`serve_role` will read them")]
pub(crate) struct Scraper {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Allow POST /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Scraper) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Scraper, has_disk: false, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

/// TO BE WIRED: the scraper with its share of the map over a writer with `node.connections`, `wire::ScraperService`,
/// and as `wind_down` the time until others have taken over. Until then the sub-command is hidden, and this is where
/// it ends, before the node has joined.
async fn serve_role(_node: &Node, _flags: &Scraper) -> anyhow::Result<Serving> {
    bail!("narthex scraper: not built yet")
}
