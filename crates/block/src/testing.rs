//! What the tests of several modules need: series made by a seed, blocks of them, and a naive answer to compare with.

mod promtool;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkenc::{XorDecoder, XorEncoder};
use model::{Labels, Matcher, SeriesId, TenantId, TimeRange, TimestampMs};
use storage::{Chunk, ChunkEncoding, SelectRequest, Series, Shard};
use ulid::Ulid;

use crate::source::MemoryBlock;
use crate::{
    Block, BlockFile, BlockMeta, LocalDirectory, Origin, ReadError, SymbolsBuilder, WriteError, Writer, WriterLimits,
};

pub(crate) type Samples = Vec<(i64, u64)>;

/// A series that was or will be written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) labels: Labels,
    pub(crate) chunks: Vec<Samples>,
}

/// Xorshift.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    pub(crate) fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len() as u64) as usize]
    }
}

pub(crate) const RANGE: TimeRange = TimeRange { mint: TimestampMs(0), maxt: TimestampMs(7_200_000) };
pub(crate) const ULID: Ulid = Ulid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

pub(crate) fn xor_chunk(samples: &[(i64, u64)]) -> Chunk {
    let mut encoder = XorEncoder::new();
    samples.iter().for_each(|(t, v)| encoder.append(*t, f64::from_bits(*v)));
    Chunk {
        encoding: ChunkEncoding::Xor,
        mint: TimestampMs(samples[0].0),
        maxt: TimestampMs(samples[samples.len() - 1].0),
        data: encoder.into_bytes().into(),
    }
}

pub(crate) fn samples_of(chunk: &Chunk) -> Samples {
    let mut decoder = XorDecoder::new(&chunk.data).unwrap();
    let mut samples = Vec::new();
    while let Some((t, v)) = decoder.next().unwrap() {
        samples.push((t, v.to_bits()));
    }
    samples
}

fn random_labels(random: &mut Random) -> Labels {
    let mut pairs = vec![
        ("__name__", random.pick(&["up", "requests_total", "x"]).to_owned()),
        ("instance", format!("host-{}:9{:03}", random.below(90), random.below(7))),
    ];
    if random.below(4) > 0 {
        pairs.push(("job", random.pick(&["a", "b", "ab", "node", "a\nb"]).to_owned()));
    }
    if random.below(3) == 0 {
        pairs.push(("zone ü", format!("z{}", random.below(4))));
    }
    Labels::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_str()))).unwrap()
}

/// `count` series, sorted, with some chunks each.
pub(crate) fn random_series(random: &mut Random, count: usize) -> Vec<Written> {
    let mut labels = BTreeSet::new();
    while labels.len() < count {
        labels.insert(random_labels(random));
    }
    let mut series = Vec::new();
    for labels in labels {
        let mut t = random.below(3_000_000) as i64;
        let mut chunks = Vec::new();
        for _ in 0..1 + random.below(4) {
            let mut samples = Vec::new();
            for _ in 0..1 + random.below(20) {
                t += 1 + random.below(40_000) as i64;
                samples.push((t, (random.below(1000) as f64 * 0.5).to_bits()));
            }
            chunks.push(samples);
        }
        series.push(Written { labels, chunks });
    }
    series
}

pub(crate) fn write(series: &[Written], dir: &Path, limits: WriterLimits) -> Result<BlockMeta, WriteError> {
    let mut symbols = SymbolsBuilder::new();
    series.iter().try_for_each(|s| symbols.add_labels(&s.labels))?;
    let mut writer = Writer::create(Arc::new(LocalDirectory), dir, ULID, RANGE, symbols.finish(), limits)?;
    for one in series {
        let chunks: Vec<Chunk> = one.chunks.iter().map(|samples| xor_chunk(samples)).collect();
        writer.add_series(&one.labels, &chunks)?;
    }
    writer.finish(Origin { source: "narthex".to_owned(), ..Origin::default() })
}

/// Writes a block and loads its files.
pub(crate) fn in_memory(series: &[Written], limits: WriterLimits) -> MemoryBlock {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(series, dir.path(), limits).unwrap();
    let block = dir.path().join(ULID.to_string());
    let segments = meta.thanos.unwrap().files.len() as u32 - 2;
    let names = [BlockFile::Meta, BlockFile::Index, BlockFile::Tombstones];
    let names = names.into_iter().chain((1..=segments).map(BlockFile::Segment));
    let read = |name: BlockFile| (name, Bytes::from(std::fs::read(block.join(name.to_string())).unwrap()));
    MemoryBlock(names.map(read).collect::<HashMap<_, _>>())
}

pub(crate) fn open(memory: &MemoryBlock) -> Result<Block, ReadError> {
    Block::open(Arc::new(memory.clone()))
}

pub(crate) fn request(matchers: Vec<Matcher>) -> SelectRequest {
    SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
        matchers,
        shard: Shard::ALL,
        with_chunks: true,
        series_max: usize::MAX,
    }
}

pub(crate) fn select(block: &Block, request: &SelectRequest) -> Result<Vec<Series>, ReadError> {
    let mut all = Vec::new();
    block.select(request, &mut |batch| {
        assert!(!batch.is_empty() && batch.len() <= 1024);
        all.extend(batch);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Id, labels and the samples of each chunk, as they are compared.
pub(crate) type Answer = Vec<(SeriesId, Labels, Vec<Samples>)>;

pub(crate) fn answer(series: &[Series]) -> Answer {
    let one = |s: &Series| (s.id, s.labels.clone(), s.chunks.iter().map(samples_of).collect());
    series.iter().map(one).collect()
}

/// The same by looking at everything.
pub(crate) fn naive(series: &[Written], request: &SelectRequest) -> Answer {
    let mut found = Vec::new();
    for one in series {
        let id = SeriesId::compute(&request.tenant, &one.labels, &mut Vec::new());
        let overlaps = |c: &&Samples| c[0].0 < request.range.maxt.0 && request.range.mint.0 <= c[c.len() - 1].0;
        let chunks: Vec<Samples> = one.chunks.iter().filter(overlaps).cloned().collect();
        let matches = request.matchers.iter().all(|m| m.matches_labels(&one.labels));
        if matches && !chunks.is_empty() && request.shard.contains(id) {
            found.push((id, one.labels.clone(), if request.with_chunks { chunks } else { Vec::new() }));
        }
    }
    found.sort_by_key(|(id, ..)| *id);
    found
}
