//! The scheduler: a pool of messages on their way, and dice that say what happens next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cluster::{ClusterId, Group, GroupId, State};
use model::{DurationMs, TenantId, TimestampMs};
use replication::closer::Identity;
use replication::replica::Limits;
use replication::{Entry, Rules};

use crate::Report;
use crate::check::{Checked, Ledger};
use crate::clients::{Reading, Writing};
use crate::data::{PARTITIONS, Series, series_id};
use crate::message::{Asked, Envelope, Message, To};
use crate::node::{Node, Setup};
use crate::profile::Profile;
use crate::random::Random;
use crate::store::{Store, StoreAsk};

/// Messages on their way at once; one more pushes another out, as a full queue does.
const POOL_MAX: usize = 240;
/// Events that are remembered for the report of a failure.
const TRACE_MAX: usize = 120;

/// What an answer of the store is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tag {
    Manifest(u64),
    Upload(u64),
    Create(u64),
    Metas(u64),
    Delete,
    /// Of a reader's query.
    Query(u64),
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) profile: Profile,
    pub(crate) setup: Setup,
    pub(crate) now: TimestampMs,
    pub(crate) nodes: Vec<Node>,
    pub(crate) control: State,
    /// The newest entries, as the control plane has them.
    pub(crate) entries: BTreeMap<GroupId, Entry>,
    pub(crate) group_of: Vec<GroupId>,
    pub(crate) writers: Vec<Writing>,
    pub(crate) readers: Vec<Reading>,
    pub(crate) store: Store,
    pub(crate) store_is_up: bool,
    pub(crate) pool: Vec<Envelope>,
    pub(crate) calls: Vec<(To, Asked)>,
    pub(crate) tags: Vec<Tag>,
    /// Sites on one side of a partition, as bits; zero: none.
    pub(crate) cut_off: u64,
    /// No fault happens any more.
    pub(crate) is_quiet: bool,
    pub(crate) ledger: Ledger,
    pub(crate) suspects: Vec<GroupId>,
    pub(crate) blocks_named: u128,
    pub(crate) next_id: u64,
    /// What is counted on the way.
    pub(crate) counted: Report,
    pub(crate) trace: Option<VecDeque<String>>,
}

/// Writes an event where the run is traced.
macro_rules! event {
    ($world:expr, $($arg:tt)*) => {
        if $world.trace.is_some() {
            let line = format!($($arg)*);
            $world.note(line);
        }
    };
}
pub(crate) use event;

