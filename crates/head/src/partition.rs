//! One partition of a tenant: its series, found by id and by label.

use batch::FloatColumn;
use hashbrown::HashTable;
use model::{Labels, Matcher, SeriesId};

use crate::Error;
use crate::chunk_files::ChunkFiles;
use crate::hints::Hints;
use crate::postings::{Postings, SeriesRef};
use crate::series::{MemSeries, Visible};

/// The series of a (tenant, partition). All access is under its lock.
#[derive(Default)]
pub(crate) struct Partition {
    /// From id to place in `ids` and `series`. Ids are hashes, so their own bits serve as hash.
    by_id: HashTable<SeriesRef>,
    /// Apart from `series`: looking one up then touches a quarter of the memory.
    ids: Vec<SeriesId>,
    series: Vec<MemSeries>,
    /// Series of which [`MemSeries::retiring`] is set.
    retiring_count: usize,
    hints: Hints,
    postings: Postings,
    /// Changes when series are renumbered.
    epoch: u64,
    /// Position of the last batch applied here.
    pub(crate) applied: u64,
}

/// What a reader knows of a partition at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    epoch: u64,
    series_count: u32,
}

/// A series selected, and what of it may be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected {
    pub(crate) id: SeriesId,
    r: SeriesRef,
    pub(crate) visible: Visible,
}

fn hash(id: SeriesId) -> u64 {
    // The top bits are the partition and equal for all series here.
    id.0 as u64
}

impl Partition {
    pub(crate) fn find(&self, id: SeriesId) -> Option<SeriesRef> {
        self.by_id.find(hash(id), |r| self.ids[*r as usize] == id).copied()
    }

    /// The series, unless a new definition must come first.
    pub(crate) fn find_live(&self, id: SeriesId) -> Option<SeriesRef> {
        self.find(id).filter(|r| self.is_live(*r))
    }

    /// Finds the series of a column and appends their places to `refs`; those not there, or that need a definition, are given to
    /// `on_missing`, and have the place `SeriesRef::MAX`.
    pub(crate) fn find_all(
        &mut self,
        column: &FloatColumn<'_>,
        refs: &mut Vec<SeriesRef>,
        mut on_missing: impl FnMut(SeriesId),
    ) {
        let hash = column.ids_hash();
        let from = refs.len();
        let hinted = self.hints.get(hash).unwrap_or_default();
        let mut hints = hinted.iter().copied().chain(std::iter::repeat(SeriesRef::MAX));
        let (mut all_hinted, mut all_found) = (true, true);
        for id in column.ids() {
            let hint = hints.next().unwrap_or(SeriesRef::MAX);
            let is_there = self.ids.get(hint as usize) == Some(&id) && self.is_live(hint);
            let found = if is_there { Some(hint) } else { self.find_live(id) };
            all_hinted &= is_there;
            all_found &= found.is_some();
            if found.is_none() {
                on_missing(id);
            }
            refs.push(found.unwrap_or(SeriesRef::MAX));
        }
        if all_found && !all_hinted {
            self.hints.note(hash, &refs[from..], self.series.len());
        }
    }

    fn is_live(&self, r: SeriesRef) -> bool {
        self.retiring_count == 0 || !self.series[r as usize].retiring
    }

    pub(crate) fn series(&self) -> &[MemSeries] {
        &self.series
    }

    pub(crate) fn ids(&self) -> &[SeriesId] {
        &self.ids
    }

    pub(crate) fn get(&self, r: SeriesRef) -> &MemSeries {
        &self.series[r as usize]
    }

    pub(crate) fn postings(&self) -> &Postings {
        &self.postings
    }

    /// Makes the series known; false if other labels are held under its id.
    pub(crate) fn define(&mut self, id: SeriesId, labels: impl FnOnce() -> Labels) -> bool {
        match self.find(id) {
            Some(r) => {
                let series = &mut self.series[r as usize];
                self.retiring_count -= usize::from(series.retiring);
                series.retiring = false;
                series.labels == labels()
            }
            None => {
                self.insert(id, MemSeries::new(labels()));
                true
            }
        }
    }

