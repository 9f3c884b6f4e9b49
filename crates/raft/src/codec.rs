//! Log entries, votes, snapshots and messages as bytes: this crate's own layout, on disk and on the wire.
//!
//! It builds on `cluster::codec`: little-endian, a version byte first, strict in reading.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cluster::codec::{DecodeError, Decoder, Encoder};
use cluster::{COMMAND_BYTES_MAX, Command};
use openraft::raft::TransferLeaderError;

use crate::types::{
    AppendRequest, AppendResponse, Entry, LeaderId, LogId, Membership, Payload, SnapshotMeta, SnapshotResponse,
    StoredMembership, TransferRequest, TransferResponse, Vote, VoteRequest, VoteResponse, VoterRecord,
};

const ENTRY_VERSION: u8 = 1;
const VOTE_VERSION: u8 = 1;
const LOG_ID_VERSION: u8 = 1;
const SNAPSHOT_VERSION: u8 = 1;
const MESSAGE_VERSION: u8 = 1;

/// Most voters, old and new, that a membership names.
const VOTERS_MAX: usize = 64;

/// A snapshot as it is stored and sent: what it covers, and the state's own bytes.
pub(crate) struct StoredSnapshot {
    pub(crate) meta: SnapshotMeta,
    pub(crate) data: Bytes,
}

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut e = Encoder::new(ENTRY_VERSION);
    put_log_id(&mut e, &entry.log_id);
    match &entry.payload {
        Payload::Blank => e.u8(0),
        Payload::Normal(command) => {
            e.u8(1);
            let bytes = command.encode();
            debug_assert!(bytes.len() <= COMMAND_BYTES_MAX);
            e.rest(&bytes);
        }
        Payload::Membership(membership) => {
            e.u8(2);
            put_membership(&mut e, membership);
        }
    }
    e.finish()
}

pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, DecodeError> {
    let mut d = Decoder::new(bytes, "log entry", ENTRY_VERSION)?;
    let log_id = get_log_id(&mut d)?;
    let payload = match d.u8()? {
        0 => Payload::Blank,
        1 => Payload::Normal(Command::decode(d.rest())?),
        2 => Payload::Membership(get_membership(&mut d)?),
        found => return Err(DecodeError::Value { field: "kind of log entry", found: u64::from(found) }),
    };
    d.finish()?;
    Ok(Entry { log_id, payload })
}

/// Only the log id of an entry.
pub(crate) fn decode_entry_log_id(bytes: &[u8]) -> Result<LogId, DecodeError> {
    get_log_id(&mut Decoder::new(bytes, "log entry", ENTRY_VERSION)?)
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut e = Encoder::new(VOTE_VERSION);
    put_vote(&mut e, vote);
    e.finish()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    let mut d = Decoder::new(bytes, "vote", VOTE_VERSION)?;
    let vote = get_vote(&mut d)?;
    d.finish()?;
    Ok(vote)
}

