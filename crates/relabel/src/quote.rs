//! Texts in quotes, as Go's `%q` writes them into errors.

use std::fmt;

/// Shows a text as Go's `strconv.Quote`.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\x0b' => f.write_str("\\v")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c if is_printable(c) => f.write_char(c)?,
                c if u32::from(c) < 0x1_0000 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "\\U{:08x}", u32::from(c))?,
            }
        }
        f.write_char('"')
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space; the Unicode version is Rust's.
fn is_printable(c: char) -> bool {
    // Only at the start of a text are combining marks escaped as well.
    let after_letter = ['a', c];
    c.is_ascii() || after_letter.iter().collect::<String>().escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_in_go() {
        for (text, expected) in [
            ("a\0b\x07\x08\x0c\n\r\t\x0b\"\\'\x7f", r#""a\x00b\a\b\f\n\r\t\v\"\\'\x7f""#),
            (
                "é日\u{a0}\u{301}\u{200b}\u{e0001}\u{feff}😀\u{fffd}",
                "\"é日\\u00a0\u{301}\\u200b\\U000e0001\\ufeff😀\u{fffd}\"",
            ),
            ("a\u{300} \u{2028}", "\"a\u{300} \\u2028\""),
            ("", "\"\""),
        ] {
            assert_eq!(Quoted(text).to_string(), expected);
        }
    }
}
