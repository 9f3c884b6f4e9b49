//! The protocol's writer with calls around it: what is on its way, who polls it, and who waits for it.
//!
//! A call to a replica is polled by the request that it belongs to where the group has one member (no task, and the request waits
//! for nothing else), and by a task of its own where it has more: the acknowledgement does not wait for the slowest, and what is
//! left of it goes on when the request is over. There is at most one call for a batch and a replica at a time; it ends with its
//! batch, so that what is in memory is what the protocol's writer counts.

mod joining;
mod mailbox;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use batch::{Batch, BatchHeader};
use cluster::{ClusterMap, GenerationNumber, GroupId, Replica as ReplicaId};
use model::{DurationMs, TimestampMs};
use parking_lot::{Mutex, RwLock};
use peer::{Member, Members, Unanswered};
use replication::replica::PushReply;
use replication::writer::{Effect, RequestId, SubmitError, Writer as Core};
use replication::{Entry, Payload, Rules, is_newer};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::refusals::{Refusal, Refusals};
use crate::routing::{NoRouting, Routing};
use crate::write::Limits;
use joining::Joining;
pub(crate) use joining::Travel;
pub(crate) use mailbox::{Letter, Mailbox};

/// A call that is open for so long is taken for lost when its batch is to be sent again: the connection may be gone without a word.
const CALL_TIME_MAX: DurationMs = DurationMs::secs(5);

/// Names a batch on its way.
type Key = (GroupId, u64);

struct Call {
    to: ReplicaId,
    generation: GenerationNumber,
    begun: TimestampMs,
    number: u64,
    /// `None`: the request polls it.
    task: Option<AbortHandle>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A request of a caller.
struct Request {
    mailbox: Arc<Mailbox>,
    /// Letters that are still to come and say that something is over.
    ends: usize,
}

/// A request that was begun.
pub(crate) struct Begun {
    pub(crate) request: RequestId,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Letters that will say that something is over.
    pub(crate) ends: usize,
}

struct Inner {
    core: Core<Batch>,
    next_request: u64,
    requests: HashMap<RequestId, Request>,
    joining: Joining,
    next_call: u64,
    calls: HashMap<Key, Vec<Call>>,
}

/// Bytes of definitions on their way, given back when dropped.
pub(crate) struct Reserved(Arc<AtomicUsize>, usize);

impl Drop for Reserved {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A batch to be offered to a replica, after the definitions that it asked for.
pub(crate) struct Sending {
    key: Key,
    to: ReplicaId,
    entry: Entry,
    batch: Batch,
    definitions: Option<(Vec<Batch>, Reserved)>,
    number: u64,
}

/// What came of it.
pub(crate) struct Heard {
    key: Key,
    from: ReplicaId,
    number: u64,
    said: Result<PushReply, Unanswered>,
}

impl Sending {
    pub(crate) async fn run(self, members: Arc<dyn Members>) -> Heard {
        let (key, from, number) = (self.key, self.to.clone(), self.number);
        let said = match members.member(&self.to) {
            Some(member) => self.offer(&*member).await,
            None => Err(Unanswered("it is not known where it answers".to_owned())),
        };
        Heard { key, from, number, said }
    }

