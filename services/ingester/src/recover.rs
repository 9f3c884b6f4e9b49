//! Opening an ingester's directory: newest head snapshot, then the tail of the log, on both cores.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use batch::Batch;
use disk::Disk;
use head::{Applied, Head};
use wal::{Event, Log};

use crate::control::{Change, Control, KIND_BATCH};
use crate::ingester::OpenError;

/// Threads that apply; a partition always meets the same one.
const WORKERS: usize = 2;
/// Batches waiting per thread: bounds memory to 64 MiB at most, 8 MiB as batches are.
const QUEUE_MAX: usize = 32;

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records read from the log.
    pub records: u64,
    /// Position of the snapshot that was loaded.
    pub snapshot: u64,
    /// Position of the last record.
    pub last: u64,
    /// Snapshots that are damaged.
    pub damaged_snapshots: Vec<String>,
    /// Positions that were there and are gone, as (first, last).
    pub lost: Vec<(u64, u64)>,
    /// Bytes at the log's end that formed no record.
    pub torn_bytes: u64,
    /// Records that do not parse: written by another version, or damaged before they were logged.
    pub refused_records: u64,
    /// What applying met.
    pub applied: Applied,
}

pub(crate) struct Opened {
    pub(crate) head: Head,
    pub(crate) control: Control,
    pub(crate) log: Log,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    folder: &Path,
    head_limits: head::Limits,
    log_limits: wal::Limits,
) -> Result<Opened, OpenError> {
    let (head, from) = Head::open(disk.clone(), folder, head_limits)?;
    let mut control = Control::decode(&from.extra).ok_or(OpenError::UnknownState)?;
    let mut recovery = Recovery { snapshot: from.position, damaged_snapshots: from.damaged, ..Recovery::default() };
    let log = std::thread::scope(|scope| -> Result<Log, OpenError> {
        let mut workers = Vec::new();
        let mut senders: Vec<SyncSender<(u64, Arc<Batch>)>> = Vec::new();
        for worker in 0..WORKERS {
            let (sender, batches) = sync_channel(QUEUE_MAX);
            senders.push(sender);
            let head = &head;
            workers.push(scope.spawn(move || replay(head, worker, batches)));
        }
        let mut replayer = Replayer { head: &head, senders, control: &mut control, recovery: &mut recovery };
        let log = Log::open(disk, &folder.join("log"), log_limits, from.position + 1, |e| replayer.take(e));
        drop(replayer);
        for worker in workers {
            recovery.applied.add(worker.join().expect("replaying does not panic")?);
        }
        Ok(log?)
    })?;
    recovery.last = log.last();
    head.replayed(log.last());
    Ok(Opened { head, control, log, recovery })
}

struct Replayer<'a> {
    head: &'a Head,
    senders: Vec<SyncSender<(u64, Arc<Batch>)>>,
    control: &'a mut Control,
    recovery: &'a mut Recovery,
}

impl Replayer<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Record { position, payload } => {
                self.recovery.records += 1;
                if payload.first() != Some(&KIND_BATCH) {
                    match Change::decode(&payload) {
                        Some(change) => self.control.apply(&change),
                        None => self.recovery.refused_records += 1,
                    }
                    return;
                }
                // The record's memory is that of a whole segment: a copy lets that go.
                match Batch::parse(payload[1..].to_vec().into()) {
                    Ok(batch) => {
                        self.head.note_bounds(&batch);
                        let batch = Arc::new(batch);
                        for sender in &self.senders {
                            // A worker that failed has gone; its error is told when it is joined.
                            drop(sender.send((position, batch.clone())));
                        }
                    }
                    Err(_) => self.recovery.refused_records += 1,
                }
            }
            Event::Damage { first, last, .. } => self.recovery.lost.push((first, last)),
            Event::TornTail { bytes } => self.recovery.torn_bytes += bytes,
        }
    }
}

fn replay(
    head: &Head,
    worker: usize,
    batches: std::sync::mpsc::Receiver<(u64, Arc<Batch>)>,
) -> Result<Applied, head::Error> {
    let mut applied = Applied::default();
    for (position, batch) in batches {
        for section in batch.sections() {
            if section.partition.0 as usize % WORKERS == worker {
                applied.add(head.replay_section(position, section)?);
            }
        }
    }
    Ok(applied)
}
