//! Mutated records and messages: refused, or another legal value, but never a panic.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{ClusterId, Command};

use super::*;
use crate::types::{
    AppendRequest, AppendResponse, Entry, LeaderId, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote,
    VoteRequest, VoterRecord,
};

fn log_id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 3, node_id: 7 }, index }
}

fn membership() -> Membership {
    let record = |name: &str| VoterRecord { name: name.into(), address: "host:9095".into() };
    let nodes = BTreeMap::from([(1, record("a")), (7, record("b")), (9, record("c"))]);
    Membership::new(vec![BTreeSet::from([1, 7]), BTreeSet::from([1, 7, 9])], nodes).unwrap()
}

fn entries() -> Vec<Entry> {
    let birth =
        Command::Birth { cluster: ClusterId(1), partition_count: 16, replication_factor: 3, bootstrap_ingesters: 3 };
    let payloads = [Payload::Blank, Payload::Normal(birth), Payload::Membership(membership())];
    (5..).zip(payloads).map(|(index, payload)| Entry { log_id: log_id(index), payload }).collect()
}

fn meta() -> SnapshotMeta {
    let last_membership = StoredMembership::new(Some(log_id(2)), membership());
    SnapshotMeta { last_log_id: Some(log_id(9)), last_membership }
}

#[test]
fn what_was_written_is_read() {
    for entry in entries() {
        assert_eq!(codec::decode_entry(&codec::encode_entry(&entry)), Ok(entry));
    }
    for vote in [Vote::new(3, 7), Vote::new_committed(u64::MAX, 0)] {
        assert_eq!(codec::decode_vote(&codec::encode_vote(&vote)), Ok(vote));
    }
    for id in [None, Some(log_id(u64::MAX))] {
        assert_eq!(codec::decode_log_id(&codec::encode_log_id(id.as_ref())), Ok(id));
    }
    let stored = codec::decode_snapshot(&codec::encode_snapshot(&meta(), b"state")).unwrap();
    assert_eq!((stored.meta, &stored.data[..]), (meta(), &b"state"[..]));
    let responses = [
        AppendResponse::Success,
        AppendResponse::PartialSuccess(Some(log_id(1))),
        AppendResponse::Conflict,
        AppendResponse::HigherVote(Vote::new(3, 7)),
    ];
    for response in responses {
        let bytes = codec::encode_reply(|e| codec::put_append_response(e, &response));
        assert_eq!(codec::decode_reply(&bytes, codec::get_append_response), Ok(response));
    }
}

#[test]
fn golden_bytes_do_not_change() {
    let blank = Entry { log_id: log_id(5), payload: Payload::Blank };
    let expected = [&[1][..], &3_u64.to_le_bytes(), &7_u64.to_le_bytes(), &5_u64.to_le_bytes(), &[0]].concat();
    assert_eq!(codec::encode_entry(&blank), expected);
    let expected = [&[1][..], &3_u64.to_le_bytes(), &7_u64.to_le_bytes(), &[1]].concat();
    assert_eq!(codec::encode_vote(&Vote::new_committed(3, 7)), expected);
}

#[test]
fn entries_with_a_gap_are_refused() {
    let mut request = AppendRequest {
        vote: Vote::new_committed(3, 7),
        prev_log_id: Some(log_id(4)),
        entries: entries(),
        leader_commit: None,
    };
    let read = |request: &AppendRequest| {
        let bytes = codec::encode_request(1, |e| codec::put_append_request(e, request));
        let (_, mut d) = codec::open_request(&bytes).unwrap();
        codec::get_append_request(&mut d).is_ok()
    };
    assert!(read(&request));
    request.prev_log_id = Some(log_id(3));
    assert!(!read(&request));
    request.prev_log_id = None;
    assert!(!read(&request));
    request.prev_log_id = Some(log_id(4));
    request.entries.remove(1);
    assert!(!read(&request));
}

#[test]
fn mutated_bytes_do_no_harm() {
    let request = AppendRequest {
        vote: Vote::new_committed(3, 7),
        prev_log_id: Some(log_id(4)),
        entries: entries(),
        leader_commit: Some(log_id(4)),
    };
    let state = cluster::State::default().encode();
    let mut seeds: Vec<Vec<u8>> = entries().iter().map(codec::encode_entry).collect();
    seeds.push(codec::encode_vote(&Vote::new(3, 7)));
    seeds.push(codec::encode_log_id(Some(&log_id(1))));
    seeds.push(codec::encode_snapshot(&meta(), &state));
    seeds.push(codec::encode_request(1, |e| codec::put_append_request(e, &request)).into());
    let vote = VoteRequest::new(Vote::new(3, 7), Some(log_id(1)));
    seeds.push(codec::encode_request(1, |e| codec::put_vote_request(e, &vote)).into());
    let put = |e: &mut cluster::codec::Encoder| codec::put_snapshot_request(e, &Vote::new(3, 7), &meta(), &state);
    seeds.push(codec::encode_request(1, put).into());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..8000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=next() % 3 {
            let at = usize::try_from(next()).unwrap() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = u8::try_from(next() & 0xff).unwrap(),
                1 => bytes[at] ^= 1 << (next() % 8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        fuzz_record(&bytes);
        fuzz_message(&bytes);
    }
}
