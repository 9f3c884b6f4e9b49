//! What is looked at step by step, for the statistics of `stats=all`.
//!
//! Source: Prometheus `util/stats/query_stats.go`.

use std::sync::Arc;

use model::FloatHistogram;

use super::column::{Grid, is_absent};
use super::hists::{View, weight};
use super::window::{WindowEnd, Windows};

/// Samples per step of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepStats {
    /// Samples seen, as Prometheus counts `totalQueryableSamplesPerStep`.
    pub total: Vec<u64>,
    /// Samples that came new to a step, as it counts `samplesReadPerStep`.
    pub read: Vec<u64>,
}

impl StepStats {
    pub(crate) fn new(steps: usize) -> StepStats {
        StepStats { total: vec![0; steps], read: vec![0; steps] }
    }

    /// Adds the counts of another thread.
    pub(crate) fn add(&mut self, other: &StepStats) {
        self.total.iter_mut().zip(&other.total).for_each(|(a, b)| *a += b);
        self.read.iter_mut().zip(&other.read).for_each(|(a, b)| *a += b);
    }

    /// Credits what was seen at the steps of a part: at each, or where the part was evaluated once for all steps, at all.
    pub(crate) fn see(&mut self, seen: &[u64], repeat: u64) {
        let Some(last) = self.total.len().checked_sub(1) else { return };
        match repeat {
            0 => {}
            1 => seen.iter().enumerate().for_each(|(i, n)| self.total[i.min(last)] += n),
            _ => {
                let seen: u64 = seen.iter().sum();
                self.total.iter_mut().for_each(|n| *n += seen);
            }
        }
    }

    /// Credits what was read at the steps of a part.
    pub(crate) fn read(&mut self, read: &[u64], steps: Option<&[u32]>) {
        let Some(last) = self.read.len().checked_sub(1) else { return };
        for (i, n) in read.iter().enumerate() {
            if let Some(at) = step_of(steps, i) {
                self.read[at.min(last)] += n;
            }
        }
    }
}

/// Stands for no step: a step of a subquery in a gap between the windows around it.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The step of the query for step `i` of a part; the same where nothing else is said.
fn step_of(steps: Option<&[u32]>, i: usize) -> Option<usize> {
    match steps {
        None => Some(i),
        Some(steps) => steps.get(i).filter(|at| **at != NOWHERE).map(|at| *at as usize),
    }
}

/// How much of what was read somebody looks at.
pub(crate) fn read_of(read: &[u64], steps: &[u32]) -> u64 {
    read.iter().enumerate().filter(|(i, _)| step_of(Some(steps), *i).is_some()).map(|(_, n)| n).sum()
}

/// For each step of a subquery the step of the query that reads its points first.
#[expect(clippy::cast_possible_truncation, reason = "a query has far fewer than 2^32 steps")]
pub(crate) fn readers(inner: Grid, outer: Grid, (offset, range): (i64, i64), outside: Option<&[u32]>) -> Arc<[u32]> {
    let reader = |t: i64| -> u32 {
        let t = t.saturating_add(offset);
        let mut at = 0;
        if outer.count > 1 {
            let behind = t.saturating_sub(outer.start).max(0);
            let up = behind.saturating_add(outer.step - 1) / outer.step;
            at = usize::try_from(up).unwrap_or(usize::MAX).min(outer.count - 1);
            if t <= outer.at(at).saturating_sub(range) {
                return NOWHERE;
            }
        }
        step_of(outside, at).map_or(NOWHERE, |at| at as u32)
    };
    inner.iter().map(reader).collect()
}

/// What a source or a subquery looked at, at each of its steps.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) seen: Vec<u64>,
    pub(crate) read: Vec<u64>,
}

impl Counted {
    /// Nothing at `n` steps.
    pub(crate) fn clear(&mut self, n: usize) {
        for list in [&mut self.seen, &mut self.read] {
            list.clear();
            list.resize(n, 0);
        }
    }

    /// One sample at each step that has a value.
    pub(crate) fn values(&mut self, view: View<'_>, is_weighed: bool) {
        self.clear(view.values.len());
        self.seen.iter_mut().zip(view.values).for_each(|(n, v)| *n = u64::from(!is_absent(*v)));
        for (i, h) in view.hists.iter() {
            self.seen[i] = if is_weighed { weight(h) as u64 } else { 1 };
        }
        self.read.copy_from_slice(&self.seen);
    }

    /// Adds the samples of windows, each of which weighs `weigh`.
    pub(crate) fn windows(&mut self, windows: &Windows, end: WindowEnd, weigh: impl Fn(usize, usize) -> u64) {
        let mut before = 0;
        for i in 0..windows.lo.len().min(self.seen.len()) {
            let (lo, hi) = windows.at(i);
            self.seen[i] += weigh(lo, hi);
            let is_read = i == 0 || matches!(end, WindowEnd::Before(_));
            if is_read {
                self.read[i] += weigh(lo.max(before).min(hi), hi);
            }
            before = hi;
        }
    }
}

/// The weight of `lo..hi` of histograms.
pub(crate) fn weight_of(hists: &[Arc<FloatHistogram>]) -> impl Fn(usize, usize) -> u64 {
    |lo, hi| hists[lo..hi].iter().map(|h| weight(h) as u64).sum()
}
