//! Metrics of scraping: Prometheus' names where there are such.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use server::Metrics;

/// Upper bounds of the buckets of `interval_seconds`.
const INTERVAL_BOUNDS: [f64; 10] = [0.01, 0.1, 1.0, 10.0, 15.0, 30.0, 60.0, 120.0, 600.0, 3600.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct JobLabel {
    pub(crate) scrape_job: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct IntervalLabel {
    pub(crate) interval: String,
}

/// All of them.
#[derive(Clone)]
pub(crate) struct ScraperMetrics {
    pub(crate) pools: Gauge,
    pub(crate) pool_reloads: Counter,
    pub(crate) pool_syncs: Family<JobLabel, Counter>,
    pub(crate) pool_targets: Family<JobLabel, Gauge>,
    pub(crate) sync_failures: Family<JobLabel, Counter>,
    pub(crate) interval_seconds: Family<IntervalLabel, Histogram>,
    pub(crate) over_target_limit: Counter,
    pub(crate) over_label_limits: Counter,
    pub(crate) over_sample_limit: Counter,
    pub(crate) over_bucket_limit: Counter,
    pub(crate) over_body_size: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) out_of_bounds: Counter,
    pub(crate) missed_ticks: Counter,
    pub(crate) writes: Counter,
    pub(crate) write_retries: Counter,
    pub(crate) dropped_scrapes: Counter,
    pub(crate) samples: Counter,
    pub(crate) sharing_scrapers: Gauge,
    pub(crate) given_targets: Counter,
}

impl ScraperMetrics {
    pub(crate) fn new(metrics: &Metrics) -> ScraperMetrics {
        let all = ScraperMetrics {
            pools: Gauge::default(),
            pool_reloads: Counter::default(),
            pool_syncs: Family::default(),
            pool_targets: Family::default(),
            sync_failures: Family::default(),
            interval_seconds: Family::new_with_constructor(|| Histogram::new(INTERVAL_BOUNDS)),
            over_target_limit: Counter::default(),
            over_label_limits: Counter::default(),
            over_sample_limit: Counter::default(),
            over_bucket_limit: Counter::default(),
            over_body_size: Counter::default(),
            duplicates: Counter::default(),
            out_of_bounds: Counter::default(),
            missed_ticks: Counter::default(),
            writes: Counter::default(),
            write_retries: Counter::default(),
            dropped_scrapes: Counter::default(),
            samples: Counter::default(),
            sharing_scrapers: Gauge::default(),
            given_targets: Counter::default(),
        };
        all.register(metrics);
        all
    }

    fn register(&self, metrics: &Metrics) {
        metrics.register(|r| {
            r.register("prometheus_target_scrape_pools", "Scrape pools.", self.pools.clone());
            r.register("prometheus_target_scrape_pool_reloads", "Scrape pools reloaded.", self.pool_reloads.clone());
            r.register(
                "prometheus_target_scrape_pool_sync",
                "Syncs of a scrape pool's targets.",
                self.pool_syncs.clone(),
            );
            r.register("prometheus_target_scrape_pool_targets", "Targets of a scrape pool.", self.pool_targets.clone());
            r.register("prometheus_target_sync_failed", "Targets that cannot be.", self.sync_failures.clone());
            r.register(
                "prometheus_target_interval_length_histogram_seconds",
                "Time from one scrape to the next.",
                self.interval_seconds.clone(),
            );
            r.register(
                "prometheus_target_scrape_pool_exceeded_target_limit",
                "How often a pool had more targets than its limit.",
                self.over_target_limit.clone(),
            );
            r.register(
                "prometheus_target_scrape_pool_exceeded_label_limits",
                "Scrapes that failed at a label limit.",
                self.over_label_limits.clone(),
            );
            r.register(
                "prometheus_target_scrapes_exceeded_sample_limit",
                "Scrapes that failed at the sample limit.",
                self.over_sample_limit.clone(),
            );
            r.register(
                "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit",
                "Scrapes that failed at the limit of a native histogram's buckets.",
                self.over_bucket_limit.clone(),
            );
            r.register(
                "prometheus_target_scrapes_exceeded_body_size_limit",
                "Scrapes that failed at the body size limit.",
                self.over_body_size.clone(),
            );
            r.register(
                "prometheus_target_scrapes_sample_duplicate_timestamp",
                "Samples left out because their series stood in the page already.",
                self.duplicates.clone(),
            );
            r.register(
                "prometheus_target_scrapes_sample_out_of_bounds",
                "Samples left out because of their timestamps.",
                self.out_of_bounds.clone(),
            );
            r.register(
                "narthex_scraper_missed_ticks",
                "Ticks that passed without a scrape.",
                self.missed_ticks.clone(),
            );
            r.register("narthex_scraper_writes", "Writes, of one scrape or several.", self.writes.clone());
            r.register("narthex_scraper_write_retries", "Writes tried again.", self.write_retries.clone());
            r.register(
                "narthex_scraper_dropped_scrapes",
                "Scrapes that could not be written within their interval.",
                self.dropped_scrapes.clone(),
            );
            r.register("narthex_scraper_samples", "Samples written.", self.samples.clone());
            r.register(
                "narthex_scraper_sharing_scrapers",
                "Scrapers that share the targets, as far as this one knows.",
                self.sharing_scrapers.clone(),
            );
            r.register(
                "narthex_scraper_given_targets",
                "Targets that were held and became another scraper's.",
                self.given_targets.clone(),
            );
        });
    }
}
