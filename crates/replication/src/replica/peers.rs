//! What a replica gives to its peers and takes from them: lists of its log, snapshots, covers, and how much log is kept.

use std::collections::BTreeMap;

use cluster::Replica as ReplicaId;
use model::TimestampMs;

use super::{Ask, Base, Effects, Replica, Token};
use crate::entry::{is_live, live_members};
use crate::quorum::Flags;
use crate::state::{Listed, ManifestName, Merged, Record};
use crate::{BatchKey, Entry, Payload, Position, Rule};

/// What a replica holds after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListReply {
    /// Data positions after the one asked for, in order.
    Listed {
        /// The list is whole up to here: the last durable data position, unless the list is full.
        to: Position,
        /// What they hold.
        items: Vec<(Position, Listed)>,
    },
    /// That part of the log is gone: a snapshot holds it.
    Truncated,
}

/// A snapshot for a peer, without its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Whose.
    pub of: ReplicaId,
    /// Generation and whether filled.
    pub flags: Flags,
    /// Last data position in it.
    pub position: Position,
    /// The replica's covers.
    pub covers: BTreeMap<ReplicaId, Position>,
    /// Its seal.
    pub sealed_before: TimestampMs,
    /// Its dropped ranges that are named.
    pub dropped: BTreeMap<TimestampMs, ManifestName>,
    /// Its watermark.
    pub watermark: TimestampMs,
}

impl<P: Payload> Replica<P> {
    /// Rule *Pull*: a peer asks for what is after `from`, up to which it has durably covered this log. A pull is served at any
    /// generation and in sealed ranges; an entry that comes along is adopted.
    pub fn list(&mut self, token: Token, puller: &ReplicaId, entry: &Entry, from: Position) -> Effects<P> {
        let mut effects = Effects::default();
        if entry.id() != self.state.entry.id() {
            return effects;
        }
        self.adopt_into(entry, &mut effects);
        if is_live(&self.state.entry, puller) && puller != &self.me {
            let covered = self.covered_by.entry(puller.clone()).or_insert(0);
            *covered = (*covered).max(from);
        }
        // What is listed is durable at the moment of the reply, so there is nothing to wait for.
        self.wait(0, token, Ask::List { from }, &mut effects);
        effects
    }

    pub(super) fn list_from(&self, from: Position) -> ListReply {
        // Only data positions count: a peer that has the last of them lacks nothing, whatever was truncated behind it.
        if from < self.floor_data && self.rules.keep(Rule::TruncatedIsTold) {
            return ListReply::Truncated;
        }
        let start = self.index.partition_point(|(position, _)| *position <= from);
        let whole_to = self.durable.data_position;
        let listed = self.index.range(start..).take_while(|(position, _)| *position <= whole_to);
        let items: Vec<_> = listed.take(self.limits.list_max).cloned().collect();
        let full = items.len() == self.limits.list_max;
        let to = items.last().filter(|_| full).map_or(whole_to, |(position, _)| *position);
        ListReply::Listed { to: to.max(from), items }
    }

    /// Whether a batch is held already, or not to be kept at all.
    pub fn has(&self, key: BatchKey, bounds: Option<(TimestampMs, TimestampMs)>) -> bool {
        let recent = self.rules.keep(Rule::RecentNotPulledAgain) && self.recent.contains_key(&key);
        recent || self.state.discards_all(bounds)
    }

    /// Whether all that another replica held at a position of its log is held here.
    pub fn has_merged(&self, of: &ReplicaId, position: Position) -> bool {
        *of == self.me || self.state.covers.get(of).is_some_and(|cover| *cover >= position)
    }

    /// Rule *Pull*: logs what was fetched from `of`, and after it the cover. The caller has seen to definitions.
    pub fn pulled(&mut self, of: &ReplicaId, batches: Vec<P>, to: Position) -> Effects<P> {
        let mut effects = Effects::default();
        if !self.rules.keep(Rule::CoverAfterBatches) {
            self.cover(of, to, &mut effects);
        }
        for batch in batches {
            // Another peer, or the writer, may have brought it since it was asked for.
            if !self.has(batch.key(), batch.bounds()) {
                self.pending_bytes += batch.bytes();
                self.append(Record::Batch(batch), &mut effects);
            }
        }
        self.cover(of, to, &mut effects);
        effects
    }

