//! The cluster map as bytes: for snapshots, for the copy that each node keeps on disk, for the stream to others.
//!
//! Equal maps have equal bytes. Reading checks every promise of a map, so what was read is as good as what was applied.

use std::collections::BTreeMap;

use model::{TimeRange, TimestampMs};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::map::Birth;
use crate::{
    Address, ClusterId, ClusterMap, Generation, GenerationNumber, Group, GroupId, Holes, Incarnation, MapVersion,
    Member, Node, NodeId, NodeState, Ownership, Replica, Roles, Zone,
};

const VERSION: u8 = 1;

impl ClusterMap {
    /// The map as bytes; equal maps give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(VERSION);
        e.u64(self.version.0);
        put_birth(&mut e, self.birth.as_ref());
        e.count(self.nodes.len());
        self.nodes.iter().for_each(|(id, node)| put_node(&mut e, id, node));
        e.count(self.groups.len());
        self.groups.iter().for_each(|group| put_group(&mut e, group));
        e.count(self.placement.len());
        for owners in &self.placement {
            e.count(owners.len());
            for owner in owners {
                e.i64(owner.since.0);
                e.u32(owner.group.0);
            }
        }
        e.count(self.holes.by_group().len());
        for (group, ranges) in self.holes.by_group() {
            e.u32(group.0);
            e.count(ranges.len());
            for range in ranges {
                e.i64(range.mint.0);
                e.i64(range.maxt.0);
            }
        }
        e.finish()
    }

    /// Reads what [`ClusterMap::encode`] wrote, and checks all that holds for a map.
    pub fn decode(bytes: &[u8]) -> Result<ClusterMap, DecodeError> {
        let mut d = Decoder::new(bytes, "cluster map", VERSION)?;
        let version = MapVersion(d.u64()?);
        let birth = get_birth(&mut d)?;
        let nodes = get_nodes(&mut d)?;
        let group_count = d.count(8)?;
        let groups = (0..group_count).map(|n| get_group(&mut d, n)).collect::<Result<Vec<_>, _>>()?;
        let partition_count = d.count(4)?;
        let placement = (0..partition_count).map(|_| get_owners(&mut d)).collect::<Result<Vec<_>, _>>()?;
        let holes = get_holes(&mut d)?;
        d.finish()?;
        let map = ClusterMap { version, birth, nodes, groups, placement, holes };
        map.check().map_err(|rule| DecodeError::Rule { rule })?;
        Ok(map)
    }
}

/// Version of a group by itself.
const GROUP_VERSION: u8 = 1;

impl Group {
    /// Longest encoding: all generations of three members with the longest names.
    pub const ENCODED_BYTES_MAX: usize =
        9 + Group::GENERATIONS_MAX * (12 + Group::MEMBERS_MAX * (11 + NodeId::BYTES_MAX));

    /// The group as bytes, as messages between its members and writers carry it; equal groups give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(GROUP_VERSION);
        e.u32(self.id().0);
        put_group(&mut e, self);
        e.finish()
    }

    /// Reads what [`Group::encode`] wrote, and checks all that holds for a group.
    pub fn decode(bytes: &[u8]) -> Result<Group, DecodeError> {
        let mut d = Decoder::new(bytes, "group", GROUP_VERSION)?;
        let id = d.u32()?;
        let group = get_group(&mut d, usize::try_from(id).expect("usize has at least 32 bits here"))?;
        d.finish()?;
        group.check().map_err(|rule| DecodeError::Rule { rule })?;
        Ok(group)
    }
}

/// A birth that waits for the ingesters of one group is written as it was before there was anything else to wait for.
fn put_birth(e: &mut Encoder, birth: Option<&Birth>) {
    let Some(birth) = birth else { return e.u8(0) };
    let one_group = birth.bootstrap_ingesters == u32::from(birth.replication_factor);
    e.u8(if one_group { 1 } else { 2 });
    e.u128(birth.cluster.0);
    e.u32(birth.partition_count);
    e.u8(birth.replication_factor);
    if !one_group {
        e.u32(birth.bootstrap_ingesters);
    }
}

fn get_birth(d: &mut Decoder<'_>) -> Result<Option<Birth>, DecodeError> {
    let form = d.u8()?;
    if form == 0 {
        return Ok(None);
    }
    let (cluster, partition_count, replication_factor) = (ClusterId(d.u128()?), d.u32()?, d.u8()?);
    let bootstrap_ingesters = match form {
        1 => u32::from(replication_factor),
        2 => more_than_one_group(d.u32()?, replication_factor)?,
        found => return Err(DecodeError::Value { field: "birth", found: u64::from(found) }),
    };
    Ok(Some(Birth { cluster, partition_count, replication_factor, bootstrap_ingesters }))
}

/// Equal values have equal bytes: what has a shorter form must be written in it.
pub(crate) fn more_than_one_group(bootstrap_ingesters: u32, replication_factor: u8) -> Result<u32, DecodeError> {
    if bootstrap_ingesters == u32::from(replication_factor) {
        return Err(DecodeError::Rule { rule: "a birth is written in its shortest form" });
    }
    Ok(bootstrap_ingesters)
}

fn put_node(e: &mut Encoder, id: &NodeId, node: &Node) {
    e.text(id.as_str());
    e.u8(node.roles.bits());
    e.text(node.zone.as_str());
    e.text(node.address.as_str());
    e.u64(node.incarnation.0);
    e.u8(node.state as u8);
    e.u64(node.changed.0);
}

