//! Blocks that our writer made, read again: everything, by matchers, deleted parts, and damaged.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use model::{Labels, MatchOp, Matcher, TimeRange, TimestampMs};
use proptest::prelude::*;
use storage::{Series, Shard};

use crate::fuzzing::{fuzz_index_and_chunks, fuzz_meta};
use crate::source::MemoryBlock;
use crate::testing::*;
use crate::tombstones::{self, Interval};
use crate::*;

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

/// Values and patterns of every kind: empty, literal, alternatives, prefixes, those that match the empty text.
const VALUES: [&str; 18] = [
    "",
    "up",
    "x",
    "a",
    "b",
    "z1",
    "nothing",
    "host-7:9003",
    ".*",
    ".+",
    "a|b",
    "a|",
    "up|x|",
    "a.*",
    "host-1.*",
    "[ab]+",
    "z[0-2]",
    "host-(3|4.*):9001",
];

fn random_matchers(random: &mut Random) -> Vec<Matcher> {
    let names = ["__name__", "instance", "job", "zone ü", "absent", ""];
    let one = |random: &mut Random| {
        let op = OPS[random.below(4) as usize];
        matcher(random.pick(&names), op, random.pick(&VALUES))
    };
    (0..random.below(4)).map(|_| one(random)).collect()
}

#[test]
fn what_was_written_is_read_sorted_by_id() {
    for (count, seed) in [(1, 3), (40, 5), (1024, 7), (1025, 9), (2600, 11)] {
        let series = random_series(&mut Random(seed), count);
        let block = open(&in_memory(&series, WriterLimits::default())).unwrap();
        assert_eq!(block.meta().stats.num_series, count as u64);
        let request = request(vec![]);
        assert_eq!(answer(&select(&block, &request).unwrap()), naive(&series, &request), "{count} series");
    }
}

#[test]
fn small_limits_give_the_same_block_in_more_files_and_passes() {
    let series = random_series(&mut Random(21), 300);
    let whole = in_memory(&series, WriterLimits::default());
    let pieces = in_memory(&series, WriterLimits { segment_bytes_max: 4000, postings_per_pass: 1 });
    assert!(pieces.0.len() > whole.0.len() + 5);
    let segment = |n| pieces.0.get(&BlockFile::Segment(n)).map(Bytes::len);
    assert!((1..).map_while(segment).all(|bytes| bytes <= 4000));
    let all = request(vec![]);
    assert_eq!(answer(&select(&open(&pieces).unwrap(), &all).unwrap()), naive(&series, &all));
    let one_pass = in_memory(&series, WriterLimits { postings_per_pass: 1, ..WriterLimits::default() });
    assert_eq!(one_pass.0[&BlockFile::Index], whole.0[&BlockFile::Index]);
}

#[test]
fn matchers_ranges_and_shards_select_what_a_naive_filter_selects() {
    let mut random = Random(31);
    for count in [30, 1500] {
        let series = random_series(&mut random, count);
        let block = open(&in_memory(&series, WriterLimits::default())).unwrap();
        for _ in 0..400 {
            let mut request = request(random_matchers(&mut random));
            if random.below(2) == 0 {
                let mint = random.below(4_000_000) as i64;
                request.range = TimeRange::new(TimestampMs(mint), TimestampMs(mint + random.below(900_000) as i64));
            }
            if random.below(2) == 0 {
                request.shard = Shard { index: random.below(4) as u32, count: 4 };
            }
            request.with_chunks = random.below(4) > 0;
            let selected = select(&block, &request).unwrap();
            assert_eq!(answer(&selected), naive(&series, &request), "{:?}", request.matchers);
        }
    }
}

/// Every single matcher there can be from the lists, as the property above may miss one.
#[test]
fn each_matcher_selects_what_a_naive_filter_selects() {
    let series = random_series(&mut Random(33), 400);
    let block = open(&in_memory(&series, WriterLimits::default())).unwrap();
    for name in ["__name__", "instance", "job", "zone ü", "absent", ""] {
        for (op, value) in OPS.iter().flat_map(|op| VALUES.map(|value| (*op, value))) {
            let matchers = vec![matcher(name, op, value)];
            let expected: Vec<&Labels> =
                series.iter().map(|s| &s.labels).filter(|l| matchers[0].matches_labels(l)).collect();
            let found = block.postings(&matchers).unwrap();
            let labels: Vec<Labels> = found.iter().map(|s| block.series(*s).unwrap().0).collect();
            assert_eq!(labels.iter().collect::<Vec<_>>(), expected, "{name}{op}{value}");
        }
    }
}

