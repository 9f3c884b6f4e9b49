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
