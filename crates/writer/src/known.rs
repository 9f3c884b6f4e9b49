//! The series whose definitions enough members of their group are known to hold.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{HashSet, HashTable};
use model::SeriesId;
use parking_lot::Mutex;

/// A bounded set of ids, by 64 of their bits. A collision makes us leave out a definition, for which the replica then asks.
///
/// There is a part per partition, with a lock of its own. A request asks for all its series of a partition at once: a lock taken
/// for each series would travel between the cores each time, and cost more than all else that a writer does.
///
/// Each part has two generations: when the younger is full it becomes the older, and what was in the older and not met since is
/// forgotten.
pub(crate) struct KnownSeries {
    parts: Box<[Mutex<Part>]>,
    per_part_max: usize,
    /// How often ids were forgotten.
    epoch: AtomicU64,
}

#[derive(Default)]
struct Part {
    young: HashTable<u64>,
    old: HashTable<u64>,
}

/// The bits of an id that are remembered; the top ones are the partition.
fn key(id: SeriesId) -> u64 {
    id.0 as u64
}

/// Ids of a request that were not known, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Unknown(HashSet<u64, foldhash::fast::FixedState>);

impl Unknown {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, id: SeriesId) -> bool {
        self.0.contains(&key(id))
    }
}

/// The ids of a request, by partition, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Met {
    partition_count: u32,
    keys: Vec<Vec<u64>>,
}

impl Met {
    pub(crate) fn clear(&mut self, partition_count: u32) {
        self.partition_count = partition_count;
        self.keys.resize_with(partition_count as usize, Vec::new);
        self.keys.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn push(&mut self, id: SeriesId) {
        self.keys[id.partition(self.partition_count).0 as usize].push(key(id));
    }
}

impl KnownSeries {
    /// At most `max` series in each of two generations; nine bytes each.
    pub(crate) fn new(partition_count: u32, max: usize) -> KnownSeries {
        let per_part_max = (max / partition_count as usize).max(1);
        KnownSeries {
            parts: (0..partition_count).map(|_| Mutex::default()).collect(),
            per_part_max,
            epoch: AtomicU64::new(0),
        }
    }

    /// While this stays the same, what was known is known.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Those that are not known.
    pub(crate) fn unknown(&self, met: &Met) -> Unknown {
        let mut unknown = Unknown::default();
        for (part, keys) in self.parts.iter().zip(&met.keys).filter(|(_, keys)| !keys.is_empty()) {
            let mut part = part.lock();
            for key in keys {
                if !part.contains(*key, self.per_part_max, &self.epoch) {
                    unknown.0.insert(*key);
                }
            }
        }
        unknown
    }

    fn part(&self, id: SeriesId) -> &Mutex<Part> {
        let count = u32::try_from(self.parts.len()).expect("made from a u32");
        &self.parts[id.partition(count).0 as usize]
    }

    pub(crate) fn insert(&self, id: SeriesId) {
        self.part(id).lock().insert(key(id), self.per_part_max, &self.epoch);
    }

    pub(crate) fn remove(&self, id: SeriesId) {
        let (key, mut part) = (key(id), self.part(id).lock());
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let Part { young, old } = &mut *part;
        for table in [young, old] {
            if let Ok(entry) = table.find_entry(key, |k| *k == key) {
                entry.remove();
            }
        }
    }
}

impl Part {
    fn contains(&mut self, key: u64, max: usize, epoch: &AtomicU64) -> bool {
        if self.young.find(key, |k| *k == key).is_some() {
            return true;
        }
        let in_old = self.old.find(key, |k| *k == key).is_some();
        if in_old {
            self.insert(key, max, epoch);
        }
        in_old
    }

    fn insert(&mut self, key: u64, max: usize, epoch: &AtomicU64) {
        if self.young.find(key, |k| *k == key).is_some() {
            return;
        }
        if self.young.len() >= max {
            self.old = std::mem::take(&mut self.young);
            epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.young.insert_unique(key, key, |k| *k);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(known: &KnownSeries, id: SeriesId) -> bool {
        let mut met = Met::default();
        met.clear(16);
        met.push(id);
        !known.unknown(&met).contains(id)
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let known = KnownSeries::new(16, 16 * 4);
        let id = |n: u64| SeriesId(u128::from(n));
        known.insert(id(0));
        for n in 1..40 {
            known.insert(id(n));
            assert!(is_known(&known, id(0)), "{n}");
            assert!(is_known(&known, id(n)), "{n}");
        }
        assert!(!is_known(&known, id(1)));
        known.remove(id(0));
        assert!(!is_known(&known, id(0)));
    }

    #[test]
    fn a_request_learns_which_of_its_series_are_not_known() {
        let known = KnownSeries::new(4, 100);
        let ids: Vec<SeriesId> = (0..40u128).map(|n| SeriesId(n << 123 | n)).collect();
        ids.iter().step_by(3).for_each(|id| known.insert(*id));
        let mut met = Met::default();
        met.clear(4);
        ids.iter().for_each(|id| met.push(*id));
        let unknown = known.unknown(&met);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(unknown.contains(*id), n % 3 != 0, "{n}");
        }
    }
}
