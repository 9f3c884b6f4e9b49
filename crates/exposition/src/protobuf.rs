//! Pages of messages: `io.prometheus.client.MetricFamily`, each with its length before it. Source: `metrics.proto` of
//! prometheus/client_model, `protobufparse.go` of Prometheus 3.14.
//!
//! A page becomes lines: see [`Lines`]. Start timestamps are read over, as `_created` lines mean nothing here either.

mod message;

use model::{CounterResetHint, FloatHistogram, Histogram, MetricType, SampleValue, TimestampMs};
use protowire::{Content, Fields, Malformed, delimited};

use crate::custom_buckets::{ClassicHistogram, CustomBucketsError};
use crate::format::Format;
use crate::lines::{HistogramChoice, LINES_BYTES_MAX, Lines, LinesError, LinesWriter};
use crate::number::format_openmetrics_float;
use crate::quote::Quoted;
use message::{Metric, RawHistogram};

/// Why a page of messages is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It is no protobuf.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A family without a name, or with one that is not UTF-8, or that has a zero byte, which Prometheus takes.
    #[error("invalid metric name: {0}")]
    Name(String),
    /// A help text that is not UTF-8.
    #[error("invalid help for metric {}", Quoted(.0.as_bytes()))]
    Help(String),
    /// A type that there is not.
    #[error("unknown metric type for metric {}: {kind}", Quoted(.name.as_bytes()))]
    Type {
        /// The family.
        name: String,
        /// What its type is.
        kind: u64,
    },
    /// A label without a name, or with one that is not UTF-8, or that has a zero byte.
    #[error("invalid label name: {0}")]
    LabelName(String),
    /// A label value that is not UTF-8.
    #[error("invalid label value: {0}")]
    LabelValue(String),
    /// There are not as many buckets as the spans of a native histogram say.
    #[error("histogram {}: {side} side: spans require {needed} buckets, have {buckets}", Quoted(.name.as_bytes()))]
    Spans {
        /// The family.
        name: String,
        /// `positive` or `negative`.
        side: &'static str,
        /// Buckets that the spans name.
        needed: u64,
        /// Buckets there are.
        buckets: usize,
    },
    /// A classic histogram that cannot be converted.
    #[error(transparent)]
    CustomBuckets(#[from] CustomBucketsError),
}

impl From<Malformed> for LinesError {
    fn from(e: Malformed) -> LinesError {
        ProtobufError::from(e).into()
    }
}

/// Writes a page as lines.
pub fn lines(page: &[u8], choice: HistogramChoice) -> Lines {
    lines_within(page, choice, LINES_BYTES_MAX)
}

fn lines_within(page: &[u8], choice: HistogramChoice, bytes_max: usize) -> Lines {
    let mut out = LinesWriter::new(Format::Protobuf, bytes_max);
    let mut scratch = Scratch::default();
    let outcome = families(page, choice, &mut scratch, &mut out);
    out.finish(outcome)
}

/// Used again from metric to metric.
#[derive(Default)]
struct Scratch<'a> {
    metric: Metric<'a>,
    classic: ClassicHistogram,
    name: String,
    bound: Vec<u8>,
}

fn families<'a>(
    mut page: &'a [u8],
    choice: HistogramChoice,
    scratch: &mut Scratch<'a>,
    out: &mut LinesWriter,
) -> Result<(), LinesError> {
    while !page.is_empty() {
        let (message, rest) = delimited(page)?;
        page = rest;
        family(message, choice, scratch, out)?;
    }
    Ok(())
}

/// What a family says of itself.
#[derive(Clone, Copy)]
struct Head<'a> {
    name: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    fn of(number: u64) -> Option<Kind> {
        use Kind::{Counter, Gauge, GaugeHistogram, Histogram, Summary, Untyped};
        [Counter, Gauge, Summary, Untyped, Histogram, GaugeHistogram].get(usize::try_from(number).ok()?).copied()
    }

    fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Summary => MetricType::Summary,
            Kind::Untyped => MetricType::Unknown,
            Kind::Histogram => MetricType::Histogram,
            Kind::GaugeHistogram => MetricType::GaugeHistogram,
        }
    }
}

