//! Why bytes are no chunk.

/// Why bytes could not be decoded. Samples are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the count of samples takes.
    #[error("a chunk of {bytes} bytes has no header")]
    NoHeader {
        /// Bytes given.
        bytes: usize,
    },
    /// The bits end within a sample.
    #[error("chunk ends within sample {sample} of {sample_count}")]
    Truncated {
        /// The sample that is not whole.
        sample: u16,
        /// The count in the header.
        sample_count: u16,
    },
    /// A varint of more than 64 bits.
    #[error("timestamp of sample {sample} of {sample_count} is longer than 64 bits")]
    VarintOverflow {
        /// The sample.
        sample: u16,
        /// The count in the header.
        sample_count: u16,
    },
    /// A window of value bits that does not fit into a value.
    #[error("value of sample {sample} of {sample_count} has {leading} leading zeros and {significant} bits")]
    Window {
        /// The sample.
        sample: u16,
        /// The count in the header.
        sample_count: u16,
        /// Leading zero bits.
        leading: u8,
        /// Bits that follow them.
        significant: u8,
    },
}
