//! Against bytes that Prometheus 3.14 wrote, against itself, and against damage.

use proptest::prelude::*;

use super::*;
use crate::DecodeError;
use crate::fuzzing::fuzz_xor2;

/// `name start:t:value_bits,… chunk`, written by Go's `tsdb/chunkenc` at v3.14.0.
const VECTORS: &str = include_str!("../../tests/xor2_vectors.txt");

type Samples = Vec<(i64, i64, u64)>;

fn vectors() -> Vec<(&'static str, Samples, Vec<u8>)> {
    let sample = |text: &str| {
        let parts: Vec<&str> = text.split(':').collect();
        (parts[0].parse().unwrap(), parts[1].parse().unwrap(), u64::from_str_radix(parts[2], 16).unwrap())
    };
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let samples = words.next().unwrap().split(',').filter(|s| *s != "-").map(sample).collect();
        let hex = words.next().unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        (name, samples, bytes)
    };
    VECTORS.lines().map(line).collect()
}

fn encode(samples: &[(i64, i64, u64)]) -> Xor2Encoder {
    let mut encoder = Xor2Encoder::new();
    samples.iter().for_each(|(s, t, v)| encoder.append(*s, *t, f64::from_bits(*v)));
    encoder
}

fn decode(bytes: &[u8]) -> Result<Samples, DecodeError> {
    // Something is there before: bulk decoding appends.
    let (mut starts, mut timestamps, mut values) = (vec![6], vec![7], vec![8.0, 9.0]);
    let count = decode_xor2(bytes, &mut starts, &mut timestamps, &mut values)?;
    assert_eq!((starts.len(), timestamps.len(), values.len()), (count + 1, count + 1, count + 2));
    let times = starts[1..].iter().copied().zip(timestamps[1..].iter().copied());
    Ok(times.zip(&values[2..]).map(|((s, t), v)| (s, t, v.to_bits())).collect())
}

#[test]
fn bytes_are_those_of_prometheus() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 28);
    for (name, samples, bytes) in vectors {
        assert_eq!(encode(&samples).bytes(), bytes, "{name}");
        assert_eq!(decode(&bytes).as_ref(), Ok(&samples), "{name}");
        assert_eq!(encode(&samples).into_bytes(), bytes, "{name}");
    }
}

#[test]
fn every_prefix_of_a_chunk_is_a_chunk_and_can_be_resumed() {
    for (name, samples, bytes) in vectors() {
        let mut encoder = Xor2Encoder::new();
        for (i, (s, t, v)) in samples.iter().enumerate() {
            assert_eq!(decode(encoder.bytes()).unwrap(), samples[..i], "{name} {i}");
            let mut resumed = Xor2Encoder::from_bytes(encoder.bytes()).unwrap();
            for (s, t, v) in &samples[i..] {
                resumed.append(*s, *t, f64::from_bits(*v));
            }
            assert_eq!(resumed.bytes(), bytes, "{name} {i}");
            encoder.append(*s, *t, f64::from_bits(*v));
            let last = encoder.last().unwrap();
            assert_eq!(
                (usize::from(encoder.sample_count()), (last.0, last.1, last.2.to_bits())),
                (i + 1, (*s, *t, *v))
            );
        }
        let junk = [&bytes[..], &[0xff; 11]].concat();
        assert_eq!(decode(&junk).as_ref(), Ok(&samples), "{name}");
        assert_eq!(Xor2Encoder::from_bytes(&junk).unwrap().bytes(), bytes, "{name}");
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    for (name, _, bytes) in vectors() {
        for len in 0..bytes.len() {
            let refused = decode(&bytes[..len]);
            let as_expected = matches!(refused, Err(DecodeError::NoHeader { .. } | DecodeError::Truncated { .. }));
            assert!(as_expected, "{name} {len}: {refused:?}");
            fuzz_xor2(&bytes[..len]);
        }
    }
}

#[test]
fn errors_name_the_sample() {
    assert_eq!(decode(&[0, 1]), Err(DecodeError::NoHeader { bytes: 2 }));
    assert_eq!(decode(&[0, 3, 0, 0]), Err(DecodeError::Truncated { sample: 0, sample_count: 3 }));
    let overflow = [&[0, 1, 0][..], &[0xff; 9], &[2], &[0; 8]].concat();
    assert_eq!(decode(&overflow), Err(DecodeError::VarintOverflow { sample: 0, sample_count: 1 }));
    // A window of 31 leading zeros and 34 bits: 110 11111 100010.
    let window = [&[0, 2, 0, 0][..], &[0; 8], &[1], &[0b1101_1111, 0b1000_1000], &[0; 8]].concat();
    let expected = DecodeError::Window { sample: 1, sample_count: 2, leading: 31, significant: 34 };
    assert_eq!(decode(&window), Err(expected));
    let mut decoder = Xor2Decoder::new(&window).unwrap();
    assert_eq!(decoder.next(), Ok(Some((0, 0, 0.0))));
    assert_eq!((decoder.next(), decoder.next()), (Err(expected), Err(expected)), "an error stays");
}

#[test]
fn a_chunk_holds_65535_samples() {
    let samples: Samples = (0..65_535).map(|i| (i * 900, i * 1000, (i as f64).to_bits())).collect();
    let mut encoder = encode(&samples);
    assert_eq!(decode(encoder.bytes()), Ok(samples));
    let full = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| encoder.append(0, 0, 0.0)));
    assert!(full.is_err());
}

