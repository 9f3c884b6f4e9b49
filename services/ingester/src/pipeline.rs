//! The two threads behind an ingester: log and apply.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use batch::Batch;
use head::{Head, Refs};
use model::{TimeRange, TimestampMs};
use parking_lot::Mutex;
use storage::chain;
use tokio::sync::oneshot;
use tracing::{error, warn};
use wal::{Log, Position};
use writer::PushReply;

use crate::control::{Change, Control, KIND_BATCH};

/// Batches waiting for the log; beyond it writers are told to come back.
const QUEUE_MAX: usize = 1024;
/// Bytes that one commit writes at most, so that the first of them does not wait for ever.
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// Commits waiting to be applied.
const APPLY_QUEUE_MAX: usize = 64;
/// A commit of one batch of so many samples is applied by the log thread, if the other has nothing to do: at the pace of
/// scrapes, waking it would cost as much as applying.
const INLINE_SAMPLES_MAX: usize = 2000;

/// When what was written is made to survive power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged.
    EveryCommit,
    /// So often; an acknowledged sample may be lost with the machine (not with the process).
    Interval(Duration),
}

/// Something for the log.
pub(crate) enum Entry {
    Batch { batch: Batch, refs: Refs, reply: oneshot::Sender<PushReply> },
    Change { change: Change, reply: oneshot::Sender<Result<Position, String>> },
}

/// Something logged, to be applied.
enum Logged {
    Batch { position: Position, batch: Batch, refs: Refs, reply: oneshot::Sender<PushReply> },
    Change { position: Position, change: Change, reply: oneshot::Sender<Result<Position, String>> },
    Stop,
}

/// What both threads and the ingester share.
pub(crate) struct Shared {
    pub(crate) head: Arc<Head>,
    /// Changed by the apply thread under the head's gate; read by anyone.
    pub(crate) control: Mutex<Control>,
    pub(crate) generation: u64,
    pub(crate) in_flight_bytes: AtomicUsize,
    pub(crate) in_flight_bytes_max: usize,
    /// Bytes logged since the last snapshot was begun.
    pub(crate) logged_bytes: AtomicUsize,
    /// Everything before this may be truncated, said by who writes snapshots.
    pub(crate) truncate_before: Mutex<Position>,
    /// Entries handed to the apply thread and not applied yet.
    pub(crate) unapplied: AtomicUsize,
    /// Ranges of which acknowledged samples were lost for good.
    pub(crate) holes: Mutex<Vec<TimeRange>>,
    /// Why the log takes nothing, while it does not.
    pub(crate) log_failure: Mutex<Option<String>>,
}

