//! Appending to a chunk.

use super::{HEADER_BYTES, SAMPLES_PER_CHUNK_MAX, XorDecoder};
use crate::DecodeError;
use crate::bits::put_bits;

/// Leading zeros while no window was written.
const NO_WINDOW: u8 = 0xff;

/// Bytes of a chunk without samples.
const EMPTY: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

/// A chunk being written. One lives in memory for every active series.
#[derive(Clone, Debug)]
pub struct XorEncoder {
    /// Empty until the first sample, then the chunk, but for the count at its front: that line of the cache is left alone.
    bytes: Vec<u8>,
    timestamp_ms: i64,
    delta: u64,
    value_bits: u64,
    count: u16,
    leading: u8,
    trailing: u8,
    /// Bits of the last byte that are not used.
    free: u8,
}

const _: () = assert!(size_of::<XorEncoder>() <= 56, "two million of these are in memory");

impl Default for XorEncoder {
    fn default() -> XorEncoder {
        XorEncoder::new()
    }
}

impl XorEncoder {
    /// A chunk without samples; allocates nothing yet.
    pub fn new() -> XorEncoder {
        XorEncoder {
            bytes: Vec::new(),
            timestamp_ms: 0,
            delta: 0,
            value_bits: 0,
            count: 0,
            leading: NO_WINDOW,
            trailing: 0,
            free: 0,
        }
    }

