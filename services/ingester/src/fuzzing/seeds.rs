//! Records and states of every kind, to begin fuzzing with.

use std::sync::Arc;

use cluster::{GenerationNumber, Incarnation, NodeId, Replica as ReplicaId};
use model::TimestampMs;
use replication::{Drop, State};

use crate::config::{Config, alone};
use crate::records::{self, Record};

fn replica(name: &str, incarnation: u64) -> ReplicaId {
    ReplicaId { node: NodeId::new(name).expect("a short name"), incarnation: Incarnation(incarnation) }
}

/// Payloads of records but batches, in an order in which a log may hold them.
pub fn changes() -> Vec<(&'static str, Vec<u8>)> {
    let range = |n: i64| TimestampMs(n * 7_200_000);
    let dropped = |start, manifest: &str| Record::Dropped { start, manifest: manifest.into(), at: TimestampMs(9) };
    let all = [
        ("adopted", Record::Adopted(Config::new("/data".into()).entry)),
        ("adopted_of_another", Record::Adopted(alone(&replica("b", u64::MAX)))),
        ("filled", Record::Filled(GenerationNumber(3))),
        ("covered", Record::Covered { of: replica("b", 1), position: 9 }),
        ("sealed", Record::Sealed { before: range(2) }),
        ("sealed_before_all", Record::Sealed { before: TimestampMs(-7) }),
        ("dropped", dropped(range(0), "closed/c/0/0.json")),
        ("dropped_later", dropped(range(1), "é")),
        ("freed", Record::Freed { start: range(0) }),
        ("freed_unknown", Record::Freed { start: TimestampMs::MAX }),
        ("watermark", Record::Watermark { before: range(1) }),
    ];
    all.iter().map(|(name, record)| (*name, records::encode(record).0)).collect()
}

/// States in snapshots.
pub fn states() -> Vec<(&'static str, Vec<u8>)> {
    let me = replica("all", 1);
    let first = State::new(&me, &alone(&me));
    let mut full = first.clone();
    full.joined = Some(GenerationNumber(4));
    full.data_position = 77;
    full.covers = [(replica("b", 1), 5), (replica("b", 2), 6), (replica("c", 1), 0)].into();
    full.sealed_before = TimestampMs(14_400_000);
    let drop = |freed| Drop { manifest: Arc::from("closed/c/0/0.json"), since: TimestampMs(5), freed };
    full.dropped = [(TimestampMs(0), drop(true)), (TimestampMs(7_200_000), drop(false))].into();
    full.watermark = TimestampMs(-7_200_000);
    vec![("first", records::encode_state(&first)), ("full", records::encode_state(&full))]
}
