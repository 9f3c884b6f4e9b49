//! Times as Go writes and reads a `time.Time` in UTC: RFC 3339, with no more decimals than needed.
//!
//! Source of the arithmetic: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

use model::TimestampMs;

const DAY_MS: i64 = 86_400_000;

/// A time that Go never set.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// `2023-11-14T22:20:00.25Z`
pub fn format(at: TimestampMs) -> String {
    let (days, of_day) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
    let since = days + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if of_day % 1000 != 0 {
        text.push_str(format!(".{:03}", of_day % 1000).trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Reads what [`format`] writes, of years with four digits; further decimals are cut off. `None` for all else.
pub fn parse(text: &str) -> Option<TimestampMs> {
    let bytes = text.strip_suffix('Z')?.as_bytes();
    let (whole, fraction) = (bytes.get(..19)?, &bytes[19..]);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| whole[*at] != *mark) {
        return None;
    }
    let year = digits(&whole[..4])?;
    let (month, day) = (digits(&whole[5..7])?, digits(&whole[8..10])?);
    let (hour, minute, second) = (digits(&whole[11..13])?, digits(&whole[14..16])?, digits(&whole[17..])?);
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let ms = match fraction {
        [] => 0,
        [b'.', decimals @ ..] if (1..=9).contains(&decimals.len()) && digits(decimals).is_some() => {
            let mut padded = decimals.to_vec();
            padded.resize(3, b'0');
            digits(&padded)?
        }
        _ => return None,
    };
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(TimestampMs(days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms))
}

/// Up to nine digits.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}
