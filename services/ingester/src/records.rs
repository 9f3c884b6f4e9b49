//! How the log and the snapshots hold what replication decides.
//!
//! ```text
//! payload of a log record = 0 · batch, as it came | kind u8 · fields                                    (little-endian)
//!   16 adopted    = group
//!   17 filled     = generation u64
//!   18 covered    = replica · position u64
//!   19 sealed     = before i64
//!   20 dropped    = start i64 · manifest text · at i64
//!   21 freed      = start i64
//!   22 watermark  = before i64
//!   23 merged     : not read by this version
//! state (version 2)       = 2 · length u32 · group · joined u64 (0: founding) · filled u8 · data position u64
//!                           · count u32 · (replica · position u64)* · sealed before i64
//!                           · count u32 · (start i64 · manifest text · since i64 · freed u8)* · watermark i64
//! group, text             = as in `cluster::codec`;   replica = node text · incarnation u64
//! ```
//!
//! Kinds 1 to 3 and version 1 of the state were those of a time before groups; they are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::{Batch, ParseError};
use bytes::Bytes;
use cluster::codec::{Decoder, Encoder};
use cluster::{DecodeError, GenerationNumber, Group, Incarnation, NodeId, Replica as ReplicaId};
use model::TimestampMs;
use replication::{Drop, ManifestName, State};

/// A record of an ingester's log.
pub(crate) type Record = replication::Record<Arc<Batch>>;

pub(crate) const KIND_BATCH: u8 = 0;
const KINDS_BEFORE_GROUPS: std::ops::RangeInclusive<u8> = 1..=3;
const KIND_ADOPTED: u8 = 16;
const KIND_FILLED: u8 = 17;
const KIND_COVERED: u8 = 18;
const KIND_SEALED: u8 = 19;
const KIND_DROPPED: u8 = 20;
const KIND_FREED: u8 = 21;
const KIND_WATERMARK: u8 = 22;
const KIND_MERGED: u8 = 23;

const STATE_VERSION: u8 = 2;

