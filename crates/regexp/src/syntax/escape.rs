//! Single characters: plain and escaped.

use crate::error::{Error, ErrorKind};

/// The first character and what follows it. `text` must not be empty.
pub(super) fn take_char(text: &[u8]) -> Result<(char, &[u8]), Error> {
    let invalid = || Error::new(ErrorKind::InvalidUtf8, text);
    let first = *text.first().ok_or_else(invalid)?;
    if first.is_ascii() {
        return Ok((char::from(first), &text[1..]));
    }
    let head = &text[..text.len().min(4)];
    let valid = std::str::from_utf8(head).map_or_else(|e| &head[..e.valid_up_to()], str::as_bytes);
    let c = std::str::from_utf8(valid).ok().and_then(|s| s.chars().next()).ok_or_else(invalid)?;
    Ok((c, &text[c.len_utf8()..]))
}

/// The code point that an escape at the start of `text` stands for, which may be a surrogate, and what follows.
pub(super) fn escape(text: &[u8]) -> Result<(u32, &[u8]), Error> {
    let after_backslash = &text[1..];
    if after_backslash.is_empty() {
        return Err(Error::new(ErrorKind::TrailingBackslash, b""));
    }
    let (c, rest) = take_char(after_backslash)?;
    let refused = |rest: &[u8]| Err(Error::new(ErrorKind::InvalidEscape, &text[..text.len() - rest.len()]));
    let code = match c {
        '1'..='7' if !rest.first().is_some_and(|b| matches!(b, b'0'..=b'7')) => return refused(rest), // a back reference
        '0'..='7' => return Ok(octal(after_backslash)),
        'x' => return hexadecimal(text, rest),
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return refused(rest),
    };
    Ok((code, rest))
}

/// Up to three octal digits.
fn octal(digits: &[u8]) -> (u32, &[u8]) {
    let count = digits.iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
    let (digits, rest) = digits.split_at(count);
    (digits.iter().fold(0, |n, b| n * 8 + u32::from(b - b'0')), rest)
}

/// `\x7F` or `\x{10FFFF}`; `rest` is what follows the `x` of `text`.
fn hexadecimal<'p>(text: &[u8], mut rest: &'p [u8]) -> Result<(u32, &'p [u8]), Error> {
    // Go blames everything up to and with the character that it read last.
    let refused = |rest: &[u8]| Err(Error::new(ErrorKind::InvalidEscape, &text[..text.len() - rest.len()]));
    if rest.is_empty() {
        return refused(rest);
    }
    let (first, after_first) = take_char(rest)?;
    rest = after_first;
    if first != '{' {
        if rest.is_empty() {
            return refused(rest);
        }
        let high = first.to_digit(16);
        let (second, rest) = take_char(rest)?;
        return match (high, second.to_digit(16)) {
            (Some(high), Some(low)) => Ok((high * 16 + low, rest)),
            _ => refused(rest),
        };
    }
    let mut code = None;
    while !rest.is_empty() {
        let (c, after) = take_char(rest)?;
        rest = after;
        if c == '}' {
            return code.map_or_else(|| refused(rest), |code| Ok((code, rest)));
        }
        let Some(digit) = c.to_digit(16) else { return refused(rest) };
        let larger = code.unwrap_or(0) * 16 + digit;
        if larger > u32::from(char::MAX) {
            return refused(rest);
        }
        code = Some(larger);
    }
    refused(rest)
}