    async fn offer(self, member: &dyn Member) -> Result<PushReply, Unanswered> {
        let (definitions, _reserved) = self.definitions.unzip();
        for definition in definitions.unwrap_or_default() {
            match member.push(self.entry.clone(), definition).await {
                Ok(PushReply::Ok(_)) => {}
                other => return other,
            }
        }
        member.push(self.entry, self.batch).await
    }
}

/// What the caller of a request polls itself, and the definitions that go with what is sent now.
#[derive(Default)]
pub(crate) struct ByCaller {
    pub(crate) sendings: Vec<Sending>,
    pub(crate) definitions: Option<(Vec<Batch>, Reserved)>,
}

/// What a writer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all batches in flight, those included that are acknowledged and not yet at their last replica.
    pub in_flight_bytes: usize,
    /// Requests that are not over.
    pub open_requests: usize,
    /// Calls to replicas.
    pub open_calls: usize,
    /// Batches that were made of several requests.
    pub joined_batches: u64,
    /// Requests, or parts of them, that went in such batches.
    pub joined_requests: u64,
    /// Batches that were sent to a replica once more.
    pub resends: u64,
    /// Answers of replicas that did not take a batch, by reason.
    pub refusals: Vec<(Refusal, u64)>,
    /// Bytes on their way to each replica that has not answered.
    pub outstanding_bytes: Vec<(ReplicaId, usize)>,
}

/// All that a writer has on its way.
pub(crate) struct Outgoing {
    pub(crate) members: Arc<dyn Members>,
    /// Where tasks run: those who write come and go with runtimes of their own.
    runtime: Handle,
    /// The protocol's time begins here: no jump of a clock moves a deadline.
    begun: Instant,
    pub(crate) limits: Limits,
    /// A lock, because everybody reads it and only a new map writes it.
    routing: RwLock<Result<Arc<Routing>, NoRouting>>,
    /// A lock and not a task: a task would add two switches to each request. Held for some map operations; no other is taken
    /// under it but that of a mailbox.
    inner: Mutex<Inner>,
    definition_bytes: Arc<AtomicUsize>,
    resends: AtomicU64,
    refusals: Refusals,
}

impl Outgoing {
    pub(crate) fn new(id: u64, members: Arc<dyn Members>, limits: Limits, runtime: Handle) -> Outgoing {
        let core = Core::new(id, limits.in_flight, Rules::ALL);
        let (requests, joining, calls) = (HashMap::new(), Joining::new(limits.join), HashMap::new());
        let inner = Inner { core, next_request: 1, requests, joining, next_call: 1, calls };
        Outgoing {
            members,
            runtime,
            begun: Instant::now(),
            limits,
            routing: RwLock::new(Err(NoRouting::Empty)),
            inner: Mutex::new(inner),
            definition_bytes: Arc::default(),
            resends: AtomicU64::new(0),
            refusals: Refusals::default(),
        }
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    pub(crate) fn routing(&self) -> Result<Arc<Routing>, NoRouting> {
        self.routing.read().clone()
    }

    /// Takes in a map. What is in flight is sent again where a group has a new generation.
    pub(crate) fn follow(self: &Arc<Outgoing>, map: &ClusterMap) {
        let now = self.now();
        let mut inner = self.inner.lock();
        for group in map.groups() {
            if inner.core.entry(group.id()).is_none_or(|held| is_newer(group, held)) {
                let effects = inner.core.learn(&Arc::new(group.clone()), now);
                self.carry_out(&mut inner, effects, None);
            }
        }
        drop(inner);
        let before = self.routing().ok();
        let routing = Routing::of(map, before.as_deref(), self.limits.known_series_max).map(Arc::new);
        *self.routing.write() = routing;
    }

    /// The name of the next batch for a group of the routing.
    pub(crate) fn name(&self, group: GroupId) -> BatchHeader {
        self.inner.lock().name(group)
    }

    /// Begins a request. What of it waits for others is sent by and by.
    pub(crate) fn submit(
        self: &Arc<Outgoing>,
        parts: Vec<(GroupId, Batch)>,
        travel: Travel,
        by_caller: &mut ByCaller,
    ) -> Result<Begun, SubmitError> {
        let now = self.now();
        let mut inner = self.inner.lock();
        let waits = |(group, batch): &(GroupId, Batch)| travel == Travel::InCompany && inner.waits(*group, batch);
        let (waiting, parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(waits);
        let held = waiting.iter().map(|(_, batch)| batch.joined_bytes_max()).sum();
        let mut effects = inner.core.hold(held)?;
        let (request, mailbox) = (inner.request_id(), Arc::<Mailbox>::default());
        let is_all_waiting = parts.is_empty() && !waiting.is_empty();
        if !is_all_waiting {
            match inner.core.submit(request, parts, now) {
                Ok(more) => effects.extend(more),
                Err(e) => {
                    inner.core.let_go(held);
                    self.carry_out(&mut inner, effects, None);
                    return Err(e);
                }
            }
        }
        let ends = waiting.len() + usize::from(!is_all_waiting);
        inner.requests.insert(request, Request { mailbox: mailbox.clone(), ends });
        waiting.into_iter().for_each(|part| self.wait(&mut inner, request, part));
        self.carry_out(&mut inner, effects, Some(by_caller));
        Ok(Begun { request, mailbox, ends })
    }

    /// A replica that asked gets its definitions, and the batch again.
    pub(crate) fn defined(
        self: &Arc<Outgoing>,
        group: GroupId,
        to: &ReplicaId,
        batch: Batch,
        by_caller: &mut ByCaller,
    ) {
        let now = self.now();
        let mut inner = self.inner.lock();
        let effects = inner.core.defined(group, to, batch, now);
        self.carry_out(&mut inner, effects, Some(by_caller));
    }

    /// What a split has left.
    pub(crate) fn rest(
        self: &Arc<Outgoing>,
        (request, group): (RequestId, GroupId),
        rest: Option<Batch>,
        sealed_before: TimestampMs,
        by_caller: &mut ByCaller,
    ) {
        let now = self.now();
        let mut inner = self.inner.lock();
        let effects = inner.core.rest(request, group, rest, sealed_before, now);
        self.carry_out(&mut inner, effects, Some(by_caller));
    }

    /// Nobody waits for a request any more.
    pub(crate) fn abandon(self: &Arc<Outgoing>, request: RequestId) {
        let mut inner = self.inner.lock();
        inner.requests.remove(&request);
        let mut effects = inner.core.abandon(request);
        effects.extend(inner.get_off(request));
        self.carry_out(&mut inner, effects, None);
    }

    /// Room for definitions on their way; `None` where there is none.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let reserved = Reserved(self.definition_bytes.clone(), bytes);
        let held = self.definition_bytes.fetch_add(bytes, Ordering::Relaxed);
        (held + bytes <= self.limits.definition_bytes_max).then_some(reserved)
    }

    /// What came of a call.
    pub(crate) fn heard(self: &Arc<Outgoing>, heard: Heard) {
        let Heard { key, from, number, said } = heard;
        if let Some(refusal) = Refusal::of(&said) {
            self.refusals.count(refusal);
        }
        if let (Ok(PushReply::Need(ids)), Ok(routing)) = (&said, self.routing()) {
            ids.iter().for_each(|id| routing.known.remove(*id));
        }
        let now = self.now();
        let mut inner = self.inner.lock();
        inner.call_ended(key, number);
        inner.note(key, &from, &said);
        // Where no answer came the batch is as good as on its way: the next resend finds out.
        let Ok(reply) = said else { return };
        let effects = inner.core.replied(key.0, key.1, &from, reply, now);
        self.carry_out(&mut inner, effects, None);
    }

    /// What a replica would say if it had been asked.
    pub(crate) fn answer_for(self: &Arc<Outgoing>, key: Key, replica: &ReplicaId, reply: PushReply) {
        let now = self.now();
        let mut inner = self.inner.lock();
        inner.note(key, replica, &Ok(reply.clone()));
        let effects = inner.core.replied(key.0, key.1, replica, reply, now);
        self.carry_out(&mut inner, effects, None);
    }

    /// Time passes.
    pub(crate) fn tick(self: &Arc<Outgoing>) {
        let now = self.now();
        let mut inner = self.inner.lock();
        let effects = inner.core.tick(now);
        let sent = self.carry_out(&mut inner, effects, None);
        self.resends.fetch_add(sent, Ordering::Relaxed);
    }

    /// Ends all calls.
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.calls.clear();
        inner.joining.clear();
    }

