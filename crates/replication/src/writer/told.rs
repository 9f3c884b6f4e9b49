//! What a writer is told to do, and how requests end.

use cluster::{GroupId, Replica as ReplicaId};
use model::{SeriesId, TimestampMs};

use crate::Entry;

/// Names a request of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was sent is durable.
    Acked,
    /// What was not refused for good is durable.
    Refused {
        /// Time before this took no more samples.
        sealed_before: TimestampMs,
    },
    /// Nothing is known of some of it: the caller tries again, which does no harm.
    Retry(Why),
    /// Enough replicas say of some of it that it cannot be taken, now or later. The rest is durable.
    Invalid,
}

/// Why a request has to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Not enough replicas answered in time.
    Deadline,
    /// Not enough replicas can take anything now.
    Unavailable,
    /// No room, at replicas or here.
    Overload,
    /// Replicas say that the batch cannot be.
    Refused,
}

/// Why a request was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The bound on bytes in flight.
    #[error("{in_flight} bytes in flight, at most {max}")]
    Full {
        /// What there is.
        in_flight: usize,
        /// The bound.
        max: usize,
    },
    /// The map does not have the group.
    #[error("group {0} is unknown")]
    UnknownGroup(GroupId),
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Effect<P> {
    /// Send a batch to a replica; what it says goes to [`Writer::replied`].
    Send {
        /// To whom.
        to: ReplicaId,
        /// At which generation.
        entry: Entry,
        /// The batch.
        batch: P,
    },
    /// Send a replica the definitions of these series; when it has them it goes to [`Writer::defined`], with the batch as it is or
    /// encoded again under the same key. What cannot be defined is answered for the replica by [`Writer::replied`].
    Define {
        /// Whose part it is.
        request: RequestId,
        /// Who asks.
        to: ReplicaId,
        /// The group.
        group: GroupId,
        /// The batch as it is.
        batch: P,
        /// The series.
        ids: Vec<SeriesId>,
    },
    /// Take out of the batch what lies before an instant and encode the rest as a new batch; goes to [`Writer::rest`].
    Split {
        /// Whose part it is.
        request: RequestId,
        /// The group.
        group: GroupId,
        /// The batch.
        batch: P,
        /// Time before this takes no more samples.
        sealed_before: TimestampMs,
    },
    /// What is still on its way of a batch is nobody's: it is not worth its bytes, and what replicas say to it is not heard.
    Forget {
        /// The group.
        group: GroupId,
        /// The batch's number.
        seq: u64,
    },
    /// A request is over.
    Done(RequestId, Outcome),
}
