//! How voters reach each other: bytes there, bytes back. Who carries them (gRPC, a test) is not this crate's business.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

/// What a voter is called in the Raft group: a random number born with its directory. Not the node's name, since a node
/// with a wiped directory has forgotten its votes and is another voter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VoterId(pub u64);

impl fmt::Debug for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A member of the Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in the group.
    pub id: VoterId,
    /// The node's name.
    pub name: String,
    /// Where it answers others, `host:port`.
    pub address: String,
}

/// What is asked of a peer. A transport may give each kind a connection of its own; heartbeats must not queue behind
/// snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Take these entries.
    AppendEntries,
    /// Take these entries: few or none, but in time.
    Heartbeat,
    /// Vote for me.
    Vote,
    /// Would you vote for me?
    PreVote,
    /// Take this snapshot.
    FullSnapshot,
    /// Lead in my place.
    TransferLeader,
}

impl Call {
    /// The name in logs, metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Call::AppendEntries => "append_entries",
            Call::Heartbeat => "heartbeat",
            Call::Vote => "vote",
            Call::PreVote => "pre_vote",
            Call::FullSnapshot => "full_snapshot",
            Call::TransferLeader => "transfer_leader",
        }
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("{peer} at {address} is unreachable")]
    Unreachable {
        /// The node's name.
        peer: String,
        /// Where it should answer.
        address: String,
        /// What the network said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing came in time.
    #[error("no reply within {timeout:?}")]
    TimedOut {
        /// The time that was given.
        timeout: Duration,
    },
    /// The peer does not take the request: it means another voter, cannot be read, or the peer is stopping.
    #[error("the peer refused the request")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Carries requests to peers.
pub trait Transport: Send + Sync + 'static {
    /// Gives `request` to [`crate::Node::handle`] of `peer` and brings its reply back, within `timeout`. The future runs on
    /// the Raft node's own threads; one that is dropped may or may not have arrived.
    fn send(
        &self,
        peer: &Peer,
        call: Call,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// The transport of a group of one voter, which has nobody to speak to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Transport for Alone {
    fn send(&self, peer: &Peer, _: Call, _: Bytes, _: Duration) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let error = TransportError::Unreachable {
            peer: peer.name.clone(),
            address: peer.address.clone(),
            source: "this node has no transport".into(),
        };
        Box::pin(async { Err(error) })
    }
}
