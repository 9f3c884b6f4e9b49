//! Reading numbers as Go's `strconv` does. Source: the documentation of that package and its tests of underscores.

use crate::quote;

/// Why a text is no number, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNumberError {
    /// Not in the notation.
    #[error("strconv.{function}: parsing {}: invalid syntax", quote::quoted(text.as_bytes()))]
    Syntax {
        /// The function of Go that would say so.
        function: &'static str,
        /// What was read.
        text: String,
    },
    /// In the notation, but too great.
    #[error("strconv.{function}: parsing {}: value out of range", quote::quoted(text.as_bytes()))]
    Range {
        /// The function of Go that would say so.
        function: &'static str,
        /// What was read.
        text: String,
    },
    /// A `limit` below zero.
    #[error("limit must be non-negative")]
    NegativeLimit,
}

fn syntax(function: &'static str, text: &str) -> ParseNumberError {
    ParseNumberError::Syntax { function, text: text.to_owned() }
}

fn range(function: &'static str, text: &str) -> ParseNumberError {
    ParseNumberError::Range { function, text: text.to_owned() }
}

/// Go's `strconv.ParseFloat(text, 64)`: decimal, hexadecimal with `p`, `_` between digits, `inf`, `infinity`, `nan`.
pub fn parse_float(text: &str) -> Result<f64, ParseNumberError> {
    const FUNCTION: &str = "ParseFloat";
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let signed = unsigned.len() < text.len();
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if unsigned.eq_ignore_ascii_case(b"nan") && !signed {
        return Ok(go_nan());
    }
    if unsigned.contains(&b'_') && !underscores_separate_digits(unsigned) {
        return Err(syntax(FUNCTION, text));
    }
    let bare: Vec<u8> = unsigned.iter().copied().filter(|b| *b != b'_').collect();
    let magnitude = match bare.as_slice() {
        [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest),
        rest => decimal(rest),
    };
    match magnitude {
        None => Err(syntax(FUNCTION, text)),
        Some(f) if f.is_infinite() => Err(range(FUNCTION, text)),
        Some(f) => Ok(if negative { -f } else { f }),
    }
}

/// The NaN that Go's `math.NaN()` gives.
fn go_nan() -> f64 {
    f64::from_bits(0x7ff8_0000_0000_0001)
}

/// Whether each `_` stands between digits, or between a base's prefix and a digit.
fn underscores_separate_digits(text: &[u8]) -> bool {
    #[derive(PartialEq)]
    enum Last {
        Digit,
        Underscore,
        Other,
    }
    let (mut last, hex, rest) = match text {
        [b'0', base @ (b'b' | b'B' | b'o' | b'O' | b'x' | b'X'), rest @ ..] => {
            (Last::Digit, matches!(base, b'x' | b'X'), rest)
        }
        rest => (Last::Other, false, rest),
    };
    for b in rest {
        let digit = b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
        last = match (digit, b, last) {
            (true, _, _) => Last::Digit,
            (false, b'_', Last::Digit) => Last::Underscore,
            (false, b'_', _) | (false, _, Last::Underscore) => return false,
            (false, _, _) => Last::Other,
        };
    }
    last != Last::Underscore
}

