mod closing;
mod groups;
mod histograms;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chunkenc::XorDecoder;
use disk::SimDisk;
use futures::{FutureExt, StreamExt};
use model::{Labels, Matcher, TenantId, TimeRange, TimestampMs};
use proptest::prelude::*;
use storage::{AppendError, Queryable, RejectReason, SelectRequest, Shard};
use writer::{Limits, SampleSink, SampleSource, Writer};

use replication::replica::SealReply;

use crate::{Config, Ingester, RANGE};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

struct Samples(Vec<(u32, i64, f64)>);

fn labels(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
}

impl SampleSource for Samples {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        for (n, t, v) in &self.0 {
            if let Some(id) = sink.series(&labels(*n), 1) {
                sink.sample(id, *t, *v);
            }
        }
        Ok(())
    }
}

fn config(disk: &SimDisk) -> Config {
    Config { disk: Arc::new(disk.clone()), snapshot_after_bytes: 4096, ..Config::new(PathBuf::from("/data")) }
}

fn open(disk: &SimDisk) -> (Arc<Ingester>, Writer) {
    let ingester = Ingester::open(config(disk)).unwrap();
    let writer = writer::testing::alone(ingester.clone(), Limits::default());
    (ingester, writer)
}

async fn write(writer: &Writer, samples: Vec<(u32, i64, f64)>) -> Result<storage::AppendOutcome, AppendError> {
    writer.write(&TenantId::anonymous(), &Samples(samples), NOW).await
}

