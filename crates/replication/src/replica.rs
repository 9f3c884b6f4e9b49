//! The replica: what it says to batches, seals, reads and pulls, and what it logs.
//!
//! Everything durable is a record of one log. A decision is taken on the state that all appended records lead to; what is
//! *said* waits until what it relies on is synced, and is put together then, from the state that the synced records lead
//! to: so neither a promise nor a flag can be lost in a crash that the hearer does not see. Samples are applied at the
//! sync, too, in the order of the log.
//!
//! Samples, definitions and bytes are the caller's: it says which definitions are missing, logs what comes out, and
//! applies records when they come back as applied, leaving out what [`State::discards`].

mod peers;
mod recover;
mod said;

use std::collections::{BTreeMap, HashMap, VecDeque};

use cluster::{GenerationNumber, Replica as ReplicaId};
use model::{DurationMs, SeriesId, TimestampMs};

use crate::entry::is_newer;
use crate::range::{CONSENT_TOLERANCE, due_at, end_of};
use crate::state::{Listed, ManifestName, Record, State};
use crate::{BatchKey, Entry, Payload, Position, Rule, Rules};

pub use peers::{ListReply, SnapshotHead};
pub use recover::Recovery;
pub use said::{NotNow, PushReply, ReadReply, Reply, SealReply};

/// Names a request, so that what is said later finds its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Bounds of a replica.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of batches appended and not yet synced; past it writers are told to come back.
    pub pending_bytes_max: usize,
    /// Batches remembered by name beyond those of the log. Those of the log are always remembered: two replicas that
    /// forgot what they hold would log each other's batches for ever.
    pub recent_max: usize,
    /// Positions of one answer to a peer.
    pub list_max: usize,
    /// Requests that wait for a sync.
    pub waiting_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { pending_bytes_max: 64 << 20, recent_max: 100_000, list_max: 4096, waiting_max: 16_384 }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub struct Effects<P> {
    /// To be logged in order; what is logged is synced as the caller likes, and told by [`Replica::synced`].
    pub append: Vec<(Position, Record<P>)>,
    /// Synced now: to be applied to the samples, in order.
    pub applied: Vec<(Position, Record<P>)>,
    /// To be said, after what is applied was applied.
    pub replies: Vec<(Token, Reply)>,
}

impl<P> Default for Effects<P> {
    fn default() -> Effects<P> {
        Effects { append: Vec::new(), applied: Vec::new(), replies: Vec::new() }
    }
}

/// A snapshot of the replica's own state, for a restart.
#[derive(Clone, Debug)]
pub struct Base {
    /// Everything up to here is in it.
    pub position: Position,
    /// The state then.
    pub state: State,
}

/// What is to be said once the log is synced up to a position.
#[derive(Debug)]
struct Waiting {
    until: Position,
    token: Token,
    what: Ask,
}

#[derive(Debug)]
enum Ask {
    Pushed { generation: GenerationNumber },
    Refused(PushReply),
    Seal { start: TimestampMs, generation: GenerationNumber, early: bool },
    Read { generation: GenerationNumber, mint: TimestampMs, maxt: TimestampMs },
    List { from: Position },
    Snapshot { generation: GenerationNumber },
}

/// A replica of a group. What is asked of it for another group is refused or, where there is no word for that, not answered.
#[derive(Debug)]
pub struct Replica<P> {
    me: ReplicaId,
    rules: Rules,
    limits: Limits,
    /// After all records appended.
    state: State,
    /// After all records synced.
    durable: State,
    appended: Position,
    synced: Position,
    /// Position of the last record that changes what is said; refusals and reads wait for it.
    last_control: Position,
    /// Records up to here were truncated.
    floor: Position,
    /// Last data position that was truncated.
    floor_data: Position,
    /// What the log holds of data after the floor.
    index: VecDeque<(Position, Listed)>,
    /// Where batches lie that are held: all of the log, and some older.
    recent: HashMap<BatchKey, Position>,
    /// Names of batches of the truncated log, oldest first.
    forgettable: VecDeque<(Position, BatchKey)>,
    /// Appended and not synced.
    pending: VecDeque<(Position, Record<P>)>,
    pending_bytes: usize,
    waiting: VecDeque<Waiting>,
    /// How far the others have durably covered this log, by their own word.
    covered_by: BTreeMap<ReplicaId, Position>,
}

impl<P: Payload> Replica<P> {
    /// A replica in a new directory, that hears of its group for the first time.
    pub fn new(me: ReplicaId, entry: &Entry, limits: Limits, rules: Rules) -> (Replica<P>, Effects<P>) {
        let mut replica = Replica::over(me.clone(), State::new(&me, entry), 0, limits, rules);
        let mut effects = Effects::default();
        replica.append(Record::Adopted(entry.clone()), &mut effects);
        (replica, effects)
    }

