//! The gRPC service by which every node serves the map on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{ClusterMap, MapVersion};
use futures::Stream;
use futures::stream::unfold;
use proto::SMALL_BYTES_MAX;
use proto::v1::cluster_map_server::{ClusterMap as ClusterMapRpc, ClusterMapServer};
use proto::v1::{MapUpdate, WatchRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Response, Status};

use crate::MapSource;

/// Largest encoded map: one at all its bounds takes less.
pub const MAP_BYTES_MAX: usize = 4 << 20;
/// A stream says at least this often that it lives, and how old its word is.
pub(crate) const WORD_INTERVAL: Duration = Duration::from_secs(1);
/// Streams at once. A follower that finds no place asks another peer.
const STREAMS_MAX: usize = 1024;

/// Serves a map to whoever follows it.
pub struct MapService {
    cluster: String,
    source: Arc<dyn MapSource>,
    stop: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
}

impl MapService {
    /// The service of a node in the cluster of this name; its streams end when `stop` is true.
    pub fn server(
        cluster: &str,
        source: Arc<dyn MapSource>,
        stop: watch::Receiver<bool>,
    ) -> ClusterMapServer<MapService> {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        ClusterMapServer::new(MapService { cluster: cluster.to_owned(), source, stop, streams })
            .max_decoding_message_size(SMALL_BYTES_MAX)
            .max_encoding_message_size(MAP_BYTES_MAX + SMALL_BYTES_MAX)
    }
}

/// One follower's stream.
struct Watched {
    source: Arc<dyn MapSource>,
    map: watch::Receiver<Arc<ClusterMap>>,
    stop: watch::Receiver<bool>,
    /// What the follower holds.
    sent: MapVersion,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Watched {
    async fn next(mut self) -> Option<(Result<MapUpdate, Status>, Watched)> {
        if self.begun {
            tokio::select! {
                // Cancel-safe because all three only wait.
                changed = self.map.changed() => changed.ok()?,
                () = tokio::time::sleep(WORD_INTERVAL) => {}
                _ = self.stop.wait_for(|stop| *stop) => return None,
            }
        }
        self.begun = true;
        let map = self.map.borrow_and_update().clone();
        let version = map.version();
        let newer = map.cluster().is_some() && version > self.sent;
        let frame = newer.then(|| proto::seal(Bytes::from(map.encode())));
        self.sent = self.sent.max(version);
        let age = self.source.age().unwrap_or_default();
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let version = if map.cluster().is_some() { version.0 } else { 0 };
        Some((Ok(MapUpdate { map: frame, version, age_ms }), self))
    }
}

#[tonic::async_trait]
impl ClusterMapRpc for MapService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<MapUpdate, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { cluster, known_version } = request.into_inner();
        crate::wire::check_cluster(&self.cluster, &cluster)?;
        let refused = |_| Status::resource_exhausted("too many nodes follow the map here");
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(refused)?;
        let watched = Watched {
            source: Arc::clone(&self.source),
            map: self.source.map(),
            stop: self.stop.clone(),
            sent: MapVersion(known_version),
            begun: false,
            _place: place,
        };
        Ok(Response::new(Box::pin(unfold(watched, Watched::next))))
    }
}
