//! Reads a page, entry by entry. What the two formats share is here; their grammars are in `text` and `openmetrics`.

use model::{MetricType, TimestampMs};

use crate::entry::{Entry, ExemplarText, Sample, Series};
use crate::error::{FloatError, ParseError, ParseErrorKind, Token};
use crate::format::Format;
use crate::labels::LabelsError;
use crate::number::{fast_decimal, parse_value, short_integer_line, take_digits};
use crate::scan::{Cursor, Dialect};
use crate::text::Words;
use crate::{LabelsScratch, openmetrics, text};

/// Where between two entries the parser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where a line begins.
    LineStart,
    /// Behind a value of OpenMetrics with something that is no token: Prometheus gives the sample out and fails next time.
    BehindValue,
    /// Behind the last entry or an error.
    Done,
}

/// Reads one page. The entries lend from the page.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    pub(crate) cursor: Cursor<'a>,
    pub(crate) dialect: Dialect,
    pub(crate) words: Words,
    /// Of the last `TYPE` line, whatever its family.
    pub(crate) metric_type: MetricType,
    pub(crate) place: Place,
    /// Where the current entry begins.
    pub(crate) start: usize,
    /// Of the current entry.
    pub(crate) exemplar: Option<ExemplarText<'a>>,
}

impl<'a> Parser<'a> {
    /// A parser of a page. One of messages must have been written as lines, by [`protobuf::lines`](crate::protobuf::lines).
    pub fn new(format: Format, page: &'a [u8]) -> Parser<'a> {
        let (dialect, words) = match format {
            Format::Text => (Dialect::Text, Words::Text),
            Format::OpenMetrics => (Dialect::OpenMetrics, Words::Text),
            Format::Protobuf => (Dialect::Text, Words::OfMessages),
        };
        let cursor = Cursor::new(page, dialect);
        Parser {
            cursor,
            dialect,
            words,
            metric_type: MetricType::Unknown,
            place: Place::LineStart,
            start: 0,
            exemplar: None,
        }
    }

    /// The next entry; `None` at the end of the page and after an error. A page may fail behind entries that were given out:
    /// whoever stores samples rolls them back then.
    #[expect(clippy::should_implement_trait, reason = "a failed parser is no iterator that ends")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ParseError> {
        self.next_entry()
    }

