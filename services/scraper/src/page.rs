//! From a page to the samples of one scrape, with the memory of the pages before. Source: `scrapeLoopAppender.append` of Prometheus
//! `scrape/scrape.go`.

use std::hash::{Hash, Hasher};
use std::iter::Peekable;

use exposition::{
    ClassicLines, Entry, Format, LabelsError, LabelsScratch, Line, LineHistogram, Lines, LinesError, Outcome,
    ParseError, Parser, ScrapeCache, Series, Slot,
};
use exposition::{Sample, Staleness};
use model::{Exemplar, HistogramError, Labels, Metadata, MetricType, SampleValue, SeriesId, TenantId, TimestampMs};
use writer::Admission;

use crate::families::Families;
use crate::histograms::{HistogramRules, Misfit};
use crate::sample_rules::{SampleRules, SeriesError};

/// What is remembered of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    Series { id: SeriesId, reading: Reading },
    Dropped,
}

/// As what a series text was read: it decides what the labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) format: Format,
    pub(crate) metric_type: MetricType,
}

// By series alone: one that is written otherwise now has not vanished.
impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl Kept {
    pub(crate) fn id(&self) -> Option<SeriesId> {
        match self {
            Kept::Series { id, .. } => Some(*id),
            Kept::Dropped => None,
        }
    }
}

/// Characters in names and values of an exemplar's labels. Source: OpenMetrics, and `ExemplarMaxLabelSetLength`.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// No labels beside a row.
pub(crate) const REMEMBERED: u32 = u32::MAX;

/// One sample to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) id: SeriesId,
    pub(crate) at: i64,
    pub(crate) value: f64,
    /// Index into `Rows::fresh` for a series that is new, else `REMEMBERED`.
    pub(crate) fresh: u32,
}

/// One native histogram to write.
#[derive(Clone, Debug)]
pub(crate) struct HistogramRow {
    /// Its value is none.
    pub(crate) row: Row,
    pub(crate) value: SampleValue,
}

/// The end of a series.
#[derive(Clone, Debug)]
pub(crate) struct Marker {
    pub(crate) id: SeriesId,
    pub(crate) at: i64,
    /// The line's text, for its labels, should they be asked for.
    pub(crate) text: Box<[u8]>,
    pub(crate) reading: Reading,
}

/// What one page comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) samples: Vec<Row>,
    pub(crate) histograms: Vec<HistogramRow>,
    pub(crate) fresh: Vec<Labels>,
    pub(crate) exemplars: Vec<(SeriesId, i64, Exemplar)>,
    pub(crate) markers: Vec<Marker>,
    pub(crate) metadata: Vec<(String, Metadata)>,
}

/// Numbers for the report series and for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scraped: u64,
    pub(crate) post_relabel: u64,
    pub(crate) series_added: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_bounds: u64,
}