fn family<'a>(
    message: &'a [u8],
    choice: HistogramChoice,
    scratch: &mut Scratch<'a>,
    out: &mut LinesWriter,
) -> Result<(), LinesError> {
    let (mut name, mut help, mut kind, mut unit): (&[u8], &[u8], u64, &[u8]) = (b"", b"", 0, b"");
    let mut is_empty = true;
    let mut fields = Fields::new(message);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Bytes(b)) => name = b,
            (2, Content::Bytes(b)) => help = b,
            (3, Content::Varint(n)) => kind = n,
            (4, Content::Bytes(_)) => is_empty = false,
            (5, Content::Bytes(b)) => unit = b,
            (1..=5, _) => return Err(Malformed::WrongWireType.into()),
            _ => {}
        }
    }
    if is_empty {
        return Ok(());
    }
    let in_words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = message::text(name).filter(|n| !n.is_empty()).ok_or_else(|| ProtobufError::Name(in_words(name)))?;
    let help = std::str::from_utf8(help).map_err(|_| ProtobufError::Help(name.to_owned()))?;
    let kind = Kind::of(kind).ok_or_else(|| ProtobufError::Type { name: name.to_owned(), kind })?;
    out.family(name, kind.metric_type(), help, std::str::from_utf8(unit).unwrap_or_default())?;
    let mut fields = Fields::new(message);
    while let Some((number, content)) = fields.next()? {
        if let (4, Content::Bytes(bytes)) = (number, content) {
            scratch.metric.read(bytes)?;
            metric(Head { name, kind }, choice, scratch, out)?;
        }
    }
    Ok(())
}

fn metric(
    head: Head<'_>,
    choice: HistogramChoice,
    scratch: &mut Scratch<'_>,
    out: &mut LinesWriter,
) -> Result<(), LinesError> {
    let metric = &scratch.metric;
    let labels = || metric.labels.iter().copied();
    match head.kind {
        Kind::Gauge => out.sample(head.name, labels(), metric.gauge, metric.timestamp()),
        Kind::Untyped => out.sample(head.name, labels(), metric.untyped, metric.timestamp()),
        Kind::Counter => {
            out.sample(head.name, labels(), metric.counter, metric.timestamp())?;
            exemplars(metric.counter_exemplar, Undated::Keep, out)
        }
        Kind::Summary => summary(head.name, scratch, out),
        Kind::Histogram | Kind::GaugeHistogram => histogram(head, choice, scratch, out),
    }
}

/// What becomes of exemplars without a time of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undated {
    /// They have that of the sample.
    Keep,
    /// Native histograms leave them out: nothing tells them from those of the scrape before.
    Drop,
}

fn exemplars<'a>(
    messages: impl IntoIterator<Item = &'a [u8]>,
    undated: Undated,
    out: &mut LinesWriter,
) -> Result<(), LinesError> {
    for message in messages {
        let exemplar = message::exemplar(message)?;
        let is_kept = |e: &model::Exemplar| e.timestamp.is_some() || undated == Undated::Keep;
        if let Some(exemplar) = exemplar.filter(is_kept) {
            out.exemplar(exemplar);
        }
    }
    Ok(())
}

fn summary(base: &str, scratch: &mut Scratch<'_>, out: &mut LinesWriter) -> Result<(), LinesError> {
    let Scratch { metric, name, bound, .. } = scratch;
    let (labels, at) = (|| metric.labels.iter().copied(), metric.timestamp());
    out.sample(suffixed(name, base, "_count"), labels(), to_float(metric.summary_count), at)?;
    out.sample(suffixed(name, base, "_sum"), labels(), metric.summary_sum, at)?;
    for (quantile, value) in &metric.quantiles {
        let quantile = ("quantile", openmetrics_float(bound, *quantile));
        out.sample(base, labels().chain([quantile]), *value, at)?;
    }
    Ok(())
}

fn histogram(
    head: Head<'_>,
    choice: HistogramChoice,
    scratch: &mut Scratch<'_>,
    out: &mut LinesWriter,
) -> Result<(), LinesError> {
    let is_native = choice.native && scratch.metric.histogram.is_native();
    let has_classic = !scratch.metric.histogram.buckets.is_empty();
    let converts = choice.to_custom_buckets && !is_native;
    if is_native {
        let value = native(head, &scratch.metric.histogram)?;
        histogram_line(head, value, scratch, out)?;
    }
    // A native one has a classic form only where it has its buckets; what is to be converted has it where it is wanted besides.
    let classic_too = if is_native { choice.classic_too && has_classic } else { choice.classic_too || !converts };
    if classic_too {
        classic(head, scratch, out)?;
    }
    if converts {
        let value = converted(head, scratch)?;
        histogram_line(head, value, scratch, out)?;
    }
    Ok(())
}

fn histogram_line(
    head: Head<'_>,
    value: SampleValue,
    scratch: &Scratch<'_>,
    out: &mut LinesWriter,
) -> Result<(), LinesError> {
    let metric = &scratch.metric;
    out.histogram(head.name, metric.labels.iter().copied(), value, metric.timestamp())?;
    let histogram = &metric.histogram;
    if histogram.exemplars.is_empty() {
        return exemplars(histogram.buckets.iter().filter_map(|b| b.exemplar), Undated::Drop, out);
    }
    exemplars(histogram.exemplars.iter().copied(), Undated::Drop, out)
}

