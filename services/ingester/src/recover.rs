//! Opening an ingester's directory: newest head snapshot, then the log, on both cores.
//!
//! A group of one reads what is behind the snapshot, and goes on with what can be read. A member of a larger group reads all that
//! the log holds, because its peers ask for it by name; where something is damaged it gives the directory up.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use batch::Batch;
use head::{Applied, Head};
use model::TimestampMs;
use replication::replica::{Base, Effects, Limits, Recovery as CoreRecovery, Replica};
use replication::{Record, Rules, State};
use wal::{Event, Log};

use crate::config::Config;
use crate::group::Core;
use crate::ingester::OpenError;
use crate::records::{self, RecordError};

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

/// What is wrong with the directory of a member of a larger group: it has forgotten what it promised, so it must not come back
/// as the same incarnation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Records in the middle of the log.
    #[error("log records {first} to {last} are damaged")]
    Lost {
        /// First position lost.
        first: u64,
        /// Last position lost.
        last: u64,
    },
    /// A record that is none.
    #[error("log record {position} cannot be read")]
    Record {
        /// Its position.
        position: u64,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// The log ends before what a snapshot holds.
    #[error("the log ends at {last}, and a snapshot has seen {seen}")]
    Short {
        /// Last position of the log.
        last: u64,
        /// What had been there.
        seen: u64,
    },
    /// The log does not reach back to a snapshot that can be read.
    #[error("the log begins at {first}, and no snapshot that can be read holds what was before")]
    Headless {
        /// First position of the log.
        first: u64,
    },
}

pub(crate) struct Opened {
    pub(crate) head: Head,
    pub(crate) core: Core,
    /// What the core wants logged before anything else.
    pub(crate) effects: Effects<Arc<Batch>>,
    pub(crate) log: Log,
    /// What was freed lies before this.
    pub(crate) freed_before: TimestampMs,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(config: &Config, limits: Limits) -> Result<Opened, OpenError> {
    let head_limits = head::Limits {
        partition_count: config.partition_count,
        exemplars_max: config.exemplars_max,
        ..head::Limits::default()
    };
    let folder: &Path = &config.folder;
    let (head, from) = Head::open(config.disk.clone(), folder, head_limits)?;
    let mut recovery = Recovery { snapshot: from.position, damaged_snapshots: from.damaged, ..Recovery::default() };
    let base = match &from.extra[..] {
        [] => None,
        extra => Some(Base { position: from.position, state: records::decode_state(extra)? }),
    };
    let is_alone = |entry: &replication::Entry| entry.generations().iter().all(|g| g.members.len() == 1);
    let alone = is_alone(&config.entry) && base.as_ref().is_none_or(|base| is_alone(&base.state.entry));
    let mut core = CoreRecovery::begin(config.replica.clone(), base.as_ref(), limits, Rules::ALL);
    let read_from = if alone { from.position + 1 } else { 1 };
    let mut wrong = None;
    let log = std::thread::scope(|scope| -> Result<Log, OpenError> {
        let mut workers = Vec::new();
        let mut senders: Vec<SyncSender<Replayed>> = Vec::new();
        for worker in 0..WORKERS {
            let (sender, batches) = sync_channel(QUEUE_MAX);
            senders.push(sender);
            let head = &head;
            workers.push(scope.spawn(move || replay(head, worker, batches)));
        }
        let mut replayer = Replayer {
            head: &head,
            senders,
            config,
            limits,
            alone,
            snapshot: base.as_ref().map_or(0, |base| base.position),
            core: &mut core,
            recovery: &mut recovery,
            wrong: &mut wrong,
        };
        let log = Log::open(config.disk.clone(), &folder.join("log"), config.log, read_from, |e| replayer.take(e));
        drop(replayer);
        for worker in workers {
            recovery.applied.add(worker.join().expect("replaying does not panic")?);
        }
        Ok(log?)
    })?;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    recovery.last = log.last();
    let seen = base.as_ref().map_or(0, |base| base.position.max(base.state.data_position));
    if !alone && log.last() < seen {
        return Err(Damage::Short { last: log.last(), seen }.into());
    }
    if !alone && log.first() > recovery.snapshot + 1 {
        return Err(Damage::Headless { first: log.first() }.into());
    }
    head.replayed(log.last());
    let (core, effects) = match core.finish(log.first() - 1) {
        None if log.last() == 0 => Replica::new(config.replica.clone(), &config.entry, limits, Rules::ALL),
        None if !alone => return Err(Damage::Headless { first: log.first() }.into()),
        // Nothing of the log can be read; it is counted on from where it ends.
        None => {
            let state = State::new(&config.replica, &config.entry);
            let base = Base { position: log.last(), state };
            let core = CoreRecovery::begin(config.replica.clone(), Some(&base), limits, Rules::ALL);
            (core.finish(log.last()).expect("the state begins it"), Effects::default())
        }
        Some(mut core) => {
            if core.durable().entry.id() != config.entry.id() {
                return Err(OpenError::OtherGroup { found: core.durable().entry.id(), wanted: config.entry.id() });
            }
            let effects = core.adopt(&config.entry);
            (core, effects)
        }
    };
    assert_eq!(core.synced_position(), log.last(), "the replica has counted the log's records");
    // What was freed may have come back by the replay.
    let freed_before = collectable(core.durable(), &head).unwrap_or(TimestampMs::MIN);
    if freed_before > TimestampMs::MIN {
        head.collect_garbage(freed_before);
    }
    Ok(Opened { head, core, effects, log, freed_before, recovery })
}

/// Up to where the head may forget: all that it holds before was freed.
pub(crate) fn collectable(state: &State, head: &Head) -> Option<TimestampMs> {
    let oldest_named = state.dropped.keys().next().copied().unwrap_or(state.watermark);
    if oldest_named == TimestampMs::MIN {
        return None;
    }
    let is_freed = |start: TimestampMs| match state.dropped.get(&start) {
        Some(drop) => drop.freed,
        None => start < state.watermark,
    };
    let held = head.stretches_from(TimestampMs::MIN, replication::range::RANGE);
    held.into_iter().take_while(|start| is_freed(*start)).last().map(replication::range::end_of)
}

/// A batch for the head, and the state by which it is judged what of it is not kept.
type Replayed = (u64, Arc<Batch>, Option<Arc<State>>);

struct Replayer<'a> {
    head: &'a Head,
    senders: Vec<SyncSender<Replayed>>,
    config: &'a Config,
    limits: Limits,
    alone: bool,
    snapshot: u64,
    core: &'a mut CoreRecovery<Arc<Batch>>,
    recovery: &'a mut Recovery,
    /// Why the directory cannot be opened: the first reason met.
    wrong: &'a mut Option<OpenError>,
}