    pub(crate) fn insert(&mut self, id: SeriesId, series: MemSeries) {
        let r = SeriesRef::try_from(self.series.len()).expect("fewer than 2^32 series in a partition");
        self.postings.add(r, &series.labels);
        if self.ids.len() == self.ids.capacity() {
            self.ids.reserve_exact((self.ids.len() / 8).max(16));
        }
        self.ids.push(id);
        let ids = &self.ids;
        self.by_id.insert_unique(hash(id), r, |r| hash(ids[*r as usize]));
        if self.series.len() == self.series.capacity() {
            // Doubling would leave a quarter of the memory of series unused.
            self.series.reserve_exact((self.series.len() / 8).max(16));
        }
        self.series.push(series);
    }

    /// Adds samples to the series at `hint`, if it is the one of `id`, or to where that is now. False if it is unknown.
    pub(crate) fn append(
        &mut self,
        hint: SeriesRef,
        id: SeriesId,
        samples: &mut dyn Iterator<Item = (i64, f64)>,
        files: &ChunkFiles,
    ) -> Result<bool, Error> {
        let at_hint = self.ids.get(hint as usize) == Some(&id);
        let r = if at_hint { Some(hint) } else { self.find(id) };
        let Some(r) = r else { return Ok(false) };
        let series = &mut self.series[r as usize];
        for (t, v) in samples {
            series.append(t, v, files)?;
        }
        Ok(true)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { epoch: self.epoch, series_count: u32::try_from(self.series.len()).expect("checked at insertion") }
    }

    /// The series that were there at `bounds` and match; `None` if they were renumbered since.
    pub(crate) fn select(&self, matchers: &[Matcher], bounds: Bounds) -> Option<Vec<SeriesRef>> {
        if self.epoch != bounds.epoch {
            return None;
        }
        let all = 0..bounds.series_count;
        let mut refs = self.postings.select(matchers, |r| &self.series[r as usize].labels, all);
        refs.truncate(refs.partition_point(|r| *r < bounds.series_count));
        Some(refs)
    }

    /// What may be seen of `refs` now, sorted by id; `None` if they were renumbered since `bounds`.
    pub(crate) fn visible(&self, refs: &[SeriesRef], bounds: Bounds) -> Option<Vec<Selected>> {
        if self.epoch != bounds.epoch {
            return None;
        }
        let selected = |r: &SeriesRef| {
            let s = &self.series[*r as usize];
            Selected { id: self.ids[*r as usize], r: *r, visible: s.visible() }
        };
        Some(refs.iter().map(selected).collect())
    }

    /// The series selected, wherever it is now; `None` if it has gone since.
    pub(crate) fn selected(&self, s: &Selected) -> Option<&MemSeries> {
        let here = self.ids.get(s.r as usize) == Some(&s.id);
        let r = if here { Some(s.r) } else { self.find(s.id) };
        r.map(|r| &self.series[r as usize])
    }

    /// Forgets what ends before `t`. A series with nothing left is marked, and goes at the next call if nothing has come for it by
    /// then: a batch without its definition may be on its way to the log.
    pub(crate) fn collect_garbage(&mut self, t: i64) -> usize {
        let mut gone = 0;
        for s in &mut self.series {
            let left = s.drop_before(t);
            if left {
                s.retiring = false;
            } else if s.retiring {
                gone += 1;
            }
        }
        if gone > 0 {
            self.compact();
        }
        self.retiring_count = 0;
        for s in &mut self.series {
            let empty = s.sealed.is_empty() && s.open.sample_count() == 0 && s.late.is_none();
            s.retiring = empty;
            self.retiring_count += usize::from(empty);
        }
        gone
    }

    /// Removes series that are retiring and empty, and numbers the others anew.
    fn compact(&mut self) {
        let (old_ids, old) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.series));
        *self = Partition { epoch: self.epoch + 1, applied: self.applied, ..Partition::default() };
        for (id, s) in old_ids.into_iter().zip(old).filter(|(_, s)| !s.retiring) {
            self.insert(id, s);
        }
        self.ids.shrink_to_fit();
        self.series.shrink_to_fit();
    }
}
