//! Numbers in messages.

use crate::numbers::format_f;
pub(crate) use crate::numbers::{format_f as go_f, format_g as go_g};

/// A text in quotes, as Go's `%q`.
pub(crate) fn go_quote(text: &str) -> String {
    crate::quoted(text.as_bytes())
}

/// Go's `%.2g`.
pub(crate) fn go_g2(v: f64) -> String {
    if !v.is_finite() || v == 0.0 {
        return format_f(v);
    }
    let text = format!("{v:.1e}");
    let (mantissa, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a number as exponent");
    if (-4..2).contains(&exponent) {
        let rounded: f64 = text.parse().expect("Rust reads what it printed");
        return format_f(rounded);
    }
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_printed_as_go_prints_them() {
        for (v, expected) in
            [(0.125, "0.12"), (12.5, "12"), (99.9, "1e+02"), (0.000_012_34, "1.2e-05"), (123_456.0, "1.2e+05")]
        {
            assert_eq!(go_g2(v), expected, "{v}");
        }
    }
}