impl World {
    pub(crate) fn new(seed: u64, rules: Rules, traced: bool) -> World {
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random);
        let start_mins = random.between(0, 119);
        let identity = Identity { cluster: ClusterId(7), window: DurationMs::mins(profile.window_mins) };
        let limits = Limits { list_max: profile.list_max, recent_max: 64, ..Limits::default() };
        let setup = Setup { identity, limits, rules };
        let mut world = World {
            random,
            profile,
            setup,
            now: TimestampMs(100 * 3_600_000 + start_mins * 60_000),
            nodes: Vec::new(),
            control: State::default(),
            entries: BTreeMap::new(),
            group_of: Vec::new(),
            writers: Vec::new(),
            readers: Vec::new(),
            store: Store::default(),
            store_is_up: true,
            pool: Vec::new(),
            calls: Vec::new(),
            tags: Vec::new(),
            cut_off: 0,
            is_quiet: false,
            ledger: Ledger::default(),
            suspects: Vec::new(),
            blocks_named: 0,
            next_id: 0,
            counted: Report::default(),
            trace: traced.then(VecDeque::new),
        };
        world.bring_up();
        world
    }

    fn bring_up(&mut self) {
        self.found_cluster();
        let tenant = TenantId::anonymous();
        let owner = |series: Series| {
            cluster::owner(&tenant, series_id(series), self.now, self.control.map()).expect("all partitions are placed")
        };
        self.group_of = (0..self.profile.series).map(owner).collect();
        debug_assert!(usize::from(self.profile.series) >= PARTITIONS as usize);
        let rules = self.setup.rules;
        self.writers = (0..2).map(|i| Writing::new(i, rules)).collect();
        self.readers = (0..2).map(|_| Reading::default()).collect();
        for entry in self.entries.values() {
            self.writers.iter_mut().for_each(|writing| writing.learn_at_start(entry, self.now));
            self.readers.iter_mut().for_each(|reading| reading.learn_at_start(entry));
        }
    }

    pub(crate) fn note(&mut self, line: String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACE_MAX {
                trace.pop_front();
            }
            trace.push_back(format!("{now} {line}"));
        }
    }

    /// The group as the control plane has it.
    pub(crate) fn group(&self, id: GroupId) -> &Group {
        self.control.map().group(id).expect("groups are never removed")
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn send(&mut self, from: To, to: To, message: Message) {
        if self.pool.len() >= POOL_MAX && !self.is_quiet {
            let out = self.random.below(self.pool.len());
            self.pool.swap_remove(out);
        }
        self.pool.push(Envelope { from, to, message });
    }

    pub(crate) fn ask_store(&mut self, from: To, tag: Tag, ask: StoreAsk) {
        self.tags.push(tag);
        let tag = self.tags.len() as u64 - 1;
        self.send(from, To::Store, Message::Store { tag, ask });
    }

    fn site(&self, to: &To) -> Option<usize> {
        match to {
            To::Replica(id) => self.index_of(id),
            To::Process(index, _) => Some(*index),
            To::Writer(w) => Some(30 + w),
            To::Reader(r) => Some(40 + r),
            To::Store => Some(50),
        }
    }

    /// The node that has this directory now.
    pub(crate) fn index_of(&self, id: &cluster::Replica) -> Option<usize> {
        let index: usize = id.node.as_str().get(1..)?.parse().ok()?;
        (self.nodes.get(index)?.id == *id).then_some(index)
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) -> Checked {
        let weights = self.profile.weights;
        match self.random.weighted(&weights) {
            0 => self.deliver_some()?,
            1 => self.write_some()?,
            2 => self.read_some()?,
            3 => self.node_turn()?,
            4 => self.client_turn()?,
            5 => self.control_turn()?,
            6 => self.pass_time()?,
            _ => self.fault()?,
        }
        self.check_suspects()
    }

    fn check_suspects(&mut self) -> Checked {
        while let Some(group) = self.suspects.pop() {
            self.check_acked(group)?;
        }
        Ok(())
    }

    /// Mostly seconds, sometimes so long that ranges come due.
    fn pass_time(&mut self) -> Checked {
        let jump = self.profile.is_healthy || self.random.permille(300);
        let mean = if jump { self.profile.jump_mins * 60_000 } else { 2000 };
        let passed = self.random.between(0, 2 * mean);
        self.now = self.now + DurationMs(passed);
        event!(self, "{passed} ms pass");
        // In a healthy cluster everyone keeps up with time.
        if self.profile.is_healthy { self.round() } else { Ok(()) }
    }

    fn deliver_some(&mut self) -> Checked {
        if self.pool.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.pool.len());
        let envelope = self.pool.swap_remove(at);
        if self.is_quiet {
            return self.deliver(envelope);
        }
        if self.random.permille(self.profile.loss) {
            event!(self, "lost: {envelope}");
            return Ok(());
        }
        if self.random.permille(self.profile.duplicates) {
            self.pool.push(envelope.clone());
        }
        let side = |site: Option<usize>| site.map(|site| self.cut_off >> site & 1);
        if self.cut_off != 0 && side(self.site(&envelope.from)) != side(self.site(&envelope.to)) {
            return Ok(());
        }
        self.deliver(envelope)
    }

    fn deliver(&mut self, envelope: Envelope) -> Checked {
        event!(self, "{envelope}");
        match envelope.to.clone() {
            To::Replica(id) => match self.index_of(&id) {
                Some(index) => self.node_hears(index, envelope),
                None => Ok(()),
            },
            To::Process(index, _) => self.node_hears(index, envelope),
            To::Writer(w) => self.writer_hears(w, envelope.message),
            To::Reader(r) => self.reader_hears(r, envelope.message),
            To::Store => self.store_hears(envelope),
        }
    }

    fn node_hears(&mut self, index: usize, envelope: Envelope) -> Checked {
        if let Message::Map { entry } = &envelope.message {
            self.found_node(index, entry)?;
        }
        self.deliver_to_node(index, envelope)?;
        if self.random.permille(self.profile.sync_at_once) {
            self.sync_all(index)?;
        }
        Ok(())
    }

    /// A node that hears of its membership makes a directory.
    fn found_node(&mut self, index: usize, entry: &Entry) -> Checked {
        if !self.nodes[index].up {
            return Ok(());
        }
        let effects = self.nodes[index].found(entry, &self.setup);
        match effects {
            Some(effects) => self.carry_out(index, effects, None),
            None => Ok(()),
        }
    }

    pub(crate) fn sync_all(&mut self, index: usize) -> Checked {
        let to = self.nodes[index].process.as_ref().map(|p| p.replica.appended_position());
        to.map_or(Ok(()), |to| self.sync(index, to))
    }

    fn store_hears(&mut self, envelope: Envelope) -> Checked {
        let Message::Store { tag, ask } = envelope.message else { return Ok(()) };
        if !self.store_is_up {
            return Ok(());
        }
        let reply = self.store.answer(&ask);
        match &ask {
            StoreAsk::Create(manifest) => self.check_manifest(manifest.group, manifest.start.0)?,
            StoreAsk::Delete(_) => {
                let groups: Vec<GroupId> = self.entries.keys().copied().collect();
                groups.into_iter().for_each(|group| self.suspect(group));
            }
            _ => {}
        }
        self.send(To::Store, envelope.from, Message::Stored { tag, reply });
        Ok(())
    }

    /// A node does something of its own.
    fn node_turn(&mut self) -> Checked {
        let index = self.random.below(self.nodes.len());
        let Some(process) = self.nodes[index].process.as_ref().filter(|_| self.nodes[index].up) else { return Ok(()) };
        let (synced, appended) = (process.replica.synced_position(), process.replica.appended_position());
        match self.random.weighted(&[24, 16, 16, 22, 6, 10]) {
            0 => self.pull_some(index),
            1 => {
                let low = i64::try_from(synced).expect("small");
                let high = i64::try_from(appended).expect("small");
                let to = u64::try_from(self.random.between(low, high)).expect("not negative");
                self.sync(index, to)?;
            }
            2 => self.sync_all(index)?,
            3 => {
                for index in (0..self.nodes.len()).filter(|i| self.nodes[*i].up).collect::<Vec<_>>() {
                    self.close_some(index)?;
                }
            }
            4 => {
                self.free(index)?;
                self.snapshot(index)?;
            }
            _ => self.fill_on(index)?,
        }
        Ok(())
    }

    /// Lets everything come to rest and looks at what is left.
    pub(crate) fn settle(&mut self) -> Checked {
        self.is_quiet = true;
        self.cut_off = 0;
        self.store_is_up = true;
        event!(self, "all faults end");
        for index in 0..self.nodes.len() {
            self.start_node(index);
        }
        let mut rounds = 0;
        while !self.is_repaired() {
            rounds += 1;
            if rounds > 60 {
                return Err(format!("not repaired after 60 quiet rounds: {}", self.what_is_open()));
            }
            self.round()?;
        }
        let groups: Vec<GroupId> = self.entries.keys().copied().collect();
        for group in groups {
            self.check_acked(group)?;
            self.check_equal(group)?;
            self.ask_everything(group)?;
        }
        if self.profile.is_healthy { self.check_uploaded_once() } else { Ok(()) }
    }

    /// Everyone does everything once, and all that is sent arrives.
    pub(crate) fn round(&mut self) -> Checked {
        self.now = self.now + DurationMs::secs(3);
        self.control_round()?;
        for index in 0..self.nodes.len() {
            self.fill_on(index)?;
            self.close_some(index)?;
            self.free(index)?;
            self.pull_all(index);
            self.sync_all(index)?;
        }
        self.clients_round()?;
        let mut delivered = 0;
        while !self.pool.is_empty() && delivered < 5000 {
            self.deliver_some()?;
            delivered += 1;
            if delivered % 16 == 0 || self.pool.is_empty() {
                for index in 0..self.nodes.len() {
                    self.sync_all(index)?;
                }
            }
        }
        self.check_suspects()
    }

    fn pull_all(&mut self, index: usize) {
        let Some(process) = &self.nodes[index].process else { return };
        for peer in replication::puller::Puller::peers(&process.replica) {
            self.pull(index, peer);
        }
    }

    /// Rule *Repaired*, and no client waits.
    fn is_repaired(&self) -> bool {
        let filled = self.entries.values().all(|entry| entry.generations().len() == 1 && entry.newest().all_filled());
        let clients = self.writers.iter().all(Writing::is_idle) && self.readers.iter().all(Reading::is_idle);
        filled && clients && self.nodes.iter().all(|node| node.lost.is_none()) && self.covers_are_full()
    }

    fn covers_are_full(&self) -> bool {
        self.entries.values().all(|entry| {
            let members = || {
                entry.newest().members.iter().filter_map(|m| self.nodes[self.index_of(&m.replica)?].process.as_ref())
            };
            members().count() == entry.newest().members.len()
                && members().all(|a| {
                    let full = |b: &crate::node::Process| {
                        a.replica.id() == b.replica.id()
                            || a.replica.cover_of(b.replica.id()) >= b.replica.durable().data_position
                    };
                    members().all(full) && a.replica.durable().entry.newest() == entry.newest()
                })
        })
    }

    fn what_is_open(&self) -> String {
        let entries: Vec<_> = self.entries.values().map(|entry| entry.generations()).collect();
        let nodes = self.nodes.iter().map(|node| {
            let state = node.process.as_ref().map(|p| p.replica.durable());
            let state = state.map(|s| (s.entry.newest().number, s.filled, s.data_position, s.covers.clone()));
            format!("{} lost {:?} {state:?}", node.id, node.lost)
        });
        let writers = self.writers.iter().map(Writing::is_idle);
        format!("{entries:?}; nodes {:?}; writers {:?}", nodes.collect::<Vec<_>>(), writers.collect::<Vec<_>>())
    }

    /// What the run amounted to.
    pub(crate) fn report(&self) -> Report {
        Report {
            acknowledged: self.ledger.acks,
            complete_answers: self.ledger.complete_answers,
            closed_ranges: self.store.manifests.len() as u64,
            blocks: self.store.uploads.len() as u64,
            uploaded_again: self.store.uploads.values().filter(|count| **count > 1).count() as u64,
            generations: self.entries.values().map(|entry| entry.newest().number.0 - 1).sum(),
            requests: self.calls.len() as u64,
            ..self.counted
        }
    }
}

/// An entry as it is handed around.
pub(crate) fn entry_of(group: &Group) -> Entry {
    Arc::new(group.clone())
}
