//! Native histograms as remote write 1.0 carries them. Source of the format: prometheus/prompb/types.proto.

use crate::write::{put_bytes, put_varint};

/// The schema of histograms whose bounds are given one by one.
pub const CUSTOM: i32 = -53;

/// What a histogram says of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Look and see.
    Unknown,
    /// It counts up and down.
    Gauge,
}

/// Buckets of one side: the index of the first, and how many are in each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Of the first count.
    pub first: i32,
    /// One for each index.
    pub counts: Vec<f64>,
}

/// A native histogram. Whole numbers travel as such, others as floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Milliseconds.
    pub at_ms: i64,
    /// -4 to 8, or [`CUSTOM`].
    pub schema: i32,
    /// Whether counts are floats.
    pub floats: bool,
    /// What it says of the one before.
    pub hint: Hint,
    /// Sum of all that was observed.
    pub sum: f64,
    /// Half the width of the bucket around zero.
    pub zero_threshold: f64,
    /// In the bucket around zero.
    pub zero_count: f64,
    /// Above zero, or all of [`CUSTOM`].
    pub positive: Buckets,
    /// Below zero.
    pub negative: Buckets,
    /// Upper bounds, of [`CUSTOM`] only.
    pub bounds: Vec<f64>,
}

impl Histogram {
    /// How many were observed.
    pub fn count(&self) -> f64 {
        let sides = self.positive.counts.iter().chain(&self.negative.counts);
        self.zero_count + sides.sum::<f64>()
    }

    /// The message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.floats {
            put_double(&mut out, 2, self.count());
        } else {
            put_whole(&mut out, 1, self.count() as u64);
        }
        put_double(&mut out, 3, self.sum);
        put_whole(&mut out, 4, zigzag(i64::from(self.schema)));
        put_double(&mut out, 5, self.zero_threshold);
        if self.floats {
            put_double(&mut out, 7, self.zero_count);
        } else {
            put_whole(&mut out, 6, self.zero_count as u64);
        }
        for (side, spans, deltas, counts) in [(&self.negative, 8, 9, 10), (&self.positive, 11, 12, 13)] {
            self.put_side(&mut out, side, [spans, deltas, counts]);
        }
        put_whole(&mut out, 14, if self.hint == Hint::Gauge { 3 } else { 0 });
        put_whole(&mut out, 15, self.at_ms.cast_unsigned());
        if !self.bounds.is_empty() {
            let packed = self.bounds.iter().flat_map(|bound| bound.to_bits().to_le_bytes()).collect::<Vec<_>>();
            put_whole_tag(&mut out, 16, 2);
            put_varint(&mut out, packed.len() as u64);
            out.extend_from_slice(&packed);
        }
        out
    }

    /// Spans of buckets that are not empty, and their counts.
    fn put_side(&self, out: &mut Vec<u8>, side: &Buckets, [spans, deltas, counts]: [u64; 3]) {
        let filled: Vec<(i32, f64)> =
            (side.first..).zip(side.counts.iter().copied()).filter(|(_, count)| *count != 0.0).collect();
        let mut runs: Vec<(i32, u64)> = Vec::new();
        let mut next = 0;
        for (index, _) in &filled {
            match runs.last_mut() {
                Some((_, length)) if *index == next => *length += 1,
                _ => runs.push((index - next, 1)),
            }
            next = index + 1;
        }
        for (offset, length) in runs {
            let mut span = Vec::new();
            put_whole(&mut span, 1, zigzag(i64::from(offset)));
            put_whole(&mut span, 2, length);
            put_bytes(out, tag(spans, 2), &span);
        }
        let mut packed = Vec::new();
        let mut before = 0.0;
        for (_, count) in &filled {
            if self.floats {
                packed.extend_from_slice(&count.to_bits().to_le_bytes());
            } else {
                put_varint(&mut packed, zigzag((count - before) as i64));
                before = *count;
            }
        }
        put_bytes(out, tag(if self.floats { counts } else { deltas }, 2), &packed);
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The first byte of a field below 16.
fn tag(field: u64, wire: u64) -> u8 {
    u8::try_from(field << 3 | wire).expect("a field below 16")
}

fn put_whole_tag(out: &mut Vec<u8>, field: u64, wire: u64) {
    put_varint(out, field << 3 | wire);
}

fn put_whole(out: &mut Vec<u8>, field: u64, value: u64) {
    put_whole_tag(out, field, 0);
    put_varint(out, value);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_whole_tag(out, field, 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}
