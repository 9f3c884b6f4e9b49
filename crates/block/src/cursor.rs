//! Numbers and texts as Prometheus' TSDB writes them: big-endian integers, LEB128 varints, length-prefixed texts.

/// Reads from the front of bytes; `None` where they end too early or a varint does not fit.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn be32(&mut self) -> Option<u32> {
        let (taken, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*taken))
    }

    pub(crate) fn be64(&mut self) -> Option<u64> {
        let (taken, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_be_bytes(*taken))
    }

    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        let mut n = 0;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                return None;
            }
            n |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Some(n);
            }
        }
        None
    }

    pub(crate) fn varint(&mut self) -> Option<i64> {
        let n = self.uvarint()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// A length and so many bytes.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.uvarint()?).ok()?;
        self.take(n)
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, n: i64) {
    put_uvarint(out, (n << 1 ^ n >> 63).cast_unsigned());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends the checksum of `out[from..]`.
pub(crate) fn put_crc(out: &mut Vec<u8>, from: usize) {
    let crc = crc32c::crc32c(&out[from..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// `CRC_BYTES`-long trailer of `bytes`, and what precedes it.
pub(crate) fn split_crc(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    Some((body, u32::from_be_bytes(*crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for n in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_uvarint(&mut out, n);
            put_varint(&mut out, n.cast_signed());
            let mut cursor = Cursor::new(&out);
            assert_eq!((cursor.uvarint(), cursor.varint(), cursor.rest.len()), (Some(n), Some(n.cast_signed()), 0));
            let mut cut = Cursor::new(&out[..out.len() - 1]);
            assert!(cut.uvarint().is_some() && cut.varint().is_none());
        }
        assert_eq!(Cursor::new(&[0xff; 12]).uvarint(), None);
        assert_eq!(Cursor::new(&[5, b'a']).text(), None);
    }
}
