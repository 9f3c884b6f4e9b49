//! Scrapes that end within a moment of each other share a write.
//!
//! A write costs a sync of the disk, an entry of the log and some waking of threads, however little it holds; a scrape by itself
//! holds little, and nobody waits for its answer. So a scrape that is read waits for others, for a twentieth of its interval and at
//! most [`WAIT_MAX`]. What is held is bounded by the loops: each has one scrape at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::DurationMs;
use parking_lot::Mutex;
use storage::AppendError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;
use writer::{SampleSink, SampleSource};

use crate::scrape_loop::Shared;
use crate::source::Scrape;

/// The longest that a scrape waits for others.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// The part of its interval that a scrape waits.
const WAIT_OF_INTERVAL: u32 = 20;
/// Scrapes of so many bytes are written without further waiting: half of what fits into a batch.
const BYTES_MAX: usize = 512 << 10;

/// The first pause before a write is tried again; each next one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How often a write is tried.
const WRITE_ATTEMPTS_MAX: u32 = 8;

/// Scrapes that wait to be written, by their interval: those of one can wait equally long, and have about as much time to be
/// tried again. Locked for a moment, under no other lock.
#[derive(Default)]
pub(crate) struct Gather {
    open: Mutex<BTreeMap<DurationMs, Open>>,
}

/// Scrapes that will be written together.
#[derive(Default)]
struct Open {
    scrapes: Vec<Scrape>,
    told: Vec<oneshot::Sender<Option<u64>>>,
    bytes: usize,
    deadline: Option<Instant>,
    /// How many were taken away before: a timer knows by it that it is too late.
    number: u64,
}

impl Open {
    fn add(&mut self, scrape: Scrape, deadline: Instant) -> oneshot::Receiver<Option<u64>> {
        let (told, outcome) = oneshot::channel();
        self.bytes += scrape.bytes();
        self.scrapes.push(scrape);
        self.told.push(told);
        self.deadline = self.deadline.max(Some(deadline));
        outcome
    }

    fn take(&mut self) -> Open {
        let number = self.number + 1;
        std::mem::replace(self, Open { number, ..Open::default() })
    }

    async fn write(self, shared: &Shared) {
        let Some(deadline) = self.deadline else { return };
        let outcome = write(shared, &self.scrapes, deadline).await;
        for told in self.told {
            // A loop that is gone need not know.
            told.send(outcome).ok();
        }
    }
}

/// Writes a scrape together with others of its interval, and tells as [`write`] does. Once they are on their way they are tried
/// again until the latest deadline of them all.
pub(crate) async fn write_with_others(
    shared: &Arc<Shared>,
    scrape: Scrape,
    interval: DurationMs,
    deadline: Instant,
) -> Option<u64> {
    let (outcome, full, timer) = {
        let mut all = shared.gather.open.lock();
        let open = all.entry(interval).or_default();
        let does_not_fit = !open.scrapes.is_empty() && open.bytes + scrape.bytes() > BYTES_MAX;
        let before = does_not_fit.then(|| open.take());
        let outcome = open.add(scrape, deadline);
        let full = if open.bytes >= BYTES_MAX { Some(open.take()) } else { None };
        let timer = (open.scrapes.len() == 1).then_some(open.number);
        (outcome, [before, full], timer)
    };
    for open in full.into_iter().flatten() {
        let this = shared.clone();
        drop(shared.spawn(async move {
            open.write(&this).await;
            None
        }));
    }
    if let Some(number) = timer {
        let this = shared.clone();
        drop(shared.spawn(async move {
            tokio::time::sleep((interval.to_std() / WAIT_OF_INTERVAL).min(WAIT_MAX)).await;
            let open = this.gather.open.lock().get_mut(&interval).filter(|open| open.number == number).map(Open::take);
            if let Some(open) = open {
                open.write(&this).await;
            }
            None
        }));
    }
    // An error is a task that ended with the scraper: nothing is known of the write.
    outcome.await.unwrap_or(None)
}

/// Writes until it is acknowledged, or there is no more time; then the samples are lost, which is counted. Returns the writer's
/// epoch before the write that succeeded.
pub(crate) async fn write(shared: &Shared, scrapes: &[Scrape], deadline: Instant) -> Option<u64> {
    let first = scrapes.first()?;
    let together = Together(scrapes);
    let mut pause = RETRY_PAUSE;
    let mut last_error: Option<AppendError> = None;
    for attempt in 1..=WRITE_ATTEMPTS_MAX {
        let epoch = shared.writer.epoch();
        // Cancel-safe because a write that is given up may or may not be stored, and nobody is told that it is.
        let write = shared.writer.write(&first.tenant, &together, server::clock::now());
        match tokio::time::timeout_at(deadline, write).await {
            Ok(Ok(outcome)) => {
                shared.metrics.writes.inc();
                shared.metrics.samples.inc_by(outcome.stored_samples);
                for rejection in &outcome.rejections {
                    shared.metrics.out_of_bounds.inc_by(rejection.sample_count);
                    warn!(scrapes = scrapes.len(), first = %first.rules.target_labels, reason = rejection.reason.as_str(),
                        count = rejection.sample_count, example = %rejection.example, "samples refused");
                }
                return Some(epoch);
            }
            Ok(Err(e)) => last_error = Some(e),
            Err(_) => break,
        }
        if attempt == WRITE_ATTEMPTS_MAX || Instant::now() + pause >= deadline {
            break;
        }
        shared.metrics.write_retries.inc();
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    shared.metrics.dropped_scrapes.inc_by(scrapes.len() as u64);
    let error = last_error.map_or_else(|| "no answer in time".to_owned(), |e| e.to_string());
    warn!(scrapes = scrapes.len(), first = %first.rules.target_labels, error, "write scrapes failed; their samples are lost");
    None
}

/// Several scrapes of one tenant as one source, each whole in one batch where it fits into one.
struct Together<'a>(&'a [Scrape]);

impl SampleSource for Together<'_> {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        for scrape in self.0 {
            sink.begin_unit(scrape.bytes_with_definitions_max());
            scrape.walk(sink);
        }
        Ok(())
    }
}
