//! Which member is to be exchanged for which replica, judged by the map alone.
//!
//! A member is exchanged when its node was given up as lost, or came back with another directory. Never while a whole zone
//! or more than a third of the ingesters is missing: that is a failure of the network or of a hall, which ends by itself,
//! and copying everything would make it worse.

use crate::growth::{ingesters_up, spares};
use crate::{ClusterMap, Command, Group, GroupId, Node, NodeState, Replica, Role, Zone};

/// Why no member is exchanged though one is to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// All ingesters of a zone are missing.
    #[error("all ingesters of zone {0} are missing")]
    ZoneMissing(Zone),
    /// Too many are missing at once.
    #[error("{missing} of {all} ingesters are missing, more than a third")]
    TooMany {
        /// Not up.
        missing: usize,
        /// On record and not left.
        all: usize,
    },
    /// Nobody can take the place.
    #[error("group {group} has no spare in zone {zone} for {leaving}")]
    NoSpare {
        /// The group.
        group: GroupId,
        /// Where a spare is missing.
        zone: Zone,
        /// Whose place it would take.
        leaving: Replica,
    },
    /// The group's rules do not allow it now.
    #[error("group {group}: {leaving} waits: {reason}")]
    Group {
        /// The group.
        group: GroupId,
        /// Who is to go.
        leaving: Replica,
        /// The rule.
        reason: crate::ChangeError,
    },
}

/// The next exchange of a member; `Ok(None)` where all members are as they should be. The first group that can be helped is,
/// whatever holds up those before it.
pub fn next_replacement(map: &ClusterMap) -> Result<Option<Command>, Held> {
    let mut held = None;
    for (group, leaving) in map.groups().iter().filter_map(|group| Some((group, leaving(map, group)?))) {
        match missing(map).and_then(|()| exchange(map, group, leaving)) {
            Ok(command) => return Ok(Some(command)),
            Err(reason) => held = held.or(Some(reason)),
        }
    }
    held.map_or(Ok(None), Err)
}

/// The member that is to go: lost, or with another directory than it was a member with.
fn leaving<'a>(map: &ClusterMap, group: &'a Group) -> Option<&'a Replica> {
    let gone = |replica: &&Replica| {
        map.node(&replica.node)
            .is_none_or(|node| node.state == NodeState::Lost || node.incarnation != replica.incarnation)
    };
    let members = || group.newest().members.iter();
    // One that is unfilled has to go first.
    let unfilled = members().filter(|member| !member.filled).map(|member| &member.replica).find(gone);
    unfilled.or_else(|| members().map(|member| &member.replica).find(gone))
}

fn missing(map: &ClusterMap) -> Result<(), Held> {
    let ingester = |node: &Node| node.roles.contains(Role::Ingester) && node.state != NodeState::Left;
    let ingesters: Vec<&Node> = map.nodes().map(|(_, node)| node).filter(|node| ingester(node)).collect();
    let (all, up) = (ingesters.len(), ingesters_up(map).count());
    let dark = |zone: &Zone| ingesters.iter().all(|node| node.zone != *zone || node.state != NodeState::Up);
    if let Some(node) = ingesters.iter().find(|node| dark(&node.zone)) {
        return Err(Held::ZoneMissing(node.zone.clone()));
    }
    let missing = all - up;
    if missing * 3 > all { Err(Held::TooMany { missing, all }) } else { Ok(()) }
}

fn exchange(map: &ClusterMap, group: &Group, leaving: &Replica) -> Result<Command, Held> {
    let id = group.id();
    let node = map.node(&leaving.node).expect("a member is a node on record");
    // A node with a new directory follows itself; it holds nothing yet, but nobody else has to be found.
    let itself = node.replica(&leaving.node);
    let follows = node.state == NodeState::Up && itself != *leaving;
    let spare = || spares(map).get(&node.zone).and_then(|spares| spares.first().cloned());
    let joining = if follows { Some(itself) } else { spare() };
    let no_spare = || Held::NoSpare { group: id, zone: node.zone.clone(), leaving: leaving.clone() };
    let joining = joining.ok_or_else(no_spare)?;
    let seen = group.newest().number;
    match group.successor(seen, leaving, &joining) {
        Ok(_) => Ok(Command::ReplaceMember { group: id, seen, leaving: leaving.clone(), joining }),
        Err(reason) => Err(Held::Group { group: id, leaving: leaving.clone(), reason }),
    }
}

#[cfg(test)]
mod tests;
