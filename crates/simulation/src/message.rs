//! What is on its way.

use std::sync::Arc;

use cluster::{GroupId, Replica as ReplicaId};
use model::TimestampMs;
use replication::Entry;
use replication::puller::PullRequest;
use replication::replica::{ListReply, PushReply, ReadReply, SealReply, SnapshotHead};

use crate::data::{Head, Key, SimBatch};
use crate::store::{StoreAsk, StoreReply};

/// Who is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// A replica, wherever its process stands.
    Replica(ReplicaId),
    /// A process of a node: replies to what an earlier process asked are lost.
    Process(usize, u64),
    Writer(usize),
    Reader(usize),
    Store,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Push { entry: Entry, batch: SimBatch },
    Pushed { group: GroupId, seq: u64, from: ReplicaId, reply: PushReply },
    Pull { id: u64, puller: ReplicaId, entry: Entry, request: PullRequest },
    Listed { id: u64, from: ReplicaId, reply: ListReply },
    Fetched { id: u64, from: ReplicaId, batches: Option<Vec<SimBatch>> },
    Snapshot { id: SnapshotFor, from: ReplicaId, reply: Result<(SnapshotHead, Arc<Head>), Entry> },
    Fill { entry: Entry },
    Seal { attempt: u64, entry: Entry, start: TimestampMs },
    Sealed { attempt: u64, from: ReplicaId, reply: SealReply },
    Read { query: u64, entry: Entry },
    Held { query: u64, from: ReplicaId, reply: ReadReply, samples: Arc<Vec<(Key, f64)>> },
    Store { tag: u64, ask: StoreAsk },
    Stored { tag: u64, reply: StoreReply },
    Map { entry: Entry },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotFor {
    Pull(u64),
    Fill,
}

#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// Where a reply goes.
    pub(crate) from: To,
    pub(crate) to: To,
    pub(crate) message: Message,
}

/// What a replica was asked, until it speaks.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Push { group: GroupId, seq: u64 },
    List { id: u64 },
    Snapshot { id: SnapshotFor },
    Seal { attempt: u64 },
    Read { query: u64 },
}
