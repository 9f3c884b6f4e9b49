//! The one effect an engine may have: files, behind a trait that a test can make fail.
//!
//! [`RealDisk`] is the operating system. [`SimDisk`] is a twin in memory that can lose all that was not synced (contents and
//! directory entries), run full, and fail. No caching, no format, no threads.
#![expect(unsafe_code, reason = "memory maps of our own append-only files (real.rs)")]

mod real;
mod sim;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use real::RealDisk;
pub use sim::SimDisk;

/// A tree of files.
pub trait Disk: Send + Sync + 'static {
    /// Creates `path` (its folder must be there) or empties it, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens what is there, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates `path` with `len` zero bytes (no space is taken yet) and maps it, so that [`File::bytes`] copies nothing.
    fn create_mapped(&self, path: &Path, len: u64) -> io::Result<Arc<dyn File>>;

    /// Opens what [`Disk::create_mapped`] made.
    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Renames; replaces what is at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file. One that is not there is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The files of a folder, sorted; no folders. A folder that is not there is empty.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the entries of a folder (creations, renames, removals) survive power loss.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
}

/// An open file. Positions are bytes from the start.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset`; an error where the file ends before.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the contents survive power loss.
    fn sync(&self) -> io::Result<()>;

    /// `len` bytes from `offset`; of a mapped file without copying.
    fn bytes(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut buf = vec![0; len];
        self.read_at(&mut buf, offset)?;
        Ok(buf.into())
    }

    /// Gives the pages of a mapped file back; the next read fetches them from the page cache again.
    fn drop_resident(&self) -> io::Result<()> {
        Ok(())
    }
}
