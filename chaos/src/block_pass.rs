//! The second pass: what a ledger wrote, read from the blocks of a bucket's folder. In ranges that are closed each
//! acknowledged sample is there once.
//!
//! A range is closed where every group that has manifests (`closed/<cluster>/<group>/<start>.json`) has one for it; its
//! samples are in the blocks that the manifests name. A bucket without manifests is closed where it has blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use block::{Block, LocalBlock};
use chunkenc::XorDecoder;
use model::{Matcher, TenantId, TimeRange, TimestampMs};
use serde::Deserialize;
use storage::{ChunkEncoding, SelectRequest, Shard};

use crate::classes::{Scope, Sorter, Summary};
use crate::plan::{METRIC, Plan};

/// The part of a manifest that counts here.
#[derive(Clone, Debug, Deserialize)]
struct Manifest {
    group: u32,
    start: i64,
    end: i64,
    blocks: Vec<ManifestBlock>,
}

#[derive(Clone, Debug, Deserialize)]
struct ManifestBlock {
    ulid: String,
}

/// What a bucket says is closed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// `[start, end)` in milliseconds.
    pub ranges: Vec<(i64, i64)>,
    /// Folders of blocks.
    pub blocks: BTreeSet<PathBuf>,
}

impl Closed {
    /// Whether the instant lies in a closed range.
    pub fn contains(&self, at_ms: i64) -> bool {
        self.ranges.iter().any(|(start, end)| (*start..*end).contains(&at_ms))
    }
}

/// Reads every block of closed ranges and sorts what it has of the ledger.
pub fn by_blocks(folder: &Path, bucket: &Path) -> Result<Summary> {
    let plan = Plan::load(folder)?;
    let accounts = Sorter::accounts(&plan, folder)?;
    let mut sorter = Sorter::new(&plan, &accounts, "blocks");
    let closed = closed(bucket)?;
    for block in &closed.blocks {
        see_block(&plan, block, &mut sorter).with_context(|| format!("block {}", block.display()))?;
    }
    Ok(sorter.finish(&|_, at_ms| if closed.contains(at_ms) { Scope::Complete } else { Scope::Outside }))
}

/// What is closed in a bucket.
pub fn closed(bucket: &Path) -> Result<Closed> {
    let blocks = blocks_of(bucket)?;
    let mut manifests = Vec::new();
    for cluster in entries(&bucket.join("closed"))? {
        for group in entries(&cluster)? {
            for file in entries(&group)?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
                let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
                let manifest: Manifest =
                    serde_json::from_slice(&bytes).with_context(|| format!("{}", file.display()))?;
                manifests.push(manifest);
            }
        }
    }
    if manifests.is_empty() {
        let ranges = blocks.values().map(|range| (range.0, range.1)).collect();
        return Ok(Closed { ranges, blocks: blocks.into_keys().collect() });
    }
    let groups: BTreeSet<u32> = manifests.iter().map(|manifest| manifest.group).collect();
    let mut by_range = BTreeMap::<(i64, i64), BTreeSet<u32>>::new();
    let mut closed = Closed::default();
    for manifest in &manifests {
        by_range.entry((manifest.start, manifest.end)).or_default().insert(manifest.group);
        for block in &manifest.blocks {
            let path = bucket.join(&block.ulid);
            ensure!(blocks.contains_key(&path), "{} is in a manifest and not in the bucket", path.display());
            closed.blocks.insert(path);
        }
    }
    closed.ranges = by_range.into_iter().filter(|(_, of)| *of == groups).map(|(range, _)| range).collect();
    Ok(closed)
}

/// Blocks that are complete, with the ranges that they say.
fn blocks_of(bucket: &Path) -> Result<BTreeMap<PathBuf, (i64, i64)>> {
    let mut found = BTreeMap::new();
    for path in entries(bucket)? {
        // Whatever has no such file is no block yet, or none any more.
        if path.join("meta.json").is_file() {
            let meta = Block::read_meta(&LocalBlock::new(&path)).with_context(|| format!("{}", path.display()))?;
            found.insert(path, (meta.min_time, meta.max_time));
        }
    }
    Ok(found)
}

fn see_block(plan: &Plan, path: &Path, sorter: &mut Sorter<'_>) -> Result<()> {
    let block = Block::open(Arc::new(LocalBlock::new(path)))?;
    let request = SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
        matchers: vec![Matcher::equal("__name__", METRIC), Matcher::equal("run", &plan.run)],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: usize::MAX,
    };
    let mut result = Ok(());
    block.select(&request, &mut |batch| {
        for series in &batch {
            if let Err(error) = see_series(plan, series, sorter) {
                result = Err(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    result
}

fn see_series(plan: &Plan, series: &storage::Series, sorter: &mut Sorter<'_>) -> Result<()> {
    let key = plan.find(series.labels.iter().map(|label| (label.name, label.value)));
    for chunk in &series.chunks {
        ensure!(chunk.encoding == ChunkEncoding::Xor, "{:?} has {:?}", series.labels, chunk.encoding);
        let mut decoder = XorDecoder::new(&chunk.data).with_context(|| format!("{:?}", series.labels))?;
        while let Some((at_ms, value)) = decoder.next().with_context(|| format!("{:?}", series.labels))? {
            match key {
                Some(key) => sorter.see(key, at_ms, value),
                None => sorter.see_unknown(&format!("{:?}", series.labels), at_ms, value),
            }
        }
    }
    Ok(())
}

/// Paths in a folder; none where it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.with_context(|| format!("list {}", folder.display()))?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.with_context(|| format!("list {}", folder.display()))?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
