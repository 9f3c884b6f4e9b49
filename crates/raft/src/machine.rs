//! The state machine as openraft drives it: the control plane's state in memory, its snapshots on disk.
//!
//! The state itself is not written at each command. A restart reads the newest snapshot and applies the log up to the
//! committed entry again.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cluster::codec::DecodeError;
use cluster::{ClusterMap, State};
use futures::{Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::{Mutex, watch};

use crate::codec;
use crate::disk::{Db, KEY_SNAPSHOT, invalid};
use crate::flusher::Flusher;
use crate::log::Log;
use crate::types::{LogId, Payload, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// The replicated state of a voter.
pub(crate) struct Machine {
    state: State,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Snapshots,
    map: watch::Sender<Arc<ClusterMap>>,
}

impl Machine {
    /// A machine that has applied nothing; openraft gives it the newest snapshot and the log.
    pub(crate) fn new(db: Arc<Db>, flusher: Flusher, map: watch::Sender<Arc<ClusterMap>>) -> Machine {
        Machine {
            state: State::default(),
            last_applied: None,
            membership: StoredMembership::default(),
            snapshots: Snapshots { db, flusher, writing: Arc::default() },
            map,
        }
    }

    fn publish_map(&self) {
        let map = self.state.map();
        self.map.send_if_modified(|published| {
            let newer = published.version() != map.version();
            if newer {
                *published = Arc::new(map.clone());
            }
            newer
        });
    }
}

/// Reads the state in a snapshot, and checks it against what the snapshot says to cover.
pub(crate) fn decode_state(meta: &SnapshotMeta, data: &[u8]) -> Result<State, DecodeError> {
    let state = State::decode(data)?;
    if state.applied() > meta.last_log_id.map_or(0, |last| last.index) {
        return Err(DecodeError::Rule { rule: "a snapshot's state is no newer than the snapshot" });
    }
    Ok(state)
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let outcome = match &entry.payload {
                Payload::Blank => None,
                Payload::Normal(command) => Some(self.state.apply(entry.log_id.index, command)),
                Payload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    None
                }
            };
            self.last_applied = Some(entry.log_id);
            // The map goes first: who reads the outcome of a command finds its effect in the map.
            self.publish_map();
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() };
        Builder { meta, data: self.state.encode().into(), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let state = decode_state(meta, &snapshot).map_err(invalid)?;
        self.snapshots.save(meta, &snapshot).await?;
        self.state = state;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish_map();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some(bytes) = self.snapshots.db.get(KEY_SNAPSHOT)? else { return Ok(None) };
        let stored = codec::decode_snapshot(&bytes).map_err(invalid)?;
        Ok(Some(Snapshot { meta: stored.meta, snapshot: stored.data }))
    }
}

/// A copy of the state to be written while the machine goes on.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    data: Bytes,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.snapshots.save(&self.meta, &self.data).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: self.data.clone() })
    }
}

/// The newest snapshot on disk.
#[derive(Clone)]
struct Snapshots {
    db: Arc<Db>,
    flusher: Flusher,
    /// Held from comparing with the stored snapshot to replacing it: one that is built in the background must not replace
    /// a newer one that the leader sent meanwhile. No other lock is taken under it.
    writing: Arc<Mutex<()>>,
}

impl Snapshots {
    /// Resolves when the snapshot, or one that covers more, is durable.
    async fn save(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let stored = self.db.get(KEY_SNAPSHOT)?;
        let stored = stored.map(|bytes| codec::decode_snapshot_meta(&bytes).map_err(invalid)).transpose()?;
        if stored.is_none_or(|stored| stored.last_log_id <= meta.last_log_id) {
            self.db.write(|batch| batch.put(KEY_SNAPSHOT, &codec::encode_snapshot(meta, data)))?;
        }
        Log::flush(&self.flusher).await
    }
}