/// Why a payload is no record that this version can go on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A record of the time before groups.
    #[error("the log was written by an earlier version, whose data directories this version does not read")]
    BeforeGroups,
    /// A snapshot of a peer was merged by a later version.
    #[error("the log holds a merged snapshot, which this version does not read")]
    Merged,
    /// Not written by a version of ours, or damaged before it was logged.
    #[error("unknown record of kind {0}")]
    Kind(u8),
    /// No kind.
    #[error("empty record")]
    Empty,
    /// A batch that is none.
    #[error("read batch")]
    Batch(#[from] ParseError),
    /// Any other record.
    #[error("read record")]
    Fields(#[from] DecodeError),
}

impl RecordError {
    /// Whether another version wrote it, so that nothing is to be done to this directory.
    pub fn is_of_another_version(&self) -> bool {
        matches!(self, RecordError::BeforeGroups | RecordError::Merged)
    }
}

/// The payload of a record, in two parts: a batch is not copied. Merged snapshots are never logged by this version.
pub(crate) fn encode(record: &Record) -> (Vec<u8>, Option<&Bytes>) {
    let mut e;
    match record {
        Record::Batch(batch) => return (vec![KIND_BATCH], Some(batch.bytes())),
        Record::Merged(_) => unreachable!("this version asks for no snapshot of a peer"),
        Record::Adopted(entry) => {
            e = Encoder::new(KIND_ADOPTED);
            e.rest(&entry.encode());
        }
        Record::Filled(generation) => {
            e = Encoder::new(KIND_FILLED);
            e.u64(generation.0);
        }
        Record::Covered { of, position } => {
            e = Encoder::new(KIND_COVERED);
            put_replica(&mut e, of);
            e.u64(*position);
        }
        Record::Sealed { before } => {
            e = Encoder::new(KIND_SEALED);
            e.i64(before.0);
        }
        Record::Dropped { start, manifest, at } => {
            e = Encoder::new(KIND_DROPPED);
            e.i64(start.0);
            e.text(manifest);
            e.i64(at.0);
        }
        Record::Freed { start } => {
            e = Encoder::new(KIND_FREED);
            e.i64(start.0);
        }
        Record::Watermark { before } => {
            e = Encoder::new(KIND_WATERMARK);
            e.i64(before.0);
        }
    }
    (e.finish(), None)
}

/// Reads a payload. It is copied where it is a batch: its memory is that of a whole segment.
pub(crate) fn decode(payload: &[u8]) -> Result<Record, RecordError> {
    let kind = *payload.first().ok_or(RecordError::Empty)?;
    if kind == KIND_BATCH {
        return Ok(Record::Batch(Arc::new(Batch::parse(payload[1..].to_vec().into())?)));
    }
    if KINDS_BEFORE_GROUPS.contains(&kind) {
        return Err(RecordError::BeforeGroups);
    }
    if kind == KIND_MERGED {
        return Err(RecordError::Merged);
    }
    let mut d = Decoder::new(payload, "log record", kind)?;
    let time = |d: &mut Decoder<'_>| d.i64().map(TimestampMs);
    let record = match kind {
        KIND_ADOPTED => Record::Adopted(Arc::new(Group::decode(d.rest())?)),
        KIND_FILLED => Record::Filled(GenerationNumber(d.u64()?)),
        KIND_COVERED => Record::Covered { of: get_replica(&mut d)?, position: d.u64()? },
        KIND_SEALED => Record::Sealed { before: time(&mut d)? },
        KIND_DROPPED => Record::Dropped { start: time(&mut d)?, manifest: get_manifest(&mut d)?, at: time(&mut d)? },
        KIND_FREED => Record::Freed { start: time(&mut d)? },
        KIND_WATERMARK => Record::Watermark { before: time(&mut d)? },
        other => return Err(RecordError::Kind(other)),
    };
    d.finish()?;
    Ok(record)
}

/// The state as a snapshot carries it.
pub(crate) fn encode_state(state: &State) -> Vec<u8> {
    let State { entry, joined, filled, data_position, covers, sealed_before, dropped, watermark } = state;
    let mut e = Encoder::new(STATE_VERSION);
    e.bytes(&entry.encode());
    // Generations are numbered from 1.
    e.u64(joined.map_or(0, |generation| generation.0));
    e.bool(*filled);
    e.u64(*data_position);
    e.count(covers.len());
    for (of, position) in covers {
        put_replica(&mut e, of);
        e.u64(*position);
    }
    e.i64(sealed_before.0);
    e.count(dropped.len());
    for (start, drop) in dropped {
        e.i64(start.0);
        e.text(&drop.manifest);
        e.i64(drop.since.0);
        e.bool(drop.freed);
    }
    e.i64(watermark.0);
    e.finish()
}

/// Reads what [`encode_state`] wrote.
pub(crate) fn decode_state(bytes: &[u8]) -> Result<State, DecodeError> {
    let mut d = Decoder::new(bytes, "state of a replica", STATE_VERSION)?;
    let entry = Arc::new(Group::decode(d.bytes()?)?);
    let joined = Some(d.u64()?).filter(|number| *number > 0).map(GenerationNumber);
    let (filled, data_position) = (d.bool("filled")?, d.u64()?);
    let mut covers = BTreeMap::new();
    for _ in 0..d.count(18)? {
        let of = get_replica(&mut d)?;
        ascending(covers.last_key_value().map(|(last, _)| last), &of)?;
        covers.insert(of, d.u64()?);
    }
    let sealed_before = TimestampMs(d.i64()?);
    let mut dropped = BTreeMap::new();
    for _ in 0..d.count(19)? {
        let start = TimestampMs(d.i64()?);
        ascending(dropped.last_key_value().map(|(last, _)| last), &start)?;
        let manifest = get_manifest(&mut d)?;
        dropped.insert(start, Drop { manifest, since: TimestampMs(d.i64()?), freed: d.bool("freed")? });
    }
    let watermark = TimestampMs(d.i64()?);
    d.finish()?;
    Ok(State { entry, joined, filled, data_position, covers, sealed_before, dropped, watermark })
}

/// Equal states have equal bytes.
fn ascending<T: Ord>(last: Option<&T>, next: &T) -> Result<(), DecodeError> {
    match last {
        Some(last) if last >= next => Err(DecodeError::Rule { rule: "entries are in ascending order" }),
        _ => Ok(()),
    }
}

fn get_manifest(d: &mut Decoder<'_>) -> Result<ManifestName, DecodeError> {
    Ok(d.text("name of a manifest")?.into())
}

fn put_replica(e: &mut Encoder, replica: &ReplicaId) {
    e.text(replica.node.as_str());
    e.u64(replica.incarnation.0);
}

fn get_replica(d: &mut Decoder<'_>) -> Result<ReplicaId, DecodeError> {
    let node = NodeId::new(d.text("node id")?).ok_or(DecodeError::Text { field: "node id" })?;
    Ok(ReplicaId { node, incarnation: Incarnation(d.u64()?) })
}

#[cfg(test)]
mod tests {
    use batch::{BatchBuilder, BatchHeader};
    use model::{PartitionId, SeriesId, TenantId};

    use super::*;
    use crate::config::alone;

    fn replica(name: &str, incarnation: u64) -> ReplicaId {
        ReplicaId { node: NodeId::new(name).unwrap(), incarnation: Incarnation(incarnation) }
    }

    fn batch() -> Arc<Batch> {
        let mut builder = BatchBuilder::new();
        builder.push(PartitionId(0), SeriesId(7), 5, 1.0);
        let mut bytes = Vec::new();
        builder.finish(BatchHeader { group: 0, generation: 1, writer: 2, seq: 3 }, &TenantId::anonymous(), &mut bytes);
        Arc::new(Batch::parse(bytes.into()).unwrap())
    }

    fn payload(record: &Record) -> Vec<u8> {
        let (front, rest) = encode(record);
        [&front[..], rest.map_or(&[], |bytes| &bytes[..])].concat()
    }

    fn records() -> Vec<Record> {
        vec![
            Record::Adopted(alone(&replica("a", 1))),
            Record::Batch(batch()),
            Record::Filled(GenerationNumber(3)),
            Record::Covered { of: replica("b", u64::MAX), position: 9 },
            Record::Sealed { before: TimestampMs(-7) },
            Record::Dropped {
                start: TimestampMs(7_200_000),
                manifest: "closed/c/0/7200000.json".into(),
                at: TimestampMs(1),
            },
            Record::Freed { start: TimestampMs(7_200_000) },
            Record::Watermark { before: TimestampMs(14_400_000) },
        ]
    }

    #[test]
    fn records_come_back_and_nothing_less_does() {
        for record in records() {
            let bytes = payload(&record);
            let read = decode(&bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{record:?}"));
            assert_eq!(payload(&read), bytes);
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len]).is_err(), "{record:?} cut at {len}");
            }
            assert!(decode(&[&bytes[..], &[0]].concat()).is_err(), "a byte too many");
        }
        assert_eq!(payload(&Record::Batch(batch()))[1..], batch().bytes()[..], "verbatim");
    }

    #[test]
    fn other_versions_are_refused_by_name() {
        for kind in 1..=3 {
            assert_eq!(decode(&[kind, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err(), RecordError::BeforeGroups);
        }
        assert_eq!(decode(&[KIND_MERGED]).unwrap_err(), RecordError::Merged);
        assert_eq!(decode(&[99]).unwrap_err(), RecordError::Kind(99));
        let error = decode_state(&[1; 17]).unwrap_err();
        assert_eq!(error.to_string(), "state of a replica has version 1, which this program does not read");
    }

    #[test]
    fn a_state_comes_back_and_nothing_less_does() {
        let mut state = State::new(&replica("a", 1), &alone(&replica("a", 1)));
        state.joined = Some(GenerationNumber(4));
        state.data_position = 77;
        state.covers = [(replica("b", 1), 5), (replica("b", 2), 6), (replica("c", 1), 0)].into();
        state.sealed_before = TimestampMs(14_400_000);
        let drop = |freed| Drop { manifest: "closed/c/0/0.json".into(), since: TimestampMs(5), freed };
        state.dropped = [(TimestampMs(0), drop(true)), (TimestampMs(7_200_000), drop(false))].into();
        state.watermark = TimestampMs(-7_200_000);
        let bytes = encode_state(&state);
        assert_eq!(decode_state(&bytes).as_ref(), Ok(&state));
        for len in 0..bytes.len() {
            assert!(decode_state(&bytes[..len]).is_err(), "{len}");
        }
        assert!(decode_state(&[&bytes[..], &[0]].concat()).is_err());
    }

    /// SplitMix64.
    fn next(seed: &mut u64) -> usize {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap()
    }

    #[test]
    fn mutated_records_states_and_logs_are_refused_or_read_as_they_are() {
        let mut seeds: Vec<Vec<u8>> = records().iter().map(payload).collect();
        seeds.push(encode_state(&State::new(&replica("a", 1), &alone(&replica("a", 1)))));
        let mut seed = 7;
        for round in 0..6000 {
            let mut bytes = seeds[next(&mut seed) % seeds.len()].clone();
            for _ in 0..=next(&mut seed) % 3 {
                let at = next(&mut seed) % bytes.len();
                bytes[at] = [0, 1, 0x7f, 0xff, bytes[at] ^ 1][next(&mut seed) % 5];
            }
            bytes.truncate(1 + next(&mut seed) % (bytes.len() * 2));
            crate::fuzzing::fuzz_change(&bytes);
            crate::fuzzing::fuzz_control(&bytes);
            if round % 20 == 0 {
                // A log of some good records and this one.
                let mut log = Vec::new();
                for _ in 0..next(&mut seed) % 6 {
                    let one = if next(&mut seed).is_multiple_of(4) { &bytes } else { &seeds[next(&mut seed) % 8] };
                    log.extend_from_slice(&u16::try_from(one.len()).unwrap().to_le_bytes());
                    log.extend_from_slice(one);
                }
                crate::fuzzing::fuzz_replay(&log);
            }
        }
    }
}
