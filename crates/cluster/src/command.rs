//! Commands: what the control plane decides, as it stands in the Raft log.

use std::fmt;

use model::{PartitionId, TimeRange, TimestampMs};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::map_codec::{
    get_address, get_incarnation, get_node_id, get_node_state, get_replica, get_roles, get_zone, more_than_one_group,
    put_replica,
};
use crate::{
    Address, ClusterId, ClusterMap, GenerationNumber, Group, GroupId, Hole, Incarnation, NodeId, NodeState, Replica,
    Roles, Zone,
};

/// A decision to be replicated. Random ids and times are in it, so that applying it needs neither dice nor clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The cluster comes into being. Once only.
    Birth {
        /// A random number.
        cluster: ClusterId,
        /// A power of two, for ever.
        partition_count: u32,
        /// Members per group, for ever.
        replication_factor: u8,
        /// Ingesters that the first groups wait for, so that partitions are placed over all groups that these form; at
        /// least one group's.
        bootstrap_ingesters: u32,
    },
    /// A node comes, comes back, or tells that its roles, address or directory changed. It is up.
    Join {
        /// Its name.
        node: NodeId,
        /// What it does.
        roles: Roles,
        /// What it fails with.
        zone: Zone,
        /// Where it answers others.
        address: Address,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// A node's state as those who count heartbeats, or an operator, see it.
    SetNodeState {
        /// The node.
        node: NodeId,
        /// The directory that was meant: a node that came back with another one is not affected.
        incarnation: Incarnation,
        /// The state.
        state: NodeState,
    },
    /// A new group, owning nothing yet.
    CreateGroup {
        /// The next number.
        group: GroupId,
        /// As many ingesters as the replication factor, in different zones and in no other group.
        members: Vec<Replica>,
    },
    /// The next generation of a group: one member exchanged for a new replica, which is unfilled.
    ReplaceMember {
        /// The group.
        group: GroupId,
        /// The newest generation that the proposer knew.
        seen: GenerationNumber,
        /// Who goes.
        leaving: Replica,
        /// Who comes.
        joining: Replica,
    },
    /// A member reports that it holds every sample acknowledged at earlier generations.
    ReportFilled {
        /// The group.
        group: GroupId,
        /// The newest generation that the member knew.
        seen: GenerationNumber,
        /// The member.
        replica: Replica,
    },
    /// The first owners of partitions.
    PlacePartitions {
        /// Partitions without an owner yet, ascending, and groups.
        owners: Vec<(PartitionId, GroupId)>,
    },
    /// Acknowledged samples of a group were lost for good.
    RecordHole(Hole),
}

/// No encoded command is larger: names, lists and addresses are bounded.
pub const COMMAND_BYTES_MAX: usize = 64 << 10;

/// A placement of all partitions is the largest command: 8 bytes each.
const _: () = assert!(ClusterMap::PARTITIONS_MAX as usize * 8 + 1024 < COMMAND_BYTES_MAX);

const VERSION: u8 = 1;

