//! Bodies, decompressed as they come and never beyond a limit.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// Why a body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It has this many bytes or more, uncompressed.
    #[error("body size limit exceeded")]
    TooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// What came is not gzip, or ends too early.
    #[error("gzip: {0}")]
    Gzip(#[source] io::Error),
    /// The connection broke.
    #[error("{0}")]
    Connection(#[source] hyper::Error),
}

/// Takes a body piece by piece.
pub struct Inflate {
    inner: Inner,
    limit_bytes: usize,
}

enum Inner {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// A vector that refuses to reach `limit_bytes`; a decoder writes into it 32 KiB at a time.
struct Bounded {
    out: Vec<u8>,
    limit_bytes: usize,
    reached: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() >= self.limit_bytes {
            self.reached = true;
            return Err(io::Error::other("limit reached"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflate {
    /// For a body with this `Content-Encoding`. As in Prometheus one of exactly `limit_bytes` is too long already; and whatever
    /// is not `gzip` is taken as it is.
    pub fn new(content_encoding: &str, limit_bytes: usize, expected_bytes: usize) -> Inflate {
        let out = Vec::with_capacity(expected_bytes.min(limit_bytes).min(16 << 20));
        let bounded = Bounded { out, limit_bytes, reached: false };
        let inner = match content_encoding {
            "gzip" => Inner::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            _ => Inner::Plain(bounded),
        };
        Inflate { inner, limit_bytes }
    }

    /// The next piece.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let written = match &mut self.inner {
            Inner::Plain(out) => out.write_all(bytes),
            Inner::Gzip(decoder) => decoder.write_all(bytes),
        };
        written.map_err(|e| self.error(e))
    }

    /// The whole body.
    pub fn finish(mut self) -> Result<Vec<u8>, BodyError> {
        match &mut self.inner {
            Inner::Plain(bounded) => Ok(std::mem::take(&mut bounded.out)),
            Inner::Gzip(decoder) => match decoder.try_finish() {
                Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().out)),
                Err(e) => Err(self.error(e)),
            },
        }
    }

    fn error(&self, error: io::Error) -> BodyError {
        let bounded = match &self.inner {
            Inner::Plain(bounded) => bounded,
            Inner::Gzip(decoder) => decoder.get_ref(),
        };
        if bounded.reached { BodyError::TooLong { limit_bytes: self.limit_bytes } } else { BodyError::Gzip(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(encoding: &str, limit: usize, pieces: &[&[u8]]) -> Result<Vec<u8>, BodyError> {
        let mut inflate = Inflate::new(encoding, limit, 0);
        for piece in pieces {
            inflate.push(piece)?;
        }
        inflate.finish()
    }

    #[test]
    fn bodies_come_back() {
        let zipped = gzip(b"hello");
        let (a, b) = zipped.split_at(7);
        assert_eq!(inflate("gzip", 100, &[a, b]).unwrap(), b"hello");
        assert_eq!(inflate("gzip", 100, &[&zipped, &zipped]).unwrap(), b"hellohello");
        assert_eq!(inflate("", 6, &[b"he", b"llo"]).unwrap(), b"hello");
        assert!(matches!(inflate("", 5, &[b"he", b"llo"]), Err(BodyError::TooLong { limit_bytes: 5 })));
        assert!(matches!(inflate("gzip", 100, &[a]), Err(BodyError::Gzip(_))));
        assert!(matches!(inflate("gzip", 100, &[b"hello"]), Err(BodyError::Gzip(_))));
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let mut inflate = Inflate::new("gzip", 1 << 20, 0);
        assert!(matches!(inflate.push(&bomb), Err(BodyError::TooLong { .. })));
        let Inner::Gzip(decoder) = &inflate.inner else { panic!("gzip was said") };
        assert!(decoder.get_ref().out.capacity() <= 2 << 20);
    }
}