    /// The exemplar of the sample that was read last; only OpenMetrics has them.
    pub fn exemplar(&self) -> Option<ExemplarText<'_>> {
        self.exemplar
    }

    /// The type that the last `TYPE` line gave, which decides about `le` and `quantile`.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    /// The labels of a series text that was accepted on some page of this format, as they are after the last `TYPE` line.
    pub fn labels_of(&self, series_text: &[u8], scratch: &mut LabelsScratch) -> Result<(), LabelsError> {
        scratch.read_series(series_text, self.dialect, self.metric_type)
    }

    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.exemplar = None;
        let entry = match (self.place, self.dialect) {
            (Place::Done, _) => return Ok(None),
            (_, Dialect::Text) => text::next(self),
            (_, Dialect::OpenMetrics) => openmetrics::next(self),
        };
        self.settle(entry)
    }

    /// After the last entry and after an error there is nothing more.
    #[inline]
    fn settle<T>(&mut self, outcome: Result<Option<T>, Box<ParseErrorKind>>) -> Result<Option<T>, ParseError> {
        match outcome {
            Ok(Some(entry)) => Ok(Some(entry)),
            Ok(None) => {
                self.place = Place::Done;
                Ok(None)
            }
            Err(kind) => Err(self.fail(kind)),
        }
    }

    #[cold]
    fn fail(&mut self, kind: Box<ParseErrorKind>) -> ParseError {
        self.place = Place::Done;
        let line = 1 + self.cursor.slice(0, self.start).iter().filter(|b| **b == b'\n').count();
        ParseError { line, offset: self.cursor.at.min(self.cursor.bytes.len()), kind }
    }

    /// Whether a line begins here; then the exemplar of the one before is gone.
    pub(crate) fn begin_line(&mut self) -> bool {
        let begins = self.place == Place::LineStart;
        if begins {
            self.exemplar = None;
        }
        begins
    }

    /// Reads a line that is `series`, a series text known from an earlier page of the format, and a value in the usual notation,
    /// perhaps (in the text format) with a timestamp. `None`, with nothing read, where the line is anything else. The parser must
    /// be where a line begins.
    #[inline(always)]
    pub(crate) fn plain_sample_of(&mut self, series: &[u8]) -> Option<Sample> {
        let line = self.cursor.bytes.get(self.cursor.at..)?;
        let (b' ', tail) = line.strip_prefix(series)?.split_first()? else { return None };
        let (value, length) = match short_integer_line(tail) {
            Some(read) => read,
            None => fast_decimal(tail)?,
        };
        let (timestamp, length) = match tail.get(length)? {
            b'\n' => (None, length),
            b' ' if self.dialect == Dialect::Text => plain_timestamp(tail, length + 1)?,
            _ => return None,
        };
        self.cursor.at += series.len() + length + 2;
        Some(Sample { value, timestamp })
    }

    /// Reads a line that begins with `series`, whatever follows. `None`, with nothing read, where it is another series.
    pub(crate) fn sample_of(&mut self, series: &[u8]) -> Result<Option<Sample>, ParseError> {
        if !self.begin_line() {
            return Ok(None);
        }
        if let Some(sample) = self.plain_sample_of(series) {
            return Ok(Some(sample));
        }
        let line = self.cursor.bytes.get(self.cursor.at..).unwrap_or_default();
        if line.strip_prefix(series).is_none_or(|tail| tail.first() != Some(&b' ')) {
            return Ok(None);
        }
        self.sample_behind(series.len())
    }

    /// The rest of `sample_of` where the line holds more than a plain value.
    fn sample_behind(&mut self, series_length: usize) -> Result<Option<Sample>, ParseError> {
        let (start, token) = (self.cursor.at, self.cursor.token);
        self.cursor.at += series_length;
        self.start = start;
        let first = match self.dialect {
            Dialect::Text => text::value_token(&mut self.cursor),
            Dialect::OpenMetrics => openmetrics::value_token(&mut self.cursor),
        };
        if first != Token::Value {
            // The name goes on with braces, or the line is bad: the careful way finds out.
            (self.cursor.at, self.cursor.token) = (start, token);
            return Ok(None);
        }
        let sample = match self.dialect {
            Dialect::Text => text::sample(self),
            Dialect::OpenMetrics => openmetrics::sample(self),
        };
        self.settle(sample.map(Some))
    }

    /// Passes over a whole line, `line` with its line break, known from an earlier page of the format. `metric_type` is what it
    /// set then. `false`, with nothing read, where another line stands here.
    #[inline]
    pub(crate) fn skip_line(&mut self, line: &[u8], metric_type: Option<MetricType>) -> bool {
        let here = self.cursor.bytes.get(self.cursor.at..).unwrap_or_default();
        // A zero byte behind the line break would belong to an OpenMetrics line.
        let known = self.place == Place::LineStart
            && here.starts_with(line)
            && (self.dialect == Dialect::Text || here.get(line.len()) != Some(&0));
        if known {
            self.start = self.cursor.at;
            self.cursor.at += line.len();
            self.metric_type = metric_type.unwrap_or(self.metric_type);
        }
        known
    }

    /// The entry that was read last, up to where reading stands, if it ends with a line break that is written.
    pub(crate) fn last_line(&self) -> Option<&'a [u8]> {
        let line = self.cursor.bytes.get(self.start..self.cursor.at)?;
        line.ends_with(b"\n").then_some(line)
    }

    /// The entry that was read last, with its line break if that is written.
    pub(crate) fn entry_bytes(&self) -> &'a [u8] {
        self.cursor.slice(self.start, self.cursor.at)
    }

    pub(crate) fn unexpected(&self, expected: &'static str, token: Token) -> Box<ParseErrorKind> {
        let end = self.cursor.end.min(self.cursor.at + 1);
        Box::new(ParseErrorKind::Unexpected {
            expected,
            got: self.cursor.copy(self.cursor.token, end),
            token,
            parsed: self.cursor.copy(self.start, end),
        })
    }

    pub(crate) fn parsed(&self) -> Box<[u8]> {
        self.cursor.copy(self.start, self.cursor.at)
    }

    /// Parses a value or a timestamp of OpenMetrics.
    pub(crate) fn float(&self, number: &[u8]) -> Result<f64, Box<ParseErrorKind>> {
        parse_value(number).map_err(|reason: FloatError| {
            Box::new(ParseErrorKind::Float { reason, number: number.into(), parsed: self.parsed() })
        })
    }

    pub(crate) fn series(&self, text: &'a [u8], sample: Sample) -> Entry<'a> {
        Entry::Series(Series { text, dialect: self.dialect, metric_type: self.metric_type, sample })
    }
}

/// Milliseconds and a line break at `at`: the timestamp and the index of the line break.
#[inline(never)]
fn plain_timestamp(tail: &[u8], at: usize) -> Option<(Option<TimestampMs>, usize)> {
    let mut ms = 0;
    let end = take_digits(tail, at, &mut ms);
    let fits = (1..=18).contains(&(end - at)) && tail.get(end) == Some(&b'\n');
    fits.then_some((Some(TimestampMs(i64::try_from(ms).ok()?)), end))
}

#[cfg(test)]
pub(crate) mod tests;