impl Replayer<'_> {
    fn take(&mut self, event: Event) {
        if self.wrong.is_some() {
            return;
        }
        match event {
            Event::Record { position, payload } => {
                self.recovery.records += 1;
                match records::decode(&payload) {
                    Ok(record) => self.record(position, record),
                    Err(e) if e.is_of_another_version() => *self.wrong = Some(e.into()),
                    Err(source) if !self.alone => *self.wrong = Some(Damage::Record { position, source }.into()),
                    Err(_) => {
                        self.recovery.refused_records += 1;
                        self.core.lost(position);
                    }
                }
            }
            Event::Damage { first, last, .. } if !self.alone => {
                *self.wrong = Some(Damage::Lost { first, last }.into());
            }
            Event::Damage { first, last, .. } => {
                self.recovery.lost.push((first, last));
                // Nothing need follow.
                self.core.lost(last);
            }
            Event::TornTail { bytes } => self.recovery.torn_bytes += bytes,
        }
    }

    fn record(&mut self, position: u64, record: records::Record) {
        if self.core.state().is_none() && !matches!(record, Record::Adopted(_)) {
            if !self.alone {
                *self.wrong = Some(Damage::Headless { first: position }.into());
                return;
            }
            // The beginning is lost. Its group is the one that it is told of; nobody else has a word in it.
            let state = State::new(&self.config.replica, &self.config.entry);
            let base = Base { position: position - 1, state };
            *self.core = CoreRecovery::begin(self.config.replica.clone(), Some(&base), self.limits, Rules::ALL);
        }
        self.core.record(position, &record);
        let Record::Batch(batch) = record else { return };
        if position <= self.snapshot {
            return;
        }
        self.head.note_bounds(&batch);
        let state = self.core.state().filter(|s| batch.time_bounds().is_some_and(|(mint, _)| mint < s.sealed_before.0));
        let state = state.map(|state| Arc::new(state.clone()));
        for sender in &self.senders {
            // A worker that failed has gone; its error is told when it is joined.
            drop(sender.send((position, batch.clone(), state.clone())));
        }
    }
}

fn replay(head: &Head, worker: usize, batches: std::sync::mpsc::Receiver<Replayed>) -> Result<Applied, head::Error> {
    let mut applied = Applied::default();
    for (position, batch, state) in batches {
        let keep = |at: TimestampMs| state.as_ref().is_none_or(|state| !state.discards(at));
        let keep: Option<head::Keep<'_>> = if state.is_some() { Some(&keep) } else { None };
        for section in batch.sections() {
            if section.partition.0 as usize % WORKERS == worker {
                applied.add(head.replay_section(position, section, keep)?);
            }
        }
    }
    Ok(applied)
}
