//! `meta.json`: Prometheus' fields, and Thanos' in the section `thanos`.

use std::collections::BTreeMap;

use model::{TimeRange, TimestampMs};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Version of `meta.json` and of its section `thanos`.
pub(crate) const META_VERSION: u32 = 1;

/// What `meta.json` says. Unknown fields are ignored on reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Name of the block and of its directory.
    #[serde(with = "ulid_text")]
    pub ulid: Ulid,
    /// First instant of the range, in milliseconds.
    pub min_time: i64,
    /// First instant after the range, in milliseconds.
    pub max_time: i64,
    /// Counts.
    #[serde(default)]
    pub stats: BlockStats,
    /// What the block was made from.
    #[serde(default)]
    pub compaction: Compaction,
    /// Always 1.
    pub version: u32,
    /// Absent in blocks that Prometheus wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<ThanosMeta>,
}

impl BlockMeta {
    /// The range that the samples are in.
    pub fn range(&self) -> TimeRange {
        TimeRange::new(TimestampMs(self.min_time), TimestampMs(self.max_time))
    }
}

/// Counts of what is in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples of all kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Float samples; absent in blocks of older writers.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted intervals.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// What a block was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// 1 for a block cut from a head.
    pub level: u32,
    /// The blocks of level 1 whose samples are here; a block of level 1 names itself.
    #[serde(with = "ulid_texts", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// The compaction that made it found no samples.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks that were merged into this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<BlockParent>,
    /// A compaction of this block failed.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// `from-out-of-order` and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A block that was merged into another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockParent {
    /// Its name.
    #[serde(with = "ulid_text")]
    pub ulid: Ulid,
    /// First instant of its range, in milliseconds.
    pub min_time: i64,
    /// First instant after its range, in milliseconds.
    pub max_time: i64,
}

/// The section `thanos`. Source: Thanos `pkg/block/metadata`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThanosMeta {
    /// 1; 0 where the writer was old.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub version: u32,
    /// Labels that readers of Thanos add to every series.
    pub labels: BTreeMap<String, String>,
    /// Coarseness of the samples.
    pub downsample: Downsample,
    /// What uploaded it.
    pub source: String,
    /// All files, sorted by path; `meta.json` without its size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ThanosFile>,
    /// Largest entries, by which readers size their reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_stats: Option<IndexStats>,
    /// Whatever the writer wants to keep with the block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<serde_json::Value>,
}

/// Coarseness of samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downsample {
    /// Milliseconds between aggregates; 0: samples as they were scraped.
    pub resolution: i64,
}

/// A file of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThanosFile {
    /// Path within the block.
    pub rel_path: String,
    /// Size in bytes, where it is known.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
}

/// Largest entries of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexStats {
    /// Bytes of the largest series entry of the index.
    #[serde(skip_serializing_if = "is_zero")]
    pub series_max_size: u64,
    /// Bytes of the largest chunk with its header and checksum.
    #[serde(skip_serializing_if = "is_zero")]
    pub chunk_max_size: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero_u32(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(b: &bool) -> bool {
    !*b
}

/// ULIDs as their 26 letters.
mod ulid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(ulid: &Ulid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(ulid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ulid, D::Error> {
        Ulid::from_string(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Lists of ULIDs.
mod ulid_texts {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(ulids: &[Ulid], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ulids.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Ulid>, D::Error> {
        let texts: Option<Vec<String>> = Option::deserialize(from)?;
        texts.unwrap_or_default().iter().map(|t| Ulid::from_string(t).map_err(D::Error::custom)).collect()
    }
}
