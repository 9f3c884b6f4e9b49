mod histograms;
mod snapshots;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use batch::{Batch, BatchBuilder, BatchHeader};
use chunkenc::XorDecoder;
use disk::{RealDisk, SimDisk};
use model::{Labels, Matcher, SeriesId, TenantId, TimeRange, TimestampMs, join_values, stale_nan};
use proptest::prelude::*;
use storage::{LabelQuery, SelectRequest, Shard};

use crate::{Head, Limits, Order};

const HEADER: BatchHeader = BatchHeader { group: 1, generation: 1, writer: 1, seq: 1 };
const ALL_TIME: TimeRange = TimeRange { mint: TimestampMs(i64::MIN), maxt: TimestampMs(i64::MAX) };

fn tenant() -> TenantId {
    TenantId::anonymous()
}

fn labels(name: &str, instance: u32) -> Labels {
    Labels::from_pairs([("__name__", name), ("instance", &instance.to_string())]).unwrap()
}

fn open(disk: &SimDisk) -> (Arc<Head>, u64) {
    let (head, recovered) = Head::open(Arc::new(disk.clone()), Path::new("/data"), Limits::default()).unwrap();
    assert_eq!(recovered.damaged, Vec::<String>::new());
    (Arc::new(head), recovered.position)
}

/// A batch that defines what it contains.
fn batch_of(samples: &[(&Labels, i64, f64)]) -> Batch {
    let mut b = BatchBuilder::new();
    for (labels, t, v) in samples {
        let id = SeriesId::compute(&tenant(), labels, &mut Vec::new());
        let partition = id.partition(16);
        b.define(partition, id, labels.as_packed());
        b.push(partition, id, *t, *v);
    }
    let mut bytes = Vec::new();
    b.finish(HEADER, &tenant(), &mut bytes);
    Batch::parse(bytes.into()).unwrap()
}

fn apply(head: &Head, position: u64, batch: &Batch) {
    let refs = head.check(batch).unwrap();
    assert_eq!(head.apply(position, batch, &refs).unwrap(), Default::default());
}

type Samples = BTreeMap<i64, u64>;

/// What a select returns, decoded and joined: samples (as bits) by labels.
fn read(head: &Arc<Head>, matchers: Vec<Matcher>, range: TimeRange) -> BTreeMap<String, Samples> {
    let request = SelectRequest {
        tenant: tenant(),
        range,
        matchers,
        shard: Shard::ALL,
        with_chunks: true,
        series_max: usize::MAX,
    };
    let mut selection = head.select(&request, Order::Id).unwrap();
    let (mut out, mut last) = (BTreeMap::new(), None);
    while let Some(batch) = selection.next_batch().unwrap() {
        for s in batch {
            assert!(last < Some(s.id), "sorted by id");
            last = Some(s.id);
            assert!(s.chunks.is_sorted_by_key(|c| c.mint));
            let mut samples = Samples::new();
            for c in &s.chunks {
                let mut d = XorDecoder::new(&c.data).unwrap();
                while let Some((t, v)) = d.next().unwrap() {
                    assert!(c.mint.0 <= t && t <= c.maxt.0);
                    if range.contains(TimestampMs(t)) {
                        let joined = samples.get(&t).map_or(v, |old| join_values(f64::from_bits(*old), v));
                        samples.insert(t, joined.to_bits());
                    }
                }
            }
            out.insert(s.labels.to_string(), samples);
        }
    }
    out.retain(|_, s| !s.is_empty());
    out
}

fn up() -> Vec<Matcher> {
    vec![Matcher::equal("__name__", "up")]
}

#[test]
fn a_batch_that_names_unknown_series_is_refused_with_their_ids() {
    let (head, _) = open(&SimDisk::new());
    let id = SeriesId(42);
    let mut b = BatchBuilder::new();
    b.push(id.partition(16), id, 1, 1.0);
    let mut bytes = Vec::new();
    b.finish(HEADER, &tenant(), &mut bytes);
    assert_eq!(head.check(&Batch::parse(bytes.into()).unwrap()).unwrap_err(), [id]);
}

