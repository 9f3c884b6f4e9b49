//! The samples of one series out of its chunks.

mod histograms;

use model::{TimeRange, join_values};
use storage::{Chunk, ChunkEncoding, Series};

use super::column::{NORMAL_NAN, is_absent};
use super::error::QueryError;
use super::limits::Ticker;
use super::starts::Starts;
use super::window::{HistSamples, Samples};
use histograms::DecodedHists;

/// The samples of a series at hand; buffers are kept from series to series.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    ts: Vec<i64>,
    values: Vec<f64>,
    /// Start timestamps, where a chunk has any: then one per sample.
    starts: Vec<i64>,
    /// Samples `from .. to` lie in the range.
    from: usize,
    to: usize,
    /// The same without staleness markers, where there are any.
    clean_ts: Vec<i64>,
    clean_values: Vec<f64>,
    clean_starts: Vec<i64>,
    has_markers: bool,
    hists: DecodedHists,
}

impl Decoded {
    /// Decodes the chunks of `series` that overlap `range`; returns how many samples were decoded. `wants_stats`: counts and sums
    /// of histograms will be asked for.
    pub(crate) fn fill(
        &mut self,
        series: &Series,
        range: TimeRange,
        wants_stats: bool,
        ticker: &mut Ticker,
    ) -> Result<usize, QueryError> {
        self.ts.clear();
        self.values.clear();
        self.hists.clear();
        self.starts.clear();
        let mut in_order = true;
        for chunk in &series.chunks {
            if chunk.maxt < range.mint || chunk.mint >= range.maxt {
                continue;
            }
            let before = self.ts.last().copied();
            let start = self.ts.len();
            let n = self.append(series, chunk)?;
            let part = &self.ts[start..];
            in_order &= before.is_none_or(|last| part.first().is_none_or(|first| last < *first));
            in_order &= part.windows(2).fold(true, |ok, pair| ok & (pair[0] < pair[1]));
            ticker.tick(n)?;
        }
        let decoded = self.ts.len() + self.hists.ts.len();
        if self.starts.iter().all(|start| *start == 0) {
            self.starts.clear();
        } else {
            self.starts.resize(self.ts.len(), 0);
        }
        if !in_order {
            self.join(ticker)?;
        }
        self.hists.settle(range, wants_stats);
        self.drop_floats_beside_hists();
        self.from = self.ts.partition_point(|t| *t < range.mint.0);
        self.to = self.ts.partition_point(|t| *t < range.maxt.0).max(self.from);
        self.find_nans(ticker)?;
        Ok(decoded)
    }

    /// Number of samples in the range.
    pub(crate) fn len(&self) -> usize {
        self.to - self.from + self.hists.ts.len()
    }

    fn append(&mut self, series: &Series, chunk: &Chunk) -> Result<usize, QueryError> {
        let corrupt = |source| QueryError::Corrupt { labels: series.labels.clone(), mint: chunk.mint, source };
        let is_float = match chunk.encoding {
            ChunkEncoding::Xor => {
                return chunkenc::decode_xor(&chunk.data, &mut self.ts, &mut self.values).map_err(corrupt);
            }
            ChunkEncoding::Xor2 => {
                self.starts.resize(self.ts.len(), 0);
                let Decoded { starts, ts, values, .. } = self;
                return chunkenc::decode_xor2(&chunk.data, starts, ts, values).map_err(corrupt);
            }
            ChunkEncoding::Histogram => false,
            ChunkEncoding::FloatHistogram => true,
        };
        let mut n = 0;
        for sample in chunkenc::HistogramSamples::new(is_float, &chunk.data) {
            let (at, h) = sample.map_err(corrupt)?;
            self.hists.push(at, h);
            n += 1;
        }
        Ok(n)
    }

    /// Where a time has a float and a histogram, the histogram stays, unless it is a staleness marker.
    fn drop_floats_beside_hists(&mut self) {
        if self.hists.ts.is_empty() || self.ts.is_empty() {
            return;
        }
        let hists = self.hists.with_markers(false);
        let beside = |t: i64, v: f64| {
            let h = hists.ts.binary_search(&t).ok().map(|at| &hists.hists[at]);
            h.is_some_and(|h| !h.is_stale() || model::is_stale(v))
        };
        let keep: Vec<bool> = self.ts.iter().zip(&self.values).map(|(t, v)| !beside(*t, *v)).collect();
        let mut kept = keep.iter();
        self.ts.retain(|_| kept.next() == Some(&true));
        let mut kept = keep.iter();
        self.values.retain(|_| kept.next() == Some(&true));
        let mut kept = keep.iter();
        self.starts.retain(|_| kept.next() == Some(&true));
    }

