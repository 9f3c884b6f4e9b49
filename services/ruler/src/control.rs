//! The gRPC service `ControlPlane`: checks what came, and has the leader decide.

use std::sync::Arc;

use cluster::{Address, Beat, COMMAND_BYTES_MAX, Command, NodeId, NodeState};
use membership::wire::{self, Named};
use proto::v1::control_plane_server::{ControlPlane, ControlPlaneServer};
use proto::v1::{
    AdmitVoterReply, AdmitVoterRequest, HeartbeatReply, HeartbeatRequest, JoinReply, JoinRequest, LeaveReply,
    LeaveRequest, RemoveVoterReply, RemoveVoterRequest, ReportReply, ReportRequest, StatusReply, StatusRequest, Voter,
};
use proto::{LEADER_HEADER, SMALL_BYTES_MAX};
use raft::{ChangeVotersError, Node, Peer, ProposeError, VoterId};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::leader::{Leader, NotNow};

/// Requests that are decided at once; one more is asked to come again.
const REQUESTS_MAX: usize = 512;

pub(crate) struct Control {
    cluster: String,
    node: Arc<Node>,
    leader: Arc<Leader>,
    /// Addresses of `--cluster.control-plane`: whoever answers there may vote.
    listed: Vec<String>,
    room: Semaphore,
}

impl Control {
    pub(crate) fn server(
        cluster: &str,
        node: Arc<Node>,
        leader: Arc<Leader>,
        listed: &[String],
    ) -> ControlPlaneServer<Control> {
        let (cluster, listed, room) = (cluster.to_owned(), listed.to_vec(), Semaphore::new(REQUESTS_MAX));
        ControlPlaneServer::new(Control { cluster, node, leader, listed, room })
            .max_decoding_message_size(SMALL_BYTES_MAX)
            .max_encoding_message_size(SMALL_BYTES_MAX)
    }

    fn enter(&self, cluster: &str) -> Result<tokio::sync::SemaphorePermit<'_>, Status> {
        wire::check_cluster(&self.cluster, cluster)?;
        self.room.try_acquire().map_err(|_| Status::resource_exhausted("too many requests at once"))
    }

    fn map_version(&self) -> u64 {
        self.node.map().borrow().version().0
    }

    fn voters(&self) -> Vec<Voter> {
        self.node.metrics().voters.into_iter().map(Into::into).collect()
    }

    /// Whether a ruler may become a voter without an operator's word: it is listed, or follows one of its name.
    fn may_vote(&self, peer: &Peer) -> bool {
        self.listed.contains(&peer.address) || self.node.metrics().voters.iter().any(|voter| voter.name == peer.name)
    }
}

fn refused(node: &impl std::fmt::Display, why: &NotNow) -> Status {
    let status = status(why);
    if matches!(why, NotNow::Refused(_) | NotNow::Join(_)) {
        tracing::warn!(%node, reason = %why, "a node was refused");
    }
    status
}

fn status(why: &NotNow) -> Status {
    let message = why.to_string();
    match why {
        NotNow::Elsewhere(leader) => elsewhere(leader.as_ref(), message),
        NotNow::Later(_) => Status::unavailable(message),
        NotNow::Refused(_) => Status::failed_precondition(message),
        NotNow::Join(_) => Status::already_exists(message),
    }
}

/// UNAVAILABLE, with the leader if it is known.
fn elsewhere(leader: Option<&Peer>, message: String) -> Status {
    let mut status = Status::unavailable(message);
    if let Some(address) = leader.and_then(|leader| leader.address.parse().ok()) {
        status.metadata_mut().insert(LEADER_HEADER, address);
    }
    status
}

fn voters_status(error: &ChangeVotersError) -> Status {
    let message = error.to_string();
    match error {
        ChangeVotersError::Propose(ProposeError::NotLeader { leader } | ProposeError::Unknown { leader }) => {
            elsewhere(leader.as_ref(), message)
        }
        ChangeVotersError::Propose(_) | ChangeVotersError::InProgress | ChangeVotersError::Lagging { .. } => {
            Status::unavailable(message)
        }
        ChangeVotersError::InUse { .. } => Status::already_exists(message),
        ChangeVotersError::TooMany | ChangeVotersError::Last => Status::failed_precondition(message),
        ChangeVotersError::Unknown(_) => Status::not_found(message),
    }
}