    /// Goes on with a chunk that was written before: appending gives the bytes that one encoder would have given. Bits behind
    /// the last sample are dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<XorEncoder, DecodeError> {
        let mut decoder = XorDecoder::new(bytes)?;
        while decoder.next()?.is_some() {}
        let Some(end) = decoder.end() else { return Ok(XorEncoder::new()) };
        let used = end.position_bits.div_ceil(8);
        let free = (used * 8 - end.position_bits) as u8;
        let mut own = Vec::with_capacity(used.next_multiple_of(32));
        own.extend_from_slice(&bytes[..used]);
        let last = own.last_mut().expect("a sample takes bytes");
        *last &= 0xff << free;
        let (leading, trailing) = end.window.unwrap_or((NO_WINDOW, 0));
        Ok(XorEncoder {
            bytes: own,
            timestamp_ms: end.timestamp_ms,
            delta: end.delta,
            value_bits: end.value_bits,
            count: u16::from_be_bytes([bytes[0], bytes[1]]),
            leading,
            trailing,
            free,
        })
    }

    /// Appends a sample. Any timestamp can be written; that they rise is the caller's business.
    ///
    /// # Panics
    /// When the chunk holds [`SAMPLES_PER_CHUNK_MAX`] samples.
    pub fn append(&mut self, timestamp_ms: i64, value: f64) {
        let count = self.count;
        assert!(count < SAMPLES_PER_CHUNK_MAX, "chunk is full: {count} samples");
        let delta = timestamp_ms.wrapping_sub(self.timestamp_ms).cast_unsigned();
        match count {
            0 => self.put_first(timestamp_ms, value.to_bits()),
            1 => {
                self.put_uvarint(delta);
                self.put_value(value.to_bits());
            }
            _ => {
                self.put_delta_change(delta.wrapping_sub(self.delta).cast_signed());
                self.put_value(value.to_bits());
            }
        }
        self.timestamp_ms = timestamp_ms;
        self.value_bits = value.to_bits();
        self.delta = if count == 0 { 0 } else { delta };
        self.count = count + 1;
    }

    /// Samples appended so far.
    pub fn sample_count(&self) -> u16 {
        self.count
    }

    /// The chunk.
    pub fn bytes(&mut self) -> &[u8] {
        if self.bytes.is_empty() {
            return &EMPTY;
        }
        self.put_count();
        &self.bytes
    }

    /// Appends a copy of the chunk to `out` that says it has `sample_count` samples: its first ones, since a chunk only grows at
    /// its end. What lies behind them is of no meaning.
    pub fn copy_first(&self, sample_count: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(&sample_count.min(self.count).to_be_bytes());
        out.extend_from_slice(self.stream());
    }

    /// Bytes that [`XorEncoder::copy_first`] writes.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len().max(HEADER_BYTES)
    }

    /// The bytes behind the count.
    fn stream(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    fn put_count(&mut self) {
        self.bytes[..HEADER_BYTES].copy_from_slice(&self.count.to_be_bytes());
    }

    /// The sample appended last.
    pub fn last(&self) -> Option<(i64, f64)> {
        (self.count > 0).then(|| (self.timestamp_ms, f64::from_bits(self.value_bits)))
    }

    /// Timestamp of the first sample; decoded from the chunk.
    pub fn first_timestamp(&self) -> Option<i64> {
        // The first sample stands alone, whatever the count says: a varint.
        (self.count > 0).then(|| {
            let mut n = 0u64;
            for (i, byte) in self.stream().iter().enumerate() {
                n |= u64::from(byte & 0x7f) << (7 * i);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
        })
    }

    /// Bytes allocated besides the encoder itself.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back memory that the chunk does not use, for one that is not expected to grow soon.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The finished chunk, without spare memory.
    pub fn into_bytes(mut self) -> Vec<u8> {
        if self.bytes.is_empty() {
            return EMPTY.to_vec();
        }
        self.put_count();
        self.bytes.shrink_to_fit();
        self.bytes
    }

    fn put(&mut self, bits: u64, n: u32) {
        self.free = put_bits(&mut self.bytes, self.free, bits, n);
    }

    fn put_first(&mut self, timestamp_ms: i64, value_bits: u64) {
        self.put(0, 16);
        self.put_uvarint((timestamp_ms << 1 ^ timestamp_ms >> 63).cast_unsigned());
        self.put(value_bits, 64);
    }

    fn put_uvarint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.put(n & 0x7f | 0x80, 8);
            n >>= 7;
        }
        self.put(n, 8);
    }

    /// The positive end of each range is one further than two's complement allows; readers know.
    fn put_delta_change(&mut self, change: i64) {
        let fits = |n: u32| (1 - (1 << (n - 1))..=1 << (n - 1)).contains(&change);
        let low = |n: u32| change.cast_unsigned() & ((1 << n) - 1);
        if change == 0 {
            self.put(0, 1);
        } else if fits(14) {
            self.put(0b10 << 14 | low(14), 16);
        } else if fits(17) {
            self.put(0b110 << 17 | low(17), 20);
        } else if fits(20) {
            self.put(0b1110 << 20 | low(20), 24);
        } else {
            self.put(0b1111, 4);
            self.put(change.cast_unsigned(), 64);
        }
    }

    fn put_value(&mut self, value_bits: u64) {
        let differing = value_bits ^ self.value_bits;
        if differing == 0 {
            self.put(0, 1);
            return;
        }
        // Five bits hold the leading zeros.
        let leading = differing.leading_zeros().min(31) as u8;
        let trailing = differing.trailing_zeros() as u8;
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            let significant = 64 - u32::from(self.leading) - u32::from(self.trailing);
            self.put_joined(0b10, 2, differing >> self.trailing, significant);
            return;
        }
        self.leading = leading;
        self.trailing = trailing;
        let significant = 64 - u32::from(leading) - u32::from(trailing);
        // Six bits hold 1 to 64: 64 is written as 0.
        let header = 0b11 << 11 | u64::from(leading) << 6 | u64::from(significant & 63);
        self.put_joined(header, 13, differing >> trailing, significant);
    }

    /// Both in one step where they fit.
    fn put_joined(&mut self, header: u64, header_bits: u32, body: u64, body_bits: u32) {
        if header_bits + body_bits <= 64 {
            self.put(header << body_bits | body, header_bits + body_bits);
        } else {
            self.put(header, header_bits);
            self.put(body, body_bits);
        }
    }
}
