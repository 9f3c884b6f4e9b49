//! The replication protocol under a seeded scheduler.
//!
//! A run draws a cluster, its faults and its load from one seed: groups of one to three replicas and a spare, two writers,
//! two readers, a bucket, the control plane's real state machine. Then things happen one after the other, whichever the
//! dice choose: a message arrives (late, twice, out of order, or never), a log is synced, a process crashes and keeps a
//! part of what it had not synced, a disk is lost, a member is replaced or drained, the network splits, the bucket is
//! away, clocks differ, time passes. After each step the assertions of the protocol are checked by someone who sees
//! everything. At the end faults cease, and all must come to rest: members equal, a complete answer with all that was
//! ever acknowledged, each sample once.
//!
//! Never linked into the program. No real time, file or thread.

mod check;
mod clients;
mod control;
mod data;
mod message;
mod node;
mod profile;
mod random;
mod serve;
mod store;
mod world;

use replication::Rules;

use crate::world::World;

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Samples acknowledged.
    pub acknowledged: u64,
    /// Queries answered completely.
    pub complete_answers: u64,
    /// Manifests.
    pub closed_ranges: u64,
    /// Ranges of tenants for which blocks were uploaded.
    pub blocks: u64,
    /// Of them, how many more than once.
    pub uploaded_again: u64,
    /// Members exchanged.
    pub generations: u64,
    /// Requests to replicas.
    pub requests: u64,
    /// Crashes.
    pub crashes: u64,
    /// Disks lost.
    pub lost_disks: u64,
    /// Snapshots of peers that were merged, those that fill new members included.
    pub merges: u64,
    /// Batches that were pulled and logged.
    pub pulled: u64,
    /// Ranges freed.
    pub freed: u64,
    /// Watermarks raised.
    pub watermarks: u64,
    /// Batches refused because of a seal.
    pub sealed: u64,
    /// Batches sent again with definitions.
    pub defined: u64,
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Runs it again.
    pub seed: u64,
    /// How many steps were done.
    pub step: usize,
    /// What was violated.
    pub what: String,
    /// The last events before it.
    pub events: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in &self.events {
            writeln!(f, "{event}")?;
        }
        write!(f, "seed {} after {} steps: {}", self.seed, self.step, self.what)
    }
}

/// Runs one seed.
pub fn run(seed: u64, rules: Rules) -> Result<Report, Failure> {
    match attempt(seed, rules, false) {
        Ok(report) => Ok(report),
        // Again, the same, with the events written down.
        Err(failure) => Err(attempt(seed, rules, true).err().unwrap_or(failure)),
    }
}

/// Whether the seed shows a violation; events are not kept.
pub fn finds(seed: u64, rules: Rules) -> Option<String> {
    attempt(seed, rules, false).err().map(|failure| failure.what)
}

fn attempt(seed: u64, rules: Rules, traced: bool) -> Result<Report, Failure> {
    let mut world = World::new(seed, rules, traced);
    let steps = world.profile.steps;
    let mut done = 0;
    let mut outcome = Ok(());
    while done < steps && outcome.is_ok() {
        outcome = world.step();
        done += 1;
    }
    match outcome.and_then(|()| world.settle()) {
        Ok(()) => Ok(world.report()),
        Err(what) => {
            let events = world.trace.take().map(Vec::from).unwrap_or_default();
            Err(Failure { seed, step: done, what, events })
        }
    }
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: Report) {
        self.acknowledged += other.acknowledged;
        self.complete_answers += other.complete_answers;
        self.closed_ranges += other.closed_ranges;
        self.blocks += other.blocks;
        self.uploaded_again += other.uploaded_again;
        self.generations += other.generations;
        self.requests += other.requests;
        self.crashes += other.crashes;
        self.lost_disks += other.lost_disks;
        self.merges += other.merges;
        self.pulled += other.pulled;
        self.freed += other.freed;
        self.watermarks += other.watermarks;
        self.sealed += other.sealed;
        self.defined += other.defined;
    }
}

#[cfg(test)]
mod tests;
