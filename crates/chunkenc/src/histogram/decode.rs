//! Reading a chunk.

use std::borrow::Cow;

use model::{CounterResetHint, FloatHistogram, Histogram, SCHEMA_MAX, reduce_resolution};

use super::layout::Layout;
use super::sample::{ChunkHistogram, Counts, State, absolute};
use super::value::{Field, FloatField, IntegerField};
use super::{CounterReset, HEADER_BYTES};
use crate::DecodeError;
use crate::bits::BitReader;

/// A chunk being read, sample after sample.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a, F: Field> {
    bytes: &'a [u8],
    bits: BitReader<'a>,
    sample_count: u16,
    read_count: u16,
    counter_reset: CounterReset,
    read: Option<(Layout, State<F>)>,
    failed: Option<DecodeError>,
}

impl<'a, F: Field> Reader<'a, F> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a, F> {
        let no_header = (bytes.len() < HEADER_BYTES).then_some(DecodeError::NoHeader { bytes: bytes.len() });
        Reader {
            bytes,
            bits: BitReader::new(bytes, HEADER_BYTES),
            sample_count: bytes.first_chunk().map_or(0, |count| u16::from_be_bytes(*count)),
            read_count: 0,
            counter_reset: CounterReset::of_chunk(bytes),
            read: None,
            failed: no_header,
        }
    }

    /// Reads the next sample; `false` after the last. After an error it fails again.
    pub(super) fn advance(&mut self) -> Result<bool, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.read_count == self.sample_count {
            return Ok(false);
        }
        if let Err(error) = self.read_one() {
            self.failed = Some(error);
            return Err(error);
        }
        self.read_count += 1;
        Ok(true)
    }

    fn read_one(&mut self) -> Result<(), DecodeError> {
        let (sample, sample_count) = (self.read_count, self.sample_count);
        // The reader of bits needs as many; a sample takes more.
        if self.bytes.len() < 8 {
            return Err(DecodeError::Truncated { sample, sample_count });
        }
        match &mut self.read {
            None => {
                let layout = Layout::take(&mut self.bits)?;
                let state = State::take_first(&mut self.bits, &layout)?;
                self.read = Some((layout, state));
            }
            Some((_, state)) => {
                let fits = state.take_next(&mut self.bits).is_some();
                if !fits && !self.bits.overrun() {
                    return Err(DecodeError::HistogramWindow { sample, sample_count });
                }
            }
        }
        if self.bits.overrun() { Err(DecodeError::Truncated { sample, sample_count }) } else { Ok(()) }
    }

    /// The time and counts of the sample read last. A marker has nothing but its sum.
    pub(super) fn counts(&self) -> Option<(i64, Counts<'static, F::Value>)> {
        let (_, state) = self.read.as_ref()?;
        let zero = F::Value::default();
        let stale = model::is_stale(state.sum());
        let counts = Counts {
            count: if stale { zero } else { state.count.value() },
            zero_count: if stale { zero } else { state.zero_count.value() },
            sum: state.sum(),
            positive: if stale { Cow::Borrowed(&[][..]) } else { Cow::Owned(state.positive().collect()) },
            negative: if stale { Cow::Borrowed(&[][..]) } else { Cow::Owned(state.negative().collect()) },
        };
        Some((state.timestamp_ms, counts))
    }

    /// Bits read.
    pub(super) fn position_bits(&self) -> usize {
        self.bits.position_bits()
    }

    pub(super) fn into_parts(self) -> Option<(Layout, State<F>)> {
        self.read
    }

    /// Only the first sample of a chunk can come after a reset; and the chunk before may be gone, so nothing is known of it.
    fn hint(&self) -> CounterResetHint {
        match self.counter_reset {
            CounterReset::Gauge => CounterResetHint::Gauge,
            _ if self.read_count > 1 => CounterResetHint::NotReset,
            CounterReset::Unknown | CounterReset::NotReset | CounterReset::Reset => CounterResetHint::Unknown,
        }
    }

    fn next_histogram<H: ChunkHistogram<Field = F>>(&mut self) -> Option<Result<(i64, H), DecodeError>> {
        match self.advance() {
            Err(error) => return Some(Err(error)),
            Ok(false) => return None,
            Ok(true) => {}
        }
        let (timestamp_ms, counts) = self.counts()?;
        let (layout, _) = self.read.as_ref()?;
        Some(Ok((
            timestamp_ms,
            match counts.is_stale() {
                true => H::from_parts(CounterResetHint::Unknown, &Layout::default(), counts),
                false => H::from_parts(self.hint(), layout, counts),
            },
        )))
    }
}

