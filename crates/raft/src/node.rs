//! A voter of the control plane's Raft group: what the rest of the program sees of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Address, COMMAND_BYTES_MAX, ClusterMap, Command, DecodeError, NodeId, Outcome};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{
    ClientWriteError, Fatal, ForwardReason, ForwardToLeader, InitializeError as RaftInitializeError, RaftError,
};
use openraft::{Instant as _, SnapshotPolicy};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{oneshot, watch};

use crate::disk::{Db, OpenError};
use crate::flusher::Flusher;
use crate::log::Log;
use crate::machine::Machine;
use crate::network::{self, Network};
use crate::transport::{Call, Peer, Transport, VoterId};
use crate::types::{Raft, TypeConfig, VoterRecord};

/// Threads of the node's own runtime: one may wait for the disk while the other keeps heartbeats going.
const THREADS: usize = 2;

/// A leader heartbeats this often.
const HEARTBEAT_MS: u64 = 500;

/// A follower that hears nothing for a time drawn between these stands for election. Nothing on the sample path waits for
/// it, so it is long enough for a slow disk's fsync.
const ELECTION_MS: std::ops::Range<u64> = 2000..4000;

/// A leader without a majority is silent, and heard, for this long by turns, so that followers which hear it but are not
/// heard (a link broken one way) can elect another.
const SILENCE_MS: u64 = 2 * ELECTION_MS.end;

/// Time for a whole snapshot, which is a few MiB at most, to arrive and be installed.
const SNAPSHOT_TIMEOUT_MS: u64 = 15_000;

/// Commands between snapshots; a restart applies at most about this many again.
const SNAPSHOT_EVERY: u64 = 2000;

/// Entries kept behind the newest snapshot for followers that lag a little.
const KEPT_BEHIND_SNAPSHOT: u64 = 500;

/// How long a stopping node waits for what its threads still do.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Who a node is and where it keeps its log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory, `<storage.path>/raft`; made if it is absent.
    pub dir: PathBuf,
    /// The node's name.
    pub name: NodeId,
    /// Where it answers others.
    pub address: Address,
}

/// A running voter. It stops when dropped, in the background; [`Node::shutdown`] waits for it.
pub struct Node {
    pub(crate) raft: Raft,
    pub(crate) id: VoterId,
    options: Options,
    map: watch::Receiver<Arc<ClusterMap>>,
    threads: Handle,
    /// When a leader last spoke to this node. Guards a value that is copied; never held over an await.
    heard_leader: Mutex<Option<Instant>>,
    /// Taken once, by whoever stops the node first. Never held over an await.
    running: Mutex<Option<Running>>,
}

/// What ends with the node.
struct Running {
    runtime: OwnRuntime,
    flush_thread: JoinHandle<()>,
}

/// How a voter fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// This voter.
    pub id: VoterId,
    /// The term it is in. Two leaders may share one, so it is no fencing token; the index of a command is.
    pub term: u64,
    /// The leader that it knows of; itself, perhaps.
    pub leader: Option<Peer>,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether the group was ever initialised, as far as this voter knows.
    pub initialized: bool,
    /// The voters, by id.
    pub voters: Vec<Peer>,
    /// Index of the last entry in its log.
    pub last_log: Option<u64>,
    /// Index of the last entry that it knows to be committed.
    pub committed: Option<u64>,
    /// Index of the last entry applied.
    pub last_applied: Option<u64>,
    /// Index of the last entry in its newest snapshot.
    pub snapshot: Option<u64>,
    /// Index of the last entry that was removed from its log.
    pub purged: Option<u64>,
    /// False once it has stopped, by request or because its disk failed.
    pub running: bool,
}

