//! Requests that are sent together.
//!
//! A batch costs its group a call, a record and a share of a sync to each member, whatever is in it. So small batches that come
//! while another of their group is under way wait for its end, a few milliseconds at most, and those of a tenant go as one. Where
//! nothing is under way nobody waits, nor to a group of one, where a request makes its call by itself.
//!
//! The batch they go in is a request of its own to the protocol's writer, the *carrier*; those that ride in it are told how it
//! ended. It is nobody's to define or split: where that is asked for, or the replicas call it impossible, the riders part, and
//! each is sent anew by itself, which does no harm where a replica has taken the whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use batch::Batch;
use cluster::GroupId;
use model::{TenantId, TimestampMs};
use replication::writer::{Effect, Outcome, RequestId, Why};
use tokio::task::AbortHandle;

use super::{Inner, Letter, Outgoing};
use crate::delivery::parse;
use crate::write::JoinLimits;

/// Whether a request may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    Alone,
    InCompany,
}

/// A part of a request that waits.
struct Rider {
    request: RequestId,
    batch: Batch,
}

/// Those that go together: of one tenant, to one group.
struct Company {
    group: GroupId,
    riders: Vec<Rider>,
    /// What their batch takes at most.
    bytes: usize,
}

impl Company {
    fn leave(&mut self, request: RequestId) {
        self.riders.retain(|rider| rider.request != request);
        self.bytes = self.riders.iter().map(|rider| rider.batch.joined_bytes_max()).sum();
    }
}

/// Sends those who wait when their time is over, if it is not dropped before.
struct Alarm(AbortHandle);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Waiting {
    number: u64,
    company: Company,
    _alarm: Alarm,
}

struct Carrier {
    riders: Vec<RequestId>,
    is_joined: bool,
}

/// Who waits, and who rides in what.
pub(super) struct Joining {
    limits: JoinLimits,
    waiting: BTreeMap<(GroupId, TenantId), Waiting>,
    next_number: u64,
    carriers: HashMap<RequestId, Carrier>,
    /// Before which time groups were heard to take nothing: what lies there would part those that it rides with.
    sealed: BTreeMap<GroupId, TimestampMs>,
    /// Batches that were made of several.
    pub(super) batches: u64,
    /// Requests, or their parts, that went in these.
    pub(super) requests: u64,
}

impl Joining {
    pub(super) fn new(limits: JoinLimits) -> Joining {
        let (waiting, carriers, sealed) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        Joining { limits, waiting, next_number: 1, carriers, sealed, batches: 0, requests: 0 }
    }

    /// Nobody waits any more, and nobody is told anything.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.carriers.clear();
    }

    pub(super) fn note_sealed(&mut self, group: GroupId, before: TimestampMs) {
        let held = self.sealed.entry(group).or_insert(before);
        *held = before.max(*held);
    }

    fn is_sealed(&self, group: GroupId, batch: &Batch) -> bool {
        let before = self.sealed.get(&group);
        before.zip(batch.time_bounds()).is_some_and(|(before, (mint, _))| mint < before.0)
    }

    fn wait(&mut self, group: GroupId, rider: Rider, alarm: impl FnOnce(u64) -> AbortHandle) -> Vec<Company> {
        let key = (group, rider.batch.tenant().clone());
        let bytes = rider.batch.joined_bytes_max();
        let mut full = Vec::new();
        if self.waiting.get(&key).is_some_and(|waiting| waiting.company.bytes + bytes > self.limits.bytes_max) {
            full.extend(self.waiting.remove(&key).map(|waiting| waiting.company));
        }
        let next_number = &mut self.next_number;
        let waiting = self.waiting.entry(key.clone()).or_insert_with(|| {
            let number = *next_number;
            *next_number += 1;
            let company = Company { group, riders: Vec::new(), bytes: 0 };
            Waiting { number, company, _alarm: Alarm(alarm(number)) }
        });
        waiting.company.riders.push(rider);
        waiting.company.bytes += bytes;
        if waiting.company.riders.len() >= self.limits.requests_max {
            full.extend(self.waiting.remove(&key).map(|waiting| waiting.company));
        }
        full
    }

    fn take_all(&mut self, wanted: impl Fn(GroupId, u64) -> bool) -> Vec<Company> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let all = self.waiting.iter().filter(|((group, _), waiting)| wanted(*group, waiting.number));
        let keys: Vec<_> = all.map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.waiting.remove(key)).map(|waiting| waiting.company).collect()
    }

    /// A request waits no longer; says how many bytes that gives back.
    fn leave(&mut self, request: RequestId) -> usize {
        let mut freed = 0;
        self.waiting.retain(|_, Waiting { company, .. }| {
            let before = company.bytes;
            company.leave(request);
            freed += before - company.bytes;
            !company.riders.is_empty()
        });
        freed
    }

    /// A request rides no longer; says which carriers are empty without it.
    fn get_off(&mut self, request: RequestId) -> Vec<RequestId> {
        let mut empty = Vec::new();
        self.carriers.retain(|id, carrier| {
            carrier.riders.retain(|rider| *rider != request);
            if carrier.riders.is_empty() {
                empty.push(*id);
            }
            !carrier.riders.is_empty()
        });
        empty
    }

    pub(super) fn is_carrier(&self, request: RequestId) -> bool {
        self.carriers.contains_key(&request)
    }

    /// Those who ride in it; `None` where it is no carrier.
    pub(super) fn riders(&self, request: RequestId) -> Option<&[RequestId]> {
        self.carriers.get(&request).map(|carrier| &carrier.riders[..])
    }
}

