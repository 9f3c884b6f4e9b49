//! How groups come about: which command is next, judged by the map alone.
//!
//! Nothing is formed before as many ingesters are up as the cluster was born to wait for, so that the first partitions are
//! spread over all the groups that these make, and placed once. Whatever is left over is a spare. Groups formed later own
//! nothing until partitions can be moved.

use std::collections::BTreeMap;

use model::PartitionId;

use crate::ring::{group_ring, partition_hash};
use crate::{ClusterMap, Command, GroupId, Node, NodeId, NodeState, Replica, Role, Zone};

/// The command that brings the groups a step further; `None` when there is nothing to do. Whoever leads proposes it, and
/// asks again once the map has changed.
pub fn next_growth(map: &ClusterMap) -> Option<Command> {
    map.cluster()?;
    let placed = map.unplaced().next().is_none();
    if !placed && ingesters_up(map).count() < map.bootstrap_ingesters() {
        return None;
    }
    next_group(map).or_else(|| place(map))
}

/// Ingesters that are up.
pub(crate) fn ingesters_up(map: &ClusterMap) -> impl Iterator<Item = (&NodeId, &Node)> {
    map.nodes().filter(|(_, node)| node.state == NodeState::Up && node.roles.contains(Role::Ingester))
}

/// Ingesters that are up and in no group, by zone.
pub(crate) fn spares(map: &ClusterMap) -> BTreeMap<&Zone, Vec<Replica>> {
    let mut by_zone = BTreeMap::<&Zone, Vec<Replica>>::new();
    for (id, node) in ingesters_up(map).filter(|(id, _)| map.group_of(id).is_none()) {
        by_zone.entry(&node.zone).or_default().push(node.replica(id));
    }
    by_zone
}

/// A group of spares in as many zones as the replication factor. The zones with most spares give one each: whoever always
/// takes from the fullest can form as many groups as anybody.
fn next_group(map: &ClusterMap) -> Option<Command> {
    let factor = usize::from(map.replication_factor());
    if map.groups().len() >= ClusterMap::GROUPS_MAX {
        return None;
    }
    let mut zones: Vec<(&Zone, Vec<Replica>)> = spares(map).into_iter().collect();
    if zones.len() < factor {
        return None;
    }
    // Stable: zones with equally many stay in the order of their names.
    zones.sort_by_key(|(_, spares)| std::cmp::Reverse(spares.len()));
    zones.truncate(factor);
    zones.sort_by_key(|(zone, _)| *zone);
    let mut members: Vec<Replica> = zones.into_iter().filter_map(|(_, spares)| spares.into_iter().next()).collect();
    // A member's place is its rank when a range is closed, and the first cuts the block: turned, so that the work is
    // spread over the zones.
    members.rotate_left(map.groups().len() % factor);
    let group = GroupId(u32::try_from(map.groups().len()).expect("groups are at most 256"));
    Some(Command::CreateGroup { group, members })
}

/// All partitions without an owner, over all groups: each gets as many as the others, or one more. Hashing says which.
fn place(map: &ClusterMap) -> Option<Command> {
    let unplaced: Vec<PartitionId> = map.unplaced().collect();
    let groups = map.groups().len();
    if unplaced.is_empty() || groups == 0 {
        return None;
    }
    let (even, mut extra) = (unplaced.len() / groups, unplaced.len() % groups);
    let ring = group_ring(map);
    let mut load = BTreeMap::<GroupId, usize>::new();
    let mut owners = Vec::with_capacity(unplaced.len());
    for partition in unplaced {
        let taken = |group: &GroupId| load.get(group).copied().unwrap_or(0);
        let has_room = |group: &&GroupId| taken(group) < even || (taken(group) == even && extra > 0);
        let group = *ring.walk(partition_hash(partition.0)).find(has_room)?;
        let loaded = load.entry(group).or_default();
        if *loaded == even {
            extra -= 1;
        }
        *loaded += 1;
        owners.push((partition, group));
    }
    Some(Command::PlacePartitions { owners })
}

#[cfg(test)]
mod tests;
