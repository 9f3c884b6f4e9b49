//! Floats in and out, as the exposition formats write them.
//!
//! The fast path is Clinger's: at most 19 digits make an integer, and where that and the power of ten are both exact as
//! floats, one multiplication or division rounds correctly. All else goes to the standard library, which rounds correctly too.

use crate::error::FloatError;

/// Powers of ten that are exact as floats.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Integers up to here are exact as floats.
const MANTISSA_EXACT_MAX: u64 = 1 << 53;

/// Digits that always fit in 64 bits.
const DIGITS_MAX: usize = 19;

/// The bits of the NaN that samples get. Source: Prometheus `model/value`.
const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// NaN as samples have it: always with the same bits, so that it is no staleness marker.
pub(crate) fn normal_nan() -> f64 {
    f64::from_bits(NORMAL_NAN_BITS)
}

/// Powers of ten by number of digits in less than a word.
const DIGIT_POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Reads digits into `mantissa`; returns the index after them. Eight bytes at a time: a byte is a digit if it is at most 9 with
/// the bits of `0` taken away, and neighbours are put together in three multiplications (Lemire's `parse_eight_digits`).
#[inline(always)]
pub(crate) fn take_digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let digits = u64::from_le_bytes(*word) ^ 0x3030_3030_3030_3030;
        let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
        if others == 0 {
            *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(u64::from(eight_digits(digits)));
            at += 8;
            continue;
        }
        let count = others.trailing_zeros() / 8;
        // Zeros come before the digits that there are.
        let padded = digits.checked_shl(64 - 8 * count).unwrap_or(0);
        *mantissa =
            mantissa.wrapping_mul(DIGIT_POWERS[count as usize & 7]).wrapping_add(u64::from(eight_digits(padded)));
        return at + count as usize;
    }
    take_last_digits(bytes, at, mantissa)
}

/// Eight digits, the first in the lowest byte.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the upper half is what is dropped")]
fn eight_digits(digits: u64) -> u32 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) as u32
}

/// The same, byte by byte, where the page ends soon.
fn take_last_digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(digit) = bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// One to seven digits and a line break at the start of `bytes`: the number, and how many. Most lines of most pages end so.
#[inline(always)]
pub(crate) fn short_integer_line(bytes: &[u8]) -> Option<(f64, usize)> {
    let word = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    let digits = word ^ 0x3030_3030_3030_3030;
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    // The lowest bit set is the top bit of the first byte that is no digit.
    let bits = others.trailing_zeros().wrapping_sub(7);
    let is_line = bits.wrapping_sub(8) < 56 && (word >> (bits & 63)) & 0xff == u64::from(b'\n');
    let padded = digits << (64u32.wrapping_sub(bits) & 63);
    is_line.then(|| (f64::from(eight_digits(padded)), (bits / 8) as usize))
}

/// A plain decimal at the start of `bytes`: its value and its length. `None` where there is none, or where its value is not
/// exactly rounded by one operation. The caller looks at what follows.
#[inline(never)]
pub(crate) fn fast_decimal(bytes: &[u8]) -> Option<(f64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut mantissa: u64 = 0;
    let whole_end = take_digits(bytes, start, &mut mantissa);
    let mut digits = whole_end - start;
    let mut at = whole_end;
    let mut exponent: i32 = 0;
    if bytes.get(at) == Some(&b'.') {
        at = take_digits(bytes, whole_end + 1, &mut mantissa);
        let fraction_digits = at - whole_end - 1;
        digits += fraction_digits;
        exponent = -i32::try_from(fraction_digits).ok()?;
    }
    if digits == 0 || digits > DIGITS_MAX {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let (written, end) = fast_exponent(bytes, at + 1)?;
        exponent += written;
        at = end;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "rounds correctly, and is the last rounding where the exponent is 0"
    )]
    let unscaled = mantissa as f64;
    let magnitude = if exponent == 0 {
        unscaled
    } else if mantissa > MANTISSA_EXACT_MAX {
        return None;
    } else {
        let power = *POWERS.get(usize::try_from(exponent.unsigned_abs()).ok()?)?;
        if exponent < 0 { unscaled / power } else { unscaled * power }
    };
    Some((if negative { -magnitude } else { magnitude }, at))
}

/// A short exponent at `at`: its value and the index after it.
#[inline]
fn fast_exponent(bytes: &[u8], at: usize) -> Option<(i32, usize)> {
    let (start, sign) = match bytes.get(at) {
        Some(b'-') => (at + 1, -1),
        Some(b'+') => (at + 1, 1),
        _ => (at, 1),
    };
    let mut written: u64 = 0;
    // Two or three digits, as a rule: not worth a word.
    let end = take_last_digits(bytes, start, &mut written);
    // Nine digits are far past any float and far below any overflow.
    if end == start || end - start > 9 {
        return None;
    }
    Some((sign * i32::try_from(written).ok()?, end))
}

