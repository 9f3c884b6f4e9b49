//! Steps and columns: the values of one series over all steps of a query, with a private NaN where there is no value.

/// The bits that mean "no value at this step". A quiet NaN that no arithmetic yields; samples that carry it are rewritten to
/// the ordinary NaN when they are decoded, so it never stands for a value.
const ABSENT_BITS: u64 = 0x7ffd_6e61_7274_6878;

/// "No value at this step".
pub(crate) const ABSENT: f64 = f64::from_bits(ABSENT_BITS);

/// The NaN that Prometheus writes for "not a number".
pub(crate) const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Whether there is no value at this step.
#[inline(always)]
pub(crate) fn is_absent(v: f64) -> bool {
    v.to_bits() == ABSENT_BITS
}

/// Number of values of a column.
pub(crate) fn count_present(column: &[f64]) -> usize {
    column.iter().filter(|v| !is_absent(**v)).count()
}

/// Whether a column has any value.
pub(crate) fn any_present(column: &[f64]) -> bool {
    column.iter().any(|v| !is_absent(*v))
}

/// The instants at which an expression is evaluated: `start + i * step` for `i < count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// First instant, in milliseconds.
    pub(crate) start: i64,
    /// Distance in milliseconds, at least 1.
    pub(crate) step: i64,
    /// How many.
    pub(crate) count: usize,
    /// Whether the time asked for is a single instant: one step is not enough for that.
    pub(crate) is_instant: bool,
}

impl Grid {
    /// `start <= t <= end` by `step`.
    pub(crate) fn new(start: i64, end: i64, step: i64) -> Grid {
        debug_assert!(step > 0);
        if end < start {
            return Grid { start, step, count: 0, is_instant: false };
        }
        let count = usize::try_from(end.saturating_sub(start) / step).unwrap_or(usize::MAX).saturating_add(1);
        Grid { start, step, count, is_instant: start == end }
    }

    /// The first instant alone.
    pub(crate) fn first(self) -> Grid {
        Grid { count: self.count.min(1), is_instant: true, ..self }
    }

    /// Instant `i`.
    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> i64 {
        #[expect(clippy::cast_possible_wrap, reason = "a count of steps that was divided out of an i64")]
        let i = i as i64;
        self.start.saturating_add(self.step.saturating_mul(i))
    }

    /// The last instant; `start` where there is none.
    pub(crate) fn last(self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    /// All instants.
    pub(crate) fn iter(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |i| self.at(i))
    }
}

/// Milliseconds as seconds.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
pub(crate) fn secs(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A count as a float.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
pub(crate) fn float(n: usize) -> f64 {
    n as f64
}
