//! Texts in quotes, as Go's `strconv.Quote` and `%q` print them, and runes as they are read from Go strings.

use std::fmt::{self, Write};

/// A rune read from bytes: the character, or `None` for a byte that is not UTF-8, and the bytes that it takes.
///
/// Go reads U+FFFD for such a byte; U+FFFD that is written in the text is returned as itself.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    let first = *bytes.first()?;
    let len = match first {
        0..0x80 => return Some((Some(char::from(first)), 1)),
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Some((None, 1)),
    };
    match bytes.get(..len).and_then(|b| std::str::from_utf8(b).ok()).and_then(|s| s.chars().next()) {
        Some(c) => Some((Some(c), len)),
        None => Some((None, 1)),
    }
}

/// The text, with U+FFFD for each byte that is not UTF-8, as Go replaces them when it writes JSON.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut at = 0;
    while let Some((c, len)) = decode(&bytes[at..]) {
        out.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
        at += len;
    }
    out
}

/// The first `n` characters; each byte that is not UTF-8 counts as one.
pub(crate) fn first_chars(bytes: &[u8], n: usize) -> &[u8] {
    let mut at = 0;
    for _ in 0..n {
        let Some((_, len)) = decode(&bytes[at..]) else { break };
        at += len;
    }
    &bytes[..at]
}

/// Whether Go's `strconv.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII space.
///
/// The standard library has the same rule behind its `Debug` of texts; a letter in front keeps marks from being escaped as
/// the start of the text.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buf = [0; 5];
    buf[0] = b'a';
    let len = 1 + c.encode_utf8(&mut buf[1..]).len();
    std::str::from_utf8(&buf[..len]).is_ok_and(|s| s.escape_debug().nth(1) == Some(c))
}

fn write_char(out: &mut impl Write, c: char, quote: char) -> fmt::Result {
    match c {
        c if c == quote => write!(out, "\\{c}"),
        '\\' => out.write_str("\\\\"),
        c if is_print(c) => out.write_char(c),
        '\u{7}' => out.write_str("\\a"),
        '\u{8}' => out.write_str("\\b"),
        '\u{c}' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\u{b}' => out.write_str("\\v"),
        c if c < ' ' || c == '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x10000 => write!(out, "\\u{:04x}", u32::from(c)),
        c => write!(out, "\\U{:08x}", u32::from(c)),
    }
}

/// Writes `bytes` in double quotes, as Go's `strconv.Quote`.
pub(crate) fn write_quoted(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    out.write_char('"')?;
    let mut at = 0;
    while let Some((c, len)) = decode(&bytes[at..]) {
        match c {
            Some(c) => write_char(out, c, '"')?,
            None => write!(out, "\\x{:02x}", bytes[at])?,
        }
        at += len;
    }
    out.write_char('"')
}

/// `bytes` in double quotes, as Go's `strconv.Quote`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    write_quoted(&mut out, bytes).expect("a String takes every write");
    out
}

/// A character in single quotes, as Go's `%q`; `None` is the end of the text or a bad byte.
pub(crate) fn quoted_char(c: Option<char>) -> String {
    let mut out = String::from("'");
    write_char(&mut out, c.unwrap_or(char::REPLACEMENT_CHARACTER), '\'').expect("a String takes every write");
    out.push('\'');
    out
}

/// As Go's `%#U`: `U+0041 'A'`, the character only where it can be printed.
pub(crate) fn unicode(c: Option<char>) -> String {
    let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
    let shown = if is_print(c) { format!(" '{c}'") } else { String::new() };
    format!("U+{:04X}{shown}", u32::from(c))
}

/// Why a text in quotes is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid syntax")]
pub(crate) struct UnquoteError;

/// What stands between the quotes of a PromQL text: `'…'` and `"…"` with Go's escapes, `` `…` `` without. Escapes can write
/// bytes that are not UTF-8. Source: Prometheus `util/strutil.Unquote`.
pub(crate) fn unquote(text: &[u8]) -> Result<Vec<u8>, UnquoteError> {
    let [quote @ (b'"' | b'\'' | b'`'), inner @ .., last] = text else { return Err(UnquoteError) };
    if quote != last {
        return Err(UnquoteError);
    }
    if *quote == b'`' {
        return if inner.contains(&b'`') { Err(UnquoteError) } else { Ok(inner.to_vec()) };
    }
    if inner.contains(&b'\n') {
        return Err(UnquoteError);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [first, after @ ..] = rest {
        match *first {
            c if c == *quote => return Err(UnquoteError),
            b'\\' => rest = unquote_escape(after, *quote, &mut out)?,
            // Go replaces a byte that is not UTF-8; the lexer has refused it before.
            c => {
                out.push(c);
                rest = after;
            }
        }
    }
    Ok(out)
}

/// Reads one escape after its backslash; returns what follows.
fn unquote_escape<'a>(text: &'a [u8], quote: u8, out: &mut Vec<u8>) -> Result<&'a [u8], UnquoteError> {
    let [c, rest @ ..] = text else { return Err(UnquoteError) };
    let plain = match c {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        b'\'' | b'"' if *c == quote => quote,
        b'x' => {
            let (n, rest) = take_digits(rest, 2, 16)?;
            out.push(u8::try_from(n).map_err(|_| UnquoteError)?);
            return Ok(rest);
        }
        b'0'..=b'7' => {
            let (n, rest) = take_digits(text, 3, 8)?;
            out.push(u8::try_from(n).map_err(|_| UnquoteError)?);
            return Ok(rest);
        }
        b'u' | b'U' => {
            let (n, rest) = take_digits(rest, if *c == b'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(n).ok_or(UnquoteError)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(rest);
        }
        _ => return Err(UnquoteError),
    };
    out.push(plain);
    Ok(rest)
}

fn take_digits(text: &[u8], count: usize, base: u32) -> Result<(u32, &[u8]), UnquoteError> {
    let (digits, rest) = text.split_at_checked(count).ok_or(UnquoteError)?;
    let mut n: u32 = 0;
    for d in digits {
        let d = char::from(*d).to_digit(base).ok_or(UnquoteError)?;
        n = n.wrapping_mul(base).wrapping_add(d);
    }
    Ok((n, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_in_go() {
        for (bytes, expected) in [
            (&b"a\"b'c\\"[..], r#""a\"b'c\\""#),
            (b"\x00\x07\x7f\n\xff", r#""\x00\a\x7f\n\xff""#),
            ("é\u{a0}\u{301}\u{ad}\u{10ffff}\u{feff}".as_bytes(), "\"é\\u00a0\u{301}\\u00ad\\U0010ffff\\ufeff\""),
        ] {
            assert_eq!(quoted(bytes), expected);
        }
        assert_eq!(quoted_char(Some('\'')), r"'\''");
        assert_eq!(quoted_char(Some('"')), "'\"'");
        assert_eq!(unicode(Some('x')), "U+0078 'x'");
        assert_eq!(unicode(Some('\0')), "U+0000");
    }

    #[test]
    fn escapes_are_those_of_go() {
        for (text, expected) in [
            (r#""a\n\x41\101\u00e9\U0001f600\"""#, Some("a\nAA\u{e9}\u{1f600}\"".as_bytes())),
            (r"'\''", Some(b"'")),
            (r"`\n`", Some(br"\n")),
            (r#""\xff""#, Some(b"\xff")),
            (r#""\'""#, None),
            (r#""\400""#, None),
            (r#""\ud800""#, None),
            (r#""a"#, None),
        ] {
            assert_eq!(unquote(text.as_bytes()).ok().as_deref(), expected, "{text}");
        }
    }
}
