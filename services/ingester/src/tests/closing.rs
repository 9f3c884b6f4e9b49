//! Closing with three ingesters on one bucket, whose store can be down, lose answers, and stop a process at any step.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bucket::{Blocks, Bucket};
use bytes::Bytes;
use cluster::ClusterId;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::{DurationMs, TimestampMs};
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use replication::range::{RANGE, due_at, range_of};

use super::world::*;
use crate::{CloseError, Closer};

const NEVER: u64 = u64::MAX;

/// A store in memory with faults.
#[derive(Debug)]
struct Store {
    inner: Arc<InMemory>,
    done: AtomicU64,
    /// The operation with this number never comes back: the process is killed there. Odd numbers have been done.
    stop_at: AtomicU64,
    stopped: tokio::sync::Notify,
    down: AtomicBool,
    /// One answer in eight is lost, chosen by this seed; 0: none.
    lose_seed: AtomicU64,
}

fn error() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "no answer".into() }
}

impl Store {
    fn new(inner: Arc<InMemory>) -> Arc<Store> {
        Arc::new(Store {
            inner,
            done: AtomicU64::new(0),
            stop_at: AtomicU64::new(NEVER),
            stopped: tokio::sync::Notify::new(),
            down: AtomicBool::new(false),
            lose_seed: AtomicU64::new(0),
        })
    }

    async fn with<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        if self.down.load(Ordering::SeqCst) {
            return Err(error());
        }
        let number = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        let is_last = number * 2 == self.stop_at.load(Ordering::SeqCst) & !1;
        if is_last && self.stop_at.load(Ordering::SeqCst).is_multiple_of(2) {
            return self.hang().await;
        }
        let done = work.await;
        if is_last {
            return self.hang().await;
        }
        let seed = self.lose_seed.load(Ordering::SeqCst);
        if seed > 0 && Dice(seed + number * 1000).below(8) == 0 { Err(error()) } else { done }
    }

    async fn hang<T>(&self) -> T {
        self.stopped.notify_one();
        std::future::pending().await
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("store with faults")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, key: &Key, payload: PutPayload, o: PutOptions) -> object_store::Result<PutResult> {
        self.with(self.inner.put_opts(key, payload, o)).await
    }
    async fn put_multipart_opts(
        &self,
        key: &Key,
        o: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.with(self.inner.put_multipart_opts(key, o)).await
    }
    async fn get_opts(&self, key: &Key, o: GetOptions) -> object_store::Result<GetResult> {
        // Reading blocks is no step of closing.
        let read = self.inner.get_opts(key, o);
        if key.as_ref().starts_with("closed/") { self.with(read).await } else { read.await }
    }
    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(key, ranges).await
    }
    fn delete_stream(
        &self,
        keys: BoxStream<'static, object_store::Result<Key>>,
    ) -> BoxStream<'static, object_store::Result<Key>> {
        if self.down.load(Ordering::SeqCst) {
            return futures::stream::iter([Err(error())]).boxed();
        }
        self.inner.delete_stream(keys)
    }
    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        if self.down.load(Ordering::SeqCst) {
            return futures::stream::iter([Err(error())]).boxed();
        }
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> object_store::Result<ListResult> {
        self.with(self.inner.list_with_delimiter(prefix)).await
    }
    async fn copy_opts(&self, from: &Key, to: &Key, o: CopyOptions) -> object_store::Result<()> {
        self.with(self.inner.copy_opts(from, to, o)).await
    }
}

/// Three ingesters that have covered each other, their closers and the bucket.
struct Closers {
    world: World,
    objects: Arc<InMemory>,
    stores: Vec<Arc<Store>>,
    closers: Vec<Arc<Closer>>,
    scratch: tempfile::TempDir,
    /// Samples written, by range.
    written: BTreeMap<TimestampMs, u64>,
}

impl Closers {
    async fn new() -> Closers {
        let mut world = World::new();
        (0..3).for_each(|n| world.pull(n));
        let mut dice = Dice(5);
        let mut written: BTreeMap<TimestampMs, u64> = BTreeMap::new();
        for i in 0..60 {
            let at = NOW + i * 180_000;
            let two = dice.two();
            assert!(world.write(&two, &[(1, at, i as f64), (2, at, 1.0)]).await);
            *written.entry(range_of(TimestampMs(at))).or_default() += 2;
        }
        assert!(written.len() >= 2);
        let scratch = tempfile::tempdir().unwrap();
        let objects = Arc::new(InMemory::new());
        let mut this = Closers { world, objects, stores: Vec::new(), closers: Vec::new(), scratch, written };
        for n in 0..3 {
            let (store, closer) = this.closer(n);
            this.stores.push(store);
            this.closers.push(closer);
        }
        this
    }

