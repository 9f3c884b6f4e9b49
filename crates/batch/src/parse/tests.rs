use model::{CounterResetHint, Histogram, Labels, Metadata, MetricType, SampleValue, Span};
use proptest::prelude::*;

use super::*;
use crate::{BatchBuilder, Column};

const HEADER: BatchHeader = BatchHeader { group: 3, generation: 7, writer: 0xdead_beef, seq: 42 };

fn define(tenant: &TenantId, name: &str) -> (SeriesId, Labels) {
    let labels = Labels::from_pairs([("__name__", name), ("job", "x")]).unwrap();
    (SeriesId::compute(tenant, &labels, &mut Vec::new()), labels)
}

/// Every float sample in order, as (tenant, partition, id, timestamp, bits).
fn floats(batch: &Batch) -> Vec<(String, u32, SeriesId, i64, u64)> {
    let mut out = Vec::new();
    for s in batch.sections() {
        for column in s.columns() {
            if let Column::Floats(f) = column {
                f.for_each_run(|id, samples| {
                    out.extend(samples.map(|(t, v)| (s.tenant.to_string(), s.partition.0, id, t, v.to_bits())));
                });
            }
        }
    }
    out
}

fn integer() -> Histogram {
    Histogram {
        counter_reset_hint: CounterResetHint::NotReset,
        schema: model::CUSTOM_BUCKETS_SCHEMA,
        count: 12,
        sum: -0.5,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive_buckets: vec![5, -3, 3],
        custom_values: vec![0.1, 1.0, 2.5],
        ..Histogram::default()
    }
}

fn histogram() -> SampleValue {
    SampleValue::Histogram(Box::new(integer()))
}

fn sample_batch() -> Vec<u8> {
    let t = TenantId::anonymous();
    let (id, labels) = define(&t, "up");
    let mut b = BatchBuilder::new();
    b.define(PartitionId(5), id, labels.as_packed());
    b.push(PartitionId(5), id, 1000, 1.5);
    b.push(PartitionId(5), id, 2000, f64::NAN);
    b.exemplar(PartitionId(5), id, 1500, 9.0, &Labels::from_pairs([("trace_id", "abc")]).unwrap());
    for (t2, value) in [(2500, histogram()), (500, SampleValue::FloatHistogram(Box::new(integer().to_float())))] {
        b.value(PartitionId(5), id, t2, &value);
    }
    let metadata = Metadata { metric_type: MetricType::Gauge, help: "is it up".into(), unit: String::new() };
    b.metadata(PartitionId(5), "up", &metadata);
    let mut out = Vec::new();
    b.finish(HEADER, &t, &mut out);
    out
}

#[test]
fn all_kinds_of_column_come_back() {
    let batch = Batch::parse(sample_batch().into()).unwrap();
    assert_eq!(batch.header(), HEADER);
    assert_eq!(batch.time_bounds(), Some((500, 2500)));
    assert_eq!(batch.sample_count(), 4);
    assert_eq!((batch.sections().len(), batch.tenant()), (1, &TenantId::anonymous()));
    let section = batch.sections().next().unwrap();
    let names: Vec<_> = section
        .columns()
        .map(|c| match c {
            Column::Definitions(d) => {
                format!("definitions {}", d.map(|d| d.labels.to_labels().to_string()).collect::<String>())
            }
            Column::Floats(f) => format!("floats in {} runs", f.run_count()),
            Column::Histograms(h) => {
                let all: Vec<_> = h.map(|e| (e.timestamp, e.value)).collect();
                let float = SampleValue::FloatHistogram(Box::new(integer().to_float()));
                match &all[..] {
                    [(2500, h)] if *h == histogram() => "histogram".to_owned(),
                    [(500, h)] if *h == float => "float histogram".to_owned(),
                    other => format!("{other:?}"),
                }
            }
            Column::Exemplars(e) => format!("exemplars {:?}", e.map(|e| (e.timestamp, e.value)).collect::<Vec<_>>()),
            Column::Metadata(m) => format!("metadata {:?}", m.map(|m| m.metadata.help).collect::<Vec<_>>()),
        })
        .collect();
    assert_eq!(
        names,
        [
            r#"definitions {__name__="up", job="x"}"#,
            "floats in 1 runs",
            "histogram",
            "float histogram",
            "exemplars [(1500, 9.0)]",
            r#"metadata ["is it up"]"#
        ]
    );
}

