//! The writer: from a source of samples to acknowledgements.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use batch::{BATCH_BYTES_MAX, Batch};
use cluster::{ClusterMap, GroupId};
use model::{DurationMs, SeriesId, TenantId, TimestampMs};
use parking_lot::Mutex;
use peer::Members;
use storage::{AppendError, AppendOutcome};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::delivery::{Delivery, NotDelivered, parse};
use crate::encode::{Admission, Encoded, EncodedBatch, Pass, SampleSink, SampleSource, Workbench};
use crate::outgoing::{Outgoing, Stats, Travel};
use crate::routing::Routing;

/// How often a request is encoded: anew because a replica asks for series that the source cannot tell, and once because it
/// cannot be sent with others.
const ATTEMPTS_MAX: usize = 4;

/// Workbenches kept for the next requests; each holds as much as the largest request that it saw.
const WORKBENCHES_MAX: usize = 8;

/// How often deadlines and resends are looked at.
const TICK: Duration = Duration::from_millis(250);

/// Bounds of a writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far back samples are taken.
    pub window: DurationMs,
    /// How far ahead of the clock samples are taken.
    pub ahead: DurationMs,
    /// Series whose definitions are remembered as sent: bounds 18 bytes each.
    pub known_series_max: usize,
    /// Bounds and times of what is on its way.
    pub in_flight: replication::writer::Limits,
    /// Bytes of definitions on their way that replicas have asked for.
    pub definition_bytes_max: usize,
    /// Bounds of what is sent together.
    pub join: JoinLimits,
}

/// Bounds of requests that wait for each other while a batch of their group is under way.
#[derive(Clone, Copy, Debug)]
pub struct JoinLimits {
    /// How long one waits at most: what it may add to an acknowledgement.
    pub wait: DurationMs,
    /// Requests in one batch: what is tried again one by one where a replica does not take it.
    pub requests_max: usize,
    /// Bytes of one batch. A request of more than a quarter of that does not wait.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            window: DurationMs::hours(3),
            ahead: DurationMs::mins(10),
            known_series_max: 4_000_000,
            in_flight: replication::writer::Limits::default(),
            definition_bytes_max: 64 << 20,
            join: JoinLimits { wait: DurationMs(5), requests_max: 32, bytes_max: BATCH_BYTES_MAX },
        }
    }
}

impl Limits {
    /// Panics where the bounds contradict each other.
    fn validate(&self) {
        let in_flight = &self.in_flight;
        assert!(in_flight.replica_bytes_max >= BATCH_BYTES_MAX, "a batch can be on its way to a replica");
        assert!(
            in_flight.in_flight_bytes_max >= in_flight.replica_bytes_max,
            "what one replica may hold up is in flight"
        );
        assert!(self.definition_bytes_max >= BATCH_BYTES_MAX, "a batch of definitions can be on its way");
        assert!(self.join.bytes_max <= BATCH_BYTES_MAX, "what is joined is a batch");
    }

    /// A request that is larger is sent in turns, so that it does not meet a bound by itself.
    fn turn_bytes(&self) -> usize {
        self.in_flight.replica_bytes_max / 2
    }
}

/// Writes samples to groups of replicas.
pub struct Writer {
    outgoing: Arc<Outgoing>,
    limits: Limits,
    /// May change while running: a reload can.
    window_ms: AtomicI64,
    workbenches: Mutex<Vec<Workbench>>,
    clock: AbortHandle,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.clock.abort();
        self.outgoing.stop();
    }
}

impl Writer {
    /// `id` is drawn at random by the process at its start. To be called within a runtime: calls to replicas go on there.
    pub fn new(id: u64, map: watch::Receiver<Arc<ClusterMap>>, members: Arc<dyn Members>, limits: Limits) -> Writer {
        limits.validate();
        let runtime = Handle::current();
        let outgoing = Arc::new(Outgoing::new(id, members, limits, runtime.clone()));
        let mut map = map;
        let first = map.borrow_and_update().clone();
        outgoing.follow(&first);
        let clock = runtime.spawn(keep_time(Arc::downgrade(&outgoing), map)).abort_handle();
        Writer { outgoing, window_ms: AtomicI64::new(limits.window.0), limits, workbenches: Mutex::default(), clock }
    }

    /// Changes how far back samples are taken.
    pub fn set_window(&self, window: DurationMs) {
        self.window_ms.store(window.0, Ordering::Relaxed);
    }

    /// Changes when series were forgotten that were known; see [`SampleSink::last_written_at`].
    pub fn epoch(&self) -> u64 {
        self.outgoing.routing().map_or(0, |routing| routing.known.epoch())
    }

    /// What is let in at `now`.
    pub fn admission(&self, now: TimestampMs) -> Admission {
        let window = DurationMs(self.window_ms.load(Ordering::Relaxed));
        Admission { oldest: now - window, newest: now + self.limits.ahead }
    }

    /// How it is.
    pub fn stats(&self) -> Stats {
        self.outgoing.stats()
    }

    /// Writes all of `source`. `Ok` means that all that was not refused is durable; an error that nothing is known, and the
    /// caller should try again, unless it is said to be the caller's.
    pub async fn write(
        &self,
        tenant: &TenantId,
        source: &(impl SampleSource + Sync + ?Sized),
        now: TimestampMs,
    ) -> Result<AppendOutcome, AppendError> {
        self.write_admitted(tenant, source, self.admission(now)).await
    }

