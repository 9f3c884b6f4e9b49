//! Against bytes that Prometheus 3.14 wrote, against itself, and against damage.

use proptest::prelude::*;

use super::*;
use crate::DecodeError;
use crate::fuzzing::fuzz_xor;

/// `name t:value_bits,… chunk`, written by Go's `tsdb/chunkenc` at v3.14.0.
const VECTORS: &str = include_str!("../../tests/xor_vectors.txt");

type Samples = Vec<(i64, u64)>;

fn vectors() -> Vec<(&'static str, Samples, Vec<u8>)> {
    let sample = |text: &str| {
        let (t, v) = text.split_once(':').unwrap();
        (t.parse().unwrap(), u64::from_str_radix(v, 16).unwrap())
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

fn encode(samples: &[(i64, u64)]) -> XorEncoder {
    let mut encoder = XorEncoder::new();
    for (t, v) in samples {
        encoder.append(*t, f64::from_bits(*v));
    }
    encoder
}

fn decode(bytes: &[u8]) -> Result<Samples, DecodeError> {
    let mut decoder = XorDecoder::new(bytes)?;
    let mut samples = Vec::new();
    while let Some((t, v)) = decoder.next()? {
        samples.push((t, v.to_bits()));
    }
    Ok(samples)
}

fn decode_bulk(bytes: &[u8]) -> Result<Samples, DecodeError> {
    // Something is there before: bulk decoding appends.
    let (mut timestamps, mut values) = (vec![7], vec![8.0, 9.0]);
    let count = decode_xor(bytes, &mut timestamps, &mut values)?;
    assert_eq!((timestamps.len(), values.len()), (count + 1, count + 2));
    Ok(timestamps[1..].iter().copied().zip(values[2..].iter().map(|v| v.to_bits())).collect())
}

#[test]
fn bytes_are_those_of_prometheus() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 42);
    for (name, samples, bytes) in vectors {
        assert_eq!(encode(&samples).bytes(), bytes, "{name}");
        assert_eq!(decode(&bytes).as_ref(), Ok(&samples), "{name}");
        assert_eq!(decode_bulk(&bytes).as_ref(), Ok(&samples), "{name}");
        assert_eq!(encode(&samples).into_bytes(), bytes, "{name}");
    }
}

#[test]
fn every_prefix_of_a_chunk_is_a_chunk_and_can_be_resumed() {
    for (name, samples, bytes) in vectors() {
        let mut encoder = XorEncoder::new();
        for (i, (t, v)) in samples.iter().enumerate() {
            assert_eq!(decode_bulk(encoder.bytes()).unwrap(), samples[..i], "{name} {i}");
            let mut resumed = XorEncoder::from_bytes(encoder.bytes()).unwrap();
            assert_eq!(resumed.bytes(), encoder.bytes(), "{name} {i}");
            for (t, v) in &samples[i..] {
                resumed.append(*t, f64::from_bits(*v));
            }
            assert_eq!(resumed.bytes(), bytes, "{name} {i}");
            encoder.append(*t, f64::from_bits(*v));
            assert_eq!(usize::from(encoder.sample_count()), i + 1);
            assert_eq!(encoder.last().map(|(t, v)| (t, v.to_bits())), Some((*t, *v)));
            assert_eq!(encoder.first_timestamp(), Some(samples[0].0));
        }
    }
}

#[test]
fn a_cut_chunk_is_truncated_and_junk_behind_it_is_dropped() {
    for (name, samples, bytes) in vectors() {
        for len in 0..bytes.len() {
            let cut = &bytes[..len];
            let expected = |e| matches!(e, Err(DecodeError::NoHeader { .. } | DecodeError::Truncated { .. }));
            assert!(expected(decode(cut)), "{name} {len}");
            assert!(expected(decode_bulk(cut)), "{name} {len}");
            fuzz_xor(cut);
        }
        let junk = [&bytes[..], &[0xff; 11]].concat();
        assert_eq!(decode_bulk(&junk).as_ref(), Ok(&samples), "{name}");
        assert_eq!(XorEncoder::from_bytes(&junk).unwrap().bytes(), bytes, "{name}");
    }
}

#[test]
fn an_empty_encoder_allocates_nothing_and_is_a_chunk() {
    let mut encoder = XorEncoder::new();
    assert_eq!((encoder.capacity_bytes(), encoder.bytes()), (0, &[0u8, 0][..]));
    assert_eq!((encoder.last(), encoder.first_timestamp(), encoder.sample_count()), (None, None, 0));
    assert_eq!(encoder.into_bytes(), [0, 0]);
}

