//! Series in memory, loaded from the recorded data: what stands in for a store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chunkenc::XorEncoder;
use exposition::{Entry, Format, LabelsScratch, Parser};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use model::{Exemplar, Labels, Matcher, SeriesId, TenantId, TimeRange, TimestampMs};
use querier::{ExemplarSeries, ExemplarSource};
use serde_json::Value;
use storage::{
    Chunk, ChunkEncoding, LabelQuery, LabelQueryAnswer, Queryable, SelectError, SelectRequest, Series, SeriesBatch,
};

/// Samples of a series; `None` stands for a native histogram.
type Samples = BTreeMap<i64, Option<f64>>;

#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    series: BTreeMap<SeriesId, (Labels, Samples)>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
}

/// Small enough that the data make several chunks, and `select` several batches.
const CHUNK_SAMPLES: usize = 12;
const BATCH_SERIES: usize = 7;

impl MemoryStore {
    fn add(&mut self, labels: &Labels, at: i64, value: Option<f64>) {
        let id = SeriesId::compute(&TenantId::anonymous(), labels, &mut Vec::new());
        self.series.entry(id).or_insert_with(|| (labels.clone(), Samples::new())).1.insert(at, value);
    }

    /// Takes a page of OpenMetrics with times.
    pub(crate) fn load_openmetrics(&mut self, page: &[u8]) {
        let mut parser = Parser::new(Format::OpenMetrics, page).unwrap();
        let mut scratch = LabelsScratch::new();
        while let Some(entry) = parser.next().unwrap() {
            let Entry::Series(series) = entry else { continue };
            series.labels(&mut scratch).unwrap();
            let labels = scratch.to_labels().unwrap();
            let sample = series.sample;
            self.add(&labels, sample.timestamp.unwrap().0, Some(sample.value));
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
                    "stale" => Some(model::stale_nan()),
                    text if text.starts_with("{{") => None,
                    text => Some(text.parse().unwrap()),
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

fn chunks(samples: &Samples) -> Vec<Chunk> {
    let all: Vec<(i64, Option<f64>)> = samples.iter().map(|(t, v)| (*t, *v)).collect();
    let mut chunks = Vec::new();
    for run in all.chunk_by(|a, b| a.1.is_some() == b.1.is_some()).flat_map(|run| run.chunks(CHUNK_SAMPLES)) {
        let mut encoder = XorEncoder::new();
        run.iter().for_each(|(t, v)| encoder.append(*t, v.unwrap_or(0.0)));
        // What is in a chunk of histograms is not looked at: nothing decodes them yet.
        let floats = run[0].1.is_some();
        chunks.push(Chunk {
            encoding: if floats { ChunkEncoding::Xor } else { ChunkEncoding::FloatHistogram },
            mint: TimestampMs(run[0].0),
            maxt: TimestampMs(run[run.len() - 1].0),
            data: if floats { encoder.into_bytes().into() } else { Bytes::new() },
        });
    }
    chunks
}

impl Queryable for MemoryStore {
    fn select(&self, request: SelectRequest) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
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
            return stream::iter([Err(SelectError::TooManySeries { limit: request.series_max })]).boxed();
        }
        let batches: Vec<_> = found.chunks(BATCH_SERIES).map(|batch| Ok(batch.to_vec())).collect();
        stream::iter(batches).boxed()
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
