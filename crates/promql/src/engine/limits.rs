//! What a query may use, how it is stopped, and what it used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use storage::Series;

use super::error::QueryError;

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples held at once: results, intermediate results and the series at hand. Protects the memory of the querier.
    pub samples_max: u64,
    /// Series that all selectors give together. Protects the memory that labels take.
    pub series_max: u64,
    /// Bytes of encoded chunks that all selectors give together. Protects disks and the memory of what must be kept encoded.
    pub chunk_bytes_max: u64,
    /// Steps of a range query, not counting the first. Protects against results that nobody can look at.
    pub steps_max: u64,
}

impl Default for Limits {
    /// Prometheus' `--query.max-samples` and its resolution; Prometheus has no bounds on series and bytes.
    fn default() -> Limits {
        Limits { samples_max: 50_000_000, series_max: 10_000_000, chunk_bytes_max: 64 << 30, steps_max: 11_000 }
    }
}

const RUNNING: u8 = 0;
const CANCELED: u8 = 1;
const TIMED_OUT: u8 = 2;

/// Stops a query from outside; clones stop the same query. It is looked at at least every 100,000 samples.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    state: AtomicU8,
    /// Samples that workers had gone through since their last look, when they found the query stopped.
    samples_after_stop: AtomicU64,
    /// How often it was looked at.
    #[cfg(test)]
    looks: AtomicU64,
    /// The look that finds the query canceled; 0: none does.
    #[cfg(test)]
    cancel_at: AtomicU64,
    /// All samples that lay between two looks, and the most that did.
    #[cfg(test)]
    samples: AtomicU64,
    #[cfg(test)]
    samples_most: AtomicU64,
}

impl Interrupt {
    /// The caller gave up.
    pub fn cancel(&self) {
        self.0.state.store(CANCELED, Ordering::Relaxed);
    }

    /// The deadline passed.
    pub fn time_out(&self) {
        self.0.state.store(TIMED_OUT, Ordering::Relaxed);
    }

    /// An error where the query was stopped.
    pub fn check(&self) -> Result<(), QueryError> {
        #[cfg(test)]
        self.count_look();
        match self.0.state.load(Ordering::Relaxed) {
            RUNNING => Ok(()),
            CANCELED => Err(QueryError::Canceled),
            _ => Err(QueryError::TimedOut),
        }
    }

    /// As [`Interrupt::check`], by a worker that went through `samples` since it looked last.
    fn check_after(&self, samples: usize) -> Result<(), QueryError> {
        #[cfg(test)]
        self.count_samples(samples as u64);
        let checked = self.check();
        if checked.is_err() {
            self.0.samples_after_stop.fetch_add(samples as u64, Ordering::Relaxed);
        }
        checked
    }

