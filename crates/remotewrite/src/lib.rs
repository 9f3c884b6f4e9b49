//! Remote write 1.0 and 2.0: snappy, and borrowed decoders of `prometheus.WriteRequest` and of
//! `io.prometheus.write.v2.Request` that are sources of samples.
//!
//! Nothing is allocated per series: a series is looked up by the hash of its labels before anything is copied. No HTTP here.
//! Source of the messages: `prompb/remote.proto` and `types.proto`, `prompb/io/prometheus/write/v2/types.proto`.

mod decode;
mod histogram;
mod snappy;
#[cfg(test)]
mod testing;
pub mod v2;

pub use decode::{Counts, WriteRequest};
pub use snappy::{DECODED_BYTES_MAX, SnappyError, decompress};

#[doc(hidden)]
pub mod fuzzing {
    //! Entry points for fuzzers.

    /// Any bytes as the body of a request.
    pub fn fuzz_body(bytes: &[u8]) {
        if let Ok(decompressed) = super::decompress(bytes) {
            assert!(decompressed.len() <= super::DECODED_BYTES_MAX);
            fuzz_write_request(&decompressed);
        }
    }

    /// Any bytes as an uncompressed request of 2.0.
    pub fn fuzz_v2_request(bytes: &[u8]) {
        if let Ok(request) = super::v2::Request::new(bytes) {
            drop(request.validate());
        }
    }

    /// Any bytes as an uncompressed request.
    pub fn fuzz_write_request(bytes: &[u8]) {
        drop(super::WriteRequest::new(bytes).validate());
    }
}
