//! Time in milliseconds: instants, durations in Prometheus' notation, half-open ranges.

use std::fmt;
use std::ops::{Add, Sub};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMs(pub i64);

/// A span of time in milliseconds; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationMs(pub i64);

/// The instants `mint <= t < maxt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First instant inside.
    pub mint: TimestampMs,
    /// First instant after.
    pub maxt: TimestampMs,
}

impl TimestampMs {
    /// The least instant.
    pub const MIN: TimestampMs = TimestampMs(i64::MIN);
    /// The greatest instant.
    pub const MAX: TimestampMs = TimestampMs(i64::MAX);
}

impl Add<DurationMs> for TimestampMs {
    type Output = TimestampMs;
    /// Saturates at the ends of time.
    fn add(self, d: DurationMs) -> TimestampMs {
        TimestampMs(self.0.saturating_add(d.0))
    }
}

impl Sub<DurationMs> for TimestampMs {
    type Output = TimestampMs;
    /// Saturates at the ends of time.
    fn sub(self, d: DurationMs) -> TimestampMs {
        TimestampMs(self.0.saturating_sub(d.0))
    }
}

impl Sub for TimestampMs {
    type Output = DurationMs;
    fn sub(self, other: TimestampMs) -> DurationMs {
        DurationMs(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TimeRange {
    /// `mint <= t < maxt`.
    pub fn new(mint: TimestampMs, maxt: TimestampMs) -> TimeRange {
        TimeRange { mint, maxt }
    }

    /// Whether `t` lies inside.
    pub fn contains(&self, t: TimestampMs) -> bool {
        self.mint <= t && t < self.maxt
    }

    /// Whether some instant lies in both.
    pub fn overlaps(&self, other: &TimeRange) -> bool {
        self.mint < other.maxt && other.mint < self.maxt
    }
}

/// Why a text is no duration; the words are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Nothing was written.
    #[error("empty duration string")]
    Empty,
    /// Not in the notation.
    #[error("not a valid duration string: {0}")]
    Invalid(String),
    /// Out of the range of nanoseconds in 64 bits.
    #[error("duration out of range")]
    OutOfRange,
}

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Longest duration: what Go's `time.Duration` (nanoseconds in 64 bits) holds.
const DURATION_MS_MAX: i64 = i64::MAX / 1_000_000;

impl DurationMs {
    /// No time.
    pub const ZERO: DurationMs = DurationMs(0);

    /// So many whole seconds.
    pub const fn secs(s: i64) -> DurationMs {
        DurationMs(s * 1000)
    }

    /// So many minutes.
    pub const fn mins(m: i64) -> DurationMs {
        DurationMs(m * 60_000)
    }

    /// So many hours.
    pub const fn hours(h: i64) -> DurationMs {
        DurationMs(h * 3_600_000)
    }

    /// As floating-point seconds.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// As the standard library's type; negative spans become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Parses Prometheus' notation: `1h30m`, `54s321ms`, `0`; units from largest to smallest, each once.
    /// Source: `model.ParseDuration` of prometheus/common.
    pub fn parse(text: &str) -> Result<DurationMs, ParseDurationError> {
        match text {
            "" => return Err(ParseDurationError::Empty),
            "0" => return Ok(DurationMs(0)),
            _ => {}
        }
        let invalid = || ParseDurationError::Invalid(go_quote(text));
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut total: i64 = 0;
        let mut out_of_range = false;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            let Some((_, scale)) = units.find(|(name, _)| *name == unit) else { return Err(invalid()) };
            if digits == 0 {
                return Err(invalid());
            }
            match number.parse::<i64>().ok().and_then(|n| n.checked_mul(*scale)).and_then(|n| total.checked_add(n)) {
                Some(sum) if sum <= DURATION_MS_MAX => total = sum,
                _ => out_of_range = true,
            }
            rest = &rest[digits + letters..];
        }
        if out_of_range { Err(ParseDurationError::OutOfRange) } else { Ok(DurationMs(total)) }
    }
}

/// Quotes as Go's `%q` does for the texts that occur in messages.
fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                use std::fmt::Write;
                write!(out, "\\x{:02x}", u32::from(c)).expect("a String takes every write");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for DurationMs {
    /// Prometheus' notation. Years and weeks are used only where they divide the whole, as in `model.Duration.String`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0;
        if ms == 0 {
            return f.write_str("0s");
        }
        if ms < 0 {
            f.write_str("-")?;
            ms = -ms;
        }
        for (unit, scale) in UNITS {
            let exact_only = matches!(unit, "y" | "w");
            if exact_only && ms % scale != 0 {
                continue;
            }
            let n = ms / scale;
            if n > 0 {
                write!(f, "{n}{unit}")?;
                ms -= n * scale;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print_as_in_prometheus() {
        for (text, ms, printed) in [
            ("0", 0, "0s"),
            ("1ms", 1, "1ms"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("7d", 604_800_000, "1w"),
            ("8d", 691_200_000, "8d"),
            ("365d", 31_536_000_000, "1y"),
            ("54s321ms", 54_321, "54s321ms"),
        ] {
            assert_eq!(DurationMs::parse(text), Ok(DurationMs(ms)), "{text}");
            assert_eq!(DurationMs(ms).to_string(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["1", "1.5h", "-1m", "1m1h", "1m1m", "h", "1h ", "1x"] {
            assert!(matches!(DurationMs::parse(text), Err(ParseDurationError::Invalid(_))), "{text}");
        }
        assert_eq!(DurationMs::parse(""), Err(ParseDurationError::Empty));
        assert_eq!(DurationMs::parse("300y"), Err(ParseDurationError::OutOfRange));
    }
}
