//! Appending to a chunk. Source: `AppendHistogram`, `AppendFloatHistogram`, `appendable`, `appendableGauge` and `recode` in
//! `tsdb/chunkenc`.

use std::borrow::Cow;

use model::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, Span};

use super::decode::Reader;
use super::layout::Layout;
use super::sample::{ChunkHistogram, Counts, LayoutRef, State, absolute, stored};
use super::spans::{Missing, bucket_count, compare, compare_layouts, spread, union};
use super::value::{Field, FloatField};
use super::{CounterReset, HEADER_BYTES};
use crate::varbit::BitWriter;
use crate::{DecodeError, SAMPLES_PER_CHUNK_MAX};

/// A chunk of integer histograms being written.
pub type HistogramBuilder = Builder<Histogram>;

/// A chunk of float histograms being written.
pub type FloatHistogramBuilder = Builder<FloatHistogram>;

type Value<H> = <<H as ChunkHistogram>::Field as Field>::Value;

/// A histogram belongs into a chunk of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the histogram begins a new chunk ({counter_reset:?})")]
pub struct NeedsNewChunk {
    /// What the new chunk's header says; give it to [`Builder::new`].
    pub counter_reset: CounterReset,
}

/// A chunk being written.
#[derive(Clone, Debug)]
pub struct Builder<H: ChunkHistogram> {
    out: BitWriter,
    layout: Layout,
    /// None before the first sample.
    state: Option<State<H::Field>>,
    counter_reset: CounterReset,
}

/// Whether a histogram can be appended, and which layout then misses what.
enum Fit {
    Fits { positive: Missing, negative: Missing },
    Not { counter_reset: CounterReset },
}

impl<H: ChunkHistogram> Default for Builder<H> {
    fn default() -> Builder<H> {
        Builder::new(CounterReset::Unknown)
    }
}

impl<H: ChunkHistogram> Builder<H> {
    /// A chunk without samples. What is said of a counter reset holds unless the first histogram itself says otherwise.
    pub fn new(counter_reset: CounterReset) -> Builder<H> {
        Builder { out: BitWriter::default(), layout: Layout::default(), state: None, counter_reset }
    }

