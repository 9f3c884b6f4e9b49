//! Bytes quoted as Go's `%q` does it, for error texts.

use std::fmt::{self, Write};

/// Displays as a Go string literal.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                write_char(f, c)?;
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        f.write_char('"')
    }
}

fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        '\u{7}' => f.write_str("\\a"),
        '\u{8}' => f.write_str("\\b"),
        '\u{c}' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\u{b}' => f.write_str("\\v"),
        c if c < ' ' || c == '\u{7f}' => write!(f, "\\x{:02x}", u32::from(c)),
        c if is_print(c) => f.write_char(c),
        c if u32::from(c) < 0x10000 => write!(f, "\\u{:04x}", u32::from(c)),
        c => write!(f, "\\U{:08x}", u32::from(c)),
    }
}

/// Go's `unicode.IsPrint`. The standard library knows the same set (no control, format, surrogate, private, unassigned or
/// separator character but the space) but only tells it through `escape_debug`, which takes exception to combining marks
/// where they come first.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut after_letter = [b'a', 0, 0, 0, 0];
    let length = 1 + c.encode_utf8(&mut after_letter[1..]).len();
    std::str::from_utf8(&after_letter[..length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_in_go() {
        for (bytes, quoted) in [
            (&b"a\"b\\c"[..], r#""a\"b\\c""#),
            (b"\x00\x07\x08\x0b\x0c\r\n\t\x7f\x1b", r#""\x00\a\b\v\f\r\n\t\x7f\x1b""#),
            (b"\xff\xc3(", r#""\xff\xc3(""#),
            ("ü→😀e\u{301}".as_bytes(), "\"ü→😀e\u{301}\""),
            ("\u{a0}\u{200b}\u{85}\u{e0001}\u{fffd}".as_bytes(), "\"\\u00a0\\u200b\\u0085\\U000e0001\u{fffd}\""),
        ] {
            assert_eq!(Quoted(bytes).to_string(), quoted);
        }
    }
}
