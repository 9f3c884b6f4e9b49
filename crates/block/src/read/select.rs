//! Series with their chunks, sorted by id.

use std::ops::ControlFlow;

use model::{Labels, SeriesId, TimeRange};
use storage::{Chunk, SelectRequest, Series, SeriesBatch};

use super::chunks::Wanted;
use super::series::SeriesEntry;
use super::{Block, ChunkMeta, SeriesRef};
use crate::ReadError;
use crate::tombstones::Interval;

/// Series given at once.
const BATCH_SERIES: usize = 1024;

/// A series of the answer: 24 bytes, so that millions can be sorted. `id` is the upper and the lower half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    id: [u64; 2],
    series: SeriesRef,
}

const _: () = assert!(size_of::<Found>() == 24, "what is kept of each series of an answer");

impl Found {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn new(id: SeriesId, series: SeriesRef) -> Found {
        Found { id: [(id.0 >> 64) as u64, id.0 as u64], series }
    }

    fn id(&self) -> SeriesId {
        SeriesId(u128::from(self.id[0]) << 64 | u128::from(self.id[1]))
    }
}

/// Series of a block that satisfy a request, and how many of them were given.
pub struct Matched {
    request: SelectRequest,
    found: Vec<Found>,
    known: Option<Vec<(Found, Entry)>>,
    given: usize,
}

/// A series as the index has it, with the chunks that are wanted.
struct Entry {
    labels: Labels,
    chunks: Vec<ChunkMeta>,
}

impl Block {
    /// Gives the series that satisfy all matchers and have a chunk that overlaps the range, in batches sorted by id over the
    /// whole answer, until `give` breaks. Chunks overlap the range; samples outside of it are not cut off, deleted ones are.
    /// Where chunks are not wanted, they stay empty. Memory: 24 bytes a series of the answer and what a batch holds.
    pub fn select(
        &self,
        request: &SelectRequest,
        give: &mut dyn FnMut(SeriesBatch) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut matched = self.find_matching(request)?;
        while let Some(batch) = self.next_batch(&mut matched)? {
            if give(batch).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The series that [`Block::select`] gives, before their chunks are read.
    pub fn find_matching(&self, request: &SelectRequest) -> Result<Matched, ReadError> {
        let (mut found, entries) = self.find(request)?;
        // An answer of one batch: nothing of it is read twice.
        let known = entries.map(|entries| {
            let mut known: Vec<(Found, Entry)> = found.iter().copied().zip(entries).collect();
            known.sort_unstable_by_key(|(found, _)| *found);
            known
        });
        found.sort_unstable();
        Ok(Matched { request: request.clone(), found, known, given: 0 })
    }

    /// The next batch of what was found; `None` at the end.
    pub fn next_batch(&self, matched: &mut Matched) -> Result<Option<SeriesBatch>, ReadError> {
        while matched.given < matched.found.len() {
            let end = (matched.given + BATCH_SERIES).min(matched.found.len());
            let part = &matched.found[matched.given..end];
            matched.given = end;
            let entries = match matched.known.take() {
                Some(known) => known,
                None => self.read_entries(&matched.request, part)?,
            };
            let batch = self.fill(&matched.request, entries)?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The series of the answer in order of labels; with their entries while they fit into one batch.
    fn find(&self, request: &SelectRequest) -> Result<(Vec<Found>, Option<Vec<Entry>>), ReadError> {
        let candidates = self.candidates(&request.matchers)?;
        let mut found = Vec::new();
        let mut entries = Some(Vec::new());
        let mut scratch = Vec::new();
        self.visit_series(&candidates.series, &mut |series, entry| {
            if !entry.matches(&candidates.unchecked)? {
                return Ok(());
            }
            let chunks = self.wanted_chunks(series, &entry, &request.range)?;
            if chunks.is_empty() {
                return Ok(());
            }
            let labels = entry.labels()?;
            let id = SeriesId::compute(&request.tenant, &labels, &mut scratch);
            if !request.shard.contains(id) {
                return Ok(());
            }
            if found.len() >= request.series_max {
                return Err(ReadError::TooManySeries { limit: request.series_max });
            }
            found.push(Found::new(id, series));
            if found.len() > BATCH_SERIES {
                entries = None;
            }
            if let Some(entries) = &mut entries {
                entries.push(Entry { labels, chunks });
            }
            Ok(())
        })?;
        Ok((found, entries))
    }

    /// Chunks of a series that overlap the range and of which something is left.
    fn wanted_chunks(
        &self,
        series: SeriesRef,
        entry: &SeriesEntry<'_>,
        range: &TimeRange,
    ) -> Result<Vec<ChunkMeta>, ReadError> {
        let mut chunks = entry.chunks()?;
        let deleted = self.tombstones.get(series);
        let gone = |i: &Interval, chunk: &ChunkMeta| i.contains(chunk.mint.0) && i.contains(chunk.maxt.0);
        chunks.retain(|chunk| chunk.overlaps(range) && !deleted.iter().any(|i| gone(i, chunk)));
        Ok(chunks)
    }

    /// Reads entries again, in order of their places, and returns them in the order of `part`.
    fn read_entries(&self, request: &SelectRequest, part: &[Found]) -> Result<Vec<(Found, Entry)>, ReadError> {
        let mut by_place: Vec<(SeriesRef, usize)> = part.iter().map(|f| f.series).zip(0..).collect();
        by_place.sort_unstable();
        let places: Vec<u32> = by_place.iter().map(|(SeriesRef(series), _)| *series).collect();
        let mut entries: Vec<Option<Entry>> = part.iter().map(|_| None).collect();
        let mut order = by_place.iter();
        self.visit_series(&places, &mut |series, entry| {
            let (_, at) = order.next().expect("as many as places");
            let chunks = self.wanted_chunks(series, &entry, &request.range)?;
            entries[*at] = Some(Entry { labels: entry.labels()?, chunks });
            Ok(())
        })?;
        Ok(part.iter().zip(entries).map(|(found, entry)| (*found, entry.expect("each was visited"))).collect())
    }

    /// Reads the chunks of a batch.
    fn fill(&self, request: &SelectRequest, entries: Vec<(Found, Entry)>) -> Result<SeriesBatch, ReadError> {
        let mut batch = Vec::with_capacity(entries.len());
        let mut wanted = Vec::new();
        let mut deleted = Vec::with_capacity(entries.len());
        for (tag, (found, entry)) in entries.into_iter().enumerate() {
            if request.with_chunks {
                wanted.extend(entry.chunks.iter().map(|meta| Wanted { meta: *meta, tag }));
            }
            deleted.push(self.tombstones.get(found.series));
            let chunks = Vec::with_capacity(if request.with_chunks { entry.chunks.len() } else { 0 });
            batch.push(Series { id: found.id(), labels: entry.labels, chunks });
        }
        self.visit_chunks(&mut wanted, &mut |Wanted { meta, tag }, encoding, data| {
            let chunk = Chunk { encoding, mint: meta.mint, maxt: meta.maxt, data };
            let chunk = self.without_deleted(chunk, meta.reference, deleted[tag])?;
            // What is left of a chunk may lie outside of the range.
            let inside = |chunk: &Chunk| chunk.mint < request.range.maxt && request.range.mint <= chunk.maxt;
            batch[tag].chunks.extend(chunk.filter(inside));
            Ok(())
        })?;
        if request.with_chunks {
            batch.retain(|series| !series.chunks.is_empty());
            batch.iter_mut().for_each(|series| series.chunks.sort_by_key(|chunk| chunk.mint));
        }
        Ok(batch)
    }
}
