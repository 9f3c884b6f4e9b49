//! Numbers as Go prints them where they are part of labels and messages.

/// `strconv.FormatFloat(v, 'f', -1, 64)`: as few digits as tell the number, never an exponent.
pub(crate) fn go_f(v: f64) -> String {
    if v.is_nan() {
        "NaN".to_owned()
    } else if v.is_infinite() {
        if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{v}")
    }
}

/// `%g`: an exponent where it is below -4 or at least 6.
pub(crate) fn go_g(v: f64) -> String {
    if !v.is_finite() {
        return go_f(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').expect("the exponent form has an e");
    let exponent: i32 = exponent.parse().expect("the exponent is an integer");
    if (-4..6).contains(&exponent) { go_f(v) } else { with_exponent(mantissa, exponent) }
}

/// `%.2g`.
pub(crate) fn go_g2(v: f64) -> String {
    if !v.is_finite() || v == 0.0 {
        return go_f(v);
    }
    let text = format!("{v:.1e}");
    let (mantissa, exponent) = text.split_once('e').expect("the exponent form has an e");
    let exponent: i32 = exponent.parse().expect("the exponent is an integer");
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    if (-4..2).contains(&exponent) {
        let rounded: f64 = text.parse().expect("Rust reads what it printed");
        go_f(rounded)
    } else {
        with_exponent(mantissa, exponent)
    }
}

/// `1.5e-07`: at least two digits of exponent.
fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%q` for a text in a message.
pub(crate) fn go_quote(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                write!(out, "\\x{:02x}", u32::from(c)).expect("a String takes every write");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_go_prints_them() {
        for (v, f, g) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.5, "1.5", "1.5"),
            (1e21, "1000000000000000000000", "1e+21"),
            (123_456.0, "123456", "123456"),
            (1_234_567.0, "1234567", "1.234567e+06"),
            (1e-7, "0.0000001", "1e-07"),
            (0.0001, "0.0001", "0.0001"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!((go_f(v).as_str(), go_g(v).as_str()), (f, g), "{v}");
        }
        for (v, g2) in
            [(0.125, "0.12"), (12.5, "12"), (99.9, "1e+02"), (0.000_012_34, "1.2e-05"), (123_456.0, "1.2e+05")]
        {
            assert_eq!(go_g2(v), g2, "{v}");
        }
    }
}
