//! The cluster map: nodes, groups with their generations, placement of partitions, holes. Everyone holds a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::{PartitionId, SeriesId, TenantId, TimestampMs};

use crate::{Address, ClusterId, Group, GroupId, Holes, Incarnation, NodeId, Replica, Role, Roles, Zone};

/// The index in the log of the command that last changed the map: of two maps of one cluster the greater is the newer, and
/// equal versions are equal maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapVersion(pub u64);

impl fmt::Display for MapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a node fares, as far as the control plane has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NodeState {
    /// It heartbeats.
    Up = 0,
    /// No heartbeat for the lease: its targets and rule groups move, nothing else.
    Down = 1,
    /// Given up: as an ingester it is to be replaced.
    Lost = 2,
    /// Went away on purpose and owes nothing; it is kept for a while to be shown.
    Left = 3,
}

impl NodeState {
    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Up => "up",
            NodeState::Down => "down",
            NodeState::Lost => "lost",
            NodeState::Left => "left",
        }
    }
}

/// A node as it last joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it does.
    pub roles: Roles,
    /// What it fails with.
    pub zone: Zone,
    /// Where it answers others.
    pub address: Address,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// How it fares.
    pub state: NodeState,
    /// When this record last changed.
    pub changed: MapVersion,
}

/// A group that owns a partition from a timestamp of samples on, until the next one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// First timestamp owned; that of a partition's first owner is [`TimestampMs::MIN`].
    pub since: TimestampMs,
    /// The owner.
    pub group: GroupId,
}

/// What was fixed at the cluster's birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) cluster: ClusterId,
    /// A power of two.
    pub(crate) partition_count: u32,
    /// Members per group.
    pub(crate) replication_factor: u8,
    /// Ingesters that the first groups wait for.
    pub(crate) bootstrap_ingesters: u32,
}

/// The cluster as all its nodes see it. Before its birth it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMap {
    pub(crate) version: MapVersion,
    pub(crate) birth: Option<Birth>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// By number, without a gap.
    pub(crate) groups: Vec<Group>,
    /// By partition; an empty list is a partition not placed yet.
    pub(crate) placement: Vec<Vec<Ownership>>,
    pub(crate) holes: Holes,
}

/// The group that holds the samples of a series at a timestamp: the only function that knows. `None` until the partition
/// is placed. The tenant does not matter yet; it will when tenants are kept to some of the groups.
pub fn owner(_tenant: &TenantId, id: SeriesId, timestamp: TimestampMs, map: &ClusterMap) -> Option<GroupId> {
    let birth = map.birth.as_ref()?;
    let owners = map.ownership(id.partition(birth.partition_count));
    let after = owners.partition_point(|o| o.since <= timestamp);
    after.checked_sub(1).map(|last| owners[last].group)
}

impl ClusterMap {
    /// Most nodes on record, those that left included.
    pub const NODES_MAX: usize = 1024;
    /// Most groups.
    pub const GROUPS_MAX: usize = 256;
    /// Most partitions.
    pub const PARTITIONS_MAX: u32 = 4096;
    /// Most owners on record for a partition.
    pub const OWNERS_MAX: usize = 16;

    /// The index in the log of the command that last changed the map.
    pub fn version(&self) -> MapVersion {
        self.version
    }

