//! Following the map: by a stream from a ruler or any other peer, with a copy on disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{ClusterMap, MapVersion, Node, NodeId, NodeState, Role};
use model::TimestampMs;
use proto::v1::cluster_map_client::ClusterMapClient;
use proto::v1::{MapUpdate, WatchRequest};
use proto::{Dialer, SMALL_BYTES_MAX};
use tokio::task::JoinHandle;
use tonic::{Request, Status};

use crate::held::{AdoptError, HeldMap, MapSource};
use crate::map_file::MapFile;
use crate::serve::{MAP_BYTES_MAX, WORD_INTERVAL};

/// A stream that says nothing for this long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Word older than this makes a follower look for a peer that knows more.
const AGE_MAX: Duration = Duration::from_secs(15);
/// How long a peer with old word is listened to before another is tried.
const OLD_WORD_PATIENCE: Duration = Duration::from_secs(5);
/// Between peers, so that a cluster of which nobody answers is not asked without pause.
const PAUSE: Duration = Duration::from_millis(200);
/// For opening a stream; afterwards `SILENCE_MAX` counts.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Peers tried before the list is made anew from the newest map.
const PEERS_MAX: usize = 64;

/// Follows the map until dropped.
pub struct Follower {
    held: Arc<HeldMap>,
    task: JoinHandle<()>,
}

