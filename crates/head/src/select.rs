//! Reading the head.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use model::{DurationMs, Matcher, TenantId, TimeRange, TimestampMs};
use storage::{Chunk, ChunkEncoding, LabelQuery, SelectError, SelectRequest, Series, SeriesBatch, chain};

use crate::Error;
use crate::chunk_files::{ChunkFiles, SealedChunk};
use crate::head::{Head, Tenant};
use crate::partition::{Bounds, Partition, Selected};
use crate::series::{MemSeries, encode_sorted};

/// Series per batch: some hundred KiB of copied open chunks, and a lock held for well under a millisecond.
const BATCH_SERIES: usize = 512;

/// Stretches of time looked at per chunk; the oldest matter, and no chunk reaches over many.
const STRETCHES_MAX: i64 = 1024;

/// How the series of a selection follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By id, as queries want them.
    Id,
    /// By labels, as blocks are written.
    Labels,
}

/// Series that matched, and what of them may be seen; chunks are copied when a batch is asked for.
pub struct Selection {
    head: Arc<Head>,
    tenant: Option<Arc<Tenant>>,
    range: TimeRange,
    with_chunks: bool,
    /// (partition, series), in order, the next first.
    series: VecDeque<(u32, Selected)>,
}

impl Head {
    /// Selects series: everything that was applied before the call and nothing that is applied later.
    pub fn select(self: &Arc<Head>, request: &SelectRequest, order: Order) -> Result<Selection, SelectError> {
        let tenant = self.tenant(&request.tenant);
        let series = match &tenant {
            Some(tenant) => self.resolve(tenant, request, order)?,
            None => VecDeque::new(),
        };
        let (range, with_chunks) = (request.range, request.with_chunks);
        Ok(Selection { head: self.clone(), tenant, range, with_chunks, series })
    }

    fn resolve(
        &self,
        tenant: &Tenant,
        request: &SelectRequest,
        order: Order,
    ) -> Result<VecDeque<(u32, Selected)>, SelectError> {
        let in_shard = |p: &u32| {
            let (count, partitions) = (request.shard.count, self.limits.partition_count);
            if count <= partitions { p / (partitions / count) == request.shard.index } else { true }
        };
        let partitions: Vec<u32> = (0..self.limits.partition_count).filter(in_shard).collect();
        let mut found = loop {
            if let Some(found) = self.try_resolve(tenant, &partitions, &request.matchers, request.series_max)? {
                break found;
            }
        };
        found.retain(|(_, s)| request.shard.contains(s.id));
        match order {
            Order::Id => found.sort_unstable_by_key(|(_, s)| s.id),
            Order::Labels => {
                let labels = |(p, s): &(u32, Selected)| {
                    let partition = tenant.partitions[*p as usize].lock();
                    partition.selected(s).map(|s| s.labels.clone()).unwrap_or_default()
                };
                found.sort_by_cached_key(labels);
            }
        }
        Ok(found.into())
    }

    /// `None` when the garbage collector renumbered series in between.
    fn try_resolve(
        &self,
        tenant: &Tenant,
        partitions: &[u32],
        matchers: &[Matcher],
        series_max: usize,
    ) -> Result<Option<Vec<(u32, Selected)>>, SelectError> {
        let partition = |p: &u32| tenant.partitions[*p as usize].lock();
        // Series born after this moment are not seen, or the first scrape of a target could be seen in half.
        let bounds: Vec<Bounds> = {
            let _gate = self.gate.lock();
            partitions.iter().map(|p| partition(p).bounds()).collect()
        };
        let mut refs = Vec::with_capacity(partitions.len());
        let mut count = 0;
        for (p, bounds) in partitions.iter().zip(&bounds) {
            let Some(matched) = partition(p).select(matchers, *bounds) else { return Ok(None) };
            count += matched.len();
            if count > series_max {
                return Err(SelectError::TooManySeries { limit: series_max });
            }
            refs.push(matched);
        }
        let mut found = Vec::with_capacity(count);
        let _gate = self.gate.lock();
        for ((p, bounds), refs) in partitions.iter().zip(&bounds).zip(&refs) {
            let Some(visible) = partition(p).visible(refs, *bounds) else { return Ok(None) };
            found.extend(visible.into_iter().map(|s| (*p, s)));
        }
        Ok(Some(found))
    }

    fn overlaps(&self, range: TimeRange) -> bool {
        let (mint, maxt) = (self.mint.load(Ordering::Relaxed), self.maxt.load(Ordering::Relaxed));
        mint <= maxt && range.mint.0 <= maxt && range.maxt.0 > mint
    }

    /// Names of labels, sorted.
    pub fn label_names(&self, query: &LabelQuery) -> Vec<String> {
        let mut names = BTreeSet::new();
        self.for_each_matching(query, |partition, refs| match refs {
            None => names.extend(partition.postings().names().map(str::to_owned)),
            Some(refs) => {
                for r in refs {
                    for l in &partition.get(r).labels {
                        if !names.contains(l.name) {
                            names.insert(l.name.to_owned());
                        }
                    }
                }
            }
        });
        names.into_iter().collect()
    }

