//! Records and messages of every kind, to begin fuzzing with.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{ClusterId, Command};

use crate::codec;
use crate::types::{
    AppendRequest, AppendResponse, Entry, LeaderId, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote,
    VoteRequest, VoterRecord,
};

pub(super) fn log_id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 3, node_id: 7 }, index }
}

pub(super) fn membership() -> Membership {
    let record = |name: &str| VoterRecord { name: name.into(), address: "host:9095".into() };
    let nodes = BTreeMap::from([(1, record("a")), (7, record("b")), (9, record("c"))]);
    Membership::new(vec![BTreeSet::from([1, 7]), BTreeSet::from([1, 7, 9])], nodes).expect("the voters are nodes")
}

pub(super) fn entries() -> Vec<Entry> {
    let birth = Command::Birth { cluster: ClusterId(1), partition_count: 16, replication_factor: 3 };
    let payloads = [Payload::Blank, Payload::Normal(birth), Payload::Membership(membership())];
    (5..).zip(payloads).map(|(index, payload)| Entry { log_id: log_id(index), payload }).collect()
}

pub(super) fn meta() -> SnapshotMeta {
    let last_membership = StoredMembership::new(Some(log_id(2)), membership());
    SnapshotMeta { last_log_id: Some(log_id(9)), last_membership }
}

/// Records of the disk.
#[doc(hidden)]
pub fn records() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = entries().iter().map(codec::encode_entry).collect();
    seeds.push(codec::encode_vote(&Vote::new(3, 7)));
    seeds.push(codec::encode_log_id(None));
    seeds.push(codec::encode_log_id(Some(&log_id(1))));
    seeds.push(codec::encode_snapshot(&meta(), &cluster::State::default().encode()));
    seeds
}

/// Requests and replies.
#[doc(hidden)]
pub fn messages() -> Vec<Vec<u8>> {
    let request = AppendRequest {
        vote: Vote::new_committed(3, 7),
        prev_log_id: Some(log_id(4)),
        entries: entries(),
        leader_commit: Some(log_id(4)),
    };
    let vote = VoteRequest::new(Vote::new(3, 7), Some(log_id(1)));
    let state = cluster::State::default().encode();
    let put = |e: &mut cluster::codec::Encoder| codec::put_snapshot_request(e, &Vote::new(3, 7), &meta(), &state);
    let mut seeds: Vec<Vec<u8>> = vec![
        codec::encode_request(1, |e| codec::put_append_request(e, &request)).into(),
        codec::encode_request(1, |e| codec::put_vote_request(e, &vote)).into(),
        codec::encode_request(1, put).into(),
    ];
    seeds.extend(responses().iter().map(|r| codec::encode_reply(|e| codec::put_append_response(e, r)).into()));
    seeds
}

/// Every answer to a request to append.
pub(super) fn responses() -> [AppendResponse; 4] {
    [
        AppendResponse::Success,
        AppendResponse::PartialSuccess(Some(log_id(1))),
        AppendResponse::Conflict,
        AppendResponse::HigherVote(Vote::new(3, 7)),
    ]
}
