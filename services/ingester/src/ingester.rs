//! One replica: takes batches, answers reads, snapshots itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use batch::Batch;
use cluster::{DecodeError, GroupId, Replica as ReplicaId};
use head::Head;
use model::{DurationMs, TimeRange, TimestampMs};
use parking_lot::{Condvar, Mutex, RwLock};
use replication::range::{RANGE, end_of};
use replication::replica::{Effects, NotNow, PushReply, Reply, SealReply, Token};
use replication::{Entry, Position, State};
use storage::chain;
use tokio::sync::oneshot;

use crate::bodies::Bodies;
use crate::config::{Clock, Config, Window};
use crate::group::{Core, Group, InFlight, Waiter};
use crate::pipeline::{Failures, Pipeline, Shared};
use crate::pull::{PeerStatus, Pulls};
use crate::records::{self, RecordError};
use crate::recover::{self, Damage, Recovery};

/// Timestamps are stored in 48 bits of milliseconds.
pub(crate) const TIME_MAX: i64 = 1 << 46;

/// Why an ingester cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The head's files.
    #[error("open head")]
    Head(#[from] head::Error),
    /// The log's files.
    #[error("open log")]
    Log(#[from] wal::Error),
    /// A snapshot of another version.
    #[error("read the state in the snapshot")]
    State(#[from] DecodeError),
    /// A log of another version.
    #[error("read log")]
    Version(#[from] RecordError),
    /// The directory of a member of a larger group has lost something: it is to be put aside, and the node to come back with an
    /// empty directory as a new incarnation.
    #[error("the directory is damaged: it cannot come back as the same replica")]
    Damaged(#[from] Damage),
    /// The directory is another group's.
    #[error("the directory belongs to group {found}, not {wanted}")]
    OtherGroup {
        /// What was found.
        found: GroupId,
        /// What the map says.
        wanted: GroupId,
    },
    /// No threads.
    #[error("start a thread")]
    Thread(#[from] std::io::Error),
}

/// What an ingester says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Position of the last batch applied.
    pub applied: u64,
    /// Why nothing is acknowledged, while it is so.
    pub log_failure: Option<String>,
    /// Bytes of batches not yet acknowledged.
    pub in_flight_bytes: usize,
    /// Bytes logged since the last snapshot.
    pub logged_bytes: usize,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// Batches refused because they define an id under which other labels are held.
    pub conflicts: u64,
    /// How far it is behind its peers.
    pub peers: BTreeMap<ReplicaId, PeerStatus>,
}

/// A replica of a group.
pub struct Ingester {
    pub(crate) shared: Arc<Shared>,
    /// Taken for writing only to stop.
    pipeline: RwLock<Pipeline>,
    pub(crate) replica: ReplicaId,
    pub(crate) group: GroupId,
    pub(crate) clock: Clock,
    pub(crate) window: Window,
    pub(crate) pulls: Pulls,
    recovery: Recovery,
    in_flight_bytes_max: usize,
    log_bytes_max: u64,
    snapshot_after_bytes: usize,
    conflicts: AtomicU64,
    /// One snapshot at a time, and the state of what truncation may rely on.
    snapshot: Mutex<SnapshotState>,
    /// What was freed lies before this.
    freed_before: Mutex<TimestampMs>,
}

/// What the kept snapshots refer to.
#[derive(Default)]
struct SnapshotState {
    /// `freed_before` at the last snapshot: at the next one, no kept snapshot refers to older chunks.
    freed_before: Option<TimestampMs>,
}

/// What becomes of a batch that was offered.
pub(crate) enum Pushed {
    Now(PushReply),
    Later(oneshot::Receiver<PushReply>),
    /// A batch that is held already is acknowledged when it is applied, too.
    Held(oneshot::Receiver<Position>, PushReply),
}

impl Pushed {
    /// Nobody is left to answer when the ingester stops.
    pub(crate) async fn reply(self) -> PushReply {
        match self {
            Pushed::Now(reply) => reply,
            Pushed::Later(reply) => reply.await.unwrap_or(PushReply::NotNow(NotNow::Unavailable)),
            Pushed::Held(settled, reply) => match settled.await {
                Ok(_) => reply,
                Err(_) => PushReply::NotNow(NotNow::Unavailable),
            },
        }
    }
}

impl Ingester {
    /// Opens the directory and replays its log; blocks.
    pub fn open(config: Config) -> Result<Arc<Ingester>, OpenError> {
        let limits = replication::replica::Limits {
            pending_bytes_max: config.in_flight_bytes_max,
            ..replication::replica::Limits::default()
        };
        let opened = recover::open(&config, limits)?;
        let log_bytes = opened.log.bytes();
        let lookup = wal::Lookup::new(config.disk.clone(), &config.folder.join("log"));
        let shared = Arc::new(Shared {
            bodies: Bodies::new(lookup, config.newest_bytes_max, rand::random()),
            head: Arc::new(opened.head),
            group: Mutex::new(Group::new(opened.core, opened.effects, limits.waiting_max)),
            wake: Condvar::new(),
            in_flight_bytes: Arc::new(AtomicUsize::new(0)),
            logged_bytes: AtomicUsize::new(0),
            snapshot_position: Mutex::new(0),
            unapplied: AtomicUsize::new(0),
            holes: Mutex::default(),
            failures: Mutex::new(Failures::default()),
            refuses: AtomicBool::new(false),
            may_truncate: AtomicBool::new(false),
            log_bytes: AtomicU64::new(log_bytes),
        });
        let pipeline = Pipeline::start(opened.log, shared.clone(), config.sync)?;
        Ok(Arc::new(Ingester {
            shared,
            pipeline: RwLock::new(pipeline),
            replica: config.replica,
            group: config.entry.id(),
            clock: config.clock,
            window: config.window,
            pulls: Pulls::default(),
            recovery: opened.recovery,
            in_flight_bytes_max: config.in_flight_bytes_max,
            log_bytes_max: config.log_bytes_max,
            snapshot_after_bytes: config.snapshot_after_bytes,
            conflicts: AtomicU64::new(0),
            snapshot: Mutex::default(),
            freed_before: Mutex::new(opened.freed_before),
        }))
    }

    /// Which replica this is.
    pub fn replica(&self) -> &ReplicaId {
        &self.replica
    }

    /// The newest generation entry that it has seen.
    pub fn entry(&self) -> Entry {
        self.shared.lock().core.appended_state().entry.clone()
    }

    /// Takes in an entry of its group that came by whatever way; an older one does nothing.
    pub fn adopt(&self, entry: &Entry) {
        let mut group = self.shared.lock();
        let effects = group.core.adopt(entry);
        let is_logged = !effects.append.is_empty();
        group.log(effects);
        drop(group);
        if is_logged {
            self.shared.wake.notify_one();
        }
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The samples in memory.
    pub fn head(&self) -> &Arc<Head> {
        &self.shared.head
    }

    /// What the replica has durably decided.
    pub fn state(&self) -> State {
        self.shared.lock().core.durable().clone()
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
        let state = self.state();
        let closed = state.dropped.keys().next_back().map(|start| end_of(*start));
        let held = self.shared.head.time_bounds().map_or(now, |(mint, _)| mint);
        let oldest = closed.unwrap_or(held).max(state.watermark);
        TimeRange::new(oldest.min(now), TimestampMs(now.0 + 1))
    }

    /// How it is.
    pub fn status(&self) -> Status {
        Status {
            applied: self.shared.head.applied(),
            log_failure: self.shared.failure(),
            in_flight_bytes: self.shared.in_flight_bytes.load(Ordering::Relaxed),
            logged_bytes: self.shared.logged_bytes.load(Ordering::Relaxed),
            log_bytes: self.shared.log_bytes.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            peers: self.peers(),
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
        let freed = *self.freed_before.lock();
        // The state may be ahead of the samples: what is behind them in the log is read again, and nothing in it goes back.
        let older = self.shared.head.write_snapshot(|| records::encode_state(self.shared.lock().core.durable()))?;
        self.shared.logged_bytes.fetch_sub(logged, Ordering::Relaxed);
        *self.shared.snapshot_position.lock() = older;
        self.shared.look_at_truncation();
        if let Some(before) = state.freed_before.replace(freed) {
            self.shared.head.remove_chunk_files_before(before)?;
        }
        Ok(())
    }

    /// Has the core log something, and resolves when that is durable and applied. An error when the log does not work; what was
    /// to be logged may then still come to be.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&mut Core) -> Effects<Arc<Batch>>,
    ) -> Result<Position, LogFailed> {
        let settled = {
            let mut group = self.shared.lock();
            let effects = change(&mut group.core);
            group.log(effects);
            group.settled()
        };
        self.shared.wake.notify_one();
        settled.await.map_err(|_| no_answer(&self.shared))
    }

    /// Puts a question to the core. The receiver fails where there is no answer: the log does not work, too many wait, or the
    /// question is another group's.
    pub(crate) fn ask<T>(
        &self,
        waiter: impl FnOnce(oneshot::Sender<T>) -> Waiter,
        question: impl FnOnce(&mut Core, Token) -> Effects<Arc<Batch>>,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let said = self.shared.lock().ask(waiter(sender), head::Refs::default(), question);
        match said {
            Some((waiter, reply)) => waiter.hear(reply),
            None => {
                self.shared.wake.notify_one();
            }
        }
        receiver
    }

    /// Seals the range that starts here, asked for at `entry` or at whatever generation this replica is, at `now`.
    pub(crate) fn seal_at(
        &self,
        entry: Option<Entry>,
        start: TimestampMs,
        window: DurationMs,
        now: TimestampMs,
    ) -> impl Future<Output = Result<SealReply, LogFailed>> + use<> {
        let answer = self.ask(Waiter::Seal, |core, token| {
            let entry = entry.unwrap_or_else(|| core.appended_state().entry.clone());
            core.seal(token, &entry, start, window, now)
        });
        let shared = self.shared.clone();
        async move { answer.await.map_err(|_| no_answer(&shared)) }
    }

    /// Frees the memory of the ranges before this that were freed in the log.
    pub(crate) async fn collect(self: &Arc<Ingester>) -> Result<usize, tokio::task::JoinError> {
        let this = self.clone();
        let collect = move || {
            let state = this.state();
            let Some(before) = recover::collectable(&state, &this.shared.head) else { return 0 };
            let gone = this.shared.head.collect_garbage(before);
            let mut freed_before = this.freed_before.lock();
            *freed_before = before.max(*freed_before);
            gone
        };
        tokio::task::spawn_blocking(collect).await
    }

    /// Starts of the ranges of which samples are held and that were not freed; walks over all series.
    pub(crate) fn held_ranges(&self) -> std::collections::BTreeSet<TimestampMs> {
        self.shared.head.stretches_from(*self.freed_before.lock(), RANGE)
    }

    /// Checks a batch and offers it to the replica, at `entry`.
    pub(crate) fn offer(&self, entry: &Entry, batch: Batch) -> Pushed {
        let bytes = batch.bytes().len();
        if self.shared.refuses.load(Ordering::Acquire) {
            return Pushed::Now(PushReply::NotNow(NotNow::Unavailable));
        }
        let Some(in_flight) = InFlight::take(&self.shared.in_flight_bytes, bytes, self.in_flight_bytes_max) else {
            return Pushed::Now(PushReply::Full { limit_bytes: self.in_flight_bytes_max });
        };
        if self.shared.log_bytes.load(Ordering::Relaxed) > self.log_bytes_max {
            let limit_bytes = usize::try_from(self.log_bytes_max).unwrap_or(usize::MAX);
            return Pushed::Now(PushReply::Full { limit_bytes });
        }
        let (refs, unknown) = match self.shared.head.check(&batch) {
            Ok(refs) => (refs, Vec::new()),
            Err(unknown) => (head::Refs::default(), unknown),
        };
        if let Some(id) = self.shared.head.conflicting_definition(&batch) {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            return Pushed::Now(PushReply::Refused(format!("{id:?} is held with other labels")));
        }
        let batch = Arc::new(batch);
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter::Push { reply, in_flight };
        let mut group = self.shared.lock();
        let said = group.ask(waiter, refs, |core, token| core.push(token, entry, batch, unknown));
        let is_held = matches!(said, Some((_, Reply::Push(PushReply::Ok(_)))));
        let settled = is_held.then(|| group.settled());
        drop(group);
        match (said, settled) {
            (Some((_, Reply::Push(reply))), Some(settled)) => {
                self.shared.wake.notify_one();
                Pushed::Held(settled, reply)
            }
            (Some((_, Reply::Push(reply))), None) => Pushed::Now(reply),
            _ => {
                self.shared.wake.notify_one();
                Pushed::Later(answer)
            }
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

/// The log takes nothing at the moment, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogFailed(pub String);

pub(crate) fn no_answer(shared: &Shared) -> LogFailed {
    LogFailed(shared.failure().unwrap_or_else(|| "it is stopping, or it is asked for too much".to_owned()))
}

/// Resolves when told to stop, or when nobody is left to tell.
pub(crate) async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    drop(stop.wait_for(|s| *s).await);
}
