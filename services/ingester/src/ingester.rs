//! One replica: takes batches, answers reads, snapshots itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batch::Batch;
use disk::Disk;
use futures::FutureExt;
use futures::future::BoxFuture;
use head::Head;
use model::{TimeRange, TimestampMs};
use parking_lot::{Mutex, RwLock};
use storage::chain;
use tokio::sync::oneshot;
use writer::{PushReply, Replica};

use crate::control::{Change, Control};
pub use crate::pipeline::Sync;
use crate::pipeline::{Entry, Pipeline, Shared};
use crate::recover::{self, Recovery};

/// Timestamps are stored in 48 bits of milliseconds.
const TIME_MAX: i64 = 1 << 46;

/// How an ingester is set up.
#[derive(Clone)]
pub struct Config {
    /// The data directory.
    pub folder: PathBuf,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// When to sync.
    pub sync: Sync,
    /// Number of partitions of the cluster.
    pub partition_count: u32,
    /// Exemplars kept per tenant.
    pub exemplars_max: usize,
    /// Bytes of batches between arrival and acknowledgement; beyond it writers are told to come back.
    pub in_flight_bytes_max: usize,
    /// The generation of the group.
    pub generation: u64,
    /// A snapshot is due after so many bytes of log.
    pub snapshot_after_bytes: usize,
    /// Bounds of the log.
    pub log: wal::Limits,
}

impl Config {
    /// Defaults over the files of `folder`.
    pub fn new(folder: PathBuf) -> Config {
        Config {
            folder,
            disk: Arc::new(disk::RealDisk),
            sync: Sync::EveryCommit,
            partition_count: 16,
            exemplars_max: 100_000,
            in_flight_bytes_max: 64 << 20,
            generation: 1,
            snapshot_after_bytes: 256 << 20,
            log: wal::Limits::default(),
        }
    }
}

