use model::{CounterResetHint, Histogram, Labels, SampleValue, Span};
use proptest::prelude::*;

use super::*;
use crate::BatchBuilder;

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
    b.define(&t, PartitionId(5), id, labels.as_packed());
    b.push(&t, PartitionId(5), id, 1000, 1.5);
    b.push(&t, PartitionId(5), id, 2000, f64::NAN);
    b.exemplar(&t, PartitionId(5), id, 1500, 9.0, &Labels::from_pairs([("trace_id", "abc")]).unwrap());
    for (t2, value) in [(2500, histogram()), (500, SampleValue::FloatHistogram(Box::new(integer().to_float())))] {
        b.value(&t, PartitionId(5), id, t2, &value);
    }
    let metadata = Metadata { metric_type: MetricType::Gauge, help: "is it up".into(), unit: String::new() };
    b.metadata(&t, PartitionId(5), "up", &metadata);
    let mut out = Vec::new();
    b.finish(HEADER, &mut out);
    out
}

#[test]
fn all_kinds_of_column_come_back() {
    let batch = Batch::parse(sample_batch().into()).unwrap();
    assert_eq!(batch.header(), HEADER);
    assert_eq!(batch.time_bounds(), Some((500, 2500)));
    assert_eq!(batch.sample_count(), 4);
    let [section] = batch.sections() else { panic!("one section") };
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

#[test]
fn a_sample_in_the_steady_state_takes_26_bytes() {
    let t = TenantId::anonymous();
    let mut b = BatchBuilder::new();
    for i in 0..1000u128 {
        b.push(&t, PartitionId(0), SeriesId(i), 1_700_000_000_000, 0.5);
    }
    let mut out = Vec::new();
    assert!(b.byte_len_max() >= 26_000);
    b.finish(HEADER, &mut out);
    assert!(out.len() < 26_100, "{}", out.len());
}

#[test]
fn what_is_no_batch_is_refused_whole() {
    let good = sample_batch();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Batch::parse(bytes.into()).err()
    };
    assert_eq!(refused(&|b| b[0] = 2), Some(ParseError::Version(2)));
    assert_eq!(refused(&|b| b.push(0)), Some(ParseError::Malformed("bytes after the last section")));
    assert_eq!(
        refused(&|b| b.resize(BATCH_BYTES_MAX + 1, 0)),
        Some(ParseError::TooLong { bytes: BATCH_BYTES_MAX + 1 })
    );
    let kind_at = 33 + 1 + "anonymous".len() + 4 + 1;
    assert_eq!(refused(&|b| b[kind_at] = 99), Some(ParseError::Kind(99)));
    let id_at = kind_at + 5;
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
fn histograms_that_no_chunk_can_hold_are_refused() {
    let parsed = |value: &SampleValue| {
        let (mut b, mut out) = (BatchBuilder::new(), Vec::new());
        b.value(&TenantId::anonymous(), PartitionId(0), SeriesId(1), 5, value);
        assert!(b.byte_len_max() > 60 + crate::histogram_bytes_max(value));
        b.finish(HEADER, &mut out);
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
            b.push(&t, PartitionId(*p), SeriesId(*id), *ts, f64::from_bits(*bits));
        }
        let mut out = Vec::new();
        let bound = b.byte_len_max();
        b.finish(HEADER, &mut out);
        prop_assert!(out.len() <= bound);
        let batch = Batch::parse(out.into()).unwrap();
        let mut expected: Vec<_> =
            samples.iter().map(|(p, id, ts, bits)| (t.to_string(), *p, SeriesId(*id), *ts, *bits)).collect();
        let first_seen = |p: u32| samples.iter().position(|s| s.0 == p);
        expected.sort_by_key(|e| first_seen(e.1));
        prop_assert_eq!(floats(&batch), expected);
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
