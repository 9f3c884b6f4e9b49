//! The XOR2 encoding: one prefix for time and value, and start timestamps. Source: `tsdb/chunkenc/xor2.go` at v3.14.0.
//!
//! Behind the count stands a byte: its highest bit says that the first sample has a start timestamp, the others at which sample
//! start timestamps first change (0: never). First sample: varint timestamp, 64 bits of value, varint of timestamp less start.
//! Second: uvarint difference, value. Then: `0` (same difference, same value), `10` (same difference) + changed value, `110` +
//! 13, `1110` + 20 or `11110` + 64 bits of the difference's change, value; `11111` (same difference, staleness marker). Value:
//! `0` same, `10` window in use, `110` new window, `111` staleness marker; a changed value has one bit for both windows. From the
//! sample on where start timestamps change each is followed by the change of (timestamp before less start), in varying bits.
//! Markers leave no trace in what the next value differs from.

mod decode;
mod encode;

pub use decode::{Xor2Decoder, decode_xor2};
pub use encode::Xor2Encoder;

/// Count and start byte.
const HEADER_BYTES: usize = 3;

/// The place of the start byte.
const START_BYTE: usize = 2;

/// In the start byte: the first sample has a start timestamp.
const FIRST_START_KNOWN: u8 = 0x80;

/// The last sample at which start timestamps may first change; they are written from there on in any case.
const FIRST_CHANGE_MAX: u16 = 0x7f;

/// The bits of a staleness marker.
const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// Bits of numbers that stand behind `n` ones and a zero (without the zero behind eight).
const VARYING_BITS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// A sample: start timestamp (0: none), timestamp, value.
pub type StartSample = (i64, i64, f64);

#[cfg(test)]
mod tests;