#[test]
fn chunks_are_cut_at_120_samples_and_at_half_hours() {
    let (head, _) = open(&SimDisk::new());
    let l = labels("up", 1);
    for i in 0..300 {
        apply(&head, i + 1, &batch_of(&[(&l, i as i64 * 15_000, 1.0)]));
    }
    let request = SelectRequest {
        tenant: tenant(),
        range: ALL_TIME,
        matchers: up(),
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 9,
    };
    let series = head.select(&request, Order::Id).unwrap().next_batch().unwrap().unwrap();
    let spans: Vec<_> = series[0].chunks.iter().map(|c| (c.mint.0 / 15_000, c.maxt.0 / 15_000)).collect();
    assert_eq!(spans, [(0, 119), (120, 239), (240, 299)]);
    assert_eq!(head.stats().chunk_count, 3);
}

#[test]
fn a_reader_never_sees_half_a_scrape() {
    let dir = tempfile::tempdir().unwrap();
    let (head, _) = Head::open(Arc::new(RealDisk), dir.path(), Limits::default()).unwrap();
    let head = Arc::new(head);
    // The buckets of one histogram: over 16 partitions, in each batch all with the same value.
    let buckets: Vec<Labels> = (0..64).map(|i| labels("up", i)).collect();
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (head, done) = (head.clone(), done.clone());
        move || {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                let seen = read(&head, up(), ALL_TIME);
                if !seen.is_empty() {
                    assert_eq!(seen.len(), 64, "all series of the first scrape, or none");
                    let lasts: std::collections::BTreeSet<_> =
                        seen.values().map(|s| s.last_key_value().map(|(t, v)| (*t, *v))).collect();
                    assert_eq!(lasts.len(), 1, "{lasts:?}");
                    reads += 1;
                }
            }
            reads
        }
    });
    for i in 0..3000u64 {
        let samples: Vec<_> = buckets.iter().map(|l| (l, i as i64 * 15_000, i as f64)).collect();
        apply(&head, i + 1, &batch_of(&samples));
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn series_without_samples_go_at_the_second_collection() {
    let (head, _) = open(&SimDisk::new());
    let (old, new) = (labels("up", 1), labels("up", 2));
    apply(&head, 1, &batch_of(&[(&old, 1000, 1.0), (&new, 1000, 1.0)]));
    apply(&head, 2, &batch_of(&[(&new, 9_000_000, 1.0)]));
    assert_eq!(head.collect_garbage(TimestampMs(5000)), 0);
    let without_definition = |l: &Labels| {
        let id = SeriesId::compute(&tenant(), l, &mut Vec::new());
        let mut b = BatchBuilder::new();
        b.push(id.partition(16), id, 9_000_000, 2.0);
        let mut bytes = Vec::new();
        b.finish(HEADER, &tenant(), &mut bytes);
        Batch::parse(bytes.into()).unwrap()
    };
    assert!(head.check(&without_definition(&old)).is_err(), "its definition is asked for again");
    assert!(head.check(&without_definition(&new)).is_ok());
    assert_eq!(head.collect_garbage(TimestampMs(5000)), 1);
    assert_eq!(head.stats().series_count, 1);
    assert_eq!(read(&head, up(), ALL_TIME).len(), 1);
    apply(&head, 3, &batch_of(&[(&old, 9_000_000, 3.0)]));
    assert_eq!(read(&head, up(), ALL_TIME).len(), 2);
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_older_one() {
    let disk = SimDisk::new();
    let (head, _) = open(&disk);
    let l = labels("up", 1);
    apply(&head, 1, &batch_of(&[(&l, 1000, 1.0)]));
    head.write_snapshot(|| b"one".to_vec()).unwrap();
    apply(&head, 2, &batch_of(&[(&l, 2000, 2.0)]));
    assert_eq!(head.write_snapshot(|| b"two".to_vec()).unwrap(), 1, "the log is needed from the older one on");
    let newest = Path::new("/data/snapshots").join(format!("{:020}", 2));
    use disk::Disk;
    let file = disk.open(&newest).unwrap();
    let len = file.len().unwrap();
    for at in (8..len).step_by(7) {
        let was = file.bytes(at, 1).unwrap();
        file.write_at(&[was[0] ^ 0x10], at).unwrap();
        let (_, recovered) = Head::open(Arc::new(disk.clone()), Path::new("/data"), Limits::default()).unwrap();
        assert_eq!((recovered.position, recovered.extra.as_slice()), (1, &b"one"[..]), "byte {at}");
        assert_eq!(recovered.damaged.len(), 1);
        file.write_at(&was, at).unwrap();
    }
    let (_, recovered) = Head::open(Arc::new(disk), Path::new("/data"), Limits::default()).unwrap();
    assert_eq!((recovered.position, recovered.extra.as_slice()), (2, &b"two"[..]));
}

#[test]
fn names_and_values_of_labels_are_those_of_matching_series() {
    let (head, _) = open(&SimDisk::new());
    let other = Labels::from_pairs([("__name__", "down"), ("zone", "a")]).unwrap();
    apply(&head, 1, &batch_of(&[(&labels("up", 1), 10, 1.0), (&labels("up", 2), 99_000, 1.0), (&other, 10, 1.0)]));
    let query = |sets: Vec<Vec<Matcher>>, maxt| LabelQuery {
        tenant: tenant(),
        range: TimeRange::new(TimestampMs(0), TimestampMs(maxt)),
        matcher_sets: sets,
    };
    assert_eq!(head.label_names(&query(vec![], 100)), ["__name__", "instance", "zone"]);
    assert_eq!(head.label_names(&query(vec![up()], 100)), ["__name__", "instance"]);
    assert_eq!(head.label_values("instance", &query(vec![up()], 100)), ["1"]);
    assert_eq!(head.label_values("instance", &query(vec![up()], 100_000)), ["1", "2"]);
    assert_eq!(head.label_values("nothing", &query(vec![], 100_000)), [""; 0]);
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u32, i64, u8)>),
    Snapshot,
    /// Power is lost; the log, here the list of batches, brings back what the snapshot lacks.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let sample = (0u32..4, prop_oneof![0i64..40, 100i64..140, 0i64..100_000], 0u8..4);
    prop_oneof![
        8 => proptest::collection::vec(sample, 1..40).prop_map(Step::Append),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
    ]
}

