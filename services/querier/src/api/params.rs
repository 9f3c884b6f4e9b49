//! What parameters mean: times, durations, limits, selectors, names of labels.

use std::borrow::Cow;
use std::time::Duration;

use model::{DurationMs, Matcher, TimeRange, TimestampMs};
use promql::duration::parse_api_duration;
use promql::numbers::{self, ApiTime};

use super::error::ApiError;
use super::form::Form;

const NS_PER_MS: i64 = 1_000_000;

/// The bounds of time where none are given, in Prometheus' notation.
const MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME: &str = "292277025-08-18T07:12:54.999999999Z";

/// As much of a value as its parser takes: where it is not UTF-8 it is refused in any case.
fn text(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|_| promql::quoted(value))
}

fn parse_time(value: &[u8]) -> Result<ApiTime, String> {
    let refused = |quoted: String| format!("cannot parse {quoted} to a valid timestamp");
    let time = text(value).map_err(refused)?;
    numbers::parse_time(time).ok_or_else(|| refused(promql::quoted(value)))
}

fn parse_duration_ns(value: &[u8]) -> Result<i64, String> {
    match text(value) {
        Ok(text) => parse_api_duration(text).map_err(|e| e.to_string()),
        Err(quoted) => Err(format!("cannot parse {quoted} to a valid duration")),
    }
}

/// A time that must be there.
pub(crate) fn time(form: &Form, name: &str) -> Result<ApiTime, ApiError> {
    parse_time(form.get(name)).map_err(|problem| ApiError::parameter(name, problem))
}

/// A time that need not be there.
pub(crate) fn optional_time(form: &Form, name: &str) -> Result<Option<ApiTime>, ApiError> {
    let value = form.get(name);
    if value.is_empty() {
        return Ok(None);
    }
    let time = parse_time(value).map_err(|problem| format!("invalid time value for '{name}': {problem}"));
    time.map(Some).map_err(|problem| ApiError::parameter(name, problem))
}

/// `start` and `end`, all of time where they are absent.
pub(crate) fn start_and_end(form: &Form) -> Result<(ApiTime, ApiTime), ApiError> {
    let bound = |name: &str| numbers::parse_time(name).expect("the parser knows the bounds of time");
    let start = optional_time(form, "start")?.unwrap_or_else(|| bound(MIN_TIME));
    let end = optional_time(form, "end")?.unwrap_or_else(|| bound(MAX_TIME));
    Ok((start, end))
}

/// From Prometheus' inclusive bounds.
pub(crate) fn range(start: ApiTime, end: ApiTime) -> TimeRange {
    TimeRange::new(TimestampMs(start.millis()), TimestampMs(end.millis().saturating_add(1)))
}

/// A duration in nanoseconds that must be there.
pub(crate) fn duration_ns(form: &Form, name: &str) -> Result<i64, ApiError> {
    parse_duration_ns(form.get(name)).map_err(|problem| ApiError::parameter(name, problem))
}

/// `timeout`, at most `max`.
pub(crate) fn timeout(form: &Form, max: Duration) -> Result<Duration, ApiError> {
    if form.get("timeout").is_empty() {
        return Ok(max);
    }
    let ns = duration_ns(form, "timeout")?;
    // One that is past already is none at all.
    Ok(max.min(Duration::from_nanos(u64::try_from(ns).unwrap_or(0))))
}

/// `lookback_delta`; `None` where the default holds.
pub(crate) fn lookback(form: &Form) -> Result<Option<DurationMs>, ApiError> {
    let value = form.get("lookback_delta");
    if value.is_empty() {
        return Ok(None);
    }
    let ns = parse_duration_ns(value)
        .map_err(|problem| ApiError::bad_data(format!("error parsing lookback delta duration: {problem}")))?;
    Ok((ns > 0).then_some(DurationMs(ns / NS_PER_MS)))
}

/// `limit`; `None` where there is none.
pub(crate) fn limit(form: &Form) -> Result<Option<usize>, ApiError> {
    let limit = numbers::parse_limit(&String::from_utf8_lossy(form.get("limit")))?;
    Ok((limit > 0).then_some(limit))
}

