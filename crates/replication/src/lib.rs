//! How replicas agree, as values and pure functions: the cores of writer, replica, puller, closer and reader.
//!
//! The protocol is that of the design's `REPLICATION.md`; comments name its rules in italics or by number. No clock, no I/O,
//! no runtime: times, random ids and the results of effects come in as arguments, and what is to be sent, logged, synced
//! or uploaded comes out as values. The crate `simulation` runs these cores together under faults, and shows for each
//! [`Rule`] that leaving it out loses data that the simulation sees.
//!
//! # Where the text was silent or wrong
//!
//! 1. *Sections that touch a dropped range are discarded*: a section, and a whole batch, may touch an open range besides. What
//!    lies there must be kept, or a cover claims what is not held ([`State::discards`] judges samples, not sections).
//! 2. A merged snapshot takes a position of the log that merged it ([`Record::Merged`]). Else a replica that was filled by
//!    snapshots has an empty log, its seal names position 0, and a closer cuts without what only it holds.
//! 3. A batch that was pulled after a seal is not acknowledged when its writer sends it: it lies behind the position that the
//!    seal named. The question whether the range is sealed comes before the question whether the batch is held.
//! 4. `sealed` is an instant: a seal seals all time before the end of its range, and ranges are cut oldest first. So a
//!    watermark for dropped ranges cannot pass over one that was never closed.
//! 5. Positions that peers speak of are those of batches and merges. If records like a cover counted, two idle replicas would
//!    log covers of each other's covers for ever.
//! 6. Everything said waits for a sync of what it rests on, refusals and flags included: a generation that was adopted and
//!    forgotten in a crash would be served as an older one later.
//! 7. The word of a member on being filled is void when it comes back after it had left ([`State`]).
//! 8. A reply that calls its sender unfilled while the entry in hand knows of no earlier generation does not count
//!    ([`quorum`]).
//! 9. Blocks of an attempt are deleted only when a manifest was read that does not list them ([`closer`]).
//! 10. A replica that learns of a dropped range by a peer's snapshot drops it, too: the peer has read the manifest.
//! 11. The set of names of batches that are held must cover the untruncated log, or two replicas log each other's batches
//!     for ever ([`replica::Limits`]).

pub mod closer;
mod entry;
pub mod fill;
pub mod manifest;
mod payload;
pub mod puller;
pub mod quorum;
pub mod range;
pub mod reader;
pub mod replica;
mod rule;
mod state;
#[cfg(test)]
mod tests_support;
pub mod writer;

pub use entry::{Entry, is_live, is_newer, live_members};
pub use payload::{BatchKey, Payload};
pub use rule::{Rule, Rules};
pub use state::{Drop, Listed, ManifestName, Merged, Record, State};

/// Number of a record in a replica's log, from 1; zero is before all.
pub type Position = u64;
