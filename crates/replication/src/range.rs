//! Ranges: two hours, aligned. And the times of the protocol.

use model::{DurationMs, TimeRange, TimestampMs};

/// Length of a range.
pub const RANGE: DurationMs = DurationMs::hours(2);
/// How long after the window has passed a range is due: batches on their way arrive, clocks differ.
pub const SLACK: DurationMs = DurationMs::mins(5);
/// How far behind the closer's a clock may be that consents to a seal.
pub const CONSENT_TOLERANCE: DurationMs = DurationMs::secs(60);
/// How long each further member waits for those before it to close a range.
pub const RANK_DELAY: DurationMs = DurationMs::mins(15);
/// How long a dropped range is still held: queries that began before go on.
pub const HELD_AFTER_DROP: DurationMs = DurationMs::mins(30);
/// How long a dropped range is named; then the watermark stands for it.
pub const NAMED_AFTER_DROP: DurationMs = DurationMs::hours(24);

const _: () = assert!(HELD_AFTER_DROP.0 < NAMED_AFTER_DROP.0);
const _: () = assert!(CONSENT_TOLERANCE.0 < SLACK.0);

/// Start of the range of an instant.
pub fn range_of(at: TimestampMs) -> TimestampMs {
    TimestampMs(at.0.div_euclid(RANGE.0).saturating_mul(RANGE.0))
}

/// The first instant after the range that starts here.
pub fn end_of(start: TimestampMs) -> TimestampMs {
    start + RANGE
}

/// When a member of this rank may close the range that starts here, by its own clock.
pub fn due_at(start: TimestampMs, window: DurationMs, rank: usize) -> TimestampMs {
    let rank = i64::try_from(rank).unwrap_or(i64::MAX);
    end_of(start) + window + SLACK + DurationMs(RANK_DELAY.0.saturating_mul(rank))
}

/// The starts of the ranges that lie between two instants, both inside.
pub fn ranges_between(mint: TimestampMs, maxt: TimestampMs) -> impl Iterator<Item = TimestampMs> {
    let (first, last) = (range_of(mint), range_of(maxt));
    std::iter::successors(Some(first), |start| Some(*start + RANGE)).take_while(move |start| *start <= last)
}

/// The range that starts here.
pub fn span_of(start: TimestampMs) -> TimeRange {
    TimeRange::new(start, end_of(start))
}
