//! Series of floats and histograms, mixed: against a map from timestamp to value.

use std::collections::BTreeMap;

use model::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Histogram, SampleValue, Span, join};

use super::*;

type Values = BTreeMap<String, BTreeMap<i64, SampleValue>>;

fn batch_of(samples: &[(Labels, i64, SampleValue)]) -> Batch {
    let mut b = BatchBuilder::new();
    for (labels, t, v) in samples {
        let id = SeriesId::compute(&tenant(), labels, &mut Vec::new());
        let partition = id.partition(16);
        b.define(partition, id, labels.as_packed());
        b.value(partition, id, *t, v);
    }
    let mut bytes = Vec::new();
    b.finish(HEADER, &tenant(), &mut bytes);
    Batch::parse(bytes.into()).unwrap()
}

fn request() -> SelectRequest {
    SelectRequest {
        tenant: tenant(),
        range: ALL_TIME,
        matchers: up(),
        shard: Shard::ALL,
        with_chunks: true,
        series_max: usize::MAX,
    }
}

fn collect(mut selection: crate::Selection) -> Values {
    let mut out = Values::new();
    while let Some(batch) = selection.next_batch().unwrap() {
        for s in batch {
            let values = out.entry(s.labels.to_string()).or_default();
            for c in &s.chunks {
                for (t, v) in crate::decode_values(c.encoding, &c.data).unwrap() {
                    assert!(c.mint.0 <= t && t <= c.maxt.0);
                    add(values, t, v);
                }
            }
        }
    }
    out
}

fn add(values: &mut BTreeMap<i64, SampleValue>, t: i64, v: SampleValue) {
    let joined = match values.remove(&t) {
        Some(held) => join(held, v),
        None => v,
    };
    values.insert(t, joined);
}

fn same(a: &Values, b: &Values) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((x, a), (y, b))| {
            let pairs = a.iter().zip(b);
            x == y && a.len() == b.len() && pairs.into_iter().all(|((t, v), (u, w))| t == u && v.means(w))
        })
}

/// A few kinds of histograms: counters that grow with `n`, gauges, custom buckets, other layouts, markers.
fn value(code: u8, n: u64) -> SampleValue {
    let span = |offset, length| Span { offset, length };
    let n_i64 = i64::try_from(n).unwrap();
    let counter = Histogram {
        count: n + 3,
        sum: 1.0,
        positive_spans: vec![span(0, 2)],
        positive_buckets: vec![n_i64, 3 - n_i64],
        ..Histogram::default()
    };
    let gauge = Histogram { counter_reset_hint: CounterResetHint::Gauge, ..counter.clone() };
    let wider = Histogram {
        positive_spans: vec![span(0, 2), span(1, 1)],
        positive_buckets: vec![n_i64, 3 - n_i64, -3],
        ..counter.clone()
    };
    let custom = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: vec![1.0, 2.0], ..counter.clone() };
    let integer = |h: Histogram| SampleValue::Histogram(Box::new(h));
    match code % 8 {
        0 => SampleValue::Float(f64::from(u32::try_from(n).unwrap())),
        1 => integer(Histogram::stale()),
        2 => integer(gauge),
        3 => integer(custom),
        4 => SampleValue::FloatHistogram(Box::new(wider.to_float())),
        5 => integer(wider),
        _ => integer(counter),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_head_holds_what_a_map_holds_of_any_kind(
        steps in proptest::collection::vec(
            prop_oneof![
                8 => proptest::collection::vec((0u32..3, prop_oneof![0i64..60, 0i64..4000], any::<u8>()), 1..40)
                    .prop_map(Some),
                1 => Just(None),
            ],
            1..30,
        ),
    ) {
        let mut disk = SimDisk::new();
        let (mut head, _) = open(&disk);
        let (mut log, mut map, mut newest) = (Vec::new(), Values::new(), 0i64);
        for (i, step) in steps.iter().enumerate() {
            let Some(samples) = step else {
                head.write_snapshot(Vec::new).unwrap();
                disk = disk.after_power_loss();
                let (again, position) = open(&disk);
                for (i, batch) in log.iter().enumerate().skip(usize::try_from(position).unwrap()) {
                    let batch: &Batch = batch;
                    for section in batch.sections() {
                        again.replay_section(i as u64 + 1, section, None).unwrap();
                    }
                    again.note_bounds(batch);
                }
                again.replayed(log.len() as u64);
                head = again;
                continue;
            };
            // Mostly in order, so that chunks grow; with late samples and repeats.
            newest += 30;
            let code = u8::try_from(i % 8).unwrap();
            let sample = |(n, t, c): &(u32, i64, u8)| {
                let t = if *t < 60 { (newest + t) * 10_000 } else { t * 10_000 };
                let code = if *c < 200 { code } else { *c };
                (labels("up", *n), t, value(code, u64::try_from(t / 10_000).unwrap()))
            };
            let mut samples: Vec<_> = samples.iter().map(sample).collect();
            samples.sort_by_key(|s| s.1);
            let batch = batch_of(&samples);
            let before = head.select(&request(), Order::Id).unwrap();
            let expected_before = map.clone();
            log.push(batch.clone());
            apply(&head, log.len() as u64, &batch);
            // Floats come first in a batch; joining does not mind.
            samples.into_iter().for_each(|(l, t, v)| add(map.entry(l.to_string()).or_default(), t, v));
            // A selection made before the batch shows none of its newer samples, though chunks were laid out anew since.
            let seen = collect(before);
            for (series, values) in &expected_before {
                for (t, v) in values {
                    let (held, then) = (&seen[series][t], &map[series][t]);
                    prop_assert!(held.means(v) || held.means(then), "{} at {}", series, t);
                }
            }
        }
        let held = collect(head.select(&request(), Order::Id).unwrap());
        prop_assert!(same(&held, &map), "{:?}\n{:?}", held, map);
    }
}

#[test]
fn histograms_lie_in_few_chunks_and_a_repeat_adds_nothing() {
    let (head, _) = open(&SimDisk::new());
    let l = labels("up", 1);
    for i in 0..50u64 {
        let t = i64::try_from(i).unwrap() * 15_000;
        for again in 0..2 {
            apply(&head, i * 2 + again + 1, &batch_of(&[(l.clone(), t, value(6, i))]));
        }
    }
    let series = head.select(&request(), Order::Id).unwrap().next_batch().unwrap().unwrap();
    assert_eq!(series[0].chunks.len(), 1);
    assert_eq!(series[0].chunks[0].data[..2], [0, 50]);
    apply(&head, 101, &batch_of(&[(l.clone(), 750_000, value(0, 5))]));
    apply(&head, 102, &batch_of(&[(l.clone(), 760_000, value(6, 60))]));
    let series = head.select(&request(), Order::Id).unwrap().next_batch().unwrap().unwrap();
    let kinds: Vec<_> = series[0].chunks.iter().map(|c| c.encoding).collect();
    use storage::ChunkEncoding::{Histogram, Xor};
    assert_eq!(kinds, [Histogram, Xor, Histogram]);
    assert_eq!(head.collect_garbage(TimestampMs(9_000_000)), 0);
    assert_eq!(head.collect_garbage(TimestampMs(9_000_000)), 1);
}