fn peer(voter: Option<Voter>) -> Result<Peer, Status> {
    let peer: Peer = voter.ok_or_else(|| Status::invalid_argument("the voter is missing"))?.into();
    if NodeId::new(&peer.name).is_none() || Address::new(&peer.address).is_none() {
        return Err(Status::invalid_argument("the voter's name or address is impossible"));
    }
    Ok(peer)
}

#[tonic::async_trait]
impl ControlPlane for Control {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let request = request.into_inner();
        let _room = self.enter(&request.cluster)?;
        let joining = wire::joining(request)?;
        self.leader.join(&joining).await.map_err(|why| refused(&joining.node, &why))?;
        Ok(Response::new(JoinReply { map_version: self.map_version() }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatReply>, Status> {
        let request = request.into_inner();
        let _room = self.enter(&request.cluster)?;
        let Named { replica, address } = wire::named(request.node)?;
        let beat = self.leader.hear(&replica, &address).map_err(|why| refused(&replica, &why))?;
        Ok(Response::new(HeartbeatReply { join: beat == Beat::Join, map_version: self.map_version() }))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveReply>, Status> {
        let request = request.into_inner();
        let _room = self.enter(&request.cluster)?;
        let Named { replica, .. } = wire::named(request.node)?;
        let left = Command::SetNodeState {
            node: replica.node.clone(),
            incarnation: replica.incarnation,
            state: NodeState::Left,
        };
        self.leader.propose(left).await.map_err(|why| refused(&replica, &why))?;
        Ok(Response::new(LeaveReply { map_version: self.map_version() }))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportReply>, Status> {
        let request = request.into_inner();
        let _room = self.enter(&request.cluster)?;
        let Named { replica, .. } = wire::named(request.node)?;
        let bytes = proto::open(request.command, COMMAND_BYTES_MAX)?;
        let command = wire::reported(&replica, &bytes)?;
        self.leader.propose(command).await.map_err(|why| refused(&replica, &why))?;
        Ok(Response::new(ReportReply { map_version: self.map_version() }))
    }

    async fn admit_voter(&self, request: Request<AdmitVoterRequest>) -> Result<Response<AdmitVoterReply>, Status> {
        let request = request.into_inner();
        let _room = self.enter(&request.cluster)?;
        let peer = peer(request.voter)?;
        self.leader.confirm().await.map_err(|why| status(&why))?;
        if !request.by_operator && !self.may_vote(&peer) {
            let message = format!("{} at {} is not listed in --cluster.control-plane", peer.name, peer.address);
            tracing::warn!(reason = message, "a ruler was not admitted as a voter");
            return Err(Status::failed_precondition(message));
        }
        let admitted = self.node.admit_voter(&peer, self.leader.times().lease).await;
        admitted.map_err(|e| {
            tracing::warn!(voter = %peer.id, name = peer.name, reason = %e, "a ruler was not admitted as a voter");
            voters_status(&e)
        })?;
        Ok(Response::new(AdmitVoterReply { voters: self.voters() }))
    }

    async fn remove_voter(&self, request: Request<RemoveVoterRequest>) -> Result<Response<RemoveVoterReply>, Status> {
        let request = request.into_inner();
        let _room = self.enter(&request.cluster)?;
        self.leader.confirm().await.map_err(|why| status(&why))?;
        self.node.remove_voter(VoterId(request.id)).await.map_err(|e| voters_status(&e))?;
        Ok(Response::new(RemoveVoterReply { voters: self.voters() }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let _room = self.enter(&request.into_inner().cluster)?;
        let metrics = self.node.metrics();
        Ok(Response::new(StatusReply {
            voter: Some(self.node.peer().into()),
            initialized: metrics.initialized,
            term: metrics.term,
            leader: metrics.leader.map(Into::into),
            voters: metrics.voters.into_iter().map(Into::into).collect(),
            last_log: metrics.last_log.unwrap_or(0),
            last_applied: metrics.last_applied.unwrap_or(0),
            snapshot: metrics.snapshot.unwrap_or(0),
            map_version: self.map_version(),
        }))
    }
}