fn get_nodes(d: &mut Decoder<'_>) -> Result<BTreeMap<NodeId, Node>, DecodeError> {
    let count = d.count(20)?;
    let mut nodes = BTreeMap::new();
    for _ in 0..count {
        let id = get_node_id(d)?;
        let node = Node {
            roles: get_roles(d)?,
            zone: get_zone(d)?,
            address: get_address(d)?,
            incarnation: get_incarnation(d)?,
            state: get_node_state(d)?,
            changed: MapVersion(d.u64()?),
        };
        if nodes.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(DecodeError::Rule { rule: "nodes are in ascending order" });
        }
        nodes.insert(id, node);
    }
    Ok(nodes)
}

fn put_group(e: &mut Encoder, group: &Group) {
    e.count(group.generations().len());
    for generation in group.generations() {
        e.u64(generation.number.0);
        e.count(generation.members.len());
        for member in &generation.members {
            put_replica(e, &member.replica);
            e.bool(member.filled);
        }
    }
}

fn get_group(d: &mut Decoder<'_>, number: usize) -> Result<Group, DecodeError> {
    let id = u32::try_from(number).expect("counts have 32 bits");
    let generation_count = d.count(12)?;
    let generations = (0..generation_count).map(|_| {
        let number = GenerationNumber(d.u64()?);
        let member_count = d.count(11)?;
        let members = (0..member_count).map(|_| Ok(Member { replica: get_replica(d)?, filled: d.bool("filled")? }));
        Ok(Generation { number, members: members.collect::<Result<_, DecodeError>>()? })
    });
    Ok(Group::from_parts(GroupId(id), generations.collect::<Result<_, DecodeError>>()?))
}

fn get_owners(d: &mut Decoder<'_>) -> Result<Vec<Ownership>, DecodeError> {
    let count = d.count(12)?;
    (0..count).map(|_| Ok(Ownership { since: TimestampMs(d.i64()?), group: GroupId(d.u32()?) })).collect()
}

fn get_holes(d: &mut Decoder<'_>) -> Result<Holes, DecodeError> {
    let group_count = d.count(8)?;
    let mut by_group = BTreeMap::new();
    for _ in 0..group_count {
        let group = GroupId(d.u32()?);
        let count = d.count(16)?;
        let ranges = (0..count).map(|_| Ok(TimeRange::new(TimestampMs(d.i64()?), TimestampMs(d.i64()?))));
        let ranges = ranges.collect::<Result<Vec<_>, DecodeError>>()?;
        if by_group.last_key_value().is_some_and(|(last, _)| *last >= group) {
            return Err(DecodeError::Rule { rule: "holes are in ascending order" });
        }
        by_group.insert(group, ranges);
    }
    Ok(Holes::from_parts(by_group))
}

pub(crate) fn put_replica(e: &mut Encoder, replica: &Replica) {
    e.text(replica.node.as_str());
    e.u64(replica.incarnation.0);
}

pub(crate) fn get_replica(d: &mut Decoder<'_>) -> Result<Replica, DecodeError> {
    Ok(Replica { node: get_node_id(d)?, incarnation: get_incarnation(d)? })
}

pub(crate) fn get_node_id(d: &mut Decoder<'_>) -> Result<NodeId, DecodeError> {
    NodeId::new(d.text("node id")?).ok_or(DecodeError::Text { field: "node id" })
}

pub(crate) fn get_zone(d: &mut Decoder<'_>) -> Result<Zone, DecodeError> {
    Zone::new(d.text("zone")?).ok_or(DecodeError::Text { field: "zone" })
}

pub(crate) fn get_address(d: &mut Decoder<'_>) -> Result<Address, DecodeError> {
    Address::new(d.text("address")?).ok_or(DecodeError::Text { field: "address" })
}

pub(crate) fn get_incarnation(d: &mut Decoder<'_>) -> Result<Incarnation, DecodeError> {
    Ok(Incarnation(d.u64()?))
}

pub(crate) fn get_roles(d: &mut Decoder<'_>) -> Result<Roles, DecodeError> {
    let bits = d.u8()?;
    Roles::from_bits(bits).ok_or(DecodeError::Value { field: "roles", found: u64::from(bits) })
}

pub(crate) fn get_node_state(d: &mut Decoder<'_>) -> Result<NodeState, DecodeError> {
    match d.u8()? {
        0 => Ok(NodeState::Up),
        1 => Ok(NodeState::Down),
        2 => Ok(NodeState::Lost),
        3 => Ok(NodeState::Left),
        found => Err(DecodeError::Value { field: "node state", found: u64::from(found) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::Plant;

    #[test]
    fn a_group_by_itself_reads_back_and_nothing_less_does() {
        let plant = Plant::born(4, 3, 6).grow("a@x b@y c@z d@x e@y f@z");
        assert_eq!(plant.map().groups().len(), 2);
        for group in plant.map().groups() {
            let bytes = group.encode();
            assert!(bytes.len() <= Group::ENCODED_BYTES_MAX);
            assert_eq!(Group::decode(&bytes).as_ref(), Ok(group));
            for len in 0..bytes.len() {
                assert!(Group::decode(&bytes[..len]).is_err(), "{len}");
            }
            assert_eq!(Group::decode(&[&bytes[..], &[0]].concat()), Err(DecodeError::Trailing { count: 1 }));
            let mut twice = bytes.clone();
            let last = twice.len() - 1;
            twice[last] = 0;
            assert!(matches!(Group::decode(&twice), Err(DecodeError::Rule { .. })), "a founder is filled");
        }
    }
}
