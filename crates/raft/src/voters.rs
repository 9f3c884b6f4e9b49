//! Voters that come and go while the group runs, and what a leader has to know of itself before it decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, LinearizableReadError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{Instant as _, ReadPolicy};

use crate::node::{Node, ProposeError, leader};
use crate::transport::{Peer, VoterId};
use crate::types::{Raft, TypeConfig, VoterRecord};

/// Most voters: one more makes every decision slower and the group not much safer.
pub const VOTERS_MAX: usize = 7;

/// How long a new voter may take to catch up with the log before it counts.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a follower may take to lead in place of one that stops.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(3);

type Changes = openraft::ChangeMembers<u64, VoterRecord>;

/// Why the voters stay as they are, or why it is not known whether they do.
#[derive(Debug, thiserror::Error)]
pub enum ChangeVotersError {
    /// The change was not proposed, or lost its way, as with any command.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Another change is under way.
    #[error("another change of voters is under way")]
    InProgress,
    /// The voter does not take the log.
    #[error("{peer} did not catch up with the log within {timeout:?}")]
    Lagging {
        /// The node's name.
        peer: String,
        /// The time that it had.
        timeout: Duration,
    },
    /// Somebody of this name votes and was heard from not long ago.
    #[error("node id {name} is in use by voter {id}, heard {silence:?} ago")]
    InUse {
        /// The name.
        name: String,
        /// Who has it.
        id: VoterId,
        /// Since when it is silent.
        silence: Duration,
    },
    /// A bound is reached.
    #[error("there are {VOTERS_MAX} voters, and no more may be")]
    TooMany,
    /// There is no such voter.
    #[error("there is no voter {0}")]
    Unknown(VoterId),
    /// A group needs a voter.
    #[error("the last voter cannot be removed")]
    Last,
}

