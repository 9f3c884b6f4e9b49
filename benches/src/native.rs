//! Native histograms for the query phases: some per target, sent by Remote Write 1.0 beside the fleet's floats. They are no
//! part of the fleet, whose check knows floats only; their labels are their own, so that no selector of the fleet's finds them.
//! Source of the format: prometheus/prompb/types.proto, message Histogram.

use anyhow::Result;

use crate::fleet::{Fleet, mix};
use crate::http::Client;
use crate::wire::{put_bytes, put_varint};
use crate::writer;

/// The metric.
pub const NAME: &str = "grpc_handling_seconds";
/// Histograms of one target.
pub const SERIES_PER_TARGET: usize = 10;
/// Series in one request; with ten samples each about a megabyte.
const SERIES_PER_REQUEST: usize = 500;
/// Buckets of each histogram, side by side.
const BUCKETS: u32 = 24;
/// When all of them began to count, so that a count has no more digits than a real one.
const BORN_MS: i64 = 1_700_000_000_000;
/// Eight buckets per power of two.
const SCHEMA: i64 = 3;

/// Samples to be sent, `step_ms` apart.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Time of the first.
    pub start_ms: i64,
    /// Time between two.
    pub step_ms: i64,
    /// Samples per series.
    pub steps: u64,
    /// Samples per series in one request.
    pub per_request: u64,
}

/// Sends the histograms of the whole fleet; the number of samples that were acknowledged.
pub fn send(fleet: &Fleet, client: &mut Client, span: Span) -> Result<u64> {
    let series: Vec<(usize, usize)> =
        (0..fleet.targets()).flat_map(|target| (0..SERIES_PER_TARGET).map(move |number| (target, number))).collect();
    let (mut encoder, mut sent) = (snap::raw::Encoder::new(), 0);
    for first in (0..span.steps).step_by(span.per_request.max(1) as usize) {
        let steps = first..span.steps.min(first + span.per_request.max(1));
        for members in series.chunks(SERIES_PER_REQUEST) {
            let mut body = Vec::new();
            for &(target, number) in members {
                let times = steps.clone().map(|step| span.start_ms + step as i64 * span.step_ms);
                put_bytes(&mut body, 0x0a, &series_message(fleet, target, number, times));
            }
            writer::post(client, "/api/v1/write", &encoder.compress_vec(&body)?)?;
            sent += members.len() as u64 * (steps.end - steps.start);
        }
    }
    Ok(sent)
}

/// A TimeSeries with its labels, sorted by name, and a histogram at each time.
fn series_message(fleet: &Fleet, target: usize, number: usize, times: impl Iterator<Item = i64>) -> Vec<u8> {
    let labels = fleet.target_labels(target);
    let of_target = |name: &str| labels.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value.as_str());
    let (host, method) = (of_target("instance"), format!("Method{number}"));
    let mut message = Vec::new();
    for (name, value) in [
        ("__name__", NAME),
        ("host", host),
        ("job", "grpc"),
        ("method", &method),
        ("region", of_target("region")),
        ("team", of_target("team")),
    ] {
        let mut label = Vec::new();
        put_bytes(&mut label, 0x0a, name.as_bytes());
        put_bytes(&mut label, 0x12, value.as_bytes());
        put_bytes(&mut message, 0x0a, &label);
    }
    let stream = mix((target * SERIES_PER_TARGET + number) as u64);
    for at_ms in times {
        put_bytes(&mut message, 0x22, &histogram_message(&counts(stream, at_ms), at_ms));
    }
    message
}

/// Observations per bucket at a time: each grows at a rate of its own, and never falls.
fn counts(stream: u64, at_ms: i64) -> [u64; BUCKETS as usize] {
    std::array::from_fn(|bucket| {
        // Between one observation in ten minutes and some ten per second.
        let per_day = 144 + mix(stream ^ bucket as u64) % 1_000_000;
        at_ms.saturating_sub(BORN_MS).max(0) as u64 / 1000 * per_day / 86_400
    })
}

fn histogram_message(counts: &[u64], at_ms: i64) -> Vec<u8> {
    let (mut out, total) = (Vec::new(), counts.iter().sum::<u64>());
    put_number(&mut out, 1, total);
    put_double(&mut out, 3, total as f64 * 0.25);
    put_number(&mut out, 4, zigzag(SCHEMA));
    put_double(&mut out, 5, 1e-128);
    put_number(&mut out, 6, 0);
    let mut span = Vec::new();
    put_number(&mut span, 1, zigzag(-30));
    put_number(&mut span, 2, counts.len() as u64);
    put_bytes(&mut out, 11 << 3 | 2, &span);
    let (mut deltas, mut before) = (Vec::new(), 0);
    for &count in counts {
        put_varint(&mut deltas, zigzag(count as i64 - before));
        before = count as i64;
    }
    put_bytes(&mut out, 12 << 3 | 2, &deltas);
    put_number(&mut out, 15, at_ms as u64);
    out
}

fn put_number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    put_varint(out, value);
}

fn put_double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_encoded_as_the_protocol_says() {
        let expected = [
            &[0x08, 5][..], // count 5
            &[0x19],        // sum 1.25
            &1.25f64.to_le_bytes(),
            &[0x20, 6], // schema 3, zigzag
            &[0x29],    // zero threshold
            &1e-128f64.to_le_bytes(),
            &[0x30, 0],                    // zero count 0
            &[0x5a, 4, 0x08, 59, 0x10, 2], // span: offset -30, two buckets
            &[0x62, 2, 0x06, 0x01],        // deltas 3, -1
            &[0x78, 0x80, 0x10],           // time 2048
        ]
        .concat();
        assert_eq!(histogram_message(&[3, 2], 2_048), expected);
    }

    #[test]
    fn counts_grow_and_are_the_same_again() {
        let (before, after) = (counts(7, 1_700_100_000_000), counts(7, 1_700_100_600_000));
        assert_eq!(before, counts(7, 1_700_100_000_000));
        assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{before:?} {after:?}");
        assert_ne!(before, counts(8, 1_700_100_000_000));
    }

    #[test]
    fn labels_are_sorted_and_not_the_fleets() {
        let message = series_message(&Fleet::new(1, 2, 0.01), 1, 3, [1_700_000_000_000].into_iter());
        let text = String::from_utf8_lossy(&message);
        let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name} in {text}"));
        let places = ["__name__", "host", "job", "Method3", "region", "team"].map(at);
        assert!(places.is_sorted() && !text.contains("instance"), "{places:?}");
    }
}
