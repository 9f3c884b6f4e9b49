//! The series that a script has loaded.

mod custom_buckets;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chunkenc::{FloatHistogramBuilder, NeedsNewChunk, Xor2Encoder, XorEncoder};
use model::{FloatHistogram, Labels, SeriesId, TenantId, TimestampMs};
use storage::{Chunk, ChunkEncoding, Series};

use super::script::Load;
use crate::SequenceValue;
use crate::engine::{Feature, Leaf};

/// Samples of a chunk, as in Prometheus' head.
const SAMPLES_PER_CHUNK: usize = 120;

/// A sample of a series.
#[derive(Clone, Debug)]
enum Sample {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// Samples of one series by time.
type Samples = BTreeMap<i64, Sample>;

/// Series in memory. Those that need what the engine refuses are known by their labels only.
#[derive(Debug, Default)]
pub(super) struct Store {
    samples: BTreeMap<Labels, Samples>,
    /// Start timestamps by timestamp.
    starts: BTreeMap<Labels, BTreeMap<i64, i64>>,
    missing: Vec<(Labels, Feature)>,
}

impl Store {
    /// Adds the series of a `load`; an error is what is wrong with its classic histograms.
    pub(super) fn load(&mut self, load: Load) -> Result<(), String> {
        let mut custom = custom_buckets::Collector::default();
        for series in load.series {
            let labels = series.desc.labels;
            if !series.starts.is_empty() {
                let times = (0i64..).map(|i| i * load.step_ms);
                let known = times.zip(&series.starts).filter_map(|(t, distance)| Some((t, t + (*distance)?)));
                self.starts.entry(labels.clone()).or_default().extend(known);
                if series.desc.values.iter().any(|v| matches!(v, SequenceValue::Histogram { .. })) {
                    self.missing.push((labels.clone(), Feature::HistogramStarts));
                }
            }
            let samples = self.samples.entry(labels.clone()).or_default();
            let mut t = 0;
            for value in series.desc.values {
                match value {
                    SequenceValue::Omitted => {}
                    SequenceValue::Float(v) => {
                        if load.with_nhcb {
                            custom.add(&labels, t, v);
                        }
                        samples.insert(t, Sample::Float(v));
                    }
                    SequenceValue::Histogram { histogram, .. } => {
                        samples.insert(t, Sample::Histogram(histogram));
                    }
                }
                t += load.step_ms;
            }
        }
        for (labels, at, h) in custom.histograms()? {
            self.samples.entry(labels).or_default().insert(at, Sample::Histogram(Arc::new(h)));
        }
        Ok(())
    }

    /// The feature without which one of the series of `leaf` cannot be read.
    pub(super) fn missing_for(&self, leaf: &Leaf) -> Option<Feature> {
        let selected = |labels: &Labels| leaf.matchers.iter().all(|m| m.matches_labels(labels));
        self.missing.iter().find(|(labels, _)| selected(labels)).map(|(_, feature)| *feature)
    }

    /// The series of `leaf`, by id.
    pub(super) fn select(&self, leaf: &Leaf) -> Vec<Series> {
        let tenant = TenantId::anonymous();
        let selected = self.samples.iter().filter(|(labels, _)| leaf.matchers.iter().all(|m| m.matches_labels(labels)));
        let mut series: Vec<Series> = selected
            .map(|(labels, samples)| Series {
                id: SeriesId::compute(&tenant, labels, &mut Vec::new()),
                labels: labels.clone(),
                chunks: chunks(samples, self.starts.get(labels)),
            })
            .collect();
        series.sort_by_key(|series| series.id);
        series
    }
}

/// Series without start timestamps become XOR chunks, so that both encodings are read.
fn chunks(samples: &Samples, starts: Option<&BTreeMap<i64, i64>>) -> Vec<Chunk> {
    let samples: Vec<(i64, &Sample)> = samples.iter().map(|(t, v)| (*t, v)).collect();
    let is_float = |sample: &Sample| matches!(sample, Sample::Float(_));
    let runs = samples.chunk_by(|a, b| is_float(a.1) == is_float(b.1));
    runs.flat_map(|run| if is_float(run[0].1) { float_chunks(run, starts) } else { histogram_chunks(run) }).collect()
}

fn float_chunks(samples: &[(i64, &Sample)], starts: Option<&BTreeMap<i64, i64>>) -> Vec<Chunk> {
    let float = |sample: &Sample| if let Sample::Float(v) = sample { *v } else { 0.0 };
    let of_part = |part: &[(i64, &Sample)]| {
        let (encoding, data) = match starts {
            None => {
                let mut encoder = XorEncoder::new();
                part.iter().for_each(|(t, v)| encoder.append(*t, float(v)));
                (ChunkEncoding::Xor, encoder.into_bytes())
            }
            Some(starts) => {
                let mut encoder = Xor2Encoder::new();
                part.iter().for_each(|(t, v)| encoder.append(starts.get(t).copied().unwrap_or(0), *t, float(v)));
                (ChunkEncoding::Xor2, encoder.into_bytes())
            }
        };
        chunk(encoding, part, Bytes::from(data))
    };
    samples.chunks(SAMPLES_PER_CHUNK).map(of_part).collect()
}

fn histogram_chunks(samples: &[(i64, &Sample)]) -> Vec<Chunk> {
    let histograms = samples.iter().filter_map(|(t, sample)| match sample {
        Sample::Histogram(h) => Some((*t, h.as_ref())),
        Sample::Float(_) => None,
    });
    chunks_of_histograms(histograms)
}

/// Chunks of histograms, begun anew where Prometheus' head does so because of a histogram.
pub(crate) fn chunks_of_histograms<'a>(histograms: impl Iterator<Item = (i64, &'a FloatHistogram)>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut builder = FloatHistogramBuilder::default();
    for (t, h) in histograms {
        let begun = match builder.push(t, h) {
            Ok(()) => chunks.is_empty(),
            Err(NeedsNewChunk { counter_reset }) => {
                builder = FloatHistogramBuilder::new(counter_reset);
                builder.push(t, h).expect("a chunk takes its first histogram");
                true
            }
        };
        if begun {
            let at = TimestampMs(t);
            chunks.push(Chunk { encoding: ChunkEncoding::FloatHistogram, mint: at, maxt: at, data: Bytes::new() });
        }
        if let Some(chunk) = chunks.last_mut() {
            (chunk.maxt, chunk.data) = (TimestampMs(t), Bytes::copy_from_slice(builder.bytes()));
        }
    }
    chunks
}

fn chunk(encoding: ChunkEncoding, part: &[(i64, &Sample)], data: Bytes) -> Chunk {
    let (mint, maxt) = (TimestampMs(part[0].0), TimestampMs(part[part.len() - 1].0));
    Chunk { encoding, mint, maxt, data }
}
