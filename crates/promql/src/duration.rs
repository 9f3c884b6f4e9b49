//! Durations as texts: Prometheus' own notation and that of the HTTP API, in nanoseconds as Go holds them.
//!
//! Source: `model.ParseDuration` and `model.Duration.String` of prometheus/common, `parseDuration` of the API.

use std::fmt;

use model::DurationMs;

use crate::numbers;
use crate::quote;

/// Why a text is no duration, in Prometheus' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("empty duration string")]
    Empty,
    /// Not in the notation.
    #[error("not a valid duration string: {}", quote::quoted(text.as_bytes()))]
    Invalid {
        /// What was read.
        text: String,
    },
    /// What follows a number is no unit.
    #[error("unknown unit {} in duration {}", quote::quoted(unit.as_bytes()), quote::quoted(text.as_bytes()))]
    UnknownUnit {
        /// What stands in the place of the unit.
        unit: String,
        /// What was read.
        text: String,
    },
    /// Nanoseconds in 64 bits do not hold it.
    #[error("duration out of range")]
    OutOfRange,
    /// A parameter of the HTTP API that is none.
    #[error("cannot parse {} to a valid duration", quote::quoted(text.as_bytes()))]
    Api {
        /// What was read.
        text: String,
    },
    /// A number in the HTTP API that nanoseconds in 64 bits do not hold.
    #[error("cannot parse {} to a valid duration. It overflows int64", quote::quoted(text.as_bytes()))]
    ApiOverflow {
        /// What was read.
        text: String,
    },
}

const NS_PER_MS: u64 = 1_000_000;

/// What `NaN` becomes where a duration is expected: the least number of nanoseconds, which Prometheus prints in its own way.
/// In milliseconds that is the number after the least one that can be written out.
pub(crate) const NO_DURATION: DurationMs = DurationMs(i64::MIN / 1_000_000 - 1);

/// Units from largest to smallest, in milliseconds; whether they are printed only where they divide the whole.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1000, false),
    ("ms", 1, false),
];

/// Parses `1h30m`, `54s321ms`, `0` to nanoseconds: whole numbers, units from largest to smallest, each once.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::Empty),
        _ => {}
    }
    let invalid = || DurationError::Invalid { text: text.to_owned() };
    let (mut total, mut units, mut rest) = (0u64, &UNITS[..], text);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let (unit, after) = after.split_at(after.bytes().take_while(|b| !b.is_ascii_digit()).count());
        if unit.is_empty() {
            return Err(invalid());
        }
        let Some(at) = UNITS.iter().position(|u| u.0 == unit) else {
            return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        // What is left of the units are those smaller than the last one.
        let skipped = UNITS.len() - units.len();
        units = at.checked_sub(skipped).map(|at| &units[at + 1..]).ok_or_else(invalid)?;
        let ns = number.checked_mul(UNITS[at].1 * NS_PER_MS).ok_or(DurationError::OutOfRange)?;
        total = total.checked_add(ns).filter(|t| i64::try_from(*t).is_ok()).ok_or(DurationError::OutOfRange)?;
        rest = after;
    }
    i64::try_from(total).map_err(|_| DurationError::OutOfRange)
}

/// As [`parse_duration`], with an optional `-` in front.
pub fn parse_duration_allow_negative(text: &str) -> Result<i64, DurationError> {
    match text.strip_prefix('-') {
        Some(rest) => parse_duration(rest).map(|ns| -ns),
        None => parse_duration(text),
    }
}

/// A `step`, `timeout` or the like of the HTTP API, in nanoseconds: a number of seconds, or a duration.
pub fn parse_api_duration(text: &str) -> Result<i64, DurationError> {
    if let Ok(seconds) = numbers::parse_float(text) {
        let ns = seconds * 1e9;
        // The bounds are 2^63 in both directions, and both are let through.
        if !(-9_223_372_036_854_775_808.0..=9_223_372_036_854_775_808.0).contains(&ns) && !ns.is_nan() {
            return Err(DurationError::ApiOverflow { text: text.to_owned() });
        }
        return Ok(numbers::to_i64(ns));
    }
    parse_duration(text).map_err(|_| DurationError::Api { text: text.to_owned() })
}

/// Prints milliseconds in Prometheus' notation, which names years and weeks only where they divide the whole.
pub fn write_millis(out: &mut impl fmt::Write, ms: i64) -> fmt::Result {
    if ms == 0 {
        return out.write_str("0s");
    }
    if ms < 0 {
        out.write_char('-')?;
    }
    let mut rest = ms.unsigned_abs();
    for (unit, scale, exact) in UNITS {
        if exact && !rest.is_multiple_of(scale) {
            continue;
        }
        let n = rest / scale;
        if n > 0 {
            write!(out, "{n}{unit}")?;
            rest -= n * scale;
        }
    }
    Ok(())
}

/// Prints nanoseconds in Prometheus' notation; what is below a millisecond is dropped.
pub fn format_duration(ns: i64) -> String {
    let mut out = String::new();
    write_millis(&mut out, ns / 1_000_000).expect("a String takes every write");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print_as_in_prometheus() {
        for (text, outcome) in [
            ("1h30m", "1h30m"),
            ("7d", "1w"),
            ("8d", "8d"),
            ("54s321ms", "54s321ms"),
            ("0", "0s"),
            ("5", "not a valid duration string: \"5\""),
            ("5hs", "unknown unit \"hs\" in duration \"5hs\""),
            ("1m1h", "not a valid duration string: \"1m1h\""),
            ("293y", "duration out of range"),
            ("", "empty duration string"),
        ] {
            let got = parse_duration(text).map_or_else(|e| e.to_string(), format_duration);
            assert_eq!(got, outcome, "{text}");
        }
        assert_eq!(parse_duration_allow_negative("-1m"), Ok(-60_000_000_000));
        assert_eq!(parse_api_duration("0.5"), Ok(500_000_000));
    }
}
