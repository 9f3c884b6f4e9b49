//! openraft's network over a [`Transport`]: requests out as bytes, and bytes in answered by the local Raft.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use cluster::codec::{DecodeError, Decoder, Encoder};
use futures::future::{Either, select};
use openraft::OptionalSend;
use openraft::errors::{
    Infallible, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use crate::codec;
use crate::node::HandleError;
use crate::transport::{Call, Peer, Transport, TransportError, VoterId};
use crate::types::{
    AppendRequest, AppendResponse, Raft, Snapshot, SnapshotResponse, TransferRequest, TransferResponse, TypeConfig,
    Vote, VoteRequest, VoteResponse, VoterRecord,
};

type RpcError = RPCError<TypeConfig>;

/// Makes the connections of one voter to the others.
pub(crate) struct Network {
    own: VoterId,
    transport: Arc<dyn Transport>,
}

/// The way to one peer. `append` is the kind of call that carries entries on it.
pub(crate) struct Link {
    own: VoterId,
    peer: Peer,
    append: Call,
    transport: Arc<dyn Transport>,
}

impl Network {
    pub(crate) fn new(own: VoterId, transport: Arc<dyn Transport>) -> Network {
        Network { own, transport }
    }

    fn link(&self, target: u64, record: &VoterRecord, append: Call) -> Link {
        let peer = Peer { id: VoterId(target), name: record.name.clone(), address: record.address.clone() };
        Link { own: self.own, peer, append, transport: Arc::clone(&self.transport) }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, record: &VoterRecord) -> Link {
        self.link(target, record, Call::AppendEntries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, record: &VoterRecord) -> Link {
        self.link(target, record, Call::Heartbeat)
    }
}

impl Link {
    async fn call<T>(
        &self,
        call: Call,
        option: &RPCOption,
        put: impl FnOnce(&mut Encoder),
        get: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, RpcError> {
        let request = codec::encode_request(self.peer.id.0, put);
        let timeout = option.soft_ttl();
        // The transport is asked to keep the time; this one only makes sure that a careless one cannot hold up elections.
        let sent = self.transport.send(&self.peer, call, request, timeout);
        let reply = match tokio::time::timeout(option.hard_ttl(), sent).await {
            Ok(reply) => reply.map_err(|e| self.failed(call, e))?,
            Err(_) => return Err(self.failed(call, TransportError::TimedOut { timeout: option.hard_ttl() })),
        };
        codec::decode_reply(&reply, get).map_err(|e| RPCError::Network(NetworkError::new(&e)))
    }

    fn failed(&self, call: Call, error: TransportError) -> RpcError {
        let (id, target) = (self.own.0, self.peer.id.0);
        let action = match call {
            Call::AppendEntries | Call::Heartbeat => RPCTypes::AppendEntries,
            Call::Vote | Call::PreVote => RPCTypes::Vote,
            Call::FullSnapshot => RPCTypes::InstallSnapshot,
            Call::TransferLeader => RPCTypes::TransferLeader,
        };
        match error {
            TransportError::TimedOut { timeout } => RPCError::Timeout(Timeout { action, id, target, timeout }),
            // openraft waits a while before it tries again.
            TransportError::Unreachable { .. } | TransportError::Refused(_) => {
                RPCError::Unreachable(Unreachable::new(&error))
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = Bytes;

    async fn append_entries(&mut self, rpc: AppendRequest, option: RPCOption) -> Result<AppendResponse, RpcError> {
        let put = |e: &mut Encoder| codec::put_append_request(e, &rpc);
        self.call(self.append, &option, put, codec::get_append_response).await
    }

    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        let put = |e: &mut Encoder| codec::put_vote_request(e, &rpc);
        self.call(Call::Vote, &option, put, codec::get_vote_response).await
    }

    // Not left to openraft's default, which grants every pre-vote unasked.
    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        let put = |e: &mut Encoder| codec::put_vote_request(e, &rpc);
        self.call(Call::PreVote, &option, put, codec::get_vote_response).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<TypeConfig>> {
        let put = |e: &mut Encoder| codec::put_snapshot_request(e, &vote, &snapshot.meta, &snapshot.snapshot);
        let call = self.call(Call::FullSnapshot, &option, put, codec::get_snapshot_response);
        // Cancel-safe because a snapshot that arrives all the same is judged by its vote.
        match select(std::pin::pin!(call), std::pin::pin!(cancel)).await {
            Either::Left((reply, _)) => Ok(reply?),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(&mut self, rpc: TransferRequest, option: RPCOption) -> Result<TransferResponse, RpcError> {
        let put = |e: &mut Encoder| codec::put_transfer_request(e, &rpc);
        self.call(Call::TransferLeader, &option, put, codec::get_transfer_response).await
    }
}

/// What a peer is told.
pub(crate) struct Answer {
    pub(crate) bytes: Bytes,
    /// Whether the peer leads, as far as this node knows.
    pub(crate) from_leader: bool,
}

/// Answers a request that a peer's [`Link`] sent.
pub(crate) async fn answer(raft: &Raft, own: VoterId, call: Call, request: &[u8]) -> Result<Answer, HandleError> {
    let (target, mut d) = codec::open_request(request)?;
    if target != own.0 {
        return Err(HandleError::OtherVoter { meant: VoterId(target), own });
    }
    let mut from_leader = false;
    let bytes = match call {
        Call::AppendEntries | Call::Heartbeat => {
            let request = read(d, codec::get_append_request)?;
            let reply = raft.append_entries(request).await.map_err(stopped)?;
            from_leader = !matches!(reply, AppendResponse::HigherVote(_));
            codec::encode_reply(|e| codec::put_append_response(e, &reply))
        }
        Call::Vote => {
            let request = read(d, codec::get_vote_request)?;
            let reply = raft.vote(request).await.map_err(stopped)?;
            codec::encode_reply(|e| codec::put_vote_response(e, &reply))
        }
        Call::PreVote => {
            let request = read(d, codec::get_vote_request)?;
            let reply = raft.pre_vote(request).await.map_err(stopped)?;
            codec::encode_reply(|e| codec::put_vote_response(e, &reply))
        }
        Call::FullSnapshot => {
            // The snapshot fills the rest of the request.
            let (vote, stored) = codec::get_snapshot_request(&mut d)?;
            let snapshot = Snapshot { meta: stored.meta, snapshot: stored.data };
            let reply = raft.install_full_snapshot(vote, snapshot).await.map_err(|e| HandleError::Stopped(e.into()))?;
            codec::encode_reply(|e| codec::put_snapshot_response(e, &reply))
        }
        Call::TransferLeader => {
            let request = read(d, codec::get_transfer_request)?;
            let reply = raft.handle_transfer_leader(request).await.map_err(|e| HandleError::Stopped(e.into()))?;
            codec::encode_reply(|e| codec::put_transfer_response(e, &reply))
        }
    };
    Ok(Answer { bytes, from_leader })
}

fn read<T>(mut d: Decoder<'_>, get: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let request = get(&mut d)?;
    d.finish()?;
    Ok(request)
}

fn stopped(error: RaftError<TypeConfig, Infallible>) -> HandleError {
    match error {
        RaftError::Fatal(fatal) => HandleError::Stopped(fatal.into()),
        RaftError::APIError(never) => match never {},
    }
}
