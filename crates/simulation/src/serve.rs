//! What a node does with messages and with what its cores want.

use std::sync::Arc;

use model::TimestampMs;
use replication::closer::{self, Ask};
use replication::puller::{Bodies, PullRequest, Puller};
use replication::replica::{Effects, PushReply, ReadReply, Reply, Token};
use replication::{Payload, Position, Record, Rule};

use crate::check::Checked;
use crate::data::{Head, SimBatch, bits_of};
use crate::message::{Asked, Envelope, Message, SnapshotFor, To};
use crate::node::{Logged, apply};
use crate::store::{Block, Samples, StoreAsk, StoreReply};
use crate::world::{Tag, World};

/// Batches of one answer.
const FETCHED_MAX: usize = 7;

impl World {
    /// A request to a replica.
    pub(crate) fn serve(&mut self, index: usize, from: To, message: Message) -> Checked {
        let window = self.setup.identity.window;
        let now = self.nodes[index].clock(self.now);
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        let token = Token(self.calls.len() as u64);
        let (asked, effects) = match message {
            Message::Push { entry, mut batch } => {
                let state = process.replica.appended_state();
                let sealed_before = state.sealed_before;
                if !self.setup.rules.keep(Rule::BatchesWhole) {
                    let open = batch.samples.iter().copied().filter(|s| s.key.1 >= sealed_before.0).collect();
                    batch.samples = Arc::new(open);
                }
                let unknown = batch.unknown(process.head.defined, |at| !state.discards(at));
                let sealed = batch.bounds().is_some_and(|(mint, _)| mint < sealed_before);
                let asked = Asked::Push { group: entry.id(), seq: batch.key.seq, sealed };
                (asked, process.replica.push(token, &entry, batch, unknown))
            }
            Message::Pull { id, puller, entry, request } => match request {
                PullRequest::List { from: position } => {
                    (Asked::List { id }, process.replica.list(token, &puller, &entry, position))
                }
                PullRequest::Snapshot => {
                    // A pull is served at any generation: the peer's own, if that is newer.
                    let own = &process.replica.durable().entry;
                    let at = if replication::is_newer(&entry, own) { entry } else { own.clone() };
                    let asked = Asked::Snapshot { id: SnapshotFor::Pull(id) };
                    (asked, process.replica.snapshot_for(token, &at))
                }
                PullRequest::Fetch { positions, define } => {
                    self.fetch(index, from, id, &positions, bits_of(&define));
                    return Ok(());
                }
            },
            Message::Fill { entry } => {
                (Asked::Snapshot { id: SnapshotFor::Fill }, process.replica.snapshot_for(token, &entry))
            }
            Message::Seal { attempt, entry, start } => {
                (Asked::Seal { attempt }, process.replica.seal(token, &entry, start, window, now))
            }
            Message::Read { query, entry } => {
                let all = (TimestampMs(0), TimestampMs::MAX);
                (Asked::Read { query }, process.replica.read(token, &entry, all.0, all.1))
            }
            Message::Map { entry } => {
                let effects = process.replica.adopt(&entry);
                return self.carry_out(index, effects, None);
            }
            other => return Err(format!("the simulation sent {other:?} to a replica")),
        };
        self.calls.push((from, asked));
        self.carry_out(index, effects, None)
    }

