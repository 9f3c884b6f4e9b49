//! Remote Write 1.0 requests, encoded once and patched: of a series' bytes only values, timestamps and the suffix of
//! `pod` ever change, and these have a fixed width. So the generator costs little beside what it measures.
//! Source of the format: prometheus/prompb/remote.proto and types.proto.

use anyhow::{Context, Result};

use crate::fleet::{Fleet, Generation, POD_SUFFIX_BYTES};

/// A sample message with its tag and length: `0x12 0x10`, then value (tag and eight bytes) and timestamp (tag and six).
const SAMPLE_BYTES: usize = 2 + SAMPLE_BODY_BYTES;
const SAMPLE_BODY_BYTES: usize = 9 + 1 + TIMESTAMP_BYTES;
/// Varint bytes of a time between 2004 and 2109, in milliseconds.
const TIMESTAMP_BYTES: usize = 6;

/// A request for the same series, again and again.
#[derive(Debug)]
pub struct Batch {
    body: Vec<u8>,
    series: Vec<BatchSeries>,
    samples_per_series: usize,
}

#[derive(Debug)]
struct BatchSeries {
    target: usize,
    template: usize,
    stream: u64,
    generation: Generation,
    suffix_at: usize,
    samples_at: usize,
}

impl Batch {
    /// A request with `samples_per_series` samples of each of these series, given as target and index of the template.
    pub fn new(fleet: &Fleet, members: &[(usize, usize)], samples_per_series: usize, at_ms: i64) -> Batch {
        let mut batch = Batch { body: Vec::new(), series: Vec::with_capacity(members.len()), samples_per_series };
        for &(target, template) in members {
            batch.push_series(fleet, target, template, at_ms);
        }
        batch
    }

    /// The number of samples in each request.
    pub fn samples(&self) -> usize {
        self.series.len() * self.samples_per_series
    }

    /// Bytes of the request before compression.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Patches in the samples that begin at `at_ms`, which must lie on the grid of generations or be a single step.
    pub fn fill(&mut self, fleet: &Fleet, at_ms: i64, step_ms: i64) {
        for series in &mut self.series {
            let template = &fleet.templates()[series.template];
            let generation = fleet.generation(series.target, template.pod, at_ms);
            if generation != series.generation {
                series.generation = generation;
                let suffix = fleet.pod_suffix(series.target, template.pod, generation);
                self.body[series.suffix_at..][..POD_SUFFIX_BYTES].copy_from_slice(&suffix);
            }
            for index in 0..self.samples_per_series {
                let sample_ms = at_ms + index as i64 * step_ms;
                let value = fleet.value(template, series.stream, generation, sample_ms);
                let sample = &mut self.body[series.samples_at + index * SAMPLE_BYTES..][..SAMPLE_BYTES];
                sample[3..11].copy_from_slice(&value.to_bits().to_le_bytes());
                sample[12..].copy_from_slice(&timestamp(sample_ms));
            }
        }
    }

    /// Appends the compressed request to `out`, whose earlier content it replaces.
    pub fn compress(&self, encoder: &mut snap::raw::Encoder, out: &mut Vec<u8>) -> Result<()> {
        out.resize(snap::raw::max_compress_len(self.body.len()), 0);
        let length = encoder.compress(&self.body, out).context("compress a request")?;
        out.truncate(length);
        Ok(())
    }

    fn push_series(&mut self, fleet: &Fleet, target: usize, template_index: usize, at_ms: i64) {
        let template = &fleet.templates()[template_index];
        let generation = fleet.generation(target, template.pod, at_ms);
        let (mut labels, mut suffix_within) = (Vec::new(), 0);
        for (name, value) in fleet.labels(target, template, generation) {
            let mut label = Vec::new();
            put_bytes(&mut label, 0x0a, name.as_bytes());
            put_bytes(&mut label, 0x12, value.as_bytes());
            put_bytes(&mut labels, 0x0a, &label);
            if name == "pod" {
                suffix_within = labels.len() - POD_SUFFIX_BYTES;
            }
        }
        self.body.push(0x0a);
        put_varint(&mut self.body, (labels.len() + self.samples_per_series * SAMPLE_BYTES) as u64);
        let suffix_at = self.body.len() + suffix_within;
        self.body.extend_from_slice(&labels);
        let samples_at = self.body.len();
        for _ in 0..self.samples_per_series {
            self.body.extend_from_slice(&[0x12, SAMPLE_BODY_BYTES as u8, 0x09]);
            self.body.extend_from_slice(&[0; 8]);
            self.body.push(0x10);
            self.body.extend_from_slice(&timestamp(at_ms));
        }
        let stream = fleet.stream(target, template);
        self.series.push(BatchSeries { target, template: template_index, stream, generation, suffix_at, samples_at });
    }
}

/// A varint of a fixed width.
fn timestamp(at_ms: i64) -> [u8; TIMESTAMP_BYTES] {
    assert!((1 << 35..1 << 42).contains(&at_ms), "{at_ms} takes another number of bytes");
    let group = |index: usize| (at_ms >> (7 * index)) as u8 & 0x7f;
    std::array::from_fn(|index| if index + 1 < TIMESTAMP_BYTES { group(index) | 0x80 } else { group(index) })
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
