//! Who lives: heartbeats in, commands to propose out. Only the leader of the control plane keeps this; it is not replicated.
//!
//! Times are spans since any fixed moment, on a clock that never goes back. A new leader has heard nobody, so it grants all
//! leases afresh: nobody goes down because the leader changed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Address, ClusterMap, Command, Incarnation, Node, NodeId, NodeState, Roles, Zone};

/// After how much silence a node is what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// Without a heartbeat for this long a node is down: its targets and rule groups move.
    pub lease: Duration,
    /// For this long, and it is lost: as an ingester it is to be replaced.
    pub lost_after: Duration,
    /// For this long, and a node that owes nothing (a member of a group owes its data) is taken to have left.
    pub forget_after: Duration,
}

impl Default for LeaseTimes {
    fn default() -> LeaseTimes {
        LeaseTimes {
            lease: Duration::from_secs(10),
            lost_after: Duration::from_secs(300),
            forget_after: Duration::from_secs(3600),
        }
    }
}

/// What a node says of itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Its name.
    pub node: NodeId,
    /// What it does.
    pub roles: Roles,
    /// What it fails with.
    pub zone: Zone,
    /// Where it answers others.
    pub address: Address,
    /// Its data directory.
    pub incarnation: Incarnation,
}

impl Joining {
    /// The command that puts it on record.
    pub fn command(&self) -> Command {
        let Joining { node, roles, zone, address, incarnation } = self.clone();
        Command::Join { node, roles, zone, address, incarnation }
    }
}

/// Why a node may not join. What contradicts the groups is refused by the state machine itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// Another process has the name and lives, or was heard so lately that it may.
    #[error("node id {node} is in use by the node at {address} with directory {incarnation}")]
    InUse {
        /// The name.
        node: NodeId,
        /// Where the other answers.
        address: Address,
        /// Its directory.
        incarnation: Incarnation,
    },
    /// A directory does not change its zone: its data would be counted in the wrong one.
    #[error("node {node} with directory {incarnation} is in zone {recorded}, not {asked}")]
    OtherZone {
        /// The node.
        node: NodeId,
        /// Its directory.
        incarnation: Incarnation,
        /// The zone on record.
        recorded: Zone,
        /// The zone in the request.
        asked: Zone,
    },
}

/// What a heartbeat was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It counts.
    Counted,
    /// The node is not on record, left, or is there with another directory or address: it has to join.
    Join,
}

/// The leader's record of heartbeats.
#[derive(Clone, Debug)]
pub struct Leases {
    times: LeaseTimes,
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// The directory that was heard.
    incarnation: Incarnation,
    at: Duration,
    /// Whether it was heard, or only granted a lease.
    itself: bool,
}

impl Leases {
    /// Those of a new leader: each node on record has its lease from now on.
    pub fn granted_afresh(map: &ClusterMap, times: LeaseTimes, now: Duration) -> Leases {
        let mut leases = Leases { times, heard: BTreeMap::new() };
        leases.grant_unknown(map, now);
        leases
    }

    /// Takes a heartbeat.
    pub fn hear(
        &mut self,
        map: &ClusterMap,
        node: &NodeId,
        incarnation: Incarnation,
        address: &Address,
        now: Duration,
    ) -> Beat {
        let known = map.node(node).filter(|known| known.state != NodeState::Left);
        if known.is_none_or(|known| known.incarnation != incarnation || known.address != *address) {
            return Beat::Join;
        }
        self.heard.insert(node.clone(), Heard { incarnation, at: now, itself: true });
        Beat::Counted
    }

    /// Whether a node may join, as far as heartbeats can tell.
    pub fn check_join(&self, map: &ClusterMap, joining: &Joining, now: Duration) -> Result<(), JoinRefusal> {
        let Some(known) = map.node(&joining.node).filter(|known| known.state != NodeState::Left) else {
            return Ok(());
        };
        let node = joining.node.clone();
        // Nobody else can listen at the same address, so there it is the same node, started again.
        let elsewhere = known.address != joining.address;
        if elsewhere && known.state == NodeState::Up && self.silence(&joining.node, known, now) < self.times.lease {
            let (address, incarnation) = (known.address.clone(), known.incarnation);
            return Err(JoinRefusal::InUse { node, address, incarnation });
        }
        if known.incarnation == joining.incarnation && known.zone != joining.zone {
            let (recorded, asked) = (known.zone.clone(), joining.zone.clone());
            return Err(JoinRefusal::OtherZone { node, incarnation: joining.incarnation, recorded, asked });
        }
        Ok(())
    }

    /// A node has joined: it has just been heard.
    pub fn joined(&mut self, joining: &Joining, now: Duration) {
        let heard = Heard { incarnation: joining.incarnation, at: now, itself: true };
        self.heard.insert(joining.node.clone(), heard);
    }

    /// The changes of state that follow from what was heard, at most one per node. Called again until it says nothing.
    pub fn due(&mut self, map: &ClusterMap, now: Duration) -> Vec<Command> {
        self.heard.retain(|id, _| map.node(id).is_some_and(|node| node.state != NodeState::Left));
        self.grant_unknown(map, now);
        let due = map.nodes().filter_map(|(id, node)| {
            let state = self.state_due(map, id, node, now)?;
            Some(Command::SetNodeState { node: id.clone(), incarnation: node.incarnation, state })
        });
        due.collect()
    }

    fn state_due(&self, map: &ClusterMap, id: &NodeId, node: &Node, now: Duration) -> Option<NodeState> {
        let silence = self.silence(id, node, now);
        let heard = self.heard.get(id).is_some_and(|heard| heard.itself && heard.incarnation == node.incarnation);
        match node.state {
            NodeState::Up => (silence >= self.times.lease).then_some(NodeState::Down),
            NodeState::Down | NodeState::Lost if heard && silence < self.times.lease => Some(NodeState::Up),
            NodeState::Down => (silence >= self.times.lost_after).then_some(NodeState::Lost),
            NodeState::Lost => {
                let gone = silence >= self.times.forget_after && map.group_of(id).is_none();
                gone.then_some(NodeState::Left)
            }
            NodeState::Left => None,
        }
    }

    /// For how long the directory on record was silent. One that was never heard of is as silent as its node.
    fn silence(&self, id: &NodeId, node: &Node, now: Duration) -> Duration {
        let heard = self.heard.get(id).filter(|heard| heard.incarnation == node.incarnation);
        heard.map_or(Duration::ZERO, |heard| now.saturating_sub(heard.at))
    }

    /// Whoever is on record and was not heard of here has its lease from now on.
    fn grant_unknown(&mut self, map: &ClusterMap, now: Duration) {
        for (id, node) in map.nodes().filter(|(_, node)| node.state != NodeState::Left) {
            let Node { incarnation, .. } = *node;
            if self.heard.get(id).is_none_or(|heard| heard.incarnation != incarnation) {
                self.heard.insert(id.clone(), Heard { incarnation, at: now, itself: false });
            }
        }
    }
}

#[cfg(test)]
mod tests;