    /// As [`Writer::write`], for a caller that does admission by its own rules.
    pub async fn write_admitted(
        &self,
        tenant: &TenantId,
        source: &(impl SampleSource + Sync + ?Sized),
        admission: Admission,
    ) -> Result<AppendOutcome, AppendError> {
        let mut travel = Travel::InCompany;
        for _ in 0..ATTEMPTS_MAX {
            let routing = self.outgoing.routing().map_err(|e| AppendError::Unavailable(e.to_string()))?;
            let encoded = self.encode(&routing, tenant, source, admission)?;
            let mut outcome = AppendOutcome {
                stored_samples: 0,
                stored_histograms: 0,
                stored_exemplars: encoded.exemplar_count,
                rejections: encoded.rejections,
            };
            let define = |group: GroupId, ids: &[SeriesId]| self.define(&routing, tenant, source, group, ids);
            let mut left = VecDeque::from(encoded.batches);
            loop {
                let turn = self.next_turn(&mut left);
                if turn.is_empty() {
                    return Ok(outcome);
                }
                let delivery = Delivery::begin(&self.outgoing, &routing, turn, travel)?;
                match delivery.run(&define).await {
                    Ok(delivered) => {
                        outcome.stored_samples += delivered.sample_count;
                        outcome.stored_histograms += delivered.histogram_count;
                        outcome.rejections.extend(delivered.sealed);
                    }
                    Err(NotDelivered::Failed(e)) => return Err(e),
                    Err(NotDelivered::Undefined) => break,
                    Err(NotDelivered::Parted) => {
                        travel = Travel::Alone;
                        break;
                    }
                }
            }
        }
        Err(AppendError::Unavailable("a replica keeps asking for definitions that nobody has".to_owned()))
    }

    fn next_turn(&self, left: &mut VecDeque<EncodedBatch>) -> Vec<EncodedBatch> {
        let (mut turn, mut bytes) = (Vec::with_capacity(left.len()), 0);
        while let Some(batch) = left.pop_front() {
            bytes += batch.bytes.len();
            turn.push(batch);
            if left.front().is_some_and(|next| bytes + next.bytes.len() > self.limits.turn_bytes()) {
                break;
            }
        }
        turn
    }

    fn encode(
        &self,
        routing: &Routing,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        admission: Admission,
    ) -> Result<Encoded, AppendError> {
        let workbench = self.workbenches.lock().pop().unwrap_or_default();
        let (encoded, workbench) = self.walk(routing, tenant, source, admission, Pass::AllKnown, workbench)?;
        let unknown = routing.known.unknown(&workbench.met);
        let (encoded, workbench) = if unknown.is_empty() {
            (encoded, workbench)
        } else {
            drop(encoded);
            self.walk(routing, tenant, source, admission, Pass::Defining(unknown), workbench)?
        };
        self.put_back(workbench);
        Ok(encoded)
    }

    /// Batches of nothing but the definitions of these series; `None` where some are not in the source (any more).
    fn define(
        &self,
        routing: &Routing,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        group: GroupId,
        ids: &[SeriesId],
    ) -> Option<Vec<Batch>> {
        let workbench = self.workbenches.lock().pop().unwrap_or_default();
        let pass = Pass::Definitions(ids.iter().copied().collect());
        let everything = Admission { oldest: TimestampMs::MIN, newest: TimestampMs::MAX };
        let (encoded, workbench) = self.walk(routing, tenant, source, everything, pass, workbench).ok()?;
        self.put_back(workbench);
        let is_told = encoded.undefined == 0 && encoded.batches.iter().all(|batch| batch.header.group == group.0);
        let batches = encoded.batches.into_iter().map(|batch| parse(batch.bytes).ok());
        if is_told { batches.collect() } else { None }
    }

    fn put_back(&self, workbench: Workbench) {
        let mut spare = self.workbenches.lock();
        if spare.len() < WORKBENCHES_MAX {
            spare.push(workbench);
        }
    }

    fn walk(
        &self,
        routing: &Routing,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        admission: Admission,
        pass: Pass,
        workbench: Workbench,
    ) -> Result<(Encoded, Workbench), AppendError> {
        let mut name = |group| self.outgoing.name(group);
        let pass = (pass, routing.known.epoch());
        let mut sink = SampleSink::new(tenant, routing, admission, pass, &mut name, workbench);
        source.walk(&mut sink).map_err(AppendError::Malformed)?;
        Ok(sink.finish())
    }
}

/// Lets the protocol's time pass and follows the map, as long as the writer is there.
async fn keep_time(outgoing: Weak<Outgoing>, mut map: watch::Receiver<Arc<ClusterMap>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_followed = true;
    loop {
        let newer = tokio::select! {
            // Cancel-safe because neither loses anything.
            _ = ticks.tick() => None,
            changed = map.changed(), if is_followed => {
                is_followed = changed.is_ok();
                Some(map.borrow_and_update().clone())
            }
        };
        let Some(outgoing) = outgoing.upgrade() else { return };
        match newer {
            Some(map) => outgoing.follow(&map),
            None => outgoing.tick(),
        }
    }
}
