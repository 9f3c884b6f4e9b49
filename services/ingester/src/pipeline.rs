//! The two threads behind an ingester: log and apply.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use head::{Applied, Head};
use model::{TimeRange, TimestampMs};
use parking_lot::{Condvar, Mutex, MutexGuard};
use replication::{Position, Record, State};
use storage::chain;
use tracing::{error, warn};
use wal::Log;

use crate::bodies::Bodies;
use crate::config::Sync;
use crate::group::{Entry, Group, Told};
use crate::records;

/// Bytes that one commit writes at most, so that the first of them does not wait for ever.
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// Commits waiting to be applied.
const APPLY_QUEUE_MAX: usize = 64;
/// A commit of one batch of so many samples is applied by the log thread, if the other has nothing to do: at the pace of
/// scrapes, waking it would cost as much as applying.
const INLINE_SAMPLES_MAX: usize = 2000;
/// How long a disk that said no is left alone, unless somebody asks for something.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How long it is left alone in any case.
const RETRY_INTERVAL_MIN: Duration = Duration::from_millis(5);

/// Why nothing is acknowledged, while it is so.
#[derive(Default)]
pub(crate) struct Failures {
    pub(crate) log: Option<String>,
    pub(crate) apply: Option<String>,
}

/// What both threads and the ingester share.
pub(crate) struct Shared {
    pub(crate) head: Arc<Head>,
    pub(crate) group: Mutex<Group>,
    /// What peers fetch.
    pub(crate) bodies: Bodies,
    /// The log thread sleeps on it.
    pub(crate) wake: Condvar,
    pub(crate) in_flight_bytes: Arc<AtomicUsize>,
    /// Bytes logged since the last snapshot was begun.
    pub(crate) logged_bytes: AtomicUsize,
    /// The kept snapshots hold everything up to here, said by who writes them.
    pub(crate) snapshot_position: Mutex<Position>,
    /// Commits handed to the apply thread and not applied yet.
    pub(crate) unapplied: AtomicUsize,
    /// Ranges of which acknowledged samples were lost for good.
    pub(crate) holes: Mutex<Vec<TimeRange>>,
    pub(crate) failures: Mutex<Failures>,
    /// Nothing is taken: the log takes no more until a restart, or what was logged cannot be applied.
    pub(crate) refuses: AtomicBool,
    /// A snapshot was written or a peer has covered more, so that the log may be cut.
    pub(crate) may_truncate: AtomicBool,
    /// Bytes of the log's files.
    pub(crate) log_bytes: std::sync::atomic::AtomicU64,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Group> {
        self.group.lock()
    }

    /// Has the log thread see whether the log can be cut.
    pub(crate) fn look_at_truncation(&self) {
        self.may_truncate.store(true, Ordering::Release);
        self.poke();
    }

    /// Has the log thread look.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.wake.notify_one();
    }

    pub(crate) fn failure(&self) -> Option<String> {
        let failures = self.failures.lock();
        failures.log.clone().or_else(|| failures.apply.clone())
    }
}

/// The running threads. Dropping it stops them after what they hold.
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    pub(crate) fn start(log: Log, shared: Arc<Shared>, sync: Sync) -> std::io::Result<Pipeline> {
        let (commits, to_apply) = sync_channel(APPLY_QUEUE_MAX);
        let spawn =
            |name: &str, f: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.to_owned()).spawn(f);
        let (for_log, for_apply) = (shared.clone(), shared.clone());
        let threads = vec![
            spawn("log", Box::new(move || LogThread::new(log, for_log, sync, commits).run()))?,
            spawn("apply", Box::new(move || apply(&for_apply, &to_apply)))?,
        ];
        Ok(Pipeline { shared, threads })
    }

    /// Takes no more, finishes and syncs what was taken, and ends the threads.
    pub(crate) fn stop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_one();
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

/// Records that were logged together, to be applied in order; then it is told.
struct Commit {
    entries: VecDeque<Entry>,
    told: Told,
    /// What lies in dropped ranges is not kept; `None` where nothing of this does.
    discards: Option<Arc<State>>,
}

impl Commit {
    /// Applies what is left of it, and tells. After an error it may be called again.
    fn apply(&mut self, shared: &Shared) -> Result<(), head::Error> {
        while let Some(entry) = self.entries.front() {
            if let Record::Batch(batch) = &entry.record {
                let applied = match &self.discards {
                    None => shared.head.apply(entry.position, batch, &entry.refs)?,
                    Some(state) => {
                        let keep = |at: TimestampMs| !state.discards(at);
                        shared.head.apply_kept(entry.position, batch, &entry.refs, Some(&keep))?
                    }
                };
                if applied != Applied::default() {
                    error!(?applied, position = entry.position, "BUG: a checked batch did not apply whole");
                }
            }
            self.entries.pop_front();
        }
        self.told.tell();
        Ok(())
    }

