//! The labels of a series text that the parser has accepted: found again, unescaped, normalised, sorted.
//!
//! The parser itself only checks: most lines are known from the last scrape, and nobody asks for their labels.

use std::ops::Range;

use model::{Labels, METRIC_NAME, MetricType};

use crate::error::Token;
use crate::number::{format_openmetrics_float, parse_go_float};
use crate::scan::{Cursor, Dialect, QuoteRules};

/// Why labels that can be written cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A metric or label name in quotes is not UTF-8. (Label values were checked by the parser.)
    #[error("name {:?} is not valid UTF-8", String::from_utf8_lossy(.0))]
    NameNotUtf8(Box<[u8]>),
    /// A label without a name.
    #[error("label with an empty name")]
    EmptyName,
    /// One name with two values.
    #[error("label name \"{0}\" is not unique")]
    Duplicate(Box<str>),
}

/// Room for the labels of one series, to be used again.
#[derive(Clone, Debug, Default)]
pub struct LabelsScratch {
    text: String,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl LabelsScratch {
    /// Room for nothing yet.
    pub fn new() -> LabelsScratch {
        LabelsScratch::default()
    }

    /// The labels, sorted by name; the metric's name is one of them. Names may repeat and values be empty, as they were written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    /// The labels as a set. A label that is empty once is absent, whatever else it is, as in Prometheus' scrape.
    pub fn to_labels(&self) -> Result<Labels, LabelsError> {
        let (mut has_empty, mut duplicate, mut last) = (false, None, None);
        for (name, value) in self.iter() {
            has_empty |= value.is_empty();
            if last == Some(name) {
                duplicate = Some(name);
            }
            last = Some(name);
        }
        if !has_empty && let Some(name) = duplicate {
            return Err(LabelsError::Duplicate(name.into()));
        }
        if has_empty && duplicate.is_some() {
            return self.to_labels_without_empty();
        }
        // Names are unique now.
        Labels::from_pairs(self.iter()).ok_or(LabelsError::EmptyName)
    }

    fn to_labels_without_empty(&self) -> Result<Labels, LabelsError> {
        let empty: Vec<&str> = self.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
        let kept: Vec<(&str, &str)> = self.iter().filter(|(name, _)| !empty.contains(name)).collect();
        if let Some(pair) = kept.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(LabelsError::Duplicate(pair[0].0.into()));
        }
        Labels::from_pairs(kept).ok_or(LabelsError::EmptyName)
    }

    /// Reads the text of a series that was accepted as `dialect`.
    pub(crate) fn read_series(
        &mut self,
        text: &[u8],
        dialect: Dialect,
        metric_type: MetricType,
    ) -> Result<(), LabelsError> {
        self.clear();
        for (name, value) in Parts::of_series(text, dialect) {
            let name = match name {
                None => self.push(METRIC_NAME.as_bytes())?,
                Some(name) => self.push_unescaped(name)?,
            };
            let mut range = self.push_unescaped(value)?;
            if is_normalised(metric_type, &self.text[name.clone()])
                && let Ok(float) = parse_go_float(&self.text.as_bytes()[range.clone()])
            {
                let mut normalised = Vec::new();
                format_openmetrics_float(&mut normalised, float);
                range = self.push(&normalised)?;
            }
            self.pairs.push((name, range));
        }
        self.sort();
        Ok(())
    }

