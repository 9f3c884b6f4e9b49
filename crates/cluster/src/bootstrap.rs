//! How `narthex all` becomes a cluster of one: which command is next, judged by the map.
//!
//! The caller proposes what [`next_step`] says until it says nothing. Since each step is read off the map, a crash between
//! two of them does no harm, and a restart with another address or a new data directory goes the same way.

use model::PartitionId;

use crate::{
    Address, ClusterId, ClusterMap, Command, GenerationNumber, Group, GroupId, Incarnation, NodeId, NodeState, Replica,
    Roles, Zone,
};

/// The one node of a cluster of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleNode {
    /// A random number, used if the cluster is not born yet.
    pub cluster: ClusterId,
    /// Used if the cluster is not born yet; a power of two (16 in `narthex all`).
    pub partition_count: u32,
    /// The node's name.
    pub node: NodeId,
    /// Its zone.
    pub zone: Zone,
    /// Where it answers others.
    pub address: Address,
    /// Its data directory.
    pub incarnation: Incarnation,
}

/// The command that brings `map` a step closer to one node with all roles, in one group of one member that owns all
/// partitions; `None` when it is so.
///
/// With a new data directory the group gets a new generation, whose member is at once filled: there is nobody else to ask.
/// Whoever lost the old directory records the hole.
pub fn next_step(map: &ClusterMap, single: &SingleNode) -> Option<Command> {
    if map.cluster().is_none() {
        let (cluster, partition_count) = (single.cluster, single.partition_count);
        return Some(Command::Birth { cluster, partition_count, replication_factor: 1, bootstrap_ingesters: 1 });
    }
    let SingleNode { node, zone, address, incarnation, .. } = single.clone();
    let replica = Replica { node: node.clone(), incarnation };
    // A member's zone is fixed: the only node keeps its zone when another is given.
    let zone = map.group_of(&node).and_then(|_| map.node(&node)).map_or(zone, |known| known.zone.clone());
    let recorded = map.node(&node).is_some_and(|n| {
        let same = n.zone == zone && n.address == address && n.incarnation == incarnation;
        same && n.roles == Roles::ALL && n.state == NodeState::Up
    });
    if !recorded {
        return Some(Command::Join { node, roles: Roles::ALL, zone, address, incarnation });
    }
    let Some(group) = map.group(GroupId(0)) else {
        return Some(Command::CreateGroup { group: GroupId(0), members: vec![replica] });
    };
    follow(group, &replica).or_else(|| place(map))
}

/// Makes the group follow its only member to a new directory.
fn follow(group: &Group, replica: &Replica) -> Option<Command> {
    let newest = group.newest();
    let seen: GenerationNumber = newest.number;
    let member = newest.members.first()?;
    if member.replica != *replica {
        let (leaving, joining) = (member.replica.clone(), replica.clone());
        return Some(Command::ReplaceMember { group: group.id(), seen, leaving, joining });
    }
    (!member.filled).then(|| Command::ReportFilled { group: group.id(), seen, replica: replica.clone() })
}

fn place(map: &ClusterMap) -> Option<Command> {
    let owners: Vec<(PartitionId, GroupId)> = map.unplaced().map(|partition| (partition, GroupId(0))).collect();
    (!owners.is_empty()).then_some(Command::PlacePartitions { owners })
}

#[cfg(test)]
mod tests {
    use model::{SeriesId, TenantId, TimestampMs};

    use super::*;
    use crate::{Outcome, State, owner};

    fn single(incarnation: u64, address: &str) -> SingleNode {
        SingleNode {
            cluster: ClusterId(7),
            partition_count: 16,
            node: NodeId::new("one").unwrap(),
            zone: Zone::new("here").unwrap(),
            address: Address::new(address).unwrap(),
            incarnation: Incarnation(incarnation),
        }
    }

    /// Proposes the steps from whatever stands; each must change something.
    fn settle(state: &mut State, single: &SingleNode) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some(command) = next_step(state.map(), single) {
            let outcome = state.apply(state.applied() + 1, &command);
            assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
            steps.push(command.to_string());
        }
        steps
    }

    #[test]
    fn one_node_becomes_a_cluster_that_owns_everything() {
        let mut state = State::default();
        let steps = settle(&mut state, &single(1, "a:1"));
        assert_eq!(steps.len(), 4, "{steps:?}");
        let map = state.map();
        assert_eq!((map.cluster(), map.partition_count(), map.groups().len()), (Some(ClusterId(7)), 16, 1));
        for top in 0..16_u128 {
            let id = SeriesId(top << 124 | 99);
            assert_eq!(owner(&TenantId::anonymous(), id, TimestampMs::MIN, map), Some(GroupId(0)));
            assert_eq!(owner(&TenantId::anonymous(), id, TimestampMs(0), map), Some(GroupId(0)));
        }
    }

    #[test]
    fn a_crash_between_two_steps_does_no_harm() {
        let mut whole = State::default();
        settle(&mut whole, &single(1, "a:1"));
        for steps_before in 0..4 {
            let mut state = State::default();
            for index in 1..=steps_before {
                let command = next_step(state.map(), &single(1, "a:1")).unwrap();
                state.apply(index, &command);
            }
            // Another random id for the cluster is drawn at the second start; one drawn before stays.
            let again = SingleNode { cluster: ClusterId(8), ..single(1, "a:1") };
            settle(&mut state, &again);
            let born = if steps_before == 0 { ClusterId(8) } else { ClusterId(7) };
            assert_eq!(state.map().cluster(), Some(born));
            assert_eq!(state.map().groups(), whole.map().groups());
        }
    }

    #[test]
    fn a_restart_changes_what_changed_and_nothing_else() {
        let mut state = State::default();
        settle(&mut state, &single(1, "a:1"));
        assert_eq!(settle(&mut state, &single(1, "a:1")), Vec::<String>::new());
        assert_eq!(settle(&mut state, &single(1, "b:2")).len(), 1);
        let elsewhere = SingleNode { zone: Zone::new("there").unwrap(), ..single(1, "b:2") };
        assert_eq!(settle(&mut state, &elsewhere), Vec::<String>::new(), "the zone of a member is fixed");
        // A new directory: join, a generation, filled.
        assert_eq!(settle(&mut state, &single(2, "b:2")).len(), 3);
        let group = state.map().group(GroupId(0)).unwrap();
        assert_eq!(group.newest().number, GenerationNumber(2));
        assert_eq!(group.newest().members[0].replica.incarnation, Incarnation(2));
        assert_eq!(group.generations().len(), 1);
    }
}
