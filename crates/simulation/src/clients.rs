//! Writers and readers, with the callers behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::GroupId;
use model::{DurationMs, TimeRange, TimestampMs, stale_nan};
use replication::range::{RANGE, range_of};
use replication::reader::{self, Reader, Timing};
use replication::replica::{PushReply, ReadReply};
use replication::writer::{Effect, Limits, Outcome, RequestId, Writer};
use replication::{BatchKey, Entry, Rules};

use crate::check::Checked;
use crate::data::{Key, Sample, SimBatch, bits_of, join_into};
use crate::message::{Message, To};
use crate::store::{StoreAsk, StoreReply};
use crate::world::{Tag, World, event};

/// So little that it is met.
const IN_FLIGHT_BYTES_MAX: usize = 20_000;

/// A writer process.
#[derive(Debug)]
pub(crate) struct Writing {
    core: Writer<SimBatch>,
    /// Series whose definitions were acknowledged, as bits.
    known: u64,
    /// What each caller waits for.
    requests: BTreeMap<RequestId, Vec<(GroupId, Sample)>>,
}

impl Writing {
    pub(crate) fn new(index: u64, rules: Rules) -> Writing {
        let limits = Limits { in_flight_bytes_max: IN_FLIGHT_BYTES_MAX, replica_bytes_max: 6000, ..Limits::default() };
        Writing { core: Writer::new(100 + index, limits, rules), known: 0, requests: BTreeMap::new() }
    }

    pub(crate) fn learn_at_start(&mut self, entry: &Entry, now: TimestampMs) {
        let effects = self.core.learn(entry, now);
        assert!(effects.is_empty(), "nothing is in flight at the start");
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.core.open_requests() == 0
    }
}

#[derive(Debug)]
struct Query {
    id: u64,
    group: GroupId,
    core: Reader,
    answer: BTreeMap<Key, f64>,
    /// Acknowledgements before it began.
    acks: u64,
}

/// A reader process; one query at a time.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    known: BTreeMap<GroupId, Entry>,
    query: Option<Query>,
}

impl Reading {
    pub(crate) fn learn_at_start(&mut self, entry: &Entry) {
        self.known.insert(entry.id(), entry.clone());
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.query.is_none()
    }
}

const TIMING: Timing = Timing { hedge_after: DurationMs::secs(1), give_up_after: DurationMs::hours(2) };

impl World {
    /// A caller writes a few samples.
    pub(crate) fn write_some(&mut self) -> Checked {
        let w = self.random.below(self.writers.len());
        let count = 1 + self.random.below(4);
        let groups = self.entries.len();
        let one_group = self.random.permille(700).then(|| self.random.below(groups));
        let mut samples = Vec::new();
        for _ in 0..count {
            let sample = self.draw_sample();
            let group = self.group_of[usize::from(sample.key.0)];
            if one_group.is_none_or(|g| group.0 as usize == g)
                && !samples.iter().any(|(_, s): &(_, Sample)| s.key == sample.key)
            {
                samples.push((group, sample));
            }
        }
        self.submit(w, samples)
    }

    /// Mostly new times within the window, some that were written before, and some markers.
    fn draw_sample(&mut self) -> Sample {
        let series = u8::try_from(self.random.below(usize::from(self.profile.series))).expect("few");
        let window = self.setup.identity.window;
        let back = match self.random.below(10) {
            0..=4 => self.random.between(0, 600_000),
            5..=7 => self.random.between(0, window.0),
            // By a writer whose clock is behind, or that was stopped for a while.
            8 if !self.profile.is_healthy => self.random.between(window.0, window.0 + 3 * RANGE.0 / 2),
            // About the border between two ranges.
            _ => ((self.now.0 - range_of(self.now).0) + self.random.between(-60_000, 60_000)).clamp(0, window.0),
        };
        // Whole minutes, so that some meet.
        let step = if self.random.permille(300) { 600_000 } else { 15_000 };
        let at = (self.now.0 - back).div_euclid(step) * step;
        let value = if self.random.permille(60) { stale_nan() } else { self.random.below(1000) as f64 };
        Sample { key: (series, at), value }
    }

