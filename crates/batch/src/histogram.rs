//! The columns of native histograms.

use model::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, SCHEMA_MAX, SampleValue, SeriesId, Span,
    check_layout,
};

use crate::parse::Cursor;
use crate::varint::{put_uvarint, put_varint, take_uvarint, take_varint};

/// Longest histogram, encoded: what [`histogram_bytes_max`] says of it must not be more.
pub const HISTOGRAM_BYTES_MAX: usize = 256 << 10;

const HINTS: [CounterResetHint; 4] =
    [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge];

/// One histogram of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramEntry {
    /// The series.
    pub id: SeriesId,
    /// When, in ms.
    pub timestamp: i64,
    /// A histogram of either kind.
    pub value: SampleValue,
}

/// Most bytes that a histogram takes in a batch; 0 for a float.
pub fn histogram_bytes_max(value: &SampleValue) -> usize {
    let (spans, buckets, bounds) = match value {
        SampleValue::Float(_) => return 0,
        SampleValue::Histogram(h) => (
            h.positive_spans.len() + h.negative_spans.len(),
            h.positive_buckets.len() + h.negative_buckets.len(),
            h.custom_values.len(),
        ),
        SampleValue::FloatHistogram(h) => (
            h.positive_spans.len() + h.negative_spans.len(),
            h.positive_buckets.len() + h.negative_buckets.len(),
            h.custom_values.len(),
        ),
    };
    // Id, time, hint, schema, four numbers and three counts; then offset and length, a number, a bound.
    16 + 8 + 1 + 5 + 4 * 10 + 3 * 5 + spans * 10 + buckets * 10 + bounds * 8
}

/// Writes an entry of either column; a float is not written.
pub(crate) fn put(out: &mut Vec<u8>, id: SeriesId, timestamp: i64, value: &SampleValue) {
    let mut begin = |hint: CounterResetHint, schema: i32, zero_threshold: f64| {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&timestamp.to_le_bytes());
        out.push(hint as u8);
        put_varint(out, i64::from(schema));
        put_float(out, zero_threshold);
    };
    match value {
        SampleValue::Float(_) => {}
        SampleValue::Histogram(h) => {
            begin(h.counter_reset_hint, h.schema, h.zero_threshold);
            put_uvarint(out, h.zero_count);
            put_uvarint(out, h.count);
            put_float(out, h.sum);
            put_spans(out, &h.positive_spans);
            put_spans(out, &h.negative_spans);
            let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
            buckets.for_each(|bucket| put_varint(out, *bucket));
            put_bounds(out, &h.custom_values);
        }
        SampleValue::FloatHistogram(h) => {
            begin(h.counter_reset_hint, h.schema, h.zero_threshold);
            put_float(out, h.zero_count);
            put_float(out, h.count);
            put_float(out, h.sum);
            put_spans(out, &h.positive_spans);
            put_spans(out, &h.negative_spans);
            let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
            buckets.for_each(|bucket| put_float(out, *bucket));
            put_bounds(out, &h.custom_values);
        }
    }
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_uvarint(out, spans.len() as u64);
    for span in spans {
        put_varint(out, i64::from(span.offset));
        put_uvarint(out, u64::from(span.length));
    }
}

fn put_bounds(out: &mut Vec<u8>, bounds: &[f64]) {
    put_uvarint(out, bounds.len() as u64);
    bounds.iter().for_each(|bound| put_float(out, *bound));
}

/// The histograms of a section, all of one kind.
#[derive(Clone, Debug)]
pub struct HistogramIter<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_float: bool,
}

