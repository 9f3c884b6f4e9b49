//! Times as parameters of the HTTP API: seconds since the epoch, or RFC 3339 as far as Go takes it.

/// A point in time as Go's `time.Time` holds it. Inputs that are no time (`NaN`, `Inf`, 1e20) give what a conversion gives on
/// amd64, as in Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiTime {
    /// Whole seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds after those; below 1e9.
    pub nanos: u32,
}

impl ApiTime {
    /// Milliseconds since the epoch; wraps around where they do not fit, as in Prometheus.
    pub fn millis(self) -> i64 {
        self.seconds.wrapping_mul(1000).wrapping_add(i64::from(self.nanos / 1_000_000))
    }

    /// What Go compares times by: seconds since the year one, which wrap around, and nanoseconds. Times that are none are
    /// in another order than by seconds since the epoch.
    pub fn order(self) -> (i64, u32) {
        const EPOCH_SECONDS: i64 = 62_135_596_800;
        (self.seconds.wrapping_add(EPOCH_SECONDS), self.nanos)
    }

    /// Go's `time.Unix`: nanoseconds may be any number.
    fn unix(seconds: i64, nanos: i64) -> ApiTime {
        let (carry, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        ApiTime { seconds: seconds.wrapping_add(carry), nanos: u32::try_from(nanos).expect("a remainder of 1e9") }
    }
}

/// The bounds of time in Prometheus' notation, whose years have too many digits for the parser.
const MIN_TIME: (&str, ApiTime) =
    ("-292273086-05-16T16:47:06Z", ApiTime { seconds: i64::MIN / 1000 + 62_135_596_801, nanos: 0 });
const MAX_TIME: (&str, ApiTime) =
    ("292277025-08-18T07:12:54.999999999Z", ApiTime { seconds: i64::MAX / 1000 - 62_135_596_801, nanos: 999_999_999 });

/// A `time`, `start` or `end`; `None` where the text is none: `cannot parse "…" to a valid timestamp`.
pub fn parse_time(text: &str) -> Option<ApiTime> {
    if let Ok(t) = super::parse_float(text) {
        // NaN and infinities become the least number, as on amd64; they have no fraction either.
        let fraction = if t.is_infinite() { f64::NAN } else { t - t.trunc() };
        let fraction = (fraction * 1000.0).round() / 1000.0;
        return Some(ApiTime::unix(to_i64(t.trunc()), to_i64(fraction * 1e9)));
    }
    parse_rfc3339(text.as_bytes())
        .or_else(|| [MIN_TIME, MAX_TIME].iter().find(|(name, _)| *name == text).map(|(_, t)| *t))
}

/// Go's conversion on amd64: what does not fit becomes the least number.
pub(crate) fn to_i64(f: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f) { f as i64 } else { i64::MIN }
}

/// Takes a number of `len` digits from the front.
fn take(text: &mut &[u8], len: usize) -> Option<i64> {
    let (digits, rest) = text.split_at_checked(len)?;
    *text = rest;
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn expect(text: &mut &[u8], byte: u8) -> Option<()> {
    let (first, rest) = text.split_first()?;
    *text = rest;
    (*first == byte).then_some(())
}

/// Go's `time.Parse(time.RFC3339Nano, …)`: takes an hour of one digit, and a comma in front of the fraction.
fn parse_rfc3339(text: &[u8]) -> Option<ApiTime> {
    let mut rest = text;
    let year = take(&mut rest, 4)?;
    expect(&mut rest, b'-')?;
    let month = take(&mut rest, 2)?;
    expect(&mut rest, b'-')?;
    let day = take(&mut rest, 2)?;
    expect(&mut rest, b'T')?;
    let hour_digits = if rest.get(1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 };
    let hour = take(&mut rest, hour_digits)?;
    expect(&mut rest, b':')?;
    let minute = take(&mut rest, 2)?;
    expect(&mut rest, b':')?;
    let second = take(&mut rest, 2)?;
    let nanos = take_fraction(&mut rest);
    let offset = take_zone(&mut rest)?;
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && rest.is_empty();
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    valid.then_some(ApiTime { seconds, nanos })
}

/// Digits behind a dot or comma; the tenth and later ones are dropped. Nothing is taken where no digit follows.
fn take_fraction(text: &mut &[u8]) -> u32 {
    let [b'.' | b',', digits @ ..] = *text else { return 0 };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return 0;
    }
    *text = &digits[len..];
    let nine = digits[..len].iter().copied().chain(std::iter::repeat(b'0')).take(9);
    nine.fold(0, |n, b| n * 10 + u32::from(b - b'0'))
}

/// `Z` or `+01:00`: the offset in seconds. As in Go, 24 hours and 60 minutes are let through.
fn take_zone(text: &mut &[u8]) -> Option<i64> {
    let (sign, rest) = text.split_first()?;
    *text = rest;
    let sign = match sign {
        b'Z' => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = take(text, 2)?;
    expect(text, b':')?;
    let minutes = take(text, 2)?;
    (hours <= 24 && minutes <= 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
