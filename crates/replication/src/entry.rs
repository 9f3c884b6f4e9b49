//! Generation entries: a group with the generations that count, as messages carry it and everyone hands it on.

use std::sync::Arc;

use cluster::{GenerationNumber, Group, Replica as ReplicaId};

/// A group as it was at its newest generation. Shared, because every message carries one.
pub type Entry = Arc<Group>;

/// Whether `candidate` says more than `held`: a later generation, or the same one with more members filled.
pub fn is_newer(candidate: &Group, held: &Group) -> bool {
    rank(candidate) > rank(held)
}

fn rank(group: &Group) -> (GenerationNumber, usize) {
    let newest = group.newest();
    (newest.number, newest.members.iter().filter(|m| m.filled).count())
}

/// Takes the entry if it is newer. Tells whether the generation changed, so that counts have to begin afresh.
pub(crate) fn adopt(held: &mut Entry, candidate: &Entry) -> bool {
    if !is_newer(candidate, held) {
        return false;
    }
    let moved = candidate.newest().number != held.newest().number;
    *held = candidate.clone();
    moved
}

/// The members of all generations that count, each once: whom a quorum may need.
pub fn live_members(group: &Group) -> Vec<ReplicaId> {
    let mut members: Vec<ReplicaId> = Vec::with_capacity(Group::MEMBERS_MAX + 1);
    for member in group.generations().iter().rev().flat_map(|g| &g.members) {
        if !members.contains(&member.replica) {
            members.push(member.replica.clone());
        }
    }
    members
}

/// Whether the replica is in a generation that counts.
pub fn is_live(group: &Group, replica: &ReplicaId) -> bool {
    group.generations().iter().any(|g| g.position(replica).is_some())
}

/// The number of the generation in which the membership of `replica` in the newest generation began, as far as the entry
/// tells.
pub(crate) fn joined_at(group: &Group, replica: &ReplicaId) -> Option<GenerationNumber> {
    let with = group.generations().iter().rev().take_while(|g| g.position(replica).is_some());
    with.last().map(|g| g.number)
}

/// How many members of a generation must acknowledge a write: two in two zones, or all of a group that has fewer.
pub(crate) fn acks_needed(group: &Group) -> usize {
    group.newest().members.len().min(2)
}
