//! One target, scraped again and again.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use httpclient::{BodyError, FetchError, HeaderName, HeaderValue};
use model::{DurationMs, TenantId, TimestampMs};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};
use writer::Writer;

use crate::elsewhere::Elsewhere;
use crate::gather::{self, Gather};
use crate::histograms::HistogramRules;
use crate::loops::Loops;
use crate::metrics::{IntervalLabel, ScraperMetrics};
use crate::page::{self, Context, Counts, Memory, PageError, Rows};
use crate::report::{Report, ReportSeries};
use crate::sample_rules::SampleRules;
use crate::schedule::Schedule;
use crate::share::{Overlap, Share};
use crate::snapshot::Health;
use crate::source::Scrape;
use crate::target::Target;
use crate::threads::Threads;

/// Pages of more bytes than this are read on a thread of their own. So much is 2,000 lines: a tenth of a millisecond of work where
/// every line is known, nine where none is (60 and 4,600 ns a line, measured with `opt-level = 1` on a busy machine).
const INLINE_PAGE_BYTES_MAX: usize = 128 << 10;

/// What a write gets at least, however long the scrape took.
const WRITE_TIME_MIN: Duration = Duration::from_millis(500);

/// What all loops of a scraper share.
pub(crate) struct Shared {
    pub(crate) writer: Arc<Writer>,
    pub(crate) tenant: TenantId,
    pub(crate) metrics: ScraperMetrics,
    pub(crate) loops: Loops,
    pub(crate) threads: Threads,
    /// Locked for a moment, under no other lock but that of a pool.
    pub(crate) share: Mutex<Share>,
    pub(crate) overlap: Overlap,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) gather: Gather,
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Shared {
    /// Starts a task that ends when the scraper does, wherever it stands.
    pub(crate) fn spawn(
        &self,
        task: impl Future<Output = Option<TimestampMs>> + Send + 'static,
    ) -> JoinHandle<Option<TimestampMs>> {
        let mut shutdown = self.shutdown.clone();
        self.threads.spawn(async move {
            tokio::select! {
                // Cancel-safe because a scrape that is cut off is not acknowledged to anybody.
                last = task => last,
                _ = shutdown.wait_for(|stopped| *stopped) => None,
            }
        })
    }
}

/// Whether a loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It goes on.
    No,
    /// Once the scrape under way is done.
    Now,
    /// As before, and of its own accord after the last tick up to this time.
    After(TimestampMs),
}

impl Stop {
    fn is_over_at(self, tick: TimestampMs) -> bool {
        match self {
            Stop::No => false,
            Stop::Now => true,
            Stop::After(last) => tick > last,
        }
    }
}

/// How the last scrape went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) health: Health,
    pub(crate) last_error: String,
    pub(crate) last_scrape: Option<TimestampMs>,
    pub(crate) last_seconds: f64,
}

/// A target under one configuration.
pub(crate) struct ScrapeLoop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) target: Target,
    pub(crate) rules: SampleRules,
    pub(crate) report: Arc<ReportSeries>,
    pub(crate) schedule: Schedule,
    /// Handed on where a loop is started again with the same rules. Locked while a page is read, and by those who look at the
    /// metadata; never over an await.
    pub(crate) memory: Arc<Mutex<Memory>>,
    /// Locked for a moment.
    pub(crate) status: Mutex<Status>,
    /// Why no scrape can succeed. Locked for a moment.
    pub(crate) forced_error: Mutex<Option<Arc<str>>>,
    /// The writer's epoch before the last write, if that succeeded.
    pub(crate) written_at: Mutex<Option<u64>>,
    /// Loops are numbered as they come into being.
    pub(crate) number: u64,
    pub(crate) stop: watch::Sender<Stop>,
}

/// Sleeps until a millisecond before `tick`: the timer is up to one late, and both are within the tolerance.
async fn sleep_until(tick: TimestampMs) {
    loop {
        let pause = tick - DurationMs(1) - server::clock::now();
        // The timer's clock drifts from the wall clock, by milliseconds in an hour: before the end the wall clock is asked again.
        let is_long = pause > DurationMs::secs(2);
        tokio::time::sleep(if is_long { DurationMs(pause.0 - 1000).to_std() } else { pause.to_std() }).await;
        if !is_long {
            return;
        }
    }
}

