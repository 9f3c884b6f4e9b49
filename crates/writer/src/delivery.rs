//! One request on its way: it waits for its end, and meanwhile makes the definitions that replicas ask for and takes out what is
//! sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::Batch;
use cluster::{GroupId, Replica as ReplicaId};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use model::{SeriesId, TimestampMs};
use replication::Payload;
use replication::replica::{NotNow, PushReply};
use replication::writer::{Outcome, RequestId, SubmitError, Why};
use storage::{AppendError, RejectReason, Rejection};

use crate::encode::EncodedBatch;
use crate::outgoing::{Begun, ByCaller, Heard, Letter, Mailbox, Outgoing, Travel};
use crate::routing::Routing;
use crate::split::split;

/// How often a replica gets definitions for one batch. Once is the rule; more only if it forgets them.
const DEFINED_MAX: u32 = 3;

/// Makes batches of the definitions of these series; `None` where some cannot be told.
pub(crate) trait Define: Fn(GroupId, &[SeriesId]) -> Option<Vec<Batch>> + Sync {}

impl<F: Fn(GroupId, &[SeriesId]) -> Option<Vec<Batch>> + Sync> Define for F {}

/// What became of a request.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Samples that are durable.
    pub(crate) sample_count: u64,
    /// Those of them that are histograms.
    pub(crate) histogram_count: u64,
    /// What came too late.
    pub(crate) sealed: Option<Rejection>,
}

/// Why it is not durable.
#[derive(Debug)]
pub(crate) enum NotDelivered {
    /// A replica asks for series that cannot be told any more: the request has to be encoded anew, without them.
    Undefined,
    /// It was sent with others, and cannot be: the request has to be encoded anew and go alone.
    Parted,
    /// What the caller is told.
    Failed(AppendError),
}

struct Part {
    key: (GroupId, u64),
    sample_count: u64,
    histogram_count: u64,
    defined: Vec<SeriesId>,
}

/// A request that is not over.
pub(crate) struct Delivery<'a> {
    outgoing: &'a Arc<Outgoing>,
    routing: &'a Routing,
    request: RequestId,
    mailbox: Arc<Mailbox>,
    /// Calls that are polled here.
    calls: FuturesUnordered<BoxFuture<'static, Heard>>,
    parts: Vec<Part>,
    sealed: Option<Rejection>,
    /// The definitions that were made last: several replicas may ask for the same.
    made: Option<(GroupId, Vec<SeriesId>, Vec<Batch>)>,
    defined: BTreeMap<(GroupId, u64, ReplicaId), u32>,
    defined_ids: Vec<SeriesId>,
    is_undefined: bool,
    /// Letters to come that say that something is over.
    ends: usize,
    /// Why it is to be tried again.
    retry: Option<Why>,
    is_invalid: bool,
}