    /// Values of the label `name`, sorted.
    pub fn label_values(&self, name: &str, query: &LabelQuery) -> Vec<String> {
        let mut values = BTreeSet::new();
        self.for_each_matching(query, |partition, refs| match refs {
            None => values.extend(partition.postings().values(name).map(|(v, _)| v.to_owned())),
            Some(refs) => {
                for r in refs {
                    if let Some(v) = partition.get(r).labels.get(name).filter(|v| !values.contains(*v)) {
                        values.insert(v.to_owned());
                    }
                }
            }
        });
        values.into_iter().collect()
    }

    /// Calls `f` for each partition with the series that match, or `None` where all do.
    fn for_each_matching(&self, query: &LabelQuery, mut f: impl FnMut(&Partition, Option<Vec<u32>>)) {
        let Some(tenant) = self.tenant(&query.tenant).filter(|_| self.overlaps(query.range)) else { return };
        for partition in &tenant.partitions {
            let partition = partition.lock();
            if query.matcher_sets.is_empty() {
                f(&partition, None);
                continue;
            }
            for set in &query.matcher_sets {
                let refs = partition.select(set, partition.bounds()).expect("the lock is held");
                let in_range = |r: &u32| has_samples(partition.get(*r), query.range);
                f(&partition, Some(refs.into_iter().filter(in_range).collect()));
            }
        }
    }

    /// Whether the tenant has a sample in the range.
    pub fn has_samples(&self, tenant: &TenantId, range: TimeRange) -> bool {
        let Some(tenant) = self.tenant(tenant) else { return false };
        tenant.partitions.iter().any(|p| p.lock().series().iter().any(|s| has_samples(s, range)))
    }

    /// Starts of the stretches of `length` (aligned, not before `from`) in which a chunk of any tenant may hold samples.
    pub fn stretches_from(&self, from: TimestampMs, length: DurationMs) -> BTreeSet<TimestampMs> {
        let tenants: Vec<_> = self.tenants.read().values().cloned().collect();
        let mut starts = BTreeSet::new();
        let align = |t: i64| t.div_euclid(length.0).saturating_mul(length.0);
        for partition in tenants.iter().flat_map(|t| &t.partitions) {
            for s in partition.lock().series() {
                for (mint, maxt) in spans(s).filter(|(_, maxt)| *maxt >= from.0) {
                    let first = align(mint.max(from.0));
                    let within =
                        (0..STRETCHES_MAX).map(|n| first.saturating_add(n * length.0)).take_while(|t| *t <= maxt);
                    starts.extend(within.map(TimestampMs));
                }
            }
        }
        starts
    }

    /// The least time, not before `from`, at which a chunk of any tenant may hold samples.
    pub fn first_time_from(&self, from: TimestampMs) -> Option<TimestampMs> {
        let tenants: Vec<_> = self.tenants.read().values().cloned().collect();
        let mut least: Option<i64> = None;
        for partition in tenants.iter().flat_map(|t| &t.partitions) {
            for s in partition.lock().series() {
                for (mint, maxt) in spans(s).filter(|(_, maxt)| *maxt >= from.0) {
                    debug_assert!(mint <= maxt);
                    least = Some(least.unwrap_or(i64::MAX).min(mint.max(from.0)));
                }
            }
        }
        least.map(TimestampMs)
    }
}

fn overlaps(mint: i64, maxt: i64, range: TimeRange) -> bool {
    mint < range.maxt.0 && maxt >= range.mint.0
}

/// First and last time of each chunk and late sample.
fn spans(s: &MemSeries) -> impl Iterator<Item = (i64, i64)> {
    let open = s.open.first_timestamp().zip(s.open.last()).map(|(a, (b, _))| (a, b));
    let histograms = s.open_histograms().map(|open| open.bounds());
    let late = s
        .rare
        .as_deref()
        .into_iter()
        .flat_map(|l| l.chunks.iter().map(|c| (c.mint(), c.maxt())).chain(l.samples.iter().map(|x| (x.0, x.0))));
    s.sealed.iter().map(|c| (c.mint(), c.maxt())).chain(open).chain(histograms).chain(late)
}

fn has_samples(s: &MemSeries, range: TimeRange) -> bool {
    spans(s).any(|(mint, maxt)| overlaps(mint, maxt, range))
}

/// What is copied under a partition's lock; sealed chunks are read behind it.
struct Copied {
    series: Series,
    sealed: Vec<SealedChunk>,
    /// A chunk that was open when the query came and is sealed now: only its first samples are seen.
    cut: Option<(SealedChunk, u16)>,
}