    pub(crate) fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        Stats {
            in_flight_bytes: inner.core.in_flight_bytes(),
            open_requests: inner.requests.len(),
            open_calls: inner.calls.values().map(Vec::len).sum(),
            joined_batches: inner.joining.batches,
            joined_requests: inner.joining.requests,
            resends: self.resends.load(Ordering::Relaxed),
            refusals: self.refusals.read(),
            outstanding_bytes: inner.core.outstanding_bytes().map(|(to, bytes)| (to.clone(), bytes)).collect(),
        }
    }

    /// Does what the protocol's writer says; tells how many calls were begun by that. What it was that others waited for may
    /// have come to its end with it.
    fn carry_out(
        self: &Arc<Outgoing>,
        inner: &mut Inner,
        effects: Vec<Effect<Batch>>,
        by_caller: Option<&mut ByCaller>,
    ) -> u64 {
        let begun = self.perform(inner, effects, by_caller);
        self.depart_idle(inner);
        begun
    }

    fn perform(
        self: &Arc<Outgoing>,
        inner: &mut Inner,
        effects: Vec<Effect<Batch>>,
        mut by_caller: Option<&mut ByCaller>,
    ) -> u64 {
        let mut begun = 0;
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            if let Effect::Split { group, sealed_before, .. } = &effect {
                inner.joining.note_sealed(*group, *sealed_before);
            }
            match effect {
                Effect::Define { request, .. } | Effect::Split { request, .. } if inner.joining.is_carrier(request) => {
                    left.extend(inner.part(request));
                }
                Effect::Send { to, entry, batch } => {
                    begun += u64::from(self.send(inner, to, entry, batch, by_caller.as_deref_mut()));
                }
                Effect::Forget { group, seq } => drop(inner.calls.remove(&(group, seq))),
                Effect::Define { request, to, group, batch, ids } => {
                    inner.tell(request, Letter::Define { to, group, batch, ids });
                }
                Effect::Split { request, group, batch, sealed_before } => {
                    inner.tell(request, Letter::Split { group, batch, sealed_before });
                }
                Effect::Done(request, outcome) => inner.over(request, outcome),
            }
        }
        begun
    }

    /// Begins a call, unless one is open for this batch, replica and generation.
    fn send(
        self: &Arc<Outgoing>,
        inner: &mut Inner,
        to: ReplicaId,
        entry: Entry,
        batch: Batch,
        mut by_caller: Option<&mut ByCaller>,
    ) -> bool {
        let (key, newest) = ((entry.id(), batch.key().seq), entry.newest());
        let (generation, is_alone) = (newest.number, newest.members.len() == 1);
        let calls = inner.calls.entry(key).or_default();
        if let Some(at) = calls.iter().position(|call| call.to == to) {
            let is_open = calls[at].begun + CALL_TIME_MAX > self.now();
            if calls[at].generation == generation && is_open {
                return false;
            }
            drop(calls.swap_remove(at));
        }
        let number = inner.next_call;
        inner.next_call += 1;
        let definitions = by_caller.as_mut().and_then(|by_caller| by_caller.definitions.take());
        let sending = Sending { key, to: to.clone(), entry, batch, definitions, number };
        let task = match by_caller.filter(|_| is_alone) {
            Some(by_caller) => {
                by_caller.sendings.push(sending);
                None
            }
            None => {
                let this = self.clone();
                let call = async move {
                    let heard = sending.run(this.members.clone()).await;
                    this.heard(heard);
                };
                Some(self.runtime.spawn(call).abort_handle())
            }
        };
        calls.push(Call { to, generation, begun: self.now(), number, task });
        true
    }
}