    fn closer(&self, n: usize) -> (Arc<Store>, Arc<Closer>) {
        let store = Store::new(self.objects.clone());
        let bucket = Bucket::of_store(store.clone());
        let blocks = Arc::new(Blocks::new(bucket.clone()));
        let members = Arc::new(From { wire: self.world.wire.clone(), from: n });
        let scratch = self.scratch.path().join(n.to_string());
        let closer = Closer::new(self.world.node(n), members, bucket, blocks, scratch, ClusterId(7));
        (store, Arc::new(closer))
    }

    /// The process of n dies and comes back.
    fn restart(&mut self, n: usize) {
        self.world.crash(n);
        self.world.start(n);
        self.world.pull(n);
        (self.stores[n], self.closers[n]) = self.closer(n);
    }

    /// When a member of this rank may close all that was written.
    fn due(&self, rank: usize) -> TimestampMs {
        let (last, _) = self.written.last_key_value().unwrap();
        due_at(*last, DurationMs::hours(1), rank)
    }

    /// Runs these closers in turn until each has dropped all that was written.
    async fn close_all(&self, closers: &[usize]) {
        for round in 0..2_000 {
            let mut left = 0;
            for n in closers {
                drop(self.closers[*n].run().await);
                let state = self.world.node(*n).state();
                left += self.written.keys().filter(|start| !state.is_dropped(**start)).count();
            }
            if left == 0 {
                return;
            }
            // Pulls are under way.
            tokio::time::sleep(std::time::Duration::from_millis(if round < 50 { 2 } else { 10 })).await;
        }
        panic!("it does not close");
    }

