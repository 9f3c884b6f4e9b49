//! Filling a new member (rule *Replace*): it asks the members of the generations before to move on and to send what they hold,
//! and may acknowledge once a quorum of them has.

use std::collections::BTreeMap;

use cluster::{GenerationNumber, Replica as ReplicaId};
use model::TimestampMs;

use crate::puller::Puller;
use crate::quorum::{Replies, fills};
use crate::replica::{Effects, Replica, SnapshotHead};
use crate::{Payload, Position, Rule, Rules};

/// Fills one replica. It keeps nothing durable: after a restart it begins again, and what was merged is merged again.
#[derive(Debug)]
pub struct Filler {
    rules: Rules,
    generation: Option<GenerationNumber>,
    replies: Replies,
    /// Where the replica's own log took each reply.
    merged_at: BTreeMap<ReplicaId, Position>,
}

impl Filler {
    /// A filler that has heard nothing yet.
    pub fn new(rules: Rules) -> Filler {
        Filler { rules, generation: None, replies: Replies::new(), merged_at: BTreeMap::new() }
    }

    /// Whether the replica is a member that is not filled.
    pub fn is_due<P: Payload>(replica: &Replica<P>) -> bool {
        let state = replica.durable();
        !state.filled && state.entry.newest().position(replica.id()).is_some()
    }

    /// Whom to ask for a snapshot at the replica's generation: those that have not answered.
    pub fn ask<P: Payload>(&mut self, replica: &Replica<P>) -> Vec<ReplicaId> {
        if !Filler::is_due(replica) {
            return Vec::new();
        }
        self.follow(replica.durable().entry.newest().number);
        let mut peers = Puller::peers(replica);
        peers.retain(|peer| !self.replies.contains_key(peer));
        peers
    }

    /// A snapshot that was asked for, at `at` by this replica's clock. Counts only if sent at exactly this generation. Returns
    /// where the replica's log took it.
    pub fn answered<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        head: SnapshotHead,
        at: TimestampMs,
    ) -> (Option<Position>, Effects<P>) {
        let newest = replica.durable().entry.newest().number;
        self.follow(newest);
        let moved_on = head.flags.generation == newest || !self.rules.keep(Rule::FilledByThoseMovedOn);
        if !Filler::is_due(replica) || !moved_on || self.replies.contains_key(&head.of) {
            return (None, Effects::default());
        }
        let (of, mut flags) = (head.of.clone(), head.flags);
        flags.generation = newest;
        let (position, effects) = replica.merge(head, at);
        self.replies.insert(of.clone(), flags);
        self.merged_at.insert(of, position);
        (Some(position), effects)
    }

    /// Fills the replica if enough was merged durably.
    pub fn finish<P: Payload>(&mut self, replica: &mut Replica<P>) -> Effects<P> {
        let entry = replica.durable().entry.clone();
        let generation = entry.newest().number;
        if !Filler::is_due(replica) || self.generation != Some(generation) {
            return Effects::default();
        }
        let synced = replica.synced_position();
        let merged = self.replies.iter().filter(|(of, _)| self.merged_at[*of] <= synced);
        let merged: Replies = merged.map(|(of, flags)| (of.clone(), *flags)).collect();
        let one = !self.rules.keep(Rule::FilledByAMajority) && !merged.is_empty();
        if one || fills(&entry, &merged, self.rules) { replica.fill(generation) } else { Effects::default() }
    }

    /// What is to be reported to the control plane: that the replica is filled and the map does not say so.
    pub fn report<P: Payload>(replica: &Replica<P>) -> Option<GenerationNumber> {
        let state = replica.durable();
        let newest = state.entry.newest();
        let place = newest.position(replica.id())?;
        (state.filled && !newest.members[place].filled).then_some(newest.number)
    }

    fn follow(&mut self, generation: GenerationNumber) {
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            self.replies.clear();
            self.merged_at.clear();
        }
    }
}