/// Parses a sample's value (or an OpenMetrics timestamp): a decimal as in Go before 1.13, `Inf`, `Infinity` with or without
/// sign, `NaN` without, in any case of letters. Every NaN gets the same bits.
/// Source: `parseFloat` of Prometheus `model/textparse`.
pub fn parse_value(text: &[u8]) -> Result<f64, FloatError> {
    if let Some((value, length)) = fast_decimal(text)
        && length == text.len()
    {
        return Ok(value);
    }
    if text.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err(FloatError::UnsupportedCharacter);
    }
    parse_decimal(text)
}

/// Parses all that Go's `strconv.ParseFloat(s, 64)` takes: also hexadecimal floats and underscores between digits.
pub fn parse_go_float(text: &[u8]) -> Result<f64, FloatError> {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let is_hex = unsigned.len() > 2 && unsigned[0] == b'0' && matches!(unsigned[1], b'x' | b'X');
    let mut plain = Vec::new();
    let text = if text.contains(&b'_') {
        if !underscores_separate_digits(unsigned) {
            return Err(FloatError::Syntax);
        }
        plain.extend(text.iter().filter(|b| **b != b'_'));
        plain.as_slice()
    } else {
        text
    };
    if is_hex { parse_hex(text) } else { parse_decimal(text) }
}

/// Whether every underscore stands between two digits or between base prefix and digit. Source: `underscoreOK` of Go's
/// `strconv`, which calls hexadecimal letters digits only after `0x`.
fn underscores_separate_digits(unsigned: &[u8]) -> bool {
    let prefixed = unsigned.len() >= 2 && unsigned[0] == b'0' && matches!(unsigned[1] | 0x20, b'b' | b'o' | b'x');
    let is_hex = prefixed && unsigned[1] | 0x20 == b'x';
    let body = if prefixed { &unsigned[2..] } else { unsigned };
    let is_digit = |b: u8| b.is_ascii_digit() || (is_hex && b.is_ascii_hexdigit());
    body.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(i, _)| {
        let after_digit = if i == 0 { prefixed } else { is_digit(body[i - 1]) };
        after_digit && body.get(i + 1).is_some_and(|b| is_digit(*b))
    })
}

fn parse_decimal(text: &[u8]) -> Result<f64, FloatError> {
    let (negative, unsigned) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = unsigned.len() != text.len();
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !signed && unsigned.eq_ignore_ascii_case(b"nan") {
        return Ok(normal_nan());
    }
    // What is left is a decimal or nothing; words that the standard library would take end here.
    if !unsigned.first().is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
        return Err(FloatError::Syntax);
    }
    let value: f64 = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(FloatError::Syntax)?;
    if value.is_infinite() { Err(FloatError::Range) } else { Ok(value) }
}

/// A hexadecimal float; `text` begins with an optional sign and `0x`.
fn parse_hex(text: &[u8]) -> Result<f64, FloatError> {
    let (negative, unsigned) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let body = unsigned.get(2..).ok_or(FloatError::Syntax)?;
    let p = body.iter().position(|b| matches!(b, b'p' | b'P')).ok_or(FloatError::Syntax)?;
    let mut mantissa: u64 = 0;
    let mut exponent: i64 = 0;
    let (mut digits, mut after_point) = (0usize, false);
    for b in &body[..p] {
        match b {
            b'.' if !after_point => after_point = true,
            b if b.is_ascii_hexdigit() => {
                digits += 1;
                let digit = u64::from(char::from(*b).to_digit(16).ok_or(FloatError::Syntax)?);
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | digit;
                    exponent -= if after_point { 4 } else { 0 };
                } else {
                    // Digits that do not fit only say on which side of a tie the value lies.
                    mantissa |= u64::from(digit != 0);
                    exponent += if after_point { 0 } else { 4 };
                }
            }
            _ => return Err(FloatError::Syntax),
        }
    }
    let written = &body[p + 1..];
    let written_digits = written.strip_prefix(b"-").or_else(|| written.strip_prefix(b"+")).unwrap_or(written);
    if digits == 0 || written_digits.is_empty() || !written_digits.iter().all(u8::is_ascii_digit) {
        return Err(FloatError::Syntax);
    }
    // As in Go, an exponent past 10,000 counts as 10,000 and something.
    let magnitude = written_digits.iter().fold(0i64, |n, d| (n * 10 + i64::from(d - b'0')).min(99_999));
    exponent += if written[0] == b'-' { -magnitude } else { magnitude };
    let value = scale_by_two(mantissa, exponent).ok_or(FloatError::Range)?;
    Ok(if negative { -value } else { value })
}

