//! What a scalar means under the YAML 1.1 rules of Go's `yaml.v2` (`resolve.go`).

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer beyond [`Scalar::Int`].
    Uint(u64),
    Float(f64),
    Timestamp,
    Str,
    /// `!!binary`: the bytes.
    Binary(Vec<u8>),
    /// A tag that YAML does not define; its text counts as a string.
    Custom(String),
}

impl Scalar {
    /// The short tag, as messages print it.
    pub(crate) fn tag(&self) -> &str {
        match self {
            Scalar::Null => "!!null",
            Scalar::Bool(_) => "!!bool",
            Scalar::Int(_) | Scalar::Uint(_) => "!!int",
            Scalar::Float(_) => "!!float",
            Scalar::Timestamp => "!!timestamp",
            Scalar::Str => "!!str",
            Scalar::Binary(_) => "!!binary",
            Scalar::Custom(tag) => tag,
        }
    }

    /// Reads `value`. `plain` is false for quoted and block scalars, which are strings unless tagged.
    /// Errors are texts to be put behind `yaml: `.
    pub(crate) fn resolve(tag: Option<&str>, value: &str, plain: bool) -> Result<Scalar, String> {
        match tag {
            None if plain => Ok(of_plain(value, true)),
            None | Some("!!str") => Ok(Scalar::Str),
            Some("!!binary") => match decode_base64(value) {
                Some(bytes) => Ok(Scalar::Binary(bytes)),
                None => Err("!!binary value contains invalid base64 data".to_owned()),
            },
            Some(tag @ ("!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp")) => {
                match (tag, of_plain(value, tag == "!!timestamp")) {
                    #[expect(clippy::cast_precision_loss, reason = "what Go's conversion does")]
                    ("!!float", Scalar::Int(i)) => Ok(Scalar::Float(i as f64)),
                    (_, scalar) if scalar.tag() == tag => Ok(scalar),
                    (_, scalar) => Err(format!("cannot decode {} `{value}` as a {tag}", scalar.tag())),
                }
            }
            Some(tag) => Ok(Scalar::Custom(tag.to_owned())),
        }
    }
}

fn of_plain(value: &str, timestamps: bool) -> Scalar {
    let Some(first) = value.bytes().next() else { return Scalar::Null };
    if let Some(known) = known_word(value) {
        return known;
    }
    match first {
        b'.' => match parse_float(value) {
            Some(f) => Scalar::Float(f),
            None => Scalar::Str,
        },
        b'0'..=b'9' | b'+' | b'-' => {
            if timestamps && is_timestamp(value) {
                return Scalar::Timestamp;
            }
            number(&value.replace('_', ""))
        }
        _ => Scalar::Str,
    }
}

fn known_word(value: &str) -> Option<Scalar> {
    Some(match value {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn number(plain: &str) -> Scalar {
    if let Some(scalar) = integer(plain) {
        return scalar;
    }
    if is_yaml_float(plain)
        && let Some(f) = parse_float(plain)
    {
        return Scalar::Float(f);
    }
    Scalar::Str
}

/// Go's `ParseInt` and `ParseUint` with base 0, but for underscores, which are gone by now.
fn integer(plain: &str) -> Option<Scalar> {
    let (sign, digits) = match plain.as_bytes().first()? {
        b'-' => (Some('-'), &plain[1..]),
        b'+' => (Some('+'), &plain[1..]),
        _ => (None, plain),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust's parsers would take a sign of their own here.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    match sign {
        Some('-') => 0i64.checked_sub_unsigned(magnitude).map(Scalar::Int),
        _ => match i64::try_from(magnitude) {
            Ok(i) => Some(Scalar::Int(i)),
            // Go's ParseUint takes no sign.
            Err(_) => sign.is_none().then_some(Scalar::Uint(magnitude)),
        },
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(rest);
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let places = digits(fraction);
        if whole == 0 && places == 0 {
            return false;
        }
        rest = &fraction[places..];
    } else if whole == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        None => rest.is_empty(),
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
    }
}

/// Go's `ParseFloat` fails where the number is out of range; Rust's gives infinity.
fn parse_float(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|f| f.is_finite())
}

/// Whether `text` is a date, or a date and a time, of the four forms that `yaml.v2` takes.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let Some((year, rest)) = take_digits(text, 4, 4) else { return false };
    let Some((month, rest)) = rest.strip_prefix('-').and_then(|r| take_digits(r, 1, 2)) else { return false };
    let Some((day, rest)) = rest.strip_prefix('-').and_then(|r| take_digits(r, 1, 2)) else { return false };
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return false;
    }
    if rest.is_empty() {
        return true;
    }
    let zoned = rest.starts_with(['T', 't']);
    let Some(time) = rest.strip_prefix(['T', 't', ' ']) else { return false };
    let Some((hour, rest)) = take_digits(time, 1, 2) else { return false };
    let Some((minute, rest)) = rest.strip_prefix(':').and_then(|r| take_digits(r, 1, 2)) else { return false };
    let Some((second, mut rest)) = rest.strip_prefix(':').and_then(|r| take_digits(r, 1, 2)) else { return false };
    if hour > 23 || minute > 59 || second > 59 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let places = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if places == 0 {
            return false;
        }
        rest = &fraction[places..];
    }
    if zoned { is_zone(rest) } else { rest.is_empty() }
}

fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let Some(zone) = text.strip_prefix(['+', '-']) else { return false };
    let Some((hours, rest)) = take_digits(zone, 2, 2) else { return false };
    let Some((minutes, rest)) = rest.strip_prefix(':').and_then(|r| take_digits(r, 2, 2)) else { return false };
    rest.is_empty() && hours <= 24 && minutes <= 60
}

fn take_digits(text: &str, min: usize, max: usize) -> Option<(u32, &str)> {
    let n = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if n < min {
        return None;
    }
    Some((text[..n].parse().ok()?, &text[n..]))
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Standard base64 with padding; line breaks are skipped, as in Go.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let padding = symbols.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(symbols.len() / 4 * 3);
    let mut bits: u32 = 0;
    for (i, symbol) in symbols[..symbols.len() - padding].iter().enumerate() {
        let six = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        if i % 4 != 0 {
            let shift = 2 * (3 - i % 4);
            out.push(u8::try_from((bits >> shift) & 0xff).expect("masked to a byte"));
        }
    }
    Some(out)
}

/// Standard base64 with padding, in lines of 70 where there is more than one, as `yaml.v2` prints bytes.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const LINE: usize = 70;
    let mut symbols = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let six = (word >> (18 - 6 * i)) & 63;
            symbols.push(if i <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    if symbols.len() / LINE == 0 {
        return symbols;
    }
    let mut lines = String::with_capacity(symbols.len() + symbols.len() / LINE + 1);
    for (i, c) in symbols.chars().enumerate() {
        lines.push(c);
        if (i + 1) % LINE == 0 || i + 1 == symbols.len() {
            lines.push('\n');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_1_says() {
        for (text, expected) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("yes", Scalar::Bool(true)),
            ("Off", Scalar::Bool(false)),
            ("12", Scalar::Int(12)),
            ("-0x1F", Scalar::Int(-31)),
            ("010", Scalar::Int(8)),
            ("08", Scalar::Float(8.0)),
            ("1_000", Scalar::Int(1000)),
            ("0b101", Scalar::Int(5)),
            ("18446744073709551615", Scalar::Uint(u64::MAX)),
            ("-9223372036854775808", Scalar::Int(i64::MIN)),
            ("1.5e3", Scalar::Float(1500.0)),
            (".5", Scalar::Float(0.5)),
            ("1e999", Scalar::Str),
            ("1m", Scalar::Str),
            ("+", Scalar::Str),
            ("--1", Scalar::Str),
            ("2024-02-29", Scalar::Timestamp),
            ("2023-02-29", Scalar::Str),
            ("2001-12-14T21:59:43.10Z", Scalar::Timestamp),
            ("12:30", Scalar::Str),
        ] {
            assert_eq!(Scalar::resolve(None, text, true), Ok(expected), "{text}");
        }
        assert_eq!(Scalar::resolve(None, "12", false), Ok(Scalar::Str));
        assert_eq!(Scalar::resolve(Some("!!float"), "12", true), Ok(Scalar::Float(12.0)));
        assert!(Scalar::resolve(Some("!!int"), "x", true).is_err());
    }

    #[test]
    fn base64_goes_both_ways() {
        for n in 0..60 {
            let bytes: Vec<u8> = (0..n).map(|i: u8| i.wrapping_mul(37)).collect();
            assert_eq!(decode_base64(&encode_base64(&bytes)), Some(bytes));
        }
        assert_eq!(decode_base64("/w=="), Some(vec![0xff]));
        assert_eq!(decode_base64("/w="), None);
        assert_eq!(decode_base64("a b="), None);
    }
}
