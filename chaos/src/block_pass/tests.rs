//! Blocks that are written here, right or with one sample wrong.

use block::{LocalDirectory, Origin, SymbolsBuilder, Writer, WriterLimits};
use bytes::Bytes;
use chunkenc::XorEncoder;
use model::Labels;
use storage::Chunk;

use super::*;
use crate::plan::PLAN_FILE;
use crate::plan::tests::plan;
use crate::record::{Outcome, Record, Recorder};

/// Numbers of a series, in order of time.
const NUMBERS: u64 = 40;

type Samples = Vec<(i64, f64)>;

fn write_block(bucket: &Path, ulid: u128, range: (i64, i64), series: &[(Labels, Samples)]) -> String {
    let mut symbols = SymbolsBuilder::new();
    series.iter().for_each(|(labels, _)| symbols.add_labels(labels).unwrap());
    let ulid = ulid::Ulid(ulid);
    let range = TimeRange::new(TimestampMs(range.0), TimestampMs(range.1));
    let directory = Arc::new(LocalDirectory);
    let mut writer = Writer::create(directory, bucket, ulid, range, symbols.finish(), WriterLimits::default()).unwrap();
    for (labels, samples) in series {
        let chunks: Vec<Chunk> = samples.chunks(10).map(chunk).collect();
        writer.add_series(labels, &chunks).unwrap();
    }
    writer.finish(Origin { source: "test".to_owned(), ..Origin::default() }).unwrap();
    ulid.to_string()
}

fn chunk(samples: &[(i64, f64)]) -> Chunk {
    let mut encoder = XorEncoder::new();
    samples.iter().for_each(|(at, value)| encoder.append(*at, *value));
    let (mint, maxt) = (TimestampMs(samples[0].0), TimestampMs(samples[samples.len() - 1].0));
    Chunk { encoding: ChunkEncoding::Xor, mint, maxt, data: Bytes::from(encoder.into_bytes()) }
}

fn write_manifest(bucket: &Path, group: u32, range: (i64, i64), blocks: &[String]) {
    let folder = bucket.join(format!("closed/c/{group}"));
    std::fs::create_dir_all(&folder).unwrap();
    let blocks: Vec<_> =
        blocks.iter().map(|ulid| serde_json::json!({ "ulid": ulid, "tenant": "x", "bytes": 1 })).collect();
    let manifest = serde_json::json!({ "group": group, "start": range.0, "end": range.1, "blocks": blocks });
    std::fs::write(folder.join(format!("{}.json", range.0)), manifest.to_string()).unwrap();
}

/// A ledger whose samples are all acknowledged, half of them before `middle`, and a bucket with a block for each half.
struct Setting {
    ledger: tempfile::TempDir,
    bucket: tempfile::TempDir,
    first: (i64, i64),
    second: (i64, i64),
}