/// Why a group cannot be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitializeError {
    /// It is already; there is nothing to do.
    #[error("the raft group is initialised already")]
    AlreadyInitialized,
    /// This node is not among the voters.
    #[error("voter {0} is not among the voters given")]
    NotAVoter(VoterId),
    /// The node has stopped.
    #[error("the raft node has stopped")]
    Stopped(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a command has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another leads, or nobody: nothing happened.
    #[error("this node does not lead the control plane")]
    NotLeader {
        /// Whom to ask instead, if known.
        leader: Option<Peer>,
    },
    /// This node leads, but no majority has answered it for a while, or not yet since it was elected: nothing happened, and
    /// soon it or another may be able to.
    #[error("the leader of the control plane reaches no majority")]
    NoMajority,
    /// Leadership was lost while the command was under way: it may be applied or not.
    #[error("leadership was lost; whether the command was applied is unknown")]
    Unknown {
        /// Whom to ask instead, if known.
        leader: Option<Peer>,
    },
    /// No legal command is so large.
    #[error("command of {bytes} bytes, at most {COMMAND_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The node has stopped, by request or because its disk failed. The command may be in its log.
    #[error("the raft node has stopped")]
    Stopped(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a node is not yet at the group's present.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Not in the time given: there is no majority, or the node lags far behind.
    #[error("the raft group has not committed what this node holds within {timeout:?}")]
    TimedOut {
        /// The time given.
        timeout: Duration,
    },
    /// The node has stopped.
    #[error("the raft node has stopped")]
    Stopped(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a peer's request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The sender means a voter that was here before.
    #[error("voter {meant} was meant, this is {own}")]
    OtherVoter {
        /// Whom the sender means.
        meant: VoterId,
        /// Who this is.
        own: VoterId,
    },
    /// The bytes are no such request.
    #[error("read raft request")]
    Malformed(#[from] DecodeError),
    /// The node has stopped.
    #[error("the raft node has stopped")]
    Stopped(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Node {
    /// Opens the directory and takes up where the node left off: the state is what the log says is committed. A voter of
    /// an initialised group takes part in it from here on.
    pub async fn open(options: Options, transport: Arc<dyn Transport>) -> Result<Node, OpenError> {
        let start = |source| OpenError::Start(source);
        let runtime = OwnRuntime::new().map_err(|e| start(e.into()))?;
        let threads = runtime.handle();
        let dir = options.dir.clone();
        let opened = threads.spawn_blocking(move || Db::open(&dir, VoterId(rand::random())));
        let db = Arc::new(opened.await.map_err(|e| start(e.into()))??);
        let id = db.id();
        let (flusher, flush_thread) = Flusher::start(Arc::clone(&db)).map_err(|e| start(e.into()))?;
        let (publish, map) = watch::channel(Arc::new(ClusterMap::default()));
        let machine = Machine::new(Arc::clone(&db), flusher.clone(), publish);
        let log = Log::new(db, flusher);
        let config = Arc::new(config().validate().map_err(|e| start(e.into()))?);
        let network = Network::new(id, transport);
        let raft = threads.spawn(async move {
            let raft = Raft::new(id.0, config, network, log, machine).await?;
            // Metrics are empty until openraft's own task has begun; it answers only then.
            raft.is_initialized().await?;
            Ok(raft)
        });
        let raft = raft.await.map_err(|e| start(e.into()))?.map_err(|e| match e {
            Fatal::StorageError(e) => OpenError::Damaged { dir: options.dir.clone(), source: e.into() },
            other => start(other.into()),
        })?;
        tracing::info!(dir = %options.dir.display(), voter = %id, "raft node opened");
        let running = Mutex::new(Some(Running { runtime, flush_thread }));
        Ok(Node { raft, id, options, map, threads, heard_leader: Mutex::default(), running })
    }

    /// This node as a voter.
    pub fn peer(&self) -> Peer {
        let (name, address) = (self.options.name.to_string(), self.options.address.to_string());
        Peer { id: self.id, name, address }
    }

    /// Begins a group of this node alone; it leads at once. Once in a directory's life.
    pub async fn initialize_single(&self) -> Result<(), InitializeError> {
        self.initialize(&[self.peer()]).await
    }

    /// Begins a group of these voters, of which this node is one. To be called on one of them only, when all are empty.
    pub async fn initialize(&self, voters: &[Peer]) -> Result<(), InitializeError> {
        let record = |peer: &Peer| VoterRecord { name: peer.name.clone(), address: peer.address.clone() };
        let voters: BTreeMap<u64, VoterRecord> = voters.iter().map(|peer| (peer.id.0, record(peer))).collect();
        let raft = self.raft.clone();
        let initialized = self.on_own_threads(async move { raft.initialize(voters).await });
        match initialized.await.map_err(InitializeError::Stopped)? {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(RaftInitializeError::NotAllowed(_))) => Err(InitializeError::AlreadyInitialized),
            Err(RaftError::APIError(RaftInitializeError::NotInMembers(_))) => Err(InitializeError::NotAVoter(self.id)),
            Err(RaftError::Fatal(fatal)) => Err(InitializeError::Stopped(fatal.into())),
        }
    }

    /// Resolves when this node has applied everything that it held when the group, this time around, first committed
    /// something: what it read before, it reads again. Fails where there is no majority.
    pub async fn recovered(&self, timeout: Duration) -> Result<(), RecoverError> {
        let raft = self.raft.clone();
        let recovered = self.on_own_threads(async move { raft.wait_for_recovery(Some(timeout)).await });
        match recovered.await.map_err(RecoverError::Stopped)? {
            Ok(_) => Ok(()),
            Err(openraft::metrics::WaitError::Timeout(..)) => Err(RecoverError::TimedOut { timeout }),
            Err(stopped @ openraft::metrics::WaitError::ShuttingDown) => Err(RecoverError::Stopped(stopped.into())),
        }
    }

    /// Has the group commit a command, and resolves with its outcome when this node, the leader, has applied it and it is
    /// durable on a majority. Without a majority it waits; a caller that gives up does not withdraw the command.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let bytes = command.encode().len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes });
        }
        let raft = self.raft.clone();
        let written = self.on_own_threads(async move { raft.client_write(command).await });
        match written.await.map_err(ProposeError::Stopped)? {
            Ok(response) => Ok(response.data.expect("the entry of a command has an outcome")),
            Err(error) => Err(propose_error(error)),
        }
    }

    /// The cluster map as this node has applied it, and word of each change.
    pub fn map(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.map.clone()
    }

    /// The node's own threads: what serves its peers belongs there, so that heavy work elsewhere cannot starve it.
    pub fn threads(&self) -> Handle {
        self.threads.clone()
    }

    /// How long ago this voter had word that its map is the group's: as the leader from a majority, as a follower from the
    /// leader. `None` if it never had.
    pub fn map_age(&self) -> Option<Duration> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.state.is_leader() {
            // The word of a lone voter is that of the group, and nobody acknowledges it.
            if metrics.membership_config.membership().voter_ids().all(|id| id == self.id.0) {
                return Some(Duration::ZERO);
            }
            return metrics.last_quorum_acked.map(|at| at.elapsed());
        }
        self.heard_leader.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// How this voter fares now.
    pub fn metrics(&self) -> Metrics {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let peer = |id: u64, record: &VoterRecord| Peer {
            id: VoterId(id),
            name: record.name.clone(),
            address: record.address.clone(),
        };
        let membership = metrics.membership_config.membership();
        let leader = metrics.current_leader.and_then(|id| Some(peer(id, membership.get_node(&id)?)));
        Metrics {
            id: self.id,
            term: metrics.current_term,
            leader,
            is_leader: metrics.state.is_leader(),
            initialized: metrics.last_log_index.is_some() || metrics.purged.is_some(),
            voters: membership.voter_ids().filter_map(|id| Some(peer(id, membership.get_node(&id)?))).collect(),
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.map(|id| id.index),
            last_applied: metrics.last_applied.map(|id| id.index),
            snapshot: metrics.snapshot.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            running: metrics.running_state.is_ok(),
        }
    }

    /// Answers what a peer's transport brought.
    pub async fn handle(&self, call: Call, request: Bytes) -> Result<Bytes, HandleError> {
        let (raft, own) = (self.raft.clone(), self.id);
        let answered = self.on_own_threads(async move { network::answer(&raft, own, call, &request).await });
        let reply = answered.await.map_err(HandleError::Stopped)??;
        if reply.from_leader {
            *self.heard_leader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(reply.bytes)
    }

    /// Stops the node and gives its directory back. What was acknowledged is on disk with or without it.
    pub async fn shutdown(&self) {
        let raft = self.raft.clone();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { runtime, flush_thread }) = running else { return };
        if let Err(error) = self.on_own_threads(async move { raft.shutdown().await }).await {
            tracing::warn!(error, "raft node did not stop in order");
        }
        // A runtime may not be waited for on a thread of another one.
        let (done, stopped) = oneshot::channel();
        let stop = move || {
            runtime.stop(STOP_TIMEOUT);
            // It ends with the last task that could write, and closes the database.
            let ended = flush_thread.join().is_ok();
            // Nobody may wait for it any more.
            done.send(ended).ok();
        };
        if let Err(error) = std::thread::Builder::new().name("raft-stop".into()).spawn(stop) {
            tracing::warn!(%error, "raft node stops in the background");
            return;
        }
        if !stopped.await.unwrap_or(false) {
            tracing::error!("raft flush thread panicked");
        }
    }

    /// Runs a future on the node's own threads, where openraft's timers live.
    pub(crate) async fn on_own_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
        self.threads.spawn(work).await.map_err(Into::into)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why an entry was not written, or not for certain.
pub(crate) fn propose_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::Fatal(fatal) => ProposeError::Stopped(fatal.into()),
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => match to.reason {
            ForwardReason::LeaseExpired => ProposeError::NoMajority,
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                ProposeError::NotLeader { leader: leader(to) }
            }
        },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(to)) => ProposeError::Unknown { leader: leader(to) },
        RaftError::APIError(
            e @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_)),
        ) => ProposeError::Stopped(e.into()),
    }
}

pub(crate) fn leader(to: ForwardToLeader<TypeConfig>) -> Option<Peer> {
    let (id, record) = (to.leader_id?, to.leader_node?);
    Some(Peer { id: VoterId(id), name: record.name, address: record.address })
}

fn config() -> openraft::Config {
    openraft::Config {
        cluster_name: "narthex".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.start,
        election_timeout_max: ELECTION_MS.end,
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: KEPT_BEHIND_SNAPSHOT,
        purge_batch_size: 256,
        replication_lag_threshold: SNAPSHOT_EVERY + KEPT_BEHIND_SNAPSHOT,
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(SILENCE_MS),
        ..openraft::Config::default()
    }
}

/// The node's threads. Dropped, they end in the background: a runtime may not be waited for on a thread of another one.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> std::io::Result<OwnRuntime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name("raft").enable_all().build()?;
        Ok(OwnRuntime(Some(runtime)))
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().expect("taken only when it ends").handle().clone()
    }

    fn stop(mut self, timeout: Duration) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(timeout);
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
