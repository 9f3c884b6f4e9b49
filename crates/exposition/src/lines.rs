//! A page that was written anew as lines: one of messages, or one whose classic histograms become native ones.
//!
//! What is remembered of a page are its lines, and most lines of a page are those of the page before; so a page that is no lines is
//! made into some. What a line cannot hold stands beside them, by the number of the line: histograms, and exemplars.

use model::{Exemplar, MetricType, SampleValue, TimestampMs};

use crate::encode::Encoder;
use crate::error::ParseError;
use crate::escape::Escaping;
use crate::format::Format;
use crate::negotiate::Page;
use crate::number::format_float;
use crate::protobuf::ProtobufError;

/// Longest text that a page becomes. It protects memory: each bucket of a message becomes a line with all labels of its metric.
pub const LINES_BYTES_MAX: usize = 256 << 20;

/// What to read of histograms. Source: `ParserOptions` of Prometheus `model/textparse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HistogramChoice {
    /// Native ones (`scrape_native_histograms`); else they are read as classic ones.
    pub native: bool,
    /// The classic form where there is a native one, too (`always_scrape_classic_histograms`).
    pub classic_too: bool,
    /// Classic ones become native ones with custom buckets (`convert_classic_histograms_to_nhcb`).
    pub to_custom_buckets: bool,
}

impl HistogramChoice {
    /// Whether a page of this format has to be written anew.
    pub fn changes(self, format: Format) -> bool {
        format == Format::Protobuf || self.to_custom_buckets
    }
}

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct LineHistogram {
    /// The sample line that it belongs to, from 0: name, labels, and no value that means anything.
    pub line: u64,
    /// When, where it is said; the line says it with less precision.
    pub timestamp: Option<TimestampMs>,
    /// What: never a float.
    pub value: SampleValue,
}

/// A page as lines.
#[derive(Debug)]
pub struct Lines {
    /// The lines.
    pub text: Vec<u8>,
    /// Histograms, by their lines.
    pub histograms: Vec<LineHistogram>,
    /// Exemplars that stand in no line, and the sample lines they belong to, in order.
    pub exemplars: Vec<(u64, Exemplar)>,
    /// What is wrong with the page behind the last line.
    pub error: Option<LinesError>,
}

/// Why a page cannot be written as lines to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// A page of lines is refused.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A page of messages is refused.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// There would be too many bytes.
    #[error("page is longer than {LINES_BYTES_MAX} bytes as lines")]
    TooLong,
}

/// Writes lines.
pub(crate) struct LinesWriter {
    encoder: Encoder,
    bytes_max: usize,
    /// Sample lines so far.
    lines: u64,
    histograms: Vec<LineHistogram>,
    exemplars: Vec<(u64, Exemplar)>,
}

impl LinesWriter {
    /// Of lines that are read as `format`.
    pub(crate) fn new(format: Format, bytes_max: usize) -> LinesWriter {
        let page = match format {
            Format::Text | Format::Protobuf => Page::Text,
            Format::OpenMetrics => Page::OpenMetrics1_0_0,
        };
        LinesWriter {
            encoder: Encoder::new(page, Escaping::AllowUtf8),
            bytes_max,
            lines: 0,
            histograms: Vec::new(),
            exemplars: Vec::new(),
        }
    }

    fn check_length(&self) -> Result<(), LinesError> {
        if self.encoder.len() > self.bytes_max { Err(LinesError::TooLong) } else { Ok(()) }
    }

    /// What stands above a family, in the words that only pages of messages have.
    pub(crate) fn family(
        &mut self,
        name: &str,
        metric_type: MetricType,
        help: &str,
        unit: &str,
    ) -> Result<(), LinesError> {
        let metric_type = match metric_type {
            MetricType::Unknown => "untyped",
            other => other.as_str(),
        };
        for (keyword, text) in [("HELP", help), ("TYPE", metric_type), ("UNIT", unit)] {
            // A unit of several lines is none.
            if text.is_empty() || keyword == "UNIT" && text.contains('\n') {
                continue;
            }
            self.encoder.out.extend_from_slice(b"# ");
            self.encoder.out.extend_from_slice(keyword.as_bytes());
            self.encoder.out.push(b' ');
            self.encoder.put_name(name);
            self.encoder.out.push(b' ');
            self.encoder.put_escaped(text, false);
            self.encoder.out.push(b'\n');
        }
        self.check_length()
    }

    /// A line with a float.
    pub(crate) fn sample<'l>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: f64,
        timestamp: Option<TimestampMs>,
    ) -> Result<(), LinesError> {
        self.encoder.put_series(name, labels);
        let out = &mut self.encoder.out;
        out.push(b' ');
        // The formats that are written for others know no negative zero.
        if value == 0.0 && value.is_sign_negative() {
            out.extend_from_slice(b"-0");
        } else {
            format_float(out, value);
        }
        self.end_line(timestamp)
    }

    /// A line that stands for a histogram.
    pub(crate) fn histogram<'l>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: SampleValue,
        timestamp: Option<TimestampMs>,
    ) -> Result<(), LinesError> {
        self.histograms.push(LineHistogram { line: self.lines, timestamp, value });
        self.encoder.put_series(name, labels);
        self.encoder.out.extend_from_slice(b" 0");
        self.end_line(timestamp)
    }

    fn end_line(&mut self, timestamp: Option<TimestampMs>) -> Result<(), LinesError> {
        if let Some(at) = timestamp {
            self.encoder.out.push(b' ');
            // No timestamp of the text format is negative; what is so old is refused as what is of 1970.
            self.encoder.put_timestamp(at.max(TimestampMs(0)));
        }
        self.encoder.out.push(b'\n');
        self.lines += 1;
        self.check_length()
    }

    /// An exemplar of the sample line before.
    pub(crate) fn exemplar(&mut self, exemplar: Exemplar) {
        if let Some(line) = self.lines.checked_sub(1) {
            self.exemplars.push((line, exemplar));
        }
    }

    /// Lines of another page as they stand, `samples` of them with samples.
    pub(crate) fn copy(&mut self, text: &[u8], samples: u64) -> Result<(), LinesError> {
        self.encoder.out.extend_from_slice(text);
        // Zero bytes behind a line break are the line's in OpenMetrics.
        if text.iter().rev().find(|b| **b != 0) != Some(&b'\n') {
            self.encoder.out.push(b'\n');
        }
        self.lines += samples;
        self.check_length()
    }

    pub(crate) fn finish(self, outcome: Result<(), LinesError>) -> Lines {
        let LinesWriter { encoder, histograms, exemplars, .. } = self;
        Lines { text: encoder.finish(), histograms, exemplars, error: outcome.err() }
    }
}