impl Setting {
    fn new(change: impl Fn(&mut Samples)) -> Setting {
        let plan = plan();
        let (ledger, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(ledger.path().join(PLAN_FILE), serde_json::to_vec(&plan).unwrap()).unwrap();
        for connection in 0..plan.connections {
            let (mut recorder, _) = Recorder::open(ledger.path(), connection).unwrap();
            for request in 0..NUMBERS / plan.samples {
                recorder.append(&Record { outcome: Outcome::Acked, attempts: 1, request, at_ms: 5 }).unwrap();
            }
        }
        let middle = plan.base_ms + plan.step_ms * NUMBERS as i64 / 2;
        let (first, second) = ((plan.base_ms, middle), (middle, middle + 3_600_000));
        let mut halves = [Vec::new(), Vec::new()];
        for key in plan.series_of(0).chain(plan.series_of(1)) {
            let pairs = plan.labels(key);
            let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
            let mut samples: Samples =
                (0..NUMBERS).map(|number| (plan.time_of(key, number), plan.value_of(key, number))).collect();
            if key.connection == 1 && key.index == 1 {
                change(&mut samples);
            }
            for (half, range) in halves.iter_mut().zip([first, second]) {
                let within = samples.iter().copied().filter(|(at, _)| (range.0..range.1).contains(at)).collect();
                half.push((labels.clone(), within));
            }
        }
        for (number, (half, range)) in halves.iter_mut().zip([first, second]).enumerate() {
            half.sort_by(|a, b| a.0.cmp(&b.0));
            write_block(bucket.path(), number as u128 + 1, range, half);
        }
        Setting { ledger, bucket, first, second }
    }

    fn pass(&self) -> Summary {
        by_blocks(self.ledger.path(), self.bucket.path()).unwrap()
    }
}

fn block_names(setting: &Setting) -> Vec<String> {
    let blocks = blocks_of(setting.bucket.path()).unwrap();
    blocks.keys().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn check(change: impl Fn(&mut Samples), expected: [u64; 4]) {
    let summary = Setting::new(change).pass();
    let counts = [summary.lost, summary.duplicated, summary.altered, summary.phantom];
    assert_eq!(counts, expected, "{summary:?}");
    assert_eq!(summary.acked, 6 * NUMBERS);
}

fn remove(all: &mut Samples, index: usize) {
    all.remove(index);
}

#[test]
fn one_sample_that_is_wrong_in_a_block_is_found() {
    check(|_| (), [0; 4]);
    check(|all| remove(all, 7), [1, 0, 0, 0]);
    check(|all| all.insert(8, (all[7].0 + 1, all[7].1)), [0, 1, 0, 0]);
    check(|all| all[7].1 += 0.5, [0, 0, 1, 0]);
    check(|all| all.insert(8, (all[7].0 + 1, 0.5)), [0, 0, 0, 1]);
}

#[test]
fn a_range_counts_where_all_groups_have_closed_it() {
    let setting = Setting::new(|_| ());
    let (names, bucket) = (block_names(&setting), setting.bucket.path());
    // Group 1 holds all samples, group 2 none; 2 has not closed the second half yet.
    write_manifest(bucket, 1, setting.first, &names[..1]);
    write_manifest(bucket, 1, setting.second, &names[1..]);
    write_manifest(bucket, 2, setting.first, &[]);
    let summary = setting.pass();
    assert_eq!((summary.acked, summary.found, summary.is_violated()), (3 * NUMBERS, 3 * NUMBERS, false), "{summary:?}");

    write_manifest(bucket, 2, setting.second, &[]);
    assert_eq!(setting.pass().found, 6 * NUMBERS);

    // A manifest that names no block says that there is nothing.
    write_manifest(bucket, 1, setting.second, &[]);
    let summary = setting.pass();
    assert_eq!((summary.found, summary.lost), (3 * NUMBERS, 3 * NUMBERS), "{summary:?}");
}

#[test]
fn a_sample_in_two_blocks_is_there_twice() {
    let setting = Setting::new(|_| ());
    let names = block_names(&setting);
    let (from, to) = (setting.bucket.path().join(&names[0]), setting.bucket.path().join("copy"));
    std::fs::create_dir_all(to.join("chunks")).unwrap();
    for file in ["index", "meta.json", "tombstones", "chunks/000001"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let summary = setting.pass();
    assert_eq!((summary.found, summary.duplicated), (6 * NUMBERS, 3 * NUMBERS), "{summary:?}");
}

#[test]
fn a_block_that_a_manifest_names_and_that_is_not_there_is_an_error() {
    let setting = Setting::new(|_| ());
    write_manifest(setting.bucket.path(), 1, setting.first, &["01ARZ3NDEKTSV4RRFFQ69G5FAV".to_string()]);
    let error = by_blocks(setting.ledger.path(), setting.bucket.path()).unwrap_err();
    assert!(error.to_string().contains("is in a manifest and not in the bucket"), "{error:#}");
}
