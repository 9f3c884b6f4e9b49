//! When a target is scraped, and what time its samples carry. Arithmetic alone.
//!
//! Ticks lie at `phase + n * interval` of absolute time. The phase is a hash of the target and of nothing else, so that two
//! scrapers which both believe that a target is theirs write the same timestamps.

use model::{DurationMs, TimestampMs};

/// How far from its tick a scrape may start and still carry the tick's time. Source: `ScrapeTimestampTolerance`.
const TOLERANCE_MS_MAX: i64 = 2;

/// The ticks of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval_ms: i64,
    phase_ms: i64,
    tolerance_ms: i64,
    /// Whether several scrapers may hold the target.
    is_shared: bool,
}

impl Schedule {
    /// `interval` is positive; `target_hash` is that of the target.
    pub(crate) fn new(interval: DurationMs, target_hash: u64) -> Schedule {
        let interval_ms = interval.0.max(1);
        let phase = target_hash % u64::try_from(interval_ms).expect("at least 1");
        let tolerance_ms = TOLERANCE_MS_MAX.min(interval_ms / 100);
        Schedule {
            interval_ms,
            phase_ms: i64::try_from(phase).expect("less than the interval"),
            tolerance_ms,
            is_shared: false,
        }
    }

    /// The same ticks where several scrapers may hold the target for a while. A scrape counts for its tick up to half an interval
    /// from it: two scrapers of which one is late would else write two samples for one tick. The price is that a late scrape
    /// seems to have been in time.
    #[must_use]
    pub(crate) fn of_many(self) -> Schedule {
        Schedule { tolerance_ms: self.interval_ms / 2, is_shared: true, ..self }
    }

    /// The tick that a scrape is for which was meant for `tick` and starts at `started`. A scraper that stood still, or was stopped
    /// for a while, finds that others have scraped meanwhile: where it is late by more than half an interval its scrape is for the
    /// tick that is nearest, for which others write the same time, and not for a time of its own.
    pub(crate) fn met(&self, tick: TimestampMs, started: TimestampMs) -> TimestampMs {
        let is_late = (started - tick).0 > self.tolerance_ms;
        // Halfway between two, a scrape is for the earlier.
        let half = DurationMs((self.interval_ms - 1) / 2);
        if self.is_shared && is_late { self.at_or_before(started + half) } else { tick }
    }

    pub(crate) fn interval(&self) -> DurationMs {
        DurationMs(self.interval_ms)
    }

    /// The last tick that is not after `now`.
    fn at_or_before(&self, now: TimestampMs) -> TimestampMs {
        let since = (now.0.saturating_sub(self.phase_ms)).rem_euclid(self.interval_ms);
        TimestampMs(now.0 - since)
    }

    /// The tick to scrape at next. Where ticks have passed since `last` because a scrape took that long, the latest of them is
    /// made up for at once; earlier ones are lost, as with Go's ticker.
    pub(crate) fn next(&self, last: Option<TimestampMs>, now: TimestampMs) -> TimestampMs {
        let passed = self.at_or_before(now);
        match last {
            Some(last) if passed > last => passed,
            // A scrape may start a moment before its tick.
            Some(last) if last - now < self.interval() => last + self.interval(),
            // The clock was set back.
            Some(_) => passed + self.interval(),
            None if passed == now => passed,
            None => passed + self.interval(),
        }
    }

    /// What a scrape that starts at `started` writes for `tick`.
    pub(crate) fn timestamp(&self, tick: TimestampMs, started: TimestampMs) -> TimestampMs {
        if (started - tick).0.abs() <= self.tolerance_ms { tick } else { started }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_pinned_to_absolute_time() {
        let s = Schedule::new(DurationMs(1000), 12_345_250);
        for (last, now, expected) in [
            (None, 0, 250),
            (None, 250, 250),
            (None, 251, 1250),
            (Some(250), 251, 1250),
            (Some(250), 1249, 1250),
            // The scrape took until the next tick or beyond: it is made up for.
            (Some(250), 1250, 1250),
            (Some(250), 1700, 1250),
            // Several were missed: only the latest.
            (Some(250), 4000, 3250),
            (Some(3250), 4000, 4250),
            // The scrape started a moment early.
            (Some(1250), 1249, 2250),
            // The clock was set back.
            (Some(9250), 4000, 4250),
        ] {
            let next = s.next(last.map(TimestampMs), TimestampMs(now));
            assert_eq!(next.0, expected, "{last:?} {now}");
        }
    }

    #[test]
    fn a_scrape_near_its_tick_carries_the_ticks_time() {
        let s = Schedule::new(DurationMs(15_000), 0);
        let at = |started| s.timestamp(TimestampMs(30_000), TimestampMs(started)).0;
        assert_eq!((at(30_002), at(29_998), at(30_003)), (30_000, 30_000, 30_003));
        let short = Schedule::new(DurationMs(100), 0);
        assert_eq!(short.timestamp(TimestampMs(100), TimestampMs(102)).0, 102);
        assert_eq!(short.timestamp(TimestampMs(100), TimestampMs(101)).0, 100);
        let many = s.of_many();
        let at = |started| many.timestamp(TimestampMs(30_000), TimestampMs(started)).0;
        assert_eq!((at(29_000), at(37_500), at(37_501)), (30_000, 30_000, 37_501));
        assert_eq!(many.next(None, TimestampMs(1)), s.next(None, TimestampMs(1)));
    }

    #[test]
    fn a_scraper_that_stood_still_scrapes_for_the_nearest_tick_of_many_and_for_none_of_its_own() {
        let alone = Schedule::new(DurationMs(4_000), 1_250);
        let many = alone.of_many();
        for (started, tick, written) in [
            (9_249, 9_250, 9_250),
            (9_250, 9_250, 9_250),
            (11_250, 9_250, 9_250),
            // Nearer to the next.
            (11_251, 13_250, 13_250),
            (13_249, 13_250, 13_250),
            (15_250, 13_250, 13_250),
            (15_251, 17_250, 17_250),
            (41_000, 41_250, 41_250),
            (42_000, 41_250, 41_250),
        ] {
            let (met, started) = (many.met(TimestampMs(9_250), TimestampMs(started)), TimestampMs(started));
            assert_eq!((met.0, many.timestamp(met, started).0), (tick, written), "{started:?}");
            assert_eq!(alone.met(TimestampMs(9_250), started).0, 9_250, "nobody else scrapes");
        }
        // An odd interval has no middle.
        let odd = Schedule::new(DurationMs(5), 0).of_many();
        for started in 10..100 {
            let met = odd.met(TimestampMs(10), TimestampMs(started));
            assert_eq!(odd.timestamp(met, TimestampMs(started)), met, "{started}");
        }
    }

    #[test]
    fn phases_spread_over_the_interval() {
        let phases: std::collections::BTreeSet<i64> = (0..1000u64)
            .map(|n| Schedule::new(DurationMs(10_000), n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).phase_ms)
            .collect();
        assert!(phases.len() > 900);
        assert!(phases.iter().all(|p| (0..10_000).contains(p)));
    }
}
