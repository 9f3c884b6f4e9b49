//! Where the series of a column were the last time that the same ids came in the same order.
//!
//! A scraper sends the same series of a target again and again. Each lookup by id misses the cache three times, one after the
//! other; a remembered place misses it once, to see that the series is still there, and the misses of many overlap.

use hashbrown::{HashMap, HashSet};

use crate::postings::SeriesRef;

type Hasher = foldhash::fast::FixedState;

/// Columns are remembered when they come for the second time: those of remote write are of other series each time.
#[derive(Default)]
pub(crate) struct Hints {
    columns: HashMap<u64, Box<[SeriesRef]>, Hasher>,
    /// Hashes that came once.
    once: HashSet<u64, Hasher>,
    /// References in `columns`.
    ref_count: usize,
}

impl Hints {
    /// The places of a column's series, which may have changed since.
    pub(crate) fn get(&self, column: u64) -> Option<&[SeriesRef]> {
        self.columns.get(&column).map(|refs| &**refs)
    }

    /// Takes note of where a column's series are, in a partition of so many.
    pub(crate) fn note(&mut self, column: u64, refs: &[SeriesRef], series_count: usize) {
        if !self.columns.contains_key(&column) && self.once.insert(column) {
            if self.once.len() > 1024 + series_count / 16 {
                self.once.clear();
            }
            return;
        }
        self.once.remove(&column);
        if self.ref_count + refs.len() > 1024 + 2 * series_count {
            self.columns.clear();
            self.ref_count = 0;
        }
        self.ref_count += refs.len();
        if let Some(before) = self.columns.insert(column, refs.into()) {
            self.ref_count -= before.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_remembered_at_its_second_time_and_memory_is_bounded() {
        let mut hints = Hints::default();
        let refs: Vec<SeriesRef> = (0..100).collect();
        hints.note(7, &refs, 1000);
        assert_eq!(hints.get(7), None);
        hints.note(7, &refs, 1000);
        assert_eq!(hints.get(7), Some(&refs[..]));
        hints.note(7, &refs[..50], 1000);
        assert_eq!((hints.get(7), hints.ref_count), (Some(&refs[..50]), 50));
        for column in 0..100_000 {
            hints.note(column, &refs, 1000);
            hints.note(column, &refs, 1000);
            assert!(hints.ref_count <= 3024 && hints.columns.len() <= 31 && hints.once.len() <= 1088);
        }
    }
}
