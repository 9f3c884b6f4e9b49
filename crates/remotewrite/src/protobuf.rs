//! The little of protobuf's wire format that the decoder needs.

use std::fmt;

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

/// What is wrong with the bytes. One byte: this is passed up from every field of every label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    EndsEarly,
    WrongWireType,
    IllegalWireType(u8),
    IllegalTag,
    Overflow,
}

impl fmt::Display for Malformed {
    /// The words of Go's decoder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::EndsEarly => f.write_str("unexpected EOF"),
            Malformed::WrongWireType => f.write_str("proto: wrong wireType"),
            Malformed::IllegalWireType(n) => write!(f, "proto: illegal wireType {n}"),
            Malformed::IllegalTag => f.write_str("proto: illegal tag 0"),
            Malformed::Overflow => f.write_str("proto: integer overflow"),
        }
    }
}

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
                let n = usize::try_from(self.varint()?).map_err(|_| Malformed::EndsEarly)?;
                let (bytes, rest) = self.rest.split_at_checked(n).ok_or(Malformed::EndsEarly)?;
                self.rest = rest;
                Content::Bytes(bytes)
            }
            5 => {
                self.array::<4>()?;
                Content::Fixed32
            }
            other => return Err(Malformed::IllegalWireType(other as u8)),
        };
        if tag >> 3 == 0 {
            return Err(Malformed::IllegalTag);
        }
        Ok(Some((tag >> 3, content)))
    }

    /// The next fields as long as they are labels in the form that all senders write: name, then value, shorter than 128 bytes
    /// each. This is three quarters of a request.
    #[inline]
    pub(crate) fn plain_labels(&mut self, mut on_label: impl FnMut(&'a [u8], &'a [u8])) {
        while let Some((name, value, rest)) = plain_label(self.rest) {
            on_label(name, value);
            self.rest = rest;
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::EndsEarly)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::EndsEarly)?;
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
                return Err(Malformed::Overflow);
            }
            n |= u64::from(b & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
            if b & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(n);
            }
        }
        Err(Malformed::EndsEarly)
    }
}

/// Field 1 of a series, a label, whose field 1 is the name and whose field 2 is the value; and what follows.
#[inline(always)]
fn plain_label(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    const FIELD_1: u8 = 1 << 3 | 2;
    const FIELD_2: u8 = 2 << 3 | 2;
    let [FIELD_1, len, FIELD_1, name_len, rest @ ..] = bytes else { return None };
    let (len, name_len) = (usize::from(*len), usize::from(*name_len));
    if len >= 0x80 || name_len >= 0x80 {
        return None;
    }
    let (name, rest) = rest.split_at_checked(name_len)?;
    let [FIELD_2, value_len, rest @ ..] = rest else { return None };
    let value_len = usize::from(*value_len);
    if value_len >= 0x80 || len != 4 + name_len + value_len {
        return None;
    }
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((name, value, rest))
}
