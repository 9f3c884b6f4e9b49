//! Series in memory, loaded from the recorded data: what stands in for a store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chunkenc::{FloatHistogramBuilder, NeedsNewChunk, XorEncoder};
use exposition::{Entry, Format, LabelsScratch, Parser};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use model::{Exemplar, FloatHistogram, Labels, Matcher, SeriesId, TenantId, TimeRange, TimestampMs};
use querier::{ExemplarSeries, ExemplarSource};
use serde_json::Value;
use storage::{
    Chunk, ChunkEncoding, LabelQuery, LabelQueryAnswer, Queryable, SelectError, SelectRequest, Selection, Series,
};

/// A sample of a series.
#[derive(Clone)]
enum Sample {
    Float(f64),
    Histogram(FloatHistogram),
}

/// Samples of a series.
type Samples = BTreeMap<i64, Sample>;

#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    series: BTreeMap<SeriesId, (Labels, Samples)>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
}

/// Small enough that the data make several chunks, and `select` several batches.
const CHUNK_SAMPLES: usize = 12;
const BATCH_SERIES: usize = 7;

impl MemoryStore {
    fn add(&mut self, labels: &Labels, at: i64, value: Sample) {
        let id = SeriesId::compute(&TenantId::anonymous(), labels, &mut Vec::new());
        self.series.entry(id).or_insert_with(|| (labels.clone(), Samples::new())).1.insert(at, value);
    }

    /// Takes a page of OpenMetrics with times.
    pub(crate) fn load_openmetrics(&mut self, page: &[u8]) {
        let mut parser = Parser::new(Format::OpenMetrics, page);
        let mut scratch = LabelsScratch::new();
        while let Some(entry) = parser.next().unwrap() {
            let Entry::Series(series) = entry else { continue };
            series.labels(&mut scratch).unwrap();
            let labels = scratch.to_labels().unwrap();
            let sample = series.sample;
            self.add(&labels, sample.timestamp.unwrap().0, Sample::Float(sample.value));
            if let Some(exemplar) = parser.exemplar() {
                let exemplar = exemplar.to_exemplar(&mut scratch).unwrap();
                self.exemplars.entry(labels).or_default().push(exemplar);
            }
        }
    }

    /// Takes lines of `data_extra.jsonl`: floats, staleness markers, native histograms.
    pub(crate) fn load_extra(&mut self, lines: &str) {
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let labels: Vec<(&str, &str)> =
                line["labels"].as_object().unwrap().iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap())).collect();
            let labels = Labels::from_pairs(labels).unwrap();
            for sample in line["samples"].as_array().unwrap() {
                let value = match sample[1].as_str().unwrap() {
                    "stale" => Sample::Float(model::stale_nan()),
                    text if text.starts_with("{{") => Sample::Histogram(histogram(text)),
                    text => Sample::Float(text.parse().unwrap()),
                };
                self.add(&labels, sample[0].as_i64().unwrap(), value);
            }
        }
    }

    fn labels_of(&self, query: &LabelQuery) -> Vec<&Labels> {
        let range = query.range;
        let touches = |samples: &Samples| samples.range(range.mint.0..range.maxt.0).next().is_some();
        let holds = |set: &Vec<Matcher>, labels: &Labels| set.iter().all(|m| m.matches_labels(labels));
        let wanted =
            |labels: &Labels| query.matcher_sets.is_empty() || query.matcher_sets.iter().any(|set| holds(set, labels));
        let found = self.series.values().filter(|(labels, samples)| wanted(labels) && touches(samples));
        found.map(|(labels, _)| labels).collect()
    }
}

/// A histogram as test scripts write it.
fn histogram(text: &str) -> FloatHistogram {
    let combine = |_: &FloatHistogram, _: &FloatHistogram, _| Err("one histogram at a time".to_owned());
    match promql::parse_series_desc(format!("x {text}"), &combine).unwrap().values.remove(0) {
        promql::SequenceValue::Histogram { histogram, .. } => FloatHistogram::clone(&histogram),
        other => panic!("{other:?}"),
    }
}

