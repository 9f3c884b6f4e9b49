//! The closer: turns ranges into blocks, once (rule *Close*).
//!
//! One range at a time, the oldest of which samples are held and which is not dropped. `Looking` reads the manifest;
//! if there is none and it is this member's turn: `Sealing` at a generation, `Pulling` up to the positions named,
//! `Cutting` (and uploading), `Creating` the manifest, `Checking` that each `meta.json` it names is there, and only then
//! the range is dropped. Every step may be repeated, and the whole from the start, by anyone.
//!
//! Where the text is silent:
//! - Creating is repeated with the same blocks until its outcome is known. Blocks of an attempt are marked for deletion only
//!   when a manifest was read that does not list them: a `Create` that is still on its way may name them. So what a
//!   crashed process had uploaded waits for whoever compares blocks with manifests (the compactor).
//! - A range is cut only while nothing older is held here that is not dropped: who sealed has sealed all before, so all
//!   that was ever acknowledged there has been pulled and lies in a manifest when this one is created.

use std::collections::BTreeSet;

use cluster::{ClusterId, Replica as ReplicaId};
use model::{DurationMs, TenantId, TimestampMs};

use crate::manifest::{BlockName, Manifest};
use crate::quorum::{Purpose, Replies, has_quorum};
use crate::range::{HELD_AFTER_DROP, NAMED_AFTER_DROP, due_at, end_of};
use crate::replica::{Effects, Replica, SealReply};
use crate::{Entry, Payload, Position, Rule, Rules, live_members};

/// How long a step may take before the range is begun again. Creating is never given up.
pub const STEP_TIMEOUT: DurationMs = DurationMs::mins(5);

/// What the closer wants done. `attempt` comes back with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the manifest of a range.
    ReadManifest {
        /// Start of the range.
        start: TimestampMs,
    },
    /// Ask for the seal of a range, at a generation.
    Seal {
        /// Of whom.
        to: ReplicaId,
        /// The generation.
        entry: Entry,
        /// Start of the range.
        start: TimestampMs,
    },
    /// Pull from a peer soon.
    Pull {
        /// From whom.
        from: ReplicaId,
    },
    /// Cut a block for each tenant and upload it, `meta.json` last, under fresh names.
    Cut {
        /// Start of the range.
        start: TimestampMs,
    },
    /// Create the manifest where there is none.
    Create(Manifest),
    /// See whether each `meta.json` is there.
    FindMetas(Vec<BlockName>),
    /// Mark blocks for deletion.
    Delete(Vec<BlockName>),
}

/// Who closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// How far back samples are taken.
    pub window: DurationMs,
}

/// Why a closer does nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The manifest of another cluster, group or range under our name.
    pub manifest: Manifest,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Looking { start: TimestampMs },
    Sealing { start: TimestampMs, entry: Entry, replies: Replies, positions: Vec<(ReplicaId, Position)> },
    Pulling { start: TimestampMs, entry: Entry, positions: Vec<(ReplicaId, Position)> },
    Cutting { start: TimestampMs, entry: Entry, positions: Vec<(ReplicaId, Position)> },
    Creating { manifest: Manifest },
    Checking { manifest: Manifest },
}

/// Closes the ranges of one replica.
#[derive(Debug)]
pub struct Closer {
    rules: Rules,
    identity: Identity,
    phase: Phase,
    attempt: u64,
    since: TimestampMs,
    /// Blocks uploaded for a range whose manifest was not read yet. At most those of one attempt: creating is not given up.
    uploaded: BTreeSet<BlockName>,
    foreign: Option<Foreign>,
}

/// What a step comes to.
#[derive(Debug)]
pub struct Step<P> {
    /// To be done, with this number.
    pub asks: Vec<Ask>,
    /// Comes back with the outcomes.
    pub attempt: u64,
    /// For the replica's log.
    pub effects: Effects<P>,
}

impl Closer {
    /// A closer that begins.
    pub fn new(identity: Identity, rules: Rules) -> Closer {
        let since = TimestampMs::MIN;
        Closer { rules, identity, phase: Phase::Idle, attempt: 0, since, uploaded: BTreeSet::new(), foreign: None }
    }