impl Selection {
    /// Series that are left, at most.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// The next series; `None` at the end. A batch is not empty.
    pub fn next_batch(&mut self) -> Result<Option<SeriesBatch>, SelectError> {
        let Some(tenant) = self.tenant.clone() else { return Ok(None) };
        while !self.series.is_empty() {
            let n = self.series.len().min(BATCH_SERIES);
            let mut copied = Vec::with_capacity(n);
            let mut at = 0;
            while at < n {
                let p = self.series[at].0;
                let partition = tenant.partitions[p as usize].lock();
                while at < n && self.series[at].0 == p {
                    let selected = self.series[at].1;
                    if let Some(s) = partition.selected(&selected) {
                        copied.extend(self.copy(s, &selected));
                    }
                    at += 1;
                }
            }
            self.series.drain(..n);
            let files = &self.head.files;
            let batch: Result<SeriesBatch, Error> = copied.into_iter().map(|c| c.resolve(files)).collect();
            let batch = batch.map_err(|e| SelectError::Unreadable { what: "head".to_owned(), reason: chain(&e) })?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// `None` where the series has nothing in the range.
    fn copy(&self, s: &MemSeries, selected: &Selected) -> Option<Copied> {
        let (v, range) = (selected.visible, self.range);
        let in_range = |c: &&SealedChunk| overlaps(c.mint(), c.maxt(), range);
        let then_sealed = usize::try_from(v.sealed.saturating_sub(s.dropped)).unwrap_or(usize::MAX).min(s.sealed.len());
        let mut sealed: Vec<SealedChunk> = s.sealed[..then_sealed].iter().filter(in_range).copied().collect();
        let mut chunks = Vec::new();
        let mut cut = None;
        if v.open_samples > 0 {
            let sealed_since = s.dropped as usize + s.sealed.len() > v.sealed as usize;
            if sealed_since {
                let at = (v.sealed as usize).checked_sub(s.dropped as usize);
                cut = at.and_then(|at| s.sealed.get(at)).filter(in_range).map(|c| (*c, v.open_samples));
            } else if let Some((mint, (maxt, _))) =
                s.open.first_timestamp().zip(s.open.last()).filter(|(a, (b, _))| overlaps(*a, *b, range))
            {
                let mut data = Vec::new();
                if self.with_chunks {
                    data.reserve_exact(s.open.len_bytes());
                    s.open.copy_first(v.open_samples, &mut data);
                }
                chunks.push(chunk(mint, maxt, data.into()));
            } else if let Some(open) =
                s.open_histograms().filter(|open| overlaps(open.bounds().0, open.bounds().1, range))
            {
                let (mint, maxt) = open.bounds();
                let data = if self.with_chunks { first_samples(open.bytes(), v.open_samples) } else { Bytes::new() };
                chunks.push(Chunk { encoding: open.encoding(), ..chunk(mint, maxt, data) });
            }
        }
        if let Some(late) = &s.rare {
            let encoded_since = late.chunks.len() > v.late_chunks as usize;
            // Samples encoded since then come with others that arrived meanwhile; they are few, and late ones only.
            sealed.extend(late.chunks.iter().filter(in_range));
            let n = usize::from(v.late_samples).min(late.samples.len());
            if !encoded_since && n > 0 {
                for (mint, maxt, encoder) in encode_sorted(&mut late.samples[..n].to_vec()) {
                    if overlaps(mint, maxt, range) {
                        chunks.push(chunk(mint, maxt, encoder.into_bytes().into()));
                    }
                }
            }
        }
        if sealed.is_empty() && chunks.is_empty() && cut.is_none() {
            return None;
        }
        if !self.with_chunks {
            (sealed, cut) = (Vec::new(), None);
            chunks.clear();
        }
        Some(Copied { series: Series { id: selected.id, labels: s.labels.clone(), chunks }, sealed, cut })
    }
}

impl Copied {
    fn resolve(self, files: &ChunkFiles) -> Result<Series, Error> {
        let Copied { mut series, sealed, cut } = self;
        let copied = std::mem::take(&mut series.chunks);
        series.chunks.reserve_exact(sealed.len() + copied.len() + usize::from(cut.is_some()));
        for c in sealed {
            let (encoding, data) = files.read(c)?;
            series.chunks.push(Chunk { encoding, mint: TimestampMs(c.mint()), maxt: TimestampMs(c.maxt()), data });
        }
        if let Some((c, n)) = cut {
            let (encoding, data) = files.read(c)?;
            series.chunks.push(Chunk { encoding, ..chunk(c.mint(), c.maxt(), first_samples(&data, n)) });
        }
        series.chunks.extend(copied);
        if !series.chunks.is_sorted_by_key(|c| c.mint) {
            series.chunks.sort_by_key(|c| c.mint);
        }
        Ok(series)
    }
}

fn chunk(mint: i64, maxt: i64, data: Bytes) -> Chunk {
    Chunk { encoding: ChunkEncoding::Xor, mint: TimestampMs(mint), maxt: TimestampMs(maxt), data }
}

/// The chunk of the first `n` samples: a chunk only grows at its end (one of histograms may also be laid out anew, with the same
/// samples), and its first two bytes are the number of samples.
fn first_samples(data: &[u8], n: u16) -> Bytes {
    let mut copy = data.to_vec();
    copy[..2].copy_from_slice(&n.to_be_bytes());
    copy.into()
}
