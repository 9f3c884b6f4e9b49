//! Asking for series.

use bytes::Bytes;
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

/// Something that holds series. Answers hold every sample acknowledged before the call.
pub trait Queryable: Send + Sync + 'static {
    /// Streams the series that match, in batches of bounded size, sorted by id. The stream ends after an error.
    fn select(&self, request: SelectRequest) -> BoxStream<'static, Result<SeriesBatch, SelectError>>;

    /// Names of labels.
    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>>;

    /// What cannot be asked at the moment and may hold samples of the range, in words for `warnings`. To be called after a
    /// select, which may find out.
    fn missing(&self, _tenant: &TenantId, _range: TimeRange) -> Vec<String> {
        Vec::new()
    }

    /// Values of the label `name`.
    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>>;
}