    fn cover(&mut self, of: &ReplicaId, position: Position, effects: &mut Effects<P>) {
        let live = is_live(&self.state.entry, of) && *of != self.me;
        if live && self.state.covers.get(of).copied().unwrap_or(0) < position {
            self.append(Record::Covered { of: of.clone(), position }, effects);
        }
    }

    /// Up to where all of a peer's log is durably held here.
    pub fn cover_of(&self, of: &ReplicaId) -> Position {
        self.durable.covers.get(of).copied().unwrap_or(0)
    }

    /// Rules *Pull* and *Replace*: a peer wishes for all that is held here in ranges not dropped, said at `entry`.
    pub fn snapshot_for(&mut self, token: Token, entry: &Entry) -> Effects<P> {
        let mut effects = Effects::default();
        let generation = entry.newest().number;
        if entry.id() != self.state.entry.id() {
            return effects;
        }
        if self.rules.keep(Rule::FilledByThoseMovedOn) {
            self.adopt_into(entry, &mut effects);
        }
        self.say(token, Ask::Snapshot { generation }, &mut effects);
        effects
    }

    pub(super) fn snapshot_head(&self, flags: Flags) -> SnapshotHead {
        let state = &self.durable;
        SnapshotHead {
            of: self.me.clone(),
            flags,
            position: state.data_position,
            covers: state.covers.clone(),
            sealed_before: state.sealed_before,
            dropped: state.dropped.iter().map(|(start, drop)| (*start, drop.manifest.clone())).collect(),
            watermark: state.watermark,
        }
    }

    /// Rules *Pull* and *Replace*: takes in a peer's snapshot, never replacing what is held here. It takes a position of this
    /// log, which is returned: this replica's peers must come to know that there is content which they cannot have from
    /// its batches.
    pub fn merge(&mut self, head: SnapshotHead, at: TimestampMs) -> (Position, Effects<P>) {
        let mut effects = Effects::default();
        let SnapshotHead { of, position, covers, sealed_before, dropped, watermark, flags: _ } = head;
        let merged = Merged { of, position, covers, sealed_before, dropped, watermark, at };
        let at = self.append(Record::Merged(merged), &mut effects);
        (at, effects)
    }

    /// The state for a snapshot of one's own: everything synced and nothing else.
    pub fn base(&self) -> Base {
        Base { position: self.synced, state: self.durable.clone() }
    }

    /// Rule *Truncate*: up to where the log may go. `snapshot`: the older of the two kept snapshots holds everything up to
    /// here. `expired`: everything up to here is past the retention, in time or bytes.
    pub fn truncatable(&self, snapshot: Position, expired: Position) -> Position {
        let wanted =
            if self.rules.keep(Rule::TruncationWaitsForCovers) { self.covered().max(expired) } else { self.synced };
        snapshot.min(wanted).min(self.synced).max(self.floor)
    }

    /// Up to where every other live member has covered this log, by its own word.
    pub fn covered(&self) -> Position {
        let others = live_members(&self.durable.entry);
        let covers = others.iter().filter(|id| **id != self.me).map(|id| self.covered_by.get(id).copied().unwrap_or(0));
        match covers.min() {
            // Behind the last data position there is nothing that a peer lacks.
            Some(least) if least < self.durable.data_position => least,
            _ => self.synced,
        }
    }

    /// Records up to here are gone.
    pub fn truncated(&mut self, to: Position) {
        assert!(to <= self.synced, "only what is synced is truncated");
        self.floor = self.floor.max(to);
        while self.index.front().is_some_and(|(position, _)| *position <= to) {
            let Some((position, listed)) = self.index.pop_front() else { break };
            self.floor_data = position;
            if let Listed::Batch { key, .. } = listed {
                self.forgettable.push_back((position, key));
            }
        }
        while self.forgettable.len() > self.limits.recent_max {
            let Some((position, key)) = self.forgettable.pop_front() else { break };
            if self.recent.get(&key) == Some(&position) {
                self.recent.remove(&key);
            }
        }
    }

    /// Records up to here were truncated.
    pub fn floor(&self) -> Position {
        self.floor
    }

    /// How many positions of data the log holds.
    pub fn index_len(&self) -> usize {
        self.index.len()
    }
}
