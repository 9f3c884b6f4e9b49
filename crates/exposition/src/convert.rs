//! Pages of lines whose classic histograms become native ones with custom buckets. Source: `nhcbparse.go` of Prometheus 3.14.
//!
//! The lines of one histogram stand together; where others follow, or the page ends, it is whole. What cannot be converted is left
//! out, as in Prometheus.

use model::{Exemplar, MetricType, SampleValue, TimestampMs};

use crate::custom_buckets::ClassicHistogram;
use crate::entry::{Entry, Series};
use crate::format::Format;
use crate::labels::LabelsScratch;
use crate::lines::{LINES_BYTES_MAX, Lines, LinesError, LinesWriter};
use crate::number::parse_go_float;
use crate::parser::Parser;

/// What becomes of the lines of a histogram that is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicLines {
    /// They stay.
    Keep,
    /// They go.
    Drop,
}

/// Writes a page of text or OpenMetrics anew, with native histograms in place of the classic ones or behind them.
pub fn with_custom_buckets(format: Format, page: &[u8], classic: ClassicLines) -> Lines {
    let out = LinesWriter::new(format, LINES_BYTES_MAX);
    let mut conversion = Conversion { out, classic, family: Vec::new(), open: None, scratch: LabelsScratch::new() };
    let outcome = conversion.page(format, page);
    conversion.out.finish(outcome)
}

struct Conversion {
    out: LinesWriter,
    classic: ClassicLines,
    /// Of the last `TYPE` line.
    family: Vec<u8>,
    /// The histogram whose lines are being read.
    open: Option<Open>,
    scratch: LabelsScratch,
}

struct Open {
    name: String,
    /// Without name and bound, by name.
    labels: Vec<(String, String)>,
    histogram: ClassicHistogram,
    timestamp: Option<TimestampMs>,
    exemplars: Vec<Exemplar>,
}

/// Which series of a histogram a line is.
#[derive(Clone, Copy)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
    /// None of them.
    Other,
}

impl Open {
    fn is_of(&self, name: &str, labels: &LabelsScratch) -> bool {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.name == name && own.eq(group(labels))
    }
}

/// The labels that all series of a histogram have.
fn group(labels: &LabelsScratch) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter(|(name, value)| !matches!(*name, model::METRIC_NAME | "le") && !value.is_empty())
}

impl Conversion {
    fn page(&mut self, format: Format, page: &[u8]) -> Result<(), LinesError> {
        let mut parser = Parser::new(format, page);
        while let Some(entry) = parser.next_entry()? {
            let text = parser.entry_bytes();
            let Entry::Series(series) = entry else {
                if let Entry::Type { family, .. } = entry {
                    self.family = family.to_vec();
                }
                self.close()?;
                self.out.copy(text, 0)?;
                continue;
            };
            let exemplar = parser.exemplar().and_then(|e| e.to_exemplar(&mut LabelsScratch::new()).ok());
            if !self.takes(&series, exemplar)? || self.classic == ClassicLines::Keep {
                self.out.copy(text, 1)?;
            }
        }
        self.close()
    }

    /// Whether the line is one of a histogram that is to be converted.
    fn takes(&mut self, series: &Series<'_>, exemplar: Option<Exemplar>) -> Result<bool, LinesError> {
        // Labels that cannot be had are an error where the line is read again.
        if series.metric_type() != MetricType::Histogram || series.labels(&mut self.scratch).is_err() {
            self.close()?;
            return Ok(false);
        }
        let get = |wanted| self.scratch.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);
        let name = get(model::METRIC_NAME);
        let suffixes = ["_bucket", "_count", "_sum"];
        let (base, suffix) =
            suffixes.iter().find_map(|suffix| Some((name.strip_suffix(suffix)?, *suffix))).unwrap_or((name, ""));
        let bound = parse_go_float(get("le").as_bytes()).ok().filter(|bound| !bound.is_nan());
        let part = match (suffix, bound) {
            _ if base.is_empty() || base.as_bytes() != self.family => Part::Other,
            ("_bucket", Some(bound)) => Part::Bucket(bound),
            ("_count", _) => Part::Count,
            ("_sum", _) => Part::Sum,
            _ => Part::Other,
        };
        let base = base.to_owned();
        if self.open.as_ref().is_some_and(|open| !open.is_of(&base, &self.scratch)) {
            self.close()?;
        }
        Ok(self.add(&base, part, series, exemplar))
    }

    fn add(&mut self, base: &str, part: Part, series: &Series<'_>, exemplar: Option<Exemplar>) -> bool {
        if matches!(part, Part::Other) {
            return false;
        }
        let labels = &self.scratch;
        let open = self.open.get_or_insert_with(|| Open {
            name: base.to_owned(),
            labels: group(labels).map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            histogram: ClassicHistogram::default(),
            timestamp: None,
            exemplars: Vec::new(),
        });
        match part {
            Part::Bucket(bound) => open.histogram.bucket(bound, series.sample.value),
            Part::Count => open.histogram.count = Some(series.sample.value),
            Part::Sum => open.histogram.sum = series.sample.value,
            Part::Other => {}
        }
        open.timestamp = series.sample.timestamp;
        // Native histograms have no exemplars without a time of their own.
        open.exemplars.extend(exemplar.filter(|e| e.timestamp.is_some()));
        true
    }

    /// Writes the histogram whose lines were read, if it is one.
    fn close(&mut self) -> Result<(), LinesError> {
        let Some(Open { name, labels, mut histogram, timestamp, exemplars }) = self.open.take() else { return Ok(()) };
        let Ok(value) = histogram.convert() else { return Ok(()) };
        let is_valid = match &value {
            SampleValue::Histogram(h) => h.validate().is_ok(),
            SampleValue::FloatHistogram(h) => h.validate().is_ok(),
            SampleValue::Float(_) => false,
        };
        if !is_valid {
            return Ok(());
        }
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.out.histogram(&name, labels, value, timestamp)?;
        exemplars.into_iter().for_each(|exemplar| self.out.exemplar(exemplar));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
