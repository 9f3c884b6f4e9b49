//! Prometheus' encodings of samples in chunks, bit by bit as in `tsdb/chunkenc` of Prometheus 3.14: floats (`EncXOR`, `EncXOR2`)
//! and native histograms with integer and float counts (`EncHistogram`, `EncFloatHistogram`).
//!
//! A chunk is a big-endian `u16` count followed by a stream of bits, the most significant first. Encoding and decoding only:
//! files, checksums and limits on chunks belong to the crates that store them.

mod bits;
mod error;
mod histogram;
mod varbit;
mod xor;
mod xor2;

#[doc(hidden)]
pub mod fuzzing;

pub use error::DecodeError;
pub use histogram::{
    Builder, ChunkHistogram, CounterReset, FloatHistogramBuilder, HistogramBuilder, HistogramSamples,
    IntegerHistogramSamples, NeedsNewChunk,
};
pub use xor::{SAMPLES_PER_CHUNK_MAX, XorDecoder, XorEncoder, decode_xor};
pub use xor2::{StartSample, Xor2Decoder, Xor2Encoder, decode_xor2};
