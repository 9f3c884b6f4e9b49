//! Sending batches until every one is acknowledged or the caller has to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use batch::{Batch, BatchHeader};
use model::{DurationMs, TenantId, TimestampMs};
use parking_lot::Mutex;
use storage::{AppendError, AppendOutcome, RejectReason, Rejection};

use crate::encode::{Admission, Encoded, EncodedBatch, SampleSink, SampleSource, Workbench};
use crate::known::{KnownSeries, Unknown};
use crate::replica::{PushReply, Replica};

/// How often a request is encoded again because a replica asks for definitions. Once is the rule; more only if series are
/// forgotten between two attempts.
const ATTEMPTS_MAX: usize = 3;

/// Workbenches kept for the next requests; each holds as much as the largest request that it saw.
const WORKBENCHES_MAX: usize = 8;

/// Bounds of a writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of partitions of the cluster.
    pub partition_count: u32,
    /// How far back samples are taken.
    pub window: DurationMs,
    /// How far ahead of the clock samples are taken.
    pub ahead: DurationMs,
    /// Series whose definitions are remembered as sent: bounds 18 bytes each.
    pub known_series_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            partition_count: 16,
            window: DurationMs::hours(3),
            ahead: DurationMs::mins(10),
            known_series_max: 4_000_000,
        }
    }
}

/// Writes samples to a group of replicas.
pub struct Writer {
    replica: Arc<dyn Replica>,
    limits: Limits,
    /// May change while running: a reload can.
    window_ms: std::sync::atomic::AtomicI64,
    id: u64,
    group: u32,
    generation: u64,
    seq: AtomicU64,
    known: KnownSeries,
    workbenches: Mutex<Vec<Workbench>>,
}

impl Writer {
    /// `id` is drawn at random by the process at its start.
    pub fn new(replica: Arc<dyn Replica>, group: u32, generation: u64, id: u64, limits: Limits) -> Writer {
        Writer {
            replica,
            window_ms: std::sync::atomic::AtomicI64::new(limits.window.0),
            known: KnownSeries::new(limits.partition_count, limits.known_series_max),
            limits,
            id,
            group,
            generation,
            seq: AtomicU64::new(1),
            workbenches: Mutex::default(),
        }
    }

    /// Changes how far back samples are taken.
    pub fn set_window(&self, window: DurationMs) {
        self.window_ms.store(window.0, Ordering::Relaxed);
    }

    /// Changes when series were forgotten that were known; see [`SampleSource::defined_at`].
    pub fn epoch(&self) -> u64 {
        self.known.epoch()
    }

    /// What is let in at `now`.
    pub fn admission(&self, now: TimestampMs) -> Admission {
        let window = DurationMs(self.window_ms.load(Ordering::Relaxed));
        Admission { oldest: now - window, newest: now + self.limits.ahead }
    }

    /// Writes all of `source`. `Ok` means that all that was not refused is durable; an error that nothing is known, and the
    /// caller should try again.
    pub async fn write(
        &self,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        now: TimestampMs,
    ) -> Result<AppendOutcome, AppendError> {
        self.write_admitted(tenant, source, self.admission(now)).await
    }

    /// As [`Writer::write`], for a caller that does admission by its own rules.
    pub async fn write_admitted(
        &self,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        admission: Admission,
    ) -> Result<AppendOutcome, AppendError> {
        for _ in 0..ATTEMPTS_MAX {
            let encoded = self.encode(tenant, source, admission)?;
            let mut outcome = AppendOutcome {
                stored_samples: 0,
                stored_exemplars: encoded.exemplar_count,
                rejections: encoded.rejections,
            };
            match self.send(encoded.batches, &mut outcome).await? {
                Sent::All => return Ok(outcome),
                Sent::Again => {}
            }
        }
        Err(AppendError::Unavailable("the replica keeps asking for definitions".to_owned()))
    }

    fn encode(
        &self,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        admission: Admission,
    ) -> Result<Encoded, AppendError> {
        let spare = self.workbenches.lock().pop();
        let workbench = spare.unwrap_or_else(|| Workbench::new(self.limits.partition_count));
        let (encoded, workbench) = self.encode_with(tenant, source, admission, None, workbench)?;
        let unknown = self.known.unknown(&workbench.met);
        let (encoded, workbench) = if unknown.is_empty() {
            (encoded, workbench)
        } else {
            drop(encoded);
            self.encode_with(tenant, source, admission, Some(unknown), workbench)?
        };
        let mut spare = self.workbenches.lock();
        if spare.len() < WORKBENCHES_MAX {
            spare.push(workbench);
        }
        Ok(encoded)
    }

    fn encode_with(
        &self,
        tenant: &TenantId,
        source: &(impl SampleSource + ?Sized),
        admission: Admission,
        unknown: Option<Unknown>,
        workbench: Workbench,
    ) -> Result<(Encoded, Workbench), AppendError> {
        let mut header = || BatchHeader {
            group: self.group,
            generation: self.generation,
            writer: self.id,
            seq: self.seq.fetch_add(1, Ordering::Relaxed),
        };
        let partition_count = self.limits.partition_count;
        let remembered_are_known = source.defined_at() == Some(self.known.epoch());
        let mut sink =
            SampleSink::new(tenant, partition_count, admission, unknown, remembered_are_known, &mut header, workbench);
        source.walk(&mut sink).map_err(AppendError::Malformed)?;
        Ok(sink.finish())
    }

    /// One after the other: a later batch may rely on the definitions of an earlier one.
    async fn send(&self, batches: Vec<EncodedBatch>, outcome: &mut AppendOutcome) -> Result<Sent, AppendError> {
        for EncodedBatch { bytes, sample_count, defined } in batches {
            let batch =
                Batch::parse(bytes.into()).map_err(|e| AppendError::Unavailable(format!("BUG: own batch: {e}")))?;
            match self.replica.push(batch).await {
                PushReply::Ok { .. } => {
                    outcome.stored_samples += sample_count;
                    defined.into_iter().for_each(|id| self.known.insert(id));
                }
                PushReply::Need(ids) => {
                    ids.into_iter().for_each(|id| self.known.remove(id));
                    return Ok(Sent::Again);
                }
                PushReply::Sealed(before) => {
                    let example = format!("time before {before} takes no more samples");
                    outcome.rejections.push(Rejection { reason: RejectReason::TooOld, sample_count, example });
                }
                PushReply::Full { limit_bytes } => return Err(AppendError::Overload { limit_bytes }),
                PushReply::NotNow(why) => return Err(AppendError::Unavailable(why)),
                PushReply::Refused(why) => return Err(AppendError::Unavailable(format!("refused: {why}"))),
            }
        }
        Ok(Sent::All)
    }
}

enum Sent {
    All,
    Again,
}
