//! The replicated state machine: commands in, state and events out.
//!
//! An illegal command is refused with its reason and changes nothing; whoever proposed it reads the reason in the outcome.
//! Bounds here are constants and no configuration, because every replica must refuse the same commands.

use model::{PartitionId, TimestampMs};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::map::Birth;
use crate::{
    ChangeError, ClusterId, ClusterMap, Command, GenerationNumber, Group, GroupId, Hole, Incarnation, MapVersion, Node,
    NodeId, NodeState, Ownership, Replica, Role,
};

/// What Raft replicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Index in the log of the last command applied.
    applied: u64,
    map: ClusterMap,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The map changed; its version is the command's index now.
    Changed(Event),
    /// The command says what is so already.
    Unchanged,
    /// The command is illegal; nothing changed.
    Refused(Refusal),
}

/// How the map changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The cluster came into being.
    Born(ClusterId),
    /// A node joined, or joined anew.
    Joined(NodeId),
    /// A node's state changed.
    NodeState(NodeId, NodeState),
    /// A group began a generation: its first or the next.
    GenerationBegan(GroupId, GenerationNumber),
    /// All members of the newest generation are filled; earlier ones have ceased to count.
    GroupFilled(GroupId, GenerationNumber),
    /// Partitions found their owners.
    Placed,
    /// A hole was recorded.
    HoleOpened(Hole),
}

/// Why a command is illegal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is a cluster already.
    #[error("cluster {0} is born already")]
    Born(ClusterId),
    /// There is no cluster yet.
    #[error("the cluster is not born yet")]
    NotBorn,
    /// Numbers that a cluster cannot be born with.
    #[error("{0}")]
    Birth(&'static str),
    /// A bound is reached.
    #[error("no more than {max} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The node is not on record.
    #[error("node {0} is unknown")]
    UnknownNode(NodeId),
    /// The group is not on record.
    #[error("group {0} is unknown")]
    UnknownGroup(GroupId),
    /// The node has another directory now.
    #[error("{meant} was meant, but the node's directory is {current}")]
    OtherIncarnation {
        /// What the command meant.
        meant: Replica,
        /// What is.
        current: Incarnation,
    },
    /// The node is a member of a group and so cannot leave, change its zone or cease to be an ingester.
    #[error("node {node} is a member of group {group}")]
    IsMember {
        /// The node.
        node: NodeId,
        /// Its group.
        group: GroupId,
    },
    /// The node left; it has to join first.
    #[error("node {0} has left")]
    HasLeft(NodeId),
    /// Only an ingester that is up may become a member.
    #[error("node {0} is no ingester that is up")]
    NoIngester(NodeId),
    /// Groups are numbered without a gap.
    #[error("the next group is {next}, not {asked}")]
    GroupNumber {
        /// The number in the command.
        asked: GroupId,
        /// The number that is next.
        next: GroupId,
    },
    /// A group has as many members as the replication factor.
    #[error("a group has {expected} members, not {found}")]
    MemberCount {
        /// The replication factor.
        expected: usize,
        /// The number in the command.
        found: usize,
    },
    /// Members of a generation are in different zones.
    #[error("another member is in the zone of {0}")]
    SameZone(NodeId),
    /// The change of a group is against its rules.
    #[error("group {group}: {change}")]
    Group {
        /// The group.
        group: GroupId,
        /// The rule.
        change: ChangeError,
    },
    /// There is no such partition.
    #[error("partition {0} does not exist")]
    UnknownPartition(u32),
    /// The partition has an owner, or occurs twice or out of order in the command.
    #[error("partition {0} is placed already, twice or out of order")]
    Placed(u32),
    /// A hole without an instant in it.
    #[error("the range is empty")]
    EmptyRange,
}

const SNAPSHOT_VERSION: u8 = 1;

impl State {
    /// The cluster map.
    pub fn map(&self) -> &ClusterMap {
        &self.map
    }

