//! Entry points for fuzzing: they panic where a promise is broken.

use crate::{
    Builder, ChunkHistogram, HistogramSamples, IntegerHistogramSamples, Xor2Decoder, Xor2Encoder, XorDecoder,
    XorEncoder, decode_xor, decode_xor2,
};

/// Both decoders agree on any bytes, and what they read survives another encoding and a resumed encoder.
pub fn fuzz_xor(bytes: &[u8]) {
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let bulk = decode_xor(bytes, &mut timestamps, &mut values);
    let single = decode_one_by_one(bytes);
    let resumed = XorEncoder::from_bytes(bytes);
    let Ok(samples) = single else {
        assert!(bulk.is_err(), "decode_xor accepts what XorDecoder refuses");
        assert!(timestamps.is_empty() && values.is_empty(), "an error leaves nothing behind");
        assert!(resumed.is_err(), "from_bytes accepts what XorDecoder refuses");
        return;
    };
    assert_eq!(bulk, Ok(samples.len()));
    let columns: Vec<(i64, u64)> = timestamps.into_iter().zip(values.into_iter().map(f64::to_bits)).collect();
    assert_eq!(columns, samples);
    let mut resumed = resumed.expect("XorDecoder accepts it");
    assert_eq!(decode_one_by_one(resumed.bytes()).as_ref(), Ok(&samples));
    let mut again = XorEncoder::new();
    samples.iter().for_each(|(t, v)| again.append(*t, f64::from_bits(*v)));
    assert_eq!(decode_one_by_one(again.bytes()).as_ref(), Ok(&samples));
    if samples.len() < usize::from(crate::SAMPLES_PER_CHUNK_MAX) {
        let mut longer = samples;
        longer.push((longer.last().map_or(0, |s| s.0.wrapping_add(15_000)), 1.5f64.to_bits()));
        let (t, v) = longer[longer.len() - 1];
        resumed.append(t, f64::from_bits(v));
        assert_eq!(decode_one_by_one(resumed.bytes()).as_ref(), Ok(&longer));
    }
}

fn decode_one_by_one(bytes: &[u8]) -> Result<Vec<(i64, u64)>, crate::DecodeError> {
    let mut decoder = XorDecoder::new(bytes)?;
    let mut samples = Vec::new();
    while let Some((t, v)) = decoder.next()? {
        samples.push((t, v.to_bits()));
    }
    Ok(samples)
}

/// No bytes break the readers of histograms; what they read can be written and read again.
pub fn fuzz_histograms(bytes: &[u8]) {
    let floats: Result<Vec<_>, _> = HistogramSamples::new(true, bytes).collect();
    check_histograms(true, bytes, floats.ok());
    let integers: Result<Vec<_>, _> = IntegerHistogramSamples::new(bytes).collect();
    let converted: Result<Vec<_>, _> = HistogramSamples::new(false, bytes).collect();
    assert_eq!(integers.is_ok(), converted.is_ok(), "two readers of one chunk");
    check_histograms(false, bytes, integers.ok());
}

fn check_histograms<H: ChunkHistogram>(is_float: bool, bytes: &[u8], read: Option<Vec<(i64, H)>>) {
    let resumed = Builder::<H>::from_bytes(bytes);
    assert_eq!(resumed.is_ok(), read.is_some(), "a builder resumes what can be read");
    let Some(read) = read else { return };
    let mut open = Builder::<H>::default();
    let mut count = 0;
    for (t, h) in &read {
        if let Err(needs) = open.push(*t, h) {
            count += count_histograms(is_float, open.bytes());
            open = Builder::new(needs.counter_reset);
            open.push(*t, h).expect("an empty chunk takes any");
        }
    }
    count += count_histograms(is_float, open.bytes());
    assert_eq!(count, read.len());
}

fn count_histograms(is_float: bool, bytes: &[u8]) -> usize {
    let read: Result<Vec<_>, _> = HistogramSamples::new(is_float, bytes).collect();
    read.expect("our own chunk").len()
}

/// As [`fuzz_xor`], of XOR2.
pub fn fuzz_xor2(bytes: &[u8]) {
    let (mut starts, mut timestamps, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let bulk = decode_xor2(bytes, &mut starts, &mut timestamps, &mut values);
    let single = decode_xor2_one_by_one(bytes);
    let resumed = Xor2Encoder::from_bytes(bytes);
    let Ok(samples) = single else {
        assert!(bulk.is_err(), "decode_xor2 accepts what Xor2Decoder refuses");
        assert!(starts.is_empty() && timestamps.is_empty() && values.is_empty(), "an error leaves nothing behind");
        assert!(resumed.is_err(), "from_bytes accepts what Xor2Decoder refuses");
        return;
    };
    assert_eq!(bulk, Ok(samples.len()));
    let times = starts.into_iter().zip(timestamps);
    let columns: Vec<(i64, i64, u64)> = times.zip(values).map(|((s, t), v)| (s, t, v.to_bits())).collect();
    assert_eq!(columns, samples);
    let resumed = resumed.expect("Xor2Decoder accepts it");
    assert_eq!(decode_xor2_one_by_one(resumed.bytes()).as_ref(), Ok(&samples));
    let mut again = Xor2Encoder::new();
    samples.iter().for_each(|(s, t, v)| again.append(*s, *t, f64::from_bits(*v)));
    assert_eq!(decode_xor2_one_by_one(again.bytes()).as_ref(), Ok(&samples));
}

fn decode_xor2_one_by_one(bytes: &[u8]) -> Result<Vec<(i64, i64, u64)>, crate::DecodeError> {
    let mut decoder = Xor2Decoder::new(bytes)?;
    let mut samples = Vec::new();
    while let Some((s, t, v)) = decoder.next()? {
        samples.push((s, t, v.to_bits()));
    }
    Ok(samples)
}