impl Command {
    /// The command as bytes of the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(VERSION);
        match self {
            Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters } => {
                // Kind 0 is as old as the layout: it waits for the ingesters of one group.
                let one_group = *bootstrap_ingesters == u32::from(*replication_factor);
                e.u8(if one_group { 0 } else { 8 });
                e.u128(cluster.0);
                e.u32(*partition_count);
                e.u8(*replication_factor);
                if !one_group {
                    e.u32(*bootstrap_ingesters);
                }
            }
            Command::Join { node, roles, zone, address, incarnation } => {
                e.u8(1);
                e.text(node.as_str());
                e.u8(roles.bits());
                e.text(zone.as_str());
                e.text(address.as_str());
                e.u64(incarnation.0);
            }
            Command::SetNodeState { node, incarnation, state } => {
                e.u8(2);
                e.text(node.as_str());
                e.u64(incarnation.0);
                e.u8(*state as u8);
            }
            Command::CreateGroup { group, members } => {
                e.u8(3);
                e.u32(group.0);
                e.count(members.len());
                members.iter().for_each(|m| put_replica(&mut e, m));
            }
            Command::ReplaceMember { group, seen, leaving, joining } => {
                e.u8(4);
                e.u32(group.0);
                e.u64(seen.0);
                put_replica(&mut e, leaving);
                put_replica(&mut e, joining);
            }
            Command::ReportFilled { group, seen, replica } => {
                e.u8(5);
                e.u32(group.0);
                e.u64(seen.0);
                put_replica(&mut e, replica);
            }
            Command::PlacePartitions { owners } => {
                e.u8(6);
                e.count(owners.len());
                for (partition, group) in owners {
                    e.u32(partition.0);
                    e.u32(group.0);
                }
            }
            Command::RecordHole(hole) => {
                e.u8(7);
                e.u32(hole.group.0);
                e.i64(hole.range.mint.0);
                e.i64(hole.range.maxt.0);
            }
        }
        e.finish()
    }

    /// Reads what [`Command::encode`] wrote. Whether the command is legal is decided when it is applied; but one that no
    /// proposer may write (an impossible name, a list past its bound) is refused here.
    pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
        let mut d = Decoder::new(bytes, "command", VERSION)?;
        let command = match d.u8()? {
            kind @ (0 | 8) => {
                let (cluster, partition_count, replication_factor) = (ClusterId(d.u128()?), d.u32()?, d.u8()?);
                let one_group = u32::from(replication_factor);
                let bootstrap_ingesters =
                    if kind == 0 { one_group } else { more_than_one_group(d.u32()?, replication_factor)? };
                Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters }
            }
            1 => Command::Join {
                node: get_node_id(&mut d)?,
                roles: get_roles(&mut d)?,
                zone: get_zone(&mut d)?,
                address: get_address(&mut d)?,
                incarnation: get_incarnation(&mut d)?,
            },
            2 => Command::SetNodeState {
                node: get_node_id(&mut d)?,
                incarnation: get_incarnation(&mut d)?,
                state: get_node_state(&mut d)?,
            },
            3 => Command::CreateGroup { group: GroupId(d.u32()?), members: get_members(&mut d)? },
            4 => Command::ReplaceMember {
                group: GroupId(d.u32()?),
                seen: GenerationNumber(d.u64()?),
                leaving: get_replica(&mut d)?,
                joining: get_replica(&mut d)?,
            },
            5 => Command::ReportFilled {
                group: GroupId(d.u32()?),
                seen: GenerationNumber(d.u64()?),
                replica: get_replica(&mut d)?,
            },
            6 => Command::PlacePartitions { owners: get_owners(&mut d)? },
            7 => Command::RecordHole(Hole {
                group: GroupId(d.u32()?),
                range: TimeRange::new(TimestampMs(d.i64()?), TimestampMs(d.i64()?)),
            }),
            found => return Err(DecodeError::Value { field: "kind of command", found: u64::from(found) }),
        };
        d.finish()?;
        Ok(command)
    }
}

fn get_members(d: &mut Decoder<'_>) -> Result<Vec<Replica>, DecodeError> {
    let count = d.count(10)?;
    if count > Group::MEMBERS_MAX {
        return Err(DecodeError::Value { field: "number of members", found: count as u64 });
    }
    (0..count).map(|_| get_replica(d)).collect()
}

fn get_owners(d: &mut Decoder<'_>) -> Result<Vec<(PartitionId, GroupId)>, DecodeError> {
    let count = d.count(8)?;
    if count as u64 > u64::from(ClusterMap::PARTITIONS_MAX) {
        return Err(DecodeError::Value { field: "number of partitions", found: count as u64 });
    }
    (0..count).map(|_| Ok((PartitionId(d.u32()?), GroupId(d.u32()?)))).collect()
}

/// One line for logs.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters } => write!(
                f,
                "birth of {cluster}: {partition_count} partitions, replication factor {replication_factor}, waiting for \
                 {bootstrap_ingesters} ingesters"
            ),
            Command::Join { node, roles, zone, address, incarnation } => {
                write!(f, "join {node}/{incarnation} as {roles} in {zone} at {address}")
            }
            Command::SetNodeState { node, incarnation, state } => {
                write!(f, "{node}/{incarnation} is {}", state.as_str())
            }
            Command::CreateGroup { group, members } => write!(f, "group {group} of {members:?}"),
            Command::ReplaceMember { group, seen, leaving, joining } => {
                write!(f, "group {group} after generation {seen}: {joining} for {leaving}")
            }
            Command::ReportFilled { group, seen, replica } => {
                write!(f, "group {group} at generation {seen}: {replica} is filled")
            }
            Command::PlacePartitions { owners } => write!(f, "place {} partitions", owners.len()),
            Command::RecordHole(hole) => {
                write!(f, "hole in group {} from {} to {}", hole.group, hole.range.mint, hole.range.maxt)
            }
        }
    }
}