    fn over(me: ReplicaId, state: State, floor: Position, limits: Limits, rules: Rules) -> Replica<P> {
        Replica {
            me,
            rules,
            limits,
            durable: state.clone(),
            state,
            appended: 0,
            synced: 0,
            last_control: 0,
            floor,
            floor_data: 0,
            index: VecDeque::new(),
            recent: HashMap::new(),
            forgettable: VecDeque::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            waiting: VecDeque::new(),
            covered_by: BTreeMap::new(),
        }
    }

    /// Who this is.
    pub fn id(&self) -> &ReplicaId {
        &self.me
    }

    /// What holds after a crash.
    pub fn durable(&self) -> &State {
        &self.durable
    }

    /// What will hold when everything appended is synced.
    pub fn appended_state(&self) -> &State {
        &self.state
    }

    /// Last position synced, of any record.
    pub fn synced_position(&self) -> Position {
        self.synced
    }

    /// Last position appended, of any record.
    pub fn appended_position(&self) -> Position {
        self.appended
    }

    /// How many batches are remembered by name, and how many requests wait.
    pub fn sizes(&self) -> (usize, usize) {
        (self.recent.len(), self.waiting.len())
    }

    /// Rule *Write*, 2: what becomes of a batch. `unknown` are its series that have no definition, neither here nor in it.
    pub fn push(&mut self, token: Token, entry: &Entry, batch: P, unknown: Vec<SeriesId>) -> Effects<P> {
        let mut effects = Effects::default();
        let asked = entry.newest().number;
        if entry.id() != self.state.entry.id() {
            self.say(token, Ask::Refused(PushReply::NotNow(NotNow::NoMember)), &mut effects);
            return effects;
        }
        if !self.meets(asked) {
            self.say(token, Ask::Refused(PushReply::Stale(self.state.entry.clone())), &mut effects);
            return effects;
        }
        self.adopt_into(entry, &mut effects);
        if let Some(refusal) = self.refusal(&batch, unknown) {
            self.say(token, Ask::Refused(refusal), &mut effects);
            return effects;
        }
        let until = match self.recent.get(&batch.key()) {
            Some(position) => *position,
            None => {
                self.pending_bytes += batch.bytes();
                self.append(Record::Batch(batch), &mut effects)
            }
        };
        let until = if self.rules.keep(Rule::AckedAfterSync) { until.max(self.last_control) } else { 0 };
        self.wait(until, token, Ask::Pushed { generation: asked }, &mut effects);
        effects
    }

    /// Why a batch at this replica's generation is not taken, in the order of the text.
    fn refusal(&self, batch: &P, unknown: Vec<SeriesId>) -> Option<PushReply> {
        let member = self.state.entry.newest().position(&self.me).is_some();
        let may_ack = self.state.filled || !self.rules.keep(Rule::UnfilledDoNotAck);
        if !member || !may_ack {
            return Some(PushReply::NotNow(if member { NotNow::Unfilled } else { NotNow::NoMember }));
        }
        // Before the question whether it is held already: a batch that was pulled after the seal lies behind the position
        // that the seal named, so the closer would miss it.
        let repeat = self.recent.contains_key(&batch.key());
        let look_at_seal = !repeat || self.rules.keep(Rule::SealBeforeRepeat);
        if look_at_seal && batch.bounds().is_some_and(|(mint, _)| mint < self.state.sealed_before) {
            return Some(PushReply::Sealed(self.state.sealed_before));
        }
        if repeat {
            return None;
        }
        if !unknown.is_empty() {
            return Some(PushReply::Need(unknown));
        }
        let full = self.pending_bytes + batch.bytes() > self.limits.pending_bytes_max;
        full.then_some(PushReply::Full { limit_bytes: self.limits.pending_bytes_max })
    }

    /// Rule *Close*, 1: the seal of the range that starts here, asked for at `entry`, at `now` by this replica's clock.
    pub fn seal(
        &mut self,
        token: Token,
        entry: &Entry,
        start: TimestampMs,
        window: DurationMs,
        now: TimestampMs,
    ) -> Effects<P> {
        let mut effects = Effects::default();
        let generation = entry.newest().number;
        if entry.id() != self.state.entry.id() {
            return effects;
        }
        let early = now + CONSENT_TOLERANCE < due_at(start, window, 0);
        if self.meets(generation) {
            self.adopt_into(entry, &mut effects);
            let before = end_of(start);
            if !early && self.state.sealed_before < before {
                self.append(Record::Sealed { before }, &mut effects);
            }
        }
        self.say(token, Ask::Seal { start, generation, early }, &mut effects);
        effects
    }

    /// Rule *Read*: what is told of `mint..maxt` at `entry`. The caller adds the samples of ranges not dropped, as they are
    /// when the reply comes out.
    pub fn read(&mut self, token: Token, entry: &Entry, mint: TimestampMs, maxt: TimestampMs) -> Effects<P> {
        let mut effects = Effects::default();
        let generation = entry.newest().number;
        if entry.id() != self.state.entry.id() {
            return effects;
        }
        if self.meets(generation) {
            self.adopt_into(entry, &mut effects);
        }
        self.say(token, Ask::Read { generation, mint, maxt }, &mut effects);
        effects
    }