#[test]
fn names_and_values_are_those_of_the_series_that_match() {
    let mut random = Random(41);
    let series = random_series(&mut random, 700);
    let block = open(&in_memory(&series, WriterLimits::default())).unwrap();
    for i in 0..150 {
        let sets: Vec<Vec<Matcher>> = (0..i % 3).map(|_| random_matchers(&mut random)).collect();
        let in_a_set = |s: &&Written| sets.iter().any(|set| set.iter().all(|m| m.matches_labels(&s.labels)));
        let matching = || series.iter().filter(|s| sets.is_empty() || in_a_set(s));
        let names: BTreeSet<&str> = matching().flat_map(|s| s.labels.iter().map(|l| l.name)).collect();
        assert_eq!(block.label_names(&sets).unwrap(), names.into_iter().collect::<Vec<_>>(), "{sets:?}");
        for name in ["__name__", "instance", "job", "absent", ""] {
            let values: BTreeSet<&str> = matching().filter_map(|s| s.labels.get(name)).collect();
            let values: Vec<&str> = values.into_iter().collect();
            assert_eq!(block.label_values(name, &sets).unwrap(), values, "{name} {sets:?}");
        }
    }
}

#[test]
fn an_answer_ends_when_the_caller_breaks_or_too_many_match() {
    let series = random_series(&mut Random(51), 2100);
    let block = open(&in_memory(&series, WriterLimits::default())).unwrap();
    let mut batches = 0;
    let mut give = |batch: Vec<Series>| {
        batches += 1;
        assert_eq!(batch.len(), 1024);
        ControlFlow::Break(())
    };
    block.select(&request(vec![]), &mut give).unwrap();
    assert_eq!(batches, 1);
    let mut limited = request(vec![]);
    limited.series_max = 2099;
    assert!(matches!(select(&block, &limited), Err(ReadError::TooManySeries { limit: 2099 })));
    limited.series_max = 2100;
    assert_eq!(select(&block, &limited).unwrap().len(), 2100);
}

/// Counts the bytes that are read.
struct Counting {
    block: MemoryBlock,
    read_bytes: Arc<AtomicU64>,
}

struct CountingFile {
    file: Arc<dyn RangeRead>,
    read_bytes: Arc<AtomicU64>,
}

impl BlockSource for Counting {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        Ok(Arc::new(CountingFile { file: self.block.open(file)?, read_bytes: self.read_bytes.clone() }))
    }
}

impl RangeRead for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.read_bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.file.read(offset, len)
    }
}

#[test]
fn reads_are_proportional_to_what_is_asked() {
    let series = random_series(&mut Random(55), 2600);
    let source = Counting { block: in_memory(&series, WriterLimits::default()), read_bytes: Arc::default() };
    let read_bytes = source.read_bytes.clone();
    let whole: usize = source.block.0.values().map(Bytes::len).sum();
    let block = Block::open(Arc::new(source)).unwrap();
    let opening = read_bytes.swap(0, Ordering::Relaxed);
    let one = &series[1300].labels;
    let matchers = one.iter().map(|l| Matcher::equal(l.name, l.value)).collect();
    assert_eq!(select(&block, &request(matchers)).unwrap().len(), 1);
    let asking = read_bytes.load(Ordering::Relaxed);
    assert!(opening < 60_000 && asking < 20_000 && whole > 450_000, "{opening} and {asking} of {whole}");
}

/// Readers on several threads share a block.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Block>();
};

#[test]
fn deleted_samples_are_left_out() {
    let mut random = Random(61);
    let series = random_series(&mut random, 200);
    let mut memory = in_memory(&series, WriterLimits::default());
    let block = open(&memory).unwrap();
    let all = block.postings(&[]).unwrap();
    let mut stones = Vec::new();
    let mut left = series.clone();
    for (series, one) in all.iter().zip(&mut left) {
        for _ in 0..random.below(4) {
            let mint = random.below(4_000_000) as i64;
            let interval = Interval { mint, maxt: mint + random.below(800_000) as i64 };
            stones.push((*series, interval));
            one.chunks.iter_mut().for_each(|c| c.retain(|(t, _)| !interval.contains(*t)));
        }
        one.chunks.retain(|chunk| !chunk.is_empty());
    }
    left.retain(|one| !one.chunks.is_empty());
    let samples = |s: &[Written]| s.iter().flat_map(|s| &s.chunks).map(Vec::len).sum::<usize>();
    assert!(samples(&left) * 10 < samples(&series) * 9, "much was deleted");
    memory.0.insert(BlockFile::Tombstones, tombstones::encode(&stones).into());
    let block = open(&memory).unwrap();
    let request = request(vec![]);
    assert_eq!(answer(&select(&block, &request).unwrap()), naive(&left, &request));
}

