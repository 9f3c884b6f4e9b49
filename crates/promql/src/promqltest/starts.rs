//! `metric@st -30s-1mx2 _ …`: start timestamps of the samples in the next line, relative to their time.

use super::script::ScriptError;
use crate::duration::parse_duration;

/// Most values that one item may stand for.
const REPEAT_MAX: u64 = 100_000;

/// Reads the items behind the metric: for each sample its distance in milliseconds, `None` where it has no start timestamp.
pub(super) fn parse(line: usize, items: &str) -> Result<Vec<Option<i64>>, ScriptError> {
    let mut out = Vec::new();
    for text in items.split_whitespace() {
        let invalid = || ScriptError::Command { line, text: text.to_owned() };
        out.extend(item(line, text)?.ok_or_else(invalid)?);
    }
    Ok(out)
}

fn item(line: usize, text: &str) -> Result<Option<Vec<Option<i64>>>, ScriptError> {
    if text == "_" {
        return Ok(Some(vec![None]));
    }
    let count = |text: &str| text.parse::<u64>().ok().filter(|n| *n <= REPEAT_MAX);
    if let Some(times) = text.strip_prefix("_x") {
        return Ok(count(times).filter(|n| *n > 0).map(|n| (0..n).map(|_| None).collect()));
    }
    let Some((base, rest)) = offset(line, text)? else { return Ok(None) };
    if rest.is_empty() {
        return Ok(Some(vec![Some(base)]));
    }
    if let Some(times) = rest.strip_prefix('x') {
        return Ok(count(times).map(|n| (0..=n).map(|_| Some(base)).collect()));
    }
    let (sign, rest) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        (None, None) => return Ok(None),
    };
    let Some((step, rest)) = offset(line, rest)? else { return Ok(None) };
    let Some(n) = rest.strip_prefix('x').and_then(count) else { return Ok(None) };
    let values = (0i64..).zip(0..=n).map(|(i, _)| Some(base.wrapping_add(step.wrapping_mul(sign).wrapping_mul(i))));
    Ok(Some(values.collect()))
}

/// A duration with its sign in milliseconds, and what stands behind it.
fn offset(line: usize, text: &str) -> Result<Option<(i64, &str)>, ScriptError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let is_unit = |c: char| c.is_ascii_alphabetic() && c != 'x';
    let unit = unsigned[digits..].find(|c| !is_unit(c)).unwrap_or(unsigned.len() - digits);
    if digits == 0 {
        return Ok(None);
    }
    let (duration, rest) = unsigned.split_at(digits + unit);
    let ms = parse_duration(duration).map_err(|source| ScriptError::Duration { line, source })? / 1_000_000;
    Ok(Some((if text.starts_with('-') { -ms } else { ms }, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stand_for_distances() {
        let values = |items: &str| parse(1, items).unwrap();
        assert_eq!(values("_ -30s-1mx2"), [None, Some(-30_000), Some(-90_000), Some(-150_000)]);
        assert_eq!(values("_x2 1ms 0 +1m"), [None, None, Some(1), Some(0), Some(60_000)]);
        assert_eq!(values("0-1mx1 -0msx1 -1ms+2msx1"), [0, -60_000, 0, 0, -1, 1].map(Some));
        for bad in ["x", "1m1", "1m+x2", "_x0", "_xa", "1mx", "1m*1mx2", "1mx99999999", "1q"] {
            assert!(parse(1, bad).is_err(), "{bad}");
        }
    }
}
