//! The control plane in one process: a Raft group of one voter that holds the cluster map, as a cluster's three do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cluster::{
    Address, ClusterId, ClusterMap, Command, Hole, Incarnation, NodeId, Outcome, SingleNode, Zone, next_step,
};
use ingester::Ingester;
use model::TimestampMs;
use raft::{Alone, Node, Options, ProposeError};

/// The name of the only node.
const NODE: &str = "all";
/// Number of partitions of a single process, fixed at its birth.
pub(crate) const PARTITION_COUNT: u32 = 16;
/// How long the only voter may take to elect itself and commit.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Opens the Raft group of one, and brings the map to one node with all roles.
pub(crate) async fn open(storage: &Path, incarnation: Incarnation) -> anyhow::Result<Node> {
    let name = NodeId::new(NODE).context("node id")?;
    let address = Address::new("in-process").context("address")?;
    let zone = Zone::new("local").context("zone")?;
    let options = Options { dir: storage.join("raft"), name: name.clone(), address: address.clone() };
    let node = Node::open(options, Arc::new(Alone)).await?;
    if !node.metrics().initialized {
        node.initialize_single().await?;
    }
    node.recovered(RECOVERY_TIMEOUT).await?;
    let cluster = ClusterId(rand::random());
    let single = SingleNode { cluster, partition_count: PARTITION_COUNT, node: name, zone, address, incarnation };
    tokio::time::timeout(RECOVERY_TIMEOUT, settle(&node, &single))
        .await
        .context("the control plane does not settle")??;
    Ok(node)
}

async fn settle(node: &Node, single: &SingleNode) -> anyhow::Result<()> {
    loop {
        let map: Arc<ClusterMap> = node.map().borrow().clone();
        let Some(command) = next_step(&map, single) else { return Ok(()) };
        match node.propose(command).await {
            Ok(Outcome::Changed(_) | Outcome::Unchanged) => {}
            Ok(Outcome::Refused(why)) => bail!("the control plane refuses its own node: {why}"),
            // A leader is not sure of itself until it has heard from a majority: of one, here, and soon.
            Err(ProposeError::NoMajority | ProposeError::NotLeader { .. } | ProposeError::Unknown { .. }) => {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// The only group.
pub(crate) fn group(node: &Node) -> anyhow::Result<replication::Entry> {
    let map = node.map().borrow().clone();
    Ok(Arc::new(map.groups().first().context("the cluster map has no group")?.clone()))
}

/// Its only member, over a directory.
pub(crate) fn replica(incarnation: Incarnation) -> anyhow::Result<cluster::Replica> {
    Ok(cluster::Replica { node: NodeId::new(NODE).context("node id")?, incarnation })
}

/// Records for ever what a damaged log has lost, and tells the ingester of all such records, so that answers name them.
pub(crate) async fn record_losses(node: &Node, ingester: &Ingester, now: TimestampMs) -> anyhow::Result<()> {
    let group = group(node)?.id();
    if !ingester.recovery().lost.is_empty() {
        let hole = Hole { group, range: ingester.unclosed_range(now) };
        match node.propose(Command::RecordHole(hole)).await? {
            Outcome::Changed(_) | Outcome::Unchanged => {}
            Outcome::Refused(why) => bail!("the control plane refuses to record a loss: {why}"),
        }
    }
    ingester.set_holes(node.map().borrow().holes().of(group).to_vec());
    Ok(())
}