/// A number as Go's `Atoi` takes it; `None` where the parameter is absent, `refused` where it is no number.
pub(crate) fn number(form: &Form, name: &str, refused: &str) -> Result<Option<i64>, ApiError> {
    let value = form.get(name);
    if value.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
    number.map(Some).ok_or_else(|| ApiError::bad_data(refused))
}

/// All `match[]`. Each must hold a condition that the empty text does not satisfy.
pub(crate) fn matcher_sets(form: &Form) -> Result<Vec<Vec<Matcher>>, String> {
    let sets: Result<Vec<Vec<Matcher>>, _> = form.all("match[]").map(promql::parse_selector).collect();
    let sets = sets.map_err(|e| e.to_string())?;
    if sets.iter().any(|set| set.iter().all(Matcher::matches_empty)) {
        return Err("match[] must contain at least one non-empty matcher".to_owned());
    }
    Ok(sets)
}

/// Decodes a name of the form `U__label_2e_name`: `__` is `_`, `_xx_` a character in hexadecimal. What is not of this form stays
/// as it is. Source: `UnescapeName` of prometheus/common.
pub(crate) fn unescape_label_name(name: &str) -> Cow<'_, str> {
    let Some(escaped) = name.strip_prefix("U__") else { return Cow::Borrowed(name) };
    unescape(escaped).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn unescape(escaped: &str) -> Option<String> {
    // `10FFFF` is the longest.
    const HEX_DIGITS_MAX: usize = 6;
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let (hex, after) = rest[at + 1..].split_once('_')?;
        let digits = hex.len() <= HEX_DIGITS_MAX && hex.bytes().all(|b| b.is_ascii_hexdigit());
        match hex {
            "" => out.push('_'),
            hex if digits => out.push(u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?),
            _ => return None,
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Reads a form of any bytes, every parameter in every way.
pub(crate) fn fuzz(bytes: &[u8]) {
    let form = Form::parse("/", &String::from_utf8_lossy(bytes), Some(bytes));
    for name in ["time", "start", "limit", "step"] {
        let refused = [
            time(&form, name).err(),
            optional_time(&form, name).err(),
            duration_ns(&form, name).err(),
            number(&form, name, "refused").err(),
        ];
        assert!(refused.iter().flatten().all(|e| !e.text.is_empty()));
    }
    let read =
        [start_and_end(&form).err(), timeout(&form, Duration::MAX).err(), lookback(&form).err(), limit(&form).err()];
    assert!(read.iter().flatten().all(|e| !e.text.is_empty()));
    if let Ok((start, end)) = start_and_end(&form) {
        range(start, end);
    }
    if let Ok(sets) = matcher_sets(&form) {
        assert!(sets.iter().all(|set| !set.is_empty()));
    }
    unescape_label_name(&String::from_utf8_lossy(form.get("time")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_parameters_or_errors() {
        let seeds = [
            "time=1.5&start=2015-07-01T20:10:51.781Z&end=1e300&limit=5&step=1h30m&timeout=NaN&lookback_delta=-5m",
            "match[]=up%7Ba%3D~%22b%22%7D&match[]=%ff&start=-Inf&end=9223372036854775808&time=U__a_2e_b",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for i in 0..2000 {
            let mut bytes = seeds[i % 2].as_bytes().to_vec();
            for _ in 0..=i % 4 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from(state % bytes.len() as u64).unwrap();
                bytes[at] = state.to_be_bytes()[0];
            }
            fuzz(&bytes);
        }
    }

    #[test]
    fn escaped_names_are_decoded_and_others_stay() {
        for (name, expected) in [
            ("job", "job"),
            ("U__job", "job"),
            ("U__", ""),
            ("U__label_2e_name", "label.name"),
            ("U___6a_ob", "job"),
            ("U__a__b", "a_b"),
            ("U__x_", "U__x_"),
            ("U__x_zz_", "U__x_zz_"),
            ("U__x_10FFFF_", "x\u{10ffff}"),
            ("U__x_110000_", "U__x_110000_"),
            ("U__x_d800_", "U__x_d800_"),
            ("U__x_0000061_", "U__x_0000061_"),
            ("U__é", "é"),
        ] {
            assert_eq!(unescape_label_name(name), expected, "{name}");
        }
    }
}
