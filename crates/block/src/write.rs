//! Writing a block: symbols first, then series in order with their chunks, then the rest of the index, `meta.json` last.
//!
//! The directory is called `<ULID>.tmp-for-creation` until everything in it is durable. Memory: the symbols, 4 bytes a series,
//! 16 bytes a label pair, and 12 bytes times [`WriterLimits::postings_per_pass`] while postings are written.

mod chunks;
mod disk;
mod index;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunkenc::XorDecoder;
use model::{Labels, TimeRange, TimestampMs};
use storage::{Chunk, ChunkEncoding};
use ulid::Ulid;

use crate::meta::META_VERSION;
use crate::{
    BlockFile, BlockMeta, BlockParent, BlockStats, CREATION_SUFFIX, Compaction, Damage, Downsample, IndexStats,
    Symbols, ThanosFile, ThanosMeta, WriteError, tombstones,
};

use self::chunks::ChunkWriter;
use self::disk::Output;
pub use self::disk::{Directory, LocalDirectory, OutputFile};
use self::index::IndexWriter;

/// Bounds of a writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Bytes of a chunk file. Prometheus and object stores expect no more than 512 MiB.
    pub segment_bytes_max: u32,
    /// Postings collected in memory at once, 12 bytes each; at least one for every series is taken in any case. Fewer need more
    /// passes over the series.
    pub postings_per_pass: usize,
}

impl Default for WriterLimits {
    fn default() -> WriterLimits {
        WriterLimits { segment_bytes_max: 512 << 20, postings_per_pass: 4 << 20 }
    }
}

/// What `meta.json` tells of where a block comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// 1 for a block cut from a head; 0 is taken as 1.
    pub level: u32,
    /// The blocks of level 1 in it; none: the block itself.
    pub sources: Vec<Ulid>,
    /// The blocks that were merged.
    pub parents: Vec<BlockParent>,
    /// `from-out-of-order` and the like.
    pub hints: Vec<String>,
    /// Labels that Thanos adds to every series, as `tenant_id`.
    pub labels: BTreeMap<String, String>,
    /// What uploads it; any text.
    pub source: String,
    /// Goes to `thanos.extensions`.
    pub extensions: Option<serde_json::Value>,
}

/// Writes one block.
pub struct Writer {
    disk: Arc<dyn Directory>,
    parent: PathBuf,
    dir: PathBuf,
    ulid: Ulid,
    range: TimeRange,
    index: IndexWriter,
    chunks: ChunkWriter,
    stats: BlockStats,
    last: Option<Labels>,
}

impl Writer {
    /// Begins the block `ulid` in `<parent>/<ulid>.tmp-for-creation`; what an earlier attempt left there is removed. `symbols`
    /// hold every name and value of the labels to come. All samples are to lie in `range`.
    pub fn create(
        disk: Arc<dyn Directory>,
        parent: &Path,
        ulid: Ulid,
        range: TimeRange,
        symbols: Symbols,
        limits: WriterLimits,
    ) -> Result<Writer, WriteError> {
        let dir = parent.join(format!("{ulid}{CREATION_SUFFIX}"));
        let io = |source| WriteError::Io { path: dir.clone(), source };
        disk.remove_dir(&dir).map_err(io)?;
        disk.create_dir(&dir).map_err(io)?;
        let chunks = ChunkWriter::create(&disk, dir.join("chunks"), limits.segment_bytes_max)?;
        let path = dir.join(BlockFile::Index.to_string());
        let index = IndexWriter::create(&disk, path, symbols, limits.postings_per_pass)?;
        let parent = parent.to_owned();
        Ok(Writer { disk, parent, dir, ulid, range, index, chunks, stats: BlockStats::default(), last: None })
    }

    /// Adds a series, which must follow the one before in the order of `Labels`, with its chunks, which must rise and not
    /// overlap. Errors but `Io`, `IndexTooLarge` and `SymbolsTooLarge` leave the writer as it was.
    pub fn add_series(&mut self, labels: &Labels, chunks: &[Chunk]) -> Result<(), WriteError> {
        if self.last.as_ref().is_some_and(|last| labels <= last) {
            return Err(WriteError::SeriesOrder { labels: labels.clone() });
        }
        if chunks.is_empty() {
            return Err(WriteError::NoChunks { labels: labels.clone() });
        }
        let mut previous_maxt = None;
        for chunk in chunks {
            check_chunk(labels, chunk, previous_maxt, self.range)?;
            previous_maxt = Some(chunk.maxt);
        }
        self.index.begin_series(labels)?;
        for chunk in chunks {
            let reference = self.chunks.add(chunk)?;
            self.index.add_chunk(chunk.mint, chunk.maxt, reference);
            self.count(chunk);
        }
        self.index.end_series(chunks.len())?;
        self.stats.num_series += 1;
        self.last = Some(labels.clone());
        Ok(())
    }