fn any_samples() -> impl Strategy<Value = Samples> {
    let step = prop_oneof![
        10 => Just(15_000i64),
        3 => 14_990i64..15_010,
        1 => prop::sample::select(vec![15_000 + 4095, 15_000 + 4096, 15_000 - 4096, 15_000 - 4097, 600_000, i64::MAX, i64::MIN, -1]),
        1 => any::<i64>(),
    ];
    let value = prop_oneof![
        4 => Just(42f64.to_bits()),
        3 => (0u32..100).prop_map(|n| f64::from(n).to_bits()),
        2 => Just(STALE_NAN),
        1 => any::<u64>(),
    ];
    let start = prop_oneof![4 => Just(None), 3 => Just(Some(1000i64)), 1 => any::<i64>().prop_map(Some)];
    let first = prop_oneof![Just(1_700_000_000_000i64), any::<i64>()];
    (first, prop::collection::vec((start, step, value), 0..160)).prop_map(|(t, steps)| {
        let mut t = t;
        let next = |(start, step, value): (Option<i64>, i64, u64)| {
            t = t.wrapping_add(step);
            (start.map_or(0, |before| t.wrapping_sub(before)), t, value)
        };
        steps.into_iter().map(next).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_appended_is_read(samples in any_samples(), cut in 0usize..160) {
        let encoder = encode(&samples);
        prop_assert_eq!(&decode(encoder.bytes()).unwrap(), &samples);
        let (before, after) = samples.split_at(cut.min(samples.len()));
        let mut resumed = Xor2Encoder::from_bytes(encode(before).bytes()).unwrap();
        after.iter().for_each(|(s, t, v)| resumed.append(*s, *t, f64::from_bits(*v)));
        prop_assert_eq!(resumed.bytes(), encoder.bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u8..120) {
        fuzz_xor2(&bytes);
        if let Some(header) = bytes.get_mut(..2) {
            header.copy_from_slice(&[0, count]);
        }
        fuzz_xor2(&bytes);
    }
}

#[test]
fn damaged_chunks_are_read_or_refused() {
    let vectors = vectors();
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as usize
    };
    for _ in 0..4000 {
        let mut bytes = vectors[random() % vectors.len()].2.clone();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            bytes[at] ^= 1 << (random() % 8);
        }
        if random().is_multiple_of(4) {
            bytes.truncate(random() % (bytes.len() + 1));
        }
        fuzz_xor2(&bytes);
    }
}