pub(crate) fn encode_log_id(log_id: Option<&LogId>) -> Vec<u8> {
    let mut e = Encoder::new(LOG_ID_VERSION);
    put_optional_log_id(&mut e, log_id);
    e.finish()
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<Option<LogId>, DecodeError> {
    let mut d = Decoder::new(bytes, "log id", LOG_ID_VERSION)?;
    let log_id = get_optional_log_id(&mut d)?;
    d.finish()?;
    Ok(log_id)
}

pub(crate) fn encode_snapshot(meta: &SnapshotMeta, data: &[u8]) -> Vec<u8> {
    let mut e = Encoder::new(SNAPSHOT_VERSION);
    put_snapshot_meta(&mut e, meta);
    e.rest(data);
    e.finish()
}

pub(crate) fn decode_snapshot(bytes: &[u8]) -> Result<StoredSnapshot, DecodeError> {
    let mut d = Decoder::new(bytes, "stored snapshot", SNAPSHOT_VERSION)?;
    let meta = get_snapshot_meta(&mut d)?;
    Ok(StoredSnapshot { meta, data: Bytes::copy_from_slice(d.rest()) })
}

/// Only what a stored snapshot covers.
pub(crate) fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, DecodeError> {
    get_snapshot_meta(&mut Decoder::new(bytes, "stored snapshot", SNAPSHOT_VERSION)?)
}

/// A request between voters. `target` is whom the sender means: a voter with a wiped directory is another voter, and must
/// not answer for the one that promised.
pub(crate) fn encode_request(target: u64, put: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new(MESSAGE_VERSION);
    e.u64(target);
    put(&mut e);
    e.finish().into()
}

/// Reads the target; the body follows.
pub(crate) fn open_request(bytes: &[u8]) -> Result<(u64, Decoder<'_>), DecodeError> {
    let mut d = Decoder::new(bytes, "raft request", MESSAGE_VERSION)?;
    Ok((d.u64()?, d))
}

pub(crate) fn encode_reply(put: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new(MESSAGE_VERSION);
    put(&mut e);
    e.finish().into()
}

pub(crate) fn decode_reply<T>(
    bytes: &[u8],
    get: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut d = Decoder::new(bytes, "raft reply", MESSAGE_VERSION)?;
    let reply = get(&mut d)?;
    d.finish()?;
    Ok(reply)
}

pub(crate) fn put_append_request(e: &mut Encoder, request: &AppendRequest) {
    put_vote(e, &request.vote);
    put_optional_log_id(e, request.prev_log_id.as_ref());
    put_optional_log_id(e, request.leader_commit.as_ref());
    e.count(request.entries.len());
    request.entries.iter().for_each(|entry| e.bytes(&encode_entry(entry)));
}

pub(crate) fn get_append_request(d: &mut Decoder<'_>) -> Result<AppendRequest, DecodeError> {
    let vote = get_vote(d)?;
    let prev_log_id = get_optional_log_id(d)?;
    let leader_commit = get_optional_log_id(d)?;
    let count = d.count(4)?;
    let entries = (0..count).map(|_| decode_entry(d.bytes()?)).collect::<Result<Vec<_>, _>>()?;
    // openraft takes it for granted that entries follow each other.
    let first = prev_log_id.map_or(Some(0), |id| id.index.checked_add(1));
    let starts = entries.first().is_none_or(|entry| Some(entry.log_id.index) == first);
    let gapless = entries.windows(2).all(|w| w[0].log_id.index.checked_add(1) == Some(w[1].log_id.index));
    if !starts || !gapless {
        return Err(DecodeError::Rule { rule: "entries follow each other and what precedes them" });
    }
    Ok(AppendRequest { vote, prev_log_id, leader_commit, entries })
}

pub(crate) fn put_append_response(e: &mut Encoder, response: &AppendResponse) {
    match response {
        AppendResponse::Success => e.u8(0),
        AppendResponse::PartialSuccess(log_id) => {
            e.u8(1);
            put_optional_log_id(e, log_id.as_ref());
        }
        AppendResponse::Conflict => e.u8(2),
        AppendResponse::HigherVote(vote) => {
            e.u8(3);
            put_vote(e, vote);
        }
    }
}

pub(crate) fn get_append_response(d: &mut Decoder<'_>) -> Result<AppendResponse, DecodeError> {
    match d.u8()? {
        0 => Ok(AppendResponse::Success),
        1 => Ok(AppendResponse::PartialSuccess(get_optional_log_id(d)?)),
        2 => Ok(AppendResponse::Conflict),
        3 => Ok(AppendResponse::HigherVote(get_vote(d)?)),
        found => Err(DecodeError::Value { field: "kind of append reply", found: u64::from(found) }),
    }
}

pub(crate) fn put_vote_request(e: &mut Encoder, request: &VoteRequest) {
    put_vote(e, &request.vote);
    put_optional_log_id(e, request.last_log_id.as_ref());
    e.bool(request.leadership_transfer);
}

pub(crate) fn get_vote_request(d: &mut Decoder<'_>) -> Result<VoteRequest, DecodeError> {
    let mut request = VoteRequest::new(get_vote(d)?, get_optional_log_id(d)?);
    request.leadership_transfer = d.bool("leadership transfer")?;
    Ok(request)
}

pub(crate) fn put_vote_response(e: &mut Encoder, response: &VoteResponse) {
    put_vote(e, &response.vote);
    e.bool(response.vote_granted);
    put_optional_log_id(e, response.last_log_id.as_ref());
}

pub(crate) fn get_vote_response(d: &mut Decoder<'_>) -> Result<VoteResponse, DecodeError> {
    let (vote, granted) = (get_vote(d)?, d.bool("vote granted")?);
    Ok(VoteResponse::new(vote, get_optional_log_id(d)?, granted))
}

pub(crate) fn put_snapshot_request(e: &mut Encoder, vote: &Vote, meta: &SnapshotMeta, data: &[u8]) {
    put_vote(e, vote);
    put_snapshot_meta(e, meta);
    e.rest(data);
}

pub(crate) fn get_snapshot_request(d: &mut Decoder<'_>) -> Result<(Vote, StoredSnapshot), DecodeError> {
    let (vote, meta) = (get_vote(d)?, get_snapshot_meta(d)?);
    let snapshot = StoredSnapshot { meta, data: Bytes::copy_from_slice(d.rest()) };
    // What cannot be installed must not reach the state machine, where an error is fatal to the node.
    crate::machine::decode_state(&snapshot.meta, &snapshot.data)?;
    Ok((vote, snapshot))
}

pub(crate) fn put_snapshot_response(e: &mut Encoder, response: &SnapshotResponse) {
    put_vote(e, &response.vote);
}

pub(crate) fn get_snapshot_response(d: &mut Decoder<'_>) -> Result<SnapshotResponse, DecodeError> {
    Ok(SnapshotResponse::new(get_vote(d)?))
}

pub(crate) fn put_transfer_request(e: &mut Encoder, request: &TransferRequest) {
    put_vote(e, request.from_leader());
    e.u64(*request.to_node_id());
    put_optional_log_id(e, request.last_log_id());
}

pub(crate) fn get_transfer_request(d: &mut Decoder<'_>) -> Result<TransferRequest, DecodeError> {
    Ok(TransferRequest::new(get_vote(d)?, d.u64()?, get_optional_log_id(d)?))
}

pub(crate) fn put_transfer_response(e: &mut Encoder, response: &TransferResponse) {
    match response {
        Ok(()) => e.u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            e.u8(1);
            put_vote(e, expected);
            put_vote(e, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            e.u8(2);
            put_optional_log_id(e, expected.as_ref());
            put_optional_log_id(e, actual.as_ref());
        }
    }
}

pub(crate) fn get_transfer_response(d: &mut Decoder<'_>) -> Result<TransferResponse, DecodeError> {
    match d.u8()? {
        0 => Ok(Ok(())),
        1 => Ok(Err(TransferLeaderError::VoteChanged { expected: get_vote(d)?, actual: get_vote(d)? })),
        2 => {
            let (expected, actual) = (get_optional_log_id(d)?, get_optional_log_id(d)?);
            Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual }))
        }
        found => Err(DecodeError::Value { field: "kind of transfer reply", found: u64::from(found) }),
    }
}

