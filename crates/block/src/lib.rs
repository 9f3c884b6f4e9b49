//! Prometheus' blocks: immutable directories of series, chunks and an index over a range of time.
//!
//! [`Writer`] makes a block that Prometheus, promtool and Thanos read; [`Block`] reads theirs and ours, from a directory or
//! from anything that gives ranges of bytes ([`BlockSource`]). The formats are those of `tsdb/docs/format` (index version 2).
//! Synchronous: no clock, no network, no threads. Which blocks exist, who uploads and who merges them is not decided here.

mod cursor;
mod error;
mod header;
mod meta;
mod read;
mod source;
mod stream;
mod symbols;
mod tombstones;
mod write;

#[doc(hidden)]
pub mod fuzzing;

pub use error::{BlockFile, Damage, ReadError, WriteError};
pub use header::{HeaderError, IndexHeader};
pub use meta::{BlockMeta, BlockParent, BlockStats, Compaction, Downsample, IndexStats, ThanosFile, ThanosMeta};
pub use read::{Block, ChunkMeta, Matched, SeriesRef};
pub use source::{BlockSource, LocalBlock, LocalFile, MemoryBlock, MemoryFile, RangeRead};
pub use symbols::{Symbols, SymbolsBuilder};
pub use tombstones::{Interval, Tombstones};
pub use write::{Directory, LocalDirectory, Origin, OutputFile, Writer, WriterLimits};

/// What ends the name of a block's directory while it is written.
pub const CREATION_SUFFIX: &str = ".tmp-for-creation";

/// First bytes of the index.
const INDEX_MAGIC: u32 = 0xBAAA_D700;
/// The version written. Version 3 is read alike; version 1 (before Prometheus 2.1) is refused.
const INDEX_VERSION: u8 = 2;
const INDEX_HEADER_BYTES: u64 = 5;
/// Series begin at multiples of this, so that 32 bits address 64 GiB.
const SERIES_ALIGN: u64 = 16;
/// Six offsets and a checksum at the end of the index.
const TOC_BYTES: u64 = 6 * 8 + CRC_BYTES;
const CRC_BYTES: u64 = 4;

/// First bytes of a chunk file.
const SEGMENT_MAGIC: u32 = 0x85BD_40DD;
const SEGMENT_VERSION: u8 = 1;
/// Magic, version and three bytes of padding.
const SEGMENT_HEADER_BYTES: u64 = 8;

#[cfg(test)]
mod testing;
