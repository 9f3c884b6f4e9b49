//! The layout that all samples of a chunk share. Source: `tsdb/chunkenc/histogram_meta.go`.

use model::{BUCKETS_MAX, CUSTOM_BUCKETS_SCHEMA, Span, check_layout};

use super::spans::bucket_count;
use crate::DecodeError;
use crate::bits::BitReader;
use crate::varbit::{BitWriter, take_int, take_uint};

/// Custom bounds up to this many thousandths are written as such.
const BOUND_THOUSANDTHS_MAX: f64 = 33_554_430.0;

/// What all samples of a chunk share.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: Vec<Span>,
    pub(crate) negative: Vec<Span>,
    pub(crate) custom_values: Vec<f64>,
}

impl Layout {
    pub(crate) fn put(&self, out: &mut BitWriter) {
        put_zero_threshold(out, self.zero_threshold);
        out.put_int(i64::from(self.schema));
        put_spans(out, &self.positive);
        put_spans(out, &self.negative);
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            out.put_uint(self.custom_values.len() as u64);
            self.custom_values.iter().for_each(|bound| put_bound(out, *bound));
        }
    }

    /// Reads and checks a layout.
    pub(crate) fn take(bits: &mut BitReader<'_>) -> Result<Layout, DecodeError> {
        let zero_threshold = take_zero_threshold(bits);
        // A schema of more bits is none; it must not become one by losing them.
        let schema = i32::try_from(take_int(bits)).unwrap_or(i32::MAX);
        let positive = take_spans(bits)?;
        let negative = take_spans(bits)?;
        let mut custom_values = Vec::new();
        if schema == CUSTOM_BUCKETS_SCHEMA {
            let count = take_count(bits, 1)?;
            custom_values.extend((0..count).map(|_| take_bound(bits)));
        }
        if bits.overrun() {
            return Err(DecodeError::LayoutTruncated);
        }
        check_layout(schema, &positive, &negative, &custom_values).map_err(DecodeError::Layout)?;
        Ok(Layout { schema, zero_threshold, positive, negative, custom_values })
    }

    /// Buckets of both sides.
    pub(crate) fn bucket_count(&self) -> usize {
        bucket_count(&self.positive) + bucket_count(&self.negative)
    }
}

fn put_zero_threshold(out: &mut BitWriter, width: f64) {
    // Powers of two from 2^-243 to 2^10 in a byte; 0.5 is 2^-1 and has exponent 0 in Go's Frexp.
    let exponent = i64::try_from(width.to_bits() >> 52).expect("12 bits") - 1022;
    let is_power = width.to_bits() << 12 == 0;
    if width == 0.0 {
        out.put(0, 8);
    } else if is_power && (-242..=11).contains(&exponent) {
        out.put((exponent + 243).cast_unsigned(), 8);
    } else {
        out.put(0xff, 8);
        out.put(width.to_bits(), 64);
    }
}

fn take_zero_threshold(bits: &mut BitReader<'_>) -> f64 {
    match bits.take(8) {
        0 => 0.0,
        255 => f64::from_bits(bits.take(64)),
        exponent => f64::from_bits((exponent + 1022 - 243) << 52),
    }
}

fn put_spans(out: &mut BitWriter, spans: &[Span]) {
    out.put_uint(spans.len() as u64);
    for span in spans {
        out.put_uint(u64::from(span.length));
        out.put_int(i64::from(span.offset));
    }
}

fn take_spans(bits: &mut BitReader<'_>) -> Result<Vec<Span>, DecodeError> {
    let mut spans = Vec::new();
    for _ in 0..take_count(bits, 2)? {
        let (length, offset) = (take_uint(bits), take_int(bits));
        let (Ok(length), Ok(offset)) = (u32::try_from(length), i32::try_from(offset)) else {
            return Err(DecodeError::Span { length, offset });
        };
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

/// Reads how many things follow, which take so many bits each at least: a wrong number must not cost memory.
fn take_count(bits: &mut BitReader<'_>, bits_each: usize) -> Result<usize, DecodeError> {
    let count = take_uint(bits);
    match usize::try_from(count) {
        Ok(n) if n <= BUCKETS_MAX && n * bits_each <= bits.left_bits() => Ok(n),
        _ => Err(DecodeError::LayoutCount { count, left_bits: bits.left_bits() }),
    }
}

/// Whole thousandths are written as such, plus one; else a zero bit and the float.
fn put_bound(out: &mut BitWriter, bound: f64) {
    let thousandths = bound * 1000.0;
    let rounded = thousandths.round();
    let whole = (0.0..=BOUND_THOUSANDTHS_MAX).contains(&thousandths) && rounded / 1000.0 == bound;
    if whole {
        out.put_uint(rounded as u64 + 1);
    } else {
        out.put(0, 1);
        out.put(bound.to_bits(), 64);
    }
}

fn take_bound(bits: &mut BitReader<'_>) -> f64 {
    match take_uint(bits) {
        0 => f64::from_bits(bits.take(64)),
        thousandths => (thousandths - 1) as f64 / 1000.0,
    }
}
