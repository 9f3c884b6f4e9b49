//! `io.prometheus.client.Metric` and what it consists of, decoded and lent from the page.

use model::{Exemplar, Labels, Span, TimestampMs};
use protowire::{Content, Fields, Malformed, zigzag};

use super::{ProtobufError, timestamp, to_float};

/// A metric; its vectors are used again for the next. Which of the values counts, the family's type says.
#[derive(Default)]
pub(super) struct Metric<'a> {
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) gauge: f64,
    pub(super) counter: f64,
    pub(super) counter_exemplar: Option<&'a [u8]>,
    pub(super) untyped: f64,
    pub(super) summary_count: u64,
    pub(super) summary_sum: f64,
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) histogram: RawHistogram<'a>,
    timestamp_ms: i64,
}

/// A histogram, classic, native or both.
#[derive(Default)]
pub(super) struct RawHistogram<'a> {
    pub(super) count: u64,
    pub(super) count_float: f64,
    pub(super) sum: f64,
    pub(super) buckets: Vec<Bucket<'a>>,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    pub(super) zero_count_float: f64,
    pub(super) negative_spans: Vec<Span>,
    pub(super) negative_deltas: Vec<i64>,
    pub(super) negative_counts: Vec<f64>,
    pub(super) positive_spans: Vec<Span>,
    pub(super) positive_deltas: Vec<i64>,
    pub(super) positive_counts: Vec<f64>,
    pub(super) exemplars: Vec<&'a [u8]>,
}

/// A classic bucket.
#[derive(Clone, Copy, Default)]
pub(super) struct Bucket<'a> {
    cumulative: u64,
    cumulative_float: f64,
    pub(super) upper: f64,
    pub(super) exemplar: Option<&'a [u8]>,
}

/// Text as a line can hold it in a name: lines in quotes end at zero bytes.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

impl<'a> Metric<'a> {
    pub(super) fn read(&mut self, bytes: &'a [u8]) -> Result<(), ProtobufError> {
        self.clear();
        let mut fields = Fields::new(bytes);
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Bytes(label)) => self.labels.push(read_label(label)?),
                (2, Content::Bytes(gauge)) => read_value(gauge, &mut self.gauge)?,
                (3, Content::Bytes(counter)) => self.read_counter(counter)?,
                (4, Content::Bytes(summary)) => self.read_summary(summary)?,
                (5, Content::Bytes(untyped)) => read_value(untyped, &mut self.untyped)?,
                (6, Content::Varint(n)) => self.timestamp_ms = n.cast_signed(),
                (7, Content::Bytes(histogram)) => self.histogram.read(histogram)?,
                (1..=7, _) => return Err(Malformed::WrongWireType.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        let Metric { labels, quantiles, histogram, .. } = std::mem::take(self);
        *self = Metric { labels, quantiles, histogram: histogram.cleared(), ..Metric::default() };
        self.labels.clear();
        self.quantiles.clear();
    }

    pub(super) fn timestamp(&self) -> Option<TimestampMs> {
        timestamp(self.timestamp_ms)
    }

