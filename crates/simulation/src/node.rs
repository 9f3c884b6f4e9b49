//! An ingester: a disk that keeps what was synced, and a process over it.

use std::sync::Arc;

use cluster::{Incarnation, NodeId, Replica as ReplicaId};
use model::TimestampMs;
use replication::closer::{Closer, Identity};
use replication::fill::Filler;
use replication::puller::Puller;
use replication::replica::{Base, Limits, Replica};
use replication::{Entry, Position, Record, Rule, Rules, is_live};

use crate::data::{Head, SimBatch, Stays};

/// A record in the log, with the samples of a snapshot that it merged.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) position: Position,
    pub(crate) record: Record<SimBatch>,
    pub(crate) content: Option<Arc<Head>>,
    pub(crate) at: TimestampMs,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) log: Vec<Logged>,
    /// Up to here it survives a crash.
    pub(crate) synced: Position,
    pub(crate) floor: Position,
    /// At most two, the older first.
    pub(crate) snapshots: Vec<(Base, Head)>,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) replica: Replica<SimBatch>,
    pub(crate) head: Head,
    pub(crate) puller: Puller,
    pub(crate) filler: Filler,
    pub(crate) closer: Closer,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: ReplicaId,
    pub(crate) zone: usize,
    /// What its clock is ahead.
    pub(crate) skew_ms: i64,
    pub(crate) up: bool,
    /// Of the process: what is meant for an earlier one is lost.
    pub(crate) epoch: u64,
    pub(crate) disk: Disk,
    /// Also while it is down: what it will be when it comes up.
    pub(crate) process: Option<Process>,
    /// The disk was lost and its promises with it; until the new directory is told to the control plane.
    pub(crate) lost: Option<ReplicaId>,
}

pub(crate) struct Setup {
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) rules: Rules,
}

impl Setup {
    pub(crate) fn stays(&self) -> Stays {
        if self.rules.keep(Rule::GreaterValueStays) { Stays::Greater } else { Stays::First }
    }
}

impl Node {
    pub(crate) fn new(index: usize, zone: usize, skew_ms: i64) -> Node {
        let node = NodeId::new(&format!("n{index}")).expect("a short name");
        let id = ReplicaId { node, incarnation: Incarnation(1) };
        let disk = Disk::default();
        Node { id, zone, skew_ms, up: true, epoch: 0, disk, process: None, lost: None }
    }

    /// Opens the directory: everything volatile is gone.
    pub(crate) fn reopen(&mut self, setup: &Setup) {
        self.epoch += 1;
        let newest = self.disk.snapshots.last();
        let records = self.disk.log.iter().map(|logged| (logged.position, &logged.record));
        let base = newest.map(|(base, _)| base);
        let recovered = Replica::recover(self.id.clone(), base, self.disk.floor, records, setup.limits, setup.rules);
        self.process = recovered.map(|replica| {
            let mut head = newest.map(|(_, head)| head.clone()).unwrap_or_default();
            let from = base.map_or(0, |base| base.position);
            // What had been discarded may come back by the replay; it goes with the range, as on a first reading.
            for logged in self.disk.log.iter().filter(|logged| logged.position > from) {
                apply(&mut head, &replica, &logged.record, logged.content.as_deref(), setup);
            }
            let freed = replica.durable().dropped.iter().filter(|(_, drop)| drop.freed);
            freed.for_each(|(start, _)| head.free(start.0));
            Process::over(replica, head, setup)
        });
    }

    /// A process over an empty directory, once the map says that it is a member.
    pub(crate) fn found(&mut self, entry: &Entry, setup: &Setup) -> Option<replication::replica::Effects<SimBatch>> {
        if self.process.is_some() || !is_live(entry, &self.id) {
            return None;
        }
        let (replica, effects) = Replica::new(self.id.clone(), entry, setup.limits, setup.rules);
        self.process = Some(Process::over(replica, Head::default(), setup));
        Some(effects)
    }

    pub(crate) fn clock(&self, now: TimestampMs) -> TimestampMs {
        TimestampMs(now.0 + self.skew_ms)
    }
}

impl Process {
    fn over(replica: Replica<SimBatch>, head: Head, setup: &Setup) -> Process {
        let (puller, filler) = (Puller::default(), Filler::new(setup.rules));
        Process { replica, head, puller, filler, closer: Closer::new(setup.identity, setup.rules) }
    }

    /// The oldest range that holds samples and is not dropped.
    pub(crate) fn oldest(&self) -> Option<TimestampMs> {
        self.head.starts().find(|start| !self.replica.durable().is_dropped(*start))
    }
}

/// Applies a synced record to the samples.
pub(crate) fn apply(
    head: &mut Head,
    replica: &Replica<SimBatch>,
    record: &Record<SimBatch>,
    content: Option<&Head>,
    setup: &Setup,
) {
    let state = replica.durable();
    let keeps = |at: i64| !setup.rules.keep(Rule::DroppedNotKept) || !state.discards(TimestampMs(at));
    match record {
        Record::Batch(batch) => {
            let touches_dropped = batch.samples.iter().any(|s| !keeps(s.key.1));
            if touches_dropped && !setup.rules.keep(Rule::RestOfBatchKept) {
                return;
            }
            head.defined |= batch.defines;
            for sample in batch.samples.iter().filter(|s| keeps(s.key.1)) {
                head.insert(sample.key, sample.value, setup.stays());
            }
        }
        Record::Merged(_) => {
            let Some(content) = content else { return };
            if !setup.rules.keep(Rule::SnapshotsMerge) {
                head.ranges.clear();
            }
            head.defined |= content.defined;
            for (key, value) in content.ranges.values().flatten().filter(|(key, _)| keeps(key.1)) {
                head.insert(*key, *value, setup.stays());
            }
        }
        Record::Freed { start } => {
            head.free(start.0);
        }
        Record::Adopted(_)
        | Record::Filled(_)
        | Record::Covered { .. }
        | Record::Sealed { .. }
        | Record::Dropped { .. }
        | Record::Watermark { .. } => {}
    }
}
