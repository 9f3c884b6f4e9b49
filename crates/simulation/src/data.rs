//! Batches and what replicas make of them, as small as can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{SeriesId, TimestampMs, join_values};
use replication::range::range_of;
use replication::{BatchKey, Payload};

/// A series by its number; at most 64, so that sets of them are bits.
pub(crate) type Series = u8;
/// Which sample.
pub(crate) type Key = (Series, i64);

/// How many partitions there are; a series lies in that of its number.
pub(crate) const PARTITIONS: u32 = 8;

pub(crate) fn series_id(series: Series) -> SeriesId {
    SeriesId(u128::from(u32::from(series) % PARTITIONS) << 125 | u128::from(series))
}

fn series_of(id: SeriesId) -> Series {
    u8::try_from(id.0 & 0xff).expect("eight bits")
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) key: Key,
    pub(crate) value: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct SimBatch {
    pub(crate) key: BatchKey,
    pub(crate) samples: Arc<Vec<Sample>>,
    /// Series that are defined in it, as bits.
    pub(crate) defines: u64,
}

impl Payload for SimBatch {
    fn key(&self) -> BatchKey {
        self.key
    }

    fn bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        let times = || self.samples.iter().map(|s| s.key.1);
        Some((TimestampMs(times().min()?), TimestampMs(times().max()?)))
    }

    fn bytes(&self) -> usize {
        26 * self.samples.len() + 200 * usize::try_from(self.defines.count_ones()).expect("at most 64")
    }
}

impl SimBatch {
    /// The series without a definition, neither in it nor among `known`, that have a sample which is `wanted`.
    pub(crate) fn unknown(&self, known: u64, wanted: impl Fn(TimestampMs) -> bool) -> Vec<SeriesId> {
        let known = known | self.defines;
        let wanted = self.samples.iter().filter(|s| wanted(TimestampMs(s.key.1)));
        let bits = wanted.fold(0_u64, |bits, s| bits | 1 << s.key.0) & !known;
        ids_of(bits)
    }
}

pub(crate) fn ids_of(bits: u64) -> Vec<SeriesId> {
    (0..64_u8).filter(|series| bits & 1 << series != 0).map(series_id).collect()
}

pub(crate) fn bits_of(ids: &[SeriesId]) -> u64 {
    ids.iter().fold(0, |bits, id| bits | 1 << series_of(*id))
}

/// Samples by range, and definitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) ranges: BTreeMap<i64, BTreeMap<Key, f64>>,
    pub(crate) defined: u64,
}

/// Which of two values of one sample stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    Greater,
    First,
}

impl Head {
    pub(crate) fn insert(&mut self, key: Key, value: f64, stays: Stays) {
        let range = self.ranges.entry(range_of(TimestampMs(key.1)).0).or_default();
        let held = range.entry(key).or_insert(value);
        if stays == Stays::Greater {
            *held = join_values(*held, value);
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<f64> {
        self.ranges.get(&range_of(TimestampMs(key.1)).0)?.get(&key).copied()
    }

    /// Whether the value, or one that stays before it, is held.
    pub(crate) fn holds(&self, key: Key, value: f64) -> bool {
        self.get(key).is_some_and(|held| stays(held, value))
    }

    pub(crate) fn free(&mut self, start: i64) {
        self.ranges.remove(&start);
    }

    /// Forgets definitions of series without samples.
    pub(crate) fn collect(&mut self) {
        let held = self.ranges.values().flat_map(BTreeMap::keys).fold(0_u64, |bits, key| bits | 1 << key.0);
        self.defined &= held;
    }

    pub(crate) fn starts(&self) -> impl Iterator<Item = TimestampMs> + '_ {
        self.ranges.keys().map(|start| TimestampMs(*start))
    }
}

/// Whether `held` is `value` or stays before it.
pub(crate) fn stays(held: f64, value: f64) -> bool {
    join_values(held, value).to_bits() == held.to_bits()
}

/// Merges sorted samples into an answer.
pub(crate) fn join_into(answer: &mut BTreeMap<Key, f64>, key: Key, value: f64) {
    let held = answer.entry(key).or_insert(value);
    *held = join_values(*held, value);
}
