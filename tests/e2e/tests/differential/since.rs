//! Which language is spoken, and what changed between the two that are.
//!
//! What 2.42 does not have, and the grammar leaves out: native histograms; experimental functions, `histogram_fraction` and
//! `histogram_quantiles`, `info`, `limitk`, `limit_ratio`, `sort_by_label`, `start()` and its kin as numbers; `fill`; `anchored`
//! and `smoothed`; duration expressions, durations as numbers; `</` and `>/`; names in UTF-8.
//!
//! What means something else since, and what is done about it:
//! - Windows, subqueries and the lookback leave out the sample on their left edge: none lies there ([`RESIDUE_MS`]), durations are
//!   whole seconds, and subqueries are not nested.
//! - `atan2` between vectors drops the metric's name: only numbers have it.
//! - `rate` and `increase` reach less far where a counter would be below zero: they are only asked of counters, and those stay far
//!   above zero ([`COUNTER_MIN`]).
//! - Averages are compensated sums divided once: none are asked for. Other sums are compensated, too: where a difference or a
//!   remainder leaves only the last digits of one, the answers differ, which a few may ([`DIFFERING_MAX`]).
//! - `stddev` and `stdvar` of one value that is no number were 0; `predict_linear` of a pinned range was the same at every step.
//! - Errors, warnings and infos have other words, and there are more of them: only whether it is an error counts.

/// The Prometheus on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Debian's 2.42: what it shares with 3.14.
    Old,
    /// 3.14, all of it.
    Newer,
}

impl Language {
    pub(crate) fn is_newer(self) -> bool {
        self == Language::Newer
    }

    /// The function or aggregation that is asked for instead of one that means something else since.
    pub(crate) fn word(self, word: &'static str) -> &'static str {
        match (self, word) {
            (Language::Old, "avg") => "max",
            (Language::Old, "avg_over_time") => "max_over_time",
            (Language::Old, "stddev" | "stdvar") => "min",
            (Language::Old, "predict_linear") => "deriv",
            _ => word,
        }
    }
}

/// Prometheus 2 takes the sample at the left edge of a window, which 3 leaves out. Queries of it ask at this part of a second,
/// their durations are whole seconds, and steps of subqueries are at full seconds: no sample lies at either.
pub(crate) const RESIDUE_MS: i64 = 777;

/// What is added to every counter.
pub(crate) const COUNTER_MIN: f64 = 50_000.0;

/// Of a thousand expressions so many may be answered otherwise by 2.42.
pub(crate) const DIFFERING_MAX: usize = 3;

/// Whether a name is that of a counter.
pub(crate) fn is_counter(name: &str) -> bool {
    ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end))
}

/// The time of a sample, moved away from where edges of windows lie.
pub(crate) fn off_the_edges(at_ms: i64) -> i64 {
    match at_ms.rem_euclid(1000) {
        0 | RESIDUE_MS => at_ms + 137,
        _ => at_ms,
    }
}
