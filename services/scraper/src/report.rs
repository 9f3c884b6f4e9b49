//! The series that every scrape adds: `up` and its like.

use model::{Labels, SeriesId, TenantId};

use crate::sample_rules::SampleRules;

const NAMES: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// With `extra_scrape_metrics`.
const EXTRA_NAMES: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// The report series of one target, in the order of [`Report::values`].
pub(crate) struct ReportSeries(Vec<(SeriesId, Labels)>);

impl ReportSeries {
    pub(crate) fn new(rules: &SampleRules, tenant: &TenantId) -> ReportSeries {
        let extra: &[&str] = if rules.job.config.extra_scrape_metrics { &EXTRA_NAMES } else { &[] };
        let mut scratch = Vec::new();
        let series = NAMES.iter().chain(extra).map(|name| {
            let labels = rules.report_labels(name);
            (SeriesId::compute(tenant, &labels, &mut scratch), labels)
        });
        ReportSeries(series.collect())
    }

    pub(crate) fn all(&self) -> &[(SeriesId, Labels)] {
        &self.0
    }
}

/// What a scrape says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) is_up: bool,
    pub(crate) duration_seconds: f64,
    pub(crate) counts: crate::page::Counts,
    pub(crate) timeout_seconds: f64,
    pub(crate) sample_limit: u64,
    /// Uncompressed; -1 where there were too many, 0 where the scrape failed otherwise.
    pub(crate) body_bytes: i64,
}

impl Report {
    /// The values, those of the extra series last.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn values(&self) -> Vec<f64> {
        vec![
            if self.is_up { 1.0 } else { 0.0 },
            self.duration_seconds,
            self.counts.scraped as f64,
            self.counts.post_relabel as f64,
            self.counts.series_added as f64,
            self.timeout_seconds,
            self.sample_limit as f64,
            self.body_bytes as f64,
        ]
    }
}
