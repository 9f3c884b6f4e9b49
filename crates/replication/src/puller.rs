//! The puller: makes a replica hold what its peers hold (rule *Pull*).
//!
//! Per peer one request at a time. X asks Y for what is after `cover_X[Y]`; Y lists names; X fetches the bodies that it has
//! not, has missing definitions sent along, logs, and sets the cover in the same log behind them. What was truncated at Y
//! comes as a snapshot.
//!
//! Where the text is silent: a merged snapshot is listed at its position. It is held here if this replica covers the merged
//! log up to there; else, if that peer is alive, it is left to later, when its own log will have been pulled; after
//! [`PATIENCE`] attempts the peer's snapshot is asked for. Definitions that the peer has not any more (the range was
//! freed there) stop the pull until this replica has read the manifest of the range, too.

use std::collections::BTreeMap;

use cluster::Replica as ReplicaId;
use model::{SeriesId, TimestampMs};

use crate::entry::live_members;
use crate::replica::{Effects, ListReply, Replica, SnapshotHead};
use crate::state::Listed;
use crate::{Payload, Position};

/// How often a merge that is not held here is left to later.
pub const PATIENCE: u32 = 3;

/// What is asked of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullRequest {
    /// What is after this position.
    List {
        /// Durably covered up to here.
        from: Position,
    },
    /// Bodies at these positions, with definitions of these series.
    Fetch {
        /// Positions of batches.
        positions: Vec<Position>,
        /// Series without a definition here.
        define: Vec<SeriesId>,
    },
    /// All that the peer holds.
    Snapshot,
}

/// What a peer has of the bodies that were asked for.
#[derive(Clone, Debug)]
pub struct Bodies<P> {
    /// The batches of the first of the positions: as many as the peer found room for, one at least.
    pub batches: Vec<P>,
    /// Batches of definitions only, each of a name of its own; they are logged before.
    pub definitions: Vec<P>,
}

/// What comes of an answer.
#[derive(Debug)]
pub struct Step<P> {
    /// The next request to that peer, and its number.
    pub request: Option<(u64, PullRequest)>,
    /// For the replica's log.
    pub effects: Effects<P>,
    /// Where the replica's log took the merged snapshot; the caller keeps its samples with that record.
    pub merged_at: Option<Position>,
}

impl<P> Step<P> {
    fn nothing() -> Step<P> {
        Step { request: None, effects: Effects::default(), merged_at: None }
    }
}

#[derive(Debug)]
struct Pull {
    id: u64,
    phase: Phase,
    /// How often a merge at this peer was left to later.
    deferred: u32,
    /// The last data position that the peer has told of.
    told: Position,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Listing,
    Fetching { positions: Vec<Position>, to: Position, defining: bool },
    Snapshotting,
}

/// Pulls from all peers of one replica.
#[derive(Debug, Default)]
pub struct Puller {
    next_id: u64,
    pulls: BTreeMap<ReplicaId, Pull>,
}

impl Puller {
    /// Whom the replica pulls from: the other members of the generations that count.
    pub fn peers<P: Payload>(replica: &Replica<P>) -> Vec<ReplicaId> {
        let mut peers = live_members(&replica.durable().entry);
        peers.retain(|peer| peer != replica.id());
        peers
    }

    /// Begins a pull from a peer. One that is still under way is given up: its answers will be ignored.
    pub fn start<P: Payload>(&mut self, replica: &Replica<P>, peer: &ReplicaId) -> (u64, PullRequest) {
        let live = Puller::peers(replica);
        self.pulls.retain(|peer, _| live.contains(peer));
        let id = self.fresh();
        let pull = self.pulls.entry(peer.clone()).or_insert(Pull { id, phase: Phase::Idle, deferred: 0, told: 0 });
        pull.id = id;
        pull.phase = Phase::Listing;
        (id, PullRequest::List { from: replica.cover_of(peer) })
    }

    /// Whether a pull from this peer is under way.
    pub fn is_busy(&self, peer: &ReplicaId) -> bool {
        self.pulls.get(peer).is_some_and(|pull| pull.phase != Phase::Idle)
    }

    /// How many positions of what a peer has told of are not durably held here, in so far as the last list was not full; `None`
    /// before its first answer. Rule *Repaired*: zero for each pair of members.
    pub fn behind<P: Payload>(&self, replica: &Replica<P>, peer: &ReplicaId) -> Option<u64> {
        let told = self.pulls.get(peer).map(|pull| pull.told).filter(|told| *told > 0)?;
        Some(told.saturating_sub(replica.cover_of(peer)))
    }

