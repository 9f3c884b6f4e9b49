//! What goes wrong with blocks, with the place.

use std::fmt;
use std::io;

use chunkenc::DecodeError;
use model::{Labels, TimeRange, TimestampMs};
use storage::{ErrorClass, SelectError};

/// A file of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockFile {
    /// `meta.json`.
    Meta,
    /// `index`.
    Index,
    /// `tombstones`.
    Tombstones,
    /// `chunks/000001` and so on; counted from 1.
    Segment(u32),
}

impl fmt::Display for BlockFile {
    /// The path within the block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockFile::Meta => f.write_str("meta.json"),
            BlockFile::Index => f.write_str("index"),
            BlockFile::Tombstones => f.write_str("tombstones"),
            BlockFile::Segment(number) => write!(f, "chunks/{number:06}"),
        }
    }
}

/// How stored bytes are damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The checksum does not match.
    #[error("checksum is {computed:08x}, {stored:08x} is stored")]
    Checksum {
        /// In the file.
        stored: u32,
        /// Of the bytes that were read.
        computed: u32,
    },
    /// The file or section ends within something.
    #[error("ends too early")]
    Truncated,
    /// Not the kind of file that it should be.
    #[error("magic number is {0:08x}")]
    Magic(u32),
    /// Offsets that do not follow each other or lie outside of the file.
    #[error("sections are not in order")]
    Sections,
    /// Things that must rise do not.
    #[error("entries are not in order")]
    Order,
    /// A count that disagrees with the bytes.
    #[error("count does not fit the bytes")]
    Count,
    /// A text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A number without a symbol.
    #[error("symbol {0} does not exist")]
    Symbol(u64),
    /// Labels that are empty or occur twice.
    #[error("labels are not valid")]
    Labels,
    /// A reference to no series.
    #[error("no series can be there")]
    SeriesRef,
    /// A chunk that ends before it begins.
    #[error("chunk ends before it begins")]
    ChunkTimes,
    /// A chunk that cannot be decoded.
    #[error(transparent)]
    Chunk(DecodeError),
}

