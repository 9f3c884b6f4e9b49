//! The head: recent samples of all tenants of a node, in memory and in memory-mapped chunk files.
//!
//! A batch is applied whole ([`Head::apply`]) and seen whole: a reader sees either nothing of a scrape or all of it, though the
//! sixteen partitions have locks of their own. Snapshots make restarts short. The head never reads the clock, starts no thread
//! that outlives a call, knows nothing of logs, sealing or replicas, and decides no admission.

mod chunk_files;
mod exemplars;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod hints;
mod partition;
mod postings;
mod select;
mod series;
mod snapshot;
mod stats;
mod values;

use std::path::{Path, PathBuf};

pub use exemplars::ExemplarSeries;
pub use head::{Applied, Head, Keep, Limits, Refs};
pub use select::{Order, Selection};
pub use snapshot::Recovered;
pub use stats::{Cardinality, HeadStats};
pub use values::{EncodedChunk, decode as decode_values, encode as encode_values};

/// Why the head could not do what it was asked.
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
    /// A sealed chunk cannot be read.
    #[error("chunk at {offset} of {file} is damaged: {what}")]
    DamagedChunk {
        /// The file.
        file: PathBuf,
        /// Bytes from its start.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The bytes of a chunk do not decode.
    #[error("decode a chunk")]
    Decode(#[from] chunkenc::DecodeError),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}

#[cfg(test)]
mod tests;