    /// The peer's list.
    pub fn listed<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        peer: &ReplicaId,
        id: u64,
        reply: ListReply,
    ) -> Step<P> {
        let next = self.fresh();
        let Some(pull) = self.pulls.get_mut(peer).filter(|p| p.id == id && p.phase == Phase::Listing) else {
            return Step::nothing();
        };
        let (to, items) = match reply {
            ListReply::Truncated => return pull.snapshot(next),
            ListReply::Listed { to, items } => (to, items),
        };
        pull.told = pull.told.max(to);
        let mut positions = Vec::new();
        let mut whole_to = to;
        for (position, listed) in items {
            match listed {
                Listed::Batch { key, bounds } if !replica.has(key, bounds) => positions.push(position),
                Listed::Batch { .. } => {}
                Listed::Merged { of, position: merged } if !replica.has_merged(&of, merged) => {
                    let alive = live_members(&replica.durable().entry).contains(&of);
                    if !alive || pull.deferred >= PATIENCE {
                        return pull.snapshot(next);
                    }
                    pull.deferred += 1;
                    whole_to = position - 1;
                    break;
                }
                Listed::Merged { .. } => {}
            }
        }
        if whole_to == to {
            pull.deferred = 0;
        }
        if positions.is_empty() {
            pull.phase = Phase::Idle;
            return Step { effects: replica.pulled(peer, Vec::new(), whole_to), ..Step::nothing() };
        }
        pull.id = next;
        pull.phase = Phase::Fetching { positions: positions.clone(), to: whole_to, defining: false };
        Step { request: Some((next, PullRequest::Fetch { positions, define: Vec::new() })), ..Step::nothing() }
    }

    /// The bodies asked for, or `None` where the first is gone at the peer. `unknown`: the series in them that have no
    /// definition, neither here nor with them, leaving out samples that this replica discards.
    ///
    /// Bodies of some of the positions are taken; the cover then ends before the first that is missing, and the next list
    /// begins there. Where definitions are still missing after they were asked for, those that came are logged: they will
    /// not have to come again.
    pub fn fetched<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        peer: &ReplicaId,
        id: u64,
        bodies: Option<Bodies<P>>,
        unknown: Vec<SeriesId>,
    ) -> Step<P> {
        let next = self.fresh();
        let Some(pull) = self.pulls.get_mut(peer).filter(|pull| pull.id == id) else { return Step::nothing() };
        let Phase::Fetching { positions, to, defining } = &mut pull.phase else { return Step::nothing() };
        let there = |bodies: &Bodies<P>| (1..=positions.len()).contains(&bodies.batches.len());
        let Some(Bodies { batches, mut definitions }) = bodies.filter(there) else {
            // Truncated meanwhile: the next list will say so.
            pull.phase = Phase::Idle;
            return Step::nothing();
        };
        let to = positions.get(batches.len()).map_or(*to, |missing| missing - 1);
        if unknown.is_empty() {
            definitions.extend(batches);
            let effects = replica.pulled(peer, definitions, to);
            pull.phase = Phase::Idle;
            return Step { effects, ..Step::nothing() };
        }
        if *defining {
            pull.phase = Phase::Idle;
            return Step { effects: replica.pulled(peer, definitions, 0), ..Step::nothing() };
        }
        let mut positions = std::mem::take(positions);
        positions.truncate(batches.len());
        pull.phase = Phase::Fetching { positions: positions.clone(), to, defining: true };
        pull.id = next;
        Step { request: Some((next, PullRequest::Fetch { positions, define: unknown })), ..Step::nothing() }
    }

    /// The snapshot asked for; `at` is now by this replica's clock.
    pub fn snapshot<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        peer: &ReplicaId,
        id: u64,
        head: SnapshotHead,
        at: TimestampMs,
    ) -> Step<P> {
        let asked = self.pulls.get_mut(peer).filter(|p| p.id == id && p.phase == Phase::Snapshotting);
        let Some(pull) = asked else { return Step::nothing() };
        pull.phase = Phase::Idle;
        pull.deferred = 0;
        if replica.has_merged(peer, head.position) {
            return Step::nothing();
        }
        let (position, effects) = replica.merge(head, at);
        Step { request: None, effects, merged_at: Some(position) }
    }

    /// The peer did not answer.
    pub fn failed(&mut self, peer: &ReplicaId, id: u64) {
        if let Some(pull) = self.pulls.get_mut(peer).filter(|pull| pull.id == id) {
            pull.phase = Phase::Idle;
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Pull {
    fn snapshot<P>(&mut self, id: u64) -> Step<P> {
        self.id = id;
        self.phase = Phase::Snapshotting;
        Step { request: Some((id, PullRequest::Snapshot)), ..Step::nothing() }
    }
}

#[cfg(test)]
mod tests;
