//! The little of protobuf's wire format that the decoder needs.

use std::borrow::Cow;

/// Fields of a message, in order. Ends after an error.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// The content of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// What is wrong with the bytes, in the words of Go's decoder.
pub(crate) type Malformed = Cow<'static, str>;

const ENDS_EARLY: Malformed = Cow::Borrowed("unexpected EOF");

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// Number and content of the next field.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Content<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let n = usize::try_from(self.varint()?).map_err(|_| ENDS_EARLY)?;
                let (bytes, rest) = self.rest.split_at_checked(n).ok_or(ENDS_EARLY)?;
                self.rest = rest;
                Content::Bytes(bytes)
            }
            5 => {
                self.array::<4>()?;
                Content::Fixed32
            }
            other => return Err(Cow::Owned(format!("proto: illegal wireType {other}"))),
        };
        if tag >> 3 == 0 {
            return Err(Cow::Borrowed("proto: illegal tag 0"));
        }
        Ok(Some((tag >> 3, content)))
    }

    /// The next of varints that follow each other without tags.
    pub(crate) fn packed_varint(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(ENDS_EARLY)?;
        if *first < 0x80 {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut n = 0u64;
        for (i, b) in self.rest.iter().enumerate() {
            if i == 10 {
                return Err(Cow::Borrowed("proto: integer overflow"));
            }
            n |= u64::from(b & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
            if b & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(n);
            }
        }
        Err(ENDS_EARLY)
    }
}