/// `mantissa * 2^exponent`, rounded to nearest, ties to even; `None` where that is infinite.
fn scale_by_two(mantissa: u64, exponent: i64) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let zeros = i64::from(mantissa.leading_zeros());
    let leading = exponent + 63 - zeros;
    // The least exponent that the last kept bit can have.
    let last = (leading - 52).max(-1074);
    let dropped = last - exponent;
    let kept = if dropped <= 0 {
        // Fits: at most 53 bits are in use once shifted.
        mantissa << u32::try_from(-dropped).ok()?
    } else if dropped > 64 {
        0
    } else {
        let wide = u128::from(mantissa);
        let kept = wide >> dropped;
        let rest = wide & ((1u128 << dropped) - 1);
        let half = 1u128 << (dropped - 1);
        let up = rest > half || (rest == half && kept & 1 == 1);
        u64::try_from(kept + u128::from(up)).ok()?
    };
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let kept = kept as f64;
    let value = kept * power_of_two(last)?;
    value.is_finite().then_some(value)
}

/// `2^n` for `-1074 <= n <= 1023`.
fn power_of_two(n: i64) -> Option<f64> {
    match n {
        -1074..-1022 => Some(f64::from_bits(1 << (n + 1074))),
        -1022..=1023 => Some(f64::from_bits(u64::try_from(n + 1023).ok()? << 52)),
        _ => None,
    }
}

/// Go's conversion of a float to `int64` on amd64: towards zero, and the least integer where it does not fit.
#[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
pub(crate) fn go_int(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// Appends `value` as Go's `strconv.AppendFloat(…, 'g', -1, 64)`: the shortest digits that give the value back, with an
/// exponent below 1e-4 and from 1e6 on.
fn append_g(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` of a finite float has an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes an integer exponent");
    let mut digits: Vec<u8> = mantissa.bytes().filter(|b| *b != b'.').collect();
    round_tie_to_even(&mut digits, exponent, value.abs());
    if !(-4..6).contains(&exponent) {
        append_scientific(out, &digits, exponent);
    } else {
        append_plain(out, &digits, exponent);
    }
}

/// Where two shortest digit sequences are equally near, the standard library gives the larger and Go the even one.
fn round_tie_to_even(digits: &mut [u8], exponent: i32, magnitude: f64) {
    // The last digit counts units of 10^-decimals.
    let decimals = i64::try_from(digits.len()).unwrap_or(i64::MAX) - 1 - i64::from(exponent);
    let (mantissa, binary_exponent) = odd_mantissa(magnitude);
    // An odd number times 2^-n has exactly n decimals, the last of them a 5; so it lies in the middle where n is one more. With
    // whole tens for units, it must also be a multiple of as many fives.
    let fives = u32::try_from(-decimals).unwrap_or(0);
    let divides = 5u64.checked_pow(fives).is_some_and(|power| mantissa % power == 0);
    let is_tie = binary_exponent == -decimals - 1 && divides;
    if let Some(last) = digits.last_mut().filter(|last| is_tie && **last % 2 == 1) {
        *last -= 1;
        // Below a power of two floats lie closer together, and the even digits may be those of another one.
        let unit = format!("{}e{}", String::from_utf8_lossy(digits), -decimals);
        if unit.parse() != Ok(magnitude) {
            let last = digits.len() - 1;
            digits[last] += 1;
        }
    }
}

/// `m` and `e` with `m * 2^e` the finite `magnitude`, `m` odd (or both 0).
fn odd_mantissa(magnitude: f64) -> (u64, i64) {
    let bits = magnitude.to_bits();
    let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52) & 0x7ff);
    let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
    if mantissa == 0 {
        return (0, 0);
    }
    let zeros = mantissa.trailing_zeros();
    (mantissa >> zeros, i64::try_from(biased.max(1)).unwrap_or(0) - 1075 + i64::from(zeros))
}

fn append_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
}

fn append_plain(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let Ok(before_point) = usize::try_from(exponent + 1) else {
        // 0.000ddd
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', usize::try_from(-1 - exponent).unwrap_or(0)));
        return out.extend_from_slice(digits);
    };
    if before_point == 0 {
        out.extend_from_slice(b"0.");
        return out.extend_from_slice(digits);
    }
    let whole = before_point.min(digits.len());
    out.extend_from_slice(&digits[..whole]);
    out.extend(std::iter::repeat_n(b'0', before_point - whole));
    if digits.len() > whole {
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

/// Appends `value` as the text format writes it.
pub fn format_float(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 {
        return out.push(b'0');
    }
    append_g(out, value);
}

/// Appends `value` as OpenMetrics writes it, and as `le` and `quantile` are normalised: always with a point or an exponent.
/// Source: `labels.FormatOpenMetricsFloat`.
pub fn format_openmetrics_float(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    let start = out.len();
    append_g(out, value);
    if value.is_finite() && !out[start..].iter().any(|b| matches!(b, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests;
