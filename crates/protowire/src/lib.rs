//! The little of protobuf's wire format that our hand-written decoders need: fields of a message, lent from its bytes.
//!
//! *Never* knows a message but the two that all of Prometheus' formats share, allocates, or looks beyond the message that it was
//! given.

use std::fmt;

/// Fields of a message, in order. Ends after an error.
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The content of a field.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A number of up to ten bytes.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// A text, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes, which none of our messages has.
    Fixed32,
}

/// What is wrong with the bytes. One byte: this is passed up from every field of every label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A field goes beyond its message.
    EndsEarly,
    /// A field of a number or text has another form.
    WrongWireType,
    /// A form that there is not, or no longer.
    IllegalWireType(u8),
    /// Field 0.
    IllegalTag,
    /// A number of more than ten bytes.
    Overflow,
}

impl std::error::Error for Malformed {}

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
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// Number and content of the next field.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "after an error there is nothing more, which an iterator could not say"
    )]
    pub fn next(&mut self) -> Result<Option<(u64, Content<'a>)>, Malformed> {
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
    pub fn plain_labels(&mut self, mut on_label: impl FnMut(&'a [u8], &'a [u8])) {
        while let Some((name, value, rest)) = plain_label(self.rest) {
            on_label(name, value);
            self.rest = rest;
        }
    }

    /// The next of varints that follow each other without tags.
    #[inline]
    pub fn packed_varint(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
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

impl Content<'_> {
    /// The numbers of a repeated `uint32` or `uint64`, packed or not.
    pub fn varints(self, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
        match self {
            Content::Varint(n) => each(n),
            Content::Bytes(packed) => {
                let mut rest = Fields::new(packed);
                while let Some(n) = rest.packed_varint()? {
                    each(n);
                }
            }
            Content::Fixed64(_) | Content::Fixed32 => return Err(Malformed::WrongWireType),
        }
        Ok(())
    }

    /// The numbers of a repeated `sint64`, packed or not.
    pub fn zigzags(self, mut each: impl FnMut(i64)) -> Result<(), Malformed> {
        self.varints(|n| each(zigzag(n)))
    }

    /// The numbers of a repeated `double`, packed or not.
    pub fn doubles(self, out: &mut Vec<f64>) -> Result<(), Malformed> {
        match self {
            Content::Fixed64(bits) => out.push(f64::from_bits(bits)),
            Content::Bytes(packed) => {
                let (all, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Malformed::EndsEarly);
                }
                out.extend(all.iter().map(|bits| f64::from_le_bytes(*bits)));
            }
            Content::Varint(_) | Content::Fixed32 => return Err(Malformed::WrongWireType),
        }
        Ok(())
    }
}

/// The number of a `sint32` or `sint64`.
pub fn zigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// A message's length before it, as in a stream of messages: the message, and what follows it.
pub fn delimited(stream: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut fields = Fields::new(stream);
    let n = usize::try_from(fields.varint()?).map_err(|_| Malformed::EndsEarly)?;
    fields.rest.split_at_checked(n).ok_or(Malformed::EndsEarly)
}

/// A label: its name is field 1, its value field 2. Source: `LabelPair` of `metrics.proto`, `Label` of `types.proto`.
#[inline]
pub fn label(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Fields::new(message);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Bytes(b)) => name = b,
            (2, Content::Bytes(b)) => value = b,
            (1 | 2, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok((name, value))
}

/// A span of buckets of a native histogram, offset and length. Source: `BucketSpan` of both files.
#[inline]
pub fn span(message: &[u8]) -> Result<(i32, u32), Malformed> {
    let (mut offset, mut length) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Varint(n)) => offset = zigzag(n) as i32,
            (2, Content::Varint(n)) => length = n as u32,
            (1 | 2, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok((offset, length))
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

#[cfg(test)]
mod tests;