/// Count, sum, buckets, and a last bucket where none is written.
fn classic(head: Head<'_>, scratch: &mut Scratch<'_>, out: &mut LinesWriter) -> Result<(), LinesError> {
    let Scratch { metric, name, bound, .. } = scratch;
    let (labels, at, histogram) = (|| metric.labels.iter().copied(), metric.timestamp(), &metric.histogram);
    out.sample(suffixed(name, head.name, "_count"), labels(), histogram.count(), at)?;
    out.sample(suffixed(name, head.name, "_sum"), labels(), histogram.sum, at)?;
    let name = suffixed(name, head.name, "_bucket");
    for bucket in &histogram.buckets {
        let le = ("le", openmetrics_float(bound, bucket.upper));
        out.sample(name, labels().chain([le]), bucket.count(), at)?;
        exemplars(bucket.exemplar, Undated::Keep, out)?;
        if bucket.upper == f64::INFINITY {
            return Ok(());
        }
    }
    out.sample(name, labels().chain([("le", "+Inf")]), histogram.count(), at)
}

fn converted(head: Head<'_>, scratch: &mut Scratch<'_>) -> Result<SampleValue, ProtobufError> {
    let Scratch { metric, classic, .. } = scratch;
    let histogram = &metric.histogram;
    classic.clear();
    classic.count = Some(histogram.count());
    classic.sum = histogram.sum;
    for bucket in &histogram.buckets {
        classic.bucket(bucket.upper, bucket.count());
    }
    let mut value = classic.convert()?;
    if head.kind == Kind::GaugeHistogram {
        match &mut value {
            SampleValue::Histogram(h) => h.counter_reset_hint = CounterResetHint::Gauge,
            SampleValue::FloatHistogram(h) => h.counter_reset_hint = CounterResetHint::Gauge,
            SampleValue::Float(_) => {}
        }
    }
    Ok(value)
}

/// The native histogram of a message that has one.
fn native(head: Head<'_>, raw: &RawHistogram<'_>) -> Result<SampleValue, ProtobufError> {
    let is_float = raw.is_float();
    let buckets = |deltas: &Vec<i64>, counts: &Vec<f64>| if is_float { counts.len() } else { deltas.len() };
    for (side, spans, buckets) in [
        ("positive", &raw.positive_spans, buckets(&raw.positive_deltas, &raw.positive_counts)),
        ("negative", &raw.negative_spans, buckets(&raw.negative_deltas, &raw.negative_counts)),
    ] {
        let needed = spans.iter().map(|span| u64::from(span.length)).sum();
        if needed != buckets as u64 {
            return Err(ProtobufError::Spans { name: head.name.to_owned(), side, needed, buckets });
        }
    }
    let is_gauge = head.kind == Kind::GaugeHistogram;
    let counter_reset_hint = if is_gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
    Ok(if is_float {
        let mut h = FloatHistogram {
            counter_reset_hint,
            schema: raw.schema,
            zero_threshold: raw.zero_threshold,
            zero_count: raw.zero_count_float,
            count: raw.count_float,
            sum: raw.sum,
            positive_spans: raw.positive_spans.clone(),
            negative_spans: raw.negative_spans.clone(),
            positive_buckets: raw.positive_counts.clone(),
            negative_buckets: raw.negative_counts.clone(),
            custom_values: Vec::new(),
        };
        h.compact(0);
        SampleValue::FloatHistogram(Box::new(h))
    } else {
        let mut h = Histogram {
            counter_reset_hint,
            schema: raw.schema,
            zero_threshold: raw.zero_threshold,
            zero_count: raw.zero_count,
            count: raw.count,
            sum: raw.sum,
            positive_spans: raw.positive_spans.clone(),
            negative_spans: raw.negative_spans.clone(),
            positive_buckets: raw.positive_deltas.clone(),
            negative_buckets: raw.negative_deltas.clone(),
            custom_values: Vec::new(),
        };
        h.compact(0);
        SampleValue::Histogram(Box::new(h))
    })
}

fn suffixed<'s>(scratch: &'s mut String, base: &str, suffix: &str) -> &'s str {
    scratch.clear();
    scratch.push_str(base);
    scratch.push_str(suffix);
    scratch
}

fn openmetrics_float(scratch: &mut Vec<u8>, value: f64) -> &str {
    scratch.clear();
    format_openmetrics_float(scratch, value);
    std::str::from_utf8(scratch).expect("floats are written in ASCII")
}

#[expect(clippy::cast_precision_loss, reason = "as in Prometheus")]
fn to_float(count: u64) -> f64 {
    count as f64
}

/// Milliseconds where there are any: a message cannot tell zero from nothing.
fn timestamp(ms: i64) -> Option<TimestampMs> {
    (ms != 0).then_some(TimestampMs(ms))
}

#[cfg(test)]
mod tests;