    /// Reads the labels of an accepted exemplar.
    pub(crate) fn read_exemplar(&mut self, text: &[u8]) -> Result<(), LabelsError> {
        self.clear();
        for (name, value) in Parts::of_exemplar(text) {
            let name = self.push(name.unwrap_or_default())?;
            let value = self.push(value)?;
            self.pairs.push((name, value));
        }
        self.sort();
        Ok(())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    fn sort(&mut self) {
        let text = &self.text;
        self.pairs.sort_by(|a, b| text[a.0.clone()].cmp(&text[b.0.clone()]));
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Range<usize>, LabelsError> {
        let start = self.text.len();
        self.text.push_str(std::str::from_utf8(bytes).map_err(|_| LabelsError::NameNotUtf8(bytes.into()))?);
        Ok(start..self.text.len())
    }

    fn push_unescaped(&mut self, bytes: &[u8]) -> Result<Range<usize>, LabelsError> {
        let start = self.text.len();
        let text = std::str::from_utf8(bytes).map_err(|_| LabelsError::NameNotUtf8(bytes.into()))?;
        unescape(text, Escapes::Quoted, &mut self.text);
        Ok(start..self.text.len())
    }
}

/// Whether the label's value is a float that is written in one form. The type is that of the last `TYPE` line, whatever the
/// family, as in Prometheus.
fn is_normalised(metric_type: MetricType, name: &str) -> bool {
    match metric_type {
        MetricType::Summary => name == "quantile",
        MetricType::Histogram => name == "le",
        MetricType::Unknown
        | MetricType::Counter
        | MetricType::Gauge
        | MetricType::GaugeHistogram
        | MetricType::Info
        | MetricType::StateSet => false,
    }
}

/// Which characters a backslash escapes. Before any other it stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// Backslash, `n`, double quote.
    Quoted,
    /// Backslash, `n`.
    TextHelp,
}

/// Appends `text` to `out`, escapes resolved.
pub(crate) fn unescape(text: &str, escapes: Escapes, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (c, length) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            Some(b'"') if escapes == Escapes::Quoted => ('"', 2),
            _ => ('\\', 1),
        };
        out.push(c);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
}

/// Names and values of an accepted text, as they stand; the metric's name comes without a label name.
struct Parts<'a> {
    cursor: Cursor<'a>,
    dialect: Dialect,
    values: QuoteRules,
    bare_name: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of_series(text: &'a [u8], dialect: Dialect) -> Parts<'a> {
        let mut cursor = Cursor { bytes: text, end: text.len(), at: 0, token: 0 };
        if dialect == Dialect::Text {
            cursor.skip_blanks();
        }
        let mut bare_name = None;
        if cursor.take_name() {
            // Blanks before the name are part of it, as in Prometheus.
            bare_name = Some(cursor.slice(0, cursor.at));
        }
        Parts { cursor, dialect, values: QuoteRules { newline: true, zeros: true }, bare_name }
    }

    fn of_exemplar(text: &'a [u8]) -> Parts<'a> {
        let cursor = Cursor { bytes: text, end: text.len(), at: 0, token: 0 };
        let values = QuoteRules { newline: false, zeros: false };
        Parts { cursor, dialect: Dialect::OpenMetrics, values, bare_name: None }
    }

    fn skip_blanks(&mut self) {
        if self.dialect == Dialect::Text {
            self.cursor.skip_blanks();
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = (Option<&'a [u8]>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(name) = self.bare_name.take() {
            return Some((None, name));
        }
        let names = QuoteRules { newline: true, zeros: false };
        loop {
            self.skip_blanks();
            if self.cursor.current() == b'{' {
                self.cursor.step();
                continue;
            }
            let name = match self.cursor.label_token(names) {
                Token::Comma => continue,
                Token::LabelName => self.cursor.text(),
                Token::QuotedString => {
                    let quoted = self.cursor.text();
                    &quoted[1..quoted.len() - 1]
                }
                _ => return None,
            };
            let quoted_end = self.cursor.at;
            self.skip_blanks();
            if self.cursor.current() != b'=' {
                self.cursor.at = quoted_end;
                return Some((None, name));
            }
            self.cursor.step();
            if self.dialect == Dialect::Text {
                self.cursor.skip_blanks_and_zeros();
            }
            self.cursor.token = self.cursor.at;
            if self.cursor.current() != b'"' || !self.cursor.take_quoted(self.values) {
                return None;
            }
            let quoted = self.cursor.text();
            return Some((Some(name), &quoted[1..quoted.len() - 1]));
        }
    }
}

#[cfg(test)]
mod tests;
