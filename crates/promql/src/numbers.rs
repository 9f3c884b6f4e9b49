//! Numbers and times as Go and the HTTP API write them. Reading them is in `numbers/parse.rs`, times in `numbers/time.rs`.

mod parse;
mod time;

pub(crate) use time::to_i64;

pub use parse::{ParseNumberError, parse_float, parse_limit, parse_number, parse_uint};
pub use time::{ApiTime, parse_time};

/// What Go prints for the values that have no digits.
fn special(f: f64) -> Option<&'static str> {
    if f.is_nan() {
        Some("NaN")
    } else if f.is_infinite() {
        Some(if f > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// Go's `strconv.FormatFloat(f, 'f', -1, 64)`: the fewest digits that read back as `f`, never an exponent.
pub fn format_f(f: f64) -> String {
    special(f).map_or_else(|| whole(f).unwrap_or_else(|| Shortest::of(f).plain()), str::to_owned)
}

/// Go's `strconv.FormatFloat(f, 'e', -1, 64)`: `1.5e-07`.
pub fn format_e(f: f64) -> String {
    special(f).map_or_else(|| Shortest::of(f).scientific(), str::to_owned)
}

/// Go's `strconv.FormatFloat(f, 'g', -1, 64)`, which is also `%v`: an exponent below 1e-4 and from 1e6 on.
pub fn format_g(f: f64) -> String {
    if let Some(text) = special(f) {
        return text.to_owned();
    }
    let shortest = Shortest::of(f);
    if (-4..6).contains(&shortest.exponent) { shortest.plain() } else { shortest.scientific() }
}

/// A whole number that is printed faster as one.
fn whole(f: f64) -> Option<String> {
    const EXACT: f64 = 1e15;
    let negative_zero = f == 0.0 && f.is_sign_negative();
    (f.abs() < EXACT && f.fract() == 0.0 && !negative_zero).then(|| to_i64(f).to_string())
}

/// The fewest digits that read back as a number: `0.d₁d₂d₃… · 10^(exponent + 1)`.
struct Shortest {
    negative: bool,
    /// ASCII digits.
    digits: Vec<u8>,
    /// Of the first digit.
    exponent: i32,
}

impl Shortest {
    fn of(f: f64) -> Shortest {
        let shortest = Shortest::read(&format!("{f:e}"));
        // With fewer digits, a number cannot lie midway between two of them.
        const TIES_FROM: usize = 15;
        let len = shortest.digits.len();
        if len < TIES_FROM {
            return shortest;
        }
        // Midway between two candidates Go takes the even one, the standard library the greater.
        let even = format!("{f:.*e}", len - 1);
        if even.parse() == Ok(f) { Shortest::read(&even) } else { shortest }
    }

    /// Reads what `{:e}` wrote.
    fn read(text: &str) -> Shortest {
        let (digits, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
        let exponent = exponent.parse().expect("`{:e}` writes a number as exponent");
        let negative = digits.starts_with('-');
        let mut digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_digit).collect();
        while digits.len() > 1 && digits.last() == Some(&b'0') {
            digits.pop();
        }
        Shortest { negative, digits, exponent }
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }

    /// The digits from one to another place, zeros where there are none.
    fn places(&self, from: i32, to: i32) -> impl Iterator<Item = char> + '_ {
        (from..to).map(|i| usize::try_from(i).ok().and_then(|i| self.digits.get(i)).map_or('0', |d| char::from(*d)))
    }

    fn plain(&self) -> String {
        let len = i32::try_from(self.digits.len()).expect("seventeen digits at most");
        let point = self.exponent + 1;
        let mut out = String::from(self.sign());
        if point > 0 {
            out.extend(self.places(0, point));
        } else {
            out.push('0');
        }
        if len > point && self.digits != b"0" {
            out.push('.');
            out.extend(self.places(point, len));
        }
        out
    }

    fn scientific(&self) -> String {
        let mut out = String::from(self.sign());
        let len = i32::try_from(self.digits.len()).expect("seventeen digits at most");
        out.extend(self.places(0, 1));
        if len > 1 {
            out.push('.');
            out.extend(self.places(1, len));
        }
        let sign = if self.exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("e{sign}{:02}", self.exponent.abs()));
        out
    }
}

/// Go's `%f`: six decimals.
pub(crate) fn format_fixed(f: f64) -> String {
    special(f).map_or_else(|| format!("{f:.6}"), str::to_owned)
}

/// A sample's value in an answer of the HTTP API, quotes included. Source: Prometheus `util/jsonutil.MarshalFloat`.
pub fn json_float(f: f64) -> String {
    let abs = f.abs();
    let text = if abs != 0.0 && !(1e-6..1e21).contains(&abs) { format_e(f) } else { format_f(f) };
    format!("\"{text}\"")
}

/// A sample's time in an answer of the HTTP API: seconds with three decimals, or none where they are zero.
pub fn json_timestamp(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let (seconds, fraction) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    if fraction == 0 { format!("{sign}{seconds}") } else { format!("{sign}{seconds}.{fraction:03}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_go() {
        for (f, plain, scientific, general) in [
            (0.0, "0", "0e+00", "0"),
            (-0.0, "-0", "-0e+00", "-0"),
            (1.5, "1.5", "1.5e+00", "1.5"),
            (-0.000_025, "-0.000025", "-2.5e-05", "-2.5e-05"),
            (123_456.7, "123456.7", "1.234567e+05", "123456.7"),
            (1_000_000.0, "1000000", "1e+06", "1e+06"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21"),
            // Midway between two texts of seventeen digits, the even one.
            (2f64.powi(-25), "0.000000029802322387695312", "2.9802322387695312e-08", "2.9802322387695312e-08"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN", "NaN"),
        ] {
            assert_eq!(
                (format_f(f), format_e(f), format_g(f)),
                (plain.to_owned(), scientific.to_owned(), general.to_owned())
            );
        }
        assert_eq!(json_float(1e-7), "\"1e-07\"");
        assert_eq!(json_timestamp(-1_010), "-1.010");
    }

    #[test]
    fn numbers_are_read_as_in_go() {
        for (text, value) in [
            ("1_000.5", Some(1000.5)),
            ("0x1.8p1", Some(3.0)),
            ("-0x1p-1074", Some(-5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.8p-1075", Some(5e-324)),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1.fffffffffffff7p1023", Some(f64::MAX)),
            ("+Infinity", Some(f64::INFINITY)),
            ("1e309", None),
            ("0x10", None),
            ("1__0", None),
            ("+nan", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(parse_float(text).ok(), value, "{text}");
        }
        assert_eq!(parse_number("017"), Ok(15.0));
        assert_eq!(parse_number("08"), Ok(8.0));
    }

    #[test]
    fn times_are_read_as_in_go() {
        for (text, millis) in [
            ("1.5", Some(1500)),
            ("-0.001", Some(-1)),
            ("2024-02-29T0:00:00,5+01:30", Some(1_709_159_400_500)),
            ("2023-02-29T00:00:00Z", None),
            ("now", None),
        ] {
            assert_eq!(parse_time(text).map(ApiTime::millis), millis, "{text}");
        }
    }

    #[test]
    fn times_are_in_the_order_that_go_finds() {
        // What is no time is long before all that are.
        for (before, after) in [("1", "1.001"), ("1.5", "2"), ("-1e18", "0"), ("NaN", "-1e18"), ("Inf", "0")] {
            let [before, after] = [before, after].map(|text| parse_time(text).map(ApiTime::order));
            assert!(before.is_some() && before < after, "{before:?} {after:?}");
        }
    }
}