/// The bytes of a batch with a sample at each of these times, of as many series, in so many partitions in turns; the builder's
/// bound holds.
fn byte_len(partitions: u32, times: impl Iterator<Item = i64>) -> usize {
    let mut b = BatchBuilder::new();
    for (i, t) in (0..).zip(times) {
        b.push(PartitionId(i % partitions), SeriesId(u128::from(i)), t, 0.5);
    }
    let (bound, mut out) = (b.byte_len_max(), Vec::new());
    b.finish(HEADER, &TenantId::anonymous(), &mut out);
    assert!(bound >= out.len());
    out.len()
}

#[test]
fn in_the_steady_state_a_sample_takes_24_bytes_and_a_section_8() {
    let now = 1_700_000_000_000;
    let header = 38 + "anonymous".len() + 1;
    assert_eq!(byte_len(1, std::iter::empty()), header);
    assert_eq!(byte_len(64, [now; 512].into_iter()), header + 64 * 8 + 512 * 24);
    // A long section: its length and its numbers take another byte each.
    assert_eq!(byte_len(1, [now; 1000].into_iter()), header + 8 + 3 + 1000 * 24);
    // Targets that were scraped one after the other: nearly each sample of a section has a time of its own.
    let spread = (0..512).map(|i| now + i / 100 * 1_000);
    assert!(byte_len(64, spread) < header + 64 * 22 + 512 * 24);
    // Nothing in common: at most 2 bytes for each difference here.
    assert!(byte_len(1, (0..1000).map(|i| now + i * 60)) < header + 11 + 1000 * 26);
}

#[test]
fn what_is_no_batch_is_refused_whole() {
    let good = sample_batch();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Batch::parse(bytes.into()).err()
    };
    assert_eq!(refused(&|b| b[0] = 1), Some(ParseError::Version(1)));
    assert_eq!(refused(&|b| b.push(0)), Some(ParseError::Malformed("bytes after the last section")));
    assert_eq!(
        refused(&|b| b.resize(BATCH_BYTES_MAX + 1, 0)),
        Some(ParseError::TooLong { bytes: BATCH_BYTES_MAX + 1 })
    );
    let tenant_at = 38;
    assert_eq!(refused(&|b| b[tenant_at] = b'/'), Some(ParseError::Malformed("tenant")));
    let columns_at = tenant_at + "anonymous".len() + 1 + 1;
    assert_eq!(refused(&|b| b[columns_at] |= 0x40), Some(ParseError::Kind(6)));
    let id_at = columns_at + 2;
    assert_eq!(
        refused(&|b| b[id_at] ^= 1),
        Some(ParseError::Malformed("a definition's labels have another id")),
        "a definition that lies about its id must not poison a head"
    );
    for len in 0..good.len() {
        assert!(Batch::parse(good[..len].to_vec().into()).is_err(), "cut at {len}");
    }
}

#[test]
fn a_partition_that_comes_twice_is_refused() {
    let mut b = BatchBuilder::new();
    for partition in [5, 3, 4] {
        b.push(PartitionId(partition), SeriesId(1), 5, 1.0);
    }
    let mut good = Vec::new();
    b.finish(HEADER, &TenantId::anonymous(), &mut good);
    // Their length takes one byte.
    let section = 7 + 24;
    let at = |i: usize| 38 + "anonymous".len() + 1 + i * section;
    assert_eq!([good[at(0)], good[at(1)], good[at(2)]], [3, 4, 5]);
    assert_eq!(good.len(), at(3));
    let parsed = |partitions: [u8; 3]| {
        let mut bytes = good.clone();
        (0..3).for_each(|i| bytes[at(i)] = partitions[i]);
        Batch::parse(bytes.into()).map(|b| b.sections().map(|s| s.partition.0).collect::<Vec<_>>())
    };
    assert_eq!(parsed([1, 4, 9]), Ok(vec![1, 4, 9]));
    let refused = Err(ParseError::Malformed("partitions are not in order"));
    assert_eq!(parsed([3, 3, 5]), refused);
    assert_eq!(parsed([3, 4, 3]), refused);
    assert_eq!(parsed([4, 3, 5]), refused);
}