#[test]
fn a_block_without_tombstones_is_whole() {
    let series = random_series(&mut Random(63), 5);
    let mut memory = in_memory(&series, WriterLimits::default());
    memory.0.remove(&BlockFile::Tombstones);
    assert!(open(&memory).unwrap().tombstones().is_empty());
}

/// Changes the encoding of the first chunk and seals it again.
fn with_encoding(memory: &MemoryBlock, encoding: u8) -> MemoryBlock {
    let mut memory = memory.clone();
    let segment = memory.0.get_mut(&BlockFile::Segment(1)).unwrap();
    let mut bytes = segment.to_vec();
    let len = usize::from(bytes[8]);
    assert!(len < 0x80, "the length takes one byte");
    bytes[9] = encoding;
    let crc = crc32c::crc32c(&bytes[9..10 + len]);
    bytes[10 + len..14 + len].copy_from_slice(&crc.to_be_bytes());
    *segment = bytes.into();
    memory
}

#[test]
fn histograms_are_given_as_they_are_and_unknown_encodings_are_errors() {
    let series = [Written { labels: Labels::from_pairs([("a", "b")]).unwrap(), chunks: vec![vec![(5, 6), (7, 8)]] }];
    let memory = in_memory(&series, WriterLimits::default());
    let data = xor_chunk(&series[0].chunks[0]).data;
    for (number, encoding) in [(2, storage::ChunkEncoding::Histogram), (3, storage::ChunkEncoding::FloatHistogram)] {
        let mut changed = with_encoding(&memory, number);
        let found = select(&open(&changed).unwrap(), &request(vec![])).unwrap();
        assert_eq!((found[0].chunks[0].encoding, &found[0].chunks[0].data), (encoding, &data));
        // Deleted as a whole it is gone; in part it cannot be given.
        let series = open(&changed).unwrap().postings(&[]).unwrap()[0];
        let mut delete = |mint, maxt| {
            let stones = tombstones::encode(&[(series, Interval { mint, maxt })]);
            changed.0.insert(BlockFile::Tombstones, stones.into());
            select(&open(&changed).unwrap(), &request(vec![]))
        };
        assert!(delete(5, 7).unwrap().is_empty());
        assert!(matches!(
            delete(6, 7),
            Err(ReadError::PartlyDeletedHistogram { file: BlockFile::Segment(1), offset: 8 })
        ));
    }
    let found = select(&open(&with_encoding(&memory, 4)).unwrap(), &request(vec![])).unwrap();
    assert_eq!((found[0].chunks[0].encoding, &found[0].chunks[0].data), (storage::ChunkEncoding::Xor2, &data));
    for encoding in [0, 5, 255] {
        let found = select(&open(&with_encoding(&memory, encoding)).unwrap(), &request(vec![]));
        let expected = matches!(found, Err(ReadError::UnknownEncoding { file: BlockFile::Segment(1), offset: 8, encoding: e }) if e == encoding);
        assert!(expected, "{found:?}");
    }
}

#[test]
fn missing_files_and_other_versions_are_told() {
    let series = random_series(&mut Random(65), 5);
    let memory = in_memory(&series, WriterLimits::default());
    let without = |file| {
        let mut memory = memory.clone();
        memory.0.remove(&file);
        open(&memory).and_then(|block| select(&block, &request(vec![]))).map(|_| ())
    };
    for missing in [BlockFile::Meta, BlockFile::Index, BlockFile::Segment(1)] {
        let error = without(missing).unwrap_err();
        assert!(matches!(error, ReadError::Io { file, .. } if file == missing), "{error}");
    }
    let with_version = |file: BlockFile, version: u8| {
        let mut memory = memory.clone();
        let bytes = memory.0.get_mut(&file).unwrap();
        let mut changed = bytes.to_vec();
        changed[4] = version;
        *bytes = changed.into();
        open(&memory).and_then(|block| select(&block, &request(vec![]))).map(|found| found.len())
    };
    assert_eq!(with_version(BlockFile::Index, 3).unwrap(), 5);
    for file in [BlockFile::Index, BlockFile::Segment(1), BlockFile::Tombstones] {
        let error = with_version(file, 9).unwrap_err();
        assert!(matches!(error, ReadError::UnknownVersion { file: f, version: 9 } if f == file), "{error}");
    }
}

