//! Writes pages. Source of the notation: `text_create.go` and `openmetrics_create.go` of prometheus/common `expfmt`.
//!
//! It writes what it is told, line by line: that the lines of a family stand together, that a histogram has its `+Inf` bucket
//! and that a name is no UTF-8 nonsense is the caller's part.

use model::{MetricType, TimestampMs, is_legacy_label_name, is_legacy_metric_name};

use crate::escape::{Escaping, escape_name};
use crate::negotiate::Page;
use crate::number::{format_float, format_openmetrics_float};

/// What stands above the samples of a family.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    /// Name as the samples of a counter or gauge have it: a counter's with `_total`.
    pub name: &'a str,
    /// Type; those that the text format does not know become the nearest one it does.
    pub metric_type: MetricType,
    /// What it means; may be absent, which is not the same as empty.
    pub help: Option<&'a str>,
    /// Unit; written only in OpenMetrics, and only where the name ends in it.
    pub unit: Option<&'a str>,
}

/// A number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Any.
    Float(f64),
    /// A count of events, which OpenMetrics writes without a point.
    Count(u64),
}

/// An exemplar to write; the text format has none.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarLine<'a> {
    /// Labels; where there are none, nothing is written.
    pub labels: &'a [(&'a str, &'a str)],
    /// The value observed.
    pub value: f64,
    /// When.
    pub timestamp: Option<TimestampMs>,
}

/// Writes one page.
#[derive(Clone, Debug)]
pub struct Encoder {
    page: Page,
    escaping: Escaping,
    pub(crate) out: Vec<u8>,
}

impl Encoder {
    /// An empty page.
    pub fn new(page: Page, escaping: Escaping) -> Encoder {
        Encoder { page, escaping, out: Vec::new() }
    }

    /// Begins a family.
    pub fn family(&mut self, family: &Family<'_>) {
        let name = escape_name(family.name, self.escaping);
        let base = match (self.is_openmetrics(), family.metric_type) {
            (true, MetricType::Counter) => name.strip_suffix("_total").unwrap_or(&name),
            _ => &name,
        };
        if let Some(help) = family.help {
            self.out.extend_from_slice(b"# HELP ");
            self.put_name(base);
            self.out.push(b' ');
            let quotes = self.is_openmetrics();
            self.put_escaped(help, quotes);
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(b"# TYPE ");
        self.put_name(base);
        self.out.push(b' ');
        let word = self.type_word(family.metric_type, base.len() < name.len());
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'\n');
        if let Some(unit) = family.unit.filter(|unit| self.is_openmetrics() && is_unit_of(unit, base)) {
            self.out.extend_from_slice(b"# UNIT ");
            self.put_name(base);
            self.out.push(b' ');
            self.out.extend_from_slice(unit.as_bytes());
            self.out.push(b'\n');
        }
    }

