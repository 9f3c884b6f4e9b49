//! Global reads: a cluster as one `storage::Queryable`.
//!
//! A question goes to a quorum of each group, hedged against slow replicas (`members.rs`; who counts is
//! `replication::reader`'s to say), then to the stores that have the blocks which stand for what the replicas no longer hold
//! (`stores.rs`). All that must be known to call an answer complete is in the first reply of each of them; only when these
//! are in are the streams merged (`stream.rs`), by series id and a batch of each at a time. A stream that breaks is replaced by
//! another replica's, read from its beginning, and what was given out already is passed over. What cannot be had is named with
//! the answer: one without a warning is complete.
//!
//! Holds no data and starts no task: dropping an answer drops every question behind it.

mod cluster;
mod extras;
mod gather;
mod members;
mod metrics;
mod question;
mod shortage;
mod stores;
mod stream;

pub use crate::cluster::{Clock, Cluster, Timing};
pub use metrics::Metrics;
pub use shortage::{Because, Shortage};

#[cfg(test)]
mod tests;
