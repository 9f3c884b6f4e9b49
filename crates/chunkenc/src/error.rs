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
    /// A window of bits that does not fit into a value of a histogram.
    #[error("a value of histogram {sample} of {sample_count} has more than 64 bits")]
    HistogramWindow {
        /// The sample.
        sample: u16,
        /// The count in the header.
        sample_count: u16,
    },
    /// The bits end within the layout of a chunk of histograms.
    #[error("chunk ends within the layout of its histograms")]
    LayoutTruncated,
    /// More spans, bounds or buckets than there are bits for.
    #[error("chunk of histograms claims {count} spans, bounds or buckets with {left_bits} bits left")]
    LayoutCount {
        /// As claimed.
        count: u64,
        /// Bits there are.
        left_bits: usize,
    },
    /// A span whose numbers have more than 32 bits.
    #[error("chunk of histograms has a span of length {length} at offset {offset}")]
    Span {
        /// Its length.
        length: u64,
        /// Its offset.
        offset: i64,
    },
    /// A layout that no histogram has.
    #[error("layout of a chunk of histograms: {0}")]
    Layout(#[source] model::HistogramError),
}
