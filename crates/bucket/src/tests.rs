//! The same rules for a local folder, for an object store in memory, and for S3 (where moto's server is on this machine).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use block::{LocalDirectory, Origin, SymbolsBuilder, WriterLimits};
use bytes::Bytes;
use chunkenc::{XorDecoder, XorEncoder};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Labels, Matcher, TenantId, TimeRange, TimestampMs};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use storage::{Chunk, ChunkEncoding, LabelQuery, Queryable, SelectError, SelectRequest, Shard};
use tempfile::TempDir;
use ulid::Ulid;

use crate::{Blocks, Bucket, Created, Manifest, ManifestBlock};

const HOURS_2: i64 = 7_200_000;

/// A store that notes what is done to it, and can be out of reach.
#[derive(Debug)]
struct Watched {
    inner: InMemory,
    done: Arc<Mutex<Vec<String>>>,
    down: AtomicBool,
}

impl Watched {
    fn new() -> Arc<Watched> {
        Arc::new(Watched { inner: InMemory::new(), done: Arc::default(), down: AtomicBool::new(false) })
    }

    fn reach(&self, what: &str, key: &Key) -> object_store::Result<()> {
        self.done.lock().push(format!("{what} {key}"));
        if self.down.load(Ordering::SeqCst) {
            return Err(object_store::Error::Generic { store: "test", source: "out of reach".into() });
        }
        Ok(())
    }
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, key: &Key, payload: PutPayload, o: PutOptions) -> object_store::Result<PutResult> {
        self.reach("put", key)?;
        self.inner.put_opts(key, payload, o).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        o: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.reach("put in parts", key)?;
        self.inner.put_multipart_opts(key, o).await
    }

    async fn get_opts(&self, key: &Key, o: GetOptions) -> object_store::Result<GetResult> {
        self.reach("get", key)?;
        self.inner.get_opts(key, o).await
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.reach("get", key)?;
        self.inner.get_ranges(key, ranges).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, object_store::Result<Key>>,
    ) -> BoxStream<'static, object_store::Result<Key>> {
        let done = self.done.clone();
        let told = keys.inspect(move |key| {
            if let Ok(key) = key {
                done.lock().push(format!("delete {key}"));
            }
        });
        self.inner.delete_stream(told.boxed())
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.reach("list", &Key::default()) {
            Ok(()) => self.inner.list(prefix),
            Err(e) => futures::stream::iter([Err(e)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, o: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, o).await
    }
}

/// A block with one sample `m{n="…"}` in the two hours from `mint`, in a folder of its own.
fn cut(mint: i64, n: &str, tenant: &str) -> (TempDir, PathBuf, Ulid) {
    let folder = tempfile::tempdir().unwrap();
    let ulid = Ulid::new();
    let labels = Labels::from_pairs([("__name__", "m"), ("n", n)]).unwrap();
    let mut symbols = SymbolsBuilder::default();
    symbols.add_labels(&labels).unwrap();
    let range = TimeRange::new(TimestampMs(mint), TimestampMs(mint + HOURS_2));
    let disk = Arc::new(LocalDirectory);
    let mut writer =
        block::Writer::create(disk, folder.path(), ulid, range, symbols.finish(), WriterLimits::default()).unwrap();
    let mut encoder = XorEncoder::new();
    encoder.append(mint + 1, 1.5);
    let at = TimestampMs(mint + 1);
    let data = encoder.into_bytes().into();
    writer.add_series(&labels, &[Chunk { encoding: ChunkEncoding::Xor, mint: at, maxt: at, data }]).unwrap();
    let labels = [("tenant_id".to_owned(), tenant.to_owned())].into();
    writer.finish(Origin { labels, source: "test".to_owned(), ..Origin::default() }).unwrap();
    let path = folder.path().join(ulid.to_string());
    (folder, path, ulid)
}

async fn put(bucket: &Bucket, mint: i64, n: &str) -> Ulid {
    let (_folder, path, ulid) = cut(mint, n, TenantId::ANONYMOUS);
    bucket.upload(&path, ulid).await.unwrap();
    ulid
}

