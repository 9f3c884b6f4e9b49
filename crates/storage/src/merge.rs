//! Merging sorted streams of series, a batch at a time: the answers of stores, of replicas and of blocks.
//!
//! Holds what is left of one batch of each source. Sources may be added and taken away while the merge goes on: one that broke
//! is replaced by another that is read from its beginning, and what was given out already is passed over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use model::SeriesId;

use crate::{Chunk, ChunkEncoding, SelectError, Series, SeriesBatch};

/// Series per merged batch.
const BATCH_SERIES: usize = 512;

/// Bytes of chunks after which a merged batch is full.
const BATCH_BYTES: usize = 4 << 20;

/// A source that failed. It is not in the merge any more.
#[derive(Clone, Debug)]
pub struct SourceError<T> {
    /// What the source was called.
    pub tag: T,
    /// Why.
    pub error: SelectError,
}

/// Sources by number, and the order of what they give next. `T` is what the caller calls a source.
pub struct Merge<T> {
    sources: BTreeMap<usize, Source<T>>,
    next_number: usize,
    /// The sources whose next series is known, by that.
    heads: BinaryHeap<Reverse<(SeriesId, usize)>>,
    /// The sources that have to be read before anything can be given out.
    waiting: Vec<usize>,
    failed: VecDeque<SourceError<T>>,
    /// The batch being made; it outlives a call that was dropped.
    batch: SeriesBatch,
    batch_bytes: usize,
    /// The last series that is in a batch.
    last: Option<SeriesId>,
}

/// A source, read a batch at a time.
struct Source<T> {
    tag: T,
    stream: BoxStream<'static, Result<SeriesBatch, SelectError>>,
    read: VecDeque<Series>,
    /// The last series that was read.
    before: Option<SeriesId>,
}

impl<T> Default for Merge<T> {
    fn default() -> Merge<T> {
        Merge {
            sources: BTreeMap::new(),
            next_number: 0,
            heads: BinaryHeap::new(),
            waiting: Vec::new(),
            failed: VecDeque::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            last: None,
        }
    }
}

impl<T> Merge<T> {
    /// Nothing to merge yet.
    pub fn new() -> Merge<T> {
        Merge::default()
    }

    /// Adds a source. Series that come before what was given out already are passed over.
    pub fn add(&mut self, tag: T, stream: BoxStream<'static, Result<SeriesBatch, SelectError>>) {
        let number = self.next_number;
        self.next_number += 1;
        self.sources.insert(number, Source { tag, stream, read: VecDeque::new(), before: None });
        self.waiting.push(number);
    }

    /// What the sources that have not ended are called.
    pub fn tags(&self) -> impl Iterator<Item = &T> {
        self.sources.values().map(|source| &source.tag)
    }

    /// Takes sources away, and what they have not given yet.
    pub fn remove(&mut self, which: impl Fn(&T) -> bool) {
        self.sources.retain(|_, source| !which(&source.tag));
        let sources = &self.sources;
        self.waiting.retain(|number| sources.contains_key(number));
        self.heads.retain(|Reverse((_, number))| sources.contains_key(number));
        self.failed.retain(|failed| !which(&failed.tag));
    }

    /// Lets every source fail that is waited for: to be called when that took too long.
    pub fn fail_waiting(&mut self, error: &SelectError) {
        for number in std::mem::take(&mut self.waiting) {
            if let Some(source) = self.sources.remove(&number) {
                self.failed.push_back(SourceError { tag: source.tag, error: error.clone() });
            }
        }
    }

