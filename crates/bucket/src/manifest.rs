//! Manifests of closed ranges.

use serde::{Deserialize, Serialize};

/// What says that a range of a group is in blocks: the certificate of who closed it, and the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// The group.
    pub group: u32,
    /// The generation at which the range was sealed.
    pub generation: u64,
    /// Start of the range, in ms.
    pub start: i64,
    /// First instant after the range, in ms.
    pub end: i64,
    /// Replicas that sealed, as node and incarnation, with their positions then.
    pub sealed: Vec<(String, u64)>,
    /// All blocks of the range; none: there was no data.
    pub blocks: Vec<ManifestBlock>,
    /// Tenants whose data could not be cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<String>,
}

impl Manifest {
    /// From the bytes of its object.
    pub(crate) fn read(bytes: &[u8]) -> serde_json::Result<Manifest> {
        serde_json::from_slice(bytes)
    }

    /// The bytes of its object.
    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest is plain data")
    }
}

/// A block of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBlock {
    /// Its name.
    pub ulid: String,
    /// Whose it is.
    pub tenant: String,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// What became of an attempt to create a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is ours.
    Ours,
    /// There was one already.
    Theirs(Manifest),
}
