//! The traits of `peer` over gRPC: services that make an implementation reachable ([`IngesterService`], [`StoreService`],
//! [`ScraperService`]), and clients that implement the traits for nodes of the cluster map ([`Connections`]).
//!
//! A call carries the cluster's name and the node with its incarnation that it is meant for, and its content in a frame of
//! `proto` in a little-endian layout of ours (`record.rs` and below). What goes wrong on the way ends the call with a status,
//! which the caller sees as `peer::Unanswered`. Answers of any length are streams of pages (`page.rs`), sent as fast as they
//! are read; dropping one stops the work on the other side. Nothing is decided here: what calls mean is `replication`'s.

mod client;
mod connections;
mod entries;
#[doc(hidden)]
pub mod fuzzing;
mod page;
mod record;
mod service;
#[cfg(test)]
mod tests;

pub use connections::Connections;
pub use service::{IngesterService, Own, ScraperService, StoreService};

use std::time::Duration;

/// Largest message. A batch takes 1 MiB at most; a page is a quarter of that unless one item is larger.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bounds of calls to others.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a push; its sender may send it again.
    pub push_timeout: Duration,
    /// Time for an answer of one message: a list, a seal.
    pub short_timeout: Duration,
    /// Time for a whole stream, its reading included: a select, labels, a fetch.
    pub stream_timeout: Duration,
    /// Bytes of an answer that is collected before it is given (labels, exemplars, metadata, an index, targets).
    pub collected_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            push_timeout: Duration::from_secs(10),
            short_timeout: Duration::from_secs(10),
            stream_timeout: Duration::from_secs(300),
            collected_bytes_max: 256 << 20,
        }
    }
}
