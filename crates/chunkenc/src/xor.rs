//! The XOR encoding: timestamps as differences of differences, values as differing bits. Source: `tsdb/chunkenc/xor.go`.
//!
//! First sample: varint timestamp, 64 bits of value. Second: uvarint difference, value. Then: `0` (same difference), `10` +
//! 14 bits, `110` + 17, `1110` + 20 or `1111` + 64 bits of the difference's change, value. Value: `0` same, `10` + the bits that
//! differ within the window in use, `11` + 5 bits leading zeros + 6 bits length (0: 64) of a new window + its bits.

mod decode;
mod encode;

pub use decode::{XorDecoder, decode_xor};
pub use encode::XorEncoder;

/// Most samples in a chunk: the count is a `u16`.
pub const SAMPLES_PER_CHUNK_MAX: u16 = u16::MAX;

const HEADER_BYTES: usize = 2;

#[cfg(test)]
mod tests;
