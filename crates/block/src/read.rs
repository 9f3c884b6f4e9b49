//! Reading a block: what is kept in memory, and the questions it answers.
//!
//! Kept: the symbols, every 32nd entry of the postings offset table, tombstones. Everything else is read when it is asked for,
//! in ranges, and checked against its checksum.

mod chunks;
mod labels;
mod postings;
mod select;
mod series;
mod sets;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use model::{Matcher, TimeRange, TimestampMs};
use storage::ChunkEncoding;

use crate::cursor::{Cursor, split_crc};
use crate::meta::META_VERSION;
use crate::source::{BlockSource, Checksums, OpenFile};
use crate::stream::Stream;
use crate::symbols::Texts;
use crate::tombstones::Tombstones;
use crate::{
    BlockFile, BlockMeta, CRC_BYTES, Damage, INDEX_HEADER_BYTES, INDEX_MAGIC, INDEX_VERSION, ReadError, TOC_BYTES,
};

pub use self::select::Matched;
use self::table::PostingsTable;

/// A series within one block: its offset in the index, divided by 16. References rise in the order of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u32);

/// Where a chunk lies and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Timestamp of the first sample.
    pub mint: TimestampMs,
    /// Timestamp of the last sample (inclusive).
    pub maxt: TimestampMs,
    /// Number of the chunk file from 0, then the offset in 32 bits.
    pub reference: u64,
}

impl ChunkMeta {
    fn overlaps(&self, range: &TimeRange) -> bool {
        self.mint < range.maxt && range.mint <= self.maxt
    }
}

/// The number of an encoding in chunk files.
pub(crate) fn encoding_number(encoding: ChunkEncoding) -> u8 {
    match encoding {
        ChunkEncoding::Xor => 1,
        ChunkEncoding::Histogram => 2,
        ChunkEncoding::FloatHistogram => 3,
        ChunkEncoding::Xor2 => 4,
    }
}

fn encoding_of(number: u8) -> Option<ChunkEncoding> {
    match number {
        1 => Some(ChunkEncoding::Xor),
        2 => Some(ChunkEncoding::Histogram),
        3 => Some(ChunkEncoding::FloatHistogram),
        4 => Some(ChunkEncoding::Xor2),
        _ => None,
    }
}

/// Where the sections of the index begin. Those of label indices, which nobody reads any more, are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toc {
    symbols: u64,
    pub(crate) series: u64,
    pub(crate) series_end: u64,
    postings: u64,
    table: u64,
    /// Where the table of contents begins.
    end: u64,
}

/// How reads of neighbours are joined: what a read costs beside its bytes decides.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// Neighbours are read together when their starts are no further apart.
    gap_bytes: u64,
    /// Most bytes of series read at once, unless one is larger.
    series_bytes: u64,
    /// Most bytes of chunks read at once, unless one is larger.
    chunks_bytes: u64,
    /// Read of the last series of a read, whose size is not known: most are smaller.
    last_series_bytes: u64,
    /// Read of the last chunk of a read: chunks of 120 floats are smaller.
    last_chunk_bytes: u64,
}

impl Reach {
    /// A read costs some microseconds.
    const NEAR: Reach = Reach {
        gap_bytes: 1 << 12,
        series_bytes: 1 << 18,
        chunks_bytes: 1 << 20,
        last_series_bytes: 1 << 10,
        last_chunk_bytes: 1 << 11,
    };

    /// A read costs some ten milliseconds, in which a megabyte comes.
    const FAR: Reach = Reach {
        gap_bytes: 1 << 18,
        series_bytes: 1 << 22,
        chunks_bytes: 1 << 22,
        last_series_bytes: 1 << 12,
        last_chunk_bytes: 1 << 14,
    };
}

/// An open block.
pub struct Block {
    meta: BlockMeta,
    source: Arc<dyn BlockSource>,
    checksums: Checksums,
    index: OpenFile,
    toc: Toc,
    symbols: Texts,
    table: PostingsTable,
    tombstones: Tombstones,
    reach: Reach,
    /// Chunk files by number from 0, opened when first needed, since nothing tells how many there are. The lock guards the map
    /// alone and is held while one is opened; readers of chunks hold a file, not the lock.
    segments: Mutex<HashMap<u32, Arc<OpenFile>>>,
}

impl Block {
    /// Opens a block: reads `meta.json` and `tombstones`, and of the index the symbols and the postings offset table.
    pub fn open(source: Arc<dyn BlockSource>) -> Result<Block, ReadError> {
        Block::open_with(source, Checksums::Compared)
    }

    /// Opens a block whose ranges come from far away: few and long reads rather than many short ones. To be used over an
    /// [`crate::IndexHeader`], or opening alone reads most of the index.
    pub fn open_far(source: Arc<dyn BlockSource>) -> Result<Block, ReadError> {
        Ok(Block { reach: Reach::FAR, ..Block::open(source)? })
    }

