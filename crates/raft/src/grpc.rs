//! The [`Transport`] over gRPC: three connections per peer, each with a bound on what is under way.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use proto::v1::raft_client::RaftClient;
use proto::v1::{RaftReply, RaftRequest};
use proto::{Dialer, SMALL_BYTES_MAX};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::transport::{Call, Peer, Transport, TransportError};

/// Largest request or reply but for snapshots: a megabyte of entries, and one entry more.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Largest snapshot: a map at all its bounds takes a few MiB.
pub(crate) const SNAPSHOT_BYTES_MAX: usize = 64 << 20;
/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 256 << 10;
/// A connection's own timeout, beyond what any call is given.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(60);
/// Addresses to which connections are kept; past it, all are made anew.
const PEERS_MAX: usize = 64;

/// Carries Raft's requests to the service [`crate::RaftService`] of peers.
pub struct GrpcTransport {
    cluster: String,
    dialer: Dialer,
    /// Guards a look-up only. By address.
    peers: Mutex<BTreeMap<String, Arc<Lanes>>>,
}

/// The connections to one peer: heartbeats and votes queue behind nothing.
struct Lanes {
    urgent: Lane,
    entries: Lane,
    snapshots: Lane,
}

struct Lane {
    channel: Channel,
    /// Calls under way; one more fails at once, and Raft tries again later.
    room: Arc<Semaphore>,
}

impl GrpcTransport {
    /// A transport for voters of the cluster of this name.
    pub fn new(cluster: &str, dialer: Dialer) -> GrpcTransport {
        GrpcTransport { cluster: cluster.to_owned(), dialer, peers: Mutex::default() }
    }

    fn lanes(&self, address: &str) -> Result<Arc<Lanes>, proto::DialError> {
        let mut peers = self.peers.lock();
        if let Some(lanes) = peers.get(address) {
            return Ok(Arc::clone(lanes));
        }
        let lane = |room: usize| {
            let channel = self.dialer.dial(address, CHANNEL_TIMEOUT)?;
            Ok(Lane { channel, room: Arc::new(Semaphore::new(room)) })
        };
        let lanes = Arc::new(Lanes { urgent: lane(32)?, entries: lane(16)?, snapshots: lane(1)? });
        if peers.len() >= PEERS_MAX {
            peers.clear();
        }
        peers.insert(address.to_owned(), Arc::clone(&lanes));
        Ok(lanes)
    }
}

impl Transport for GrpcTransport {
    fn send(
        &self,
        peer: &Peer,
        call: Call,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (name, address) = (peer.name.clone(), peer.address.clone());
        let unreachable = move |source: Box<dyn std::error::Error + Send + Sync>| TransportError::Unreachable {
            peer: name.clone(),
            address: address.clone(),
            source,
        };
        let lanes = match self.lanes(&peer.address) {
            Ok(lanes) => lanes,
            Err(e) => return Box::pin(async move { Err(unreachable(e.into())) }),
        };
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let (lane, reply_max) = match call {
                Call::Heartbeat | Call::Vote | Call::PreVote | Call::TransferLeader => (&lanes.urgent, SMALL_BYTES_MAX),
                Call::AppendEntries => (&lanes.entries, MESSAGE_BYTES_MAX),
                Call::FullSnapshot => (&lanes.snapshots, SMALL_BYTES_MAX),
            };
            let Ok(_room) = Arc::clone(&lane.room).try_acquire_owned() else {
                return Err(TransportError::Refused("too many calls to the peer are under way".into()));
            };
            let client = RaftClient::new(lane.channel.clone())
                .max_decoding_message_size(reply_max)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            // Cancel-safe because a call that is dropped may or may not have arrived, as the trait says.
            let reply = match tokio::time::timeout(timeout, ask(client, cluster, call, request, timeout)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(status)) => return Err(failed(status, timeout, unreachable)),
                Err(_) => return Err(TransportError::TimedOut { timeout }),
            };
            proto::open(reply.frame, reply_max).map_err(|e| TransportError::Refused(e.into()))
        })
    }
}

async fn ask(
    mut client: RaftClient<Channel>,
    cluster: String,
    call: Call,
    request: Bytes,
    timeout: Duration,
) -> Result<RaftReply, Status> {
    if call == Call::FullSnapshot {
        let mut request = Request::new(futures::stream::iter(chunks(cluster, request)));
        request.set_timeout(timeout);
        return Ok(client.install_snapshot(request).await?.into_inner());
    }
    let total_bytes = request.len() as u64;
    let mut request = Request::new(RaftRequest { cluster, frame: Some(proto::seal(request)), total_bytes });
    request.set_timeout(timeout);
    let reply = match call {
        Call::AppendEntries => client.append_entries(request).await,
        Call::Heartbeat => client.heartbeat(request).await,
        Call::Vote => client.vote(request).await,
        Call::PreVote => client.pre_vote(request).await,
        Call::TransferLeader => client.transfer_leader(request).await,
        Call::FullSnapshot => unreachable!("handled above"),
    };
    Ok(reply?.into_inner())
}

/// The messages of a snapshot; each says how large the whole is.
fn chunks(cluster: String, mut rest: Bytes) -> impl Iterator<Item = RaftRequest> {
    let total_bytes = rest.len() as u64;
    std::iter::from_fn(move || {
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
        let frame = (!chunk.is_empty()).then(|| proto::seal(chunk))?;
        Some(RaftRequest { cluster: cluster.clone(), frame: Some(frame), total_bytes })
    })
}

fn failed(
    status: Status,
    timeout: Duration,
    unreachable: impl Fn(Box<dyn std::error::Error + Send + Sync>) -> TransportError,
) -> TransportError {
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => TransportError::TimedOut { timeout },
        // What the connection says of itself has no better code.
        Code::Unavailable | Code::Unknown | Code::Internal => unreachable(status.into()),
        _ => TransportError::Refused(status.into()),
    }
}