    fn read_counter(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(bytes);
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Fixed64(bits)) => self.counter = f64::from_bits(bits),
                (2, Content::Bytes(exemplar)) => self.counter_exemplar = Some(exemplar),
                (1 | 2, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_summary(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(bytes);
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Varint(n)) => self.summary_count = n,
                (2, Content::Fixed64(bits)) => self.summary_sum = f64::from_bits(bits),
                (3, Content::Bytes(quantile)) => self.quantiles.push(read_quantile(quantile)?),
                (1..=3, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> RawHistogram<'a> {
    /// Nothing, with the room of what there was.
    fn cleared(self) -> RawHistogram<'a> {
        fn emptied<T>(mut all: Vec<T>) -> Vec<T> {
            all.clear();
            all
        }
        RawHistogram {
            buckets: emptied(self.buckets),
            negative_spans: emptied(self.negative_spans),
            negative_deltas: emptied(self.negative_deltas),
            negative_counts: emptied(self.negative_counts),
            positive_spans: emptied(self.positive_spans),
            positive_deltas: emptied(self.positive_deltas),
            positive_counts: emptied(self.positive_counts),
            exemplars: emptied(self.exemplars),
            ..RawHistogram::default()
        }
    }

    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(bytes);
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Varint(n)) => self.count = n,
                (2, Content::Fixed64(bits)) => self.sum = f64::from_bits(bits),
                (3, Content::Bytes(bucket)) => self.buckets.push(read_bucket(bucket)?),
                (4, Content::Fixed64(bits)) => self.count_float = f64::from_bits(bits),
                (5, Content::Varint(n)) => self.schema = zigzag(n) as i32,
                (6, Content::Fixed64(bits)) => self.zero_threshold = f64::from_bits(bits),
                (7, Content::Varint(n)) => self.zero_count = n,
                (8, Content::Fixed64(bits)) => self.zero_count_float = f64::from_bits(bits),
                (9, Content::Bytes(span)) => self.negative_spans.push(span_of(span)?),
                (10, content) => content.zigzags(|n| self.negative_deltas.push(n))?,
                (11, content) => content.doubles(&mut self.negative_counts)?,
                (12, Content::Bytes(span)) => self.positive_spans.push(span_of(span)?),
                (13, content) => content.zigzags(|n| self.positive_deltas.push(n))?,
                (14, content) => content.doubles(&mut self.positive_counts)?,
                (16, Content::Bytes(exemplar)) => self.exemplars.push(exemplar),
                (1..=9 | 12 | 16, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether there is a native form. One without spans, zero bucket and observations cannot be told from a classic one.
    pub(super) fn is_native(&self) -> bool {
        !self.positive_spans.is_empty()
            || !self.negative_spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    /// Whether its counts are floats.
    pub(super) fn is_float(&self) -> bool {
        self.count_float > 0.0 || self.zero_count_float > 0.0
    }

    /// All observations, as a classic histogram has them.
    pub(super) fn count(&self) -> f64 {
        if self.count_float == 0.0 { to_float(self.count) } else { self.count_float }
    }
}

impl Bucket<'_> {
    /// Observations up to its bound.
    pub(super) fn count(&self) -> f64 {
        if self.cumulative_float == 0.0 { to_float(self.cumulative) } else { self.cumulative_float }
    }
}

fn read_label(bytes: &[u8]) -> Result<(&str, &str), ProtobufError> {
    let (name, value) = protowire::label(bytes)?;
    let in_words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_name = text(name).filter(|name| !name.is_empty());
    let name = is_name.ok_or_else(|| ProtobufError::LabelName(in_words(name)))?;
    Ok((name, std::str::from_utf8(value).map_err(|_| ProtobufError::LabelValue(in_words(value)))?))
}

/// The value of a gauge or of what has no type.
fn read_value(bytes: &[u8], value: &mut f64) -> Result<(), Malformed> {
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Fixed64(bits)) => *value = f64::from_bits(bits),
            (1, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok(())
}

fn read_quantile(bytes: &[u8]) -> Result<(f64, f64), Malformed> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Fixed64(bits)) => quantile = f64::from_bits(bits),
            (2, Content::Fixed64(bits)) => value = f64::from_bits(bits),
            (1 | 2, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok((quantile, value))
}

fn read_bucket(bytes: &[u8]) -> Result<Bucket<'_>, Malformed> {
    let mut bucket = Bucket::default();
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Varint(n)) => bucket.cumulative = n,
            (2, Content::Fixed64(bits)) => bucket.upper = f64::from_bits(bits),
            (3, Content::Bytes(exemplar)) => bucket.exemplar = Some(exemplar),
            (4, Content::Fixed64(bits)) => bucket.cumulative_float = f64::from_bits(bits),
            (1..=4, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok(bucket)
}

fn span_of(bytes: &[u8]) -> Result<Span, Malformed> {
    protowire::span(bytes).map(|(offset, length)| Span { offset, length })
}

/// An exemplar; `None` where its labels cannot be: then it is left out, and the sample stays.
pub(super) fn exemplar(bytes: &[u8]) -> Result<Option<Exemplar>, Malformed> {
    let (mut labels, mut value, mut at) = (Vec::new(), 0.0, None);
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Bytes(label)) => {
                let (name, value) = protowire::label(label)?;
                labels.push(std::str::from_utf8(name).ok().zip(std::str::from_utf8(value).ok()));
            }
            (2, Content::Fixed64(bits)) => value = f64::from_bits(bits),
            (3, Content::Bytes(time)) => at = Some(read_time(time)?),
            (1..=3, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    let labels: Option<Vec<(&str, &str)>> = labels.into_iter().collect();
    let labels = labels.and_then(Labels::from_pairs);
    Ok(labels.map(|labels| Exemplar { labels, value, timestamp: at }))
}

/// `google.protobuf.Timestamp`, in whole milliseconds.
fn read_time(bytes: &[u8]) -> Result<TimestampMs, Malformed> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Varint(n)) => seconds = n.cast_signed(),
            (2, Content::Varint(n)) => nanos = i64::from(n as i32),
            (1 | 2, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok(TimestampMs(seconds.wrapping_mul(1000).wrapping_add(nanos / 1_000_000)))
}
