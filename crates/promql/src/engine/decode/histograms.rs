//! The histograms of a series out of its chunks.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, TimeRange, join_histograms};

use crate::engine::window::HistSamples;

/// Histograms at hand; there are none in most series.
#[derive(Debug, Default)]
pub(super) struct DecodedHists {
    pub(super) ts: Vec<i64>,
    pub(super) hists: Vec<Arc<FloatHistogram>>,
    /// Their counts and sums alone, where those are wanted.
    stats: Vec<Arc<FloatHistogram>>,
    /// All that are in the range and no staleness markers.
    clean: Option<Clean>,
}

/// What is left without staleness markers.
#[derive(Debug, Default)]
struct Clean {
    ts: Vec<i64>,
    hists: Vec<Arc<FloatHistogram>>,
    stats: Vec<Arc<FloatHistogram>>,
}

impl DecodedHists {
    pub(super) fn clear(&mut self) {
        self.ts.clear();
        self.hists.clear();
        self.stats.clear();
        self.clean = None;
    }

    pub(super) fn push(&mut self, at: i64, h: FloatHistogram) {
        self.ts.push(at);
        self.hists.push(Arc::new(h));
    }

    /// Orders histograms of overlapping chunks and keeps those in `range`.
    pub(super) fn settle(&mut self, range: TimeRange, wants_stats: bool) {
        if self.ts.is_empty() {
            return;
        }
        if !self.ts.is_sorted_by(|a, b| a < b) {
            self.join();
        }
        let from = self.ts.partition_point(|t| *t < range.mint.0);
        let to = self.ts.partition_point(|t| *t < range.maxt.0).max(from);
        self.ts.truncate(to);
        self.ts.drain(..from);
        self.hists.truncate(to);
        self.hists.drain(..from);
        if wants_stats {
            self.find_stats();
        }
        if self.hists.iter().any(|h| h.is_stale()) {
            let mut clean = Clean::default();
            for (at, h) in self.hists.iter().enumerate().filter(|(_, h)| !h.is_stale()) {
                clean.ts.push(self.ts[at]);
                clean.hists.push(Arc::clone(h));
                clean.stats.extend(self.stats.get(at).cloned());
            }
            self.clean = Some(clean);
        }
    }

    /// Counts and sums, with what can be known of counter resets while there are buckets to tell them by.
    /// Source: Prometheus `promql/histogram_stats_iterator.go`.
    fn find_stats(&mut self) {
        let mut before: Option<&FloatHistogram> = None;
        for h in &self.hists {
            let mut hint = h.counter_reset_hint;
            if !h.is_stale() {
                if let (CounterResetHint::Unknown, Some(before)) = (hint, before) {
                    let is_reset = h.is_reset_after(before);
                    hint = if is_reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
                }
                before = Some(h.as_ref());
            }
            self.stats.push(Arc::new(FloatHistogram {
                counter_reset_hint: hint,
                schema: h.schema,
                count: h.count,
                sum: h.sum,
                ..FloatHistogram::default()
            }));
        }
    }

    /// Orders by time. What chunks say of counter resets holds between neighbours in them, which may be none now.
    fn join(&mut self) {
        let mut all: Vec<(i64, Arc<FloatHistogram>)> = self.ts.drain(..).zip(self.hists.drain(..)).collect();
        all.sort_by_key(|(t, _)| *t);
        for (t, mut h) in all {
            if h.counter_reset_hint != CounterResetHint::Gauge {
                Arc::make_mut(&mut h).counter_reset_hint = CounterResetHint::Unknown;
            }
            match self.hists.last_mut() {
                Some(last) if self.ts.last() == Some(&t) => {
                    let joined = join_histograms(FloatHistogram::clone(last), FloatHistogram::clone(&h));
                    *last = Arc::new(joined);
                }
                _ => {
                    self.ts.push(t);
                    self.hists.push(h);
                }
            }
        }
    }

    pub(super) fn with_markers(&self, stats_only: bool) -> HistSamples<'_> {
        HistSamples { ts: &self.ts, hists: if stats_only { &self.stats } else { &self.hists } }
    }

    pub(super) fn without_markers(&self, stats_only: bool) -> HistSamples<'_> {
        match &self.clean {
            Some(Clean { ts, hists, stats }) => HistSamples { ts, hists: if stats_only { stats } else { hists } },
            None => self.with_markers(stats_only),
        }
    }
}
