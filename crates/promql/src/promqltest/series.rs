//! The series that a script has loaded.

use std::collections::BTreeMap;

use bytes::Bytes;
use chunkenc::{Xor2Encoder, XorEncoder};
use model::{Labels, LabelsBuilder, METRIC_NAME, SeriesId, TenantId, TimestampMs};
use storage::{Chunk, ChunkEncoding, Series};

use super::script::Load;
use crate::SequenceValue;
use crate::engine::{Feature, Leaf};

/// Samples of a chunk, as in Prometheus' head.
const SAMPLES_PER_CHUNK: usize = 120;

/// Series in memory. Those that need what the engine refuses are known by their labels only.
#[derive(Debug, Default)]
pub(super) struct Store {
    samples: BTreeMap<Labels, BTreeMap<i64, f64>>,
    /// Start timestamps by timestamp.
    starts: BTreeMap<Labels, BTreeMap<i64, i64>>,
    missing: Vec<(Labels, Feature)>,
}

impl Store {
    /// Adds the series of a `load`.
    pub(super) fn load(&mut self, load: Load) {
        for series in load.series {
            let labels = series.desc.labels;
            if !series.starts.is_empty() {
                let times = (0i64..).map(|i| i * load.step_ms);
                let known = times.zip(&series.starts).filter_map(|(t, distance)| Some((t, t + (*distance)?)));
                self.starts.entry(labels.clone()).or_default().extend(known);
            }
            if series.desc.values.iter().any(|v| matches!(v, SequenceValue::Histogram { .. })) {
                self.missing.push((labels.clone(), Feature::NativeHistograms));
            }
            if load.with_nhcb {
                self.missing.extend(histogram_of(&labels).map(|labels| (labels, Feature::NativeHistograms)));
            }
            let samples = self.samples.entry(labels).or_default();
            let mut t = 0;
            for value in series.desc.values {
                if let SequenceValue::Float(v) = value {
                    samples.insert(t, v);
                }
                t += load.step_ms;
            }
        }
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
fn chunks(samples: &BTreeMap<i64, f64>, starts: Option<&BTreeMap<i64, i64>>) -> Vec<Chunk> {
    let samples: Vec<(i64, f64)> = samples.iter().map(|(t, v)| (*t, *v)).collect();
    let of_part = |part: &[(i64, f64)]| {
        let (mint, maxt) = (part[0].0, part[part.len() - 1].0);
        let (encoding, data) = match starts {
            None => {
                let mut encoder = XorEncoder::new();
                part.iter().for_each(|(t, v)| encoder.append(*t, *v));
                (ChunkEncoding::Xor, encoder.into_bytes())
            }
            Some(starts) => {
                let mut encoder = Xor2Encoder::new();
                part.iter().for_each(|(t, v)| encoder.append(starts.get(t).copied().unwrap_or(0), *t, *v));
                (ChunkEncoding::Xor2, encoder.into_bytes())
            }
        };
        Chunk { encoding, mint: TimestampMs(mint), maxt: TimestampMs(maxt), data: Bytes::from(data) }
    };
    samples.chunks(SAMPLES_PER_CHUNK).map(of_part).collect()
}

/// The labels of the native histogram that `load_with_nhcb` makes of a classic one's series.
fn histogram_of(labels: &Labels) -> Option<Labels> {
    let name = labels.metric_name()?;
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(METRIC_NAME, base).del("le");
    Some(builder.build())
}