/// Why an ingester cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The head's files.
    #[error("open head")]
    Head(#[from] head::Error),
    /// The log's files.
    #[error("open log")]
    Log(#[from] wal::Error),
    /// A snapshot of a later version.
    #[error("the snapshot holds a state that this version does not know")]
    UnknownState,
    /// No threads.
    #[error("start a thread")]
    Thread(#[from] std::io::Error),
}

/// What an ingester says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Position of the last batch applied.
    pub applied: u64,
    /// Why the log takes nothing, while it does not.
    pub log_failure: Option<String>,
    /// Bytes of batches not yet acknowledged.
    pub in_flight_bytes: usize,
    /// Bytes logged since the last snapshot.
    pub logged_bytes: usize,
}

/// A replica of a group.
pub struct Ingester {
    shared: Arc<Shared>,
    /// Taken for writing only to stop.
    pipeline: RwLock<Pipeline>,
    recovery: Recovery,
    snapshot_after_bytes: usize,
    /// One snapshot at a time, and the state of what truncation may rely on.
    snapshot: Mutex<SnapshotState>,
}

/// What the kept snapshots refer to.
#[derive(Default)]
struct SnapshotState {
    /// `freed_before` at the last snapshot: at the next one, no kept snapshot refers to older chunks.
    freed_before: Option<TimestampMs>,
}

impl Ingester {
    /// Opens the directory and replays its log; blocks.
    pub fn open(config: Config) -> Result<Arc<Ingester>, OpenError> {
        let head_limits = head::Limits {
            partition_count: config.partition_count,
            exemplars_max: config.exemplars_max,
            ..head::Limits::default()
        };
        let opened = recover::open(config.disk.clone(), &config.folder, head_limits, config.log)?;
        let shared = Arc::new(Shared {
            head: Arc::new(opened.head),
            control: Mutex::new(opened.control),
            generation: config.generation,
            in_flight_bytes: AtomicUsize::new(0),
            in_flight_bytes_max: config.in_flight_bytes_max,
            logged_bytes: AtomicUsize::new(0),
            truncate_before: Mutex::new(0),
            unapplied: AtomicUsize::new(0),
            holes: Mutex::default(),
            log_failure: Mutex::new(None),
        });
        let pipeline = Pipeline::start(opened.log, shared.clone(), config.sync)?;
        Ok(Arc::new(Ingester {
            shared,
            pipeline: RwLock::new(pipeline),
            recovery: opened.recovery,
            snapshot_after_bytes: config.snapshot_after_bytes,
            snapshot: Mutex::default(),
        }))
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The samples in memory.
    pub fn head(&self) -> &Arc<Head> {
        &self.shared.head
    }

    /// Sealed, dropped and freed ranges.
    pub fn control(&self) -> Control {
        self.shared.control.lock().clone()
    }

    /// The ranges of which acknowledged samples were lost for good: the cluster map's record. Answers name them.
    pub fn set_holes(&self, holes: Vec<TimeRange>) {
        *self.shared.holes.lock() = holes;
    }

    pub(crate) fn holes(&self) -> Vec<TimeRange> {
        self.shared.holes.lock().clone()
    }

    /// The time that damage to the log may have taken samples from, at `now`: all that no block holds.
    pub fn unclosed_range(&self, now: TimestampMs) -> TimeRange {
        let control = self.control();
        let closed = control.dropped.keys().next_back().map(|start| *start + crate::RANGE);
        let held = self.shared.head.time_bounds().map_or(now, |(mint, _)| mint);
        let oldest = closed.unwrap_or(held).max(control.freed_before);
        TimeRange::new(oldest.min(now), TimestampMs(now.0 + 1))
    }

    /// How it is.
    pub fn status(&self) -> Status {
        Status {
            applied: self.shared.head.applied(),
            log_failure: self.shared.log_failure.lock().clone(),
            in_flight_bytes: self.shared.in_flight_bytes.load(Ordering::Relaxed),
            logged_bytes: self.shared.logged_bytes.load(Ordering::Relaxed),
        }
    }

    /// Takes no more batches, finishes and syncs those taken; blocks.
    pub fn stop(&self) {
        self.pipeline.write().stop();
    }

    /// Whether enough was logged since the last snapshot.
    pub fn snapshot_is_due(&self) -> bool {
        self.shared.logged_bytes.load(Ordering::Relaxed) >= self.snapshot_after_bytes
    }

    /// Writes a snapshot and lets the log be truncated to what the older of the two kept ones needs; blocks.
    pub fn write_snapshot(&self) -> Result<(), head::Error> {
        let mut state = self.snapshot.lock();
        let logged = self.shared.logged_bytes.load(Ordering::Relaxed);
        let mut freed = TimestampMs::MIN;
        let older = self.shared.head.write_snapshot(|| {
            let control = self.shared.control.lock();
            freed = control.freed_before;
            control.encode()
        })?;
        self.shared.logged_bytes.fetch_sub(logged, Ordering::Relaxed);
        *self.shared.truncate_before.lock() = older + 1;
        if let Some(before) = state.freed_before.replace(freed) {
            self.shared.head.remove_chunk_files_before(before)?;
        }
        Ok(())
    }

    /// From now on no batch may touch time before this. Resolves when that is durable.
    pub async fn seal_before(&self, before: TimestampMs) -> Result<u64, String> {
        self.change(Change::Seal { before }).await
    }

    /// The range from `start` is in the blocks that `manifest` lists.
    pub async fn dropped(&self, start: TimestampMs, manifest: String) -> Result<u64, String> {
        self.change(Change::Dropped { start, manifest }).await
    }

    /// Frees the memory of samples before this, which blocks hold.
    pub async fn free_before(&self, before: TimestampMs) -> Result<usize, String> {
        self.change(Change::Freed { before }).await?;
        let head = self.shared.head.clone();
        let collected = tokio::task::spawn_blocking(move || head.collect_garbage(before)).await;
        collected.map_err(|e| e.to_string())
    }

    async fn change(&self, change: Change) -> Result<u64, String> {
        let (reply, answer) = oneshot::channel();
        if !self.pipeline.read().offer(Entry::Change { change, reply }) {
            return Err("the log's queue is full or closed".to_owned());
        }
        answer.await.unwrap_or_else(|_| Err("the ingester is stopping".to_owned()))
    }

    /// Checks a batch and queues it for the log.
    fn admit(&self, batch: Batch) -> Result<oneshot::Receiver<PushReply>, PushReply> {
        let limit_bytes = self.shared.in_flight_bytes_max;
        let bytes = batch.bytes().len();
        if batch.time_bounds().is_some_and(|(mint, maxt)| mint < -TIME_MAX || maxt > TIME_MAX) {
            return Err(PushReply::Refused("a timestamp is beyond the year 4000".to_owned()));
        }
        if self.shared.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > limit_bytes {
            self.shared.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(PushReply::Full { limit_bytes });
        }
        let give_back = |reply| {
            self.shared.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
            reply
        };
        let refs = self.shared.head.check(&batch).map_err(|ids| give_back(PushReply::Need(ids)))?;
        if let Some(id) = self.shared.head.conflicting_definition(&batch) {
            return Err(give_back(PushReply::Refused(format!("{id:?} is held with other labels"))));
        }
        let (reply, answer) = oneshot::channel();
        let entry = Entry::Batch { batch, refs, reply };
        if self.pipeline.read().offer(entry) {
            Ok(answer)
        } else {
            Err(give_back(PushReply::NotNow("the log's queue is full or closed".to_owned())))
        }
    }

    /// Snapshots when due, until stopped; `interval` is how often one is due in any case.
    pub async fn snapshot_loop(self: Arc<Ingester>, interval: Duration, mut stop: tokio::sync::watch::Receiver<bool>) {
        let mut last = tokio::time::Instant::now();
        loop {
            tokio::select! {
                // Cancel-safe because nothing is awaited but time and the stop signal.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = stopped(&mut stop) => return,
            }
            let timed = last.elapsed() >= interval && self.shared.logged_bytes.load(Ordering::Relaxed) > 0;
            if !timed && !self.snapshot_is_due() {
                continue;
            }
            let this = self.clone();
            let written = tokio::task::spawn_blocking(move || this.write_snapshot()).await;
            match written {
                Ok(Ok(())) => tracing::info!(elapsed_ms = last.elapsed().as_millis() as u64, "head snapshot written"),
                Ok(Err(e)) => tracing::warn!(error = %chain(&e), "write head snapshot failed"),
                Err(e) => tracing::error!(error = %e, "write head snapshot panicked"),
            }
            last = tokio::time::Instant::now();
        }
    }
}

/// Resolves when told to stop, or when nobody is left to tell.
async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    drop(stop.wait_for(|s| *s).await);
}

impl Replica for Ingester {
    fn push(&self, batch: Batch) -> BoxFuture<'static, PushReply> {
        match self.admit(batch) {
            Ok(answer) => {
                async { answer.await.unwrap_or(PushReply::NotNow("the ingester is stopping".to_owned())) }.boxed()
            }
            Err(reply) => futures::future::ready(reply).boxed(),
        }
    }
}