    /// Series added so far.
    pub fn series_count(&self) -> u64 {
        self.stats.num_series
    }

    /// Writes what is missing, makes everything durable and gives the block its name. Returns what `meta.json` says.
    pub fn finish(mut self, origin: Origin) -> Result<BlockMeta, WriteError> {
        if self.stats.num_series == 0 {
            return Err(WriteError::NoSeries);
        }
        let mut files = self.chunks.finish()?;
        let index = self.index.finish(&self.disk)?;
        files.push(ThanosFile { rel_path: BlockFile::Index.to_string(), size_bytes: index.bytes });
        // Thanos leaves out the size that the file itself would change.
        files.push(ThanosFile { rel_path: BlockFile::Meta.to_string(), size_bytes: 0 });
        let stats = IndexStats { series_max_size: index.series_max_bytes, chunk_max_size: self.chunks.chunk_max_bytes };
        let meta = meta_of(self.ulid, self.range, self.stats, origin, files, stats);

        let write = |file: BlockFile, bytes: &[u8]| {
            let mut out = Output::create(&self.disk, self.dir.join(file.to_string()))?;
            out.append(bytes)?;
            out.finish().map(|_| ())
        };
        write(BlockFile::Tombstones, &tombstones::encode(&[]))?;
        // Prometheus indents with tabs; anything that parses will do.
        write(BlockFile::Meta, &serde_json::to_vec_pretty(&meta).map_err(WriteError::Meta)?)?;

        let target = self.parent.join(self.ulid.to_string());
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| WriteError::Io { path, source }
        };
        self.disk.sync_dir(&self.dir).map_err(io(&self.dir))?;
        self.disk.rename(&self.dir, &target).map_err(io(&target))?;
        self.disk.sync_dir(&self.parent).map_err(io(&self.parent))?;
        Ok(meta)
    }

    /// Removes what was written.
    pub fn abort(self) -> Result<(), WriteError> {
        self.disk.remove_dir(&self.dir).map_err(|source| WriteError::Io { path: self.dir, source })
    }

    fn count(&mut self, chunk: &Chunk) {
        let samples = sample_count(chunk);
        self.stats.num_chunks += 1;
        self.stats.num_samples += samples;
        match chunk.encoding {
            ChunkEncoding::Xor | ChunkEncoding::Xor2 => self.stats.num_float_samples += samples,
            ChunkEncoding::Histogram | ChunkEncoding::FloatHistogram => self.stats.num_histogram_samples += samples,
        }
    }
}

/// All encodings begin with the count.
fn sample_count(chunk: &Chunk) -> u64 {
    chunk.data.first_chunk().map_or(0, |count| u64::from(u16::from_be_bytes(*count)))
}

fn check_chunk(
    labels: &Labels,
    chunk: &Chunk,
    previous_maxt: Option<TimestampMs>,
    range: TimeRange,
) -> Result<(), WriteError> {
    let (mint, maxt) = (chunk.mint, chunk.maxt);
    let labels = || labels.clone();
    if maxt < mint || previous_maxt.is_some_and(|previous| mint <= previous) {
        return Err(WriteError::ChunkOrder { labels: labels(), mint, maxt, previous_maxt });
    }
    if !range.contains(mint) || !range.contains(maxt) {
        return Err(WriteError::OutsideRange { labels: labels(), mint, maxt, range });
    }
    let bad = |damage| WriteError::Chunk { labels: labels(), mint, damage };
    if sample_count(chunk) == 0 {
        return Err(bad(Damage::Count));
    }
    if chunk.encoding == ChunkEncoding::Xor {
        // The first sample costs nothing to read and tells a chunk from anything else.
        let first = XorDecoder::new(&chunk.data).and_then(|mut decoder| decoder.next());
        let first = first.map_err(|error| bad(Damage::Chunk(error)))?;
        if first.map(|(t, _)| t) != Some(mint.0) {
            return Err(bad(Damage::ChunkTimes));
        }
    }
    Ok(())
}

fn meta_of(
    ulid: Ulid,
    range: TimeRange,
    stats: BlockStats,
    origin: Origin,
    files: Vec<ThanosFile>,
    index_stats: IndexStats,
) -> BlockMeta {
    let sources = if origin.sources.is_empty() { vec![ulid] } else { origin.sources };
    let compaction = Compaction {
        level: origin.level.max(1),
        sources,
        parents: origin.parents,
        hints: origin.hints,
        deletable: false,
        failed: false,
    };
    let thanos = ThanosMeta {
        version: META_VERSION,
        labels: origin.labels,
        downsample: Downsample { resolution: 0 },
        source: origin.source,
        files,
        index_stats: Some(index_stats),
        extensions: origin.extensions,
    };
    BlockMeta {
        ulid,
        min_time: range.mint.0,
        max_time: range.maxt.0,
        stats,
        compaction,
        version: META_VERSION,
        thanos: Some(thanos),
    }
}

#[cfg(test)]
mod tests;
