//! The log of a node: numbered records in segment files.
//!
//! ```text
//! segment  = "NTXLOG01" · record*            named by its first position, 20 digits
//! record   = len u32 · crc32c u32 · position u64 · payload      (little-endian)
//! ```
//!
//! Positions count up by one from 1. The checksum covers position and payload. Bad bytes with nothing good behind them are a
//! torn tail, of which nobody was told; bad bytes with good records behind them are damage, and the positions lost are named.
//! The log does not know what its payloads mean, does not group commits and starts no thread.

#[doc(hidden)]
pub mod fuzzing;
mod lookup;
mod read;
mod write;

pub use lookup::Lookup;
pub use read::{Event, Reader};
pub use write::Log;

use std::path::{Path, PathBuf};

/// First bytes of a segment.
pub(crate) const MAGIC: &[u8; 8] = b"NTXLOG01";
/// Bytes before a payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
/// Longest payload: a batch and what is said about it.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 20) + 1024;

/// Bounds of the log.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment is closed when it is this long: the unit of truncation.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment_bytes: 64 << 20 }
    }
}

const _: () = assert!(RECORD_HEADER_BYTES + PAYLOAD_BYTES_MAX < 4 << 20);

/// Number of a record, from 1.
pub type Position = u64;

/// No log gets so far: a record that says so is none, and counting on from any other cannot overflow.
pub(crate) const POSITION_MAX: Position = u64::MAX >> 1;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk said no.
    #[error("{action} {path}")]
    Io {
        /// Verb.
        action: &'static str,
        /// Object.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A sync failed earlier. What the kernel still holds is unknown, so the log takes nothing until it is opened anew.
    #[error("the log failed to sync and takes no more until a restart")]
    Poisoned,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    /// Whether the disk was full: the same write may work later.
    pub fn is_full_disk(&self) -> bool {
        let full = |e: &std::io::Error| {
            matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        };
        matches!(self, Error::Io { source, .. } if full(source))
    }
}

pub(crate) fn segment_path(folder: &Path, first: Position) -> PathBuf {
    folder.join(format!("{first:020}"))
}

/// The first position of a segment, by its name; `None` for other files.
pub(crate) fn segment_first(path: &Path) -> Option<Position> {
    let name = path.file_name()?.to_str()?;
    let first = (name.len() == 20).then(|| name.parse().ok()).flatten();
    first.filter(|first| *first <= POSITION_MAX)
}

pub(crate) fn checksum(position: Position, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), payload)
}

#[cfg(test)]
mod tests;