/// Why a scrape failed.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("{0}")]
    Forced(Arc<str>),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("Get {0:?}: context deadline exceeded")]
    Timeout(String),
    #[error("server returned HTTP status {0}")]
    Status(String),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("reading the page panicked")]
    Panicked,
}

/// An answer of a target.
struct Page {
    bytes: Vec<u8>,
    content_type: String,
}

impl ScrapeLoop {
    /// Scrapes until told to stop; a scrape under way is ended first. Returns the last tick that was scraped at.
    /// It begins after `before`, the last tick of a loop whose place it takes.
    pub(crate) async fn run(self: Arc<Self>, before: Option<TimestampMs>) -> Option<TimestampMs> {
        let mut stop = self.stop.subscribe();
        let mut last = before;
        let mut last_started: Option<Instant> = None;
        let mut expected_bytes = 0;
        let label = IntervalLabel { interval: self.schedule.interval().to_string() };
        let intervals = self.shared.metrics.interval_seconds.get_or_create(&label).clone();
        loop {
            let now = server::clock::now();
            let tick = self.schedule.next(last, now);
            tokio::select! {
                biased;
                // Cancel-safe: neither a pause nor a look at a flag loses anything.
                _ = stop.wait_for(|stop| stop.is_over_at(tick)) => return last,
                () = sleep_until(tick) => {}
            }
            if let Some(last) = last_started.replace(Instant::now()) {
                intervals.observe(last.elapsed().as_secs_f64());
            }
            let started = server::clock::now();
            let tick = self.schedule.met(tick, started);
            self.count_missed(last, tick);
            let at = self.schedule.timestamp(tick, started);
            self.scrape(at, &mut expected_bytes).await;
            last = Some(tick);
            if *stop.borrow() == Stop::Now {
                return last;
            }
        }
    }

    fn count_missed(&self, last: Option<TimestampMs>, tick: TimestampMs) {
        if let Some(last) = last {
            let missed = (tick - last).0 / self.schedule.interval().0 - 1;
            self.shared.metrics.missed_ticks.inc_by(u64::try_from(missed).unwrap_or(0));
        }
    }

    /// One scrape and its write, which ends before the next tick or shortly after.
    async fn scrape(self: &Arc<Self>, at: TimestampMs, expected_bytes: &mut usize) {
        let started = Instant::now();
        let forced = self.forced_error.lock().clone();
        let fetched = match forced {
            Some(why) => Err(ScrapeError::Forced(why)),
            None => self.fetch(*expected_bytes).await,
        };
        let body_bytes = match &fetched {
            Ok(page) => i64::try_from(page.bytes.len()).unwrap_or(i64::MAX),
            Err(ScrapeError::Body(BodyError::TooLong { .. })) => -1,
            Err(_) => 0,
        };
        if body_bytes > 0 {
            *expected_bytes = usize::try_from(body_bytes).unwrap_or(0);
        }
        let mut counts = Counts::default();
        let (page, rows, format, error) = match fetched {
            Err(e) => (Vec::new(), self.memory.lock().end_all(at), None, Some(e)),
            Ok(page) if page.bytes.is_empty() => (Vec::new(), self.memory.lock().end_all(at), None, None),
            Ok(page) => self.read(page, at, &mut counts).await,
        };
        let duration_seconds = started.elapsed().as_secs_f64();
        self.count(&error, counts);
        self.set_status(at, duration_seconds, &error);
        let report = Report {
            is_up: error.is_none(),
            duration_seconds,
            counts,
            timeout_seconds: self.target.timeout.as_secs_f64(),
            sample_limit: self.rules.job.config.limits.samples,
            body_bytes,
        };
        let scrape = Scrape {
            tenant: self.shared.tenant.clone(),
            rules: self.rules.clone(),
            page,
            format,
            rows,
            report: (self.report.clone(), at.0, report.values()),
            found_again: OnceLock::new(),
            written_at: *self.written_at.lock(),
        };
        let deadline = (started + self.schedule.interval().to_std()).max(Instant::now() + WRITE_TIME_MIN);
        let written_at = gather::write_with_others(&self.shared, scrape, self.schedule.interval(), deadline).await;
        *self.written_at.lock() = written_at;
        if written_at.is_none() {
            self.memory.lock().families.forget_sent();
        }
    }

