//! What is on its way.

use std::fmt;
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
    Push {
        group: GroupId,
        seq: u64,
        /// It touched a sealed range when it came.
        sealed: bool,
    },
    List {
        id: u64,
    },
    Snapshot {
        id: SnapshotFor,
    },
    Seal {
        attempt: u64,
    },
    Read {
        query: u64,
    },
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Replica(id) => write!(f, "{}/{}", id.node, id.incarnation.0),
            To::Process(index, epoch) => write!(f, "n{index}#{epoch}"),
            To::Writer(w) => write!(f, "writer {w}"),
            To::Reader(r) => write!(f, "reader {r}"),
            To::Store => f.write_str("bucket"),
        }
    }
}

/// One line for the report of a failure.
impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: ", self.from, self.to)?;
        let at = |entry: &Entry| format!("g{}:{}", entry.id(), entry.newest().number);
        match &self.message {
            Message::Push { entry, batch } => {
                let samples: Vec<_> = batch.samples.iter().map(|s| (s.key, s.value)).collect();
                write!(f, "push {}.{} at {}: {samples:?}", batch.key.writer, batch.key.seq, at(entry))
            }
            Message::Pushed { seq, reply: PushReply::Stale(entry), .. } => {
                write!(f, "pushed {seq}: stale, {}", at(entry))
            }
            Message::Pushed { seq, reply, .. } => write!(f, "pushed {seq}: {reply:?}"),
            Message::Pull { id, entry, request, .. } => write!(f, "pull {id} at {}: {request:?}", at(entry)),
            Message::Listed { id, reply: ListReply::Truncated, .. } => write!(f, "listed {id}: truncated"),
            Message::Listed { id, reply: ListReply::Listed { to, items }, .. } => {
                let items: Vec<_> = items.iter().map(|(position, _)| position).collect();
                write!(f, "listed {id} to {to}: {items:?}")
            }
            Message::Fetched { id, batches, .. } => {
                let keys = batches.as_ref().map(|b| b.iter().map(|b| (b.key.writer, b.key.seq)).collect::<Vec<_>>());
                write!(f, "fetched {id}: {keys:?}")
            }
            Message::Snapshot { id, reply: Err(entry), .. } => write!(f, "snapshot {id:?}: stale, {}", at(entry)),
            Message::Snapshot { id, reply: Ok((head, _)), .. } => {
                write!(
                    f,
                    "snapshot {id:?} of {} to {}, covers {:?}, {:?}",
                    head.of, head.position, head.covers, head.flags
                )
            }
            Message::Fill { entry } => write!(f, "fill at {}", at(entry)),
            Message::Seal { attempt, entry, start } => write!(f, "seal {start} at {}, {attempt}", at(entry)),
            Message::Sealed { attempt, reply: SealReply::Stale(entry), .. } => {
                write!(f, "seal {attempt}: stale, {}", at(entry))
            }
            Message::Sealed { attempt, reply, .. } => write!(f, "seal {attempt}: {reply:?}"),
            Message::Read { query, entry } => write!(f, "read {query} at {}", at(entry)),
            Message::Held { query, reply: ReadReply::Stale(entry), .. } => {
                write!(f, "read {query}: stale, {}", at(entry))
            }
            Message::Held { query, reply, samples, .. } => {
                write!(f, "read {query}: {} samples, {reply:?}", samples.len())
            }
            Message::Store { tag, ask: StoreAsk::Upload(blocks) } => {
                let names: Vec<_> = blocks.iter().map(|b| (b.name, b.start, b.samples.len())).collect();
                write!(f, "bucket {tag}: upload {names:?}")
            }
            Message::Store { tag, ask } => write!(f, "bucket {tag}: {ask:?}"),
            Message::Stored { tag, reply: StoreReply::Block(block) } => {
                write!(f, "bucket {tag}: block {:?}", block.as_ref().map(|b| b.name))
            }
            Message::Stored { tag, reply } => write!(f, "bucket {tag}: {reply:?}"),
            Message::Map { entry } => write!(f, "map {}", at(entry)),
        }
    }
}
