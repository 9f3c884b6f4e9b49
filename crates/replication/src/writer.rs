//! The writer: sends batches until they are acknowledged (rule *Write*).
//!
//! A request has parts, one batch per group or more. Each part becomes a *flight*: sent to all members of the group's
//! newest generation, counted there, begun afresh at the next generation. A request is over when each part is
//! acknowledged, refused for good, or has to be tried again; a flight that is acknowledged goes on in the background for
//! the replicas that have not answered, and is the first to be forgotten when room is needed.
//!
//! The generation in a batch's own header is that at which it was first encoded. What counts is the entry that is sent with it.

mod flight;
mod told;

use std::collections::BTreeMap;

use cluster::{GroupId, Replica as ReplicaId};
use model::{DurationMs, TimestampMs};

use crate::entry::adopt;
use crate::replica::PushReply;
use crate::{BatchKey, Entry, Payload, Rule, Rules};

use flight::{Answer, Flight, Verdict};
pub use told::{Effect, Outcome, RequestId, SubmitError, Why};

/// Bounds of a writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all batches in flight, those in the background included.
    pub in_flight_bytes_max: usize,
    /// Bytes on their way to one replica: past it a replica that does not answer is not sent to, and must pull.
    pub replica_bytes_max: usize,
    /// A request that is not over by then is to be tried again by its caller.
    pub deadline: DurationMs,
    /// A replica that has not answered is sent to again after this.
    pub resend_after: DurationMs,
    /// How long the background goes on for a replica that does not answer.
    pub background: DurationMs,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            in_flight_bytes_max: 64 << 20,
            replica_bytes_max: 16 << 20,
            deadline: DurationMs::secs(10),
            resend_after: DurationMs::secs(2),
            background: DurationMs::secs(30),
        }
    }
}

#[derive(Debug)]
struct GroupOut<P> {
    entry: Entry,
    next_seq: u64,
    flights: BTreeMap<u64, Flight<P>>,
    /// Flights that a request waits for.
    awaited: usize,
}

#[derive(Debug)]
struct Request {
    /// Flights and splits that are not decided.
    open: usize,
    sealed_before: Option<TimestampMs>,
    retry: Option<Why>,
    deadline: TimestampMs,
}

/// A writer process.
#[derive(Debug)]
pub struct Writer<P> {
    id: u64,
    limits: Limits,
    rules: Rules,
    groups: BTreeMap<GroupId, GroupOut<P>>,
    requests: BTreeMap<RequestId, Request>,
    bytes: usize,
    /// Bytes that are not in flight yet and count as if they were.
    held: usize,
    to_replica: BTreeMap<ReplicaId, usize>,
}

impl<P: Payload> Writer<P> {
    /// `id` was drawn at random by the process at its start.
    pub fn new(id: u64, limits: Limits, rules: Rules) -> Writer<P> {
        let (groups, requests) = (BTreeMap::new(), BTreeMap::new());
        Writer { id, limits, rules, groups, requests, bytes: 0, held: 0, to_replica: BTreeMap::new() }
    }

    /// The entry of a group, as this writer knows it.
    pub fn entry(&self, group: GroupId) -> Option<&Entry> {
        self.groups.get(&group).map(|out| &out.entry)
    }

    /// The name of the next batch for a group.
    pub fn next_key(&mut self, group: GroupId) -> Option<BatchKey> {
        let out = self.groups.get_mut(&group)?;
        let seq = out.next_seq;
        out.next_seq += 1;
        Some(BatchKey { writer: self.id, seq })
    }

    /// Bytes in flight, with those that are held.
    pub fn in_flight_bytes(&self) -> usize {
        self.bytes + self.held
    }

    /// Takes of the bound on bytes in flight what waits to be submitted.
    pub fn hold(&mut self, bytes: usize) -> Result<Vec<Effect<P>>, SubmitError> {
        let effects = self.make_room(bytes)?;
        self.held += bytes;
        Ok(effects)
    }