    /// Orders samples of overlapping chunks; of two with one timestamp `join_values` decides.
    fn join(&mut self, ticker: &mut Ticker) -> Result<(), QueryError> {
        let has_starts = !self.starts.is_empty();
        let start = |at: usize| self.starts.get(at).copied().unwrap_or(0);
        let times = self.ts.iter().copied().zip(self.values.iter().copied());
        let mut samples: Vec<(i64, f64, i64)> = times.enumerate().map(|(at, (t, v))| (t, v, start(at))).collect();
        sort_by_time(&mut samples, ticker)?;
        self.ts.clear();
        self.values.clear();
        self.starts.clear();
        for (t, v, start) in samples {
            match self.values.last_mut() {
                Some(last) if self.ts.last() == Some(&t) => {
                    let joined = join_values(*last, v);
                    if let Some(known) = self.starts.last_mut() {
                        // The start timestamp is that of the value that stays; of equal values the later start.
                        let (is_old, is_new) = (joined.to_bits() == last.to_bits(), joined.to_bits() == v.to_bits());
                        *known = if is_old && is_new {
                            start.max(*known)
                        } else if is_new {
                            start
                        } else {
                            *known
                        };
                    }
                    *last = joined;
                }
                _ => {
                    self.ts.push(t);
                    self.values.push(v);
                    if has_starts {
                        self.starts.push(start);
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks for staleness markers, and for the one NaN that columns keep for themselves.
    fn find_nans(&mut self, ticker: &mut Ticker) -> Result<(), QueryError> {
        self.has_markers = false;
        let values = &mut self.values[self.from..self.to];
        let mut any = false;
        ticker.each_part(values, |part| any |= part.iter().fold(false, |any, v| any | v.is_nan()))?;
        if !any {
            return Ok(());
        }
        for v in values.iter_mut() {
            if is_absent(*v) {
                *v = NORMAL_NAN;
            }
            self.has_markers |= model::is_stale(*v);
        }
        if self.has_markers {
            self.clean_ts.clear();
            self.clean_values.clear();
            self.clean_starts.clear();
            for at in self.from..self.to {
                if !model::is_stale(self.values[at]) {
                    self.clean_ts.push(self.ts[at]);
                    self.clean_values.push(self.values[at]);
                    self.clean_starts.extend(self.starts.get(at));
                }
            }
        }
        Ok(())
    }

    /// All samples, staleness markers included, and whether there are any.
    pub(crate) fn with_markers(&self) -> (Samples<'_>, bool) {
        let samples = Samples { ts: &self.ts[self.from..self.to], values: &self.values[self.from..self.to] };
        (samples, self.has_markers)
    }

    /// Histograms, staleness markers included.
    pub(crate) fn hists_with_markers(&self, stats_only: bool) -> HistSamples<'_> {
        self.hists.with_markers(stats_only)
    }

    /// Histograms without staleness markers.
    pub(crate) fn hists(&self, stats_only: bool) -> HistSamples<'_> {
        self.hists.without_markers(stats_only)
    }

    /// The start timestamps that belong to [`Decoded::with_markers`], where there are any.
    pub(crate) fn starts_with_markers(&self) -> Option<Starts<'_>> {
        (!self.starts.is_empty()).then(|| &self.starts[self.from..self.to])
    }

    /// The start timestamps that belong to [`Decoded::without_markers`], where there are any.
    pub(crate) fn starts(&self) -> Option<Starts<'_>> {
        match (self.starts.is_empty(), self.has_markers) {
            (true, _) => None,
            (false, true) => Some(&self.clean_starts),
            (false, false) => self.starts_with_markers(),
        }
    }

    /// The samples without staleness markers.
    pub(crate) fn without_markers(&self) -> Samples<'_> {
        if self.has_markers {
            Samples { ts: &self.clean_ts, values: &self.clean_values }
        } else {
            self.with_markers().0
        }
    }
}

/// A timestamp, a value, a start timestamp.
type Timed = (i64, f64, i64);

/// Sorts by timestamp; equal ones keep their order. Parts are sorted, then merged, so that an interrupt is seen in between.
fn sort_by_time(samples: &mut Vec<Timed>, ticker: &mut Ticker) -> Result<(), QueryError> {
    const PART: usize = 20_000;
    for part in samples.chunks_mut(PART) {
        ticker.tick(part.len())?;
        part.sort_by_key(|(t, ..)| *t);
    }
    let mut width = PART;
    let mut merged: Vec<Timed> = Vec::with_capacity(samples.len());
    while width < samples.len() {
        merged.clear();
        for pair in samples.chunks(2 * width) {
            let (mut a, mut b) = pair.split_at(width.min(pair.len()));
            while let (Some(first), Some(second)) = (a.first(), b.first()) {
                let from = if second.0 < first.0 { &mut b } else { &mut a };
                merged.push(from[0]);
                *from = &from[1..];
                ticker.tick(1)?;
            }
            merged.extend_from_slice(a);
            merged.extend_from_slice(b);
        }
        std::mem::swap(samples, &mut merged);
        width *= 2;
    }
    Ok(())
}
