//! One partition of a tenant: its series, found by id and by label.

use hashbrown::HashTable;
use model::{Labels, Matcher, SampleValue, SeriesId};

use crate::Error;
use crate::chunk_files::ChunkFiles;
use crate::postings::{Postings, SeriesRef};
use crate::series::{MemSeries, Visible};

/// The series of a (tenant, partition). All access is under its lock.
#[derive(Default)]
pub(crate) struct Partition {
    /// From id to place in `series`. Ids are hashes, so their own bits serve as hash.
    by_id: HashTable<SeriesRef>,
    series: Vec<MemSeries>,
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
        self.by_id.find(hash(id), |r| self.series[*r as usize].id == id).copied()
    }

    /// The series, unless a new definition must come first.
    pub(crate) fn find_live(&self, id: SeriesId) -> Option<SeriesRef> {
        self.find(id).filter(|r| !self.series[*r as usize].retiring)
    }

    pub(crate) fn series(&self) -> &[MemSeries] {
        &self.series
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
                series.retiring = false;
                series.labels == labels()
            }
            None => {
                self.insert(MemSeries::new(id, labels()));
                true
            }
        }
    }

    pub(crate) fn insert(&mut self, series: MemSeries) {
        let r = SeriesRef::try_from(self.series.len()).expect("fewer than 2^32 series in a partition");
        self.postings.add(r, &series.labels);
        let all = &self.series;
        self.by_id.insert_unique(hash(series.id), r, |r| hash(all[*r as usize].id));
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
        let at_hint = self.series.get(hint as usize).is_some_and(|s| s.id == id);
        let r = if at_hint { Some(hint) } else { self.find(id) };
        let Some(r) = r else { return Ok(false) };
        let series = &mut self.series[r as usize];
        for (t, v) in samples {
            series.append(t, v, files)?;
        }
        Ok(true)
    }

    /// As [`Partition::append`], one histogram.
    pub(crate) fn append_value(
        &mut self,
        hint: SeriesRef,
        id: SeriesId,
        (t, value): (i64, SampleValue),
        files: &ChunkFiles,
    ) -> Result<bool, Error> {
        let at_hint = self.series.get(hint as usize).is_some_and(|s| s.id == id);
        let r = if at_hint { Some(hint) } else { self.find(id) };
        let Some(r) = r else { return Ok(false) };
        self.series[r as usize].append_value(t, value, files)?;
        Ok(true)
    }

    /// The series at this place, while a snapshot is read.
    pub(crate) fn series_at(&mut self, r: u32) -> Option<&mut MemSeries> {
        self.series.get_mut(r as usize)
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
            Selected { id: s.id, r: *r, visible: s.visible() }
        };
        Some(refs.iter().map(selected).collect())
    }

    /// The series selected, wherever it is now; `None` if it has gone since.
    pub(crate) fn selected(&self, s: &Selected) -> Option<&MemSeries> {
        let here = self.series.get(s.r as usize).filter(|x| x.id == s.id);
        here.or_else(|| self.find(s.id).map(|r| &self.series[r as usize]))
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
        for s in &mut self.series {
            s.retiring = s.is_empty();
        }
        gone
    }

    /// Removes series that are retiring and empty, and numbers the others anew.
    fn compact(&mut self) {
        let old = std::mem::take(&mut self.series);
        *self = Partition { epoch: self.epoch + 1, applied: self.applied, ..Partition::default() };
        for s in old.into_iter().filter(|s| !s.retiring) {
            self.insert(s);
        }
        self.series.shrink_to_fit();
    }
}
