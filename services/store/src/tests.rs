//! A store over a bucket of blocks, beside those blocks read directly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use block::{Block, LocalBlock, LocalDirectory, Origin, SymbolsBuilder, WriterLimits};
use bucket::{Bucket, Manifest, ManifestBlock};
use chunkenc::XorEncoder;
use cluster::GroupId;
use futures::StreamExt;
use model::{Labels, Matcher, SeriesId, TenantId, TimeRange, TimestampMs};
use peer::{LabelQuestion, Store, StoreSelected};
use storage::{Chunk, ChunkEncoding, LabelQuery, Merge, SelectError, SelectRequest, Series, SeriesBatch, Shard};
use ulid::Ulid;

use crate::{BlockStore, Config, Limits, Metrics};

const HOURS_2: i64 = 7_200_000;
const CLUSTER: &str = "00000000000000000000000000000007";

struct Place {
    folder: tempfile::TempDir,
    bucket: Bucket,
}

/// What a block is to say of itself.
#[derive(Default)]
struct Cut {
    start: i64,
    level: u32,
    sources: Vec<Ulid>,
    cluster: &'static str,
    labels: Vec<(&'static str, &'static str)>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::local(&folder.path().join("bucket")).unwrap();
        Place { folder, bucket }
    }

    fn path(&self, ulid: Ulid, file: &str) -> PathBuf {
        self.folder.path().join("bucket").join(ulid.to_string()).join(file)
    }

    fn store(&self, limits: Limits) -> (BlockStore, Metrics) {
        let metrics = Metrics::default();
        let (bucket, folder) = (self.bucket.clone(), self.folder.path().join("headers"));
        let cluster = Arc::new(|| Some(CLUSTER.to_owned()));
        let config = Config { bucket, folder, cluster, limits, metrics: metrics.clone() };
        (BlockStore::new(config).unwrap(), metrics)
    }

    /// A block of `count` series with four chunks each.
    async fn cut(&self, count: i64, cut: Cut) -> Ulid {
        let ulid = Ulid::new();
        let label = |n: i64| {
            let (number, half) = (format!("{n:05}"), if n % 2 == 0 { "even" } else { "odd" });
            Labels::from_pairs([("__name__", "m"), ("n", &number), ("parity", half)]).unwrap()
        };
        let mut symbols = SymbolsBuilder::default();
        (0..count).for_each(|n| symbols.add_labels(&label(n)).unwrap());
        let range = TimeRange::new(TimestampMs(cut.start), TimestampMs(cut.start + HOURS_2));
        let (disk, scratch) = (Arc::new(LocalDirectory), self.folder.path().join("scratch"));
        std::fs::create_dir_all(&scratch).unwrap();
        let limits = WriterLimits::default();
        let mut writer = block::Writer::create(disk, &scratch, ulid, range, symbols.finish(), limits).unwrap();
        for n in 0..count {
            let chunks: Vec<Chunk> = (0..4).map(|part| chunk(cut.start + part * 1_800_000, n)).collect();
            writer.add_series(&label(n), &chunks).unwrap();
        }
        let labels = [("tenant_id".to_owned(), "anonymous".to_owned())].into_iter();
        let labels = labels.chain(cut.labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))).collect();
        let own = serde_json::json!({ "narthex": { "cluster": cut.cluster, "group": 3, "range": cut.start } });
        let Cut { level, sources, .. } = cut;
        let origin = Origin { level, sources, labels, extensions: Some(own), ..Origin::default() };
        writer.finish(origin).unwrap();
        self.bucket.upload(&scratch.join(ulid.to_string()), ulid).await.unwrap();
        ulid
    }

    fn direct(&self, ulid: Ulid) -> Block {
        Block::open(Arc::new(LocalBlock::new(self.path(ulid, "")))).unwrap()
    }
}

fn chunk(at: i64, n: i64) -> Chunk {
    let mut encoder = XorEncoder::new();
    (0..60).for_each(|i| encoder.append(at + i * 15_000, (n * 31 + i) as f64));
    let (mint, maxt) = (TimestampMs(at), TimestampMs(at + 59 * 15_000));
    Chunk { encoding: ChunkEncoding::Xor, mint, maxt, data: encoder.into_bytes().into() }
}

