//! How a group comes into being: an empty voter asks all that are to be its first voters.

use std::time::Duration;

use proto::Dialer;
use proto::v1::DescribeRequest;
use proto::v1::raft_client::RaftClient;
use tonic::{Code, Request, Status};

use crate::node::{InitializeError, Node};
use crate::service::DESCRIBE_BYTES_MAX;
use crate::transport::{Peer, VoterId};

/// Time for one peer to say who it is.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What an empty voter is to do, judged by what all first voters said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Birth {
    /// This one has the lowest id: it has begun the group.
    Began,
    /// It belongs to a group already, or was made part of one meanwhile.
    Member,
    /// All are empty, and another has the lowest id: it will begin.
    Another(VoterId),
    /// Somebody belongs to a group: this one waits to be admitted to it.
    Admission,
    /// It cannot be known yet, and nothing may begin: who did not say, and why not.
    Unknown {
        /// The address.
        address: String,
        /// Why.
        reason: String,
        /// Whether the peer is there and refuses: a mistake in flags, and not a node that is still to start.
        refused: bool,
    },
    /// The list of first voters does not name this node, or names one twice.
    Misnamed(&'static str),
}

#[derive(Debug)]
struct Described {
    peer: Peer,
    initialized: bool,
}

impl Node {
    /// One try to begin the group of the voters at these addresses, of which this node's own is one. Only where every one
    /// of them answers that it is empty, the one with the lowest id begins: whoever was wiped cannot begin a second group
    /// beside the first.
    pub async fn try_begin(&self, cluster: &str, dialer: &Dialer, voters: &[String]) -> Result<Birth, InitializeError> {
        if self.is_initialized().await.map_err(InitializeError::Stopped)? {
            return Ok(Birth::Member);
        }
        let mut described = Vec::new();
        let mut unknown = None;
        for address in voters {
            match describe(dialer, address, cluster, self.peer()).await {
                Ok(answer) if answer.initialized => return Ok(Birth::Admission),
                Ok(answer) => described.push(answer),
                Err(status) => {
                    let refused = matches!(status.code(), Code::PermissionDenied | Code::AlreadyExists);
                    let reason = status.message().to_owned();
                    unknown = unknown.or(Some(Birth::Unknown { address: address.clone(), reason, refused }));
                }
            }
        }
        if let Some(unknown) = unknown {
            return Ok(unknown);
        }
        let peers: Vec<Peer> = described.into_iter().map(|d| d.peer).collect();
        match judge(&peers, self.peer().id) {
            Birth::Began => match self.initialize(&peers).await {
                Ok(()) => Ok(Birth::Began),
                Err(InitializeError::AlreadyInitialized) => Ok(Birth::Member),
                Err(e) => Err(e),
            },
            other => Ok(other),
        }
    }
}

/// What the voter `own` does when these are all empty.
fn judge(peers: &[Peer], own: VoterId) -> Birth {
    let ids: std::collections::BTreeSet<VoterId> = peers.iter().map(|peer| peer.id).collect();
    let names: std::collections::BTreeSet<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    if ids.len() != peers.len() {
        return Birth::Misnamed("two addresses lead to one ruler");
    }
    if names.len() != peers.len() {
        return Birth::Misnamed("two rulers have one node id");
    }
    if !ids.contains(&own) {
        return Birth::Misnamed("no address leads to this ruler");
    }
    match ids.first() {
        Some(lowest) if *lowest != own => Birth::Another(*lowest),
        _ => Birth::Began,
    }
}

async fn describe(dialer: &Dialer, address: &str, cluster: &str, own: Peer) -> Result<Described, Status> {
    let channel = dialer.dial(address, DESCRIBE_TIMEOUT).map_err(|e| Status::unavailable(e.to_string()))?;
    let mut client = RaftClient::new(channel).max_decoding_message_size(DESCRIBE_BYTES_MAX);
    let request = Request::new(DescribeRequest { cluster: cluster.to_owned(), sender: Some(own.into()) });
    let asked = tokio::time::timeout(DESCRIBE_TIMEOUT, client.describe(request)).await;
    let reply = asked.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner();
    let voter = reply.voter.ok_or_else(|| Status::data_loss("the reply names no voter"))?;
    Ok(Described { peer: voter.into(), initialized: reply.initialized })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lowest_of_distinct_voters_begins() {
        let peer = |id, name: &str| Peer { id: VoterId(id), name: name.into(), address: format!("{name}:1") };
        let three = [peer(7, "a"), peer(3, "b"), peer(9, "c")];
        assert_eq!(judge(&three, VoterId(3)), Birth::Began);
        assert_eq!(judge(&three, VoterId(7)), Birth::Another(VoterId(3)));
        assert_eq!(judge(&three, VoterId(1)), Birth::Misnamed("no address leads to this ruler"));
        let twice = [peer(3, "b"), peer(3, "b"), peer(9, "c")];
        assert_eq!(judge(&twice, VoterId(3)), Birth::Misnamed("two addresses lead to one ruler"));
        let same = [peer(3, "b"), peer(4, "b")];
        assert_eq!(judge(&same, VoterId(3)), Birth::Misnamed("two rulers have one node id"));
    }
}
