//! The little-endian layout that commands, maps and snapshots share on disk and on the wire.
//!
//! Fixed-width integers, texts with a length of 16 bits, lists with a count of 32 bits. Whoever writes a record starts it
//! with a version byte. Reading is strict: what is left over is an error, as is a count that the rest cannot hold, so a
//! reader never allocates more than it was given.

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end in the middle.
    #[error("record ends early at byte {at}")]
    Truncated {
        /// Where the missing part should begin.
        at: usize,
    },
    /// Bytes follow the end.
    #[error("{count} bytes follow the end of the record")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Written by a version that this one does not know.
    #[error("{record} has version {found}, which this program does not read")]
    Version {
        /// What was read.
        record: &'static str,
        /// The version byte.
        found: u8,
    },
    /// A value that cannot be.
    #[error("{field} cannot be {found}")]
    Value {
        /// What was read.
        field: &'static str,
        /// The value.
        found: u64,
    },
    /// A text that cannot be.
    #[error("{field} is not valid text")]
    Text {
        /// What was read.
        field: &'static str,
    },
    /// Each part can be read, but together they break a promise of the state.
    #[error("state breaks the rule: {rule}")]
    Rule {
        /// The rule.
        rule: &'static str,
    },
}

/// Appends to a record.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// A record of the given version.
    pub fn new(version: u8) -> Encoder {
        Encoder { out: vec![version] }
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Bytes written so far.
    pub fn byte_len(&self) -> usize {
        self.out.len()
    }

    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.out.push(v);
    }

    /// A truth value in one byte.
    pub fn bool(&mut self, v: bool) {
        self.out.push(u8::from(v));
    }

    /// 32 bits.
    pub fn u32(&mut self, v: u32) {
        self.out.extend_from_slice(&v.to_le_bytes());
    }

    /// 64 bits.
    pub fn u64(&mut self, v: u64) {
        self.out.extend_from_slice(&v.to_le_bytes());
    }

    /// 64 bits with a sign.
    pub fn i64(&mut self, v: i64) {
        self.out.extend_from_slice(&v.to_le_bytes());
    }

    /// 128 bits.
    pub fn u128(&mut self, v: u128) {
        self.out.extend_from_slice(&v.to_le_bytes());
    }

    /// A text of at most 65535 bytes.
    pub fn text(&mut self, v: &str) {
        let len =
            u16::try_from(v.len()).expect("names and addresses are bounded far below 64 KiB by their constructors");
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(v.as_bytes());
    }

    /// How many items follow.
    pub fn count(&mut self, v: usize) {
        self.u32(u32::try_from(v).expect("lists in records are bounded far below 2^32"));
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self, v: &[u8]) {
        self.count(v.len());
        self.out.extend_from_slice(v);
    }

    /// Bytes that fill the rest of the record.
    pub fn rest(&mut self, v: &[u8]) {
        self.out.extend_from_slice(v);
    }
}

/// Reads a record from front to back.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    /// Reads the version byte and refuses any but `version`. `record` names the record in the error.
    pub fn new(bytes: &'a [u8], record: &'static str, version: u8) -> Result<Decoder<'a>, DecodeError> {
        let mut decoder = Decoder { bytes, at: 0 };
        let found = decoder.u8()?;
        if found == version { Ok(decoder) } else { Err(DecodeError::Version { record, found }) }
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Ends reading: nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take gives the length asked for"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A truth value; any byte but 0 and 1 is an error, so that equal values have equal bytes.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::Value { field, found: u64::from(found) }),
        }
    }

    /// 32 bits.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// 64 bits.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// 64 bits with a sign.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// 128 bits.
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A text; `field` names it in the error.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let len = u16::from_le_bytes(self.array()?);
        std::str::from_utf8(self.take(usize::from(len))?).map_err(|_| DecodeError::Text { field })
    }

    /// A count of items of at least `item_bytes_min` bytes each; one that the rest cannot hold is refused before anything
    /// is allocated for it.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u32()?).expect("usize has at least 32 bits here");
        let rest = self.bytes.len() - self.at;
        if count.saturating_mul(item_bytes_min.max(1)) > rest {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        Ok(count)
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1)?;
        self.take(len)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let mut e = Encoder::new(7);
        e.u8(1);
        e.bool(true);
        e.u32(2);
        e.u64(3);
        e.i64(-4);
        e.u128(5);
        e.text("six");
        e.bytes(b"seven");
        let bytes = e.finish();
        let read = |bytes: &[u8]| -> Result<(), DecodeError> {
            let mut d = Decoder::new(bytes, "test", 7)?;
            assert_eq!((d.u8()?, d.bool("b")?, d.u32()?, d.u64()?, d.i64()?, d.u128()?), (1, true, 2, 3, -4, 5));
            assert_eq!((d.text("t")?, d.bytes()?), ("six", &b"seven"[..]));
            d.finish()
        };
        assert_eq!(read(&bytes), Ok(()));
        for len in 0..bytes.len() {
            assert!(matches!(read(&bytes[..len]), Err(DecodeError::Truncated { .. })), "{len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(read(&longer), Err(DecodeError::Trailing { count: 1 }));
    }

    #[test]
    fn a_count_beyond_the_rest_is_refused() {
        let bytes = [1, 255, 255, 255, 255, 0, 0];
        let mut d = Decoder::new(&bytes, "test", 1).unwrap();
        assert_eq!(d.count(4), Err(DecodeError::Truncated { at: 7 }));
    }

    #[test]
    fn another_version_is_refused() {
        let error = Decoder::new(&[9], "snapshot", 1).unwrap_err();
        assert_eq!(error.to_string(), "snapshot has version 9, which this program does not read");
    }
}