    fn fetch(&mut self, index: usize, from: To, id: u64, positions: &[Position], define: u64) {
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return };
        let synced = process.replica.synced_position();
        let mut batches = Some(Vec::new());
        // As many as find room in an answer.
        for position in positions.iter().take(FETCHED_MAX) {
            let logged = node.disk.log.iter().find(|l| l.position == *position && l.position <= synced);
            match (logged.map(|l| &l.record), &mut batches) {
                (Some(Record::Batch(batch)), Some(batches)) => {
                    let defines = batch.defines | define & process.head.defined;
                    batches.push(SimBatch { defines, ..batch.clone() });
                }
                _ => batches = None,
            }
        }
        let message = Message::Fetched { id, from: node.id.clone(), batches };
        let here = To::Process(index, node.epoch);
        self.send(here, from, message);
    }

    /// Logs, applies and says.
    pub(crate) fn carry_out(
        &mut self,
        index: usize,
        effects: Effects<SimBatch>,
        content: Option<(Position, Arc<Head>)>,
    ) -> Checked {
        let Effects { append, applied, replies } = effects;
        let changed = !applied.is_empty();
        for (position, record) in append {
            self.check_logged_once(index, &record)?;
            let content = content.as_ref().filter(|(at, _)| *at == position).map(|(_, content)| content.clone());
            let at = self.now;
            self.nodes[index].disk.log.push(Logged { position, record, content, at });
        }
        for (position, record) in applied {
            let node = &mut self.nodes[index];
            let Some(process) = &mut node.process else { return Ok(()) };
            let at = node.disk.log.partition_point(|logged| logged.position < position);
            let logged = &node.disk.log[at];
            apply(&mut process.head, &process.replica, &record, logged.content.as_deref(), &self.setup);
            self.ledger.log_grew(&node.id, logged);
            self.check_applied(index, &record)?;
        }
        if changed {
            self.check_node(index)?;
        }
        for (token, reply) in replies {
            self.speak(index, token, reply)?;
        }
        Ok(())
    }

    fn speak(&mut self, index: usize, token: Token, reply: Reply) -> Checked {
        let at = usize::try_from(token.0).expect("tokens are indices");
        let (to, asked) = self.calls[at].clone();
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return Ok(()) };
        let from = node.id.clone();
        let message = match (reply, asked) {
            (Reply::Push(reply), Asked::Push { group, seq, sealed }) => {
                if let PushReply::Ok(generation) = reply {
                    if sealed {
                        return Err(format!(
                            "assertion 2: {from} says ok to batch {seq}, which touches a sealed range"
                        ));
                    }
                    let state = process.replica.durable();
                    let newest = state.entry.newest();
                    let may = newest.number == generation && newest.position(&from).is_some() && state.filled;
                    // A shortcut is to be found by what it does, and not by this.
                    if !may && self.setup.rules == replication::Rules::ALL {
                        return Err(format!("assertion 2: {from} says ok at {generation}, being {newest:?}"));
                    }
                }
                Message::Pushed { group, seq, from, reply }
            }
            (Reply::List(reply), Asked::List { id }) => Message::Listed { id, from, reply },
            (Reply::Seal(reply), Asked::Seal { attempt }) => Message::Sealed { attempt, from, reply },
            (Reply::Snapshot(reply), Asked::Snapshot { id }) => {
                let reply = reply.map(|head| (head, Arc::new(self.content(index))));
                Message::Snapshot { id, from, reply }
            }
            (Reply::Read(reply), Asked::Read { query }) => {
                let served = matches!(reply, ReadReply::Held { .. });
                let samples =
                    if served { self.content(index).ranges.into_values().flatten().collect() } else { Vec::new() };
                Message::Held { query, from, reply, samples: Arc::new(samples) }
            }
            (reply, asked) => return Err(format!("the replica answers {asked:?} with {reply:?}")),
        };
        let here = To::Process(index, self.nodes[index].epoch);
        self.send(here, to, message);
        Ok(())
    }

    /// The samples of ranges not dropped, and definitions.
    fn content(&self, index: usize) -> Head {
        let Some(process) = &self.nodes[index].process else { return Head::default() };
        let open = |start: &i64| !process.replica.durable().is_dropped(TimestampMs(*start));
        let ranges = process.head.ranges.iter().filter(|(start, _)| open(start));
        Head { ranges: ranges.map(|(start, range)| (*start, range.clone())).collect(), defined: process.head.defined }
    }

    /// An answer to what a process asked.
    pub(crate) fn hear(&mut self, index: usize, message: Message) -> Checked {
        let now = self.nodes[index].clock(self.now);
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        let (peer, step) = match message {
            Message::Listed { id, from, reply } => {
                let step = process.puller.listed(&mut process.replica, &from, id, reply);
                (from, step)
            }
            Message::Fetched { id, from, batches } => {
                let state = process.replica.appended_state();
                let known = process.head.defined;
                let unknown = batches
                    .iter()
                    .flatten()
                    .fold(0, |bits, batch| bits | bits_of(&batch.unknown(known, |at| !state.discards(at))));
                let unknown = crate::data::ids_of(unknown);
                self.counted.pulled += batches.as_ref().map_or(0, |batches| batches.len() as u64);
                let bodies = batches.map(|batches| Bodies { batches, definitions: Vec::new() });
                let step = process.puller.fetched(&mut process.replica, &from, id, bodies, unknown);
                (from, step)
            }
            Message::Snapshot { id, from, reply } => match reply {
                Err(entry) => {
                    let effects = process.replica.adopt(&entry);
                    return self.carry_out(index, effects, None);
                }
                Ok((head, content)) => match id {
                    SnapshotFor::Fill => {
                        let (at, effects) = process.filler.answered(&mut process.replica, head, now);
                        return self.carry_out(index, effects, at.map(|at| (at, content)));
                    }
                    SnapshotFor::Pull(id) => {
                        let step = process.puller.snapshot(&mut process.replica, &from, id, head, now);
                        let content = step.merged_at.map(|at| (at, content));
                        return self.carry_out(index, step.effects, content);
                    }
                },
            },
            Message::Sealed { attempt, from, reply } => {
                let step = process.closer.sealed(&mut process.replica, attempt, &from, reply, now);
                return self.close_on(index, step);
            }
            Message::Stored { tag, reply } => return self.stored(index, tag, reply),
            other => return Err(format!("the simulation sent {other:?} to a process")),
        };
        if let Some((id, request)) = step.request {
            self.ask_peer(index, peer, id, request);
        }
        self.carry_out(index, step.effects, None)
    }

    fn ask_peer(&mut self, index: usize, peer: cluster::Replica, id: u64, request: PullRequest) {
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return };
        let entry = process.replica.durable().entry.clone();
        let message = Message::Pull { id, puller: node.id.clone(), entry, request };
        let here = To::Process(index, node.epoch);
        self.send(here, To::Replica(peer), message);
    }

    pub(crate) fn pull(&mut self, index: usize, peer: cluster::Replica) {
        let Some(process) = &mut self.nodes[index].process else { return };
        let (id, request) = process.puller.start(&process.replica, &peer);
        self.ask_peer(index, peer, id, request);
    }

    /// Pulls from one peer, chosen at random.
    pub(crate) fn pull_some(&mut self, index: usize) {
        let Some(process) = &self.nodes[index].process else { return };
        let mut peers = Puller::peers(&process.replica);
        peers.retain(|peer| !process.puller.is_busy(peer) || self.random.permille(150));
        if !peers.is_empty() {
            let peer = self.random.pick(&peers).clone();
            self.pull(index, peer);
        }
    }

    pub(crate) fn fill_on(&mut self, index: usize) -> Checked {
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        let effects = process.filler.finish(&mut process.replica);
        let ask = process.filler.ask(&process.replica);
        let entry = process.replica.durable().entry.clone();
        let here = To::Process(index, self.nodes[index].epoch);
        for to in ask {
            self.send(here.clone(), To::Replica(to), Message::Fill { entry: entry.clone() });
        }
        self.carry_out(index, effects, None)
    }

    pub(crate) fn close_some(&mut self, index: usize) -> Checked {
        let now = self.nodes[index].clock(self.now);
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        let oldest = process.oldest();
        let step = process.closer.tick(&mut process.replica, oldest, now);
        self.close_on(index, step)
    }

    fn close_on(&mut self, index: usize, step: closer::Step<SimBatch>) -> Checked {
        let closer::Step { asks, attempt, effects } = step;
        self.carry_out(index, effects, None)?;
        for ask in asks {
            let here = To::Process(index, self.nodes[index].epoch);
            let Some(process) = &self.nodes[index].process else { return Ok(()) };
            let group = process.replica.durable().entry.id();
            match ask {
                Ask::ReadManifest { start } => {
                    self.ask_store(here, Tag::Manifest(attempt), StoreAsk::ReadManifest { group, start })
                }
                Ask::Seal { to, entry, start } => {
                    self.send(here, To::Replica(to), Message::Seal { attempt, entry, start });
                }
                Ask::Pull { from } => {
                    if !process.puller.is_busy(&from) {
                        self.pull(index, from);
                    }
                }
                Ask::Cut { start } => {
                    let blocks = self.cut(index, start);
                    self.ask_store(here, Tag::Upload(attempt), StoreAsk::Upload(blocks));
                }
                Ask::Create(manifest) => self.ask_store(here, Tag::Create(attempt), StoreAsk::Create(manifest)),
                Ask::FindMetas(blocks) => self.ask_store(here, Tag::Metas(attempt), StoreAsk::FindMetas(blocks)),
                Ask::Delete(blocks) => self.ask_store(here, Tag::Delete, StoreAsk::Delete(blocks)),
            }
        }
        Ok(())
    }

    fn cut(&mut self, index: usize, start: TimestampMs) -> Vec<Block> {
        let Some(process) = &self.nodes[index].process else { return Vec::new() };
        let group = process.replica.durable().entry.id();
        let mut tenants = [Samples::new(), Samples::new()];
        for (key, value) in process.head.ranges.get(&start.0).into_iter().flatten() {
            tenants[usize::from(key.0 % 2)].insert(*key, *value);
        }
        let mut blocks = Vec::new();
        for (tenant, samples) in (0..).zip(tenants) {
            if !samples.is_empty() {
                self.blocks_named += 1;
                blocks.push(Block {
                    name: self.blocks_named,
                    group,
                    start: start.0,
                    tenant,
                    samples: Arc::new(samples),
                });
            }
        }
        blocks
    }

    fn stored(&mut self, index: usize, tag: u64, reply: StoreReply) -> Checked {
        let now = self.nodes[index].clock(self.now);
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        let (closer, replica) = (&mut process.closer, &mut process.replica);
        let at = usize::try_from(tag).expect("tags are indices");
        let step = match (self.tags[at], reply) {
            (Tag::Manifest(attempt), StoreReply::Manifest(there)) => closer.manifest_read(replica, attempt, there, now),
            (Tag::Upload(attempt), StoreReply::Uploaded(blocks)) => {
                closer.cut(replica, attempt, blocks, Vec::new(), now)
            }
            (Tag::Create(attempt), StoreReply::Created(there)) => closer.created(replica, attempt, there, now),
            (Tag::Metas(attempt), StoreReply::Metas { all }) => closer.metas_found(replica, attempt, all, now),
            (Tag::Delete, StoreReply::Deleted) => return Ok(()),
            (tag, reply) => return Err(format!("the store answers {tag:?} with {reply:?}")),
        };
        self.close_on(index, step)
    }

    /// Frees what was dropped long enough, and forgets series without samples.
    pub(crate) fn free(&mut self, index: usize) -> Checked {
        let now = self.nodes[index].clock(self.now);
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        let held: Vec<TimestampMs> = process.head.starts().collect();
        let all = process.closer.free(&mut process.replica, held, now);
        for effects in all {
            self.carry_out(index, effects, None)?;
        }
        if let Some(process) = &mut self.nodes[index].process {
            // What is logged and not applied was let in because its series were known.
            if process.replica.appended_position() == process.replica.synced_position() {
                process.head.collect();
            }
        }
        Ok(())
    }

    /// Makes the log durable up to a position.
    pub(crate) fn sync(&mut self, index: usize, to: Position) -> Checked {
        let node = &mut self.nodes[index];
        let Some(process) = &mut node.process else { return Ok(()) };
        node.disk.synced = node.disk.synced.max(to);
        let effects = process.replica.synced(to);
        self.carry_out(index, effects, None)
    }

    /// Writes a snapshot and truncates the log to what it may.
    pub(crate) fn snapshot(&mut self, index: usize) -> Checked {
        let retention = replication::range::RANK_DELAY;
        let node = &mut self.nodes[index];
        let Some(process) = &mut node.process else { return Ok(()) };
        node.disk.snapshots.push((process.replica.base(), process.head.clone()));
        if node.disk.snapshots.len() > 2 {
            node.disk.snapshots.remove(0);
        }
        let older = if node.disk.snapshots.len() == 2 { node.disk.snapshots[0].0.position } else { 0 };
        let old = |logged: &&Logged| logged.at + retention <= self.now;
        let expired = node.disk.log.iter().take_while(old).last().map_or(0, |logged| logged.position);
        let to = process.replica.truncatable(older, expired);
        self.check_truncation(index, to, expired)?;
        let node = &mut self.nodes[index];
        if let Some(process) = &mut node.process {
            process.replica.truncated(to);
            node.disk.floor = to;
            node.disk.log.retain(|logged| logged.position > to);
        }
        Ok(())
    }

    pub(crate) fn deliver_to_node(&mut self, index: usize, envelope: Envelope) -> Checked {
        if !self.nodes[index].up {
            return Ok(());
        }
        match envelope.to {
            To::Process(_, epoch) if epoch != self.nodes[index].epoch => Ok(()),
            To::Process(..) => self.hear(index, envelope.message),
            _ => self.serve(index, envelope.from, envelope.message),
        }
    }
}
