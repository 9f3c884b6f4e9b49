//! openraft's types, with ours in their places. Nothing here leaves the crate.

use cluster::{Command, Outcome};

/// What a voter's membership entry says about where and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VoterRecord {
    /// The node's name.
    pub(crate) name: String,
    /// Where it answers others.
    pub(crate) address: String,
}

openraft::declare_raft_types!(
    /// A voter's id is a random number born with its directory; what is applied has an outcome if it was a command.
    pub(crate) TypeConfig:
        D = Command,
        R = Option<Outcome>,
        NodeId = u64,
        Node = VoterRecord,
);

pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::EntryPayload<Command, u64, VoterRecord>;
pub(crate) type Membership = openraft::Membership<u64, VoterRecord>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, bytes::Bytes>;
pub(crate) type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;

pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