/// The samples of `m` by `n`; the error of a block that has just turned out to be unreadable.
async fn read(blocks: &Blocks) -> Result<BTreeMap<String, (i64, f64)>, SelectError> {
    let request = SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs(0), TimestampMs(i64::MAX)),
        matchers: vec![Matcher::equal("__name__", "m")],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 1000,
    };
    let mut found = BTreeMap::new();
    let mut stream = blocks.select(request);
    while let Some(batch) = stream.next().await {
        for series in batch? {
            for chunk in series.chunks {
                let sample = XorDecoder::new(&chunk.data).unwrap().next().unwrap().unwrap();
                found.insert(series.labels.get("n").unwrap().to_owned(), sample);
            }
        }
    }
    Ok(found)
}

fn missing(blocks: &Blocks) -> Vec<String> {
    blocks.missing(TimeRange::new(TimestampMs(0), TimestampMs(i64::MAX)))
}

fn names(ns: &[&str]) -> Vec<String> {
    ns.iter().map(|n| (*n).to_owned()).collect()
}

fn manifest(start: i64, blocks: &[Ulid]) -> Manifest {
    let block = |ulid: &Ulid| ManifestBlock { ulid: ulid.to_string(), tenant: "anonymous".to_owned(), bytes: 1 };
    Manifest {
        cluster: "c".to_owned(),
        group: 1,
        generation: 1,
        start,
        end: start + HOURS_2,
        sealed: vec![("i".to_owned(), 7)],
        blocks: blocks.iter().map(block).collect(),
        holes: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_json_is_put_last_and_deleted_first() {
    let store = Watched::new();
    let bucket = Bucket::of_store(store.clone());
    let ulid = put(&bucket, 0, "a").await;
    let files = |of: &str| -> Vec<String> {
        let done = store.done.lock();
        done.iter().filter_map(|d| d.strip_prefix(&format!("{of} {ulid}/"))).map(str::to_owned).collect()
    };
    assert_eq!(files("put"), ["chunks/000001", "index", "tombstones", "meta.json"]);
    assert_eq!(bucket.list().await.unwrap(), [ulid]);
    bucket.delete(ulid).await.unwrap();
    assert_eq!(files("delete")[0], "meta.json");
    assert_eq!((files("delete").len(), store.inner.keys().await), (4, names(&[])));
    // A block without its meta.json is none: it is on its way in, or out.
    let other = put(&bucket, 0, "b").await;
    store.inner.delete_one(&format!("{other}/meta.json")).await;
    assert_eq!(bucket.list().await.unwrap(), []);
    bucket.delete(other).await.unwrap();
    assert_eq!(store.inner.keys().await, names(&[]));
}

/// Little helpers on a store in memory.
trait Objects {
    async fn delete_one(&self, key: &str);
    async fn keys(&self) -> Vec<String>;
}

impl Objects for InMemory {
    async fn delete_one(&self, key: &str) {
        object_store::ObjectStoreExt::delete(self, &Key::from(key)).await.unwrap();
    }

    async fn keys(&self) -> Vec<String> {
        self.list(None).map(|o| o.unwrap().location.to_string()).collect().await
    }
}

/// What holds for every bucket.
async fn the_rules_hold(bucket: &Bucket) {
    // Manifests: the first to create one decides, and the same one again is ours: its answer was lost.
    let (ours, theirs) = (manifest(0, &[Ulid::new()]), manifest(0, &[]));
    assert_eq!(bucket.manifest("c", 1, 0).await.unwrap(), None);
    assert_eq!(bucket.create_manifest(&ours).await.unwrap(), Created::Ours);
    assert_eq!(bucket.create_manifest(&theirs).await.unwrap(), Created::Theirs(ours.clone()));
    assert_eq!(bucket.create_manifest(&ours).await.unwrap(), Created::Ours);
    assert_eq!(bucket.manifest("c", 1, 0).await.unwrap(), Some(ours));
    // Blocks come, answer and go.
    let blocks = Blocks::new(bucket.clone());
    let (old, _new) = (put(bucket, 0, "old").await, put(bucket, HOURS_2, "new").await);
    let (_folder, path, foreign) = cut(0, "of another tenant", "other");
    bucket.upload(&path, foreign).await.unwrap();
    blocks.refresh().await.unwrap();
    let both = [("new".to_owned(), (HOURS_2 + 1, 1.5)), ("old".to_owned(), (1, 1.5))].into();
    assert_eq!(read(&blocks).await.unwrap(), both);
    let query = LabelQuery {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs(0), TimestampMs(HOURS_2)),
        matcher_sets: Vec::new(),
    };
    assert_eq!(blocks.label_values("n", query).await.unwrap().values, names(&["old"]));
    assert_eq!((blocks.metas().len(), missing(&blocks)), (3, Vec::new()));
    blocks.delete(old).await.unwrap();
    assert_eq!(read(&blocks).await.unwrap().into_keys().collect::<Vec<_>>(), names(&["new"]));
    blocks.refresh().await.unwrap();
    assert_eq!(blocks.metas().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_create_a_manifest_at_once_one_does() {
    let folder = tempfile::tempdir().unwrap();
    for bucket in [Bucket::local(folder.path()).unwrap(), Bucket::of_store(Watched::new())] {
        for start in (0..50).map(|n| n * HOURS_2) {
            let both = [manifest(start, &[Ulid::new()]), manifest(start, &[Ulid::new()])];
            let create = |m: Manifest| {
                let bucket = bucket.clone();
                tokio::spawn(async move { bucket.create_manifest(&m).await.unwrap() })
            };
            let (a, b) = tokio::join!(create(both[0].clone()), create(both[1].clone()));
            let expected = match a.unwrap() {
                Created::Ours => (&both[0], b.unwrap()),
                Created::Theirs(theirs) => {
                    assert_eq!(b.unwrap(), Created::Ours);
                    (&both[1], Created::Theirs(theirs))
                }
            };
            assert_eq!(expected.1, Created::Theirs(expected.0.clone()));
            assert_eq!(bucket.manifest("c", 1, start).await.unwrap().as_ref(), Some(expected.0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_hold_in_a_folder_and_in_an_object_store() {
    let folder = tempfile::tempdir().unwrap();
    the_rules_hold(&Bucket::local(folder.path()).unwrap()).await;
    the_rules_hold(&Bucket::of_store(Watched::new())).await;
    // Nothing but what is named is left, not even an empty folder.
    let left = LocalFileSystem::new_with_prefix(folder.path()).unwrap().list_with_delimiter(None).await.unwrap();
    assert_eq!(left.common_prefixes.len(), 3, "two blocks, and closed: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_set_aside_for_good_while_others_answer() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::local(folder.path()).unwrap();
    let blocks = Blocks::new(bucket.clone());
    let [early, late, good] = [put(&bucket, 0, "a").await, put(&bucket, 0, "b").await, put(&bucket, 0, "c").await];
    // One cannot be opened; of the other a chunk is bad, which only shows when it is read.
    let damage = |ulid: Ulid, file: &str| {
        let file = folder.path().join(ulid.to_string()).join(file);
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes.len() - 2;
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    };
    damage(early, "index");
    damage(late, "chunks/000001");
    blocks.refresh().await.unwrap();
    assert_eq!(blocks.set_aside().into_iter().map(|(ulid, _)| ulid).collect::<Vec<_>>(), [early]);
    assert!(matches!(read(&blocks).await, Err(SelectError::Unreadable { .. })), "a query is begun again without it");
    for _ in 0..2 {
        assert_eq!(read(&blocks).await.unwrap().into_keys().collect::<Vec<_>>(), names(&["c"]));
        let named = missing(&blocks);
        assert!(named.len() == 2 && [early, late].iter().all(|u| named.iter().any(|m| m.contains(&u.to_string()))));
        blocks.refresh().await.unwrap();
    }
    assert_eq!(blocks.metas().iter().map(|m| m.ulid).collect::<Vec<_>>(), [good]);
    // Outside of their time nobody misses them.
    let later = TimeRange::new(TimestampMs(HOURS_2), TimestampMs(2 * HOURS_2));
    let of_unknown_range = blocks.missing(later).len();
    assert_eq!(of_unknown_range, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_out_of_reach_is_said_and_its_blocks_come_back() {
    let store = Watched::new();
    let bucket = Bucket::of_store(store.clone());
    let ulid = put(&bucket, 0, "a").await;
    let blocks = Blocks::new(bucket.clone());
    store.down.store(true, Ordering::SeqCst);
    assert!(blocks.refresh().await.is_err());
    assert_eq!(missing(&blocks), ["the bucket could not be listed yet, the samples of its blocks are missing"]);
    store.down.store(false, Ordering::SeqCst);
    blocks.refresh().await.unwrap();
    assert_eq!((read(&blocks).await.unwrap().len(), missing(&blocks)), (1, Vec::new()));
    // Blocks that were opened, but of which nothing has been read.
    let blocks = Blocks::new(Bucket::of_store(store.clone()));
    blocks.refresh().await.unwrap();
    store.down.store(true, Ordering::SeqCst);
    assert!(read(&blocks).await.is_err());
    assert_eq!(read(&blocks).await.unwrap(), BTreeMap::new());
    assert!(missing(&blocks)[0].starts_with(&format!("block {ulid} is set aside, its samples are missing: ")));
    store.down.store(false, Ordering::SeqCst);
    blocks.refresh().await.unwrap();
    assert_eq!((read(&blocks).await.unwrap().len(), missing(&blocks)), (1, Vec::new()));
}

/// moto's server on a port that it chooses.
struct Moto {
    child: Child,
    endpoint: String,
}

impl Moto {
    fn start() -> Option<Moto> {
        #[expect(clippy::disallowed_methods, reason = "says where the server is")]
        let Ok(program) = std::env::var("NARTHEX_PEER_MOTO_SERVER") else {
            eprintln!("skipped: NARTHEX_PEER_MOTO_SERVER is not set");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // " * Running on http://127.0.0.1:12345"
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let endpoint = loop {
            let line = lines.next().expect("moto says where it listens").unwrap();
            if let Some((_, endpoint)) = line.split_once("Running on http://") {
                break endpoint.trim().to_owned();
            }
        };
        // It must not be stopped by a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Moto { child, endpoint })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_hold_in_s3() {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let Some(moto) = Moto::start() else { return };
    create_bucket(&moto.endpoint);
    for prefix in ["", "a/b"] {
        let text = format!(
            "type: S3\nprefix: {prefix}\nconfig: {{bucket: blocks, endpoint: '{}', access_key: k, secret_key: s, insecure: true}}",
            moto.endpoint
        );
        let parsed = config::parse_object_store(&text).unwrap();
        let config::object_store::Bucket::S3(s3) = parsed.bucket else { panic!("S3") };
        let bucket = Bucket::s3(&s3, &parsed.prefix, &|_| None).unwrap();
        the_rules_hold(&bucket).await;
        a_long_file_goes_up_in_parts(&bucket).await;
    }
}

/// Longer than the largest part that is held in memory.
async fn a_long_file_goes_up_in_parts(bucket: &Bucket) {
    let folder = tempfile::tempdir().unwrap();
    let ulid = Ulid::new();
    let long = vec![7; (64 << 20) + 5];
    std::fs::write(folder.path().join("index"), &long).unwrap();
    assert_eq!(bucket.upload(folder.path(), ulid).await.unwrap(), long.len() as u64);
    let source = bucket.source(ulid);
    let whole = tokio::task::spawn_blocking(move || {
        let file = source.open(block::BlockFile::Index).unwrap();
        let len = file.len().unwrap();
        (len, file.read(len - 3, 3).unwrap(), file.read(len - 3, 4).unwrap_err().kind())
    });
    let (len, end, beyond) = whole.await.unwrap();
    assert_eq!((len, &end[..], beyond), (long.len() as u64, &[7; 3][..], std::io::ErrorKind::UnexpectedEof));
}

fn create_bucket(endpoint: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(endpoint).unwrap();
    // Unsigned: moto does not look.
    write!(stream, "PUT /blocks HTTP/1.1\r\nHost: {endpoint}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Bucket::local(Path::new(&file.path().join("below a file"))).err().unwrap();
    assert!(error.to_string().starts_with("read "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_upload_was_writing_goes_with_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::local(folder.path()).unwrap();
    let ulid = put(&bucket, 0, "1").await;
    let here = folder.path().join(ulid.to_string());
    std::fs::write(here.join("chunks/000002#1"), b"half").unwrap();
    std::fs::remove_file(here.join("meta.json")).unwrap();
    bucket.delete(ulid).await.unwrap();
    assert!(!here.exists());
    bucket.delete(ulid).await.unwrap();
}
