//! Numbers of bytes with binary units: `15MiB`, `1GB` (which is 1 GiB). Source: `units.Base2Bytes` of alecthomas/units.

use std::fmt;

use crate::yaml::record::Paths;
use crate::yaml::scalar::Scalar;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal};

/// A number of bytes; negative where it was written so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub i64);

/// A text that is no size; the words are the Go library's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSizeError {
    /// Not in the notation.
    #[error("units: invalid {0}")]
    Invalid(String),
    /// A number without a unit, or with one that does not exist.
    #[error("units: unknown unit {unit} in {text}")]
    UnknownUnit {
        /// What stands in the unit's place.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than 64 bits of bytes.
    #[error("units: overflow parsing unit")]
    Overflow,
}

const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

impl ByteSize {
    /// Parses `1.5GiB`, `10MB`, `1GiB512MiB`, `0`; all units are powers of 1024, and all of one text end alike.
    pub fn parse(text: &str) -> Result<ByteSize, ParseSizeError> {
        parse_with(text, "iB").or_else(|_| parse_with(text, "B"))
    }
}

fn parse_with(text: &str, suffix: &str) -> Result<ByteSize, ParseSizeError> {
    let invalid = || ParseSizeError::Invalid(text.to_owned());
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(ByteSize(0));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let (whole, after) = leading_digits(rest).ok_or_else(invalid)?;
        let mut any_digits = after.len() < rest.len();
        let mut number = whole;
        rest = after;
        if let Some(fraction) = rest.strip_prefix('.') {
            let (value, after) = leading_digits(fraction).ok_or_else(invalid)?;
            let places = fraction.len() - after.len();
            any_digits |= places > 0;
            number += value / 10f64.powi(i32::try_from(places).map_err(|_| invalid())?);
            rest = after;
        }
        if !any_digits {
            return Err(invalid());
        }
        let unit_bytes = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_bytes);
        sum += number
            * scale(unit, suffix)
                .ok_or_else(|| ParseSizeError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        rest = after;
    }
    if text.starts_with('-') {
        sum = -sum;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "checked against the bounds; `as` saturates"
    )]
    if sum < i64::MIN as f64 || sum > i64::MAX as f64 {
        Err(ParseSizeError::Overflow)
    } else {
        Ok(ByteSize(sum as i64))
    }
}

/// The number in front, 0 where there is none; `None` where it is too large.
fn leading_digits(text: &str) -> Option<(f64, &str)> {
    const BEFORE_OVERFLOW: i64 = (i64::MAX - 9) / 10;
    let mut number: i64 = 0;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    for b in text[..digits].bytes() {
        if number >= BEFORE_OVERFLOW {
            return None;
        }
        number = number * 10 + i64::from(b - b'0');
    }
    #[expect(clippy::cast_precision_loss, reason = "what the Go library does")]
    Some((number as f64, &text[digits..]))
}

fn scale(unit: &str, suffix: &str) -> Option<f64> {
    if unit == "B" {
        return Some(1.0);
    }
    let prefix = unit.strip_suffix(suffix).filter(|p| !p.is_empty())?;
    let power = PREFIXES.iter().position(|p| *p == prefix)?;
    Some(1024f64.powi(i32::try_from(power).ok()?))
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut parts = Vec::new();
        for prefix in PREFIXES {
            if rest % 1024 != 0 || rest == 0 {
                let unit = if prefix.is_empty() { "B".to_owned() } else { format!("{prefix}iB") };
                parts.push(format!("{}{unit}", rest % 1024));
            }
            rest /= 1024;
            if rest == 0 {
                break;
            }
        }
        parts.iter().rev().try_for_each(|part| f.write_str(part))
    }
}

impl Decode for ByteSize {
    fn type_name() -> String {
        "units.Base2Bytes".to_owned()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        let mut text = String::new();
        text.scalar(d, id, scalar)?;
        *self = ByteSize::parse(&text).map_err(|e| d.refused(id, Refusal::from(e.to_string())))?;
        Ok(true)
    }
}

impl Encode for ByteSize {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    fn encode(&self) -> Out {
        Out::Str(self.to_string())
    }
}

impl Paths for ByteSize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_and_print_as_in_prometheus() {
        for (text, bytes, printed) in [
            ("0", 0, "0B"),
            ("15MiB", 15 << 20, "15MiB"),
            ("15MB", 15 << 20, "15MiB"),
            ("1.5KiB", 1536, "1KiB512B"),
            ("1GiB1KiB", (1 << 30) + 1024, "1GiB1KiB"),
            ("-1GiB", -(1 << 30), "-1GiB"),
            ("1EiB", 1 << 60, "1EiB"),
            ("100B", 100, "100B"),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_size_is_refused_in_the_librarys_words() {
        for (text, expected) in [
            ("100", "units: unknown unit  in 100"),
            ("1kB", "units: unknown unit kB in 1kB"),
            ("", "units: invalid "),
            ("x", "units: invalid x"),
            (".KiB", "units: invalid .KiB"),
            ("1KiB1MB", "units: unknown unit KiB in 1KiB1MB"),
            ("9EB", "units: overflow parsing unit"),
            ("9EiB", "units: unknown unit EiB in 9EiB"),
        ] {
            assert_eq!(ByteSize::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