    fn submit(&mut self, w: usize, samples: Vec<(GroupId, Sample)>) -> Checked {
        if samples.is_empty() {
            return Ok(());
        }
        let request = RequestId(self.fresh_id());
        let now = self.now;
        let forget = self.random.permille(150);
        let writing = &mut self.writers[w];
        let mut parts: BTreeMap<GroupId, Vec<Sample>> = BTreeMap::new();
        for (group, sample) in &samples {
            parts.entry(*group).or_default().push(*sample);
            self.ledger.written.entry(sample.key).or_default().push(sample.value);
        }
        if forget {
            // The cache is bounded: a series may be new to the writer again.
            writing.known = 0;
        }
        let parts = parts.into_iter().filter_map(|(group, samples)| {
            let key = writing.core.next_key(group)?;
            Some((group, batch_of(key, samples, writing.known)))
        });
        let parts: Vec<_> = parts.collect();
        event!(self, "writer {w} submits {request:?}: {samples:?}");
        let writing = &mut self.writers[w];
        if let Ok(effects) = writing.core.submit(request, parts, now) {
            writing.requests.insert(request, samples);
            self.writer_carries_out(w, effects)?;
        }
        Ok(())
    }

    fn writer_carries_out(&mut self, w: usize, effects: Vec<Effect<SimBatch>>) -> Checked {
        let now = self.now;
        let mut left: std::collections::VecDeque<_> = effects.into();
        while let Some(effect) = left.pop_front() {
            match effect {
                Effect::Send { to, entry, batch } => {
                    self.send(To::Writer(w), To::Replica(to), Message::Push { entry, batch });
                }
                Effect::Define { to, group, batch, ids, .. } => {
                    let writing = &mut self.writers[w];
                    writing.known &= !bits_of(&ids);
                    let defines = batch.defines | bits_of(&ids);
                    self.counted.defined += 1;
                    left.extend(writing.core.defined(group, &to, SimBatch { defines, ..batch }, now));
                }
                Effect::Split { request, group, batch, sealed_before } => {
                    self.counted.sealed += 1;
                    let writing = &mut self.writers[w];
                    let is_open = |sample: &Sample| sample.key.1 >= sealed_before.0;
                    if let Some(samples) = writing.requests.get_mut(&request) {
                        samples.retain(|(of, s)| *of != group || is_open(s));
                    }
                    let rest: Vec<Sample> = batch.samples.iter().copied().filter(is_open).collect();
                    let key = (!rest.is_empty()).then(|| writing.core.next_key(group)).flatten();
                    let rest = key.map(|key| batch_of(key, rest, writing.known));
                    left.extend(writing.core.rest(request, group, rest, sealed_before, now));
                }
                // What is on its way arrives all the same.
                Effect::Forget { .. } => {}
                Effect::Done(request, outcome) => self.request_over(w, request, outcome)?,
            }
        }
        let bytes = self.writers[w].core.in_flight_bytes();
        // Definitions may be added to what was let in.
        if bytes > IN_FLIGHT_BYTES_MAX * 2 {
            Err(format!("assertion 10: {bytes} bytes in flight at writer {w}"))
        } else {
            Ok(())
        }
    }

    fn request_over(&mut self, w: usize, request: RequestId, outcome: Outcome) -> Checked {
        event!(self, "writer {w}: {request:?} is over: {outcome:?}");
        let writing = &mut self.writers[w];
        let Some(samples) = writing.requests.remove(&request) else { return Ok(()) };
        match outcome {
            Outcome::Acked | Outcome::Refused { .. } => {
                for (group, sample) in samples {
                    let writing = &mut self.writers[w];
                    writing.known |= 1 << sample.key.0;
                    let generation = writing.core.entry(group).map(|entry| entry.newest().number);
                    let generation = generation.ok_or_else(|| format!("group {group} is unknown to its writer"))?;
                    self.acknowledged(group, sample, generation)?;
                }
                Ok(())
            }
            // The caller tries again, mostly.
            Outcome::Retry(_) if !self.is_quiet && self.random.permille(500) => {
                let w = self.random.below(self.writers.len());
                self.submit(w, samples)
            }
            Outcome::Retry(_) | Outcome::Invalid => Ok(()),
        }
    }

