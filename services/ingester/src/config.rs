//! How an ingester is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Address, ClusterId, GroupId, Incarnation, NodeId, Replica as ReplicaId, SingleNode, Zone, next_step};
use disk::Disk;
use model::{DurationMs, TimestampMs};
use replication::Entry;

/// When what was written is made to survive power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged.
    EveryCommit,
    /// So often; an acknowledged sample may be lost with the machine (not with the process).
    Interval(Duration),
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + std::marker::Sync>;
/// Tells how far back samples are taken.
pub type Window = Arc<dyn Fn() -> DurationMs + Send + std::marker::Sync>;

/// How an ingester is set up.
#[derive(Clone)]
pub struct Config {
    /// The data directory.
    pub folder: PathBuf,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// Which replica the directory is: the node and the directory's incarnation.
    pub replica: ReplicaId,
    /// Its group, as newly as is known. One of several members makes a directory that is damaged be given up
    /// ([`crate::OpenError::Damaged`]); a group of one has nobody to ask and goes on with what it could read.
    pub entry: Entry,
    /// The time by which this replica consents to seals.
    pub clock: Clock,
    /// How far back samples are taken, at the moment.
    pub window: Window,
    /// When to sync.
    pub sync: Sync,
    /// Number of partitions of the cluster.
    pub partition_count: u32,
    /// Exemplars kept per tenant.
    pub exemplars_max: usize,
    /// Bytes of batches between arrival and acknowledgement; beyond it writers are told to come back.
    pub in_flight_bytes_max: usize,
    /// A snapshot is due after so many bytes of log: what a restart reads beside it. A snapshot of 200,000 series is half as large.
    pub snapshot_after_bytes: usize,
    /// Bytes of log that are kept for peers which have not pulled them and for snapshots; beyond it writers are told to come
    /// back.
    pub log_bytes_max: u64,
    /// Bytes of the newest batches that are held in memory for peers.
    pub newest_bytes_max: usize,
    /// Bounds of the log.
    pub log: wal::Limits,
}

impl Config {
    /// Defaults over the files of `folder`: a group of one, of the node `all`, whose clock stands still before all time, so that
    /// it seals nothing.
    pub fn new(folder: PathBuf) -> Config {
        let replica = ReplicaId { node: NodeId::new("all").expect("a short name"), incarnation: Incarnation(1) };
        Config {
            folder,
            disk: Arc::new(disk::RealDisk),
            entry: alone(&replica),
            replica,
            clock: Arc::new(|| TimestampMs::MIN),
            window: Arc::new(|| DurationMs::hours(1)),
            sync: Sync::EveryCommit,
            partition_count: 16,
            exemplars_max: 100_000,
            in_flight_bytes_max: 64 << 20,
            snapshot_after_bytes: 128 << 20,
            log_bytes_max: 8 << 30,
            newest_bytes_max: 32 << 20,
            log: wal::Limits::default(),
        }
    }
}

/// The group of a cluster of one, as the control plane makes it.
pub(crate) fn alone(replica: &ReplicaId) -> Entry {
    let single = SingleNode {
        cluster: ClusterId(1),
        partition_count: 16,
        node: replica.node.clone(),
        zone: Zone::new("local").expect("a short name"),
        address: Address::new("in-process").expect("printable"),
        incarnation: replica.incarnation,
    };
    let mut state = cluster::State::default();
    while let Some(command) = next_step(state.map(), &single) {
        state.apply(state.applied() + 1, &command);
    }
    Arc::new(state.map().group(GroupId(0)).expect("the steps end with a group").clone())
}
