//! Integers in one bit to nine bytes. Source: `tsdb/chunkenc/varbit.go`.
//!
//! A run of ones, ended by a zero unless it is eight long, says how many bits follow: 0, 3, 6, 9, 12, 18, 25, 56 or 64.

use crate::bits::{BitReader, put_bits};

/// Bits that follow a run of so many ones.
const SIZES: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// A stream of bits being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    pub(crate) bytes: Vec<u8>,
    /// Bits of the last byte that are not used.
    pub(crate) free: u8,
}

impl BitWriter {
    /// Appends the low `n` bits, `1 <= n <= 64`; higher ones must be zero.
    pub(crate) fn put(&mut self, bits: u64, n: u32) {
        self.free = put_bits(&mut self.bytes, self.free, bits, n);
    }

    /// The positive end of each size is one further than two's complement allows; readers know.
    pub(crate) fn put_int(&mut self, value: i64) {
        let fits = |n: u32| (1 - (1i64 << (n - 1))..=1i64 << (n - 1)).contains(&value);
        let ones = match value {
            0 => 0,
            _ => (1..8).find(|i| fits(SIZES[*i as usize])).unwrap_or(8),
        };
        self.put_sized(ones, value.cast_unsigned());
    }

    pub(crate) fn put_uint(&mut self, value: u64) {
        let bits = 64 - value.leading_zeros();
        let ones = (0..8).find(|i| bits <= SIZES[*i as usize]).unwrap_or(8);
        self.put_sized(ones, value);
    }

    fn put_sized(&mut self, ones: u32, value: u64) {
        if ones == 8 {
            self.put(0xff, 8);
            self.put(value, 64);
            return;
        }
        let size = SIZES[ones as usize];
        let prefix = (1 << (ones + 1)) - 2;
        self.put(prefix << size | value & ((1 << size) - 1), ones + 1 + size);
    }
}

/// Reads what [`BitWriter::put_int`] wrote.
pub(crate) fn take_int(bits: &mut BitReader<'_>) -> i64 {
    let (raw, size) = take_sized(bits);
    if size == 0 || size == 64 || raw <= 1 << (size - 1) {
        return raw.cast_signed();
    }
    raw.cast_signed() - (1 << size)
}

/// Reads what [`BitWriter::put_uint`] wrote.
pub(crate) fn take_uint(bits: &mut BitReader<'_>) -> u64 {
    take_sized(bits).0
}

#[inline]
fn take_sized(bits: &mut BitReader<'_>) -> (u64, u32) {
    let ones = (!bits.peek()).leading_zeros().min(8);
    bits.consume((ones + 1).min(8));
    let size = SIZES[ones as usize];
    let raw = if size == 0 { 0 } else { bits.take(size) };
    (raw, size)
}