    /// Goes on with a chunk that was written before: appending gives the bytes that one builder would have given. Bits behind
    /// the last sample are dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Builder<H>, DecodeError> {
        let mut reader = Reader::<H::Field>::new(bytes);
        while reader.advance()? {}
        let mut builder = Builder::new(CounterReset::of_chunk(bytes));
        let position_bits = reader.position_bits();
        let Some((layout, state)) = reader.into_parts() else { return Ok(builder) };
        let used = position_bits.div_ceil(8);
        let free = (used * 8 - position_bits) as u8;
        let mut own = bytes[..used].to_vec();
        *own.last_mut().expect("a sample takes bytes") &= 0xff << free;
        builder.out = BitWriter { bytes: own, free };
        (builder.layout, builder.state) = (layout, Some(state));
        Ok(builder)
    }

    /// Appends a histogram that was validated, or a marker. Any time can be written; that times rise is the caller's business.
    /// Nothing has changed where it fails: the histogram then begins a new chunk.
    ///
    /// # Panics
    /// Where there are not as many buckets as the spans say.
    pub fn push(&mut self, timestamp_ms: i64, histogram: &H) -> Result<(), NeedsNewChunk> {
        if self.state.is_none() {
            self.push_first(timestamp_ms, histogram);
            return Ok(());
        }
        let mut counts = histogram.counts();
        if self.out.bytes[..2] == SAMPLES_PER_CHUNK_MAX.to_be_bytes() {
            return Err(NeedsNewChunk { counter_reset: self.counter_reset_before(histogram) });
        }
        let (positive, negative) = match self.fit(histogram) {
            Fit::Fits { positive, negative } => (positive, negative),
            Fit::Not { counter_reset } => return Err(NeedsNewChunk { counter_reset }),
        };
        if !counts.is_stale() {
            check_buckets::<H>(&histogram.layout(), &counts);
            self.adapt(histogram, &mut counts, positive, negative);
        }
        let state = self.state.as_mut().expect("there was a sample");
        state.put_next(&mut self.out, timestamp_ms, &counts);
        self.count_one();
        Ok(())
    }

    /// What the header of a new chunk says if that begins with `histogram` for reasons that do not lie in it, such as the size
    /// of this one.
    pub fn counter_reset_before(&self, histogram: &H) -> CounterReset {
        if self.state.is_none() {
            return CounterReset::Unknown;
        }
        match self.fit_counter(histogram) {
            Fit::Fits { .. } => CounterReset::NotReset,
            // Upstream's float chunks say it in every other case.
            Fit::Not { counter_reset: CounterReset::Unknown } if !H::Field::INTEGER => CounterReset::NotReset,
            Fit::Not { counter_reset } => counter_reset,
        }
    }

    /// Samples appended so far.
    pub fn sample_count(&self) -> u16 {
        self.out.bytes.first_chunk().map_or(0, |count| u16::from_be_bytes(*count))
    }

    /// The chunk; valid at any moment.
    pub fn bytes(&self) -> &[u8] {
        const EMPTY: [u8; HEADER_BYTES] = [0; HEADER_BYTES];
        if self.out.bytes.is_empty() { &EMPTY } else { &self.out.bytes }
    }

    /// Timestamp of the last sample.
    pub fn last_timestamp(&self) -> Option<i64> {
        self.state.as_ref().map(|state| state.timestamp_ms)
    }

    /// Bytes allocated besides the builder itself.
    pub fn capacity_bytes(&self) -> usize {
        let spans = self.layout.positive.capacity() + self.layout.negative.capacity();
        self.out.bytes.capacity()
            + self.state.as_ref().map_or(0, State::capacity_bytes)
            + spans * size_of::<Span>()
            + self.layout.custom_values.capacity() * size_of::<f64>()
    }

    /// The finished chunk.
    pub fn finish(self) -> Vec<u8> {
        if self.out.bytes.is_empty() {
            return self.bytes().to_vec();
        }
        self.out.bytes
    }

    fn push_first(&mut self, timestamp_ms: i64, histogram: &H) {
        let counts = histogram.counts();
        let layout = if counts.is_stale() {
            Layout::default()
        } else {
            check_buckets::<H>(&histogram.layout(), &counts);
            histogram.layout().to_layout()
        };
        match histogram.hint() {
            CounterResetHint::Gauge => self.counter_reset = CounterReset::Gauge,
            CounterResetHint::Reset => self.counter_reset = CounterReset::Reset,
            CounterResetHint::Unknown | CounterResetHint::NotReset => {}
        }
        self.begin(layout, timestamp_ms, &counts);
    }

    fn begin(&mut self, layout: Layout, timestamp_ms: i64, counts: &Counts<'_, Value<H>>) {
        self.out = BitWriter { bytes: vec![0, 0, self.counter_reset.byte()], free: 0 };
        self.state = Some(State::put_first(&mut self.out, &layout, timestamp_ms, counts));
        self.layout = layout;
        self.count_one();
    }

    fn count_one(&mut self) {
        let count = self.sample_count() + 1;
        self.out.bytes[..2].copy_from_slice(&count.to_be_bytes());
    }

    fn fit(&self, histogram: &H) -> Fit {
        match histogram.hint() {
            CounterResetHint::Gauge => self.fit_gauge(histogram),
            CounterResetHint::Unknown | CounterResetHint::Reset | CounterResetHint::NotReset => {
                self.fit_counter(histogram)
            }
        }
    }

    fn fit_counter(&self, histogram: &H) -> Fit {
        let not = |counter_reset| Fit::Not { counter_reset };
        let (state, new) = (self.state.as_ref().expect("there was a sample"), histogram.counts());
        if self.counter_reset == CounterReset::Gauge {
            // Upstream's integer chunks say so here.
            return not(if H::Field::INTEGER { CounterReset::NotReset } else { CounterReset::Unknown });
        }
        if histogram.hint() == CounterResetHint::Reset {
            return not(CounterReset::Reset);
        }
        if new.is_stale() {
            return Fit::Fits { positive: Missing::default(), negative: Missing::default() };
        }
        if model::is_stale(state.sum()) {
            return not(CounterReset::Unknown);
        }
        if H::Field::count_is_less(new.count, state.count.value()) {
            return not(CounterReset::Reset);
        }
        let layout = histogram.layout();
        if !self.same_resolution(&layout) {
            return not(CounterReset::Unknown);
        }
        if !self.same_bounds(&layout) || H::Field::count_is_less(new.zero_count, state.zero_count.value()) {
            return not(CounterReset::Reset);
        }
        let new_positive = absolute::<H::Field>(new.positive.iter().copied());
        let new_negative = absolute::<H::Field>(new.negative.iter().copied());
        let positive = (&self.layout.positive[..], absolute::<H::Field>(state.positive()));
        let negative = (&self.layout.negative[..], absolute::<H::Field>(state.negative()));
        let positive = compare(positive, (layout.positive, new_positive));
        let negative = compare(negative, (layout.negative, new_negative));
        match (positive, negative) {
            (Some(positive), Some(negative)) => Fit::Fits { positive, negative },
            _ => not(CounterReset::Reset),
        }
    }

    fn fit_gauge(&self, histogram: &H) -> Fit {
        let state = self.state.as_ref().expect("there was a sample");
        let not = Fit::Not { counter_reset: CounterReset::Gauge };
        if self.counter_reset != CounterReset::Gauge {
            return not;
        }
        if histogram.counts().is_stale() {
            return Fit::Fits { positive: Missing::default(), negative: Missing::default() };
        }
        let layout = histogram.layout();
        if model::is_stale(state.sum()) || !self.same_resolution(&layout) || !self.same_bounds(&layout) {
            return not;
        }
        Fit::Fits {
            positive: compare_layouts(&self.layout.positive, layout.positive),
            negative: compare_layouts(&self.layout.negative, layout.negative),
        }
    }

    fn same_resolution(&self, layout: &LayoutRef<'_>) -> bool {
        self.layout.schema == layout.schema && self.layout.zero_threshold == layout.zero_threshold
    }

    fn same_bounds(&self, layout: &LayoutRef<'_>) -> bool {
        layout.schema != CUSTOM_BUCKETS_SCHEMA || self.layout.custom_values == layout.custom_values
    }

    /// Fills the new counts up with buckets that only the chunk has, and writes the chunk anew with buckets that only the new
    /// histogram has.
    fn adapt(&mut self, histogram: &H, counts: &mut Counts<'_, Value<H>>, positive: Missing, negative: Missing) {
        let layout = histogram.layout();
        let (in_new, in_chunk) = (positive.in_new || negative.in_new, positive.in_chunk || negative.in_chunk);
        let mut spans = (Cow::Borrowed(layout.positive), Cow::Borrowed(layout.negative));
        if in_new {
            let gauge = histogram.hint() == CounterResetHint::Gauge;
            let joined = |chunk: &[Span], new: &[Span], missing: Missing| match (gauge, in_chunk) {
                (false, false) => chunk.to_vec(),
                (false, true) if !missing.in_new => new.to_vec(),
                (false, true) | (true, _) => union(chunk, new),
            };
            spans = (
                Cow::Owned(joined(&self.layout.positive, layout.positive, positive)),
                Cow::Owned(joined(&self.layout.negative, layout.negative, negative)),
            );
            if positive.in_new {
                counts.positive = Cow::Owned(respread::<H::Field>(&counts.positive, layout.positive, &spans.0));
            }
            if negative.in_new {
                counts.negative = Cow::Owned(respread::<H::Field>(&counts.negative, layout.negative, &spans.1));
            }
        }
        if in_chunk {
            self.recode(spans.0.into_owned(), spans.1.into_owned());
        }
    }

    /// Writes all samples anew with more buckets.
    fn recode(&mut self, positive: Vec<Span>, negative: Vec<Span>) {
        let bytes = std::mem::take(&mut self.out.bytes);
        let old = std::mem::take(&mut self.layout);
        let layout = Layout { positive, negative, custom_values: old.custom_values.clone(), ..old };
        self.state = None;
        let mut reader = Reader::<H::Field>::new(&bytes);
        while reader.advance().expect("our own chunk is whole") {
            let (timestamp_ms, mut counts) = reader.counts().expect("a sample was read");
            if !counts.is_stale() {
                counts.positive = Cow::Owned(respread::<H::Field>(&counts.positive, &old.positive, &layout.positive));
                counts.negative = Cow::Owned(respread::<H::Field>(&counts.negative, &old.negative, &layout.negative));
            }
            match &mut self.state {
                None => self.begin(layout.clone(), timestamp_ms, &counts),
                Some(state) => {
                    state.put_next(&mut self.out, timestamp_ms, &counts);
                    self.count_one();
                }
            }
        }
    }
}

/// Buckets, as stored, laid out anew.
fn respread<F: Field>(buckets: &[F::Value], from: &[Span], to: &[Span]) -> Vec<F::Value> {
    let laid_out = stored::<F>(spread(absolute::<F>(buckets.iter().copied()), from, to));
    assert_eq!(laid_out.len(), bucket_count(to), "the new layout holds all of the old");
    laid_out
}

fn check_buckets<H: ChunkHistogram>(layout: &LayoutRef<'_>, counts: &Counts<'_, Value<H>>) {
    assert_eq!(counts.positive.len(), bucket_count(layout.positive), "positive buckets");
    assert_eq!(counts.negative.len(), bucket_count(layout.negative), "negative buckets");
}

// Millions of float series have none of these; a series with histograms has one.
const _: () = assert!(size_of::<Builder<FloatHistogram>>() <= 256);
const _: () = assert!(size_of::<FloatField>() == 16);
