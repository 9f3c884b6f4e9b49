//! Chunks of native histograms: integer counts (`EncHistogram`, 2) and float counts (`EncFloatHistogram`, 3), bit by bit as in
//! `tsdb/chunkenc` of Prometheus 3.14.
//!
//! ```text
//! u16 number of samples · 2 bits what is known of a counter reset before · 6 bits 0 · bits:
//! layout        width of the zero bucket, schema, spans of both sides, custom bounds: the same for all samples
//! first sample  time, count, zero count, sum, buckets
//! later ones    time, count, zero count as changes of change, sum as differing bits, buckets as changes of change
//! ```
//! Buckets of integer histograms are differences to the bucket before. In float histograms counts and buckets are written as
//! the sum is. A histogram that marks the end of its series has no buckets, and only its like may follow it. A histogram with
//! buckets that are not in the layout makes the chunk be written anew; one that lacks some which hold nothing is filled up.

mod build;
mod decode;
mod layout;
mod sample;
mod spans;
mod value;

pub use build::{Builder, FloatHistogramBuilder, HistogramBuilder, NeedsNewChunk};
pub use decode::{HistogramSamples, IntegerHistogramSamples};
pub use sample::ChunkHistogram;

/// Bytes before the bits.
const HEADER_BYTES: usize = 3;

/// The byte of the header that says what is known of a counter reset.
const RESET_AT: usize = 2;

/// What a chunk's header says of a counter reset between the chunk before and this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    /// Nothing.
    #[default]
    Unknown,
    /// There was none.
    NotReset,
    /// There was one.
    Reset,
    /// The histograms are gauges.
    Gauge,
}

impl CounterReset {
    /// Of a whole chunk; `Unknown` where there are not enough bytes.
    pub fn of_chunk(bytes: &[u8]) -> CounterReset {
        match bytes.get(RESET_AT).map_or(0, |byte| byte >> 6) {
            0 => CounterReset::Unknown,
            1 => CounterReset::NotReset,
            2 => CounterReset::Reset,
            _ => CounterReset::Gauge,
        }
    }

    fn byte(self) -> u8 {
        let bits = match self {
            CounterReset::Unknown => 0,
            CounterReset::NotReset => 1,
            CounterReset::Reset => 2,
            CounterReset::Gauge => 3,
        };
        bits << 6
    }
}

#[cfg(test)]
mod tests;
