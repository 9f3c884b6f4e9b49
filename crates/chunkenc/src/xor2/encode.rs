//! Appending to a chunk.

use super::{
    FIRST_CHANGE_MAX, FIRST_START_KNOWN, HEADER_BYTES, STALE_NAN, START_BYTE, StartSample, VARYING_BITS, Xor2Decoder,
};
use crate::bits::put_bits;
use crate::{DecodeError, SAMPLES_PER_CHUNK_MAX};

/// Leading zeros while no window was written.
const NO_WINDOW: u8 = 0xff;

/// A chunk being written.
#[derive(Clone, Debug)]
pub struct Xor2Encoder {
    bytes: Vec<u8>,
    start_ms: i64,
    timestamp_ms: i64,
    delta: u64,
    /// Of the last sample that is no marker.
    value_bits: u64,
    /// Of the last sample.
    last_bits: u64,
    /// Timestamp of the sample before less start timestamp, of the last sample.
    start_distance: i64,
    /// The sample at which start timestamps first changed; 0 where they did not.
    first_change: u16,
    leading: u8,
    trailing: u8,
    /// Bits of the last byte that are not used.
    free: u8,
}

impl Default for Xor2Encoder {
    fn default() -> Xor2Encoder {
        Xor2Encoder::new()
    }
}

impl Xor2Encoder {
    /// A chunk without samples.
    pub fn new() -> Xor2Encoder {
        Xor2Encoder {
            bytes: vec![0; HEADER_BYTES],
            start_ms: 0,
            timestamp_ms: 0,
            delta: 0,
            value_bits: 0,
            last_bits: 0,
            start_distance: 0,
            first_change: 0,
            leading: NO_WINDOW,
            trailing: 0,
            free: 0,
        }
    }