#[test]
fn memory_grows_in_small_steps() {
    let mut encoder = XorEncoder::new();
    for i in 0..120 {
        encoder.append(1_700_000_000_000 + i * 15_000, i as f64 * 0.1);
        let spare = encoder.capacity_bytes() - encoder.bytes().len();
        assert!(spare < 128 && (encoder.bytes().len() > 256 || spare < 32), "{spare} of {}", encoder.capacity_bytes());
    }
    encoder.shrink();
    assert_eq!(encoder.capacity_bytes(), encoder.bytes().len());
}

#[test]
fn a_chunk_holds_65535_samples() {
    let samples: Samples = (0..65_535).map(|i| (i * 1000, (i as f64).to_bits())).collect();
    let mut encoder = encode(&samples);
    assert_eq!(decode_bulk(encoder.bytes()), Ok(samples));
    let full = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| encoder.append(0, 0.0)));
    assert!(full.is_err());
}

#[test]
fn errors_name_the_sample() {
    assert_eq!(decode(&[1]), Err(DecodeError::NoHeader { bytes: 1 }));
    assert_eq!(decode(&[0, 3, 0, 0]), Err(DecodeError::Truncated { sample: 0, sample_count: 3 }));
    let overflow = [&[0, 1][..], &[0xff; 9], &[2], &[0; 8]].concat();
    assert_eq!(decode(&overflow), Err(DecodeError::VarintOverflow { sample: 0, sample_count: 1 }));
    // A window of 31 leading zeros and 34 bits: 11 11111 100010.
    let window = [&[0, 2, 0][..], &[0; 8], &[1], &[0b1111_1111, 0b0001_0000], &[0; 8]].concat();
    let expected = DecodeError::Window { sample: 1, sample_count: 2, leading: 31, significant: 34 };
    assert_eq!(decode(&window), Err(expected));
    assert_eq!(decode_bulk(&window), Err(expected));
    assert!(matches!(XorEncoder::from_bytes(&window), Err(DecodeError::Window { .. })));
    // A count that the bytes cannot hold costs no memory.
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    assert!(decode_xor(&[0xff, 0xff, 0, 0], &mut timestamps, &mut values).is_err());
    assert_eq!((timestamps.capacity(), values.capacity()), (0, 0));
}

/// Steps of time: the usual, jitter, the edges of each range of changes, anything.
fn any_timestamps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        10 => Just(15_000i64),
        3 => 14_990i64..15_010,
        1 => prop::sample::select(vec![
            15_000 + 8191, 15_000 + 8192, 15_000 + 8193, 15_000 - 8191, 15_000 - 8192, 65_536, 65_537, -65_536, 524_288,
            524_289, -524_287, -524_288, i64::MAX, i64::MIN, 0, -1,
        ]),
        1 => any::<i64>(),
    ];
    (prop_oneof![Just(1_700_000_000_000i64), any::<i64>()], prop::collection::vec(step, 0..200)).prop_map(
        |(t, steps)| {
            let next = |t: &mut i64, step: i64| {
                *t = t.wrapping_add(step);
                Some(*t)
            };
            steps.into_iter().scan(t, next).collect()
        },
    )
}

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(42f64.to_bits()),
        3 => (0u32..100).prop_map(|n| f64::from(n).to_bits()),
        2 => (0u32..10_000).prop_map(|n| (f64::from(n) * 0.1).to_bits()),
        1 => Just(0x7ff0_0000_0000_0002u64),
        1 => any::<u64>(),
        1 => (0u32..64).prop_map(|n| 1u64 << n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_appended_is_read(times in any_timestamps(), seed in prop::collection::vec(any_value(), 200), cut in 0usize..200) {
        let samples: Samples = times.into_iter().zip(seed).collect();
        let mut encoder = encode(&samples);
        prop_assert_eq!(&decode(encoder.bytes()).unwrap(), &samples);
        prop_assert_eq!(&decode_bulk(encoder.bytes()).unwrap(), &samples);
        let (before, after) = samples.split_at(cut.min(samples.len()));
        let mut resumed = XorEncoder::from_bytes(encode(before).bytes()).unwrap();
        after.iter().for_each(|(t, v)| resumed.append(*t, f64::from_bits(*v)));
        prop_assert_eq!(resumed.bytes(), encoder.bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u8..120) {
        fuzz_xor(&bytes);
        if let Some(header) = bytes.get_mut(..2) {
            header.copy_from_slice(&[0, count]);
        }
        fuzz_xor(&bytes);
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
        fuzz_xor(&bytes);
    }
}