    pub(crate) fn writer_hears(&mut self, w: usize, message: Message) -> Checked {
        let now = self.now;
        let core = &mut self.writers[w].core;
        let effects = match message {
            Message::Pushed { group, seq, from, reply } => {
                if let PushReply::Need(ids) = &reply {
                    self.writers[w].known &= !bits_of(ids);
                }
                self.writers[w].core.replied(group, seq, &from, reply, now)
            }
            Message::Map { entry } => core.learn(&entry, now),
            other => return Err(format!("the simulation sent {other:?} to a writer")),
        };
        self.writer_carries_out(w, effects)
    }

    /// A query for everything of a group begins.
    pub(crate) fn read_some(&mut self) -> Checked {
        let r = self.random.below(self.readers.len());
        let groups = self.entries.len();
        let group = GroupId(u32::try_from(self.random.below(groups)).expect("few"));
        self.begin_query(r, group);
        Ok(())
    }

    fn begin_query(&mut self, r: usize, group: GroupId) {
        let id = self.fresh_id();
        let Some(entry) = self.readers[r].known.get(&group).cloned() else { return };
        let all = TimeRange::new(TimestampMs(0), TimestampMs::MAX);
        let mut core = Reader::new(entry, all, TIMING, self.now, self.setup.rules);
        let mut preferred = replication::live_members(core.entry());
        let turn = self.random.below(preferred.len());
        preferred.rotate_left(turn);
        let asks = core.begin(&preferred);
        event!(self, "reader {r} begins query {id} of group {group}");
        let query = Query { id, group, core, answer: BTreeMap::new(), acks: self.ledger.acks };
        self.readers[r].query = Some(query);
        self.query_asks(r, id, asks);
    }

    fn query_asks(&mut self, r: usize, id: u64, asks: Vec<reader::Ask>) {
        let Some(query) = &self.readers[r].query else { return };
        let group = query.group;
        for ask in asks {
            match ask {
                reader::Ask::Replica { to, entry } => {
                    self.send(To::Reader(r), To::Replica(to), Message::Read { query: id, entry });
                }
                reader::Ask::Manifest { start, .. } => {
                    self.ask_store(To::Reader(r), Tag::Query(id), StoreAsk::ReadManifest { group, start });
                }
                reader::Ask::Index => self.ask_store(To::Reader(r), Tag::Query(id), StoreAsk::ReadIndex { group }),
                reader::Ask::Block(block) => {
                    self.ask_store(To::Reader(r), Tag::Query(id), StoreAsk::ReadBlock(block));
                }
            }
        }
    }

    pub(crate) fn reader_hears(&mut self, r: usize, message: Message) -> Checked {
        match message {
            Message::Map { entry } => self.reader_learns(r, &entry),
            Message::Held { query, from, reply, samples } => {
                if let ReadReply::Stale(entry) = &reply {
                    self.reader_learns(r, entry);
                }
                let Some(open) = self.readers[r].query.as_mut().filter(|open| open.id == query) else { return Ok(()) };
                if open.core.replied(&from, &reply) {
                    let all: &Arc<Vec<(Key, f64)>> = &samples;
                    all.iter().for_each(|(key, value)| join_into(&mut open.answer, *key, *value));
                }
            }
            Message::Stored { tag, reply } => {
                let at = usize::try_from(tag).expect("tags are indices");
                let Tag::Query(query) = self.tags[at] else { return Ok(()) };
                let Some(open) = self.readers[r].query.as_mut().filter(|open| open.id == query) else { return Ok(()) };
                match reply {
                    StoreReply::Manifest(Some(manifest)) => open.core.manifest_read(&manifest),
                    StoreReply::Block(Some(block)) => {
                        block.samples.iter().for_each(|(key, value)| join_into(&mut open.answer, *key, *value));
                        open.core.block_read(block.name);
                    }
                    StoreReply::Index(index) => open.core.index_read(index),
                    _ => {}
                }
            }
            other => return Err(format!("the simulation sent {other:?} to a reader")),
        }
        self.query_goes_on(r)
    }

