//! What a writer sends batches to.

use batch::Batch;
use futures::future::BoxFuture;
use model::{SeriesId, TimestampMs};

/// What a replica says to a batch. In all cases but `Ok` nothing was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushReply {
    /// Logged, synced and applied, as a member of this generation.
    Ok {
        /// The replica's generation.
        generation: u64,
    },
    /// These ids are not known here: send the batch with their definitions.
    Need(Vec<SeriesId>),
    /// The batch touches time before this, which takes no more samples.
    Sealed(TimestampMs),
    /// No room at the moment.
    Full {
        /// The bound on bytes in flight that was met.
        limit_bytes: usize,
    },
    /// Not able to take anything now, and why.
    NotNow(String),
    /// The batch is not one that a writer of ours sends.
    Refused(String),
}

/// A replica, in this process or behind gRPC.
pub trait Replica: Send + Sync + 'static {
    /// Offers a batch.
    fn push(&self, batch: Batch) -> BoxFuture<'static, PushReply>;
}