    /// A line. `labels` without the name, in the order in which they are to stand; a `le` or `quantile` as
    /// [`Encoder::float_label`] writes it.
    pub fn sample<'l>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: Value,
        timestamp: Option<TimestampMs>,
        exemplar: Option<&ExemplarLine<'_>>,
    ) {
        self.put_series(name, labels);
        self.out.push(b' ');
        match value {
            Value::Float(value) => self.put_float(value),
            #[expect(clippy::cast_precision_loss, reason = "the text format writes counts as floats")]
            Value::Count(count) if !self.is_openmetrics() => self.put_float(count as f64),
            Value::Count(count) => self.out.extend_from_slice(count.to_string().as_bytes()),
        }
        if let Some(at) = timestamp {
            self.out.push(b' ');
            self.put_timestamp(at);
        }
        if let Some(exemplar) = exemplar.filter(|e| self.is_openmetrics() && !e.labels.is_empty()) {
            self.put_exemplar(exemplar);
        }
        self.out.push(b'\n');
    }

    /// A float as the value of `le` or `quantile`.
    pub fn float_label(&self, value: f64) -> String {
        let mut out = Vec::new();
        put_float(&mut out, self.page, value);
        String::from_utf8(out).expect("floats are written in ASCII")
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The page, with `# EOF` where the format has it.
    pub fn finish(mut self) -> Vec<u8> {
        if self.is_openmetrics() {
            self.out.extend_from_slice(b"# EOF\n");
        }
        self.out
    }

    fn is_openmetrics(&self) -> bool {
        match self.page {
            Page::Text => false,
            Page::OpenMetrics0_0_1 | Page::OpenMetrics1_0_0 => true,
        }
    }

    fn type_word(&self, metric_type: MetricType, has_total: bool) -> &'static str {
        if self.is_openmetrics() {
            return match metric_type {
                // OpenMetrics knows no counter without `_total`.
                MetricType::Counter if !has_total => "unknown",
                other => other.as_str(),
            };
        }
        match metric_type {
            MetricType::Unknown => "untyped",
            MetricType::Info | MetricType::StateSet => "gauge",
            MetricType::GaugeHistogram => "histogram",
            MetricType::Counter | MetricType::Gauge | MetricType::Histogram | MetricType::Summary => {
                metric_type.as_str()
            }
        }
    }

    pub(crate) fn put_series<'l>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) {
        let name = escape_name(name, self.escaping);
        let bare = is_legacy_metric_name(&name);
        let mut separator = b'{';
        if !bare {
            self.out.push(separator);
            separator = b',';
        }
        self.put_name(&name);
        let open = self.put_labels(labels, separator);
        if !bare || open {
            self.out.push(b'}');
        }
    }

    /// Returns whether there were any.
    fn put_labels<'l>(&mut self, labels: impl IntoIterator<Item = (&'l str, &'l str)>, mut separator: u8) -> bool {
        let before = self.out.len();
        for (name, value) in labels {
            self.out.push(separator);
            separator = b',';
            let name = escape_name(name, self.escaping);
            self.put_name_if(is_legacy_label_name(&name), &name);
            self.out.extend_from_slice(b"=\"");
            self.put_escaped(value, true);
            self.out.push(b'"');
        }
        self.out.len() > before
    }

    /// The name of a metric or family.
    pub(crate) fn put_name(&mut self, name: &str) {
        self.put_name_if(is_legacy_metric_name(name), name);
    }

    /// A name, in quotes where it is not plain. (A label name with a colon is not; expfmt writes it bare, and no reader takes it.)
    fn put_name_if(&mut self, plain: bool, name: &str) {
        if plain {
            return self.out.extend_from_slice(name.as_bytes());
        }
        self.out.push(b'"');
        self.put_escaped(name, true);
        self.out.push(b'"');
    }

    pub(crate) fn put_escaped(&mut self, text: &str, quotes: bool) {
        for b in text.bytes() {
            match b {
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'"' if quotes => self.out.extend_from_slice(b"\\\""),
                b => self.out.push(b),
            }
        }
    }

    fn put_float(&mut self, value: f64) {
        put_float(&mut self.out, self.page, value);
    }

    /// Milliseconds in the text format, seconds in OpenMetrics.
    pub(crate) fn put_timestamp(&mut self, at: TimestampMs) {
        if !self.is_openmetrics() {
            return self.out.extend_from_slice(at.0.to_string().as_bytes());
        }
        #[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years, and expfmt does the same")]
        self.put_float(at.0 as f64 / 1000.0);
    }

    fn put_exemplar(&mut self, exemplar: &ExemplarLine<'_>) {
        self.out.extend_from_slice(b" # ");
        self.put_labels(exemplar.labels.iter().copied(), b'{');
        self.out.extend_from_slice(b"} ");
        self.put_float(exemplar.value);
        if let Some(at) = exemplar.timestamp {
            self.out.push(b' ');
            self.put_timestamp(at);
        }
    }
}

fn put_float(out: &mut Vec<u8>, page: Page, value: f64) {
    match page {
        Page::Text => format_float(out, value),
        Page::OpenMetrics0_0_1 | Page::OpenMetrics1_0_0 => format_openmetrics_float(out, value),
    }
}

/// Whether a reader takes `unit` as the unit of the family `name`.
fn is_unit_of(unit: &str, name: &str) -> bool {
    !unit.is_empty() && !unit.contains('\n') && name.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_'))
}

#[cfg(test)]
mod tests;