    fn reader_learns(&mut self, r: usize, entry: &Entry) {
        let reading = &mut self.readers[r];
        let held = reading.known.entry(entry.id()).or_insert_with(|| entry.clone());
        if replication::is_newer(entry, held) {
            *held = entry.clone();
        }
        let Some(open) = reading.query.as_mut().filter(|open| open.group == entry.id()) else { return };
        if let Some(asks) = open.core.learn(entry) {
            open.answer.clear();
            let id = open.id;
            self.query_asks(r, id, asks);
        }
    }

    /// Asks for what is wanted now, and ends the query when all is there.
    fn query_goes_on(&mut self, r: usize) -> Checked {
        let Some(open) = &self.readers[r].query else { return Ok(()) };
        if !open.core.replicas_done() {
            return Ok(());
        }
        if open.core.is_done() {
            return self.end_query(r);
        }
        let (id, wanted) = (open.id, open.core.blocks_wanted());
        // Not again for each answer: the reader's turn repeats what was lost.
        if self.random.permille(400) || self.is_quiet {
            self.query_asks(r, id, wanted);
        }
        Ok(())
    }

    fn end_query(&mut self, r: usize) -> Checked {
        let Some(query) = self.readers[r].query.take() else { return Ok(()) };
        event!(self, "reader {r}: query {} is answered, complete", query.id);
        self.check_answer(query.group, &query.answer, query.acks)
    }

    /// Time passes for a client.
    pub(crate) fn client_turn(&mut self) -> Checked {
        let (w, r) = (self.random.below(self.writers.len()), self.random.below(self.readers.len()));
        self.writer_turn(w)?;
        self.reader_turn(r)
    }

    pub(crate) fn clients_round(&mut self) -> Checked {
        for w in 0..self.writers.len() {
            self.writer_turn(w)?;
        }
        for r in 0..self.readers.len() {
            self.reader_turn(r)?;
        }
        Ok(())
    }

    fn writer_turn(&mut self, w: usize) -> Checked {
        let effects = self.writers[w].core.tick(self.now);
        self.writer_carries_out(w, effects)
    }

    fn reader_turn(&mut self, r: usize) -> Checked {
        let now = self.now;
        let Some(open) = &mut self.readers[r].query else { return Ok(()) };
        let (mut asks, give_up) = open.core.tick(now);
        let id = open.id;
        if give_up && !self.is_quiet {
            let missing = open.core.missing(&[]);
            self.readers[r].query = None;
            let named = missing.iter().all(|m| m.range.mint < m.range.maxt);
            return if named && !missing.is_empty() {
                Ok(())
            } else {
                Err(format!("nothing named as missing: {missing:?}"))
            };
        }
        if self.is_quiet && !open.core.replicas_done() {
            asks.extend(open.core.hedge());
        }
        self.query_asks(r, id, asks);
        if self.is_quiet && self.readers[r].query.as_ref().is_some_and(|open| !open.core.replicas_done()) {
            // What was lost on the way is not repeated by a reader: a new query is.
            let group = self.readers[r].query.as_ref().map(|open| open.group);
            if let Some(group) = group {
                self.begin_query(r, group);
            }
        }
        self.query_goes_on(r)
    }

    /// When all is repaired, a complete answer is to be had.
    pub(crate) fn ask_everything(&mut self, group: GroupId) -> Checked {
        let before = self.ledger.complete_answers;
        self.reader_learns(0, &self.entries[&group].clone());
        self.begin_query(0, group);
        for _ in 0..20 {
            self.round()?;
            if self.readers[0].query.is_none() && self.ledger.complete_answers > before {
                return Ok(());
            }
        }
        let missing = self.readers[0].query.as_ref().map(|open| open.core.missing(&[]));
        Err(format!("all is repaired and group {group} gives no complete answer: {missing:?}"))
    }
}

fn batch_of(key: BatchKey, samples: Vec<Sample>, known: u64) -> SimBatch {
    let series = samples.iter().fold(0_u64, |bits, s| bits | 1 << s.key.0);
    SimBatch { key, samples: Arc::new(samples), defines: series & !known }
}
