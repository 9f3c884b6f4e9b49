//! Samples of any kind, to and from chunks. A chunk holds one kind; the rules of cutting are those of float chunks, and chunks of
//! histograms end early where they are large.

use chunkenc::{
    CounterReset, DecodeError, FloatHistogramBuilder, HistogramBuilder, HistogramSamples, IntegerHistogramSamples,
    Xor2Decoder, XorDecoder, XorEncoder,
};
use model::{SampleValue, join};
use storage::ChunkEncoding;

use crate::series::{CHUNK_ALIGN_MS, CHUNK_SAMPLES_MAX};

/// A chunk of histograms with so many samples ends at so many bytes, as in Prometheus.
const HISTOGRAM_SAMPLES_MIN: u16 = 10;
const HISTOGRAM_CHUNK_BYTES_AIM: usize = 1024;

/// A chunk that was written from values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedChunk {
    /// Encoding of `data`.
    pub encoding: ChunkEncoding,
    /// Timestamp of the first sample.
    pub mint: i64,
    /// Timestamp of the last.
    pub maxt: i64,
    /// The chunk.
    pub data: Vec<u8>,
}

/// The chunk of histograms that a series is appended to.
#[derive(Clone, Debug)]
pub(crate) struct OpenHistograms {
    mint: i64,
    maxt: i64,
    builder: Builder,
}

#[derive(Clone, Debug)]
enum Builder {
    Integer(HistogramBuilder),
    Float(FloatHistogramBuilder),
}

/// A histogram begins a new chunk, and what is known of a counter reset before it.
pub(crate) struct Cut(pub(crate) CounterReset);

impl OpenHistograms {
    /// Begins a chunk; `None` for a float.
    pub(crate) fn start(t: i64, value: &SampleValue, counter_reset: CounterReset) -> Option<OpenHistograms> {
        let builder = match value {
            SampleValue::Float(_) => return None,
            SampleValue::Histogram(h) => {
                let mut builder = HistogramBuilder::new(counter_reset);
                builder.push(t, h).expect("an empty chunk takes any");
                Builder::Integer(builder)
            }
            SampleValue::FloatHistogram(h) => {
                let mut builder = FloatHistogramBuilder::new(counter_reset);
                builder.push(t, h).expect("an empty chunk takes any");
                Builder::Float(builder)
            }
        };
        Some(OpenHistograms { mint: t, maxt: t, builder })
    }

    /// Goes on with a chunk that was written before; `None` if it is damaged, empty, or of floats.
    pub(crate) fn from_bytes(encoding: ChunkEncoding, bytes: &[u8]) -> Option<OpenHistograms> {
        let mut samples = HistogramSamples::new(encoding == ChunkEncoding::FloatHistogram, bytes);
        let (mint, _) = samples.next()?.ok()?;
        let builder = match encoding {
            ChunkEncoding::Xor | ChunkEncoding::Xor2 => return None,
            ChunkEncoding::Histogram => Builder::Integer(HistogramBuilder::from_bytes(bytes).ok()?),
            ChunkEncoding::FloatHistogram => Builder::Float(FloatHistogramBuilder::from_bytes(bytes).ok()?),
        };
        let maxt = match &builder {
            Builder::Integer(b) => b.last_timestamp()?,
            Builder::Float(b) => b.last_timestamp()?,
        };
        Some(OpenHistograms { mint, maxt, builder })
    }

    /// Appends a newer histogram, unless that begins a new chunk.
    pub(crate) fn push(&mut self, t: i64, value: &SampleValue) -> Result<(), Cut> {
        let ends = self.maxt.div_euclid(CHUNK_ALIGN_MS) != t.div_euclid(CHUNK_ALIGN_MS)
            || self.sample_count() >= CHUNK_SAMPLES_MAX
            || self.sample_count() >= HISTOGRAM_SAMPLES_MIN && self.bytes().len() >= HISTOGRAM_CHUNK_BYTES_AIM;
        match (&mut self.builder, value) {
            (Builder::Integer(builder), SampleValue::Histogram(h)) => {
                if ends {
                    return Err(Cut(builder.counter_reset_before(h)));
                }
                builder.push(t, h).map_err(|needs| Cut(needs.counter_reset))?;
            }
            (Builder::Float(builder), SampleValue::FloatHistogram(h)) => {
                if ends {
                    return Err(Cut(builder.counter_reset_before(h)));
                }
                builder.push(t, h).map_err(|needs| Cut(needs.counter_reset))?;
            }
            _ => return Err(Cut(CounterReset::Unknown)),
        }
        self.maxt = t;
        Ok(())
    }

