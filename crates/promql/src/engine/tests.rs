//! Tests of the engine over series in memory.

mod api;

use bytes::Bytes;
use chunkenc::XorEncoder;
use model::{FloatHistogram, Labels, SeriesId, TenantId, TimestampMs};
use storage::{Chunk, ChunkEncoding, Series};

use super::*;
use crate::promqltest::series::chunks_of_histograms;

/// Series in memory.
struct Double {
    series: Vec<Series>,
}

impl Double {
    fn of(series: impl IntoIterator<Item = (Labels, Vec<(i64, f64)>)>) -> Double {
        let one = |(labels, samples): (Labels, Vec<(i64, f64)>)| Series {
            id: SeriesId::compute(&TenantId::anonymous(), &labels, &mut Vec::new()),
            labels,
            chunks: samples.chunks(120).map(chunk).collect(),
        };
        let mut series: Vec<Series> = series.into_iter().map(one).collect();
        series.sort_by_key(|s| s.id);
        Double { series }
    }

    /// Adds the chunks of a series of histograms.
    fn add_histograms(&mut self, labels: Labels, histograms: &[(i64, FloatHistogram)]) {
        let chunks = chunks_of_histograms(histograms.iter().map(|(t, h)| (*t, h)));
        let id = SeriesId::compute(&TenantId::anonymous(), &labels, &mut Vec::new());
        match self.series.binary_search_by_key(&id, |series| series.id) {
            Ok(at) => self.series[at].chunks.extend(chunks),
            Err(at) => self.series.insert(at, Series { id, labels, chunks }),
        }
    }

    fn select(&self, leaf: &Leaf) -> Vec<Series> {
        let matches = |s: &&Series| leaf.matchers.iter().all(|m| m.matches_labels(&s.labels));
        self.series.iter().filter(matches).cloned().collect()
    }
}

fn chunk(samples: &[(i64, f64)]) -> Chunk {
    let mut encoder = XorEncoder::new();
    samples.iter().for_each(|(t, v)| encoder.append(*t, *v));
    Chunk {
        encoding: ChunkEncoding::Xor,
        mint: TimestampMs(samples[0].0),
        maxt: TimestampMs(samples[samples.len() - 1].0),
        data: Bytes::copy_from_slice(encoder.bytes()),
    }
}

/// Evaluates with two workers per leaf.
fn evaluate(expr: &Expr, params: QueryParams, double: &Double) -> Result<QueryResult, QueryError> {
    let planned = plan(expr, params)?;
    let mut workers = Vec::new();
    for (at, leaf) in planned.leaves().iter().enumerate() {
        let series = double.select(leaf);
        let (a, b) = series.split_at(series.len() / 2);
        for part in [a, b] {
            let mut worker = planned.worker(at);
            worker.push(part)?;
            workers.push(worker);
        }
    }
    planned.finish(workers)
}

mod behaviour;
mod interrupt;
mod property;
