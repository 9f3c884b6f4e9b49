//! Functions of the calendar, in UTC.

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// Days since 1970-01-01.
    epoch_day: i64,
}

const DAY: u64 = 86_400;

/// Seconds from the instant before which Go knows no time to the Unix epoch; whole days. Source: Go's `time/time.go`.
const UNIX_TO_ABSOLUTE: i64 = 9_223_372_028_741_760_000;

/// Seconds since Go's earliest instant. What lies before it comes out far in the future, as it does in Go.
fn absolute(seconds: i64) -> u64 {
    seconds.wrapping_add(UNIX_TO_ABSOLUTE).cast_unsigned()
}

impl Date {
    /// The day in which the second `seconds` of the Unix epoch lies.
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    pub(crate) fn of_unix(seconds: i64) -> Date {
        let epoch_day = (absolute(seconds) / DAY).cast_signed() - UNIX_TO_ABSOLUTE / DAY.cast_signed();
        let z = epoch_day + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        Date { year, month, day, epoch_day }
    }

    fn is_leap(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    fn days_in_month(self) -> i64 {
        match self.month {
            2 => 28 + i64::from(self.is_leap()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let month = usize::try_from(self.month - 1).expect("months are 1 to 12");
        BEFORE[month] + self.day + i64::from(self.month > 2 && self.is_leap())
    }

    fn day_of_week(self) -> i64 {
        (self.epoch_day + 4).rem_euclid(7)
    }
}

/// The functions of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeFn {
    Minute,
    Hour,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

impl TimeFn {
    pub(crate) fn of_name(name: &str) -> Option<TimeFn> {
        Some(match name {
            "minute" => TimeFn::Minute,
            "hour" => TimeFn::Hour,
            "day_of_month" => TimeFn::DayOfMonth,
            "day_of_week" => TimeFn::DayOfWeek,
            "day_of_year" => TimeFn::DayOfYear,
            "days_in_month" => TimeFn::DaysInMonth,
            "month" => TimeFn::Month,
            "year" => TimeFn::Year,
            _ => return None,
        })
    }

    /// Of the instant `seconds`; fractions are cut off.
    #[expect(clippy::cast_precision_loss, reason = "calendar fields are small")]
    pub(crate) fn apply(self, seconds: f64) -> f64 {
        let seconds = to_i64(seconds);
        let date = Date::of_unix(seconds);
        let of_day = (absolute(seconds) % DAY).cast_signed();
        let field = match self {
            TimeFn::Minute => of_day / 60 % 60,
            TimeFn::Hour => of_day / 3600,
            TimeFn::DayOfMonth => date.day,
            TimeFn::DayOfWeek => date.day_of_week(),
            TimeFn::DayOfYear => date.day_of_year(),
            TimeFn::DaysInMonth => date.days_in_month(),
            TimeFn::Month => date.month,
            TimeFn::Year => date.year,
        };
        field as f64
    }
}

/// A float as an integer as amd64 converts it: what does not fit becomes the least integer.
#[expect(clippy::cast_possible_truncation, reason = "cutting off is the point, and the range was checked")]
fn to_i64(v: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&v) { v as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_fields_are_those_of_utc() {
        for (seconds, minute, hour, dom, dow, doy, dim, month, year) in [
            (0.0, 0.0, 0.0, 1.0, 4.0, 1.0, 31.0, 1.0, 1970.0),
            (1_136_239_445.0, 4.0, 22.0, 2.0, 1.0, 2.0, 31.0, 1.0, 2006.0),
            (1_456_790_399.9, 59.0, 23.0, 29.0, 1.0, 60.0, 29.0, 2.0, 2016.0),
            (1_483_228_799.0, 59.0, 23.0, 31.0, 6.0, 366.0, 31.0, 12.0, 2016.0),
            (-1.0, 59.0, 23.0, 31.0, 3.0, 365.0, 31.0, 12.0, 1969.0),
            (-62_170_156_800.0, 0.0, 0.0, 28.0, 0.0, 332.0, 30.0, 11.0, -1.0),
            // What is no time at all is what Go makes of the least integer.
            (f64::NAN, 30.0, 15.0, 4.0, 0.0, 339.0, 31.0, 12.0, 292_277_026_596.0),
            (f64::INFINITY, 30.0, 15.0, 4.0, 0.0, 339.0, 31.0, 12.0, 292_277_026_596.0),
        ] {
            let found = [
                TimeFn::Minute,
                TimeFn::Hour,
                TimeFn::DayOfMonth,
                TimeFn::DayOfWeek,
                TimeFn::DayOfYear,
                TimeFn::DaysInMonth,
                TimeFn::Month,
                TimeFn::Year,
            ]
            .map(|f| f.apply(seconds));
            assert_eq!(found, [minute, hour, dom, dow, doy, dim, month, year], "{seconds}");
        }
    }
}