    /// Goes on with a chunk that was written before: appending gives the bytes that one encoder would have given. Bits behind
    /// the last sample are dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Xor2Encoder, DecodeError> {
        let mut decoder = Xor2Decoder::new(bytes)?;
        while decoder.next()?.is_some() {}
        let Some(end) = decoder.end() else { return Ok(Xor2Encoder::new()) };
        let used = end.position_bits.div_ceil(8);
        let free = (used * 8 - end.position_bits) as u8;
        let mut own = bytes[..used].to_vec();
        let last = own.last_mut().expect("a sample takes bytes");
        *last &= 0xff << free;
        let (leading, trailing) = end.window.unwrap_or((NO_WINDOW, 0));
        // A change that is announced behind the last sample has not come yet.
        let first_change = if end.first_change < end.sample_count { end.first_change } else { 0 };
        own[START_BYTE] = own[START_BYTE] & FIRST_START_KNOWN | first_change as u8;
        Ok(Xor2Encoder {
            bytes: own,
            start_ms: end.start_ms,
            timestamp_ms: end.timestamp_ms,
            delta: end.delta,
            value_bits: end.value_bits,
            last_bits: end.last_bits,
            start_distance: end.start_distance,
            first_change,
            leading,
            trailing,
            free,
        })
    }

    /// Appends a sample; `start_ms` is 0 where the start timestamp is not known. That timestamps rise is the caller's business.
    ///
    /// # Panics
    /// When the chunk holds [`SAMPLES_PER_CHUNK_MAX`] samples.
    pub fn append(&mut self, start_ms: i64, timestamp_ms: i64, value: f64) {
        let count = self.sample_count();
        assert!(count < SAMPLES_PER_CHUNK_MAX, "chunk is full: {count} samples");
        let value_bits = value.to_bits();
        let delta = timestamp_ms.wrapping_sub(self.timestamp_ms).cast_unsigned();
        match count {
            0 => self.put_first(start_ms, timestamp_ms, value_bits),
            1 => {
                self.put_uvarint(delta);
                self.put_value(value_bits);
            }
            _ => self.put_joint(delta.wrapping_sub(self.delta).cast_signed(), value_bits),
        }
        if count > 0 {
            self.put_start(count, start_ms);
        }
        self.start_ms = start_ms;
        self.timestamp_ms = timestamp_ms;
        self.delta = if count == 0 { 0 } else { delta };
        self.last_bits = value_bits;
        if value_bits != STALE_NAN {
            self.value_bits = value_bits;
        }
        self.bytes[..2].copy_from_slice(&(count + 1).to_be_bytes());
    }

    /// Samples appended so far.
    pub fn sample_count(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The chunk; valid at any moment.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sample appended last.
    pub fn last(&self) -> Option<StartSample> {
        (self.sample_count() > 0).then(|| (self.start_ms, self.timestamp_ms, f64::from_bits(self.last_bits)))
    }

    /// The finished chunk, without spare memory.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }

    fn put(&mut self, bits: u64, n: u32) {
        self.free = put_bits(&mut self.bytes, self.free, bits, n);
    }

    fn put_uvarint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.put(n & 0x7f | 0x80, 8);
            n >>= 7;
        }
        self.put(n, 8);
    }

    fn put_varint(&mut self, n: i64) {
        self.put_uvarint((n << 1 ^ n >> 63).cast_unsigned());
    }

    fn put_first(&mut self, start_ms: i64, timestamp_ms: i64, value_bits: u64) {
        self.put_varint(timestamp_ms);
        self.put(value_bits, 64);
        if start_ms != 0 {
            self.put_varint(timestamp_ms.wrapping_sub(start_ms));
            self.bytes[START_BYTE] = FIRST_START_KNOWN;
        }
    }

    /// Time and value of the third sample and later ones.
    fn put_joint(&mut self, change: i64, value_bits: u64) {
        let low = |n: u32| change.cast_unsigned() & ((1 << n) - 1);
        let fits = |n: u32| (-(1 << (n - 1))..1 << (n - 1)).contains(&change);
        if change == 0 {
            if value_bits == STALE_NAN {
                self.put(0b11111, 5);
            } else if value_bits == self.value_bits {
                self.put(0, 1);
            } else {
                self.put(0b10, 2);
                self.put_window((0, 1), (1, 1), value_bits ^ self.value_bits);
            }
            return;
        }
        if fits(13) {
            self.put(0b110 << 13 | low(13), 16);
        } else if fits(20) {
            self.put(0b1110 << 20 | low(20), 24);
        } else {
            self.put(0b11110, 5);
            self.put(change.cast_unsigned(), 64);
        }
        self.put_value(value_bits);
    }

    fn put_value(&mut self, value_bits: u64) {
        if value_bits == STALE_NAN {
            self.put(0b111, 3);
        } else if value_bits == self.value_bits {
            self.put(0, 1);
        } else {
            self.put_window((0b10, 2), (0b110, 3), value_bits ^ self.value_bits);
        }
    }

    /// The bits that differ, behind the prefix for the window in use or for a new one.
    fn put_window(&mut self, same: (u64, u32), new: (u64, u32), differing: u64) {
        let leading = differing.leading_zeros().min(31) as u8;
        let trailing = differing.trailing_zeros() as u8;
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            self.put(same.0, same.1);
            self.put(differing >> self.trailing, 64 - u32::from(self.leading) - u32::from(self.trailing));
            return;
        }
        (self.leading, self.trailing) = (leading, trailing);
        let significant = 64 - u32::from(leading) - u32::from(trailing);
        self.put(new.0, new.1);
        self.put(u64::from(leading) << 6 | u64::from(significant & 63), 11);
        self.put(differing >> trailing, significant);
    }

    /// The start timestamp of any sample but the first.
    fn put_start(&mut self, count: u16, start_ms: i64) {
        let distance = self.timestamp_ms.wrapping_sub(start_ms);
        if self.first_change > 0 {
            self.put_varying(distance.wrapping_sub(self.start_distance));
        } else if start_ms != self.start_ms || count == FIRST_CHANGE_MAX {
            self.first_change = count;
            self.bytes[START_BYTE] |= count as u8;
            self.put_varying(distance);
        } else {
            return;
        }
        self.start_distance = distance;
    }

    /// The positive end of each range is one further than two's complement allows; readers know.
    fn put_varying(&mut self, n: i64) {
        let fits = |bits: u32| (1 - (1i64 << (bits - 1))..=1 << (bits - 1)).contains(&n);
        if n == 0 {
            return self.put(0, 1);
        }
        for (ones, bits) in (1u32..).zip(&VARYING_BITS[1..8]) {
            if fits(*bits) {
                self.put((1 << (ones + 1)) - 2, ones + 1);
                return self.put(n.cast_unsigned() & ((1 << bits) - 1), *bits);
            }
        }
        self.put(0xff, 8);
        self.put(n.cast_unsigned(), 64);
    }
}