fn put_log_id(e: &mut Encoder, log_id: &LogId) {
    e.u64(log_id.leader_id.term);
    e.u64(log_id.leader_id.node_id);
    e.u64(log_id.index);
}

fn get_log_id(d: &mut Decoder<'_>) -> Result<LogId, DecodeError> {
    let leader_id = LeaderId { term: d.u64()?, node_id: d.u64()? };
    Ok(LogId { leader_id, index: d.u64()? })
}

fn put_optional_log_id(e: &mut Encoder, log_id: Option<&LogId>) {
    e.bool(log_id.is_some());
    if let Some(log_id) = log_id {
        put_log_id(e, log_id);
    }
}

fn get_optional_log_id(d: &mut Decoder<'_>) -> Result<Option<LogId>, DecodeError> {
    if d.bool("log id")? { Ok(Some(get_log_id(d)?)) } else { Ok(None) }
}

fn put_vote(e: &mut Encoder, vote: &Vote) {
    e.u64(vote.leader_id.term);
    e.u64(vote.leader_id.node_id);
    e.bool(vote.committed);
}

fn get_vote(d: &mut Decoder<'_>) -> Result<Vote, DecodeError> {
    let leader_id = LeaderId { term: d.u64()?, node_id: d.u64()? };
    Ok(Vote { leader_id, committed: d.bool("committed vote")? })
}

fn put_snapshot_meta(e: &mut Encoder, meta: &SnapshotMeta) {
    put_optional_log_id(e, meta.last_log_id.as_ref());
    put_optional_log_id(e, meta.last_membership.log_id().as_ref());
    put_membership(e, meta.last_membership.membership());
}

fn get_snapshot_meta(d: &mut Decoder<'_>) -> Result<SnapshotMeta, DecodeError> {
    let last_log_id = get_optional_log_id(d)?;
    let membership_log_id = get_optional_log_id(d)?;
    let last_membership = StoredMembership::new(membership_log_id, get_membership(d)?);
    Ok(SnapshotMeta { last_log_id, last_membership })
}

fn put_membership(e: &mut Encoder, membership: &Membership) {
    let configs = membership.get_joint_config();
    e.count(configs.len());
    for config in configs {
        e.count(config.len());
        config.iter().for_each(|id| e.u64(*id));
    }
    e.count(membership.nodes().count());
    for (id, record) in membership.nodes() {
        e.u64(*id);
        e.text(&record.name);
        e.text(&record.address);
    }
}

fn get_membership(d: &mut Decoder<'_>) -> Result<Membership, DecodeError> {
    let mut configs = Vec::new();
    for _ in 0..few(d.count(4)?)? {
        let mut config = BTreeSet::new();
        for _ in 0..few(d.count(8)?)? {
            let id = d.u64()?;
            if config.last().is_some_and(|last| *last >= id) {
                return Err(DecodeError::Rule { rule: "voters are in ascending order" });
            }
            config.insert(id);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..few(d.count(12)?)? {
        let id = d.u64()?;
        let record = VoterRecord { name: d.text("voter's name")?.into(), address: d.text("voter's address")?.into() };
        if nodes.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(DecodeError::Rule { rule: "voters are in ascending order" });
        }
        nodes.insert(id, record);
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| DecodeError::Rule { rule: "voters are some, and each is known" })
}

fn few(count: usize) -> Result<usize, DecodeError> {
    if count > VOTERS_MAX {
        return Err(DecodeError::Value { field: "number of voters", found: count as u64 });
    }
    Ok(count)
}