impl<'a> Delivery<'a> {
    /// Sends what was encoded.
    pub(crate) fn begin(
        outgoing: &'a Arc<Outgoing>,
        routing: &'a Routing,
        encoded: Vec<EncodedBatch>,
        travel: Travel,
    ) -> Result<Delivery<'a>, AppendError> {
        let (mut parts, mut batches) = (Vec::with_capacity(encoded.len()), Vec::with_capacity(encoded.len()));
        for EncodedBatch { header, bytes, sample_count, histogram_count, defined } in encoded {
            let group = GroupId(header.group);
            parts.push(Part { key: (group, header.seq), sample_count, histogram_count, defined });
            batches.push((group, parse(bytes)?));
        }
        let mut by_caller = ByCaller::default();
        let begun = outgoing.submit(batches, travel, &mut by_caller);
        let Begun { request, mailbox, ends } = begun.map_err(|e| match e {
            SubmitError::Full { max, .. } => AppendError::Overload { limit_bytes: max },
            SubmitError::UnknownGroup(_) => AppendError::Unavailable(e.to_string()),
        })?;
        let delivery = Delivery {
            outgoing,
            routing,
            request,
            mailbox,
            calls: FuturesUnordered::new(),
            parts,
            sealed: None,
            made: None,
            defined: BTreeMap::new(),
            defined_ids: Vec::new(),
            is_undefined: false,
            ends,
            retry: None,
            is_invalid: false,
        };
        delivery.poll_here(by_caller);
        Ok(delivery)
    }

    fn poll_here(&self, by_caller: ByCaller) {
        for sending in by_caller.sendings {
            self.calls.push(sending.run(self.outgoing.members.clone()).boxed());
        }
    }

    /// Resolves when it is over. Dropped before, it ends what is on its way.
    pub(crate) async fn run(mut self, define: &impl Define) -> Result<Delivered, NotDelivered> {
        loop {
            for letter in self.mailbox.take() {
                match letter {
                    Letter::Define { to, group, batch, ids } => self.define(to, group, batch, ids, define),
                    Letter::Split { group, batch, sealed_before } => {
                        self.split(group, &batch, sealed_before).map_err(NotDelivered::Failed)?;
                    }
                    Letter::Part => return Err(NotDelivered::Parted),
                    Letter::Done(outcome) => {
                        self.ended(outcome);
                        if self.ends == 0 {
                            return self.over();
                        }
                    }
                }
            }
            tokio::select! {
                // Cancel-safe because what was heard is passed on at once, and letters stay where they are until they are taken.
                biased;
                Some(heard) = self.calls.next(), if !self.calls.is_empty() => self.outgoing.heard(heard),
                () = self.mailbox.wake.notified() => {}
            }
        }
    }

    fn define(&mut self, to: ReplicaId, group: GroupId, batch: Batch, ids: Vec<SeriesId>, define: &impl Define) {
        let key = (group, batch.key().seq);
        let times = self.defined.entry((group, key.1, to.clone())).or_default();
        *times += 1;
        if *times > DEFINED_MAX {
            return self.outgoing.answer_for(key, &to, PushReply::NotNow(NotNow::Unavailable));
        }
        if !self.made.as_ref().is_some_and(|(of, made, _)| *of == group && *made == ids) {
            self.made = define(group, &ids).map(|batches| (group, ids, batches));
        }
        let Some((_, ids, definitions)) = &self.made else {
            self.is_undefined = true;
            return self.outgoing.answer_for(key, &to, PushReply::NotNow(NotNow::Unavailable));
        };
        let bytes = definitions.iter().map(Payload::bytes).sum();
        let Some(reserved) = self.outgoing.reserve(bytes) else {
            let limit_bytes = self.outgoing.limits.definition_bytes_max;
            return self.outgoing.answer_for(key, &to, PushReply::Full { limit_bytes });
        };
        self.defined_ids.extend(ids);
        let mut by_caller = ByCaller { definitions: Some((definitions.clone(), reserved)), ..ByCaller::default() };
        self.outgoing.defined(group, &to, batch, &mut by_caller);
        self.poll_here(by_caller);
    }

    fn split(&mut self, group: GroupId, batch: &Batch, sealed_before: TimestampMs) -> Result<(), AppendError> {
        let key = (group, batch.key().seq);
        let Some(at) = self.parts.iter().position(|part| part.key == key) else { return Ok(()) };
        let before = self.parts.swap_remove(at);
        let rest = split(batch, sealed_before, || self.outgoing.name(group));
        let example = || format!("time before {sealed_before} takes no more samples");
        let none = || Rejection { reason: RejectReason::TooOld, sample_count: 0, example: example() };
        self.sealed.get_or_insert_with(none).sample_count += rest.sample_count;
        let batch = match rest.batch {
            None => None,
            Some((bytes, defined)) => {
                let batch = parse(bytes)?;
                let sample_count = before.sample_count.saturating_sub(rest.sample_count);
                let histogram_count = before.histogram_count.saturating_sub(rest.histogram_count);
                self.parts.push(Part { key: (group, batch.key().seq), sample_count, histogram_count, defined });
                Some(batch)
            }
        };
        let mut by_caller = ByCaller::default();
        self.outgoing.rest((self.request, group), batch, sealed_before, &mut by_caller);
        self.poll_here(by_caller);
        Ok(())
    }

    fn ended(&mut self, outcome: Outcome) {
        self.ends -= 1;
        match outcome {
            Outcome::Acked | Outcome::Refused { .. } => {}
            Outcome::Retry(why) => self.retry = self.retry.or(Some(why)),
            Outcome::Invalid => self.is_invalid = true,
        }
    }

    fn over(mut self) -> Result<Delivered, NotDelivered> {
        let said = self.mailbox.said();
        let limits = &self.outgoing.limits;
        // What helps when it is tried again is told before what does not.
        let error = match self.retry {
            None if self.is_invalid => {
                AppendError::Malformed(said.refused.unwrap_or_else(|| "refused by the replicas".to_owned()))
            }
            None => {
                let defined = self.parts.iter().flat_map(|part| &part.defined).chain(&self.defined_ids);
                defined.for_each(|id| self.routing.known.insert(*id));
                let sample_count = self.parts.iter().map(|part| part.sample_count).sum();
                let histogram_count = self.parts.iter().map(|part| part.histogram_count).sum();
                return Ok(Delivered { sample_count, histogram_count, sealed: self.sealed.take() });
            }
            Some(_) if self.is_undefined => return Err(NotDelivered::Undefined),
            Some(Why::Overload) => {
                let limit_bytes = said.limit_bytes.unwrap_or(limits.in_flight.replica_bytes_max);
                AppendError::Overload { limit_bytes }
            }
            Some(Why::Deadline) => {
                let why = said.unable.map_or_else(String::new, |why| format!(" ({why})"));
                let deadline = limits.in_flight.deadline;
                AppendError::Unavailable(format!("not enough replicas have answered within {deadline}{why}"))
            }
            Some(Why::Unavailable | Why::Refused) => {
                AppendError::Unavailable(said.unable.unwrap_or_else(|| "not enough replicas take samples".to_owned()))
            }
        };
        Err(NotDelivered::Failed(error))
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if self.ends > 0 {
            self.outgoing.abandon(self.request);
        }
    }
}

/// Checks a batch of our own making.
pub(crate) fn parse(bytes: Vec<u8>) -> Result<Batch, AppendError> {
    Batch::parse(bytes.into()).map_err(|e| AppendError::Unavailable(format!("BUG: own batch: {e}")))
}