impl Inner {
    fn request_id(&mut self) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        request
    }

    fn name(&mut self, group: GroupId) -> BatchHeader {
        let key = self.core.next_key(group).expect("the groups of a routing were learnt before it");
        let generation = self.core.entry(group).map_or(0, |entry| entry.newest().number.0);
        BatchHeader { group: group.0, generation, writer: key.writer, seq: key.seq }
    }

    fn tell(&self, request: RequestId, letter: Letter) {
        if let Some(request) = self.requests.get(&request) {
            request.mailbox.put(letter);
        }
    }

    /// Tells a request that something of it is over.
    fn end(&mut self, request: RequestId, letter: Letter) {
        self.tell(request, letter);
        let Some(open) = self.requests.get_mut(&request) else { return };
        open.ends -= 1;
        if open.ends == 0 {
            self.requests.remove(&request);
        }
    }

    fn note(&self, (group, seq): Key, from: &ReplicaId, said: &Result<PushReply, Unanswered>) {
        if matches!(said, Ok(PushReply::Ok(_))) {
            return;
        }
        let Some(request) = self.core.request_of(group, seq) else { return };
        let waiting = self.joining.riders(request).unwrap_or(std::slice::from_ref(&request));
        waiting.iter().filter_map(|rider| self.requests.get(rider)).for_each(|rider| rider.mailbox.note(from, said));
    }

    /// Takes a call off the list, if another has not taken its place.
    fn call_ended(&mut self, key: Key, number: u64) {
        let Some(calls) = self.calls.get_mut(&key) else { return };
        if let Some(at) = calls.iter().position(|call| call.number == number) {
            // The task that is ending is the one that calls.
            calls.swap_remove(at).task = None;
        }
        if calls.is_empty() {
            self.calls.remove(&key);
        }
    }
}