    async fn fetch(&self, expected_bytes: usize) -> Result<Page, ScrapeError> {
        let job = &self.rules.job;
        let mut headers = job.headers.clone();
        let timeout = self.target.timeout;
        if let Ok(value) = HeaderValue::from_str(&timeout.as_secs_f64().to_string()) {
            headers.insert(HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), value);
        }
        let get = async {
            let response = job.client.get(&self.target.url, &headers).await?;
            if response.status().as_u16() != 200 {
                return Err(ScrapeError::Status(response.status_text()));
            }
            let content_type = response.content_type().to_owned();
            let bytes = response.read(job.body_bytes_limit, expected_bytes).await?;
            Ok(Page { bytes, content_type })
        };
        let timed_out = || Err(ScrapeError::Timeout(self.target.url.clone()));
        tokio::time::timeout(timeout.to_std(), get).await.unwrap_or_else(|_| timed_out())
    }

    async fn read(
        self: &Arc<Self>,
        page: Page,
        at: TimestampMs,
        counts: &mut Counts,
    ) -> (Vec<u8>, Rows, Option<exposition::Format>, Option<ScrapeError>) {
        let choice = match exposition::format_for(&page.content_type, self.rules.job.fallback) {
            Ok(choice) => choice,
            Err(e) => {
                return (Vec::new(), self.memory.lock().end_all(at), None, Some(PageError::from(e).into()));
            }
        };
        if let Some(problem) = &choice.problem {
            debug!(target = %self.target.url, %problem, "fallback format taken");
        }
        let format = choice.format;
        let admission = self.shared.writer.admission(server::clock::now());
        let is_large = page.bytes.len() > INLINE_PAGE_BYTES_MAX;
        let work = {
            let this = self.clone();
            move || {
                let mut counts = Counts::default();
                let histograms = HistogramRules::new(&this.rules.job.config, this.target.histograms);
                let context = Context { rules: &this.rules, tenant: &this.shared.tenant, admission, at, histograms };
                let (bytes, rows, outcome) =
                    page::read(&mut this.memory.lock(), context, page.bytes, format, &mut counts);
                (bytes, rows, outcome, counts)
            }
        };
        let done = if is_large { tokio::task::spawn_blocking(work).await } else { Ok(work()) };
        match done {
            Ok((bytes, rows, outcome, read_counts)) => {
                *counts = read_counts;
                (bytes, rows, Some(format), outcome.err().map(ScrapeError::from))
            }
            Err(_) => {
                // It may stand in the middle of a page.
                *self.memory.lock() = Memory::new(&self.rules);
                (Vec::new(), Rows::default(), None, Some(ScrapeError::Panicked))
            }
        }
    }

    fn count(&self, error: &Option<ScrapeError>, counts: Counts) {
        let metrics = &self.shared.metrics;
        metrics.duplicates.inc_by(counts.duplicates);
        metrics.out_of_bounds.inc_by(counts.out_of_bounds);
        match error {
            Some(ScrapeError::Body(BodyError::TooLong { .. })) => drop(metrics.over_body_size.inc()),
            Some(ScrapeError::Page(PageError::SampleLimit)) => drop(metrics.over_sample_limit.inc()),
            Some(ScrapeError::Page(PageError::BucketLimit)) => drop(metrics.over_bucket_limit.inc()),
            Some(ScrapeError::Page(PageError::Series(e))) if e.is_limit() => drop(metrics.over_label_limits.inc()),
            _ => {}
        }
        if counts.duplicates > 0 {
            warn!(target = %self.target.url, count = counts.duplicates, "samples of series that stood in the page already");
        }
        if counts.out_of_bounds > 0 {
            warn!(target = %self.target.url, count = counts.out_of_bounds, "samples too old or too far in the future");
        }
    }

    fn set_status(&self, at: TimestampMs, seconds: f64, error: &Option<ScrapeError>) {
        if let Some(e) = error {
            debug!(target = %self.target.url, error = %e, "scrape failed");
        }
        *self.status.lock() = Status {
            health: if error.is_none() { Health::Up } else { Health::Down },
            last_error: error.as_ref().map(ToString::to_string).unwrap_or_default(),
            last_scrape: Some(at),
            last_seconds: seconds,
        };
    }
}