    /// Whether the newest sample is `value` at `t`.
    pub(crate) fn ends_with(&self, t: i64, value: &SampleValue) -> bool {
        let last = decode(self.encoding(), self.bytes()).ok().and_then(|mut all| all.pop());
        last.is_some_and(|(last, held)| last == t && held.means(value))
    }

    pub(crate) fn encoding(&self) -> ChunkEncoding {
        match self.builder {
            Builder::Integer(_) => ChunkEncoding::Histogram,
            Builder::Float(_) => ChunkEncoding::FloatHistogram,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.builder {
            Builder::Integer(b) => b.bytes(),
            Builder::Float(b) => b.bytes(),
        }
    }

    pub(crate) fn sample_count(&self) -> u16 {
        match &self.builder {
            Builder::Integer(b) => b.sample_count(),
            Builder::Float(b) => b.sample_count(),
        }
    }

    /// Times of the first and the last sample.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        (self.mint, self.maxt)
    }

    fn finish(self) -> EncodedChunk {
        let (encoding, (mint, maxt)) = (self.encoding(), self.bounds());
        let data = match self.builder {
            Builder::Integer(b) => b.finish(),
            Builder::Float(b) => b.finish(),
        };
        EncodedChunk { encoding, mint, maxt, data }
    }
}

/// Reads all samples of a chunk.
pub fn decode(encoding: ChunkEncoding, bytes: &[u8]) -> Result<Vec<(i64, SampleValue)>, DecodeError> {
    match encoding {
        ChunkEncoding::Xor => {
            let (mut decoder, mut samples) = (XorDecoder::new(bytes)?, Vec::new());
            while let Some((t, v)) = decoder.next()? {
                samples.push((t, SampleValue::Float(v)));
            }
            Ok(samples)
        }
        // A block of a Prometheus may hold these; what is encoded from them here loses its start timestamps.
        ChunkEncoding::Xor2 => {
            let (mut decoder, mut samples) = (Xor2Decoder::new(bytes)?, Vec::new());
            while let Some((_start, t, v)) = decoder.next()? {
                samples.push((t, SampleValue::Float(v)));
            }
            Ok(samples)
        }
        ChunkEncoding::Histogram => {
            let one = |(t, h)| (t, SampleValue::Histogram(Box::new(h)));
            IntegerHistogramSamples::new(bytes).map(|read| read.map(one)).collect()
        }
        ChunkEncoding::FloatHistogram => {
            let one = |(t, h)| (t, SampleValue::FloatHistogram(Box::new(h)));
            HistogramSamples::new(true, bytes).map(|read| read.map(one)).collect()
        }
    }
}

/// Sorts and joins samples and encodes them into chunks that do not overlap.
pub fn encode(mut samples: Vec<(i64, SampleValue)>) -> Vec<EncodedChunk> {
    samples.sort_by_key(|s| s.0);
    let mut joined: Vec<(i64, SampleValue)> = Vec::with_capacity(samples.len());
    for (t, value) in samples {
        match joined.pop_if(|last| last.0 == t) {
            Some((_, held)) => joined.push((t, join(held, value))),
            None => joined.push((t, value)),
        }
    }
    let mut chunks = Vec::new();
    let (mut floats, mut histograms) = (XorEncoder::new(), None::<OpenHistograms>);
    for (t, value) in joined {
        match value {
            SampleValue::Float(v) => {
                chunks.extend(histograms.take().map(OpenHistograms::finish));
                let crosses = |last: i64| last.div_euclid(CHUNK_ALIGN_MS) != t.div_euclid(CHUNK_ALIGN_MS);
                let full = floats.sample_count() >= CHUNK_SAMPLES_MAX;
                if floats.last().is_some_and(|(last, _)| full || crosses(last)) {
                    chunks.extend(finish_floats(&mut floats));
                }
                floats.append(t, v);
            }
            value @ (SampleValue::Histogram(_) | SampleValue::FloatHistogram(_)) => {
                chunks.extend(finish_floats(&mut floats));
                let cut = match histograms.as_mut().map(|open| open.push(t, &value)) {
                    Some(Ok(())) => continue,
                    Some(Err(Cut(counter_reset))) => counter_reset,
                    None => CounterReset::Unknown,
                };
                chunks.extend(histograms.take().map(OpenHistograms::finish));
                histograms = OpenHistograms::start(t, &value, cut);
            }
        }
    }
    chunks.extend(histograms.map(OpenHistograms::finish));
    chunks.extend(finish_floats(&mut floats));
    chunks
}

fn finish_floats(open: &mut XorEncoder) -> Option<EncodedChunk> {
    let (mint, (maxt, _)) = open.first_timestamp().zip(open.last())?;
    let data = std::mem::take(open).into_bytes();
    Some(EncodedChunk { encoding: ChunkEncoding::Xor, mint, maxt, data })
}
