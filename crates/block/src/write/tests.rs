//! What a writer refuses, what it leaves on the disk, and in which order.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::SymbolsBuilder;
use crate::source::RangeRead;
use crate::testing::*;

/// A disk that keeps a journal and takes only so many bytes.
struct Journal {
    calls: Arc<Mutex<Vec<String>>>,
    room_bytes: Arc<AtomicU64>,
}

struct JournalFile {
    name: String,
    file: Box<dyn OutputFile>,
    calls: Arc<Mutex<Vec<String>>>,
    room_bytes: Arc<AtomicU64>,
}

impl Journal {
    fn new(room_bytes: u64) -> Journal {
        Journal { calls: Arc::default(), room_bytes: Arc::new(AtomicU64::new(room_bytes)) }
    }

    fn note(&self, call: &str, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.calls.lock().unwrap().push(format!("{call} {name}"));
    }
}

impl Directory for Journal {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        LocalDirectory.create_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        LocalDirectory.remove_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        self.note("create", path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = LocalDirectory.create(path)?;
        Ok(Box::new(JournalFile { name, file, calls: self.calls.clone(), room_bytes: self.room_bytes.clone() }))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn RangeRead>> {
        LocalDirectory.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note("rename to", to);
        LocalDirectory.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note("sync dir", path);
        LocalDirectory.sync_dir(path)
    }
}

impl OutputFile for JournalFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = bytes.len() as u64;
        let room = self.room_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(taken));
        room.map_err(|_| io::ErrorKind::StorageFull)?;
        self.file.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.calls.lock().unwrap().push(format!("sync {}", self.name));
        self.file.sync()
    }
}

fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split(',').map(|pair| pair.split_once('=').unwrap())).unwrap()
}

fn writer(disk: Arc<dyn Directory>, dir: &Path, series: &[&str]) -> Writer {
    let mut symbols = SymbolsBuilder::new();
    series.iter().for_each(|s| symbols.add_labels(&labels(s)).unwrap());
    Writer::create(disk, dir, ULID, RANGE, symbols.finish(), WriterLimits::default()).unwrap()
}

#[test]
fn everything_is_durable_before_the_block_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Journal::new(u64::MAX));
    let mut writer = writer(disk.clone(), dir.path(), &["a=1"]);
    writer.add_series(&labels("a=1"), &[xor_chunk(&[(1, 2)])]).unwrap();
    writer.finish(Origin::default()).unwrap();
    let parent = dir.path().file_name().unwrap().to_string_lossy().into_owned();
    let expected = [
        "create index",
        "create 000001",
        "sync 000001",
        "sync dir chunks",
        "sync index",
        "create tombstones",
        "sync tombstones",
        "create meta.json",
        "sync meta.json",
        &format!("sync dir {ULID}.tmp-for-creation"),
        &format!("rename to {ULID}"),
        &format!("sync dir {parent}"),
    ];
    assert_eq!(*disk.calls.lock().unwrap(), expected);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_block() {
    let series = random_series(&mut Random(3), 50);
    let mut symbols = SymbolsBuilder::new();
    series.iter().for_each(|s| symbols.add_labels(&s.labels).unwrap());
    let write = |room: u64, dir: &Path| -> Result<BlockMeta, WriteError> {
        let symbols = Symbols::from_sorted(symbols_of(&series).iter().map(String::as_str)).unwrap();
        let disk = Arc::new(Journal::new(room));
        let mut writer = Writer::create(disk, dir, ULID, RANGE, symbols, WriterLimits::default())?;
        for one in &series {
            writer.add_series(&one.labels, &one.chunks.iter().map(|c| xor_chunk(c)).collect::<Vec<_>>())?;
        }
        writer.finish(Origin::default())
    };
    let mut room = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        match write(room, dir.path()) {
            Ok(_) => break,
            Err(WriteError::Io { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
            Err(error) => panic!("{error}"),
        }
        assert!(!dir.path().join(ULID.to_string()).exists());
        room += 2000;
    }
    assert!(room > 10_000);
}

fn symbols_of(series: &[Written]) -> Vec<String> {
    let all = series.iter().flat_map(|s| s.labels.iter()).flat_map(|l| [l.name.to_owned(), l.value.to_owned()]);
    let sorted: std::collections::BTreeSet<String> = all.collect();
    sorted.into_iter().collect()
}

#[test]
fn what_cannot_be_in_a_block_is_refused_and_the_rest_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(Arc::new(LocalDirectory), dir.path(), &["a=1,b=2", "a=3"]);
    let good = || xor_chunk(&[(10, 1), (20, 2)]);
    let mut check = |series: &str, chunks: &[Chunk], expected: &str| {
        let outcome = writer.add_series(&labels(series), chunks).map_or_else(|e| e.to_string(), |()| "ok".to_owned());
        assert!(outcome.contains(expected), "{outcome} is not {expected}");
    };
    check("a=1", &[], "has no chunks");
    check("a=1", &[good(), good()], "after one that ends at Some(TimestampMs(20))");
    check("a=1", &[xor_chunk(&[(-1, 0)])], "outside of the block's range");
    check("a=1", &[xor_chunk(&[(7_200_000, 0)])], "outside of the block's range");
    check("a=1", &[Chunk { mint: TimestampMs(11), ..good() }], "ends before it begins");
    check("a=1", &[Chunk { data: vec![0].into(), ..good() }], "count does not fit");
    check("a=1", &[Chunk { data: vec![0, 1, 0].into(), ..good() }], "chunk ends within sample 0 of 1");
    check("a=1,c=2", &[good()], "has a label that is no symbol");
    check("a=1", &[good()], "ok");
    check("a=1", &[good()], "does not follow");
    check("a=1,b=2", &[good()], "ok");
    check("a=1", &[good()], "does not follow");
    check("a=3", &[good()], "ok");
    let meta = writer.finish(Origin::default()).unwrap();
    assert_eq!((meta.stats.num_series, meta.stats.num_chunks, meta.stats.num_samples), (3, 3, 6));
}