    /// One manifest a range, each block in one manifest, all samples in blocks, nothing else in the bucket.
    async fn check(&self, what: &str) {
        let objects: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        let manifests: Vec<_> = objects.iter().filter(|o| o.location.as_ref().starts_with("closed/")).collect();
        assert_eq!(manifests.len(), self.written.len(), "{what}: a manifest for each range");
        let mut listed = BTreeSet::new();
        let bucket = Bucket::of_store(self.objects.clone());
        let blocks = Blocks::new(bucket.clone());
        blocks.refresh().await.unwrap();
        for (start, samples) in &self.written {
            let manifest = bucket.manifest(&format!("{:032x}", 7), 0, start.0).await.unwrap().unwrap();
            assert_eq!((manifest.end, &manifest.holes), (start.0 + RANGE.0, &vec![]));
            assert!(manifest.sealed.len() >= 2, "{what}: {manifest:?}");
            let mut held = 0;
            for block in &manifest.blocks {
                assert!(listed.insert(block.ulid.clone()), "{what}: {} is listed twice", block.ulid);
                let metas = blocks.metas();
                let meta = metas.iter().find(|meta| meta.ulid.to_string() == block.ulid);
                held += meta.unwrap_or_else(|| panic!("{what}: {} is not there", block.ulid)).stats.num_samples;
            }
            assert_eq!(held, *samples, "{what}: range {start}");
        }
        for object in objects.iter().filter(|o| !o.location.as_ref().starts_with("closed/")) {
            let ulid = object.location.as_ref().split('/').next().unwrap();
            assert!(listed.contains(ulid), "{what}: {} is listed nowhere", object.location);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_range_is_closed_once_and_dropped_by_all() {
    let closers = Closers::new().await;
    let first = due_at(*closers.written.keys().next().unwrap(), DurationMs::hours(1), 0);
    closers.world.set_clock(first - DurationMs(1));
    assert_eq!(closers.closers[0].run().await.unwrap(), 0, "not yet");
    closers.world.set_clock(first);
    assert_eq!(closers.closers[1].run().await.unwrap(), 0, "not its turn");
    closers.world.set_clock(closers.due(0));
    closers.close_all(&[0, 1, 2]).await;
    closers.check("three in turn").await;
    // They stay in memory for half an hour.
    assert_eq!(closers.world.read(1).await.len() as u64, closers.written.values().sum::<u64>());
    closers.world.set_clock(closers.due(0) + DurationMs::mins(31));
    for n in 0..3 {
        closers.closers[n].run().await.unwrap();
        assert!(closers.world.read(n).await.is_empty());
        let before = closers.world.node(n).state();
        closers.closers[n].run().await.unwrap();
        assert_eq!(closers.world.node(n).state(), before, "nothing more is logged");
    }
    // A day later the ranges are not named any more.
    closers.world.set_clock(closers.due(0) + DurationMs::hours(25));
    closers.closers[0].run().await.unwrap();
    let state = closers.world.node(0).state();
    assert!(state.dropped.is_empty() && closers.written.keys().all(|start| state.is_dropped(*start)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutter_that_is_killed_at_any_step_leaves_one_manifest_and_no_stray_block() {
    let mut steps = 0;
    for stop_at in 2.. {
        let mut closers = Closers::new().await;
        closers.world.set_clock(closers.due(0));
        let store = closers.stores[0].clone();
        store.stop_at.store(stop_at, Ordering::SeqCst);
        let run = async {
            loop {
                drop(closers.closers[0].run().await);
                let state = closers.world.node(0).state();
                if closers.written.keys().all(|start| state.is_dropped(*start)) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let killed = tokio::select! {
            () = run => false,
            () = store.stopped.notified() => true,
        };
        if killed {
            // Half of the times another has closed before the killed one is back.
            if stop_at % 4 < 2 {
                closers.world.set_clock(closers.due(1));
                closers.close_all(&[1]).await;
            }
            closers.restart(0);
        }
        closers.close_all(&[0, 1, 2]).await;
        closers.check(&format!("killed at step {stop_at}")).await;
        if !killed {
            break;
        }
        steps = stop_at;
    }
    assert!(steps > 20, "{steps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cutters_at_once_and_lost_answers_leave_one_manifest() {
    for seed in 0..6 {
        let closers = Closers::new().await;
        closers.world.set_clock(closers.due(2));
        closers.stores.iter().for_each(|store| store.lose_seed.store(seed, Ordering::SeqCst));
        tokio::join!(closers.close_all(&[0]), closers.close_all(&[1]), closers.close_all(&[2]));
        closers.check(&format!("seed {seed}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_down_for_an_hour_is_waited_for() {
    let closers = Closers::new().await;
    let from = closers.due(0);
    closers.stores.iter().for_each(|store| store.down.store(true, Ordering::SeqCst));
    for seconds in (0..3600).step_by(30) {
        closers.world.set_clock(from + DurationMs::secs(seconds));
        for closer in &closers.closers {
            let error = closer.run().await;
            assert!(matches!(error, Err(CloseError::Bucket(_))), "{error:?}");
        }
    }
    closers.world.settled().await;
    let written = closers.written.values().sum::<u64>();
    // A cover is durable a moment before what it stands for can be read.
    let began = std::time::Instant::now();
    while closers.world.read(0).await.len() as u64 != written {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "every sample is held while the bucket is down");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    closers.stores.iter().for_each(|store| store.down.store(false, Ordering::SeqCst));
    closers.close_all(&[2, 1, 0]).await;
    closers.check("after an hour").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_manifest_stops_closing_and_is_said() {
    let closers = Closers::new().await;
    closers.world.set_clock(closers.due(0));
    let (first, _) = closers.written.first_key_value().unwrap();
    let theirs = bucket::Manifest {
        cluster: format!("{:032x}", 8),
        group: 0,
        generation: 1,
        start: first.0,
        end: first.0 + RANGE.0,
        sealed: Vec::new(),
        blocks: Vec::new(),
        holes: Vec::new(),
    };
    let key = Key::from(Bucket::manifest_name(&format!("{:032x}", 7), 0, first.0));
    let json = serde_json::to_vec(&theirs).unwrap();
    closers.objects.put(&key, PutPayload::from(json)).await.unwrap();
    for _ in 0..2 {
        let error = closers.closers[0].run().await;
        assert!(matches!(error, Err(CloseError::ForeignManifest { start }) if start == *first), "{error:?}");
    }
    assert!(!closers.world.node(0).state().is_dropped(*first));
}
