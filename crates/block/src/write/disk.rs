//! What a block is written to.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::WriteError;
use crate::source::{LocalFile, RangeRead};

/// A disk with directories.
pub trait Directory: Send + Sync {
    /// Creates a directory; its parent exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it; none there is fine.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file that is not there yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;
    /// Opens a file that may still grow for reading what was appended so far.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn RangeRead>>;
    /// Gives a directory another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file that grows.
pub trait OutputFile: Send {
    /// Appends.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The local file system.
#[derive(Clone, Copy, Debug)]
pub struct LocalDirectory;

impl Directory for LocalDirectory {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        Ok(Box::new(fs::File::create_new(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn RangeRead>> {
        Ok(Arc::new(LocalFile::new(fs::File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }
}

impl OutputFile for fs::File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Bytes collected before they are appended.
const BUFFER_BYTES: usize = 1 << 20;

/// A file being written, buffered, that knows its position and name.
pub(super) struct Output {
    file: Box<dyn OutputFile>,
    path: PathBuf,
    buffer: Vec<u8>,
    position: u64,
}

impl Output {
    pub(super) fn create(disk: &Arc<dyn Directory>, path: PathBuf) -> Result<Output, WriteError> {
        let file = disk.create(&path).map_err(|source| WriteError::Io { path: path.clone(), source })?;
        Ok(Output { file, path, buffer: Vec::new(), position: 0 })
    }

    /// Bytes appended so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.position += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() > BUFFER_BYTES {
            return self.file.append(bytes).map_err(|source| self.failed(source));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Zeros up to a multiple of `align`, which is at most 16.
    pub(super) fn pad(&mut self, align: u64) -> Result<(), WriteError> {
        let short = self.position.next_multiple_of(align) - self.position;
        self.append(&[0; 16][..usize::try_from(short).expect("less than 16")])
    }

    /// Lets readers see what was appended.
    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        let written = self.file.append(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| self.failed(source))
    }

    /// Makes everything durable and returns the size.
    pub(super) fn finish(mut self) -> Result<u64, WriteError> {
        self.flush()?;
        self.file.sync().map_err(|source| self.failed(source))?;
        Ok(self.position)
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Io { path: self.path.clone(), source }
    }
}