impl Node {
    /// Whether this voter's directory has ever been part of a group.
    pub async fn is_initialized(&self) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        let raft = self.raft.clone();
        Ok(self.on_own_threads(async move { raft.is_initialized().await }).await??)
    }

    /// Resolves once a majority has confirmed, after this call, that this node leads, and it has applied all that was
    /// committed before: what its map says then is not the past (ReadIndex).
    pub async fn confirm_leadership(&self, timeout: Duration) -> Result<(), ProposeError> {
        let raft = self.raft.clone();
        let asked = async move { raft.ensure_linearizable(ReadPolicy::ReadIndex).await };
        let confirmed = self.on_own_threads(async move { tokio::time::timeout(timeout, asked).await });
        match confirmed.await.map_err(ProposeError::Stopped)? {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                Err(ProposeError::NotLeader { leader: leader(to) })
            }
            Err(_) | Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(ProposeError::NoMajority)
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(ProposeError::Stopped(fatal.into())),
        }
    }

    /// Makes a voter of this peer: it takes the log first, and counts when it holds it. A voter of the same name and another
    /// id, whose directory must be gone then, ceases to be one in the same step; so a node cannot count twice. To be called
    /// on the leader.
    pub async fn admit_voter(&self, peer: &Peer, in_use_for: Duration) -> Result<(), ChangeVotersError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership().clone();
        let record = VoterRecord { name: peer.name.clone(), address: peer.address.clone() };
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let known = membership.get_node(&peer.id.0);
        if voters.contains(&peer.id.0) && membership.get_joint_config().len() == 1 {
            if known == Some(&record) {
                return Ok(());
            }
            tracing::info!(voter = %peer.id, name = peer.name, address = peer.address, "voter has another address");
            return self.change(Changes::SetNodes(BTreeMap::from([(peer.id.0, record)]))).await;
        }
        let namesakes: BTreeSet<u64> =
            membership.nodes().filter(|(id, n)| **id != peer.id.0 && n.name == peer.name).map(|(id, _)| *id).collect();
        for id in namesakes.intersection(&voters) {
            let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(id).copied().flatten());
            let silence = heard.map(|at| at.elapsed());
            // One that this leader has never heard was gone before it came to lead.
            if let Some(silence) = silence.filter(|silence| *silence < in_use_for) {
                return Err(ChangeVotersError::InUse { name: peer.name.clone(), id: VoterId(*id), silence });
            }
        }
        let replaced: BTreeSet<u64> = namesakes.intersection(&voters).copied().collect();
        if voters.len() - replaced.len() >= VOTERS_MAX {
            return Err(ChangeVotersError::TooMany);
        }
        self.learn(peer, record).await?;
        tracing::info!(voter = %peer.id, name = peer.name, ?replaced, "voter is admitted");
        let added = Changes::AddVoterIds(BTreeSet::from([peer.id.0]));
        self.change(Changes::Batch(vec![added, Changes::RemoveVoters(replaced.clone())])).await?;
        // Those that were to replace it before and never came that far.
        let learners: BTreeSet<u64> = namesakes.difference(&replaced).copied().collect();
        if learners.is_empty() { Ok(()) } else { self.change(Changes::RemoveNodes(learners)).await }
    }

    /// Takes the vote from a voter. To be called on the leader, which may be the one that goes.
    pub async fn remove_voter(&self, id: VoterId) -> Result<(), ChangeVotersError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        if !voters.contains(&id.0) {
            return Err(ChangeVotersError::Unknown(id));
        }
        if voters.len() == 1 {
            return Err(ChangeVotersError::Last);
        }
        tracing::info!(voter = %id, "voter is removed");
        self.change(Changes::RemoveVoters(BTreeSet::from([id.0]))).await
    }

    /// Ends a change of voters that an earlier leader began and did not end: while it lasts, two majorities are needed.
    pub async fn settle_voters(&self) -> Result<(), ChangeVotersError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let configs = metrics.membership_config.membership().get_joint_config().clone();
        match configs.last() {
            Some(last) if configs.len() > 1 && metrics.state.is_leader() => {
                tracing::info!("a change of voters that was left half done goes on");
                self.change(Changes::ReplaceAllVoters(last.clone())).await
            }
            _ => Ok(()),
        }
    }

    /// Gives the lead to the follower that holds most, if this node leads and there is one. It is a courtesy: without it the
    /// others elect one of them a little later.
    pub async fn hand_over(&self) {
        let metrics = self.raft.metrics().borrow_watched().clone();
        if !metrics.state.is_leader() {
            return;
        }
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let holds = metrics.replication.into_iter().flatten();
        let followers = holds.filter(|(id, held)| *id != self.id.0 && voters.contains(id) && held.is_some());
        let Some((next, _)) = followers.max_by_key(|(_, held)| held.map(|log_id| log_id.index)) else { return };
        let raft = self.raft.clone();
        let handed = self.on_own_threads(async move {
            raft.trigger().transfer_leader(next).await.map_err(|e| e.to_string())?;
            let other = |m: &openraft::RaftMetrics<TypeConfig>| !m.state.is_leader();
            raft.wait(Some(HAND_OVER_TIMEOUT)).metrics(other, "another leads").await.map_err(|e| e.to_string())
        });
        match handed.await {
            Ok(Ok(_)) => tracing::info!(to = %VoterId(next), "the lead was handed over"),
            Ok(Err(error)) => tracing::debug!(error, "the lead was not handed over"),
            Err(error) => tracing::debug!(error, "the lead was not handed over"),
        }
    }

    /// Sends the log to a peer that does not vote yet, and waits until it holds it.
    async fn learn(&self, peer: &Peer, record: VoterRecord) -> Result<(), ChangeVotersError> {
        let (raft, id) = (self.raft.clone(), peer.id.0);
        let learned = async move { raft.add_learner(id, record, true).await };
        let learned = self.on_own_threads(async move { tokio::time::timeout(CATCH_UP_TIMEOUT, learned).await });
        match learned.await.map_err(ProposeError::Stopped)? {
            Ok(written) => outcome(written),
            Err(_) => Err(ChangeVotersError::Lagging { peer: peer.name.clone(), timeout: CATCH_UP_TIMEOUT }),
        }
    }

    async fn change(&self, changes: Changes) -> Result<(), ChangeVotersError> {
        let raft: Raft = self.raft.clone();
        let changed = async move { raft.change_membership(changes, false).await };
        let changed = self.on_own_threads(async move { tokio::time::timeout(CATCH_UP_TIMEOUT, changed).await });
        match changed.await.map_err(ProposeError::Stopped)? {
            Ok(written) => outcome(written),
            Err(_) => Err(ProposeError::NoMajority.into()),
        }
    }
}

type Written = Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn outcome(written: Written) -> Result<(), ChangeVotersError> {
    match written {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => match error {
            ChangeMembershipError::InProgress(_) => Err(ChangeVotersError::InProgress),
            other => Err(ProposeError::Stopped(other.into()).into()),
        },
        Err(error) => Err(crate::node::propose_error(error).into()),
    }
}

#[cfg(test)]
mod tests;
