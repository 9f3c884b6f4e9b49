//! What a cluster promises of a write that it acknowledged, and what keeps it from that now: the words of `/-/ready`, of
//! the log and of metrics, judged by the map alone.

use std::collections::BTreeSet;
use std::fmt;

use crate::growth::ingesters_up;
use crate::{ClusterMap, GroupId, Node, NodeState, Replica, Role, Zone};

/// What an acknowledged write survives, by the replication factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Factor 1.
    OneDisk,
    /// Factor 2.
    BothOrNothing,
    /// Factor 3.
    AnyOneLoss,
}

impl Promise {
    /// That of a map; `None` before the cluster's birth.
    pub fn of(map: &ClusterMap) -> Option<Promise> {
        match map.replication_factor() {
            1 => Some(Promise::OneDisk),
            2 => Some(Promise::BothOrNothing),
            3 => Some(Promise::AnyOneLoss),
            _ => None,
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::OneDisk => {
                "replication factor 1: an acknowledged write survives kill -9 and power loss, not the loss of a disk"
            }
            Promise::BothOrNothing => {
                "replication factor 2: an acknowledged write survives the loss of one ingester; a group takes writes only \
                 while both its replicas live"
            }
            Promise::AnyOneLoss => {
                "replication factor 3: an acknowledged write survives the loss of any one ingester or zone, and of another \
                 once the cluster is repaired"
            }
        })
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortcoming {
    /// There is no cluster yet.
    NotBorn,
    /// The first groups wait for ingesters.
    Waiting {
        /// Up.
        up: usize,
        /// Waited for.
        wanted: usize,
    },
    /// The ingesters are in too few zones for a group.
    TooFewZones {
        /// With an ingester that is up.
        zones: usize,
        /// The replication factor.
        factor: usize,
    },
    /// Partitions have no owner: writes to them cannot be taken.
    NotPlaced {
        /// How many.
        partitions: usize,
    },
    /// A member does not live.
    MemberMissing {
        /// The group.
        group: GroupId,
        /// The member.
        member: Replica,
        /// How its node fares.
        state: NodeState,
    },
    /// A member's node came back with another directory, which is no member: it neither acknowledges nor counts.
    MemberWiped {
        /// The group.
        group: GroupId,
        /// The member.
        member: Replica,
        /// The node as it is now.
        now: Replica,
    },
    /// A member does not hold all yet.
    MemberUnfilled {
        /// The group.
        group: GroupId,
        /// The member.
        member: Replica,
    },
    /// The group was formed after partitions were placed: it owns none until they can be moved.
    OwnsNothing {
        /// The group.
        group: GroupId,
    },
}

impl Shortcoming {
    /// Whether a promise is in danger, or it is only worth knowing.
    pub fn endangers(&self) -> bool {
        !matches!(self, Shortcoming::OwnsNothing { .. })
    }
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortcoming::NotBorn => f.write_str("the cluster is not born yet"),
            Shortcoming::Waiting { up, wanted } => {
                write!(f, "{up} of the {wanted} ingesters are up that the first groups wait for")
            }
            Shortcoming::TooFewZones { zones, factor } => {
                write!(f, "ingesters are up in {zones} zones, but replication factor {factor} needs as many zones")
            }
            Shortcoming::NotPlaced { partitions } => {
                write!(f, "{partitions} partitions have no owner, so writes to them are refused")
            }
            Shortcoming::MemberMissing { group, member, state } => {
                write!(f, "group {group} is short: {member} is {}", state.as_str())
            }
            Shortcoming::MemberWiped { group, member, now } => {
                write!(f, "group {group} is short: {member} came back with another directory, and {now} is no member")
            }
            Shortcoming::MemberUnfilled { group, member } => write!(f, "group {group}: {member} is not filled yet"),
            Shortcoming::OwnsNothing { group } => {
                write!(f, "group {group} owns no partitions: it was formed after they were placed")
            }
        }
    }
}

/// All that is not as it should be.
pub fn shortcomings(map: &ClusterMap) -> Vec<Shortcoming> {
    if map.cluster().is_none() {
        return vec![Shortcoming::NotBorn];
    }
    let mut found = Vec::new();
    let partitions = map.unplaced().count();
    if partitions > 0 {
        found.extend(why_unplaced(map));
        found.push(Shortcoming::NotPlaced { partitions });
    }
    for group in map.groups() {
        let id = group.id();
        found.extend(group.newest().members.iter().filter_map(|member| {
            let node = map.node(&member.replica.node).expect("a member is a node on record");
            member_shortcoming(id, &member.replica, member.filled, node)
        }));
    }
    if partitions == 0 {
        let owners: BTreeSet<GroupId> = map.owners().collect();
        let idle = map.groups().iter().map(crate::Group::id).filter(|group| !owners.contains(group));
        found.extend(idle.map(|group| Shortcoming::OwnsNothing { group }));
    }
    found
}

fn why_unplaced(map: &ClusterMap) -> Option<Shortcoming> {
    let (up, wanted) = (ingesters_up(map).count(), map.bootstrap_ingesters());
    if up < wanted {
        return Some(Shortcoming::Waiting { up, wanted });
    }
    let zones: BTreeSet<&Zone> = ingesters_up(map).map(|(_, node)| &node.zone).collect();
    let (zones, factor) = (zones.len(), usize::from(map.replication_factor()));
    (zones < factor).then_some(Shortcoming::TooFewZones { zones, factor })
}

fn member_shortcoming(group: GroupId, member: &Replica, filled: bool, node: &Node) -> Option<Shortcoming> {
    let member = member.clone();
    if node.incarnation != member.incarnation {
        let now = node.replica(&member.node);
        return Some(Shortcoming::MemberWiped { group, member, now });
    }
    if node.state != NodeState::Up || !node.roles.contains(Role::Ingester) {
        return Some(Shortcoming::MemberMissing { group, member, state: node.state });
    }
    (!filled).then_some(Shortcoming::MemberUnfilled { group, member })
}

#[cfg(test)]
mod tests;
