//! Against chunks that Prometheus 3.14 wrote, against itself, and against damage.

use std::collections::BTreeMap;

use model::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, Span};
use proptest::prelude::*;

use super::spans::indexes;
use super::*;
use crate::DecodeError;
use crate::fuzzing::fuzz_histograms;

/// `kind seed cut samples chunks`, written by Go's `tsdb/chunkenc` at v3.14.0. After `cut` samples (unless 0) a new chunk was
/// begun. Samples: `time;hint;schema;zero width;zero count;count;sum;spans;spans;buckets;buckets;bounds`, floats as bits.
const VECTORS: &str = include_str!("../../tests/histogram_vectors.txt");

struct Vector<H> {
    name: &'static str,
    cut: u16,
    samples: Vec<(i64, H)>,
    chunks: Vec<Vec<u8>>,
}

fn list<T>(text: &str, item: impl Fn(&str) -> T) -> Vec<T> {
    text.split(',').filter(|t| !t.is_empty()).map(item).collect()
}

fn bits(text: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(text, 16).unwrap())
}

fn spans(text: &str) -> Vec<Span> {
    list(text, |s| {
        let (offset, length) = s.split_once('/').unwrap();
        Span { offset: offset.parse().unwrap(), length: length.parse().unwrap() }
    })
}

fn hint(text: &str) -> CounterResetHint {
    [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge]
        [text.parse::<usize>().unwrap()]
}

fn integer(text: &str) -> (i64, Histogram) {
    let f: Vec<&str> = text.split(';').collect();
    let h = Histogram {
        counter_reset_hint: hint(f[1]),
        schema: f[2].parse().unwrap(),
        zero_threshold: bits(f[3]),
        zero_count: f[4].parse().unwrap(),
        count: f[5].parse().unwrap(),
        sum: bits(f[6]),
        positive_spans: spans(f[7]),
        negative_spans: spans(f[8]),
        positive_buckets: list(f[9], |n| n.parse().unwrap()),
        negative_buckets: list(f[10], |n| n.parse().unwrap()),
        custom_values: list(f[11], bits),
    };
    (f[0].parse().unwrap(), h)
}

fn float(text: &str) -> (i64, FloatHistogram) {
    let f: Vec<&str> = text.split(';').collect();
    let h = FloatHistogram {
        counter_reset_hint: hint(f[1]),
        schema: f[2].parse().unwrap(),
        zero_threshold: bits(f[3]),
        zero_count: bits(f[4]),
        count: bits(f[5]),
        sum: bits(f[6]),
        positive_spans: spans(f[7]),
        negative_spans: spans(f[8]),
        positive_buckets: list(f[9], bits),
        negative_buckets: list(f[10], bits),
        custom_values: list(f[11], bits),
    };
    (f[0].parse().unwrap(), h)
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn vectors<H>(kind: &str, sample: fn(&str) -> (i64, H)) -> Vec<Vector<H>> {
    let line = |line: &'static str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0] == kind).then(|| Vector {
            name: words[1],
            cut: words[2].parse().unwrap(),
            samples: words[3].split('|').map(sample).collect(),
            chunks: list(words[4], unhex),
        })
    };
    VECTORS.lines().filter_map(line).collect()
}

/// All chunks that the samples come to lie in. Each builder is resumed from its bytes before each sample.
fn encode<H: ChunkHistogram>(samples: &[(i64, H)], cut: u16) -> Vec<Vec<u8>> {
    let (mut chunks, mut open) = (Vec::new(), Builder::<H>::default());
    for (t, h) in samples {
        if cut > 0 && open.sample_count() == cut {
            let next = Builder::new(open.counter_reset_before(h));
            chunks.push(std::mem::replace(&mut open, next).finish());
        }
        let mut resumed = Builder::<H>::from_bytes(open.bytes()).unwrap();
        assert_eq!(resumed.bytes(), open.bytes());
        let (pushed, also) = (open.push(*t, h), resumed.push(*t, h));
        assert_eq!(pushed, also);
        if open.sample_count() > 1 {
            assert_eq!(resumed.bytes(), open.bytes(), "at {t}");
        }
        if let Err(NeedsNewChunk { counter_reset }) = pushed {
            chunks.push(std::mem::replace(&mut open, Builder::new(counter_reset)).finish());
            open.push(*t, h).unwrap();
        }
    }
    assert_eq!(open.last_timestamp(), samples.last().map(|(t, _)| *t));
    chunks.push(open.finish());
    chunks
}