async fn read(ingester: &Ingester) -> BTreeMap<(String, i64), f64> {
    let request = SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
        matchers: vec![Matcher::equal("__name__", "m")],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 1_000_000,
    };
    let mut out = BTreeMap::new();
    let mut stream = ingester.select(request);
    while let Some(batch) = stream.next().await {
        for s in batch.unwrap() {
            for c in s.chunks {
                let mut d = XorDecoder::new(&c.data).unwrap();
                while let Some((t, v)) = d.next().unwrap() {
                    let double = out.insert((s.labels.get("n").unwrap().to_owned(), t), v);
                    // A sample that was sent again after newer ones lies in two chunks; readers join them.
                    assert!(double.is_none_or(|double| double.to_bits() == v.to_bits()), "two values for one time");
                }
            }
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_read_at_once_and_after_power_loss() {
    let disk = SimDisk::new();
    let (ingester, writer) = open(&disk);
    for i in 0..100 {
        let outcome = write(&writer, vec![(1, NOW.0 + i, 1.0), (2, NOW.0 + i, 2.0)]).await.unwrap();
        assert_eq!(outcome.stored_samples, 2);
        assert_eq!(read(&ingester).await.len(), 2 * (usize::try_from(i).unwrap() + 1));
    }
    let (after, _) = open(&disk.after_power_loss());
    assert_eq!(read(&after).await, read(&ingester).await);
    assert_eq!(after.recovery().records, 101, "the batches and the entry of the group");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_needs_the_newest_snapshot_and_the_tail_behind_it() {
    let disk = SimDisk::new();
    let (ingester, writer) = open(&disk);
    for i in 0..50 {
        write(&writer, vec![(1, NOW.0 + i, 1.0)]).await.unwrap();
    }
    assert!(!ingester.snapshot_is_due() || i64::try_from(ingester.status().logged_bytes).unwrap() >= 4096);
    ingester.write_snapshot().unwrap();
    ingester.write_snapshot().unwrap();
    for i in 50..60 {
        write(&writer, vec![(1, NOW.0 + i, 1.0)]).await.unwrap();
    }
    let (after, _) = open(&disk.after_power_loss());
    assert_eq!(after.recovery().records, 10);
    assert_eq!(read(&after).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_time_takes_nothing_more_also_after_a_restart() {
    let disk = SimDisk::new();
    let (ingester, writer) = open(&disk);
    let start = replication::range::range_of(NOW) - RANGE;
    let end = start + RANGE;
    write(&writer, vec![(1, end.0 - 5000, 1.0)]).await.unwrap();
    let window = model::DurationMs::hours(1);
    let early = ingester.seal_at(None, start, window, end + window).await;
    assert!(matches!(early, Ok(SealReply::Early)), "{early:?}");
    let late = end + window + replication::range::SLACK;
    let sealed = ingester.seal_at(None, start, window, late).await;
    assert!(matches!(sealed, Ok(SealReply::Sealed { position: 2, .. })), "{sealed:?}");
    let refused = write(&writer, vec![(1, end.0 - 1, 1.0)]).await.unwrap();
    assert_eq!((refused.stored_samples, refused.rejections[0].reason), (0, RejectReason::TooOld));
    let disk = disk.after_power_loss();
    let (after, writer) = open(&disk);
    let refused = write(&writer, vec![(1, end.0 - 1, 1.0)]).await.unwrap();
    assert_eq!(refused.rejections[0].reason, RejectReason::TooOld);
    assert_eq!(write(&writer, vec![(1, NOW.0, 1.0)]).await.unwrap().stored_samples, 1);
    after.change(|core| core.drop_range(start, "closed/x".into(), late)).await.unwrap();
    after.change(|core| core.free(start)).await.unwrap();
    after.collect().await.unwrap();
    assert_eq!(read(&after).await.len(), 1);
    after.write_snapshot().unwrap();
    let (again, _) = open(&disk.after_power_loss());
    assert_eq!(again.state(), after.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new();
    let (ingester, writer) = open(&disk);
    write(&writer, vec![(1, NOW.0, 1.0)]).await.unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 20));
    let refused = write(&writer, vec![(1, NOW.0 + 1, 1.0)]).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))));
    assert!(ingester.status().log_failure.is_some_and(|why| why.contains("no storage space")));
    assert!(ingester.write_snapshot().is_err(), "no room for a snapshot either");
    disk.set_capacity(None);
    write(&writer, vec![(1, NOW.0 + 1, 1.0)]).await.unwrap();
    assert_eq!(read(&ingester).await.len(), 2);
    assert_eq!(ingester.status().log_failure, None);
    assert_eq!(ingester.status().in_flight_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_ingester_has_synced_and_takes_nothing() {
    let disk = SimDisk::new();
    let (ingester, writer) = open(&disk);
    write(&writer, vec![(1, NOW.0, 1.0)]).await.unwrap();
    ingester.stop();
    assert!(matches!(write(&writer, vec![(1, NOW.0 + 1, 1.0)]).await, Err(AppendError::Unavailable(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The contract: the disk dies at a random sync (before or after it), the machine loses what was not synced, and every
    /// acknowledged sample is there once, whatever snapshots were being written.
    #[test]
    fn no_acknowledged_sample_is_lost_when_the_disk_dies_at_any_sync(
        syncs in 0u64..60,
        snapshot_every in 3usize..12,
        rounds in proptest::collection::vec(proptest::collection::vec((0u32..20, 0i64..100_000), 1..10), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let disk = SimDisk::new();
        let _within = runtime.enter();
        let (ingester, writer) = open(&disk);
        let mut acknowledged = BTreeMap::new();
        runtime.block_on(async {
            disk.fail_after_syncs(syncs);
            for (i, samples) in rounds.iter().enumerate() {
                let samples: Vec<_> = samples.iter().map(|(n, t)| (*n, NOW.0 - t, f64::from(*n))).collect();
                if write(&writer, samples.clone()).await.is_ok() {
                    acknowledged.extend(samples.into_iter().map(|(n, t, v)| ((n.to_string(), t), v)));
                }
                if i % snapshot_every == 0 {
                    // Fails once the disk is dead; nothing depends on it.
                    drop(ingester.write_snapshot());
                }
            }
        });
        let (after, writer) = open(&disk.after_power_loss());
        let held = runtime.block_on(read(&after));
        for (key, v) in &acknowledged {
            prop_assert_eq!(held.get(key), Some(v), "{:?}", key);
        }
        // And it goes on from there.
        prop_assert!(runtime.block_on(write(&writer, vec![(99, NOW.0, 1.0)])).is_ok());
        prop_assert!(write(&writer, vec![]).now_or_never().unwrap().is_ok());
    }
}