/// The histograms of a chunk of either encoding, with float counts. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct HistogramSamples<'a> {
    reader: Either<'a>,
    ended: bool,
}

#[derive(Clone, Debug)]
enum Either<'a> {
    Integer(Reader<'a, IntegerField>),
    Float(Reader<'a, FloatField>),
}

impl<'a> HistogramSamples<'a> {
    /// Reads a chunk of float histograms (encoding 3) or integer ones (encoding 2).
    pub fn new(is_float: bool, bytes: &'a [u8]) -> HistogramSamples<'a> {
        let reader = match is_float {
            true => Either::Float(Reader::new(bytes)),
            false => Either::Integer(Reader::new(bytes)),
        };
        HistogramSamples { reader, ended: false }
    }

    /// The count in the header.
    pub fn sample_count(&self) -> u16 {
        match &self.reader {
            Either::Integer(reader) => reader.sample_count,
            Either::Float(reader) => reader.sample_count,
        }
    }
}

impl Iterator for HistogramSamples<'_> {
    type Item = Result<(i64, FloatHistogram), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match &mut self.reader {
            Either::Float(reader) => reader.next_histogram(),
            Either::Integer(reader) => reader.next_histogram().map(|next| next.map(|(t, h)| (t, to_float(h)))),
        };
        let next = next.map(|next| next.and_then(|(t, h)| Ok((t, reduce_float(h)?))));
        self.ended = matches!(next, Some(Err(_)));
        next
    }
}

/// The histograms of a chunk of integer histograms, to write them anew. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct IntegerHistogramSamples<'a> {
    reader: Reader<'a, IntegerField>,
    ended: bool,
}

impl<'a> IntegerHistogramSamples<'a> {
    /// Reads a chunk.
    pub fn new(bytes: &'a [u8]) -> IntegerHistogramSamples<'a> {
        IntegerHistogramSamples { reader: Reader::new(bytes), ended: false }
    }
}

impl Iterator for IntegerHistogramSamples<'_> {
    type Item = Result<(i64, Histogram), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.reader.next_histogram().map(|next| {
            next.and_then(|(t, mut h): (i64, Histogram)| {
                if h.schema > SCHEMA_MAX {
                    h.reduce_resolution(SCHEMA_MAX).map_err(DecodeError::Layout)?;
                }
                Ok((t, h))
            })
        });
        self.ended = matches!(next, Some(Err(_)));
        next
    }
}

/// As [`Histogram::to_float`], but the buckets are added as integers, as upstream does when it reads a chunk.
fn to_float(h: Histogram) -> FloatHistogram {
    let floats = |deltas: Vec<i64>| absolute::<IntegerField>(deltas.into_iter()).map(|n| n as f64).collect();
    FloatHistogram {
        counter_reset_hint: h.counter_reset_hint,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count: h.zero_count as f64,
        count: h.count as f64,
        sum: h.sum,
        positive_spans: h.positive_spans,
        negative_spans: h.negative_spans,
        positive_buckets: floats(h.positive_buckets),
        negative_buckets: floats(h.negative_buckets),
        custom_values: h.custom_values,
    }
}

/// A newer Prometheus may have written finer resolutions than queries calculate with.
fn reduce_float(mut h: FloatHistogram) -> Result<FloatHistogram, DecodeError> {
    if h.schema > SCHEMA_MAX {
        reduce_resolution(&mut h.positive_spans, &mut h.positive_buckets, h.schema, SCHEMA_MAX)
            .and_then(|()| reduce_resolution(&mut h.negative_spans, &mut h.negative_buckets, h.schema, SCHEMA_MAX))
            .map_err(DecodeError::Layout)?;
        h.schema = SCHEMA_MAX;
    }
    Ok(h)
}