fn own(start: i64) -> Cut {
    Cut { start, cluster: CLUSTER, ..Cut::default() }
}

fn request(matchers: Vec<Matcher>) -> SelectRequest {
    SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs(0), TimestampMs(HOURS_2 * 10)),
        matchers,
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 1_000_000,
    }
}

fn all() -> SelectRequest {
    request(vec![Matcher::equal("__name__", "m")])
}

type Answer = Vec<(SeriesId, Labels, Vec<Chunk>)>;

fn comparable(batches: impl IntoIterator<Item = SeriesBatch>) -> Answer {
    batches.into_iter().flatten().map(|Series { id, labels, chunks }| (id, labels, chunks)).collect()
}

async fn collect(selected: StoreSelected) -> Result<Answer, SelectError> {
    let batches: Vec<Result<SeriesBatch, SelectError>> = selected.series.collect().await;
    Ok(comparable(batches.into_iter().collect::<Result<Vec<_>, _>>()?))
}

async fn ask(store: &BlockStore, blocks: &[Ulid], request: SelectRequest) -> (Vec<Ulid>, Result<Answer, SelectError>) {
    let selected = store.select(blocks.iter().map(|ulid| ulid.0).collect(), request).await.unwrap();
    let mut served: Vec<Ulid> = selected.served.iter().map(|name| Ulid(*name)).collect();
    served.sort_unstable();
    (served, collect(selected).await)
}

fn sorted(mut ulids: Vec<Ulid>) -> Vec<Ulid> {
    ulids.sort_unstable();
    ulids
}