/// A histogram without the ways in which one can be written: empty buckets, spans, hints.
#[derive(Debug, PartialEq)]
struct Meaning {
    header: (i64, i32, u64, u64, u64, u64),
    positive: BTreeMap<i64, u64>,
    negative: BTreeMap<i64, u64>,
    bounds: Vec<u64>,
}

fn meaning(t: i64, h: &FloatHistogram) -> Meaning {
    let buckets = |spans: &[Span], counts: &[f64]| {
        let pairs = indexes(spans).zip(counts.iter().map(|n| n.to_bits()));
        pairs.filter(|(_, n)| *n != 0).collect()
    };
    if model::is_stale(h.sum) {
        let header = (t, 0, 0, 0, 0, h.sum.to_bits());
        return Meaning { header, positive: BTreeMap::new(), negative: BTreeMap::new(), bounds: Vec::new() };
    }
    let numbers = (h.zero_threshold.to_bits(), h.zero_count.to_bits(), h.count.to_bits(), h.sum.to_bits());
    Meaning {
        header: (t, h.schema, numbers.0, numbers.1, numbers.2, numbers.3),
        positive: buckets(&h.positive_spans, &h.positive_buckets),
        negative: buckets(&h.negative_spans, &h.negative_buckets),
        bounds: h.custom_values.iter().map(|b| b.to_bits()).collect(),
    }
}

fn decode(is_float: bool, bytes: &[u8]) -> Result<Vec<(i64, FloatHistogram)>, DecodeError> {
    HistogramSamples::new(is_float, bytes).collect()
}