    /// One small batch.
    fn is_small(&self) -> bool {
        let small = |e: &Entry| matches!(&e.record, Record::Batch(b) if b.sample_count() <= INLINE_SAMPLES_MAX);
        self.entries.len() == 1 && self.entries.iter().all(small)
    }
}

struct LogThread {
    log: Log,
    shared: Arc<Shared>,
    sync: Sync,
    last_sync: Instant,
    last_failure: Option<Instant>,
    commits: SyncSender<Commit>,
    /// Taken from the group, not yet written and synced; tried again until it works.
    commit: VecDeque<Entry>,
    commit_bytes: usize,
}

/// What there is to do.
enum Work {
    Commit,
    SyncDue,
    /// Everything is done, and no more will come.
    Nothing,
}

impl LogThread {
    fn new(log: Log, shared: Arc<Shared>, sync: Sync, commits: SyncSender<Commit>) -> LogThread {
        let (commit, commit_bytes) = (VecDeque::new(), 0);
        LogThread { log, shared, sync, last_sync: Instant::now(), last_failure: None, commits, commit, commit_bytes }
    }

    fn run(mut self) {
        loop {
            match self.wait() {
                Work::Commit => self.commit(),
                Work::SyncDue => self.sync_quietly(),
                Work::Nothing => break,
            }
            self.shared.log_bytes.store(self.log.bytes(), Ordering::Relaxed);
            if self.shared.may_truncate.swap(false, Ordering::AcqRel) {
                self.truncate();
            }
        }
        self.sync_quietly();
        // Whoever still waits hears that nothing comes.
        let left = self.shared.lock().give_up();
        left.into_iter().for_each(|waiter| waiter.give_up());
    }

    /// Waits for records, and takes what has gathered while the last sync was running: one commit, one sync.
    fn wait(&mut self) -> Work {
        let shared = self.shared.clone();
        let mut group = shared.lock();
        loop {
            if self.last_failure.is_some_and(|at| !group.poked && at.elapsed() < RETRY_INTERVAL) {
                if group.stopping {
                    return Work::Nothing;
                }
                shared.wake.wait_for(&mut group, RETRY_INTERVAL);
                continue;
            }
            while self.commit_bytes < COMMIT_BYTES_MAX
                && let Some(entry) = group.to_log.pop_front()
            {
                self.commit_bytes += entry.bytes();
                self.commit.push_back(entry);
            }
            if !self.commit.is_empty() || std::mem::take(&mut group.poked) {
                group.poked = false;
                return Work::Commit;
            }
            if group.stopping {
                return Work::Nothing;
            }
            match self.sync {
                Sync::EveryCommit => shared.wake.wait(&mut group),
                Sync::Interval(interval) => {
                    let left = interval.saturating_sub(self.last_sync.elapsed());
                    if shared.wake.wait_for(&mut group, left).timed_out() {
                        return Work::SyncDue;
                    }
                }
            }
        }
    }

    fn sync_quietly(&mut self) {
        self.last_sync = Instant::now();
        if let Err(e) = self.log.sync() {
            self.refuse(&e);
        }
    }

    fn commit(&mut self) {
        match self.write() {
            Err(e) => self.refuse(&e),
            Ok(bytes) => {
                self.last_failure = None;
                self.shared.failures.lock().log = None;
                self.shared.logged_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.hand_on();
            }
        }
    }

    /// Writes what was taken; synced where that is due. After an error the log holds none of it, or takes no more.
    fn write(&mut self) -> Result<usize, wal::Error> {
        if let Some(at) = self.last_failure {
            std::thread::sleep(RETRY_INTERVAL_MIN.saturating_sub(at.elapsed()));
        }
        if self.log.is_poisoned() {
            return Err(wal::Error::Poisoned);
        }
        for entry in &self.commit {
            let (front, rest) = records::encode(&entry.record);
            let position = self.log.append(&front, rest.map_or(&[], |bytes| &bytes[..]));
            assert_eq!(position, entry.position, "the log and the replica count the same records");
        }
        let bytes = self.log.buffered_bytes();
        let due = match self.sync {
            Sync::EveryCommit => true,
            Sync::Interval(interval) => self.last_sync.elapsed() >= interval,
        };
        self.log.write()?;
        if due {
            self.last_sync = Instant::now();
            self.log.sync()?;
        }
        Ok(bytes)
    }