/// Why a block could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes could not be had.
    #[error("read {file} at {offset}")]
    Io {
        /// Which file.
        file: BlockFile,
        /// Where.
        offset: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The bytes are wrong.
    #[error("{file} is damaged at {offset}: {damage}")]
    Corrupt {
        /// Which file.
        file: BlockFile,
        /// Where.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// `meta.json` is not what it should be.
    #[error("meta.json is damaged")]
    Meta(#[source] serde_json::Error),
    /// Written by something newer or much older.
    #[error("{file} has the unknown version {version}")]
    UnknownVersion {
        /// Which file.
        file: BlockFile,
        /// Its version.
        version: u32,
    },
    /// A chunk in an encoding that is not known, as Thanos' aggregates (255).
    #[error("{file} has a chunk of the unknown encoding {encoding} at {offset}")]
    UnknownEncoding {
        /// Which file.
        file: BlockFile,
        /// Where.
        offset: u64,
        /// The encoding's number.
        encoding: u8,
    },
    /// A chunk of native histograms from which a part was deleted; such chunks cannot be written anew yet.
    #[error("{file} has a partly deleted histogram chunk at {offset}")]
    PartlyDeletedHistogram {
        /// Which file.
        file: BlockFile,
        /// Where.
        offset: u64,
    },
    /// More series match than were allowed.
    #[error("more than {limit} series match")]
    TooManySeries {
        /// The bound that was met.
        limit: usize,
    },
}

impl ReadError {
    /// Whose fault, and whether to try again.
    pub fn class(&self) -> ErrorClass {
        match self {
            ReadError::Io { .. } => ErrorClass::Unavailable,
            ReadError::Corrupt { .. }
            | ReadError::Meta(_)
            | ReadError::UnknownVersion { .. }
            | ReadError::UnknownEncoding { .. }
            | ReadError::PartlyDeletedHistogram { .. } => ErrorClass::Corrupt,
            ReadError::TooManySeries { .. } => ErrorClass::Caller,
        }
    }

    /// As an answer to a query; `block` is what to call the block.
    pub fn into_select_error(self, block: &str) -> SelectError {
        match self {
            ReadError::TooManySeries { limit } => SelectError::TooManySeries { limit },
            ReadError::Io { file, offset, source } => SelectError::Unreadable {
                what: format!("block {block}"),
                reason: format!("{file} at {offset}: {source}"),
            },
            ReadError::Meta(source) => {
                SelectError::Unreadable { what: format!("block {block}"), reason: format!("meta.json: {source}") }
            }
            other => SelectError::Unreadable { what: format!("block {block}"), reason: other.to_string() },
        }
    }
}

/// Why a block could not be written. What was written lies in a directory that ends in `.tmp-for-creation`.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk refuses.
    #[error("write {path}")]
    Io {
        /// File or directory.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Series must rise in the order of their labels.
    #[error("series {labels} does not follow the one before")]
    SeriesOrder {
        /// The series.
        labels: Labels,
    },
    /// A label that the symbols do not hold.
    #[error("series {labels} has a label that is no symbol")]
    UnknownSymbol {
        /// The series.
        labels: Labels,
    },
    /// A series without chunks.
    #[error("series {labels} has no chunks")]
    NoChunks {
        /// The series.
        labels: Labels,
    },
    /// Chunks of a series must rise and may not overlap.
    #[error("series {labels} has a chunk from {mint} to {maxt} after one that ends at {previous_maxt:?}")]
    ChunkOrder {
        /// The series.
        labels: Labels,
        /// First timestamp of the chunk.
        mint: TimestampMs,
        /// Last timestamp of the chunk.
        maxt: TimestampMs,
        /// Last timestamp of the chunk before.
        previous_maxt: Option<TimestampMs>,
    },
    /// A chunk that reaches beyond the block's range.
    #[error("series {labels} has a chunk from {mint} to {maxt} outside of the block's range {range:?}")]
    OutsideRange {
        /// The series.
        labels: Labels,
        /// First timestamp of the chunk.
        mint: TimestampMs,
        /// Last timestamp of the chunk.
        maxt: TimestampMs,
        /// The block's range.
        range: TimeRange,
    },
    /// Bytes that are no chunk, or one that begins at another time.
    #[error("series {labels} has a bad chunk at {mint}: {damage}")]
    Chunk {
        /// The series.
        labels: Labels,
        /// First timestamp of the chunk.
        mint: TimestampMs,
        /// What is wrong.
        damage: Damage,
    },
    /// Symbols are not sorted or not unique.
    #[error("symbols are not in order")]
    SymbolOrder,
    /// More than 4 GiB of symbols.
    #[error("symbols take more than 4 GiB")]
    SymbolsTooLarge,
    /// More than 64 GiB of index, or a section of more than 4 GiB.
    #[error("index would be too large")]
    IndexTooLarge,
    /// Nothing was added.
    #[error("a block without series is not written")]
    NoSeries,
    /// What was written cannot be read.
    #[error("read back the index")]
    ReadBack(#[source] ReadError),
    /// The caller's extensions cannot be written.
    #[error("write meta.json")]
    Meta(#[source] serde_json::Error),
}

impl WriteError {
    /// Whose fault, and whether to try again.
    pub fn class(&self) -> ErrorClass {
        match self {
            WriteError::Io { .. } => ErrorClass::Unavailable,
            WriteError::ReadBack(error) => error.class(),
            WriteError::SymbolsTooLarge | WriteError::IndexTooLarge => ErrorClass::Overload,
            WriteError::Chunk { .. } => ErrorClass::Corrupt,
            WriteError::SeriesOrder { .. }
            | WriteError::UnknownSymbol { .. }
            | WriteError::NoChunks { .. }
            | WriteError::ChunkOrder { .. }
            | WriteError::OutsideRange { .. }
            | WriteError::SymbolOrder
            | WriteError::NoSeries
            | WriteError::Meta(_) => ErrorClass::Caller,
        }
    }
}
