//! The two kinds of histograms as one, and their samples as they are written and read.

use std::borrow::Cow;

use model::{CounterResetHint, FloatHistogram, Histogram, Span};

use super::layout::Layout;
use super::spans::bucket_count;
use super::value::{Field, FloatField, IntegerField};
use crate::DecodeError;
use crate::bits::BitReader;
use crate::varbit::{BitWriter, take_int};

/// A kind of histogram: [`Histogram`] or [`FloatHistogram`].
#[expect(private_bounds, private_interfaces, reason = "sealed: which kinds there are is the format's business")]
pub trait ChunkHistogram: Clone + Default + Sized {
    /// How its counts are written.
    type Field: Field;

    /// Of what is said about a counter reset before it.
    fn hint(&self) -> CounterResetHint;
    /// Its buckets.
    fn layout(&self) -> LayoutRef<'_>;
    /// Its counts.
    fn counts(&self) -> Counts<'_, <Self::Field as Field>::Value>;
    /// Puts one together.
    fn from_parts(
        hint: CounterResetHint,
        layout: &Layout,
        counts: Counts<'static, <Self::Field as Field>::Value>,
    ) -> Self;
}

/// A [`Layout`] that lies in a histogram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayoutRef<'a> {
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: &'a [Span],
    pub(crate) negative: &'a [Span],
    pub(crate) custom_values: &'a [f64],
}

impl LayoutRef<'_> {
    /// The layout as a chunk holds it; that of a marker is empty.
    pub(crate) fn to_layout(self) -> Layout {
        Layout {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive: self.positive.to_vec(),
            negative: self.negative.to_vec(),
            custom_values: self.custom_values.to_vec(),
        }
    }
}

/// What changes from sample to sample.
#[derive(Clone, Debug)]
pub(crate) struct Counts<'a, V: Clone> {
    pub(crate) count: V,
    pub(crate) zero_count: V,
    pub(crate) sum: f64,
    pub(crate) positive: Cow<'a, [V]>,
    pub(crate) negative: Cow<'a, [V]>,
}

impl<V: Clone> Counts<'_, V> {
    pub(crate) fn is_stale(&self) -> bool {
        model::is_stale(self.sum)
    }
}

#[expect(private_interfaces, reason = "the trait is sealed")]
impl ChunkHistogram for Histogram {
    type Field = IntegerField;

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn layout(&self) -> LayoutRef<'_> {
        LayoutRef {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive: &self.positive_spans,
            negative: &self.negative_spans,
            custom_values: &self.custom_values,
        }
    }

    fn counts(&self) -> Counts<'_, i64> {
        Counts {
            count: self.count.cast_signed(),
            zero_count: self.zero_count.cast_signed(),
            sum: self.sum,
            positive: Cow::Borrowed(&self.positive_buckets),
            negative: Cow::Borrowed(&self.negative_buckets),
        }
    }

    fn from_parts(hint: CounterResetHint, layout: &Layout, counts: Counts<'static, i64>) -> Histogram {
        Histogram {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: counts.zero_count.cast_unsigned(),
            count: counts.count.cast_unsigned(),
            sum: counts.sum,
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: counts.positive.into_owned(),
            negative_buckets: counts.negative.into_owned(),
            custom_values: layout.custom_values.clone(),
        }
    }
}

#[expect(private_interfaces, reason = "the trait is sealed")]
impl ChunkHistogram for FloatHistogram {
    type Field = FloatField;

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn layout(&self) -> LayoutRef<'_> {
        LayoutRef {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive: &self.positive_spans,
            negative: &self.negative_spans,
            custom_values: &self.custom_values,
        }
    }

    fn counts(&self) -> Counts<'_, f64> {
        Counts {
            count: self.count,
            zero_count: self.zero_count,
            sum: self.sum,
            positive: Cow::Borrowed(&self.positive_buckets),
            negative: Cow::Borrowed(&self.negative_buckets),
        }
    }

    fn from_parts(hint: CounterResetHint, layout: &Layout, counts: Counts<'static, f64>) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: counts.zero_count,
            count: counts.count,
            sum: counts.sum,
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: counts.positive.into_owned(),
            negative_buckets: counts.negative.into_owned(),
            custom_values: layout.custom_values.clone(),
        }
    }
}

/// The absolute counts of buckets that are stored one after the other.
pub(crate) fn absolute<F: Field>(stored: impl Iterator<Item = F::Value>) -> impl Iterator<Item = F::Value> {
    let mut before = F::Value::default();
    stored.map(move |value| {
        before = F::absolute(before, value);
        before
    })
}

