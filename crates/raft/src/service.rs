//! The gRPC service of a voter: checks what came, and hands it to the node.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proto::v1::raft_server::{Raft as RaftRpc, RaftServer};
use proto::v1::{DescribeReply, DescribeRequest, RaftReply, RaftRequest, Voter};
use proto::{FrameError, SMALL_BYTES_MAX};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::{MESSAGE_BYTES_MAX, SNAPSHOT_BYTES_MAX};
use crate::node::{HandleError, Node};
use crate::transport::{Call, Peer, VoterId};

/// Requests that are handled at once; one more is refused, and its sender tries again.
const REQUESTS_MAX: usize = 256;

/// The gRPC service that [`crate::GrpcTransport`] speaks to. It wants to be served on the node's own threads
/// ([`Node::threads`]).
pub struct RaftService {
    cluster: String,
    node: Arc<Node>,
    room: Semaphore,
    /// One snapshot at a time is held in memory.
    snapshot: Semaphore,
}

impl RaftService {
    /// The service of this node in the cluster of this name, with its bounds on sizes.
    pub fn server(cluster: &str, node: Arc<Node>) -> RaftServer<RaftService> {
        let (room, snapshot) = (Semaphore::new(REQUESTS_MAX), Semaphore::new(1));
        RaftServer::new(RaftService { cluster: cluster.to_owned(), node, room, snapshot })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn check_cluster(&self, cluster: &str) -> Result<(), Status> {
        if cluster == self.cluster {
            return Ok(());
        }
        tracing::warn!(asked = cluster, own = self.cluster, "a voter of another cluster was refused");
        Err(Status::permission_denied(format!("this is cluster {:?}, not {cluster:?}", self.cluster)))
    }

    async fn unary(&self, call: Call, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        let _room = self.room.try_acquire().map_err(|_| Status::resource_exhausted("too many requests at once"))?;
        let RaftRequest { cluster, frame, .. } = request.into_inner();
        self.check_cluster(&cluster)?;
        let payload = proto::open(frame, MESSAGE_BYTES_MAX)?;
        self.handle(call, payload).await
    }

    async fn handle(&self, call: Call, payload: Bytes) -> Result<Response<RaftReply>, Status> {
        let reply = self.node.handle(call, payload).await.map_err(|e| status(&e))?;
        Ok(Response::new(RaftReply { frame: Some(proto::seal(reply)) }))
    }

    /// Puts the chunks of a snapshot together.
    async fn collect(&self, mut chunks: Streaming<RaftRequest>) -> Result<Bytes, Status> {
        let mut whole = BytesMut::new();
        let mut expected = None;
        while let Some(RaftRequest { cluster, frame, total_bytes }) = chunks.message().await? {
            self.check_cluster(&cluster)?;
            let total = usize::try_from(total_bytes).unwrap_or(usize::MAX);
            if total > SNAPSHOT_BYTES_MAX {
                return Err(FrameError::TooLarge { bytes: total, max: SNAPSHOT_BYTES_MAX }.into());
            }
            if *expected.get_or_insert(total) != total {
                return Err(Status::invalid_argument("the chunks of a snapshot disagree on its size"));
            }
            let chunk = proto::open(frame, total - whole.len())?;
            whole.extend_from_slice(&chunk);
        }
        match expected {
            Some(expected) if expected == whole.len() => Ok(whole.freeze()),
            Some(expected) => {
                let message = format!("the snapshot ends after {} of {expected} bytes", whole.len());
                Err(Status::data_loss(message))
            }
            None => Err(Status::invalid_argument("a snapshot of no chunks")),
        }
    }
}

fn status(error: &HandleError) -> Status {
    let message = error.to_string();
    match error {
        HandleError::OtherVoter { .. } => Status::failed_precondition(message),
        HandleError::Malformed(e) => Status::invalid_argument(format!("{message}: {e}")),
        HandleError::Stopped(_) => Status::unavailable(message),
    }
}

impl From<Peer> for Voter {
    fn from(peer: Peer) -> Voter {
        Voter { id: peer.id.0, name: peer.name, address: peer.address }
    }
}

impl From<Voter> for Peer {
    fn from(voter: Voter) -> Peer {
        Peer { id: VoterId(voter.id), name: voter.name, address: voter.address }
    }
}

#[tonic::async_trait]
impl RaftRpc for RaftService {
    async fn append_entries(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.unary(Call::AppendEntries, request).await
    }

    async fn heartbeat(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.unary(Call::Heartbeat, request).await
    }

    async fn vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.unary(Call::Vote, request).await
    }

    async fn pre_vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.unary(Call::PreVote, request).await
    }

    async fn transfer_leader(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        self.unary(Call::TransferLeader, request).await
    }

    async fn install_snapshot(&self, request: Request<Streaming<RaftRequest>>) -> Result<Response<RaftReply>, Status> {
        let refused = |_| Status::resource_exhausted("another snapshot is being received");
        let _snapshot = self.snapshot.try_acquire().map_err(refused)?;
        let whole = self.collect(request.into_inner()).await?;
        self.handle(Call::FullSnapshot, whole).await
    }

    async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<DescribeReply>, Status> {
        let DescribeRequest { cluster, sender } = request.into_inner();
        self.check_cluster(&cluster)?;
        let own = self.node.peer();
        if let Some(sender) = sender.filter(|sender| sender.name == own.name && sender.id != own.id.0) {
            tracing::warn!(sender = sender.address, name = own.name, "a second ruler with this node's id was refused");
            let message = format!("node id {} is in use by the ruler at {}", own.name, own.address);
            return Err(Status::already_exists(message));
        }
        let initialized = self.node.is_initialized().await.map_err(|e| Status::unavailable(e.to_string()))?;
        Ok(Response::new(DescribeReply { voter: Some(own.into()), initialized }))
    }
}

/// Most bytes of a `Describe` reply.
pub(crate) const DESCRIBE_BYTES_MAX: usize = SMALL_BYTES_MAX;