    /// How far back samples are taken may change.
    pub fn set_window(&mut self, window: DurationMs) {
        self.identity.window = window;
    }

    /// Start of the range that is being closed.
    pub fn range(&self) -> Option<TimestampMs> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Looking { start }
            | Phase::Sealing { start, .. }
            | Phase::Pulling { start, .. }
            | Phase::Cutting { start, .. } => Some(*start),
            Phase::Creating { manifest } | Phase::Checking { manifest } => Some(manifest.start),
        }
    }

    /// What was asked did not come to be, and that is known: the range is begun again without waiting for the time-out.
    /// Creating goes on, since it never is known.
    pub fn failed(&mut self) {
        if !matches!(self.phase, Phase::Creating { .. }) {
            self.phase = Phase::Idle;
        }
    }

    /// Why it stands still, if it does.
    pub fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_ref()
    }

    /// Time passes: `now` by this replica's clock, `oldest` the start of the oldest range that holds samples and is not
    /// dropped.
    pub fn tick<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        oldest: Option<TimestampMs>,
        now: TimestampMs,
    ) -> Step<P> {
        if self.foreign.is_some() {
            return self.step(Vec::new());
        }
        if self.since + STEP_TIMEOUT < now && !matches!(self.phase, Phase::Creating { .. }) {
            self.phase = Phase::Idle;
        }
        match &self.phase {
            Phase::Idle => self.look(oldest, now),
            Phase::Sealing { start, entry, replies, .. } => {
                let missing = live_members(entry).into_iter().filter(|to| !replies.contains_key(to));
                let (start, entry) = (*start, entry.clone());
                let asks = missing.map(|to| Ask::Seal { to, entry: entry.clone(), start }).collect();
                self.step(asks)
            }
            Phase::Pulling { .. } => self.pull_or_cut(replica, oldest, now),
            Phase::Creating { .. } if !self.rules.keep(Rule::LeftOversKept) && self.since + STEP_TIMEOUT < now => {
                self.phase = Phase::Idle;
                let asks = vec![Ask::Delete(std::mem::take(&mut self.uploaded).into_iter().collect())];
                self.step(asks)
            }
            Phase::Creating { manifest } => {
                let asks = vec![Ask::Create(manifest.clone())];
                self.step(asks)
            }
            Phase::Looking { .. } | Phase::Cutting { .. } | Phase::Checking { .. } => self.step(Vec::new()),
        }
    }

    fn look<P: Payload>(&mut self, oldest: Option<TimestampMs>, now: TimestampMs) -> Step<P> {
        let due = oldest.filter(|start| now >= due_at(*start, self.identity.window, 0));
        let Some(start) = due else { return self.step(Vec::new()) };
        self.enter(Phase::Looking { start }, now);
        self.step(vec![Ask::ReadManifest { start }])
    }

    /// The manifest of the range, or that there is none. Anything else is not an outcome: the step times out.
    pub fn manifest_read<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        attempt: u64,
        manifest: Option<Manifest>,
        now: TimestampMs,
    ) -> Step<P> {
        if attempt != self.attempt {
            return self.step(Vec::new());
        }
        match (&self.phase, manifest) {
            (Phase::Looking { start }, Some(manifest)) => self.found(*start, manifest, replica, now),
            (Phase::Looking { start }, None) => self.begin(replica, *start, now),
            _ => self.step(Vec::new()),
        }
    }

    /// Seals, if it is this member's turn.
    fn begin<P: Payload>(&mut self, replica: &mut Replica<P>, start: TimestampMs, now: TimestampMs) -> Step<P> {
        let state = replica.durable();
        let entry = state.entry.clone();
        let rank = entry.newest().position(replica.id());
        let turn = rank.is_some_and(|rank| now >= due_at(start, self.identity.window, rank));
        if !turn || !state.filled {
            self.phase = Phase::Idle;
            return self.step(Vec::new());
        }
        if !self.rules.keep(Rule::SealedBeforeCut) {
            self.enter(Phase::Cutting { start, entry, positions: Vec::new() }, now);
            return self.step(vec![Ask::Cut { start }]);
        }
        let asks = live_members(&entry).into_iter().map(|to| Ask::Seal { to, entry: entry.clone(), start }).collect();
        self.enter(Phase::Sealing { start, entry, replies: Replies::new(), positions: Vec::new() }, now);
        self.step(asks)
    }

    /// What a replica, this one included, said to the seal.
    pub fn sealed<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        attempt: u64,
        from: &ReplicaId,
        reply: SealReply,
        now: TimestampMs,
    ) -> Step<P> {
        let rules = self.rules;
        let Phase::Sealing { start, entry, replies, positions } = &mut self.phase else { return self.step(Vec::new()) };
        if attempt != self.attempt {
            return self.step(Vec::new());
        }
        match reply {
            SealReply::Early => self.step(Vec::new()),
            SealReply::Stale(newer) => {
                self.phase = Phase::Idle;
                let effects = replica.adopt(&newer);
                Step { effects, ..self.step(Vec::new()) }
            }
            SealReply::Sealed { flags, position } => {
                if replies.insert(from.clone(), flags).is_none() {
                    positions.push((from.clone(), position));
                }
                let one = !rules.keep(Rule::SealedByAQuorum);
                if !one && !has_quorum(entry, Purpose::Seal, replies, rules) {
                    return self.step(Vec::new());
                }
                let (start, entry, positions) = (*start, entry.clone(), std::mem::take(positions));
                let behind = positions.iter().map(|(of, _)| of).filter(|of| *of != replica.id());
                let asks = behind.map(|of| Ask::Pull { from: of.clone() }).collect();
                // The same attempt goes on: seals that come later are of no use any more.
                self.enter(Phase::Pulling { start, entry, positions }, now);
                self.step(asks)
            }
        }
    }

    /// Cuts once all that those who sealed hold is held here; until then has it pulled.
    fn pull_or_cut<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        oldest: Option<TimestampMs>,
        now: TimestampMs,
    ) -> Step<P> {
        let Phase::Pulling { start, entry, positions } = &self.phase else { return self.step(Vec::new()) };
        let covered = |of: &ReplicaId, position: Position| of == replica.id() || replica.cover_of(of) >= position;
        let behind = positions.iter().filter(|(of, position)| !covered(of, *position));
        let asks: Vec<Ask> = behind.map(|(of, _)| Ask::Pull { from: of.clone() }).collect();
        if !asks.is_empty() && self.rules.keep(Rule::PulledBeforeCut) {
            return self.step(asks);
        }
        let (start, entry, positions) = (*start, entry.clone(), positions.clone());
        let own_synced =
            positions.iter().all(|(of, position)| of != replica.id() || replica.durable().data_position >= *position);
        assert!(own_synced, "a position that was said is durable");
        let older = oldest.is_some_and(|oldest| oldest < start);
        if older || replica.durable().is_dropped(start) {
            self.phase = Phase::Idle;
            return self.step(Vec::new());
        }
        self.enter(Phase::Cutting { start, entry, positions }, now);
        self.step(vec![Ask::Cut { start }])
    }

    /// The blocks are in the bucket, each with its `meta.json`.
    pub fn cut<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        attempt: u64,
        blocks: Vec<BlockName>,
        holes: Vec<TenantId>,
        now: TimestampMs,
    ) -> Step<P> {
        let Phase::Cutting { start, entry, positions } = &self.phase else { return self.step(Vec::new()) };
        if attempt != self.attempt {
            return self.step(Vec::new());
        }
        let manifest = Manifest {
            cluster: self.identity.cluster,
            group: entry.id(),
            generation: entry.newest().number,
            start: *start,
            sealed: positions.clone(),
            blocks,
            holes,
        };
        self.uploaded.extend(&manifest.blocks);
        let start = *start;
        self.enter(Phase::Creating { manifest: manifest.clone() }, now);
        let mut step = self.step(vec![Ask::Create(manifest)]);
        if !self.rules.keep(Rule::DroppedWhenRead) {
            step.effects = replica.drop_range(start, manifest_name(self.identity.cluster, replica, start), now);
        }
        step
    }

    /// The manifest was created, or there is one already.
    pub fn created<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        attempt: u64,
        there: Manifest,
        now: TimestampMs,
    ) -> Step<P> {
        match &self.phase {
            Phase::Creating { manifest } if attempt == self.attempt => self.found(manifest.start, there, replica, now),
            _ => self.step(Vec::new()),
        }
    }

    /// A manifest stands in the bucket.
    fn found<P: Payload>(
        &mut self,
        start: TimestampMs,
        manifest: Manifest,
        replica: &Replica<P>,
        now: TimestampMs,
    ) -> Step<P> {
        let ours = (self.identity.cluster, replica.durable().entry.id(), start);
        if (manifest.cluster, manifest.group, manifest.start) != ours {
            self.foreign = Some(Foreign { manifest });
            self.phase = Phase::Idle;
            return self.step(Vec::new());
        }
        let of_no_use: Vec<BlockName> =
            std::mem::take(&mut self.uploaded).into_iter().filter(|block| !manifest.blocks.contains(block)).collect();
        let mut asks = vec![Ask::FindMetas(manifest.blocks.clone())];
        if !of_no_use.is_empty() {
            asks.push(Ask::Delete(of_no_use));
        }
        self.enter(Phase::Checking { manifest }, now);
        self.step(asks)
    }

    /// Whether each `meta.json` is there.
    pub fn metas_found<P: Payload>(
        &mut self,
        replica: &mut Replica<P>,
        attempt: u64,
        all: bool,
        now: TimestampMs,
    ) -> Step<P> {
        let Phase::Checking { manifest } = &self.phase else { return self.step(Vec::new()) };
        if attempt != self.attempt {
            return self.step(Vec::new());
        }
        let start = manifest.start;
        self.phase = Phase::Idle;
        let mut step = self.step(Vec::new());
        if all {
            step.effects = replica.drop_range(start, manifest_name(self.identity.cluster, replica, start), now);
        }
        step
    }

    /// Frees what was dropped half an hour ago, and lets a watermark stand for what was dropped a day ago. `held` are the
    /// starts of ranges of which samples are held.
    pub fn free<P: Payload>(
        &self,
        replica: &mut Replica<P>,
        held: impl IntoIterator<Item = TimestampMs>,
        now: TimestampMs,
    ) -> Vec<Effects<P>> {
        let mut effects = Vec::new();
        let state = replica.appended_state();
        let long_ago = |since: TimestampMs, d: DurationMs| since + d <= now;
        let due = state.dropped.iter().filter(|(_, drop)| !drop.freed && long_ago(drop.since, HELD_AFTER_DROP));
        let mut free: BTreeSet<TimestampMs> = due.map(|(start, _)| *start).collect();
        let mut oldest_open = None::<TimestampMs>;
        for start in held {
            if !state.is_dropped(start) {
                oldest_open = Some(oldest_open.map_or(start, |oldest| oldest.min(start)));
            } else if !state.dropped.contains_key(&start) {
                // Behind a watermark that another replica has brought.
                free.insert(start);
            }
        }
        let named_long = state.dropped.iter().filter(|(_, drop)| drop.freed && long_ago(drop.since, NAMED_AFTER_DROP));
        let watermark = named_long.map(|(start, _)| end_of(*start)).max();
        for start in free {
            effects.push(replica.free(start));
        }
        if let Some(before) = watermark.filter(|before| oldest_open.is_none_or(|oldest| oldest >= *before)) {
            effects.push(replica.raise_watermark(before));
        }
        effects
    }

    fn enter(&mut self, phase: Phase, now: TimestampMs) {
        // Answers to asks of an earlier phase of another range must not be taken for this one's.
        self.attempt += 1;
        self.since = now;
        self.phase = phase;
    }

    fn step<P>(&self, asks: Vec<Ask>) -> Step<P> {
        Step { asks, attempt: self.attempt, effects: Effects::default() }
    }
}

/// The name of a range's manifest.
pub fn manifest_key(cluster: ClusterId, group: cluster::GroupId, start: TimestampMs) -> String {
    format!("closed/{cluster}/{group}/{start}.json")
}

fn manifest_name<P: Payload>(cluster: ClusterId, replica: &Replica<P>, start: TimestampMs) -> crate::ManifestName {
    manifest_key(cluster, replica.durable().entry.id(), start).into()
}

#[cfg(test)]
mod tests;
