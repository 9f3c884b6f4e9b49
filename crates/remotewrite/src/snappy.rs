//! Snappy's block format, bounded before anything is allocated.

/// Longest request after decompression, as in Prometheus since 3.12.
pub const DECODED_BYTES_MAX: usize = 32 << 20;

/// Why a body was not decompressed, in the words of the library that Prometheus uses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    /// It says that it would be longer than [`DECODED_BYTES_MAX`].
    #[error("s2: decoded size {0} exceeds the limit of {DECODED_BYTES_MAX} bytes")]
    TooLong(usize),
    /// Not snappy's block format.
    #[error("s2: corrupt input")]
    Corrupt,
}

/// Decompresses a request body. Compressed bytes say how long they will be; that is checked first.
pub fn decompress(body: &[u8]) -> Result<Vec<u8>, SnappyError> {
    let len = snap::raw::decompress_len(body).map_err(|_| SnappyError::Corrupt)?;
    if len > DECODED_BYTES_MAX {
        return Err(SnappyError::TooLong(len));
    }
    // Snappy expands at most 22-fold or so; a claim far beyond is a lie that would cost memory.
    if len > body.len().saturating_mul(64) {
        return Err(SnappyError::Corrupt);
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|_| SnappyError::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_are_refused_before_they_take_memory() {
        let zeros = snap::raw::Encoder::new().compress_vec(&vec![0; 100 << 20]).unwrap();
        assert_eq!(decompress(&zeros), Err(SnappyError::TooLong(100 << 20)));
        // The header claims 32 MiB, three bytes follow.
        assert_eq!(decompress(&[0x80, 0x80, 0x80, 0x10, 1, 2, 3]), Err(SnappyError::Corrupt));
        assert_eq!(decompress(b""), Err(SnappyError::Corrupt));
        let text = b"some text some text some text";
        assert_eq!(decompress(&snap::raw::Encoder::new().compress_vec(text).unwrap()).unwrap(), text);
    }
}