/// Undoes [`absolute`].
pub(crate) fn stored<F: Field>(absolute: Vec<F::Value>) -> Vec<F::Value> {
    let mut before = F::Value::default();
    let one = |count| F::stored(std::mem::replace(&mut before, count), count);
    absolute.into_iter().map(one).collect()
}

/// What the next sample of a chunk depends on: the last, and how it differed from the one before.
#[derive(Clone, Debug)]
pub(crate) struct State<F> {
    pub(crate) timestamp_ms: i64,
    delta: i64,
    pub(crate) count: F,
    pub(crate) zero_count: F,
    sum: FloatField,
    /// Positive, then negative.
    buckets: Box<[F]>,
    positive_count: usize,
}

impl<F: Field> State<F> {
    pub(crate) fn sum(&self) -> f64 {
        self.sum.value()
    }

    /// Buckets as stored.
    pub(crate) fn positive(&self) -> impl Iterator<Item = F::Value> {
        self.buckets[..self.positive_count].iter().map(Field::value)
    }

    /// Likewise.
    pub(crate) fn negative(&self) -> impl Iterator<Item = F::Value> {
        self.buckets[self.positive_count..].iter().map(Field::value)
    }

    /// Bytes allocated.
    pub(crate) fn capacity_bytes(&self) -> usize {
        size_of_val::<[F]>(&self.buckets)
    }

    /// Writes the layout and the first sample.
    pub(crate) fn put_first(
        out: &mut BitWriter,
        layout: &Layout,
        timestamp_ms: i64,
        c: &Counts<'_, F::Value>,
    ) -> State<F> {
        layout.put(out);
        out.put_int(timestamp_ms);
        let (count, zero_count) = match c.is_stale() {
            true => (F::Value::default(), F::Value::default()),
            false => (c.count, c.zero_count),
        };
        let count = F::put_first_count(out, count);
        let zero_count = F::put_first_count(out, zero_count);
        let sum = FloatField::put_first_count(out, c.sum);
        let all = c.positive.iter().chain(c.negative.iter());
        let buckets = match c.is_stale() {
            true => Box::default(),
            false => all.map(|value| F::put_first_bucket(out, *value)).collect(),
        };
        State {
            timestamp_ms,
            delta: 0,
            count,
            zero_count,
            sum,
            buckets,
            positive_count: bucket_count(&layout.positive),
        }
    }

    /// Writes any later sample.
    pub(crate) fn put_next(&mut self, out: &mut BitWriter, timestamp_ms: i64, c: &Counts<'_, F::Value>) {
        let delta = timestamp_ms.wrapping_sub(self.timestamp_ms);
        out.put_int(delta.wrapping_sub(self.delta));
        (self.timestamp_ms, self.delta) = (timestamp_ms, delta);
        if c.is_stale() {
            self.count.put_stale(out);
            self.zero_count.put_stale(out);
            self.sum.put_next(out, c.sum);
            return;
        }
        self.count.put_next(out, c.count);
        self.zero_count.put_next(out, c.zero_count);
        self.sum.put_next(out, c.sum);
        let all = c.positive.iter().chain(c.negative.iter());
        self.buckets.iter_mut().zip(all).for_each(|(bucket, value)| bucket.put_next(out, *value));
    }

    /// Reads the first sample.
    pub(crate) fn take_first(bits: &mut BitReader<'_>, layout: &Layout) -> Result<State<F>, DecodeError> {
        let timestamp_ms = take_int(bits);
        let count = F::take_first_count(bits);
        let zero_count = F::take_first_count(bits);
        let sum = FloatField::take_first_count(bits);
        let (positive_count, bucket_count) = (bucket_count(&layout.positive), layout.bucket_count());
        // A wrong number must not cost memory.
        if bucket_count * F::FIRST_BITS_MIN > bits.left_bits() {
            return Err(DecodeError::LayoutCount { count: bucket_count as u64, left_bits: bits.left_bits() });
        }
        let buckets = (0..bucket_count).map(|_| F::take_first_bucket(bits)).collect();
        Ok(State { timestamp_ms, delta: 0, count, zero_count, sum, buckets, positive_count })
    }

    /// Reads any later sample. `None`: a window that does not fit into a value.
    pub(crate) fn take_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.delta = self.delta.wrapping_add(take_int(bits));
        self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta);
        self.count.take_next(bits)?;
        self.zero_count.take_next(bits)?;
        self.sum.take_next(bits)?;
        if model::is_stale(self.sum.value()) {
            return Some(());
        }
        self.buckets.iter_mut().try_for_each(|bucket| bucket.take_next(bits))
    }
}
