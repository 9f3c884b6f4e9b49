//! A patched request decodes, with a decoder of its own, to what the fleet says.

use super::*;
use crate::fleet::GENERATION_GRID_MS;

const START_MS: i64 = 1_700_000_000_000 / GENERATION_GRID_MS * GENERATION_GRID_MS;

/// Splits a message into its fields: number, and the payload of each (fixed and varint ones as numbers).
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        match tag & 7 {
            0 => out.push((tag >> 3, varint(&mut bytes), &[][..])),
            1 => {
                out.push((tag >> 3, u64::from_le_bytes(bytes[..8].try_into().unwrap()), &[][..]));
                bytes = &bytes[8..];
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                out.push((tag >> 3, 0, &bytes[..length]));
                bytes = &bytes[length..];
            }
            other => panic!("wire type {other}"),
        }
    }
    out
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

type Decoded = Vec<(Vec<(String, String)>, Vec<(i64, f64)>)>;

fn decode(body: &[u8]) -> Decoded {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let series = fields(body).into_iter().map(|(number, _, series)| {
        assert_eq!(number, 1);
        let (mut labels, mut samples) = (Vec::new(), Vec::new());
        for (number, _, payload) in fields(series) {
            let parts = fields(payload);
            match number {
                1 => labels.push((text(parts[0].2), text(parts[1].2))),
                2 => samples.push((parts[1].1 as i64, f64::from_bits(parts[0].1))),
                other => panic!("field {other}"),
            }
        }
        (labels, samples)
    });
    series.collect()
}

/// Requests at many times, across churns, carry what the fleet says.
fn check_requests(samples_per_series: usize) {
    let fleet = Fleet::new(5, 4, 0.5);
    let members: Vec<(usize, usize)> = (0..4_000).step_by(17).map(|n| (n / 1_000, n % 1_000)).collect();
    let mut batch = Batch::new(&fleet, &members, samples_per_series, START_MS);
    let mut suffixes = std::collections::HashSet::new();
    for round in 0..40 {
        let at_ms = START_MS + round * 2 * GENERATION_GRID_MS;
        batch.fill(&fleet, at_ms, 15_000);
        let decoded = decode(batch.body());
        assert_eq!(decoded.len(), members.len());
        for (&(target, index), (labels, samples)) in members.iter().zip(decoded) {
            let template = &fleet.templates()[index];
            let generation = fleet.generation(target, template.pod, at_ms);
            let expected = fleet.labels(target, template, generation);
            assert!(labels.iter().map(|(n, v)| (n.as_str(), v)).eq(expected.iter().map(|(n, v)| (*n, v))));
            suffixes.insert(labels.iter().find(|(name, _)| name == "pod").unwrap().1.clone());
            let stream = fleet.stream(target, template);
            let times = (0..samples_per_series as i64).map(|step| at_ms + step * 15_000);
            let expected: Vec<_> = times.map(|t| (t, fleet.value(template, stream, generation, t))).collect();
            assert_eq!(samples, expected);
        }
    }
    assert!(suffixes.len() > 60, "{} pods: half of 40 pods are replaced every hour", suffixes.len());
}

#[test]
fn a_request_with_one_sample_per_series_carries_what_the_fleet_says() {
    check_requests(1);
}

#[test]
fn a_request_with_ten_samples_per_series_carries_what_the_fleet_says() {
    check_requests(10);
}

#[test]
fn a_compressed_request_is_a_snappy_block() {
    let fleet = Fleet::new(5, 1, 0.01);
    let mut batch = Batch::new(&fleet, &[(0, 1), (0, 999)], 1, START_MS);
    batch.fill(&fleet, START_MS, 15_000);
    let mut compressed = vec![9; 10_000];
    batch.compress(&mut snap::raw::Encoder::new(), &mut compressed).unwrap();
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&compressed).unwrap(), batch.body());
}
