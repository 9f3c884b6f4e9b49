//! The newest exemplars of a tenant, in one ring, as in Prometheus.

use std::collections::{BTreeMap, VecDeque};

use model::{Exemplar, Labels, SeriesId, TimestampMs};

/// Exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarSeries {
    /// Labels of the series.
    pub labels: Labels,
    /// By time.
    pub exemplars: Vec<Exemplar>,
}

/// A ring of the newest exemplars.
#[derive(Default)]
pub(crate) struct ExemplarRing {
    entries: VecDeque<(SeriesId, Labels, Exemplar)>,
    /// Time of the newest exemplar per series: older ones and repeats are dropped, as in Prometheus.
    newest: BTreeMap<SeriesId, (i64, u64)>,
}

impl ExemplarRing {
    /// Keeps the exemplar if it is newer than the series' newest; the oldest goes when there are more than `limit`.
    pub(crate) fn add(&mut self, id: SeriesId, labels: &Labels, exemplar: Exemplar, limit: usize) {
        let t = exemplar.timestamp.map_or(0, |t| t.0);
        if limit == 0 || self.newest.get(&id).is_some_and(|(newest, _)| t <= *newest) {
            return;
        }
        let count = self.newest.get(&id).map_or(0, |(_, n)| *n);
        self.newest.insert(id, (t, count + 1));
        self.entries.push_back((id, labels.clone(), exemplar));
        while self.entries.len() > limit {
            let Some((old, _, _)) = self.entries.pop_front() else { break };
            if let Some((_, n)) = self.newest.get_mut(&old) {
                *n -= 1;
                if *n == 0 {
                    self.newest.remove(&old);
                }
            }
        }
    }

    /// Those of series that `wanted` accepts, with `mint <= t < maxt`, by series labels.
    pub(crate) fn select(&self, range: model::TimeRange, wanted: impl Fn(&Labels) -> bool) -> Vec<ExemplarSeries> {
        let mut by_labels: BTreeMap<&Labels, Vec<Exemplar>> = BTreeMap::new();
        for (_, labels, e) in &self.entries {
            if range.contains(e.timestamp.unwrap_or(TimestampMs(0))) && wanted(labels) {
                by_labels.entry(labels).or_default().push(e.clone());
            }
        }
        by_labels.into_iter().map(|(l, exemplars)| ExemplarSeries { labels: l.clone(), exemplars }).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(SeriesId, Labels, Exemplar)> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