#[test]
fn an_empty_block_is_refused_and_an_abandoned_one_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let empty = writer(Arc::new(LocalDirectory), dir.path(), &["a=1"]);
    assert!(matches!(empty.finish(Origin::default()), Err(WriteError::NoSeries)));
    // The next attempt finds what is left of this one, and removes it.
    let again = writer(Arc::new(LocalDirectory), dir.path(), &["a=1"]);
    again.abort().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn meta_tells_what_prometheus_and_thanos_want_to_know() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(Arc::new(LocalDirectory), dir.path(), &["a=1"]);
    let histogram = Chunk {
        encoding: ChunkEncoding::Histogram,
        mint: TimestampMs(30),
        maxt: TimestampMs(40),
        data: vec![0, 3, 9].into(),
    };
    writer.add_series(&labels("a=1"), &[xor_chunk(&[(1, 2), (2, 2)]), histogram]).unwrap();
    let origin = Origin {
        labels: BTreeMap::from([("tenant_id".to_owned(), "anonymous".to_owned())]),
        source: "narthex".to_owned(),
        extensions: Some(serde_json::json!({"partition": "0/2"})),
        ..Origin::default()
    };
    let meta = writer.finish(origin).unwrap();
    let text = std::fs::read_to_string(dir.path().join(ULID.to_string()).join("meta.json")).unwrap();
    let index_bytes = std::fs::metadata(dir.path().join(ULID.to_string()).join("index")).unwrap().len();
    let expected = serde_json::json!({
        "ulid": "014D2PF2DBSQQG28T5CY4TQKFF", "minTime": 0, "maxTime": 7_200_000, "version": 1,
        "stats": {"numSamples": 5, "numFloatSamples": 2, "numHistogramSamples": 3, "numSeries": 1, "numChunks": 2},
        "compaction": {"level": 1, "sources": ["014D2PF2DBSQQG28T5CY4TQKFF"]},
        "thanos": {
            "version": 1, "labels": {"tenant_id": "anonymous"}, "downsample": {"resolution": 0}, "source": "narthex",
            "files": [
                {"rel_path": "chunks/000001", "size_bytes": 8 + 19 + 9},
                {"rel_path": "index", "size_bytes": index_bytes},
                {"rel_path": "meta.json"},
            ],
            "index_stats": {"series_max_size": 15, "chunk_max_size": 19},
            "extensions": {"partition": "0/2"},
        },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    assert_eq!(serde_json::from_str::<BlockMeta>(&text).unwrap(), meta);
}

/// The series of the block that Prometheus wrote for [`files_are_byte_for_byte_those_of_prometheus`].
fn series_of_the_oracle() -> Vec<Written> {
    let mut series = Vec::new();
    for i in 0..500i64 {
        let (instance, zone) = (format!("host-{}:9100", i * 7919 % 500), format!("z{}", i % 5));
        let name = ["a_total", "b", "c"][(i % 3) as usize];
        let mut pairs =
            vec![("__name__", name), ("instance", &instance), ("job", ["x", "y", "ö"][(i % 7 % 3) as usize])];
        if i % 4 == 0 {
            pairs.push(("zone", &zone));
        }
        let sample = |k, n| (1000 + i + k * 2_000_000 + n * 15_000, ((i * n) as f64 * 0.5).to_bits());
        let chunks = (0..1 + i % 3).map(|k| (0..1 + (i + k) % 50).map(|n| sample(k, n)).collect()).collect();
        series.push(Written { labels: Labels::from_pairs(pairs).unwrap(), chunks });
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

/// Lengths and CRC32C of the files that `index.Writer` and `chunks.Writer` of Prometheus 3.14.0 made of the same series.
#[test]
fn files_are_byte_for_byte_those_of_prometheus() {
    let memory = in_memory(&series_of_the_oracle(), WriterLimits::default());
    let sum = |file| (memory.0[&file].len(), crc32c::crc32c(&memory.0[&file]));
    assert_eq!(sum(BlockFile::Segment(1)), (75_653, 0x6354_f538));
    assert_eq!(sum(BlockFile::Index), (55_458, 0x2922_b55a));
}