    /// The next series, sorted by id; an empty batch is the end. A source that fails is taken out and named; what the others
    /// hold is still to come, so that the caller may put another in its place. Dropping the future loses nothing.
    pub async fn next_batch(&mut self) -> Result<SeriesBatch, SourceError<T>> {
        while self.batch.len() < BATCH_SERIES && self.batch_bytes < BATCH_BYTES {
            std::future::poll_fn(|cx| self.poll_waiting(cx)).await;
            if !self.failed.is_empty() || !self.take_next() {
                break;
            }
        }
        // A series is in a batch only if all sources were known to have given theirs: what was made before a failure stands.
        match self.failed.pop_front() {
            Some(failed) if self.batch.is_empty() => Err(failed),
            failed => {
                if let Some(failed) = failed {
                    self.failed.push_front(failed);
                }
                self.batch_bytes = 0;
                Ok(std::mem::take(&mut self.batch))
            }
        }
    }

    /// Reads all sources of which nothing is left, at once; ready when there is none.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut at = 0;
        while let Some(number) = self.waiting.get(at).copied() {
            let Some(source) = self.sources.get_mut(&number) else {
                self.waiting.swap_remove(at);
                continue;
            };
            match source.poll_head(cx, self.last) {
                Poll::Pending => {
                    at += 1;
                    continue;
                }
                Poll::Ready(Ok(Some(id))) => self.heads.push(Reverse((id, number))),
                Poll::Ready(Ok(None)) => drop(self.sources.remove(&number)),
                Poll::Ready(Err(error)) => {
                    if let Some(source) = self.sources.remove(&number) {
                        self.failed.push_back(SourceError { tag: source.tag, error });
                    }
                }
            }
            self.waiting.swap_remove(at);
        }
        if self.waiting.is_empty() || !self.failed.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Puts the least series into the batch; false where there is none.
    fn take_next(&mut self) -> bool {
        let Some(Reverse((id, _))) = self.heads.peek().copied() else { return false };
        let mut merged: Option<Series> = None;
        let mut parts = 0;
        while let Some(Reverse((head, number))) = self.heads.peek().copied() {
            if head != id {
                break;
            }
            self.heads.pop();
            let Some(source) = self.sources.get_mut(&number) else { continue };
            if let Some(series) = source.read.pop_front() {
                parts += 1;
                match &mut merged {
                    None => merged = Some(series),
                    Some(known) => known.chunks.extend(series.chunks),
                }
            }
            match source.read.front() {
                Some(next) => self.heads.push(Reverse((next.id, number))),
                None => self.waiting.push(number),
            }
        }
        if let Some(mut series) = merged {
            if parts > 1 {
                join_equal(&mut series.chunks);
            }
            self.batch_bytes += series.chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>();
            self.batch.push(series);
        }
        self.last = Some(id);
        true
    }
}

impl<T> Source<T> {
    /// The next series that is behind `last`; `None` at the end.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        last: Option<SeriesId>,
    ) -> Poll<Result<Option<SeriesId>, SelectError>> {
        loop {
            while let Some(series) = self.read.front() {
                if last.is_none_or(|last| last < series.id) {
                    return Poll::Ready(Ok(Some(series.id)));
                }
                self.read.pop_front();
            }
            match self.stream.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(batch))) => {
                    for series in &batch {
                        if self.before.is_some_and(|before| series.id <= before) {
                            let what = "the answer of a source".to_owned();
                            let reason = format!("series {:?} is out of order", series.id);
                            return Poll::Ready(Err(SelectError::Unreadable { what, reason }));
                        }
                        self.before = Some(series.id);
                    }
                    self.read.extend(batch);
                }
            }
        }
    }
}