async fn directly(place: &Place, blocks: &[Ulid], request: &SelectRequest) -> Answer {
    let mut merge = Merge::new();
    for ulid in blocks {
        let mut batches = Vec::new();
        let mut give = |batch: SeriesBatch| {
            batches.push(Ok(batch));
            std::ops::ControlFlow::Continue(())
        };
        place.direct(*ulid).select(request, &mut give).unwrap();
        merge.add((), futures::stream::iter(batches).boxed());
    }
    let mut found = Vec::new();
    loop {
        let batch = merge.next_batch().await.unwrap();
        if batch.is_empty() {
            return comparable(found);
        }
        found.push(batch);
    }
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

async fn aside(store: &BlockStore) -> Vec<Ulid> {
    let range = TimeRange::new(TimestampMs(0), TimestampMs(HOURS_2 * 10));
    let index = store.index(TenantId::anonymous(), range).await.unwrap();
    index.entries.iter().filter(|entry| entry.set_aside.is_some()).map(|entry| Ulid(entry.block)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_the_blocks_themselves() {
    let place = Place::new();
    let mut blocks = Vec::new();
    for (count, start) in [(2500, 0), (1200, HOURS_2), (30, HOURS_2 * 2)] {
        blocks.push(place.cut(count, own(start)).await);
    }
    let (store, _) = place.store(Limits::default());
    let narrow = TimeRange::new(TimestampMs(HOURS_2 - 1000), TimestampMs(HOURS_2 + 1000));
    for question in [
        all(),
        request(vec![Matcher::equal("n", "00007")]),
        request(vec![Matcher::equal("parity", "even")]),
        request(vec![Matcher::equal("n", "nobody")]),
        SelectRequest { range: narrow, ..all() },
        SelectRequest { with_chunks: false, ..all() },
        SelectRequest { shard: Shard { index: 1, count: 4 }, ..all() },
    ] {
        let expected = directly(&place, &blocks, &question).await;
        let (served, found) = ask(&store, &blocks, question.clone()).await;
        assert_eq!(served, sorted(blocks.clone()));
        assert!(found.unwrap() == expected, "{question:?}");
    }
    let (tenant, matcher_sets) = (TenantId::anonymous(), vec![vec![Matcher::equal("parity", "odd")]]);
    let query = LabelQuery { tenant, range: all().range, matcher_sets };
    let names: Vec<u128> = blocks.iter().map(|ulid| ulid.0).collect();
    let labels = store.labels(names.clone(), LabelQuestion { name: Some("n".to_owned()), query: query.clone() }).await;
    assert_eq!(labels.unwrap().values, place.direct(blocks[0]).label_values("n", &query.matcher_sets).unwrap());
    let labels = store.labels(names, LabelQuestion { name: None, query }).await.unwrap();
    assert_eq!((labels.values, labels.served.len()), (["__name__", "n", "parity"].map(str::to_owned).to_vec(), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_takes_few_range_requests() {
    let place = Place::new();
    let ulid = place.cut(2000, own(0)).await;
    let (store, metrics) = place.store(Limits::default());
    // The header is made, and the chunk file's own head read.
    ask(&store, &[ulid], request(vec![Matcher::equal("n", "00001")])).await.1.unwrap();
    assert_eq!(metrics.headers.get(), 1);
    for (question, series, reads) in [
        // Entries of series, then chunks.
        (request(vec![Matcher::equal("n", "01234")]), 1, 2),
        (request(vec![Matcher::equal("n", "nobody")]), 0, 0),
        // All entries at once, and again batch by batch with the chunks, since more match than one batch holds.
        (all(), 2000, 5),
        (request(vec![Matcher::equal("parity", "odd")]), 1000, 2),
    ] {
        let before = metrics.reads.get();
        let found = ask(&store, &[ulid], question.clone()).await.1.unwrap();
        assert_eq!((found.len(), metrics.reads.get() - before), (series, reads), "{question:?}");
    }
    // Another process finds the header; a damaged one is made anew.
    let (store, metrics) = place.store(Limits::default());
    assert_eq!(ask(&store, &[ulid], all()).await.1.unwrap().len(), 2000);
    assert_eq!((metrics.headers.get(), metrics.reads.get()), (0, 6));
    flip(&place.folder.path().join("headers").join(ulid.to_string()), |len| len / 2);
    let (store, metrics) = place.store(Limits::default());
    assert_eq!(ask(&store, &[ulid], all()).await.1.unwrap().len(), 2000);
    assert_eq!(metrics.headers.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_set_aside_and_named_and_the_others_are_served() {
    let place = Place::new();
    let (good, bad_chunks, bad_index) =
        (place.cut(10, own(0)).await, place.cut(10, own(0)).await, place.cut(10, own(0)).await);
    flip(&place.path(bad_chunks, "chunks/000001"), |len| len / 2);
    flip(&place.path(bad_index, "index"), |_| 20);
    let (store, metrics) = place.store(Limits::default());
    store.refresh().await.unwrap();
    assert_eq!(aside(&store).await, []);
    let blocks = [good, bad_chunks, bad_index];
    let (served, found) = ask(&store, &blocks, all()).await;
    assert_eq!(served, sorted(vec![good, bad_chunks]), "the index is read first");
    assert!(matches!(found, Err(SelectError::Unreadable { .. })), "the damage was met on the way");
    let (served, found) = ask(&store, &blocks, all()).await;
    assert_eq!((served, found.unwrap().len()), (vec![good], 10));
    assert_eq!(aside(&store).await, sorted(vec![bad_chunks, bad_index]));
    // The header might have been what was damaged; after a second time it is certain.
    for _ in 0..3 {
        store.refresh().await.unwrap();
        drop(ask(&store, &blocks, all()).await);
    }
    store.refresh().await.unwrap();
    assert_eq!(aside(&store).await, sorted(vec![bad_chunks, bad_index]));
    assert_eq!(metrics.blocks_set_aside.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_says_whose_blocks_are() {
    let place = Place::new();
    let ours = place.cut(3, own(HOURS_2)).await;
    let marked = place.cut(3, own(0)).await;
    let merged = place.cut(3, Cut { level: 2, sources: vec![marked, Ulid(77)], ..own(0) }).await;
    let theirs = place.cut(3, Cut { cluster: "another", ..own(0) }).await;
    let labelled = place.cut(3, Cut { labels: vec![("replica", "a")], ..own(0) }).await;
    std::fs::write(place.path(marked, "deletion-mark.json"), "{}").unwrap();
    let (store, _) = place.store(Limits::default());
    let range = TimeRange::new(TimestampMs(0), TimestampMs(HOURS_2 * 10));
    assert!(store.index(TenantId::anonymous(), range).await.is_err(), "nothing is known before the first listing");
    store.refresh().await.unwrap();
    let index = store.index(TenantId::anonymous(), range).await.unwrap();
    let mut found: Vec<_> = index.entries.iter().map(|e| (Ulid(e.block), e.origin, e.set_aside.is_some())).collect();
    found.sort_unstable();
    let mut expected = vec![
        (ours, Some((GroupId(3), TimestampMs(HOURS_2))), false),
        (merged, None, false),
        (theirs, None, false),
        (labelled, Some((GroupId(3), TimestampMs(0))), true),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let other = store.index(TenantId::new("other").unwrap(), range).await.unwrap();
    assert_eq!(other.entries, []);
    let early = TimeRange::new(TimestampMs(0), TimestampMs(10));
    assert_eq!(store.index(TenantId::anonymous(), early).await.unwrap().entries.len(), 3);

    // What was merged is served by what was made from it, and what is new though it was never listed.
    let new = place.cut(3, own(HOURS_2 * 3)).await;
    let (served, found) = ask(&store, &[Ulid(77), marked, new, Ulid(78), labelled], all()).await;
    assert_eq!(served, sorted(vec![Ulid(77), marked, new]));
    assert_eq!(found.unwrap().len(), 3);
    let stranger = SelectRequest { tenant: TenantId::new("other").unwrap(), ..all() };
    assert_eq!(ask(&store, &[ours], stranger).await.0, [], "of another tenant");

    // A block that is gone is forgotten, and so is its header.
    place.bucket.delete(new).await.unwrap();
    store.refresh().await.unwrap();
    assert_eq!(ask(&store, &[new], all()).await.0, []);
    assert!(!place.folder.path().join("headers").join(new.to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_at_once_is_bounded_and_an_asker_who_goes_away_gives_it_back() {
    let place = Place::new();
    let mut blocks = Vec::new();
    for part in 0..3 {
        blocks.push(place.cut(3000, own(part * HOURS_2)).await);
    }
    let (store, _) = place.store(Limits { reading_max: 2, open_max: 1, ..Limits::default() });
    let names: Vec<u128> = blocks.iter().map(|ulid| ulid.0).collect();
    // More blocks than may be read at once: they are, but nothing beside them.
    let mut first = store.select(names.clone(), all()).await.unwrap();
    assert!(first.series.next().await.is_some());
    let mut second = store.select(names.clone(), all());
    assert!(futures::poll!(&mut second).is_pending());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut second).await.is_err(), "it waits");
    drop(first);
    let found = collect(second.await.unwrap()).await.unwrap();
    assert_eq!((found.len(), found[0].2.len()), (3000, 12));
    let last = store.select(names, all()).await.unwrap();
    assert_eq!(collect(last).await.unwrap().len(), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_read_by_their_name() {
    let place = Place::new();
    let block =
        |ulid: u128, tenant: &str| ManifestBlock { ulid: Ulid(ulid).to_string(), tenant: tenant.to_owned(), bytes: 1 };
    let manifest = Manifest {
        cluster: CLUSTER.to_owned(),
        group: 3,
        generation: 1,
        start: HOURS_2,
        end: 2 * HOURS_2,
        sealed: vec![],
        blocks: vec![block(5, "anonymous"), block(6, "other")],
        holes: vec!["whole".to_owned()],
    };
    place.bucket.create_manifest(&manifest).await.unwrap();
    let (store, _) = place.store(Limits::default());
    let name = Bucket::manifest_name(CLUSTER, 3, HOURS_2);
    for _ in 0..2 {
        let answer = store.manifest(TenantId::anonymous(), name.clone()).await.unwrap();
        assert_eq!((answer.start, answer.blocks, answer.hole), (TimestampMs(HOURS_2), vec![5], false));
        let answer = store.manifest(TenantId::new("whole").unwrap(), name.clone()).await.unwrap();
        assert_eq!((answer.blocks, answer.hole), (vec![], true), "what could not be cut is told");
    }
    for none in [Bucket::manifest_name(CLUSTER, 3, 0), "../meta.json".to_owned()] {
        assert!(store.manifest(TenantId::anonymous(), none).await.is_err());
    }
}

#[test]
fn more_blocks_than_threads_are_merged() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let mut blocks = Vec::new();
        for part in 0..6 {
            blocks.push(place.cut(2500, own(part * HOURS_2)).await);
        }
        let (store, _) = place.store(Limits::default());
        let (served, found) = ask(&store, &blocks, all()).await;
        assert_eq!((served.len(), found.unwrap().len()), (6, 2500));
    });
}