    /// Index in the log of the last command applied; zero before the first.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Applies the command at `index` of the log. Indices ascend; gaps are what Raft puts there for itself.
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        assert!(index > self.applied, "command {index} applied after {}", self.applied);
        self.applied = index;
        let outcome = match self.change(MapVersion(index), command) {
            Ok(Some(event)) => {
                self.map.version = MapVersion(index);
                Outcome::Changed(event)
            }
            Ok(None) => Outcome::Unchanged,
            Err(refusal) => Outcome::Refused(refusal),
        };
        debug_assert_eq!(self.map.check(), Ok(()), "after {command}");
        outcome
    }

    /// The state as bytes; equal states give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(SNAPSHOT_VERSION);
        e.u64(self.applied);
        e.bytes(&self.map.encode());
        e.finish()
    }

    /// Reads what [`State::encode`] wrote, and checks all that holds for a state.
    pub fn decode(bytes: &[u8]) -> Result<State, DecodeError> {
        let mut d = Decoder::new(bytes, "snapshot", SNAPSHOT_VERSION)?;
        let state = State { applied: d.u64()?, map: ClusterMap::decode(d.bytes()?)? };
        d.finish()?;
        if state.map.version.0 > state.applied {
            return Err(DecodeError::Rule { rule: "the map changes only by commands applied" });
        }
        Ok(state)
    }

    /// Decides first, then changes: each `Err` leaves the map as it was. `None` says that there was nothing to change.
    fn change(&mut self, version: MapVersion, command: &Command) -> Result<Option<Event>, Refusal> {
        if let Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters } = command {
            return self.birth(Birth {
                cluster: *cluster,
                partition_count: *partition_count,
                replication_factor: *replication_factor,
                bootstrap_ingesters: *bootstrap_ingesters,
            });
        }
        let birth = self.map.birth.ok_or(Refusal::NotBorn)?;
        match command {
            Command::Birth { .. } => unreachable!("handled above"),
            Command::Join { node, roles, zone, address, incarnation } => {
                let (zone, address) = (zone.clone(), address.clone());
                let state = NodeState::Up;
                let record = Node { roles: *roles, zone, address, incarnation: *incarnation, state, changed: version };
                self.join(node, record)
            }
            Command::SetNodeState { node, incarnation, state } => {
                let meant = Replica { node: node.clone(), incarnation: *incarnation };
                self.set_node_state(version, &meant, *state)
            }
            Command::CreateGroup { group, members } => self.create_group(birth, *group, members),
            Command::ReplaceMember { group, seen, leaving, joining } => self.replace(*group, *seen, leaving, joining),
            Command::ReportFilled { group, seen, replica } => self.fill(*group, *seen, replica),
            Command::PlacePartitions { owners } => self.place(owners),
            Command::RecordHole(hole) => self.record_hole(*hole),
        }
    }

    fn birth(&mut self, birth: Birth) -> Result<Option<Event>, Refusal> {
        if let Some(born) = self.map.birth {
            return if born == birth { Ok(None) } else { Err(Refusal::Born(born.cluster)) };
        }
        birth.check().map_err(Refusal::Birth)?;
        self.map.placement = (0..birth.partition_count).map(|_| Vec::new()).collect();
        self.map.birth = Some(birth);
        Ok(Some(Event::Born(birth.cluster)))
    }

    fn join(&mut self, id: &NodeId, record: Node) -> Result<Option<Event>, Refusal> {
        if let Some(known) = self.map.nodes.get(id) {
            if *known == (Node { changed: known.changed, ..record.clone() }) {
                return Ok(None);
            }
            let stays = known.zone == record.zone && record.roles.contains(Role::Ingester);
            if !stays && let Some(group) = self.map.group_of(id) {
                return Err(Refusal::IsMember { node: id.clone(), group: group.id() });
            }
        } else if self.map.nodes.len() >= ClusterMap::NODES_MAX {
            let left = self.map.nodes.iter().filter(|(_, node)| node.state == NodeState::Left);
            let Some((longest, _)) = left.min_by_key(|(_, node)| node.changed) else {
                return Err(Refusal::Limit { what: "nodes", max: ClusterMap::NODES_MAX });
            };
            let longest = longest.clone();
            self.map.nodes.remove(&longest);
        }
        self.map.nodes.insert(id.clone(), record);
        Ok(Some(Event::Joined(id.clone())))
    }

    fn set_node_state(
        &mut self,
        version: MapVersion,
        meant: &Replica,
        state: NodeState,
    ) -> Result<Option<Event>, Refusal> {
        let group = self.map.group_of(&meant.node).map(Group::id);
        let id = &meant.node;
        let node = self.map.nodes.get_mut(id).ok_or_else(|| Refusal::UnknownNode(id.clone()))?;
        if node.incarnation != meant.incarnation {
            return Err(Refusal::OtherIncarnation { meant: meant.clone(), current: node.incarnation });
        }
        if node.state == state {
            return Ok(None);
        }
        if node.state == NodeState::Left {
            return Err(Refusal::HasLeft(id.clone()));
        }
        if state == NodeState::Left
            && let Some(group) = group
        {
            return Err(Refusal::IsMember { node: id.clone(), group });
        }
        node.state = state;
        node.changed = version;
        Ok(Some(Event::NodeState(id.clone(), state)))
    }

    fn create_group(&mut self, birth: Birth, id: GroupId, members: &[Replica]) -> Result<Option<Event>, Refusal> {
        let next = GroupId(u32::try_from(self.map.groups.len()).expect("groups are at most 256"));
        if id != next {
            return Err(Refusal::GroupNumber { asked: id, next });
        }
        if self.map.groups.len() >= ClusterMap::GROUPS_MAX {
            return Err(Refusal::Limit { what: "groups", max: ClusterMap::GROUPS_MAX });
        }
        let expected = usize::from(birth.replication_factor);
        if members.len() != expected {
            return Err(Refusal::MemberCount { expected, found: members.len() });
        }
        for (i, member) in members.iter().enumerate() {
            self.eligible(member, members[..i].iter())?;
            if let Some(group) = self.map.group_of(&member.node) {
                return Err(Refusal::IsMember { node: member.node.clone(), group: group.id() });
            }
        }
        let group = Group::new(id, members.iter().cloned());
        let number = group.newest().number;
        self.map.groups.push(group);
        Ok(Some(Event::GenerationBegan(id, number)))
    }

    /// Whether a replica may become a member beside these: an ingester that is up, with this directory, in another zone.
    fn eligible<'a>(&self, replica: &Replica, beside: impl Iterator<Item = &'a Replica>) -> Result<(), Refusal> {
        let id = &replica.node;
        let node = self.map.nodes.get(id).ok_or_else(|| Refusal::UnknownNode(id.clone()))?;
        if node.incarnation != replica.incarnation {
            return Err(Refusal::OtherIncarnation { meant: replica.clone(), current: node.incarnation });
        }
        if node.state != NodeState::Up || !node.roles.contains(Role::Ingester) {
            return Err(Refusal::NoIngester(id.clone()));
        }
        let mut zones = beside.filter_map(|r| self.map.nodes.get(&r.node)).map(|n| &n.zone);
        if zones.any(|zone| *zone == node.zone) { Err(Refusal::SameZone(id.clone())) } else { Ok(()) }
    }

    fn replace(
        &mut self,
        id: GroupId,
        seen: GenerationNumber,
        leaving: &Replica,
        joining: &Replica,
    ) -> Result<Option<Event>, Refusal> {
        let group = self.map.group(id).ok_or(Refusal::UnknownGroup(id))?;
        let generation =
            group.successor(seen, leaving, joining).map_err(|change| Refusal::Group { group: id, change })?;
        if let Some(other) = self.map.group_of(&joining.node).filter(|other| other.id() != id) {
            return Err(Refusal::IsMember { node: joining.node.clone(), group: other.id() });
        }
        let staying = generation.members.iter().map(|m| &m.replica).filter(|r| *r != joining);
        self.eligible(joining, staying)?;
        let number = generation.number;
        self.group_mut(id).begin(generation);
        Ok(Some(Event::GenerationBegan(id, number)))
    }

    fn fill(&mut self, id: GroupId, seen: GenerationNumber, replica: &Replica) -> Result<Option<Event>, Refusal> {
        let group = self.map.group(id).ok_or(Refusal::UnknownGroup(id))?;
        let place = group.unfilled_place(seen, replica).map_err(|change| Refusal::Group { group: id, change })?;
        let Some(place) = place else { return Ok(None) };
        // At most one member of a generation is unfilled, so this report fills the group.
        self.group_mut(id).fill(place);
        Ok(Some(Event::GroupFilled(id, seen)))
    }

    fn group_mut(&mut self, id: GroupId) -> &mut Group {
        let index = usize::try_from(id.0).expect("group numbers are small");
        self.map.groups.get_mut(index).expect("the caller has found the group")
    }

    fn place(&mut self, owners: &[(PartitionId, GroupId)]) -> Result<Option<Event>, Refusal> {
        let mut last = None;
        for (partition, group) in owners {
            if partition.0 >= self.map.partition_count() {
                return Err(Refusal::UnknownPartition(partition.0));
            }
            if self.map.group(*group).is_none() {
                return Err(Refusal::UnknownGroup(*group));
            }
            if last >= Some(*partition) || !self.map.ownership(*partition).is_empty() {
                return Err(Refusal::Placed(partition.0));
            }
            last = Some(*partition);
        }
        if owners.is_empty() {
            return Ok(None);
        }
        for (partition, group) in owners {
            let index = usize::try_from(partition.0).expect("partition numbers are small");
            self.map.placement[index].push(Ownership { since: TimestampMs::MIN, group: *group });
        }
        Ok(Some(Event::Placed))
    }

    fn record_hole(&mut self, hole: Hole) -> Result<Option<Event>, Refusal> {
        if self.map.group(hole.group).is_none() {
            return Err(Refusal::UnknownGroup(hole.group));
        }
        if hole.range.mint >= hole.range.maxt {
            return Err(Refusal::EmptyRange);
        }
        Ok(self.map.holes.insert(hole).then_some(Event::HoleOpened(hole)))
    }
}

#[cfg(test)]
mod tests;