    /// Takes in an entry that came by whatever way.
    pub fn adopt(&mut self, entry: &Entry) -> Effects<P> {
        let mut effects = Effects::default();
        self.adopt_into(entry, &mut effects);
        effects
    }

    /// Rule *Replace*: what was merged fills this replica. To be called once that is durable.
    pub fn fill(&mut self, generation: GenerationNumber) -> Effects<P> {
        let mut effects = Effects::default();
        if self.state.entry.newest().number == generation && !self.state.filled {
            self.append(Record::Filled(generation), &mut effects);
        }
        effects
    }

    /// Rule *Close*, 5: the manifest of a range and each `meta.json` it names were read.
    pub fn drop_range(&mut self, start: TimestampMs, manifest: ManifestName, at: TimestampMs) -> Effects<P> {
        let mut effects = Effects::default();
        if !self.state.is_dropped(start) {
            self.append(Record::Dropped { start, manifest, at }, &mut effects);
        }
        effects
    }

    /// Rule *Close*, 5: a dropped range was held long enough.
    pub fn free(&mut self, start: TimestampMs) -> Effects<P> {
        let mut effects = Effects::default();
        assert!(self.state.is_dropped(start), "range {start} is freed only when it is dropped");
        if self.state.dropped.get(&start).is_none_or(|drop| !drop.freed) {
            self.append(Record::Freed { start }, &mut effects);
        }
        effects
    }

    /// Ranges before this were named long enough.
    pub fn raise_watermark(&mut self, before: TimestampMs) -> Effects<P> {
        let mut effects = Effects::default();
        if self.state.watermark < before {
            self.append(Record::Watermark { before }, &mut effects);
        }
        effects
    }

    /// The log is synced up to here. Repeats and older positions do no harm.
    pub fn synced(&mut self, position: Position) -> Effects<P> {
        let mut effects = Effects::default();
        assert!(position <= self.appended, "position {position} was never appended");
        self.synced = self.synced.max(position);
        while self.pending.front().is_some_and(|(at, _)| *at <= self.synced) {
            let Some((at, record)) = self.pending.pop_front() else { break };
            self.durable.apply(&self.me, at, &record, self.rules);
            if let Record::Batch(batch) = &record {
                self.pending_bytes = self.pending_bytes.saturating_sub(batch.bytes());
            }
            effects.applied.push((at, record));
        }
        self.release(&mut effects);
        effects
    }

    /// Whether a request at this generation can be served: one that is older than this replica's own cannot.
    fn meets(&self, generation: GenerationNumber) -> bool {
        self.state.entry.newest().number <= generation || !self.rules.keep(Rule::OlderGenerationsRefused)
    }

    fn adopt_into(&mut self, entry: &Entry, effects: &mut Effects<P>) {
        if entry.id() == self.state.entry.id() && is_newer(entry, &self.state.entry) {
            self.append(Record::Adopted(entry.clone()), effects);
            let entry = &self.state.entry;
            self.covered_by.retain(|by, _| crate::entry::is_live(entry, by));
        }
    }

    fn append(&mut self, record: Record<P>, effects: &mut Effects<P>) -> Position {
        self.appended += 1;
        let position = self.appended;
        self.state.apply(&self.me, position, &record, self.rules);
        if !matches!(record, Record::Batch(_) | Record::Covered { .. }) {
            self.last_control = position;
        }
        self.remember(position, &record);
        effects.append.push((position, record.clone()));
        self.pending.push_back((position, record));
        position
    }

    /// Puts what a position holds into the index, and the batch among those that are held.
    fn remember(&mut self, position: Position, record: &Record<P>) {
        let Some(listed) = Listed::of(record) else { return };
        if matches!(listed, Listed::Merged { .. }) && !self.rules.keep(Rule::MergesAreLogged) {
            return;
        }
        if let Listed::Batch { key, .. } = &listed {
            self.recent.insert(*key, position);
        }
        self.index.push_back((position, listed));
    }

    /// Says it when everything that changes what is said is synced.
    fn say(&mut self, token: Token, what: Ask, effects: &mut Effects<P>) {
        let until = if self.rules.keep(Rule::AdoptedBeforeSpoken) { self.last_control } else { 0 };
        self.wait(until, token, what, effects);
    }

    fn wait(&mut self, until: Position, token: Token, what: Ask, effects: &mut Effects<P>) {
        if until <= self.synced {
            let reply = self.reply_to(what);
            effects.replies.push((token, reply));
        } else if self.waiting.len() < self.limits.waiting_max {
            self.waiting.push_back(Waiting { until, token, what });
        }
        // A request more than fits is not answered: its sender asks again.
    }

    fn release(&mut self, effects: &mut Effects<P>) {
        let mut left = VecDeque::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.until > self.synced {
                left.push_back(waiting);
                continue;
            }
            let reply = self.reply_to(waiting.what);
            effects.replies.push((waiting.token, reply));
        }
        self.waiting = left;
    }
}

#[cfg(test)]
mod tests;