/// Everything a block can be asked, as one value: every list of postings is read.
fn everything(block: &Block) -> Result<(Answer, Vec<String>, Vec<Vec<SeriesRef>>), ReadError> {
    let up = [vec![Matcher::equal("__name__", "up"), matcher("job", MatchOp::Regex, "a.*")]];
    let mut texts = block.label_names(&up)?;
    let mut lists = vec![block.postings(&up[0])?];
    for name in block.label_names(&[])? {
        for value in block.label_values(&name, &[])? {
            lists.push(block.postings(&[Matcher::equal(&name, &value)])?);
            texts.push(value);
        }
        texts.extend(block.label_values(&name, &up)?);
        texts.push(name);
    }
    Ok((answer(&select(block, &request(vec![]))?), texts, lists))
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let series = random_series(&mut Random(71), 60);
    let memory = in_memory(&series, WriterLimits { segment_bytes_max: 6000, ..WriterLimits::default() });
    let expected = everything(&open(&memory).unwrap()).unwrap();
    let mut random = Random(73);
    let (mut refused, mut unharmed) = (0, 0);
    for file in [BlockFile::Index, BlockFile::Segment(1), BlockFile::Segment(2), BlockFile::Tombstones] {
        let len = memory.0[&file].len() as u64;
        for _ in 0..if file == BlockFile::Index { 750 } else { 150 } {
            let mut damaged = memory.clone();
            let mut bytes = damaged.0[&file].to_vec();
            let at = random.below(len) as usize;
            let before = bytes[at];
            bytes[at] ^= 1 << random.below(8);
            damaged.0.insert(file, bytes.into());
            match open(&damaged).and_then(|block| everything(&block)) {
                Ok(answer) => {
                    assert_eq!(answer, expected, "{file}");
                    assert_eq!(before, 0, "{file} at {at}: only padding may change unseen");
                    unharmed += 1;
                }
                Err(ReadError::Corrupt { file: f, .. } | ReadError::UnknownVersion { file: f, .. }) => {
                    assert_eq!(f, file);
                    refused += 1;
                }
                Err(error) => panic!("{file}: {error}"),
            }
        }
    }
    // A fifth of such a small index is padding.
    assert!(refused > 800 && refused + unharmed == 1200, "{refused} refused, {unharmed} unharmed");
}

#[test]
fn a_cut_file_is_an_error() {
    let series = random_series(&mut Random(75), 30);
    let memory = in_memory(&series, WriterLimits::default());
    for file in [BlockFile::Meta, BlockFile::Index, BlockFile::Segment(1), BlockFile::Tombstones] {
        let len = memory.0[&file].len();
        for cut in (0..len).step_by((len / 150).max(1)) {
            let mut damaged = memory.clone();
            damaged.0.insert(file, memory.0[&file].slice(..cut));
            assert!(open(&damaged).and_then(|block| everything(&block)).is_err(), "{file} cut at {cut}");
        }
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let series = random_series(&mut Random(81), 12);
    let memory = in_memory(&series, WriterLimits::default());
    let mut random = Random(83);
    let mutate = |file: BlockFile, random: &mut Random| {
        let mut bytes = memory.0[&file].to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = match random.below(3) {
                0 => random.below(256) as u8,
                1 => bytes[at] ^ 1 << random.below(8),
                _ => [0, 0x7f, 0x80, 0xff][random.below(4) as usize],
            };
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
        }
        bytes
    };
    for _ in 0..1500 {
        let index = mutate(BlockFile::Index, &mut random);
        let segment = mutate(BlockFile::Segment(1), &mut random);
        let stones = mutate(BlockFile::Tombstones, &mut random);
        fuzz_index_and_chunks(&index, &segment, &stones);
        fuzz_meta(&mutate(BlockFile::Meta, &mut random));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_series_survive(seed in 1u64.., count in 1usize..80, segment_bytes_max in 200u32..20_000, postings_per_pass in 0usize..400) {
        let series = random_series(&mut Random(seed), count);
        let block = open(&in_memory(&series, WriterLimits { segment_bytes_max, postings_per_pass })).unwrap();
        let request = request(random_matchers(&mut Random(seed ^ 1)));
        prop_assert_eq!(answer(&select(&block, &request).unwrap()), naive(&series, &request));
    }
}