/// Digits with at most one dot among them, then an exponent behind `e`. The notation is checked here; the standard library,
/// which takes a little more, rounds.
fn decimal(text: &[u8]) -> Option<f64> {
    let mantissa_len = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(mantissa_len);
    let digits = mantissa.iter().filter(|b| b.is_ascii_digit()).count();
    let dots = mantissa.iter().filter(|b| **b == b'.').count();
    let exponent_ok = match exponent {
        [] => true,
        [_, b'+' | b'-', digits @ ..] | [_, digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
    };
    if digits == 0 || dots > 1 || digits + dots != mantissa.len() || !exponent_ok {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What follows `0x`: digits with at most one dot, then `p` and an exponent of two, which must be there.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let p = text.iter().position(|b| matches!(b, b'p' | b'P'))?;
    let (digits, exponent) = (&text[..p], std::str::from_utf8(&text[p + 1..]).ok()?);
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Exponents past the range of i64 saturate: the result is zero or infinite either way.
    let beyond = if exponent.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
    let mut power: i64 = exponent.parse().unwrap_or(beyond).clamp(i64::MIN / 4, i64::MAX / 4);
    let (mut mantissa, mut sticky, mut any, mut dot) = (0u64, false, false, false);
    for b in digits {
        if *b == b'.' {
            if dot {
                return None;
            }
            dot = true;
            continue;
        }
        let digit = char::from(*b).to_digit(16)?;
        any = true;
        if mantissa >> 59 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            power -= if dot { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            power += if dot { 0 } else { 4 };
        }
    }
    any.then(|| scale(mantissa, sticky, power))
}

/// `mantissa · 2^power`, rounded to the nearest and to even; `sticky` says that digits other than zero were left out.
#[expect(clippy::cast_precision_loss, reason = "the mantissa has 53 bits at most when it is converted")]
fn scale(mantissa: u64, sticky: bool, power: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    let top = bits + power;
    if top > 1024 {
        return f64::INFINITY;
    }
    // Bits that the result can keep: 53, less where it is subnormal.
    let keep = 53.min(top + 1074);
    if keep < 0 {
        return 0.0;
    }
    let drop = bits - keep;
    let (mut kept, mut power) = (mantissa, power);
    if drop > 0 {
        let wide = u128::from(mantissa);
        let below = wide & ((1 << drop) - 1);
        let half = 1u128 << (drop - 1);
        kept = u64::try_from(wide >> drop).expect("shifted down from 64 bits");
        power += drop;
        if below > half || (below == half && (sticky || kept & 1 == 1)) {
            kept += 1;
        }
    }
    // Two steps keep each factor within the range of normal numbers.
    let step = |n: i64| 2f64.powi(i32::try_from(n).expect("between -1074 and 1024"));
    let half = power / 2;
    kept as f64 * step(half) * step(power - half)
}

/// The value of a number in PromQL: Go's `ParseInt(text, 0, 64)`, else `ParseFloat`. So `017` is 15, and `08` is 8.
pub fn parse_number(text: &str) -> Result<f64, ParseNumberError> {
    #[expect(clippy::cast_precision_loss, reason = "as in Prometheus")]
    match parse_int(text.as_bytes()) {
        Some(n) => Ok(n as f64),
        None => parse_float(text),
    }
}

/// A whole number without sign, of the base that its prefix says.
fn parse_int(text: &[u8]) -> Option<i64> {
    let (base, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] if !rest.is_empty() => (2, rest),
        [b'0', b'o' | b'O', rest @ ..] if !rest.is_empty() => (8, rest),
        [b'0', rest @ ..] => (8, rest),
        rest if !rest.is_empty() => (10, rest),
        _ => return None,
    };
    if text.contains(&b'_') && !underscores_separate_digits(text) {
        return None;
    }
    digits.iter().filter(|b| **b != b'_').try_fold(0i64, |n, b| {
        let digit = char::from(*b).to_digit(base)?;
        n.checked_mul(i64::from(base))?.checked_add(i64::from(digit))
    })
}

/// Go's `strconv.ParseUint(text, 10, 64)`.
pub fn parse_uint(text: &str) -> Result<u64, ParseNumberError> {
    const FUNCTION: &str = "ParseUint";
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax(FUNCTION, text));
    }
    text.parse().map_err(|_| range(FUNCTION, text))
}

/// A `limit` of the HTTP API; zero, and an empty text, mean none.
pub fn parse_limit(text: &str) -> Result<usize, ParseNumberError> {
    const FUNCTION: &str = "Atoi";
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax(FUNCTION, text));
    }
    let n: i64 = text.parse().map_err(|_| range(FUNCTION, text))?;
    usize::try_from(n).map_err(|_| ParseNumberError::NegativeLimit)
}