    pub(crate) fn open_with(source: Arc<dyn BlockSource>, checksums: Checksums) -> Result<Block, ReadError> {
        let meta = Block::read_meta(&*source)?;
        let index = OpenFile::open(&*source, BlockFile::Index, checksums)?;
        let toc = read_toc(&index)?;
        let symbols = read_symbols(&index, &toc)?;
        let table = PostingsTable::read(&index, &toc)?;
        let tombstones = Tombstones::read(&*source, checksums)?;
        let segments = Mutex::default();
        let reach = Reach::NEAR;
        Ok(Block { meta, source, checksums, index, toc, symbols, table, tombstones, reach, segments })
    }

    /// Reads `meta.json` alone.
    pub fn read_meta(source: &dyn BlockSource) -> Result<BlockMeta, ReadError> {
        let file = OpenFile::open(source, BlockFile::Meta, Checksums::Compared)?;
        let meta: BlockMeta = serde_json::from_slice(&file.read(0, file.len)?).map_err(ReadError::Meta)?;
        if meta.version != META_VERSION {
            return Err(ReadError::UnknownVersion { file: BlockFile::Meta, version: meta.version });
        }
        if let Some(thanos) = meta.thanos.as_ref().filter(|thanos| thanos.version > META_VERSION) {
            return Err(ReadError::UnknownVersion { file: BlockFile::Meta, version: thanos.version });
        }
        Ok(meta)
    }

    /// What `meta.json` says.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// What was deleted; [`Block::select`] leaves it out.
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// The series that satisfy all matchers, in order of labels. Semantics: Prometheus' `PostingsForMatchers`; no matchers
    /// select all.
    pub fn postings(&self, matchers: &[Matcher]) -> Result<Vec<SeriesRef>, ReadError> {
        let candidates = self.candidates(matchers)?;
        if candidates.unchecked.is_empty() {
            return Ok(candidates.series.into_iter().map(SeriesRef).collect());
        }
        let mut found = Vec::new();
        self.visit_series(&candidates.series, &mut |series, entry| {
            if entry.matches(&candidates.unchecked)? {
                found.push(series);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

pub(crate) fn read_toc(index: &OpenFile) -> Result<Toc, ReadError> {
    let header = index.read(0, INDEX_HEADER_BYTES)?;
    let magic = Cursor::new(&header).be32().expect("as long as the header");
    if magic != INDEX_MAGIC {
        return Err(index.corrupt(0, Damage::Magic(magic)));
    }
    let version = header[4];
    if version != INDEX_VERSION && version != INDEX_VERSION + 1 {
        return Err(ReadError::UnknownVersion { file: BlockFile::Index, version: u32::from(version) });
    }
    let end = index.len.checked_sub(TOC_BYTES).ok_or_else(|| index.corrupt(0, Damage::Truncated))?;
    let bytes = index.read(end, TOC_BYTES)?;
    let (body, crc) = split_crc(&bytes).expect("as long as the table of contents");
    index.check(end, crc, crc32c::crc32c(body))?;
    let mut cursor = Cursor::new(body);
    let mut next = || cursor.be64().expect("six offsets");
    let (symbols, series, label_indices) = (next(), next(), next());
    let (_label_table, postings, table) = (next(), next(), next());
    // Old writers have label indices between series and postings; the series end where whatever follows begins.
    let series_end = label_indices.max(series).min(postings);
    let toc = Toc { symbols, series, series_end, postings, table, end };
    let ordered = INDEX_HEADER_BYTES <= symbols && symbols <= series && series <= series_end && postings <= table;
    if ordered && table <= end { Ok(toc) } else { Err(index.corrupt(end, Damage::Sections)) }
}

/// A section's length, then its content and checksum: returns where the content begins and ends.
fn section(index: &OpenFile, start: u64, limit: u64) -> Result<(u64, u64), ReadError> {
    let len = u64::from(Cursor::new(&index.read(start, 4)?).be32().expect("four bytes"));
    let end = start + 4 + len;
    if end + CRC_BYTES > limit {
        return Err(index.corrupt(start, Damage::Truncated));
    }
    Ok((start + 4, end))
}

fn read_symbols(index: &OpenFile, toc: &Toc) -> Result<Texts, ReadError> {
    let (start, end) = section(index, toc.symbols, toc.series)?;
    let mut stream = Stream::new(index, start, end);
    let count = stream.entry(|cursor| cursor.be32().map(drop))?;
    let count = Cursor::new(count).be32().expect("four bytes");
    let mut texts = Texts::default();
    while !stream.is_at_end() {
        let offset = stream.offset();
        let entry = stream.entry(|cursor| cursor.text().map(drop))?;
        let text = Cursor::new(entry).text().expect("parsed just now");
        let text = std::str::from_utf8(text).map_err(|_| index.corrupt(offset, Damage::Utf8))?;
        if !texts.push(text) {
            return Err(index.corrupt(offset, Damage::Count));
        }
    }
    check_section(index, start, end, stream.into_crc())?;
    if texts.len() != count as usize {
        return Err(index.corrupt(start, Damage::Count));
    }
    texts.shrink();
    Ok(texts)
}

fn check_section(index: &OpenFile, start: u64, end: u64, computed: u32) -> Result<(), ReadError> {
    let stored = Cursor::new(&index.read(end, CRC_BYTES)?).be32().expect("four bytes");
    index.check(start, stored, computed)
}

#[cfg(test)]
mod tests;