fn chunks(samples: &Samples) -> Vec<Chunk> {
    let all: Vec<(i64, &Sample)> = samples.iter().map(|(t, v)| (*t, v)).collect();
    let is_float = |sample: &Sample| matches!(sample, Sample::Float(_));
    let runs = all.chunk_by(|a, b| is_float(a.1) == is_float(b.1));
    runs.flat_map(|run| if is_float(run[0].1) { float_chunks(run) } else { histogram_chunks(run) }).collect()
}

fn float_chunks(run: &[(i64, &Sample)]) -> Vec<Chunk> {
    let of_part = |part: &[(i64, &Sample)]| {
        let mut encoder = XorEncoder::new();
        for (t, sample) in part {
            let Sample::Float(v) = sample else { continue };
            encoder.append(*t, *v);
        }
        let (mint, maxt) = (TimestampMs(part[0].0), TimestampMs(part[part.len() - 1].0));
        Chunk { encoding: ChunkEncoding::Xor, mint, maxt, data: encoder.into_bytes().into() }
    };
    run.chunks(CHUNK_SAMPLES).map(of_part).collect()
}

/// Chunks that are begun anew where a histogram does not fit.
fn histogram_chunks(run: &[(i64, &Sample)]) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut builder = FloatHistogramBuilder::default();
    for (t, sample) in run {
        let Sample::Histogram(h) = sample else { continue };
        let fits = builder.push(*t, h);
        if let Err(NeedsNewChunk { counter_reset }) = fits {
            builder = FloatHistogramBuilder::new(counter_reset);
            builder.push(*t, h).unwrap();
        }
        let (encoding, at) = (ChunkEncoding::FloatHistogram, TimestampMs(*t));
        if chunks.is_empty() || fits.is_err() {
            chunks.push(Chunk { encoding, mint: at, maxt: at, data: Bytes::new() });
        }
        let chunk = chunks.last_mut().unwrap();
        (chunk.maxt, chunk.data) = (at, Bytes::copy_from_slice(builder.bytes()));
    }
    chunks
}

impl Queryable for MemoryStore {
    fn select(&self, request: SelectRequest) -> Selection {
        let range = request.range;
        let overlapping = |samples: &Samples| {
            let mut chunks = chunks(samples);
            chunks.retain(|c| c.mint < range.maxt && range.mint <= c.maxt);
            chunks
        };
        let found: Vec<Series> = self
            .series
            .iter()
            .filter(|(_, (labels, _))| request.matchers.iter().all(|m| m.matches_labels(labels)))
            .map(|(id, (labels, samples))| Series { id: *id, labels: labels.clone(), chunks: overlapping(samples) })
            .filter(|series| !series.chunks.is_empty())
            .collect();
        if found.len() > request.series_max {
            return stream::iter([Err(SelectError::TooManySeries { limit: request.series_max })]).boxed().into();
        }
        let batches: Vec<_> = found.chunks(BATCH_SERIES).map(|batch| Ok(batch.to_vec())).collect();
        stream::iter(batches).boxed().into()
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let names: BTreeSet<String> =
            self.labels_of(&query).into_iter().flat_map(Labels::iter).map(|l| l.name.to_owned()).collect();
        answer(names)
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let values: BTreeSet<String> =
            self.labels_of(&query).into_iter().filter_map(|l| l.get(name)).map(str::to_owned).collect();
        answer(values)
    }
}

fn answer(values: BTreeSet<String>) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
    let answer = LabelQueryAnswer { values: values.into_iter().collect(), warnings: Vec::new() };
    Box::pin(async move { Ok(answer) })
}

impl ExemplarSource for MemoryStore {
    fn exemplars(
        &self,
        _tenant: &TenantId,
        range: TimeRange,
        sets: Vec<Vec<Matcher>>,
    ) -> BoxFuture<'static, Result<Vec<ExemplarSeries>, SelectError>> {
        let wanted = |labels: &Labels| sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels)));
        let within = |e: &Exemplar| range.contains(e.timestamp.unwrap());
        let found: Vec<ExemplarSeries> = self
            .exemplars
            .iter()
            .filter(|(labels, _)| wanted(labels))
            .map(|(labels, all)| ExemplarSeries {
                labels: labels.clone(),
                exemplars: all.iter().filter(|e| within(e)).cloned().collect(),
            })
            .filter(|series| !series.exemplars.is_empty())
            .collect();
        Box::pin(async move { Ok(found) })
    }
}