    /// At most so many samples were gone through after the query was stopped, by all workers together that have seen it.
    pub fn samples_after_stop(&self) -> u64 {
        self.0.samples_after_stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl Interrupt {
    fn count_samples(&self, samples: u64) {
        self.0.samples.fetch_add(samples, Ordering::Relaxed);
        self.0.samples_most.fetch_max(samples, Ordering::Relaxed);
    }

    /// All samples that lay between two looks, and the most that did.
    pub(crate) fn samples_between_looks(&self) -> (u64, u64) {
        (self.0.samples.load(Ordering::Relaxed), self.0.samples_most.load(Ordering::Relaxed))
    }

    fn count_look(&self) {
        let look = self.0.looks.fetch_add(1, Ordering::Relaxed) + 1;
        if look == self.0.cancel_at.load(Ordering::Relaxed) {
            self.cancel();
        }
    }

    /// How often it was looked at.
    pub(crate) fn looks(&self) -> u64 {
        self.0.looks.load(Ordering::Relaxed)
    }

    /// Cancels the query when it is looked at for the time numbered `look`, from 1.
    pub(crate) fn cancel_at(&self, look: u64) {
        self.0.cancel_at.store(look, Ordering::Relaxed);
    }
}

/// What all threads of a query use.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicU64,
    peak: AtomicU64,
    series: AtomicU64,
    chunk_bytes: AtomicU64,
    limits: Limits,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Budget {
        let zero = || AtomicU64::new(0);
        Budget { held: zero(), peak: zero(), series: zero(), chunk_bytes: zero(), limits: *limits }
    }

    /// Counts a series that storage gave.
    pub(crate) fn take(&self, series: &Series) -> Result<(), QueryError> {
        let bytes: usize = series.chunks.iter().map(|chunk| chunk.data.len()).sum();
        let count = self.series.fetch_add(1, Ordering::Relaxed) + 1;
        let chunk_bytes = self.chunk_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if count > self.limits.series_max {
            return Err(QueryError::TooManySeries);
        }
        if chunk_bytes > self.limits.chunk_bytes_max { Err(QueryError::TooManyBytes) } else { Ok(()) }
    }

    /// Counts `samples` as held.
    pub(crate) fn hold(&self, samples: usize) -> Result<(), QueryError> {
        let samples = samples as u64;
        let held = self.held.fetch_add(samples, Ordering::Relaxed) + samples;
        self.peak.fetch_max(held, Ordering::Relaxed);
        if held > self.limits.samples_max { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// An error where `samples` more could not be held, which are held for a moment only.
    pub(crate) fn glance(&self, samples: usize) -> Result<(), QueryError> {
        let held = self.held.load(Ordering::Relaxed) + samples as u64;
        self.peak.fetch_max(held, Ordering::Relaxed);
        if held > self.limits.samples_max { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// An error where a column of `steps` values could not be held.
    pub(crate) fn glance_columns(&self, steps: usize) -> Result<(), QueryError> {
        if steps as u64 > self.limits.samples_max { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// Counts `samples` as given back.
    pub(crate) fn release(&self, samples: usize) {
        let before = self.held.fetch_sub(samples as u64, Ordering::Relaxed);
        debug_assert!(before >= samples as u64, "{samples} given back of {before}");
    }

    /// Values that an aggregation may keep to add them up in order of labels, as Prometheus does, so that equal queries of equal
    /// data have equal last digits however the series were spread over threads. Of more than a few thousand, sorting would cost
    /// as much as all the rest of an instant query: their compensated sums may differ in the last digit.
    pub(crate) fn kept_values_max(&self) -> usize {
        const KEPT_VALUES_MAX: u64 = 4096;
        usize::try_from(KEPT_VALUES_MAX.min(self.limits.samples_max / 8)).unwrap_or(0)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// A part of the budget that one owner holds.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    pub(crate) budget: &'a Budget,
    pub(crate) held: &'a mut usize,
}

impl Tally<'_> {
    /// Counts `samples` as held by the owner.
    pub(crate) fn hold(&mut self, samples: usize) -> Result<(), QueryError> {
        *self.held += samples;
        self.budget.hold(samples)
    }

    /// Counts `samples` as given back by the owner.
    pub(crate) fn release(&mut self, samples: usize) {
        *self.held -= samples;
        self.budget.release(samples);
    }
}

/// Looks at an [`Interrupt`] every so often.
#[derive(Debug)]
pub(crate) struct Ticker {
    interrupt: Interrupt,
    since: usize,
}

/// Samples between two looks; with a whole chunk of 65,535 on top that is less than 100,000.
const TICK_SAMPLES: usize = 30_000;

impl Ticker {
    pub(crate) fn new(interrupt: &Interrupt) -> Ticker {
        Ticker { interrupt: interrupt.clone(), since: 0 }
    }

    /// Says that `samples` were looked at.
    #[inline]
    pub(crate) fn tick(&mut self, samples: usize) -> Result<(), QueryError> {
        self.since += samples;
        if self.since < TICK_SAMPLES {
            return Ok(());
        }
        self.look()
    }

    /// Says that much is to come, of which only the steps are gone through in one piece.
    #[inline]
    pub(crate) fn announce(&mut self, steps: usize, samples: usize) -> Result<(), QueryError> {
        self.tick(steps.saturating_add(samples.min(TICK_SAMPLES)))
    }

    /// Looks now.
    pub(crate) fn look(&mut self) -> Result<(), QueryError> {
        self.interrupt.check_after(std::mem::take(&mut self.since))
    }

    /// Calls `f` for part after part of `items`, and looks in between.
    #[inline]
    pub(crate) fn each_part<T>(&mut self, items: &[T], mut f: impl FnMut(&[T])) -> Result<(), QueryError> {
        for part in items.chunks(TICK_SAMPLES) {
            self.tick(part.len())?;
            f(part);
        }
        Ok(())
    }

    /// Whether so many samples are too many to go through without a look.
    #[inline]
    pub(crate) fn is_long(samples: usize) -> bool {
        samples > TICK_SAMPLES
    }
}

/// What a query used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples decoded from chunks; each sample of storage counts once.
    pub samples_decoded: u64,
    /// Series that storage gave.
    pub series: u64,
    /// Samples seen, summed over steps, as Prometheus counts `totalQueryableSamples`.
    pub total_queryable_samples: u64,
    /// Samples that came new to a step's window, as Prometheus counts `samplesRead`.
    pub samples_read: u64,
    /// Most samples that Prometheus would have held at once, as it counts `peakSamples`.
    pub peak_samples: u64,
    /// Most samples that were held at once.
    pub held_samples: u64,
}

impl QueryStats {
    /// Adds the counts of another thread.
    pub(crate) fn add(&mut self, other: &QueryStats) {
        self.samples_decoded += other.samples_decoded;
        self.series += other.series;
        self.total_queryable_samples += other.total_queryable_samples;
        self.samples_read += other.samples_read;
    }
}