impl Inner {
    /// Whether a batch waits to be joined with others.
    pub(super) fn waits(&self, group: GroupId, batch: &Batch) -> bool {
        let has_several = || self.core.entry(group).is_some_and(|entry| entry.newest().members.len() > 1);
        // What is large by itself gains nothing.
        let is_small = batch.joined_bytes_max() <= self.joining.limits.bytes_max / 4;
        is_small && self.core.is_busy(group) && has_several() && !self.joining.is_sealed(group, batch)
    }

    /// A request of the protocol is over, and with it what a caller waits for.
    pub(super) fn over(&mut self, request: RequestId, outcome: Outcome) {
        let Some(carrier) = self.joining.carriers.remove(&request) else {
            return self.end(request, Letter::Done(outcome));
        };
        for rider in carrier.riders {
            let is_others = carrier.is_joined && outcome == Outcome::Invalid;
            self.end(rider, if is_others { Letter::Part } else { Letter::Done(outcome) });
        }
    }

    /// Those who ride in it are to go by themselves.
    pub(super) fn part(&mut self, carrier: RequestId) -> Vec<Effect<Batch>> {
        let Some(riders) = self.joining.carriers.remove(&carrier).map(|carrier| carrier.riders) else {
            return Vec::new();
        };
        riders.into_iter().for_each(|rider| self.end(rider, Letter::Part));
        self.core.abandon(carrier)
    }

    /// A request neither waits nor rides any more.
    pub(super) fn get_off(&mut self, request: RequestId) -> Vec<Effect<Batch>> {
        let freed = self.joining.leave(request);
        self.core.let_go(freed);
        let empty = self.joining.get_off(request);
        empty.into_iter().flat_map(|carrier| self.core.abandon(carrier)).collect()
    }
}

impl Outgoing {
    /// A part of a request, whose bytes are held, waits for others. What is full goes.
    pub(super) fn wait(self: &Arc<Outgoing>, inner: &mut Inner, request: RequestId, (group, batch): (GroupId, Batch)) {
        let full = inner.joining.wait(group, Rider { request, batch }, |number| {
            let (this, wait) = (Arc::downgrade(self), self.limits.join.wait.to_std());
            let alarm = async move {
                tokio::time::sleep(wait).await;
                if let Some(this) = this.upgrade() {
                    let mut inner = this.inner.lock();
                    let late = inner.joining.take_all(|_, waiting| waiting == number);
                    late.into_iter().for_each(|company| this.depart(&mut inner, company));
                }
            };
            self.runtime.spawn(alarm).abort_handle()
        });
        full.into_iter().for_each(|company| self.depart(inner, company));
    }

    /// Sends what waited for groups that have nothing under way.
    pub(super) fn depart_idle(self: &Arc<Outgoing>, inner: &mut Inner) {
        let Inner { joining, core, .. } = inner;
        let idle = joining.take_all(|group, _| !core.is_busy(group));
        idle.into_iter().for_each(|company| self.depart(inner, company));
    }

    /// Joining is done under the lock: it copies what is sent, at most 1 MiB, and looks at its sections.
    fn depart(self: &Arc<Outgoing>, inner: &mut Inner, company: Company) {
        let Company { group, riders, bytes } = company;
        inner.core.let_go(bytes);
        let carrier = inner.request_id();
        let is_joined = riders.len() > 1;
        let (riders, mut batches): (Vec<_>, Vec<_>) =
            riders.into_iter().map(|rider| (rider.request, rider.batch)).unzip();
        let count = riders.len() as u64;
        inner.joining.carriers.insert(carrier, Carrier { riders, is_joined });
        if is_joined {
            let mut joined = Vec::with_capacity(bytes);
            Batch::join(inner.name(group), &batches, &mut joined);
            inner.joining.batches += 1;
            inner.joining.requests += count;
            batches = parse(joined).into_iter().collect();
        }
        let Some(batch) = batches.pop() else {
            debug_assert!(false, "what was joined is no batch");
            inner.part(carrier);
            return;
        };
        match inner.core.submit(carrier, vec![(group, batch)], self.now()) {
            Ok(effects) => {
                self.perform(inner, effects, None);
            }
            // As much was held, and a group stays.
            Err(_) => inner.over(carrier, Outcome::Retry(Why::Overload)),
        }
    }
}
