//! The index header: what is asked of a block again and again, kept in a local file, so that the rest can be read in place.
//!
//! It holds `meta.json`, `tombstones`, and the index but for the entries of series: symbols, postings and their table. Entries
//! of series and chunks are read from the block itself. Layout, numbers little-endian:
//!
//! ```text
//! "NXIH"  version 1  three zero bytes
//! meta.json | tombstones | index up to the series | index from the end of the series
//! u64 bytes of meta.json | u64 of tombstones, or 2^64-1 where there are none | u64 of the first part of the index
//! u64 where the second part begins in the index | u64 bytes of the index | u32 CRC-32C of everything before
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::read::read_toc;
use crate::source::{BlockSource, Checksums, LocalFile, MemoryFile, OpenFile, RangeRead};
use crate::{Block, BlockFile, BlockMeta, ReadError};

const MAGIC: &[u8; 8] = b"NXIH\x01\0\0\0";
const FOOTER_BYTES: u64 = 5 * 8 + 4;
const ABSENT: u64 = u64::MAX;
/// Bytes copied at once.
const COPY_BYTES: u64 = 8 << 20;
/// Longest `meta.json` and `tombstones`: they are held in memory.
const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;

/// Why there is no index header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The local disk refuses.
    #[error("write or read index header {path}")]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The block cannot be read.
    #[error(transparent)]
    Block(#[from] ReadError),
    /// The file is not what was written: it is to be made again.
    #[error("index header {path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// A block whose index header lies in a local file, and the rest elsewhere.
pub struct IndexHeader {
    far: Arc<dyn BlockSource>,
    meta: BlockMeta,
    meta_bytes: Bytes,
    tombstones: Option<Bytes>,
    index: Arc<HeaderIndex>,
}

/// The index, of which only the entries of series are far away.
struct HeaderIndex {
    local: Arc<dyn RangeRead>,
    /// Where the index begins in the file.
    base: u64,
    front: u64,
    back: u64,
    len: u64,
    far: Arc<dyn BlockSource>,
    opened: OnceLock<Arc<dyn RangeRead>>,
}

/// Numbers of the footer.
struct Footer {
    meta: u64,
    tombstones: u64,
    front: u64,
    back: u64,
    len: u64,
}

/// Writes with a running checksum.
struct Checked {
    file: io::BufWriter<fs::File>,
    crc: u32,
}

impl Checked {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.file.write_all(bytes)
    }
}

impl IndexHeader {
    /// Reads what belongs to the header and writes it to `path`, where it is whole or absent.
    pub fn write(source: &dyn BlockSource, path: &Path) -> Result<(), HeaderError> {
        let local = |source| HeaderError::Local { path: path.to_owned(), source };
        let unfinished = path.with_extension("unfinished");
        let file = fs::File::create(&unfinished).map_err(local)?;
        let written = IndexHeader::write_to(source, file, &local);
        let renamed = written.and_then(|()| fs::rename(&unfinished, path).map_err(local));
        if renamed.is_err() {
            // It is written anew the next time, whether it could be removed or not.
            drop(fs::remove_file(&unfinished));
        }
        renamed
    }

    fn write_to(
        source: &dyn BlockSource,
        file: fs::File,
        local: &dyn Fn(io::Error) -> HeaderError,
    ) -> Result<(), HeaderError> {
        let meta = small_file(source, BlockFile::Meta)?.ok_or_else(|| not_found(BlockFile::Meta))?;
        let tombstones = small_file(source, BlockFile::Tombstones)?;
        let index = OpenFile::open(source, BlockFile::Index, Checksums::Compared)?;
        let toc = read_toc(&index)?;
        let mut out = Checked { file: io::BufWriter::new(file), crc: 0 };
        out.put(MAGIC).map_err(local)?;
        out.put(&meta).map_err(local)?;
        out.put(tombstones.as_deref().unwrap_or_default()).map_err(local)?;
        for (mut at, end) in [(0, toc.series), (toc.series_end, index.len)] {
            while at < end {
                let bytes = index.read(at, (end - at).min(COPY_BYTES))?;
                out.put(&bytes).map_err(local)?;
                at += bytes.len() as u64;
            }
        }
        let tombstones = tombstones.map_or(ABSENT, |bytes| bytes.len() as u64);
        for number in [meta.len() as u64, tombstones, toc.series, toc.series_end, index.len] {
            out.put(&number.to_le_bytes()).map_err(local)?;
        }
        let crc = out.crc;
        out.put(&crc.to_le_bytes()).map_err(local)?;
        let file = out.file.into_inner().map_err(|e| local(e.into_error()))?;
        file.sync_all().map_err(local)
    }

    /// The block in `far` whose header lies at `path`. Reads the file once to compare its checksum.
    pub fn open(path: &Path, far: Arc<dyn BlockSource>) -> Result<IndexHeader, HeaderError> {
        let file = fs::File::open(path).map_err(|source| HeaderError::Local { path: path.to_owned(), source })?;
        IndexHeader::read(Arc::new(LocalFile::new(file)), path, far, Checksums::Compared)
    }

