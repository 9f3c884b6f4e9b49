//! Writing JSON into bytes, as Prometheus' JSON library writes it.
//!
//! Texts are escaped in two ways there, and both are kept: labels only where JSON demands it, all else so that it may stand in
//! HTML. Numbers of results have their own forms ([`put_value`], [`put_timestamp`]).

use model::{Labels, TimestampMs};
use promql::numbers;
use serde_json::Value;

/// Digits of a whole number that a float holds exactly.
const WHOLE_MAX: f64 = 1e15;

/// A text of a label, in quotes.
pub(crate) fn put_label_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    put_escaped(out, text, |b| b < 0x20 || b == b'"' || b == b'\\');
    out.push(b'"');
}

/// Any other text, in quotes.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    put_escaped(out, text, |b| b < 0x20 || matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2));
    out.push(b'"');
}

/// `special` says which bytes are looked at; U+2028 and U+2029 begin with `e2` and are escaped only if that is among them.
fn put_escaped(out: &mut Vec<u8>, text: &str, special: impl Fn(u8) -> bool) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(n) = bytes[from..].iter().position(|b| special(*b)) {
        let at = from + n;
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match bytes[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', b]),
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, last @ (0xa8 | 0xa9)]) => {
                    out.extend_from_slice(b"\\u202");
                    out.push(last - 0xa8 + b'8');
                    from = at + 3;
                }
                _ => out.push(0xe2),
            },
            b => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// `{"name":"value"}`
pub(crate) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_list(out, b"{}", labels, |out, label| {
        put_label_text(out, label.name);
        out.push(b':');
        put_label_text(out, label.value);
    });
}

/// Items with commas between them, in brackets.
pub(crate) fn put_list<T>(
    out: &mut Vec<u8>,
    brackets: &[u8; 2],
    items: impl IntoIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(brackets[0]);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(brackets[1]);
}

/// `["a","b"]`
pub(crate) fn put_texts<T: AsRef<str>>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = T>) {
    put_list(out, b"[]", texts, |out, text| put_text(out, text.as_ref()));
}

/// A whole number.
pub(crate) fn put_int(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    put_uint(out, n.unsigned_abs());
}

/// A whole number that is not negative.
pub(crate) fn put_uint(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).expect("a digit");
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A time as seconds, as [`numbers::json_timestamp`] writes it.
pub(crate) fn put_timestamp(out: &mut Vec<u8>, at: TimestampMs) {
    if at.0 < 0 {
        out.push(b'-');
    }
    let ms = at.0.unsigned_abs();
    put_uint(out, ms / 1000);
    let fraction = ms % 1000;
    if fraction != 0 {
        // The leading 1 keeps the zeros.
        let dot = out.len();
        put_uint(out, 1000 + fraction);
        out[dot] = b'.';
    }
}

/// A value of a sample in quotes, as [`numbers::json_float`] writes it.
pub(crate) fn put_value(out: &mut Vec<u8>, f: f64) {
    let negative_zero = f == 0.0 && f.is_sign_negative();
    out.push(b'"');
    if f.abs() < WHOLE_MAX && f.fract() == 0.0 && !negative_zero {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 1e15")]
        put_int(out, f as i64);
    } else if !put_short_decimal(out, f) {
        out.pop();
        out.extend_from_slice(numbers::json_float(f).as_bytes());
        return;
    }
    out.push(b'"');
}

/// Writes a number of common size without an exponent; false where it is of another size.
fn put_short_decimal(out: &mut Vec<u8>, f: f64) -> bool {
    // `zmij` uses no exponent here, and its digits are Go's: the fewest, and of those the nearest.
    if !(1e-4..WHOLE_MAX).contains(&f.abs()) {
        return false;
    }
    let mut digits = zmij::Buffer::new();
    out.extend_from_slice(digits.format_finite(f).as_bytes());
    true
}

/// A number outside of results, as Go's `encoding/json` writes floats. Not a number and infinity do not occur.
pub(crate) fn put_number(out: &mut Vec<u8>, f: f64) {
    let abs = f.abs();
    let text = if abs != 0.0 && !(1e-6..1e21).contains(&abs) { numbers::format_e(f) } else { numbers::format_f(f) };
    // Go writes `e-9`, not `e-09`.
    let (digits, exponent) = text.split_once("e-0").map_or((text.as_str(), None), |(d, e)| (d, Some(e)));
    out.extend_from_slice(digits.as_bytes());
    if let Some(exponent) = exponent {
        out.extend_from_slice(b"e-");
        out.extend_from_slice(exponent.as_bytes());
    }
}

/// A whole tree; members of objects by name. For trees as deep as expressions are.
pub(crate) fn put_tree(out: &mut Vec<u8>, tree: &Value) {
    match tree {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Number(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::String(s) => put_text(out, s),
        Value::Array(items) => put_list(out, b"[]", items, put_tree),
        Value::Object(members) => put_list(out, b"{}", members, |out, (name, value)| {
            put_text(out, name);
            out.push(b':');
            put_tree(out, value);
        }),
    }
}

/// A time as Go writes a `time.Time` in UTC, in quotes.
pub(crate) fn put_date(out: &mut Vec<u8>, at: TimestampMs) {
    out.push(b'"');
    out.extend_from_slice(targets::date::format(at).as_bytes());
    out.push(b'"');
}

/// A time that Go never set.
pub(crate) const NO_DATE: &[u8] = b"\"0001-01-01T00:00:00Z\"";

#[cfg(test)]
mod tests;
