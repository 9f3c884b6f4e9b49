//! One scrape as the writer wants it: samples that can be walked more than once, labels only where they are asked for.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use exposition::{Entry, Format, LabelsScratch, Parser};
use model::{Labels, MetricType, SeriesId, TenantId, stale_nan};
use writer::{SampleSink, histogram_bytes_max};

use crate::page::{HistogramRow, Marker, REMEMBERED, Row, Rows};
use crate::report::ReportSeries;
use crate::sample_rules::SampleRules;

/// Bytes of a sample and its series' id in a batch.
const SAMPLE_BYTES: usize = 32;

/// Everything that one scrape writes.
pub(crate) struct Scrape {
    pub(crate) tenant: TenantId,
    pub(crate) rules: SampleRules,
    /// The page, kept until its samples are written, and how it was read.
    pub(crate) page: Vec<u8>,
    pub(crate) format: Option<Format>,
    pub(crate) rows: Rows,
    /// The series of the report, their time, and their values in order.
    pub(crate) report: (std::sync::Arc<ReportSeries>, i64, Vec<f64>),
    /// Labels of remembered lines, found again: a writer that has forgotten them, or a replica that is new.
    pub(crate) found_again: OnceLock<HashMap<SeriesId, Labels>>,
    /// The writer's epoch at the last write of the target, if that succeeded.
    pub(crate) written_at: Option<u64>,
}

impl Scrape {
    /// About what it is in a batch where all its series are known.
    pub(crate) fn bytes(&self) -> usize {
        let fresh: usize = self.rows.fresh.iter().map(|labels| labels.as_packed().len()).sum();
        self.sample_bytes() + fresh
    }

    /// At most about what it is where none is: the page holds the text of all labels but those of the target.
    pub(crate) fn bytes_with_definitions_max(&self) -> usize {
        let of_target = self.rules.target_labels.as_packed().len();
        let series = self.float_count() + self.rows.histograms.len();
        self.page.len() + of_target * series + self.sample_bytes()
    }

    fn float_count(&self) -> usize {
        self.rows.samples.len() + self.rows.markers.len() + self.report.2.len()
    }

    fn sample_bytes(&self) -> usize {
        let histograms: usize = self.rows.histograms.iter().map(|h| histogram_bytes_max(&h.value)).sum();
        SAMPLE_BYTES * self.float_count() + histograms
    }

    /// Gives everything to `sink`.
    pub(crate) fn walk(&self, sink: &mut SampleSink<'_>) {
        sink.last_written_at(self.written_at);
        for row in &self.rows.samples {
            let labels = || self.labels_of(row);
            let id = if row.fresh == REMEMBERED {
                sink.remembered_series(row.id, labels, 1)
            } else {
                sink.known_series(row.id, labels, 1)
            };
            if let Some(id) = id {
                sink.sample(id, row.at, row.value);
            }
        }
        for HistogramRow { row, value } in &self.rows.histograms {
            if let Some(id) = sink.known_series(row.id, || self.labels_of(row), 1) {
                sink.histogram(id, row.at, value.clone());
            }
        }
        for (id, at, exemplar) in &self.rows.exemplars {
            sink.exemplar(*id, *at, exemplar.value, &exemplar.labels);
        }
        for marker in &self.rows.markers {
            if let Some(id) = sink.known_series(marker.id, || self.labels_of_marker(marker), 1) {
                sink.sample(id, marker.at, stale_nan());
            }
        }
        let (series, at, values) = &self.report;
        for ((id, labels), value) in series.all().iter().zip(values) {
            if let Some(id) = sink.remembered_series(*id, || Some(labels.clone()), 1) {
                sink.sample(id, *at, *value);
            }
        }
        for (family, metadata) in &self.rows.metadata {
            sink.metadata(family, metadata);
        }
    }

    fn labels_of(&self, row: &Row) -> Option<Labels> {
        if row.fresh != REMEMBERED {
            return self.rows.fresh.get(row.fresh as usize).cloned();
        }
        self.found_again.get_or_init(|| self.find_labels().unwrap_or_default()).get(&row.id).cloned()
    }

    /// Reads the whole page once more for the labels of all its series.
    fn find_labels(&self) -> Option<HashMap<SeriesId, Labels>> {
        let histograms = self.rows.histograms.iter().map(|histogram| &histogram.row);
        let wanted: HashSet<SeriesId> = self.rows.samples.iter().chain(histograms).map(|row| row.id).collect();
        let mut found = HashMap::with_capacity(wanted.len());
        let mut parser = Parser::new(self.format?, &self.page);
        let (mut scratch, mut id_scratch) = (LabelsScratch::new(), Vec::new());
        while let Ok(Some(entry)) = parser.next() {
            let Entry::Series(series) = entry else { continue };
            let Ok(()) = series.labels(&mut scratch) else { continue };
            let Some(labels) = scratch.to_labels().ok().and_then(|l| self.rules.relabelled(&l)) else { continue };
            let id = SeriesId::compute(&self.tenant, &labels, &mut id_scratch);
            if wanted.contains(&id) {
                found.insert(id, labels);
            }
        }
        Some(found)
    }

    fn labels_of_marker(&self, marker: &Marker) -> Option<Labels> {
        let mut parser = Parser::new(marker.reading.format, type_line(marker.reading.metric_type));
        // Only for the type, on which the form of `le` and `quantile` depends.
        parser.next().ok()?;
        let mut scratch = LabelsScratch::new();
        parser.labels_of(&marker.text, &mut scratch).ok()?;
        self.rules.relabelled(&scratch.to_labels().ok()?)
    }
}

fn type_line(metric_type: MetricType) -> &'static [u8] {
    match metric_type {
        MetricType::Histogram => b"# TYPE x histogram\n",
        MetricType::Summary => b"# TYPE x summary\n",
        // No label depends on the others.
        _ => b"# TYPE x gauge\n",
    }
}