fn value(code: u8) -> f64 {
    [stale_nan(), f64::NAN, 1.0, -0.0][usize::from(code)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a map from timestamp to value, over late samples, repeats, snapshots and restarts.
    #[test]
    fn the_head_holds_what_a_map_holds(steps in proptest::collection::vec(step(), 1..40)) {
        let disk = SimDisk::new();
        let (mut head, _) = open(&disk);
        let mut now = disk.clone();
        let mut log: Vec<Batch> = Vec::new();
        let mut model: BTreeMap<String, Samples> = BTreeMap::new();
        for s in &steps {
            match s {
                Step::Append(samples) => {
                    let named: Vec<_> = samples.iter().map(|(i, t, v)| (labels("up", *i), t * 10_000, value(*v))).collect();
                    let batch = batch_of(&named.iter().map(|(l, t, v)| (l, *t, *v)).collect::<Vec<_>>());
                    log.push(batch.clone());
                    apply(&head, log.len() as u64, &batch);
                    for (l, t, v) in named {
                        let samples = model.entry(l.to_string()).or_default();
                        let joined = samples.get(&t).map_or(v, |old| join_values(f64::from_bits(*old), v));
                        samples.insert(t, joined.to_bits());
                    }
                }
                Step::Snapshot => {
                    head.write_snapshot(Vec::new).unwrap();
                }
                Step::Restart => {
                    now = now.after_power_loss();
                    let (again, position) = open(&now);
                    for (i, batch) in log.iter().enumerate().skip(usize::try_from(position).unwrap()) {
                        for section in batch.sections() {
                            again.replay_section(i as u64 + 1, section, None).unwrap();
                        }
                        again.note_bounds(batch);
                    }
                    again.replayed(log.len() as u64);
                    head = again;
                }
            }
        }
        prop_assert_eq!(read(&head, up(), ALL_TIME), model.clone());
        let part = TimeRange::new(TimestampMs(300_000), TimestampMs(2_000_000));
        let mut cut = model;
        for samples in cut.values_mut() {
            samples.retain(|t, _| part.contains(TimestampMs(*t)));
        }
        cut.retain(|_, s| !s.is_empty());
        prop_assert_eq!(read(&head, up(), part), cut);
    }
}