impl HistogramIter<'_> {
    /// Reads one entry; `None` where the bytes are none, or its buckets cannot be.
    pub(crate) fn take_entry(&mut self) -> Option<HistogramEntry> {
        let mut c = Cursor(self.bytes);
        let (id, timestamp) = (c.id()?, i64::from_le_bytes(c.array()?));
        let hint = *HINTS.get(usize::from(c.u8()?))?;
        let schema = i32::try_from(take_varint(&mut c.0)?).ok()?;
        let zero_threshold = float(&mut c)?;
        let value = if self.is_float {
            let (zero_count, count, sum) = (float(&mut c)?, float(&mut c)?, float(&mut c)?);
            let (positive_spans, negative_spans) = (spans(&mut c)?, spans(&mut c)?);
            let positive_buckets = list(&mut c, bucket_count(&positive_spans)?, 8, float)?;
            let negative_buckets = list(&mut c, bucket_count(&negative_spans)?, 8, float)?;
            SampleValue::FloatHistogram(Box::new(FloatHistogram {
                counter_reset_hint: hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive_spans,
                negative_spans,
                positive_buckets,
                negative_buckets,
                custom_values: bounds(&mut c)?,
            }))
        } else {
            let (zero_count, count) = (take_uvarint(&mut c.0)?, take_uvarint(&mut c.0)?);
            let sum = float(&mut c)?;
            let (positive_spans, negative_spans) = (spans(&mut c)?, spans(&mut c)?);
            let delta = |c: &mut Cursor<'_>| take_varint(&mut c.0);
            let positive_buckets = list(&mut c, bucket_count(&positive_spans)?, 1, delta)?;
            let negative_buckets = list(&mut c, bucket_count(&negative_spans)?, 1, delta)?;
            SampleValue::Histogram(Box::new(Histogram {
                counter_reset_hint: hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive_spans,
                negative_spans,
                positive_buckets,
                negative_buckets,
                custom_values: bounds(&mut c)?,
            }))
        };
        self.bytes = c.0;
        is_possible(&value).then_some(HistogramEntry { id, timestamp, value })
    }
}

/// Whether a chunk can hold it. That counts belong together was the writer's to check.
fn is_possible(value: &SampleValue) -> bool {
    let (schema, positive, negative, bounds) = match value {
        SampleValue::Float(_) => return false,
        SampleValue::Histogram(h) => (h.schema, &h.positive_spans, &h.negative_spans, &h.custom_values),
        SampleValue::FloatHistogram(h) => (h.schema, &h.positive_spans, &h.negative_spans, &h.custom_values),
    };
    let bounds_belong = schema == CUSTOM_BUCKETS_SCHEMA || bounds.is_empty();
    schema <= SCHEMA_MAX && bounds_belong && check_layout(schema, positive, negative, bounds).is_ok()
}

impl Iterator for HistogramIter<'_> {
    type Item = HistogramEntry;

    fn next(&mut self) -> Option<HistogramEntry> {
        if self.bytes.is_empty() { None } else { self.take_entry() }
    }
}

fn float(c: &mut Cursor<'_>) -> Option<f64> {
    c.u64().map(f64::from_bits)
}

/// Reads `count` things of so many bytes each at least: a wrong count must not cost memory.
fn list<T>(
    c: &mut Cursor<'_>,
    count: usize,
    bytes_each: usize,
    one: impl Fn(&mut Cursor<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    if count.checked_mul(bytes_each)? > c.0.len() {
        return None;
    }
    (0..count).map(|_| one(c)).collect()
}

fn spans(c: &mut Cursor<'_>) -> Option<Vec<Span>> {
    let count = usize::try_from(take_uvarint(&mut c.0)?).ok()?;
    list(c, count, 2, |c| {
        let offset = i32::try_from(take_varint(&mut c.0)?).ok()?;
        let length = u32::try_from(take_uvarint(&mut c.0)?).ok()?;
        Some(Span { offset, length })
    })
}

fn bounds(c: &mut Cursor<'_>) -> Option<Vec<f64>> {
    let count = usize::try_from(take_uvarint(&mut c.0)?).ok()?;
    list(c, count, 8, float)
}

fn bucket_count(spans: &[Span]) -> Option<usize> {
    usize::try_from(spans.iter().map(|s| u64::from(s.length)).sum::<u64>()).ok()
}