/// What a follower needs.
struct Following {
    cluster: String,
    own: NodeId,
    control_plane: Vec<String>,
    dialer: Dialer,
    held: Arc<HeldMap>,
    file: Option<MapFile>,
    clock: fn() -> TimestampMs,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Dial(#[from] proto::DialError),
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("the stream was silent")]
    Silent,
    #[error("the peer's own word is old")]
    Old,
    #[error("the stream ended")]
    Ended,
    #[error(transparent)]
    Frame(#[from] proto::FrameError),
    #[error("read cluster map")]
    Decode(#[from] cluster::DecodeError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
}

impl Follower {
    /// Begins to follow, from the copy on disk if there is one. A copy that is damaged is said and passed over: it is a copy.
    /// `clock` is the wall clock, for the age of what lies on disk. The node `own` does not ask itself.
    pub async fn start(
        cluster: &str,
        own: NodeId,
        control_plane: &[String],
        dialer: Dialer,
        file: Option<MapFile>,
        clock: fn() -> TimestampMs,
    ) -> Follower {
        let held = Arc::new(HeldMap::default());
        if let Some(file) = file.clone() {
            load(&held, file, clock).await;
        }
        let (cluster, control_plane) = (cluster.to_owned(), control_plane.to_vec());
        let following = Following { cluster, own, control_plane, dialer, held: Arc::clone(&held), file, clock };
        Follower { held, task: tokio::spawn(following.run()) }
    }

    /// The map as it is held, to be served on.
    pub fn held(&self) -> Arc<HeldMap> {
        Arc::clone(&self.held)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn load(held: &HeldMap, file: MapFile, clock: fn() -> TimestampMs) {
    match tokio::task::spawn_blocking(move || file.load()).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some((map, as_of)))) => {
            let age = Duration::from_millis(u64::try_from(clock().0.saturating_sub(as_of.0)).unwrap_or(0));
            let version = map.version();
            match held.adopt(map, age) {
                Ok(_) => tracing::info!(%version, age_seconds = age.as_secs(), "cluster map read from disk"),
                Err(error) => tracing::error!(%error, "cluster map on disk was not taken"),
            }
        }
        Ok(Err(error)) => {
            tracing::error!(error = %chain(&error), "cluster map on disk was not read; peers will be asked")
        }
        Err(error) => tracing::error!(%error, "reading the cluster map failed"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Following {
    async fn run(self) {
        let mut peers = VecDeque::new();
        let mut said: Option<String> = None;
        loop {
            if peers.is_empty() {
                peers = self.peers();
            }
            if let Some(address) = peers.pop_front() {
                let error = self.watch(&address).await;
                let text = chain(&error);
                // What stays the same is said once.
                match &error {
                    WatchError::Frame(_) | WatchError::Decode(_) | WatchError::Adopt(_)
                        if said.as_ref() != Some(&text) =>
                    {
                        tracing::error!(peer = address, error = text, "a peer's cluster map was refused");
                        said = Some(text);
                    }
                    WatchError::Status(status)
                        if status.code() == tonic::Code::PermissionDenied && said.as_ref() != Some(&text) =>
                    {
                        tracing::error!(peer = address, reason = text, "a peer refuses to serve the cluster map");
                        said = Some(text);
                    }
                    _ => tracing::debug!(peer = address, error = text, "following the cluster map ended"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whom to ask: the control plane as it was given, then rulers in the map, then all others that are up.
    fn peers(&self) -> VecDeque<String> {
        let map = self.held.map().borrow().clone();
        let others = |(id, node): &(&NodeId, &Node)| **id != self.own && node.state == NodeState::Up;
        let (rulers, rest): (Vec<_>, Vec<_>) =
            map.nodes().filter(others).partition(|(_, node)| node.roles.contains(Role::Ruler));
        let in_map = rulers.into_iter().chain(rest).map(|(_, node)| node.address.as_str().to_owned());
        let mut peers = VecDeque::new();
        for address in self.control_plane.iter().cloned().chain(in_map) {
            if !peers.contains(&address) {
                peers.push_back(address);
            }
        }
        peers.truncate(PEERS_MAX);
        peers
    }

    /// Follows one peer until its stream ends, or others may know more.
    async fn watch(&self, address: &str) -> WatchError {
        match self.listen(address).await {
            Ok(()) => WatchError::Ended,
            Err(error) => error,
        }
    }

    async fn listen(&self, address: &str) -> Result<(), WatchError> {
        // The stream lasts; only its opening and its silences have a bound.
        let channel = self.dialer.dial(address, OPEN_TIMEOUT)?;
        let mut client = ClusterMapClient::new(channel).max_decoding_message_size(MAP_BYTES_MAX + SMALL_BYTES_MAX);
        let known_version = self.held.map().borrow().version().0;
        let request = Request::new(WatchRequest { cluster: self.cluster.clone(), known_version });
        let opened = tokio::time::timeout(OPEN_TIMEOUT, client.watch(request)).await;
        let mut updates = opened.map_err(|_| WatchError::Silent)??.into_inner();
        let since = Instant::now();
        loop {
            let update = tokio::time::timeout(SILENCE_MAX.max(2 * WORD_INTERVAL), updates.message()).await;
            let Some(update) = update.map_err(|_| WatchError::Silent)?? else { return Ok(()) };
            let age = Duration::from_millis(update.age_ms);
            let empty = update.version == 0;
            self.take(update).await?;
            if (age > AGE_MAX || empty) && since.elapsed() > OLD_WORD_PATIENCE {
                return Err(WatchError::Old);
            }
        }
    }

    async fn take(&self, update: MapUpdate) -> Result<(), WatchError> {
        let MapUpdate { map, version, age_ms } = update;
        let age = Duration::from_millis(age_ms);
        if map.is_none() {
            self.held.confirm(MapVersion(version), age);
            return Ok(());
        }
        let bytes = proto::open(map, MAP_BYTES_MAX)?;
        let map = ClusterMap::decode(&bytes)?;
        if self.held.adopt(map, age)? {
            let version = self.held.map().borrow().version();
            tracing::debug!(%version, "cluster map is newer");
            self.save(age).await;
        }
        Ok(())
    }

    async fn save(&self, age: Duration) {
        let Some(file) = self.file.clone() else { return };
        let map = self.held.map().borrow().clone();
        let as_of = (self.clock)().0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let saved = tokio::task::spawn_blocking(move || file.save(&map, TimestampMs(as_of))).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "cluster map was not kept on disk"),
            Err(error) => tracing::error!(%error, "writing the cluster map failed"),
        }
    }
}

#[cfg(test)]
mod tests;