    /// Has the commit applied, here or by the apply thread; always in the order of the log.
    fn hand_on(&mut self) {
        let entries = std::mem::take(&mut self.commit);
        self.commit_bytes = 0;
        let touches = |before: TimestampMs| {
            let mints = entries.iter().filter_map(|e| match &e.record {
                Record::Batch(batch) => batch.time_bounds().map(|(mint, _)| mint),
                _ => None,
            });
            mints.into_iter().any(|mint| mint < before.0)
        };
        let (told, discards, has_peers) = {
            let mut group = self.shared.lock();
            let told = group.synced(self.log.last());
            let state = group.core.durable();
            let has_peers = state.entry.newest().members.len() > 1;
            (told, touches(state.sealed_before).then(|| Arc::new(state.clone())), has_peers)
        };
        if has_peers {
            self.shared.bodies.remember(entries.iter().filter_map(|e| match &e.record {
                Record::Batch(batch) => Some((e.position, batch)),
                _ => None,
            }));
        }
        let mut commit = Commit { entries, told, discards };
        let others_idle = self.shared.unapplied.load(Ordering::Acquire) == 0;
        if others_idle && (commit.is_small() || commit.entries.is_empty()) {
            match commit.apply(&self.shared) {
                Ok(()) => return,
                Err(e) => cannot_apply(&self.shared, &mut commit, &e),
            }
        }
        self.shared.unapplied.fetch_add(1, Ordering::AcqRel);
        if self.commits.send(commit).is_err() {
            error!("the apply thread is gone");
        }
    }

    /// Nothing of this is acknowledged: the callers send it again. What was taken is tried again, unless a sync has failed.
    fn refuse(&mut self, e: &wal::Error) {
        self.last_failure = Some(Instant::now());
        let why = chain(e);
        let mut failures = self.shared.failures.lock();
        // Once a sync has failed, why it did is worth more than that it has.
        let is_poisoned = self.log.is_poisoned();
        if failures.log.is_none() || !is_poisoned && failures.log.as_deref() != Some(&why) {
            error!(error = %why, "write log failed");
            failures.log = Some(why);
        }
        drop(failures);
        if is_poisoned {
            self.shared.refuses.store(true, Ordering::Release);
        }
        let waiting = {
            let mut group = self.shared.lock();
            group.poked = false;
            group.is_failing = true;
            group.give_up()
        };
        waiting.into_iter().for_each(|waiter| waiter.give_up());
    }

    /// Deletes what snapshots hold and peers have covered.
    fn truncate(&mut self) {
        let snapshot = *self.shared.snapshot_position.lock();
        // Nothing expires: a peer that lacks what is gone would need a snapshot, which replicas do not give each other yet.
        let to = self.shared.lock().core.truncatable(snapshot, 0);
        if to >= self.log.first()
            && let Err(e) = self.log.truncate_before(to + 1)
        {
            warn!(error = %chain(&e), "truncate log failed");
        }
        let floor = self.log.first() - 1;
        let mut group = self.shared.lock();
        if floor > group.core.floor() {
            // An empty directory's log begins where it will be written.
            let synced = group.core.synced_position();
            group.core.truncated(floor.min(synced));
        }
    }
}

/// What was logged cannot be applied now. Nobody is told that it is held, and no more is taken until it can.
fn cannot_apply(shared: &Shared, commit: &mut Commit, e: &head::Error) {
    let why = chain(e);
    shared.refuses.store(true, Ordering::Release);
    let mut failures = shared.failures.lock();
    if failures.apply.as_deref() != Some(&why) {
        error!(error = %why, "apply batch failed");
    }
    failures.apply = Some(why);
    drop(failures);
    commit.told.give_up();
}

/// Applies what was logged, in order, and tells. What fails is tried again until it works, since later records build on it.
fn apply(shared: &Shared, commits: &Receiver<Commit>) {
    let mut queue: VecDeque<Commit> = VecDeque::new();
    while let Some(mut commit) = queue.pop_front().or_else(|| commits.recv().ok()) {
        while let Err(e) = commit.apply(shared) {
            cannot_apply(shared, &mut commit, &e);
            // Who waits behind it would wait as long.
            queue.extend(commits.try_iter());
            queue.iter_mut().for_each(|later| later.told.give_up());
            if shared.lock().stopping {
                return;
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        shared.unapplied.fetch_sub(1, Ordering::AcqRel);
        let was_failing = shared.failures.lock().apply.take().is_some();
        if was_failing {
            shared.refuses.store(false, Ordering::Release);
            shared.poke();
        }
    }
}