/// A batch of these samples: partition, series, time.
fn of_floats(samples: &[(u32, u128, i64)]) -> Batch {
    let (mut b, mut out) = (BatchBuilder::new(), Vec::new());
    samples.iter().for_each(|(p, id, t)| b.push(PartitionId(*p), SeriesId(*id), *t, 1.0));
    b.finish(HEADER, &TenantId::anonymous(), &mut out);
    Batch::parse(out.into()).unwrap()
}

fn joined(batches: &[Batch]) -> Batch {
    let mut out = Vec::new();
    Batch::join(BatchHeader { seq: 43, ..HEADER }, batches, &mut out);
    assert!(out.len() <= batches.iter().map(Batch::joined_bytes_max).sum::<usize>());
    Batch::parse(out.into()).unwrap()
}

#[test]
fn joined_batches_have_each_partition_once_and_keep_the_order_of_a_series() {
    let check = |batches: &[&[(u32, u128, i64)]], expected: &[(u32, u128, i64)]| {
        let batch = joined(&batches.iter().map(|samples| of_floats(samples)).collect::<Vec<_>>());
        let said: Vec<_> = floats(&batch).into_iter().map(|(_, p, id, t, _)| (p, id.0, t)).collect();
        assert_eq!((said, batch.header().seq), (expected.to_vec(), 43));
        assert_eq!(batch.sample_count(), expected.len());
    };
    check(&[&[(1, 7, 5)]], &[(1, 7, 5)]);
    check(&[&[(1, 7, 5)], &[(1, 7, 5)]], &[(1, 7, 5), (1, 7, 5)]);
    check(&[&[(2, 7, 5), (1, 8, 5)], &[(1, 9, 6), (3, 8, 6)]], &[(1, 8, 5), (1, 9, 6), (2, 7, 5), (3, 8, 6)]);
    // Runs of one sample and of several, and each way in which the second's timestamps can begin.
    check(&[&[(1, 7, 5), (1, 8, 5)], &[(1, 7, 5), (1, 7, 5)]], &[(1, 7, 5), (1, 8, 5), (1, 7, 5), (1, 7, 5)]);
    check(&[&[(1, 7, 5)], &[(1, 7, 9), (1, 7, 9), (1, 7, 9)]], &[(1, 7, 5), (1, 7, 9), (1, 7, 9), (1, 7, 9)]);
    check(&[&[(1, 7, 5), (1, 8, 9)], &[(2, 7, 4), (1, 8, 9)]], &[(1, 7, 5), (1, 8, 9), (1, 8, 9), (2, 7, 4)]);
    check(&[&[(1, 7, i64::MIN)], &[(1, 7, i64::MAX)]], &[(1, 7, i64::MIN), (1, 7, i64::MAX)]);
    check(&[&[], &[(1, 7, 5)], &[]], &[(1, 7, 5)]);
}

#[test]
fn joined_batches_keep_every_kind_of_column() {
    let whole = Batch::parse(sample_batch().into()).unwrap();
    let other = of_floats(&[(5, 9, 77), (6, 9, 78)]);
    let batch = joined(&[other.clone(), whole.clone(), whole]);
    let mut said = Vec::new();
    for section in batch.sections() {
        said.extend(section.columns().map(|column| match column {
            Column::Definitions(d) => format!("{}: {} definitions", section.partition.0, d.count()),
            Column::Floats(f) => format!("{}: {} samples", section.partition.0, f.sample_count()),
            Column::Histograms(h) => format!("{}: {} histograms", section.partition.0, h.count()),
            Column::Exemplars(e) => format!("{}: {} exemplars", section.partition.0, e.count()),
            Column::Metadata(m) => format!("{}: {} metadata", section.partition.0, m.count()),
        }));
    }
    let expected =
        "5: 2 definitions, 5: 5 samples, 5: 2 histograms, 5: 2 histograms, 5: 2 exemplars, 5: 2 metadata, 6: 1 samples";
    assert_eq!(said.join(", "), expected);
    assert_eq!((batch.time_bounds(), batch.sample_count()), (Some((77, 2500)), 10));
}

