//! `Histogram` of remote write 1.0, and of 2.0, where it has the same fields and one more: a start timestamp, which is not kept.
//! Source: `prompb/types.proto`, `prompb/codec.go`, `prompb/io/prometheus/write/v2/types.proto`.

use model::{CounterResetHint, FloatHistogram, Histogram, SampleValue, Span};

use protowire::{Content, Fields, Malformed, zigzag};

/// What the message says; which of the counts hold, the last of the two counts of all observations decides.
#[derive(Default)]
struct Message {
    is_float: bool,
    integer: Histogram,
    float: FloatHistogram,
    timestamp_ms: i64,
}

/// Reads the time and the histogram.
pub(crate) fn read(bytes: &[u8]) -> Result<(i64, SampleValue), Malformed> {
    let mut m = Message::default();
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        m.take(number, content)?;
    }
    let Message { is_float, mut integer, mut float, timestamp_ms } = m;
    if is_float {
        float.counter_reset_hint = integer.counter_reset_hint;
        (float.schema, float.zero_threshold, float.sum) = (integer.schema, integer.zero_threshold, integer.sum);
        float.positive_spans = std::mem::take(&mut integer.positive_spans);
        float.negative_spans = std::mem::take(&mut integer.negative_spans);
        float.custom_values = std::mem::take(&mut integer.custom_values);
        return Ok((timestamp_ms, SampleValue::FloatHistogram(Box::new(float))));
    }
    Ok((timestamp_ms, SampleValue::Histogram(Box::new(integer))))
}

impl Message {
    fn take(&mut self, number: u64, content: Content<'_>) -> Result<(), Malformed> {
        match (number, content) {
            (1, Content::Varint(n)) => (self.integer.count, self.is_float) = (n, false),
            (2, Content::Fixed64(bits)) => (self.float.count, self.is_float) = (f64::from_bits(bits), true),
            (3, Content::Fixed64(bits)) => self.integer.sum = f64::from_bits(bits),
            (4, Content::Varint(n)) => self.integer.schema = zigzag(n) as i32,
            (5, Content::Fixed64(bits)) => self.integer.zero_threshold = f64::from_bits(bits),
            (6, Content::Varint(n)) => self.integer.zero_count = n,
            (7, Content::Fixed64(bits)) => self.float.zero_count = f64::from_bits(bits),
            (8, Content::Bytes(span)) => self.integer.negative_spans.push(read_span(span)?),
            (9, content) => content.zigzags(|n| self.integer.negative_buckets.push(n))?,
            (10, content) => content.doubles(&mut self.float.negative_buckets)?,
            (11, Content::Bytes(span)) => self.integer.positive_spans.push(read_span(span)?),
            (12, content) => content.zigzags(|n| self.integer.positive_buckets.push(n))?,
            (13, content) => content.doubles(&mut self.float.positive_buckets)?,
            (14, Content::Varint(n)) => self.integer.counter_reset_hint = hint(n),
            (15, Content::Varint(n)) => self.timestamp_ms = n.cast_signed(),
            (16, content) => content.doubles(&mut self.integer.custom_values)?,
            (1..=16, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
        Ok(())
    }
}

fn hint(n: u64) -> CounterResetHint {
    match n {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}

fn read_span(bytes: &[u8]) -> Result<Span, Malformed> {
    protowire::span(bytes).map(|(offset, length)| Span { offset, length })
}
