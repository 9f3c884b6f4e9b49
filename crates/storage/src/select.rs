//! Asking for series.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::{Labels, Matcher, SeriesId, TenantId, TimeRange, TimestampMs};

use crate::ErrorClass;

/// How the samples of a chunk are written. The numbers are those of Prometheus' chunk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkEncoding {
    /// 1: float samples, XOR.
    Xor,
    /// 2: integer native histograms.
    Histogram,
    /// 3: float native histograms.
    FloatHistogram,
    /// 4: float samples with start timestamps, XOR2.
    Xor2,
}

/// Encoded samples of one series, sorted by time, timestamps unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Encoding of `data`.
    pub encoding: ChunkEncoding,
    /// Timestamp of the first sample.
    pub mint: TimestampMs,
    /// Timestamp of the last sample (inclusive, unlike the ends of ranges).
    pub maxt: TimestampMs,
    /// The encoded samples; shares memory with the store.
    pub data: Bytes,
}

/// A series and its chunks that overlap the range asked for.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called everywhere.
    pub id: SeriesId,
    /// Its labels.
    pub labels: Labels,
    /// Sorted by `mint`. Chunks may overlap each other and reach beyond the range asked for; where two hold the same
    /// timestamp, `model::join_values` decides.
    pub chunks: Vec<Chunk>,
}

/// Some series of an answer, sorted by id within the whole answer of a shard.
pub type SeriesBatch = Vec<Series>;

/// The part of the ids asked for: those whose top bits are `index` of `count` (a power of two).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// 0 .. `count`.
    pub index: u32,
    /// A power of two.
    pub count: u32,
}

impl Shard {
    /// Everything.
    pub const ALL: Shard = Shard { index: 0, count: 1 };

    /// Whether `id` belongs to this part.
    pub fn contains(self, id: SeriesId) -> bool {
        id.partition(self.count).0 == self.index
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SelectRequest {
    /// Whose series.
    pub tenant: TenantId,
    /// Samples wanted: `mint <= t < maxt`.
    pub range: TimeRange,
    /// All must hold. At least one does not match the empty text.
    pub matchers: Vec<Matcher>,
    /// Part of the ids.
    pub shard: Shard,
    /// False where only labels are wanted (`/api/v1/series`): `chunks` may then stay empty.
    pub with_chunks: bool,
    /// Ends the answer with [`SelectError::TooManySeries`] when more match.
    pub series_max: usize,
}

/// A question about names or values of labels.
#[derive(Clone, Debug)]
pub struct LabelQuery {
    /// Whose series.
    pub tenant: TenantId,
    /// Series with data here; a store may answer from coarser knowledge.
    pub range: TimeRange,
    /// Sets of which one must hold; none: all series.
    pub matcher_sets: Vec<Vec<Matcher>>,
}

/// Sorted, unique texts, and what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelQueryAnswer {
    /// Sorted, unique.
    pub values: Vec<String>,
    /// What is missing, in words for `warnings`.
    pub warnings: Vec<String>,
}

/// Why series could not be given.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SelectError {
    /// More series match than the request allows.
    #[error("the query selects more than {limit} series")]
    TooManySeries {
        /// The bound that was met.
        limit: usize,
    },
    /// Something that should hold data could not be read.
    #[error("read {what}: {reason}")]
    Unreadable {
        /// What was read: a block, a chunk file.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The store is not ready or stopping.
    #[error("{0} is not available")]
    Unavailable(String),
}

impl SelectError {
    /// Whose fault, and whether to try again.
    pub fn class(&self) -> ErrorClass {
        match self {
            SelectError::TooManySeries { .. } => ErrorClass::Caller,
            SelectError::Unreadable { .. } => ErrorClass::Corrupt,
            SelectError::Unavailable(_) => ErrorClass::Unavailable,
        }
    }
}

/// What is missing from one answer, in words for `warnings`; clones share it. Whoever answers adds to it until the answer ends,
/// and takes nothing back: series that were given out may lack what was once missing.
#[derive(Clone, Debug, Default)]
pub struct Missing(Arc<Mutex<BTreeSet<String>>>);

impl Missing {
    /// Nothing is missing yet.
    pub fn new() -> Missing {
        Missing::default()
    }

    /// Names what could not be asked and may hold samples of the answer.
    pub fn add(&self, what: String) {
        self.names().insert(what);
    }

    /// Everything that was named, sorted.
    pub fn to_vec(&self) -> Vec<String> {
        self.names().iter().cloned().collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of texts is whole whatever happened to whoever held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Into<String>> FromIterator<S> for Missing {
    fn from_iter<T: IntoIterator<Item = S>>(what: T) -> Missing {
        Missing(Arc::new(Mutex::new(what.into_iter().map(Into::into).collect())))
    }
}

/// An answer that is read as a stream of batches, sorted by id, and that knows what is missing from it.
///
/// Ends after an error. Dropping it stops the work behind it.
pub struct Selection {
    series: BoxStream<'static, Result<SeriesBatch, SelectError>>,
    missing: Vec<Missing>,
}

impl Selection {
    /// `series`, from which `missing` is missing.
    pub fn new(series: BoxStream<'static, Result<SeriesBatch, SelectError>>, missing: Missing) -> Selection {
        Selection { series, missing: vec![missing] }
    }

    /// An answer put together from several, with all that is missing from those.
    pub(crate) fn of_parts(
        series: BoxStream<'static, Result<SeriesBatch, SelectError>>,
        missing: Vec<Missing>,
    ) -> Selection {
        Selection { series, missing }
    }

    pub(crate) fn into_parts(self) -> (BoxStream<'static, Result<SeriesBatch, SelectError>>, Vec<Missing>) {
        (self.series, self.missing)
    }

    /// What could not be asked and may hold samples of the answer, in words for `warnings`. Once the stream has ended without an
    /// error and nothing is named, the answer is complete; before, more may come.
    pub fn missing(&self) -> Vec<String> {
        let all: BTreeSet<String> = self.missing.iter().flat_map(Missing::to_vec).collect();
        all.into_iter().collect()
    }
}

/// An answer from which nothing can be missing.
impl From<BoxStream<'static, Result<SeriesBatch, SelectError>>> for Selection {
    fn from(series: BoxStream<'static, Result<SeriesBatch, SelectError>>) -> Selection {
        Selection { series, missing: Vec::new() }
    }
}

impl Stream for Selection {
    type Item = Result<SeriesBatch, SelectError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.series.as_mut().poll_next(cx)
    }
}

/// Something that holds series. Answers hold every sample acknowledged before the call, or name what is missing.
pub trait Queryable: Send + Sync + 'static {
    /// Streams the series that match, in batches of bounded size, sorted by id, and names what is missing.
    fn select(&self, request: SelectRequest) -> Selection;

    /// Names of labels.
    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>>;

    /// Values of the label `name`.
    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>>;
}