#[test]
fn histograms_that_no_chunk_can_hold_are_refused() {
    let parsed = |value: &SampleValue| {
        let (mut b, mut out) = (BatchBuilder::new(), Vec::new());
        b.value(PartitionId(0), SeriesId(1), 5, value);
        assert!(b.byte_len_max() > 60 + crate::histogram_bytes_max(value));
        b.finish(HEADER, &TenantId::anonymous(), &mut out);
        Batch::parse(out.into()).map(|b| b.sample_count())
    };
    let with = |change: fn(&mut Histogram)| {
        let mut h = integer();
        change(&mut h);
        SampleValue::Histogram(Box::new(h))
    };
    assert_eq!(parsed(&histogram()), Ok(1));
    assert_eq!(parsed(&SampleValue::Histogram(Box::new(Histogram::stale()))), Ok(1));
    let refused = Err(ParseError::Malformed("histogram"));
    assert_eq!(parsed(&with(|h| h.schema = 9)), refused);
    assert_eq!(parsed(&with(|h| h.schema = 0)), refused, "bounds without custom buckets");
    assert_eq!(parsed(&with(|h| h.positive_spans[0].length = 3)), refused);
    assert_eq!(parsed(&with(|h| h.positive_spans[0].length = u32::MAX)), refused);
    assert_eq!(parsed(&with(|h| h.positive_spans[1].offset = -1)), refused);
    assert_eq!(parsed(&with(|h| h.custom_values = vec![1.0])), refused);
}

#[test]
fn thousands_of_damaged_batches_are_read_or_refused() {
    let (good, mut random) = (sample_batch(), 7u64);
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for _ in 0..4000 {
        let mut bytes = good.clone();
        for _ in 0..1 + next() % 3 {
            let at = next() % bytes.len();
            bytes[at] = next() as u8;
        }
        crate::fuzzing::fuzz_batch(&bytes);
    }
}

proptest! {
    #[test]
    fn samples_come_back(samples in proptest::collection::vec((0u32..3, 0u128..4, any::<i64>(), any::<u64>()), 0..200)) {
        let t = TenantId::anonymous();
        let mut b = BatchBuilder::new();
        for (p, id, ts, bits) in &samples {
            b.push(PartitionId(*p), SeriesId(*id), *ts, f64::from_bits(*bits));
        }
        let mut out = Vec::new();
        let bound = b.byte_len_max();
        b.finish(HEADER, &t, &mut out);
        prop_assert!(out.len() <= bound);
        let batch = Batch::parse(out.into()).unwrap();
        let mut expected: Vec<_> =
            samples.iter().map(|(p, id, ts, bits)| (t.to_string(), *p, SeriesId(*id), *ts, *bits)).collect();
        expected.sort_by_key(|e| e.1);
        prop_assert_eq!(floats(&batch), expected);
    }

    #[test]
    fn what_is_joined_is_what_was_there(
        batches in proptest::collection::vec(
            proptest::collection::vec((0u32..4, 0u128..3, prop_oneof![3 => 0i64..3, 1 => any::<i64>()]), 0..40), 1..6,
        ),
    ) {
        let batch = joined(&batches.iter().map(|samples| of_floats(samples)).collect::<Vec<_>>());
        let mut expected: Vec<_> = batches.concat();
        expected.sort_by_key(|sample| sample.0);
        let said: Vec<_> = floats(&batch).into_iter().map(|(_, p, id, t, _)| (p, id.0, t)).collect();
        prop_assert_eq!(said, expected);
    }

    #[test]
    fn damaged_bytes_never_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut bytes = sample_batch();
        let n = bytes.len();
        bytes[at % n] = byte;
        bytes.truncate(n - cut % n);
        if let Ok(batch) = Batch::parse(bytes.into()) {
            floats(&batch);
        }
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        if let Ok(batch) = Batch::parse(bytes.into()) {
            floats(&batch);
        }
    }
}
