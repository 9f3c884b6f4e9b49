//! Stands in for the crate `base2histogram`, on which openraft depends.
//!
//! openraft counts latencies and sizes of batches in it, and shows them only with its feature `runtime-stats`, which we do not
//! compile. The original fills 25 MiB of tables, for all resolutions, when the first histogram is made: half of what an idle
//! process of ours held. This one keeps nothing, and has what openraft names and no more: should a newer one need more, it does
//! not compile.

use std::fmt;
use std::marker::PhantomData;

/// A histogram that forgets what it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    data: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// An empty one.
    pub fn new() -> Histogram<T> {
        Histogram { data: PhantomData }
    }

    /// Counts nothing.
    pub fn record(&mut self, _value: u64) {}

    /// Counts nothing, however often.
    pub fn record_n(&mut self, _value: u64, _count: u64) {}

    /// Those of no values.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

/// Percentiles of no values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "percentiles, by their names")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not kept")
    }
}

/// A chart of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one.
    pub fn new() -> AsciiChart {
        AsciiChart
    }

    /// Adds nothing.
    #[must_use]
    pub fn add(self, _name: &str, _histogram: Histogram) -> AsciiChart {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not kept")
    }
}