    pub(crate) fn read(
        file: Arc<dyn RangeRead>,
        path: &Path,
        far: Arc<dyn BlockSource>,
        checksums: Checksums,
    ) -> Result<IndexHeader, HeaderError> {
        let local = |source| HeaderError::Local { path: path.to_owned(), source };
        let damaged = || HeaderError::Damaged { path: path.to_owned() };
        let len = file.len().map_err(local)?;
        let footer_at = len.checked_sub(FOOTER_BYTES).ok_or_else(damaged)?;
        let stored = file.read(len - 4, 4).map_err(local)?;
        let matches = checksum(&*file, len - 4).map_err(local)?.to_le_bytes()[..] == stored[..];
        if !matches && checksums == Checksums::Compared {
            return Err(damaged());
        }
        let footer = file.read(footer_at, FOOTER_BYTES as usize).map_err(local)?;
        let head = file.read(0, MAGIC.len()).map_err(local)?;
        let footer = Footer::parse(&footer, footer_at).filter(|_| head[..] == MAGIC[..]).ok_or_else(damaged)?;
        let small = |at: u64, len: u64| {
            let len = usize::try_from(len).map_err(|_| damaged())?;
            file.read(at, len).map_err(local)
        };
        let meta_at = MAGIC.len() as u64;
        let meta_bytes = small(meta_at, footer.meta)?;
        let tombstones_at = meta_at + footer.meta;
        let (tombstones, base) = match footer.tombstones {
            ABSENT => (None, tombstones_at),
            bytes => (Some(small(tombstones_at, bytes)?), tombstones_at + bytes),
        };
        let meta = serde_json::from_slice(&meta_bytes).map_err(|_| damaged())?;
        let Footer { front, back, len, .. } = footer;
        let opened = OnceLock::new();
        let index = Arc::new(HeaderIndex { local: file, base, front, back, len, far: far.clone(), opened });
        Ok(IndexHeader { far, meta, meta_bytes, tombstones, index })
    }

    /// The block, open for reading.
    pub fn into_block(self) -> Result<Block, ReadError> {
        Block::open_far(Arc::new(self))
    }
}

impl Footer {
    /// `None` where the parts do not fill the file up to `end`.
    fn parse(bytes: &[u8], end: u64) -> Option<Footer> {
        let mut numbers = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")));
        let mut next = || numbers.next();
        let footer = Footer { meta: next()?, tombstones: next()?, front: next()?, back: next()?, len: next()? };
        let tombstones = if footer.tombstones == ABSENT { 0 } else { footer.tombstones };
        let back_bytes = footer.len.checked_sub(footer.back)?;
        let parts = [MAGIC.len() as u64, footer.meta, tombstones, footer.front, back_bytes];
        let total = parts.into_iter().try_fold(0u64, u64::checked_add)?;
        (total == end && footer.front <= footer.back).then_some(footer)
    }
}

fn checksum(file: &dyn RangeRead, end: u64) -> io::Result<u32> {
    let (mut crc, mut at) = (0, 0);
    while at < end {
        let part = usize::try_from((end - at).min(COPY_BYTES)).expect("as few as are copied at once");
        let bytes = file.read(at, part)?;
        crc = crc32c::crc32c_append(crc, &bytes);
        at += part as u64;
    }
    Ok(crc)
}

fn not_found(file: BlockFile) -> ReadError {
    ReadError::Io { file, offset: 0, source: io::ErrorKind::NotFound.into() }
}

/// A whole file; `None` where there is none.
fn small_file(source: &dyn BlockSource, name: BlockFile) -> Result<Option<Bytes>, ReadError> {
    match OpenFile::open(source, name, Checksums::Compared) {
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
        Ok(file) if file.len > SMALL_FILE_BYTES_MAX => {
            Err(ReadError::Io { file: name, offset: 0, source: io::ErrorKind::FileTooLarge.into() })
        }
        Ok(file) => file.read(0, file.len).map(Some),
    }
}

impl BlockSource for IndexHeader {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        match file {
            BlockFile::Meta => Ok(Arc::new(MemoryFile(self.meta_bytes.clone()))),
            BlockFile::Tombstones => match &self.tombstones {
                Some(bytes) => Ok(Arc::new(MemoryFile(bytes.clone()))),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            BlockFile::Index => Ok(self.index.clone()),
            BlockFile::Segment(_) => {
                let path = file.to_string();
                let files = self.meta.thanos.iter().flat_map(|thanos| &thanos.files);
                match files.into_iter().find(|known| known.rel_path == path && known.size_bytes > 0) {
                    Some(known) => self.far.open_sized(file, known.size_bytes),
                    None => self.far.open(file),
                }
            }
        }
    }
}

impl RangeRead for HeaderIndex {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end <= self.front {
            return self.local.read(self.base + offset, len);
        }
        if self.back <= offset {
            return self.local.read(self.base + self.front + (offset - self.back), len);
        }
        let far = match self.opened.get() {
            Some(open) => open,
            None => {
                let open = self.far.open_sized(BlockFile::Index, self.len)?;
                self.opened.get_or_init(|| open)
            }
        };
        far.read(offset, len)
    }
}

#[cfg(test)]
mod tests;
