//! Where a block's bytes come from: a directory, memory, or whatever else gives ranges of files.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::{BlockFile, Damage, ReadError};

/// A file that gives ranges. It does not change while it is open.
#[expect(clippy::len_without_is_empty, reason = "files of blocks are never empty")]
pub trait RangeRead: Send + Sync {
    /// Size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Exactly `len` bytes from `offset` on; an error of kind `UnexpectedEof` where the file ends before.
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes>;
}

/// The files of a block.
pub trait BlockSource: Send + Sync {
    /// Opens a file; an error of kind `NotFound` where there is none.
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>>;

    /// Opens a file whose size is known, which may save asking for it.
    fn open_sized(&self, file: BlockFile, _len: u64) -> io::Result<Arc<dyn RangeRead>> {
        self.open(file)
    }
}

/// A file on a local disk, read with `pread`.
#[derive(Debug)]
pub struct LocalFile(fs::File);

impl LocalFile {
    /// Reads `file`.
    pub fn new(file: fs::File) -> LocalFile {
        LocalFile(file)
    }
}

impl RangeRead for LocalFile {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|m| m.len())
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }
}

/// A block's directory on a local disk.
#[derive(Clone, Debug)]
pub struct LocalBlock(PathBuf);

impl LocalBlock {
    /// The block in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> LocalBlock {
        LocalBlock(dir.into())
    }
}

impl BlockSource for LocalBlock {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        Ok(Arc::new(LocalFile(fs::File::open(self.0.join(file.to_string()))?)))
    }
}

/// A file in memory.
#[derive(Clone, Debug)]
pub struct MemoryFile(pub Bytes);

impl RangeRead for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).filter(|end| *end <= self.0.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(self.0.slice(start..end))
    }
}

/// A block in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlock(pub HashMap<BlockFile, Bytes>);

impl BlockSource for MemoryBlock {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        let bytes = self.0.get(&file).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(bytes.clone())))
    }
}

/// Whether checksums are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    Compared,
    /// For fuzzing alone: what lies behind checksums must survive any bytes too.
    Ignored,
}

/// An open file with its name and size, which checks bounds before it reads.
pub(crate) struct OpenFile {
    pub(crate) name: BlockFile,
    pub(crate) len: u64,
    pub(crate) checksums: Checksums,
    reader: Arc<dyn RangeRead>,
}

impl OpenFile {
    pub(crate) fn open(source: &dyn BlockSource, name: BlockFile, checksums: Checksums) -> Result<OpenFile, ReadError> {
        let reader = source.open(name).map_err(|source| ReadError::Io { file: name, offset: 0, source })?;
        OpenFile::new(reader, name, checksums)
    }

    pub(crate) fn new(
        reader: Arc<dyn RangeRead>,
        name: BlockFile,
        checksums: Checksums,
    ) -> Result<OpenFile, ReadError> {
        let len = reader.len().map_err(|source| ReadError::Io { file: name, offset: 0, source })?;
        Ok(OpenFile { name, len, checksums, reader })
    }

    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Bytes, ReadError> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.corrupt(offset, Damage::Truncated));
        }
        let io = |source| ReadError::Io { file: self.name, offset, source };
        let len = usize::try_from(len).map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
        let bytes = self.reader.read(offset, len).map_err(io)?;
        if bytes.len() == len { Ok(bytes) } else { Err(io(io::ErrorKind::UnexpectedEof.into())) }
    }

    pub(crate) fn corrupt(&self, offset: u64, damage: Damage) -> ReadError {
        ReadError::Corrupt { file: self.name, offset, damage }
    }

    /// Compares the checksum of what lies at `offset`.
    pub(crate) fn check(&self, offset: u64, stored: u32, computed: u32) -> Result<(), ReadError> {
        if stored == computed || self.checksums == Checksums::Ignored {
            return Ok(());
        }
        Err(self.corrupt(offset, Damage::Checksum { stored, computed }))
    }
}