    /// The cluster's id; `None` before its birth.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.birth.map(|b| b.cluster)
    }

    /// How many partitions there are; zero before the cluster's birth.
    pub fn partition_count(&self) -> u32 {
        self.birth.map_or(0, |b| b.partition_count)
    }

    /// How many members a group has; zero before the cluster's birth.
    pub fn replication_factor(&self) -> u8 {
        self.birth.map_or(0, |b| b.replication_factor)
    }

    /// How many ingesters the first groups wait for; zero before the cluster's birth.
    pub fn bootstrap_ingesters(&self) -> usize {
        self.birth.map_or(0, |b| usize::try_from(b.bootstrap_ingesters).unwrap_or(usize::MAX))
    }

    /// Every node on record, by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&NodeId, &Node)> {
        self.nodes.iter()
    }

    /// A node by name.
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Every group, by number.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// A group by number.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(usize::try_from(id.0).ok()?)
    }

    /// The groups that own, or owned, a partition, oldest first; empty where it is not placed.
    pub fn ownership(&self, partition: PartitionId) -> &[Ownership] {
        usize::try_from(partition.0).ok().and_then(|p| self.placement.get(p)).map_or(&[], Vec::as_slice)
    }

    /// The partitions without an owner.
    pub fn unplaced(&self) -> impl Iterator<Item = PartitionId> + '_ {
        (0..).zip(&self.placement).filter(|(_, owners)| owners.is_empty()).map(|(p, _)| PartitionId(p))
    }

    /// The newest owner of each partition that has one.
    pub fn owners(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.placement.iter().filter_map(|owners| owners.last()).map(|owner| owner.group)
    }

    /// What was lost for good.
    pub fn holes(&self) -> &Holes {
        &self.holes
    }

    /// The group in whose live generations a replica of this node is.
    pub fn group_of(&self, node: &NodeId) -> Option<&Group> {
        self.groups.iter().find(|g| g.involves(node))
    }

    /// The promises that hold whatever commands came; `Err` names the one that does not.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let rule = |holds: bool, rule: &'static str| if holds { Ok(()) } else { Err(rule) };
        let Some(birth) = &self.birth else {
            let blank = ClusterMap { version: self.version, ..ClusterMap::default() };
            return rule(*self == blank, "before its birth a cluster is empty");
        };
        birth.check()?;
        rule(self.nodes.len() <= ClusterMap::NODES_MAX, "nodes are under their bound")?;
        rule(self.nodes.values().all(|n| n.changed <= self.version), "no record is newer than the map")?;
        rule(self.groups.len() <= ClusterMap::GROUPS_MAX, "groups are under their bound")?;
        let mut members = BTreeMap::<&NodeId, GroupId>::new();
        for (number, group) in (0..).zip(&self.groups) {
            rule(group.id() == GroupId(number), "groups are numbered without a gap")?;
            group.check()?;
            self.check_members(birth, group)?;
            for member in group.generations().iter().flat_map(|g| &g.members) {
                let at = *members.entry(&member.replica.node).or_insert(group.id());
                rule(at == group.id(), "a node is in one group")?;
            }
        }
        self.check_placement(birth)?;
        rule(self.holes.iter().all(|h| self.group(h.group).is_some()), "a hole is some group's")?;
        self.holes.check()
    }

    fn check_members(&self, birth: &Birth, group: &Group) -> Result<(), &'static str> {
        for generation in group.generations() {
            if generation.members.len() != usize::from(birth.replication_factor) {
                return Err("a group has as many members as the replication factor");
            }
            let mut zones = BTreeSet::new();
            for member in &generation.members {
                let Some(node) = self.nodes.get(&member.replica.node) else {
                    return Err("a member is a node on record");
                };
                if !node.roles.contains(Role::Ingester) {
                    return Err("a member is an ingester");
                }
                if node.state == NodeState::Left {
                    return Err("a member has not left");
                }
                zones.insert(&node.zone);
            }
            if zones.len() != generation.members.len() {
                return Err("the members of a generation are in different zones");
            }
        }
        Ok(())
    }

    fn check_placement(&self, birth: &Birth) -> Result<(), &'static str> {
        if u32::try_from(self.placement.len()) != Ok(birth.partition_count) {
            return Err("each partition has a place in the map");
        }
        for owners in self.placement.iter().filter(|owners| !owners.is_empty()) {
            if owners.len() > ClusterMap::OWNERS_MAX || owners[0].since != TimestampMs::MIN {
                return Err("a partition is owned at all times by few");
            }
            if owners.windows(2).any(|w| w[0].since >= w[1].since) {
                return Err("owners follow each other in time");
            }
            if owners.iter().any(|o| self.group(o.group).is_none()) {
                return Err("an owner is a group");
            }
        }
        Ok(())
    }
}

impl Birth {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !self.partition_count.is_power_of_two() || self.partition_count > ClusterMap::PARTITIONS_MAX {
            return Err("the number of partitions is a power of two and at most 4096");
        }
        if !(1..=Group::MEMBERS_MAX).contains(&usize::from(self.replication_factor)) {
            return Err("the replication factor is one to three");
        }
        let waited = usize::try_from(self.bootstrap_ingesters).unwrap_or(usize::MAX);
        if !(usize::from(self.replication_factor)..=ClusterMap::NODES_MAX).contains(&waited) {
            return Err("the ingesters that the first groups wait for are at least one group and at most 1024");
        }
        Ok(())
    }
}

impl Node {
    /// The node with its directory.
    pub fn replica(&self, id: &NodeId) -> Replica {
        Replica { node: id.clone(), incarnation: self.incarnation }
    }
}