/// Why a page is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Lines(#[from] LinesError),
    #[error(transparent)]
    Histogram(#[from] HistogramError),
    #[error(transparent)]
    ContentType(#[from] exposition::ContentTypeError),
    #[error(transparent)]
    Labels(#[from] LabelsError),
    #[error(transparent)]
    Series(#[from] SeriesError),
    #[error(transparent)]
    CacheFull(#[from] exposition::CacheFull),
    #[error("sample limit exceeded")]
    SampleLimit,
    #[error("histogram bucket limit exceeded")]
    BucketLimit,
}

/// What is remembered of one target's pages.
pub(crate) struct Memory {
    pub(crate) cache: ScrapeCache<Kept>,
    pub(crate) families: Families,
    labels: LabelsScratch,
    exemplar_labels: LabelsScratch,
    id_scratch: Vec<u8>,
    rows_expected: usize,
}

impl Memory {
    pub(crate) fn new(rules: &SampleRules) -> Memory {
        let config = &rules.job.config;
        let all = config.track_timestamps_staleness || !config.honor_timestamps;
        Memory {
            cache: ScrapeCache::new(if all { Staleness::All } else { Staleness::WithoutTimestamp }),
            families: Families::default(),
            labels: LabelsScratch::new(),
            exemplar_labels: LabelsScratch::new(),
            id_scratch: Vec::new(),
            rows_expected: 0,
        }
    }

    /// Ends all series without a page: the scrape failed, or the target is gone.
    pub(crate) fn end_all(&mut self, at: TimestampMs) -> Rows {
        let mut rows = Rows::default();
        self.finish(Outcome::Failed, at, &mut rows);
        rows
    }

    /// Ids of all series that are live now.
    pub(crate) fn live_ids(&self, mut each: impl FnMut(SeriesId)) {
        self.cache.clone().finish(Outcome::Failed, |kept| {
            if let Some(id) = kept.id() {
                each(id);
            }
        });
    }

    fn finish(&mut self, outcome: Outcome, at: TimestampMs, rows: &mut Rows) {
        let markers = &mut rows.markers;
        self.cache.finish_with_text(outcome, |kept, text| {
            if let Kept::Series { id, reading } = kept {
                markers.push(Marker { id: *id, at: at.0, text: text.into(), reading: *reading });
            }
        });
    }
}

/// What reading a page needs besides the page.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) rules: &'a SampleRules,
    pub(crate) tenant: &'a TenantId,
    pub(crate) admission: Admission,
    /// Time of samples without one.
    pub(crate) at: TimestampMs,
    pub(crate) histograms: HistogramRules,
}

/// What stands beside the lines of a page that was written anew as lines.
struct Beside {
    histograms: Peekable<std::vec::IntoIter<LineHistogram>>,
    exemplars: Peekable<std::vec::IntoIter<(u64, Exemplar)>>,
    /// What is wrong with the page behind the last line.
    error: Option<LinesError>,
    /// The sample line that comes next.
    line: u64,
}

impl Beside {
    fn new(histograms: Vec<LineHistogram>, exemplars: Vec<(u64, Exemplar)>, error: Option<LinesError>) -> Beside {
        let (histograms, exemplars) = (histograms.into_iter().peekable(), exemplars.into_iter().peekable());
        Beside { histograms, exemplars, error, line: 0 }
    }

    /// The histogram of the sample line that was read just now.
    #[inline]
    fn next_line(&mut self) -> Option<LineHistogram> {
        let line = self.line;
        self.line += 1;
        self.histograms.next_if(|histogram| histogram.line == line)
    }

    /// The next exemplar of the sample line that was read last.
    fn next_exemplar(&mut self) -> Option<Exemplar> {
        self.exemplars.next_if(|(line, _)| line + 1 == self.line).map(|(_, exemplar)| exemplar)
    }
}

/// The page as lines that are remembered.
fn as_lines(page: Vec<u8>, format: Format, context: &Context<'_>) -> (Vec<u8>, Beside) {
    let choice = context.histograms.choice;
    if !choice.changes(format) {
        return (page, Beside::new(Vec::new(), Vec::new(), None));
    }
    let Lines { text, histograms, exemplars, error } = match format {
        Format::Protobuf => exposition::protobuf::lines(&page, choice),
        Format::Text | Format::OpenMetrics => {
            let classic = if choice.classic_too { ClassicLines::Keep } else { ClassicLines::Drop };
            exposition::with_custom_buckets(format, &page, classic)
        }
    };
    (text, Beside::new(histograms, exemplars, error))
}

/// Reads a page that is not empty. On an error the rows hold markers alone, and the counts are those up to the error. The page is
/// given back as it was read: as lines.
pub(crate) fn read(
    memory: &mut Memory,
    context: Context<'_>,
    page: Vec<u8>,
    format: Format,
    counts: &mut Counts,
) -> (Vec<u8>, Rows, Result<(), PageError>) {
    let (page, beside) = as_lines(page, format, &context);
    let mut reader = Reader {
        context,
        rows: Rows { samples: Vec::with_capacity(memory.rows_expected), ..Rows::default() },
        counts,
        memory,
        beside,
        limited: 0,
        is_over_buckets: false,
        families_changed: false,
    };
    let outcome = reader.read(&page, format);
    let families_changed = reader.families_changed;
    let mut rows = match outcome {
        Ok(()) => reader.rows,
        Err(_) => Rows::default(),
    };
    memory.rows_expected = rows.samples.len();
    memory.finish(if outcome.is_ok() { Outcome::Good } else { Outcome::Failed }, context.at, &mut rows);
    if outcome.is_ok() && (families_changed || !memory.families.is_sent()) {
        rows.metadata = memory.families.changes(&memory.cache, format);
    }
    (page, rows, outcome)
}

struct Reader<'a> {
    context: Context<'a>,
    memory: &'a mut Memory,
    rows: Rows,
    counts: &'a mut Counts,
    beside: Beside,
    /// Samples that count against `sample_limit`.
    limited: u64,
    /// Whether a histogram has too many buckets.
    is_over_buckets: bool,
    families_changed: bool,
}

impl Reader<'_> {
    fn read(&mut self, page: &[u8], format: Format) -> Result<(), PageError> {
        let mut parser = Parser::new(format, page);
        loop {
            let pushed = match self.memory.cache.next(&mut parser)? {
                None => break,
                Some(Line::Known { slot, sample, repeated }) => self.known(slot, sample, repeated)?,
                Some(Line::Metadata(Entry::Comment(_))) => None,
                Some(Line::Metadata(_)) => {
                    self.families_changed = true;
                    None
                }
                Some(Line::New(series)) => {
                    let metric_type = series.metric_type();
                    self.new_line(&series, Reading { format, metric_type })?
                }
            };
            if let Some((id, timestamp)) = pushed {
                if let Some(text) = parser.exemplar() {
                    // One that cannot be is left out and the sample stays, as in Prometheus.
                    let exemplar = text.to_exemplar(&mut self.memory.exemplar_labels).ok();
                    self.take_exemplars(id, timestamp, exemplar);
                }
                if self.beside.exemplars.peek().is_some() {
                    let beside: Vec<Exemplar> = std::iter::from_fn(|| self.beside.next_exemplar()).collect();
                    self.take_exemplars(id, timestamp, beside);
                }
            } else {
                while self.beside.next_exemplar().is_some() {}
            }
        }
        match self.beside.error.take() {
            Some(error) => Err(error.into()),
            None if self.is_over_limit() => Err(PageError::SampleLimit),
            None if self.is_over_buckets => Err(PageError::BucketLimit),
            None => Ok(()),
        }
    }

    fn is_over_limit(&self) -> bool {
        let limit = self.context.rules.job.config.limits.samples;
        limit > 0 && self.limited > limit
    }

    #[inline]
    fn timestamp(&self, said: Option<TimestampMs>) -> Option<i64> {
        said.filter(|_| self.context.rules.job.config.honor_timestamps).map(|t| t.0)
    }

    /// The series and the time written at it, if the sample was taken.
    #[inline]
    fn known(
        &mut self,
        slot: Slot,
        sample: Sample,
        repeated: bool,
    ) -> Result<Option<(SeriesId, Option<i64>)>, PageError> {
        self.counts.scraped += 1;
        let histogram = self.beside.next_line();
        let Kept::Series { id, .. } = *self.memory.cache.get(slot) else { return Ok(None) };
        self.counts.post_relabel += 1;
        let timestamp = self.timestamp(histogram.as_ref().map_or(sample.timestamp, |h| h.timestamp));
        if repeated && timestamp.is_none() {
            self.counts.duplicates += 1;
            return Ok(None);
        }
        let is_taken = match histogram {
            None => self.push(id, timestamp, sample.value, REMEMBERED),
            Some(histogram) => self.push_histogram(id, timestamp, histogram.value, REMEMBERED)?,
        };
        Ok(is_taken.then_some((id, timestamp)))
    }

    /// Takes a sample unless it is one too many or out of bounds. Returns whether it did.
    #[inline]
    fn push(&mut self, id: SeriesId, timestamp: Option<i64>, value: f64, fresh: u32) -> bool {
        let Some(at) = self.admit(timestamp) else { return false };
        self.rows.samples.push(Row { id, at, value, fresh });
        true
    }

    /// The same of a histogram, which may also have too many buckets. One that cannot be is an error.
    #[cold]
    fn push_histogram(
        &mut self,
        id: SeriesId,
        timestamp: Option<i64>,
        mut value: SampleValue,
        fresh: u32,
    ) -> Result<bool, PageError> {
        match self.context.histograms.fit(&mut value) {
            Ok(()) => {}
            // The page is read to its end, so that its samples are counted.
            Err(Misfit::Buckets) => {
                self.is_over_buckets = true;
                return Ok(false);
            }
            Err(Misfit::Invalid(e)) => return Err(e.into()),
        }
        let Some(at) = self.admit(timestamp) else { return Ok(false) };
        self.rows.histograms.push(HistogramRow { row: Row { id, at, value: 0.0, fresh }, value });
        Ok(true)
    }

    /// The time of a sample that is taken.
    #[inline]
    fn admit(&mut self, timestamp: Option<i64>) -> Option<i64> {
        self.limited += 1;
        if self.is_over_limit() {
            return None;
        }
        match timestamp {
            None => Some(self.context.at.0),
            Some(at) if at > self.context.admission.newest.0 || at < self.context.admission.oldest.0 => {
                self.counts.out_of_bounds += 1;
                None
            }
            Some(at) => Some(at),
        }
    }

    fn new_line(
        &mut self,
        series: &Series<'_>,
        reading: Reading,
    ) -> Result<Option<(SeriesId, Option<i64>)>, PageError> {
        self.counts.scraped += 1;
        let histogram = self.beside.next_line();
        series.labels(&mut self.memory.labels)?;
        let labels = self.memory.labels.to_labels()?;
        let Some(labels) = self.context.rules.apply(&labels)? else {
            self.memory.cache.remember(series, Kept::Dropped)?;
            return Ok(None);
        };
        let id = SeriesId::compute(self.context.tenant, &labels, &mut self.memory.id_scratch);
        self.counts.post_relabel += 1;
        let timestamp = self.timestamp(histogram.as_ref().map_or(series.sample.timestamp, |h| h.timestamp));
        let fresh = u32::try_from(self.rows.fresh.len()).unwrap_or(REMEMBERED);
        let is_taken = match histogram {
            None => self.push(id, timestamp, series.sample.value, fresh),
            Some(histogram) => self.push_histogram(id, timestamp, histogram.value, fresh)?,
        };
        if is_taken {
            self.rows.fresh.push(labels);
            self.memory.cache.remember(series, Kept::Series { id, reading })?;
            self.counts.series_added += 1;
            return Ok(Some((id, timestamp)));
        }
        Ok(None)
    }

    /// Exemplars of one sample, in the order of their times.
    #[cold]
    fn take_exemplars(&mut self, id: SeriesId, timestamp: Option<i64>, exemplars: impl IntoIterator<Item = Exemplar>) {
        let first = self.rows.exemplars.len();
        for exemplar in exemplars {
            let at = exemplar.timestamp.map_or(timestamp.unwrap_or(self.context.at.0), |t| t.0);
            let chars = |l: model::Label<'_>| l.name.chars().count() + l.value.chars().count();
            if exemplar.labels.iter().map(chars).sum::<usize>() <= EXEMPLAR_CHARS_MAX {
                self.rows.exemplars.push((id, at, exemplar));
            }
        }
        self.rows.exemplars[first..].sort_by_key(|(_, at, _)| *at);
    }
}

#[cfg(test)]
mod tests;
