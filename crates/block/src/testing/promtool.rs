//! promtool reads blocks that we wrote, and we read a block that it made.
//!
//! promtool is named by the environment variable `NARTHEX_PROMTOOL`; without it the tests say that they skip.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::{Block, LocalBlock, LocalDirectory, Origin, SymbolsBuilder, Writer, WriterLimits};
use chunkenc::{XorEncoder, decode_xor};
use model::{Labels, TenantId, TimeRange, TimestampMs, stale_nan};
use storage::{Chunk, ChunkEncoding, SelectRequest, Shard};
use ulid::Ulid;

/// Samples by series, values as bits.
type Samples = BTreeMap<Labels, Vec<(i64, u64)>>;

const START_MS: i64 = 1_699_999_200_000;
const HOURS_2_MS: i64 = 7_200_000;

#[expect(clippy::disallowed_methods, reason = "names the tool to compare with")]
fn promtool() -> Option<PathBuf> {
    let path = std::env::var("NARTHEX_PROMTOOL").ok().map(PathBuf::from);
    if path.is_none() {
        println!("skipped: NARTHEX_PROMTOOL does not name a promtool");
    }
    path
}

fn run(promtool: &Path, arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(promtool).args(arguments).current_dir(dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// 400 series of 20 to 480 samples, with the values and labels that are hard to print, write or sort.
fn samples() -> Samples {
    let mut all = Samples::new();
    for i in 0..400i64 {
        let instance = format!("host-{i:03}:9100");
        let job = ["node", "a b", "ä\"\\\n", "x"][(i % 4) as usize];
        let mut pairs = vec![("__name__", "m"), ("instance", instance.as_str()), ("job", job)];
        if i % 3 == 0 {
            pairs.push(("only_some", "yes"));
        }
        let sample = |k: i64| {
            let t = START_MS + i + k * 15_000;
            let value = match i % 5 {
                0 => k as f64,
                1 => 1.0 / (k + 1) as f64,
                2 if k % 7 == 6 => stale_nan(),
                2 => -1e300,
                3 => [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0][(k % 4) as usize],
                _ => 42.0,
            };
            (t, value.to_bits())
        };
        all.insert(Labels::from_pairs(pairs).unwrap(), (0..20 + i * 460 / 399).map(sample).collect());
    }
    all
}

fn chunk(samples: &[(i64, u64)]) -> Chunk {
    let mut encoder = XorEncoder::new();
    samples.iter().for_each(|(t, v)| encoder.append(*t, f64::from_bits(*v)));
    let (mint, maxt) = (TimestampMs(samples[0].0), TimestampMs(samples[samples.len() - 1].0));
    Chunk { encoding: ChunkEncoding::Xor, mint, maxt, data: encoder.into_bytes().into() }
}

fn write_block(dir: &Path, samples: &Samples) -> Ulid {
    let ulid = Ulid::from_string("01HF7YAT00AAAAAAAAAAAAAAAA").unwrap();
    let mut symbols = SymbolsBuilder::new();
    samples.keys().for_each(|labels| symbols.add_labels(labels).unwrap());
    let range = TimeRange::new(TimestampMs(START_MS), TimestampMs(START_MS + HOURS_2_MS));
    let limits = WriterLimits { segment_bytes_max: 40_000, ..WriterLimits::default() };
    let mut writer = Writer::create(Arc::new(LocalDirectory), dir, ulid, range, symbols.finish(), limits).unwrap();
    for (labels, samples) in samples {
        let chunks: Vec<Chunk> = samples.chunks(120).map(chunk).collect();
        writer.add_series(labels, &chunks).unwrap();
    }
    let labels = BTreeMap::from([("tenant_id".to_owned(), "anonymous".to_owned())]);
    writer.finish(Origin { labels, source: "narthex".to_owned(), ..Origin::default() }).unwrap();
    ulid
}

/// What `promtool tsdb dump` prints: labels, value, timestamp.
fn parse_dump(text: &str) -> BTreeMap<String, Vec<(i64, u64)>> {
    let mut all: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
    for line in text.lines() {
        let (rest, timestamp) = line.rsplit_once(' ').unwrap();
        let (labels, value) = rest.rsplit_once(' ').unwrap();
        let value = match value {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            // Go prints every NaN alike.
            "NaN" => f64::NAN,
            number => number.parse().unwrap(),
        };
        all.entry(labels.to_owned()).or_default().push((timestamp.parse().unwrap(), value.to_bits()));
    }
    all
}

/// The same of what was written.
fn printed(samples: &Samples) -> BTreeMap<String, Vec<(i64, u64)>> {
    let value = |bits: u64| if f64::from_bits(bits).is_nan() { f64::NAN.to_bits() } else { bits };
    let one = |(labels, samples): (&Labels, &Vec<(i64, u64)>)| {
        (labels.to_string(), samples.iter().map(|(t, v)| (*t, value(*v))).collect())
    };
    samples.iter().map(one).collect()
}

fn read_block(dir: &Path) -> Samples {
    let block = Block::open(Arc::new(LocalBlock::new(dir))).unwrap();
    let request = SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
        matchers: vec![],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: usize::MAX,
    };
    let mut all = Samples::new();
    block
        .select(&request, &mut |batch| {
            for series in batch {
                let (mut timestamps, mut values) = (Vec::new(), Vec::new());
                for chunk in &series.chunks {
                    decode_xor(&chunk.data, &mut timestamps, &mut values).unwrap();
                }
                let samples = timestamps.into_iter().zip(values.into_iter().map(f64::to_bits)).collect();
                all.insert(series.labels, samples);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

#[test]
fn promtool_reads_what_we_wrote() {
    let Some(promtool) = promtool() else { return };
    let dir = tempfile::tempdir().unwrap();
    let samples = samples();
    let ulid = write_block(dir.path(), &samples);
    assert_eq!(read_block(&dir.path().join(ulid.to_string())), samples);

    let list = run(&promtool, &["tsdb", "list", "."], dir.path());
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    let sample_count: usize = samples.values().map(Vec::len).sum();
    let chunk_count: usize = samples.values().map(|s| s.len().div_ceil(120)).sum();
    let counts = [sample_count, chunk_count, samples.len()].map(|n| n.to_string());
    assert_eq!((row[0], &row[4..7]), (ulid.to_string().as_str(), &counts.each_ref().map(String::as_str)[..]));

    let analysis = run(&promtool, &["tsdb", "analyze", "."], dir.path());
    assert!(analysis.contains("Series: 400") && analysis.contains("Label names: 4"), "{analysis}");
    assert!(analysis.contains("Postings (unique label pairs): 406"), "{analysis}");

    // promtool 2.42 opens no database without a log.
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let dump = run(&promtool, &["tsdb", "dump", "."], dir.path());
    assert_eq!(parse_dump(&dump), printed(&samples));
    let some = run(
        &promtool,
        &["tsdb", "dump", "--match", r#"m{job=~"n.*",only_some!="",instance!~".*3:.*"}"#, "."],
        dir.path(),
    );
    let mut expected = printed(&samples);
    expected.retain(|labels, _| labels.contains(r#"job="node", only_some"#) && !labels.contains("3:9100"));
    assert_eq!(parse_dump(&some), expected);
}

#[test]
fn we_read_what_promtool_wrote() {
    let Some(promtool) = promtool() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut samples = samples();
    let mut text = String::new();
    for (labels, samples) in &mut samples {
        // OpenMetrics has seconds; what it cannot print (NaN's bits) is left out.
        samples.retain(|(_, v)| !f64::from_bits(*v).is_nan());
        let labels = labels.without_metric_name().to_string().replace(", ", ",");
        for (t, v) in samples.iter() {
            writeln!(text, "m{labels} {:?} {}.{:03}", f64::from_bits(*v), t / 1000, t % 1000).unwrap();
        }
    }
    text.push_str("# EOF\n");
    let text = text.replace(" inf ", " +Inf ").replace(" -inf ", " -Inf ");
    std::fs::write(dir.path().join("in.om"), text).unwrap();
    run(&promtool, &["tsdb", "create-blocks-from", "openmetrics", "in.om", "out"], dir.path());
    let mut read = Samples::new();
    for entry in std::fs::read_dir(dir.path().join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("meta.json").exists() {
            for (labels, samples) in read_block(&path) {
                read.entry(labels).or_default().extend(samples);
            }
        }
    }
    read.values_mut().for_each(|samples| samples.sort_unstable());
    assert_eq!(read.len(), samples.len());
    assert_eq!(read, samples);
}