#[test]
fn integer_chunks_are_those_of_prometheus() {
    let vectors = vectors("int", integer);
    assert_eq!(vectors.len(), 34);
    for Vector { name, cut, samples, chunks } in vectors {
        assert_eq!(encode(&samples, cut), chunks, "{name}");
        let (mut floats, mut integers) = (Vec::new(), Vec::new());
        for chunk in &chunks {
            floats.extend(decode(false, chunk).unwrap());
            integers.extend(IntegerHistogramSamples::new(chunk).map(Result::unwrap));
            // Layouts of finer resolutions than are stored come out reduced, so they cannot be written back.
            if samples[0].1.schema <= 8 {
                let read: Vec<_> = IntegerHistogramSamples::new(chunk).map(Result::unwrap).collect();
                check_reencoding(name, chunk, &read);
            }
        }
        if samples[0].1.schema > 8 {
            continue;
        }
        let expected: Vec<Meaning> = samples.iter().map(|(t, h)| meaning(*t, &h.to_float())).collect();
        assert_eq!(floats.iter().map(|(t, h)| meaning(*t, h)).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(integers.iter().map(|(t, h)| meaning(*t, &h.to_float())).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn float_chunks_are_those_of_prometheus() {
    let vectors = vectors("float", float);
    assert_eq!(vectors.len(), 34);
    for Vector { name, cut, samples, chunks } in vectors {
        assert_eq!(encode(&samples, cut), chunks, "{name}");
        let mut floats = Vec::new();
        for chunk in &chunks {
            let read = decode(true, chunk).unwrap();
            if samples[0].1.schema <= 8 {
                check_reencoding(name, chunk, &read);
            }
            floats.extend(read);
        }
        if samples[0].1.schema <= 8 {
            let expected: Vec<Meaning> = samples.iter().map(|(t, h)| meaning(*t, h)).collect();
            assert_eq!(floats.iter().map(|(t, h)| meaning(*t, h)).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}

/// What was read of a chunk is written back as the same chunk, but that a marker, which is no gauge, ends one of gauges.
fn check_reencoding<H: ChunkHistogram>(name: &str, chunk: &[u8], read: &[(i64, H)]) {
    let mut again = Builder::<H>::new(CounterReset::of_chunk(chunk));
    let gauges = CounterReset::of_chunk(chunk) == CounterReset::Gauge;
    for (t, h) in read {
        if gauges && h.counts().is_stale() {
            let not_first = again.sample_count() > 0;
            assert_eq!(again.push(*t, h).is_err(), not_first, "{name}");
            return;
        }
        again.push(*t, h).unwrap();
    }
    assert_eq!(again.bytes(), chunk, "{name}");
}

fn counter(count: u64, buckets: &[i64]) -> Histogram {
    Histogram {
        count,
        positive_spans: vec![Span { offset: 0, length: buckets.len() as u32 }],
        positive_buckets: buckets.to_vec(),
        ..Histogram::default()
    }
}

#[test]
fn hints_are_known_within_a_chunk_only() {
    let mut builder = HistogramBuilder::new(CounterReset::Reset);
    for t in 0..3 {
        builder.push(t, &counter(t as u64, &[t])).unwrap();
    }
    builder.push(3, &Histogram::stale()).unwrap();
    let hints: Vec<_> = decode(false, builder.bytes()).unwrap().iter().map(|(_, h)| h.counter_reset_hint).collect();
    use CounterResetHint::{Gauge, NotReset, Unknown};
    assert_eq!(hints, [Unknown, NotReset, NotReset, Unknown]);
    assert_eq!(CounterReset::of_chunk(builder.bytes()), CounterReset::Reset);
    let mut gauges = HistogramBuilder::default();
    for t in 0..2 {
        gauges.push(t, &Histogram { counter_reset_hint: Gauge, ..counter(5, &[5]) }).unwrap();
    }
    let hints: Vec<_> = decode(false, gauges.bytes()).unwrap().iter().map(|(_, h)| h.counter_reset_hint).collect();
    assert_eq!(hints, [Gauge, Gauge]);
}

#[test]
fn what_does_not_fit_begins_a_chunk_and_changes_nothing() {
    let mut open = HistogramBuilder::default();
    open.push(1, &counter(5, &[2, 1])).unwrap();
    let before = open.bytes().to_vec();
    let check = |open: &HistogramBuilder, h: Histogram, expected| {
        let mut open = open.clone();
        assert_eq!(open.push(2, &h), Err(NeedsNewChunk { counter_reset: expected }), "{h:?}");
        assert_eq!(open.bytes(), before);
    };
    check(&open, counter(4, &[2, 0]), CounterReset::Reset);
    check(&open, counter(5, &[1, 3]), CounterReset::Reset);
    check(&open, counter(5, &[5]), CounterReset::Reset);
    check(&open, Histogram { schema: 1, ..counter(6, &[3, 0]) }, CounterReset::Unknown);
    check(&open, Histogram { zero_threshold: 1.0, ..counter(6, &[3, 0]) }, CounterReset::Unknown);
    check(&open, Histogram { counter_reset_hint: CounterResetHint::Gauge, ..counter(5, &[2, 1]) }, CounterReset::Gauge);
    check(&open, Histogram { counter_reset_hint: CounterResetHint::Reset, ..counter(5, &[2, 1]) }, CounterReset::Reset);
    open.push(2, &Histogram::stale()).unwrap();
    assert!(open.push(3, &counter(6, &[2, 2])).is_err());
    open.push(3, &Histogram::stale()).unwrap();
}

#[test]
fn a_full_chunk_takes_no_more() {
    let mut open = HistogramBuilder::default();
    for t in 0..i64::from(crate::SAMPLES_PER_CHUNK_MAX) {
        open.push(t, &counter(1, &[1])).unwrap();
    }
    let full = NeedsNewChunk { counter_reset: CounterReset::NotReset };
    assert_eq!(open.push(70_000, &counter(2, &[2])), Err(full));
    assert_eq!(decode(false, open.bytes()).unwrap().len(), 65_535);
}

#[test]
fn damage_is_an_error_and_costs_no_memory() {
    let all = vectors("int", integer).into_iter().map(|v| (false, v.chunks));
    let all = all.chain(vectors("float", float).into_iter().map(|v| (true, v.chunks)));
    let mut random = 1u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for (is_float, chunks) in all {
        for chunk in chunks {
            for len in 0..chunk.len() {
                assert!(decode(is_float, &chunk[..len]).is_err(), "{len} of {}", chunk.len());
            }
            let junk = [&chunk[..], &[0xff; 9]].concat();
            assert_eq!(decode(is_float, &junk).unwrap().len(), decode(is_float, &chunk).unwrap().len());
            for _ in 0..40 {
                let mut bytes = chunk.clone();
                for _ in 0..1 + next() % 4 {
                    let at = next() % bytes.len();
                    bytes[at] ^= 1 << (next() % 8);
                }
                fuzz_histograms(&bytes);
            }
        }
    }
    // 2^25 spans in a few bytes.
    let huge = [0, 1, 0, 0, 0b0111_1111, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(decode(false, &huge), Err(DecodeError::LayoutCount { .. })));
    assert_eq!(decode(true, &[0, 0, 0]), Ok(vec![]));
    assert_eq!(decode(true, &[0, 1]), Err(DecodeError::NoHeader { bytes: 2 }));
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), (-9i32..9).prop_map(f64::from), Just(0.0)]
}

prop_compose! {
    /// Valid as far as a chunk cares: spans go forward and name the buckets.
    fn any_histogram()(
        schema in prop_oneof![Just(CUSTOM_BUCKETS_SCHEMA), 0..2i32],
        hint in prop_oneof![3 => Just(0usize), 1 => 0..4usize],
        zero_count in 0..3u64,
        count in prop_oneof![Just(9u64), any::<u64>()],
        sum in any_float(),
        positive in prop::collection::vec((0..3i32, 0..3u32), 0..4),
        negative in prop::collection::vec((0..3i32, 0..3u32), 0..4),
        values in prop::collection::vec(prop_oneof![0..3i64, Just(0), any::<i64>()], 16),
        bounds in prop::collection::vec(0..2u32, 24),
    ) -> Histogram {
        let spans = |s: Vec<(i32, u32)>| s.into_iter().map(|(offset, length)| Span { offset, length }).collect::<Vec<_>>();
        let custom = schema == CUSTOM_BUCKETS_SCHEMA;
        let (positive_spans, negative_spans) = (spans(positive), if custom { vec![] } else { spans(negative) });
        let buckets = |spans: &[Span], values: &[i64]| values[..super::spans::bucket_count(spans)].to_vec();
        let rising = |bounds: Vec<u32>| bounds.iter().scan(0.0, |b, n| { *b += 0.5 + f64::from(*n) / 3.0; Some(*b) }).collect();
        Histogram {
            counter_reset_hint: self::hint(&hint.to_string()),
            schema,
            zero_threshold: 0.0,
            zero_count: if custom { 0 } else { zero_count },
            count,
            sum,
            positive_buckets: buckets(&positive_spans, &values),
            negative_buckets: buckets(&negative_spans, &values[8..]),
            positive_spans,
            negative_spans,
            custom_values: if custom { rising(bounds) } else { vec![] },
        }
    }
}

proptest! {
    #[test]
    fn everything_pushed_is_read(all in prop::collection::vec((any::<i64>(), any_histogram()), 1..12), cut in 0..5u16) {
        let expected: Vec<Meaning> = all.iter().map(|(t, h)| meaning(*t, &h.to_float())).collect();
        let read = |is_float, chunks: Vec<Vec<u8>>| -> Vec<Meaning> {
            chunks.iter().flat_map(|c| decode(is_float, c).unwrap()).map(|(t, h)| meaning(t, &h)).collect()
        };
        // Sums of integers beyond 2^53 round otherwise when floats are added.
        if all.iter().all(|(_, h)| h.positive_buckets.iter().chain(&h.negative_buckets).all(|b| *b < 1 << 40 && *b > -(1 << 40))) {
            prop_assert_eq!(read(false, encode(&all, cut)), &expected[..]);
        }
        let floats: Vec<_> = all.iter().map(|(t, h)| (*t, h.to_float())).collect();
        prop_assert_eq!(read(true, encode(&floats, cut)), expected);
    }
}
