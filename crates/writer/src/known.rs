//! The series whose definitions a group is known to hold.

use hashbrown::HashTable;
use model::SeriesId;
use parking_lot::Mutex;

/// Locks, so that writers on several threads rarely meet. Each guards one part of the set.
const SHARDS: usize = 16;

/// A bounded set of ids, by 64 of their bits. A collision makes us leave out a definition, for which the replica then asks.
///
/// Two generations: when the younger is full it becomes the older, and what was in the older and not met since is forgotten.
pub(crate) struct KnownSeries {
    shards: [Mutex<Shard>; SHARDS],
    per_shard_max: usize,
}

#[derive(Default)]
struct Shard {
    young: HashTable<u64>,
    old: HashTable<u64>,
}

fn key(id: SeriesId) -> (usize, u64) {
    let key = id.0 as u64;
    ((id.0 >> 124) as usize % SHARDS, key)
}

impl KnownSeries {
    /// At most `max` series in each of two generations; nine bytes each.
    pub(crate) fn new(max: usize) -> KnownSeries {
        KnownSeries { shards: std::array::from_fn(|_| Mutex::default()), per_shard_max: (max / SHARDS).max(1) }
    }

    pub(crate) fn contains(&self, id: SeriesId) -> bool {
        let (shard, key) = key(id);
        let mut s = self.shards[shard].lock();
        if s.young.find(key, |k| *k == key).is_some() {
            return true;
        }
        let in_old = s.old.find(key, |k| *k == key).is_some();
        if in_old {
            s.insert(key, self.per_shard_max);
        }
        in_old
    }

    pub(crate) fn insert(&self, id: SeriesId) {
        let (shard, key) = key(id);
        self.shards[shard].lock().insert(key, self.per_shard_max);
    }

    pub(crate) fn remove(&self, id: SeriesId) {
        let (shard, key) = key(id);
        let mut s = self.shards[shard].lock();
        for table in [0, 1] {
            let s = &mut *s;
            let table = if table == 0 { &mut s.young } else { &mut s.old };
            if let Ok(entry) = table.find_entry(key, |k| *k == key) {
                entry.remove();
            }
        }
    }
}

impl Shard {
    fn insert(&mut self, key: u64, max: usize) {
        if self.young.find(key, |k| *k == key).is_some() {
            return;
        }
        if self.young.len() >= max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert_unique(key, key, |k| *k);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let known = KnownSeries::new(16 * 4);
        let id = |n: u64| SeriesId(u128::from(n));
        known.insert(id(0));
        for n in 1..40 {
            known.insert(id(n));
            assert!(known.contains(id(0)), "{n}");
            assert!(known.contains(id(n)), "{n}");
        }
        assert!(!known.contains(id(1)));
        known.remove(id(0));
        assert!(!known.contains(id(0)));
    }
}