/// Sorts chunks and keeps one of those that are equal by their bytes: nothing is decoded.
fn join_equal(chunks: &mut Vec<Chunk>) {
    let number = |chunk: &Chunk| match chunk.encoding {
        ChunkEncoding::Xor => 1,
        ChunkEncoding::Histogram => 2,
        ChunkEncoding::FloatHistogram => 3,
        ChunkEncoding::Xor2 => 4,
    };
    chunks.sort_by(|a, b| {
        (a.mint, a.maxt, number(a), a.data.len())
            .cmp(&(b.mint, b.maxt, number(b), b.data.len()))
            .then_with(|| a.data.cmp(&b.data))
    });
    chunks.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};
    use model::{Labels, TimestampMs};

    type Item = Result<SeriesBatch, SelectError>;

    fn series(id: u128, bytes: &[u8]) -> Series {
        let chunk = |b: &u8| Chunk {
            encoding: ChunkEncoding::Xor,
            mint: TimestampMs(0),
            maxt: TimestampMs(9),
            data: vec![*b].into(),
        };
        Series { id: SeriesId(id), labels: Labels::empty(), chunks: bytes.iter().map(chunk).collect() }
    }

    fn broken() -> SelectError {
        SelectError::Unavailable("it".to_owned())
    }

    fn stream(items: Vec<Item>) -> BoxStream<'static, Item> {
        futures::stream::iter(items).boxed()
    }

    fn next(merge: &mut Merge<&'static str>) -> Result<Vec<(u128, Vec<u8>)>, &'static str> {
        let batch = merge.next_batch().now_or_never().expect("all is there").map_err(|failed| failed.tag)?;
        let bytes = |s: &Series| s.chunks.iter().map(|c| c.data[0]).collect();
        Ok(batch.iter().map(|s| (s.id.0, bytes(s))).collect())
    }

    #[test]
    fn a_source_that_breaks_is_replaced_without_a_gap_or_a_double() {
        let mut merge = Merge::new();
        merge.add("a", stream(vec![Ok(vec![series(1, &[1]), series(4, &[1])]), Ok(vec![series(5, &[1])])]));
        merge.add("b", stream(vec![Ok(vec![series(1, &[2]), series(3, &[2])]), Err(broken())]));
        assert_eq!(next(&mut merge), Ok(vec![(1, vec![1, 2]), (3, vec![2])]));
        assert_eq!(next(&mut merge), Err("b"));
        merge.add("c", stream(vec![Ok(vec![series(1, &[2]), series(3, &[2]), series(4, &[1, 2]), series(6, &[2])])]));
        assert_eq!(next(&mut merge), Ok(vec![(4, vec![1, 2]), (5, vec![1]), (6, vec![2])]));
        assert_eq!(next(&mut merge), Ok(vec![]));
    }

    #[test]
    fn sources_out_of_order_fail() {
        for ids in [[2, 1], [2, 2]] {
            let mut merge = Merge::new();
            merge.add("a", stream(vec![Ok(vec![series(ids[0], &[1])]), Ok(vec![series(ids[1], &[1])])]));
            assert_eq!(next(&mut merge), Ok(vec![(2, vec![1])]));
            assert_eq!(next(&mut merge), Err("a"));
            assert_eq!(next(&mut merge), Ok(vec![]));
        }
    }

    #[test]
    fn what_is_waited_for_too_long_fails_and_the_rest_goes_on() {
        let mut merge = Merge::new();
        merge.add("slow", futures::stream::pending().boxed());
        merge.add("quick", stream(vec![Ok(vec![series(1, &[1])])]));
        merge.add("gone", stream(vec![Ok(vec![series(1, &[2])])]));
        assert!(merge.next_batch().now_or_never().is_none());
        merge.fail_waiting(&broken());
        merge.remove(|tag| *tag == "gone");
        assert_eq!(next(&mut merge), Err("slow"));
        assert_eq!(merge.tags().collect::<Vec<_>>(), [&"quick"]);
        assert_eq!(next(&mut merge), Ok(vec![(1, vec![1])]));
        assert_eq!(next(&mut merge), Ok(vec![]));
    }

    #[test]
    fn batches_are_bounded() {
        let mut merge = Merge::new();
        let many: SeriesBatch = (0..2000).map(|id| series(id, &[1])).collect();
        merge.add("a", stream(vec![Ok(many)]));
        let mut lengths = Vec::new();
        while let Ok(batch) = next(&mut merge) {
            if batch.is_empty() {
                break;
            }
            lengths.push(batch.len());
        }
        assert_eq!(lengths, [512, 512, 512, 464]);
    }
}
