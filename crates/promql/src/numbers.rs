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
    special(f).map_or_else(|| f.to_string(), str::to_owned)
}

/// Go's `strconv.FormatFloat(f, 'e', -1, 64)`: `1.5e-07`.
pub fn format_e(f: f64) -> String {
    special(f).map_or_else(|| with_exponent(&format!("{f:e}")), str::to_owned)
}

/// Go's `strconv.FormatFloat(f, 'g', -1, 64)`, which is also `%v`: an exponent below 1e-4 and from 1e6 on.
pub fn format_g(f: f64) -> String {
    if let Some(text) = special(f) {
        return text.to_owned();
    }
    let scientific = format!("{f:e}");
    let (_, exponent) = split_exponent(&scientific);
    if (-4..6).contains(&exponent) || f == 0.0 { f.to_string() } else { with_exponent(&scientific) }
}

/// Go's `%f`: six decimals.
pub(crate) fn format_fixed(f: f64) -> String {
    special(f).map_or_else(|| format!("{f:.6}"), str::to_owned)
}

/// `1.5e-7`, as Rust prints it, taken apart.
fn split_exponent(scientific: &str) -> (&str, i32) {
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    (digits, exponent.parse().expect("`{:e}` writes a number as exponent"))
}

/// Go's form of `1.5e-7`: a sign, and two digits at least.
fn with_exponent(scientific: &str) -> String {
    let (digits, exponent) = split_exponent(scientific);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
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
mod tests;