/// The running threads. Dropping it stops them after what they hold.
pub(crate) struct Pipeline {
    entries: Option<SyncSender<Entry>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    pub(crate) fn start(log: Log, shared: Arc<Shared>, sync: Sync) -> std::io::Result<Pipeline> {
        let (entries, receiver) = sync_channel(QUEUE_MAX);
        let (logged, to_apply) = sync_channel(APPLY_QUEUE_MAX * 16);
        let spawn =
            |name: &str, f: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.to_owned()).spawn(f);
        let for_log = shared.clone();
        let threads = vec![
            spawn("log", Box::new(move || LogThread::new(log, for_log, sync, logged).run(&receiver)))?,
            spawn("apply", Box::new(move || apply(&shared, &to_apply)))?,
        ];
        Ok(Pipeline { entries: Some(entries), threads })
    }

    /// Queues an entry; false when there is no room or the threads are gone.
    pub(crate) fn offer(&self, entry: Entry) -> bool {
        self.entries.as_ref().is_some_and(|entries| entries.try_send(entry).is_ok())
    }

    /// Takes no more, finishes and syncs what was taken, and ends the threads.
    pub(crate) fn stop(&mut self) {
        self.entries = None;
        for t in self.threads.drain(..) {
            if t.join().is_err() {
                error!("a pipeline thread panicked");
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

struct LogThread {
    log: Log,
    shared: Arc<Shared>,
    sync: Sync,
    last_sync: Instant,
    logged: SyncSender<Logged>,
    /// Appended to the log, not yet written and synced.
    commit: Vec<Logged>,
    /// Time before this takes no more samples, seals of the commit being gathered included.
    sealed_before: TimestampMs,
    /// The same without them.
    committed_sealed_before: TimestampMs,
}

impl LogThread {
    fn new(log: Log, shared: Arc<Shared>, sync: Sync, logged: SyncSender<Logged>) -> LogThread {
        let sealed_before = shared.control.lock().sealed_before;
        LogThread {
            log,
            shared,
            sync,
            last_sync: Instant::now(),
            logged,
            commit: Vec::new(),
            sealed_before,
            committed_sealed_before: sealed_before,
        }
    }

    fn run(mut self, entries: &Receiver<Entry>) {
        while let Some(first) = self.wait(entries) {
            self.append(first);
            // Group commit: everything that came while the last sync was running.
            while self.log.buffered_bytes() < COMMIT_BYTES_MAX {
                match entries.try_recv() {
                    Ok(entry) => self.append(entry),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.commit();
        }
        self.sync_quietly();
        if self.logged.send(Logged::Stop).is_err() {
            error!("the apply thread ended before the log thread");
        }
    }

    /// The next entry; meanwhile syncs what the interval asks for. `None` when no more will come.
    fn wait(&mut self, entries: &Receiver<Entry>) -> Option<Entry> {
        let Sync::Interval(interval) = self.sync else { return entries.recv().ok() };
        loop {
            let left = interval.saturating_sub(self.last_sync.elapsed());
            match entries.recv_timeout(left) {
                Ok(entry) => return Some(entry),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => self.sync_quietly(),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn sync_quietly(&mut self) {
        self.last_sync = Instant::now();
        if let Err(e) = self.log.sync() {
            error!(error = %chain(&e), "sync log failed");
            *self.shared.log_failure.lock() = Some(chain(&e));
        }
    }

    fn append(&mut self, entry: Entry) {
        match entry {
            Entry::Batch { batch, refs, reply } => {
                let sealed = self.sealed_before;
                if batch.time_bounds().is_some_and(|(mint, _)| mint < sealed.0) {
                    answer(&self.shared, &batch, reply, PushReply::Sealed(sealed));
                    return;
                }
                let position = self.log.append(&[KIND_BATCH], batch.bytes());
                self.commit.push(Logged::Batch { position, batch, refs, reply });
            }
            Entry::Change { change, reply } => {
                if let Change::Seal { before } = &change {
                    self.sealed_before = self.sealed_before.max(*before);
                }
                let position = self.log.append(&change.encode(), &[]);
                self.commit.push(Logged::Change { position, change, reply });
            }
        }
    }

    fn commit(&mut self) {
        let bytes = self.log.buffered_bytes();
        let due = match self.sync {
            Sync::EveryCommit => true,
            Sync::Interval(interval) => self.last_sync.elapsed() >= interval,
        };
        let mut done = self.log.write();
        if done.is_ok() && due {
            self.last_sync = Instant::now();
            done = self.log.sync().map(|_| ());
        }
        if let Err(e) = done {
            self.refuse(&e);
            return;
        }
        *self.shared.log_failure.lock() = None;
        self.committed_sealed_before = self.sealed_before;
        self.shared.logged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.hand_on();
        let truncate_before = *self.shared.truncate_before.lock();
        if truncate_before > self.log.first()
            && let Err(e) = self.log.truncate_before(truncate_before)
        {
            warn!(error = %chain(&e), "truncate log failed");
        }
    }

    /// Has the commit applied, here or by the apply thread; always in the order of the log.
    fn hand_on(&mut self) {
        let is_small =
            |l: &Logged| matches!(l, Logged::Batch { batch, .. } if batch.sample_count() <= INLINE_SAMPLES_MAX);
        let others_idle = self.shared.unapplied.load(Ordering::Acquire) == 0;
        let inline = others_idle && self.commit.len() == 1 && is_small(&self.commit[0]);
        for logged in self.commit.drain(..) {
            if inline {
                apply_one(&self.shared, logged);
                continue;
            }
            self.shared.unapplied.fetch_add(1, Ordering::AcqRel);
            if self.logged.send(logged).is_err() {
                error!("the apply thread is gone");
            }
        }
    }

    /// Nothing of this commit is acknowledged: the callers send it again.
    fn refuse(&mut self, e: &wal::Error) {
        let why = chain(e);
        let mut failure = self.shared.log_failure.lock();
        if failure.as_deref() != Some(&why) {
            error!(error = %why, "write log failed");
        }
        *failure = Some(why.clone());
        drop(failure);
        self.sealed_before = self.committed_sealed_before;
        for logged in self.commit.drain(..) {
            match logged {
                Logged::Batch { batch, reply, .. } => {
                    answer(&self.shared, &batch, reply, PushReply::NotNow(why.clone()))
                }
                Logged::Change { reply, .. } => drop(reply.send(Err(why.clone()))),
                Logged::Stop => {}
            }
        }
    }
}

/// Applies what was logged, in order, and answers.
fn apply(shared: &Shared, logged: &Receiver<Logged>) {
    for entry in logged {
        if matches!(entry, Logged::Stop) {
            return;
        }
        apply_one(shared, entry);
        shared.unapplied.fetch_sub(1, Ordering::AcqRel);
    }
}

fn apply_one(shared: &Shared, entry: Logged) {
    match entry {
        Logged::Batch { position, batch, refs, reply } => {
            let said = match shared.head.apply(position, &batch, &refs) {
                Ok(applied) => {
                    if applied != head::Applied::default() {
                        error!(?applied, position, "BUG: a checked batch did not apply whole");
                    }
                    PushReply::Ok { generation: shared.generation }
                }
                // It is in the log: a restart applies it. Until then this process must not say that it holds it.
                Err(e) => {
                    error!(error = %chain(&e), position, "apply batch failed");
                    PushReply::NotNow(chain(&e))
                }
            };
            answer(shared, &batch, reply, said);
        }
        Logged::Change { position, change, reply } => {
            shared.control.lock().apply(&change);
            // The asker may have stopped waiting; the change holds all the same.
            drop(reply.send(Ok(position)));
        }
        Logged::Stop => {}
    }
}

fn answer(shared: &Shared, batch: &Batch, reply: oneshot::Sender<PushReply>, said: PushReply) {
    shared.in_flight_bytes.fetch_sub(batch.bytes().len(), Ordering::Relaxed);
    // A writer that stopped waiting sends again; nobody needs this answer then.
    drop(reply.send(said));
}