    /// Gives back what was held. As much can be submitted now.
    pub fn let_go(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.held, "{bytes} of {} held bytes", self.held);
        self.held = self.held.saturating_sub(bytes);
    }

    /// Whether a request waits for a batch of this group.
    pub fn is_busy(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|out| out.awaited > 0)
    }

    /// Bytes on their way to each replica that has not answered.
    pub fn outstanding_bytes(&self) -> impl Iterator<Item = (&ReplicaId, usize)> {
        self.to_replica.iter().map(|(to, bytes)| (to, *bytes))
    }

    /// Whose part a batch is; `None` once it is acknowledged.
    pub fn request_of(&self, group: GroupId, seq: u64) -> Option<RequestId> {
        self.groups.get(&group)?.flights.get(&seq)?.request
    }

    /// Requests that are not over.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Takes in an entry: from the map, or from a redirect. What is in flight is sent again under a new generation.
    pub fn learn(&mut self, entry: &Entry, now: TimestampMs) -> Vec<Effect<P>> {
        let group = entry.id();
        let Some(out) = self.groups.get_mut(&group) else {
            let entry = entry.clone();
            self.groups.insert(group, GroupOut { entry, next_seq: 1, flights: BTreeMap::new(), awaited: 0 });
            return Vec::new();
        };
        let mut effects = Vec::new();
        if adopt(&mut out.entry, entry) {
            let seqs: Vec<u64> = out.flights.keys().copied().collect();
            for seq in seqs {
                self.launch(group, seq, now, &mut effects);
                self.settle(group, seq, now, &mut effects);
            }
        }
        effects
    }

    /// Begins a request. Batches carry names from [`Writer::next_key`]. Nothing was begun on an error.
    pub fn submit(
        &mut self,
        request: RequestId,
        parts: Vec<(GroupId, P)>,
        now: TimestampMs,
    ) -> Result<Vec<Effect<P>>, SubmitError> {
        if let Some((group, _)) = parts.iter().find(|(group, _)| !self.groups.contains_key(group)) {
            return Err(SubmitError::UnknownGroup(*group));
        }
        let bytes: usize = parts.iter().map(|(_, batch)| batch.bytes()).sum();
        let mut effects = self.make_room(bytes)?;
        let deadline = now + self.limits.deadline;
        self.requests.insert(request, Request { open: parts.len(), sealed_before: None, retry: None, deadline });
        if parts.is_empty() {
            self.finish_if_over(request, &mut effects);
        }
        for (group, batch) in parts {
            self.take_off(request, group, batch, now, &mut effects);
        }
        Ok(effects)
    }

    /// Forgets flights of the background, oldest first, until so many bytes fit; none where they cannot.
    fn make_room(&mut self, bytes: usize) -> Result<Vec<Effect<P>>, SubmitError> {
        let (mut effects, max) = (Vec::new(), self.limits.in_flight_bytes_max);
        if self.in_flight_bytes() + bytes <= max {
            return Ok(effects);
        }
        let flights = self.groups.values().flat_map(|out| out.flights.values());
        let background: usize = flights.filter(|f| f.request.is_none()).map(|f| f.batch.bytes()).sum();
        if self.in_flight_bytes() + bytes > max + background {
            return Err(SubmitError::Full { in_flight: self.in_flight_bytes(), max });
        }
        while self.in_flight_bytes() + bytes > max {
            let in_background =
                |out: &GroupOut<P>| out.flights.iter().find(|(_, f)| f.request.is_none()).map(|(seq, _)| *seq);
            let oldest = self.groups.iter().find_map(|(group, out)| Some((*group, in_background(out)?)));
            let Some((group, seq)) = oldest else { break };
            self.forget(group, seq, &mut effects);
        }
        Ok(effects)
    }

    fn take_off(
        &mut self,
        request: RequestId,
        group: GroupId,
        batch: P,
        now: TimestampMs,
        effects: &mut Vec<Effect<P>>,
    ) {
        let seq = batch.key().seq;
        self.bytes += batch.bytes();
        let out = self.groups.get_mut(&group).expect("the caller has looked for the group");
        let flight = Flight::new(request, batch);
        out.awaited += 1;
        let before = out.flights.insert(seq, flight);
        assert!(before.is_none(), "batch {seq} was named twice");
        self.launch(group, seq, now, effects);
        self.settle(group, seq, now, effects);
    }

    /// Sends a flight to all members of the newest generation, and counts afresh.
    fn launch(&mut self, group: GroupId, seq: u64, now: TimestampMs, effects: &mut Vec<Effect<P>>) {
        let Some(out) = self.groups.get_mut(&group) else { return };
        let Some(flight) = out.flights.get_mut(&seq) else { return };
        let bytes = flight.batch.bytes();
        for to in flight.outstanding() {
            release(&mut self.to_replica, to, bytes);
        }
        flight.begin(&out.entry, self.rules, now + self.limits.resend_after);
        for member in &out.entry.newest().members {
            let to = &member.replica;
            let held = self.to_replica.entry(to.clone()).or_insert(0);
            if *held + bytes > self.limits.replica_bytes_max {
                flight.skip(to);
                continue;
            }
            *held += bytes;
            effects.push(Effect::Send { to: to.clone(), entry: out.entry.clone(), batch: flight.batch.clone() });
        }
    }

    /// What a replica said to a batch.
    pub fn replied(
        &mut self,
        group: GroupId,
        seq: u64,
        from: &ReplicaId,
        reply: PushReply,
        now: TimestampMs,
    ) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        if let PushReply::Stale(entry) = &reply {
            return self.learn(entry, now);
        }
        let Some(flight) = self.groups.get_mut(&group).and_then(|out| out.flights.get_mut(&seq)) else {
            return effects;
        };
        let bytes = flight.batch.bytes();
        let was_outstanding = flight.is_outstanding(from);
        match reply {
            PushReply::Ok(generation) => flight.acked(from, generation, self.rules),
            PushReply::Need(ids) => match flight.request {
                // Who knows the labels has gone. The replica pulls them with the batch.
                None => flight.answered(from, Answer::Failed(Why::Unavailable)),
                Some(request) => {
                    if flight.needs(from) {
                        let (to, batch) = (from.clone(), flight.batch.clone());
                        effects.push(Effect::Define { request, to, group, batch, ids });
                    }
                }
            },
            PushReply::Sealed(before) => {
                if let Some(request) = flight.request {
                    let batch = flight.batch.clone();
                    self.forget(group, seq, &mut effects);
                    effects.push(Effect::Split { request, group, batch, sealed_before: before });
                    return effects;
                }
                flight.answered(from, Answer::Failed(Why::Unavailable));
            }
            PushReply::Full { .. } => flight.answered(from, Answer::Failed(Why::Overload)),
            PushReply::NotNow(_) => flight.answered(from, Answer::Failed(Why::Unavailable)),
            PushReply::Refused(_) => flight.answered(from, Answer::Failed(Why::Refused)),
            PushReply::Stale(_) => {}
        }
        if was_outstanding && !flight.is_outstanding(from) {
            release(&mut self.to_replica, from, bytes);
        }
        self.settle(group, seq, now, &mut effects);
        effects
    }

    /// A replica that asked for definitions has them, or finds them in the batch: it is sent the batch again.
    pub fn defined(&mut self, group: GroupId, to: &ReplicaId, batch: P, now: TimestampMs) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        let Some(out) = self.groups.get_mut(&group) else { return effects };
        let Some(flight) = out.flights.get_mut(&batch.key().seq) else { return effects };
        let (old, new) = (flight.batch.bytes(), batch.bytes());
        for to in flight.outstanding() {
            let held = self.to_replica.entry(to.clone()).or_insert(0);
            *held = (*held + new).saturating_sub(old);
        }
        self.bytes = (self.bytes + new).saturating_sub(old);
        flight.batch = batch;
        flight.resend_at = now + self.limits.resend_after;
        if flight.defined(to) {
            *self.to_replica.entry(to.clone()).or_insert(0) += new;
            let (entry, batch) = (out.entry.clone(), flight.batch.clone());
            effects.push(Effect::Send { to: to.clone(), entry, batch });
        }
        effects
    }

    /// Nobody waits for a request any more: nothing of it is sent again, and nobody is told how it ends.
    pub fn abandon(&mut self, request: RequestId) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        self.requests.remove(&request);
        let flights = self.groups.iter().flat_map(|(group, out)| out.flights.iter().map(|f| (*group, f)));
        let of_it = flights.filter(|(_, (_, flight))| flight.request == Some(request));
        let of_it: Vec<(GroupId, u64)> = of_it.map(|(group, (seq, _))| (group, *seq)).collect();
        of_it.into_iter().for_each(|(group, seq)| self.forget(group, seq, &mut effects));
        effects
    }

    /// What a split left: a batch under a new name, or nothing.
    pub fn rest(
        &mut self,
        request: RequestId,
        group: GroupId,
        rest: Option<P>,
        sealed_before: TimestampMs,
        now: TimestampMs,
    ) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        let Some(open) = self.requests.get_mut(&request) else { return effects };
        open.sealed_before = Some(open.sealed_before.map_or(sealed_before, |before| before.max(sealed_before)));
        match rest {
            Some(batch) => self.take_off(request, group, batch, now, &mut effects),
            None => {
                open.open -= 1;
                self.finish_if_over(request, &mut effects);
            }
        }
        effects
    }

    /// Time passes: what was not answered is sent again, what is over its deadline ends.
    pub fn tick(&mut self, now: TimestampMs) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        let flights: Vec<(GroupId, u64)> =
            self.groups.iter().flat_map(|(group, out)| out.flights.keys().map(|seq| (*group, *seq))).collect();
        for (group, seq) in flights {
            self.resend(group, seq, now, &mut effects);
            self.settle(group, seq, now, &mut effects);
        }
        let late: Vec<RequestId> = self.requests.iter().filter(|(_, r)| r.deadline <= now).map(|(id, _)| *id).collect();
        for request in late {
            // Splits that the caller never gave back.
            self.requests.remove(&request);
            effects.push(Effect::Done(request, Outcome::Retry(Why::Deadline)));
        }
        effects
    }

    fn resend(&mut self, group: GroupId, seq: u64, now: TimestampMs, effects: &mut Vec<Effect<P>>) {
        let Some(out) = self.groups.get_mut(&group) else { return };
        let Some(flight) = out.flights.get_mut(&seq).filter(|flight| flight.resend_at <= now) else { return };
        flight.resend_at = now + self.limits.resend_after;
        for to in flight.outstanding() {
            effects.push(Effect::Send { to: to.clone(), entry: out.entry.clone(), batch: flight.batch.clone() });
        }
        let bytes = flight.batch.bytes();
        for to in flight.to_retry() {
            let held = self.to_replica.entry(to.clone()).or_insert(0);
            if *held + bytes > self.limits.replica_bytes_max {
                continue;
            }
            *held += bytes;
            flight.send_again(&to);
            effects.push(Effect::Send { to, entry: out.entry.clone(), batch: flight.batch.clone() });
        }
    }

    /// Ends what is decided.
    fn settle(&mut self, group: GroupId, seq: u64, now: TimestampMs, effects: &mut Vec<Effect<P>>) {
        let Some(out) = self.groups.get_mut(&group) else { return };
        let Some(flight) = out.flights.get_mut(&seq) else { return };
        let Some(request) = flight.request else {
            if flight.forget_at.is_some_and(|at| at <= now) || flight.is_delivered() {
                self.forget(group, seq, effects);
            }
            return;
        };
        let late = self.requests.get(&request).is_none_or(|open| open.deadline <= now);
        match flight.verdict(&out.entry, self.rules) {
            Verdict::Acked => {
                flight.request = None;
                out.awaited -= 1;
                flight.forget_at = Some(now + self.limits.background);
                if flight.is_delivered() {
                    self.forget(group, seq, effects);
                }
                self.part_over(request, None, effects);
            }
            Verdict::Hopeless(why) => {
                self.forget(group, seq, effects);
                self.part_over(request, Some(why), effects);
            }
            Verdict::Open if late => {
                self.forget(group, seq, effects);
                self.part_over(request, Some(Why::Deadline), effects);
            }
            Verdict::Open => {}
        }
    }

    fn part_over(&mut self, request: RequestId, retry: Option<Why>, effects: &mut Vec<Effect<P>>) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        open.open -= 1;
        // What helps when it is tried again is told before what does not.
        open.retry = open.retry.filter(|why| *why != Why::Refused).or(retry).or(open.retry);
        self.finish_if_over(request, effects);
    }

    /// Rule *Write*, 4.
    fn finish_if_over(&mut self, request: RequestId, effects: &mut Vec<Effect<P>>) {
        let Some(open) = self.requests.get(&request).filter(|open| open.open == 0) else { return };
        let outcome = match (open.retry, open.sealed_before) {
            (Some(Why::Refused), _) => Outcome::Invalid,
            (Some(why), _) => Outcome::Retry(why),
            (None, Some(sealed_before)) => Outcome::Refused { sealed_before },
            (None, None) => Outcome::Acked,
        };
        self.requests.remove(&request);
        effects.push(Effect::Done(request, outcome));
    }

    fn forget(&mut self, group: GroupId, seq: u64, effects: &mut Vec<Effect<P>>) {
        let Some(out) = self.groups.get_mut(&group) else { return };
        let Some(flight) = out.flights.remove(&seq) else { return };
        out.awaited -= usize::from(flight.request.is_some());
        effects.push(Effect::Forget { group, seq });
        let bytes = flight.batch.bytes();
        self.bytes = self.bytes.saturating_sub(bytes);
        for to in flight.outstanding() {
            release(&mut self.to_replica, to, bytes);
        }
    }
}

fn release(to_replica: &mut BTreeMap<ReplicaId, usize>, to: &ReplicaId, bytes: usize) {
    if let Some(held) = to_replica.get_mut(to) {
        *held = held.saturating_sub(bytes);
        if *held == 0 {
            to_replica.remove(to);
        }
    }
}

/// Whether acknowledgements of this generation count for a flight begun at `at`.
fn counts(rules: Rules, generation: cluster::GenerationNumber, at: cluster::GenerationNumber) -> bool {
    generation == at || !rules.keep(Rule::AcksOfOneGeneration)
}

#[cfg(test)]
mod tests;
