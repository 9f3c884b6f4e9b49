//! Several stores as one: the head and its blocks, the replicas of a group.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use model::{TenantId, TimeRange};

use crate::{Chunk, LabelQuery, LabelQueryAnswer, Queryable, SelectError, SelectRequest, Series, SeriesBatch};

/// Series per merged batch.
const BATCH_SERIES: usize = 512;

/// Asks all of several stores and merges what they say, series by series.
pub struct Union {
    stores: Vec<Arc<dyn Queryable>>,
}

impl Union {
    /// The union of `stores`.
    pub fn new(stores: Vec<Arc<dyn Queryable>>) -> Union {
        Union { stores }
    }

    fn labels(
        answers: Vec<BoxFuture<'static, Result<LabelQueryAnswer, SelectError>>>,
    ) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        async move {
            let mut values = BTreeSet::new();
            let mut warnings = Vec::new();
            for answer in answers {
                let answer = answer.await?;
                values.extend(answer.values);
                warnings.extend(answer.warnings);
            }
            Ok(LabelQueryAnswer { values: values.into_iter().collect(), warnings })
        }
        .boxed()
    }
}

impl Queryable for Union {
    fn select(&self, request: SelectRequest) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
        if let [only] = self.stores.as_slice() {
            return only.select(request);
        }
        let sources = self.stores.iter().map(|s| Source::new(s.select(request.clone()))).collect();
        futures::stream::unfold(Some(Merge { sources }), |merge| async {
            let mut merge = merge?;
            match merge.next_batch().await {
                Ok(batch) if batch.is_empty() => None,
                Ok(batch) => Some((Ok(batch), Some(merge))),
                Err(e) => Some((Err(e), None)),
            }
        })
        .boxed()
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Union::labels(self.stores.iter().map(|s| s.label_names(query.clone())).collect())
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Union::labels(self.stores.iter().map(|s| s.label_values(name, query.clone())).collect())
    }

    fn missing(&self, tenant: &TenantId, range: TimeRange) -> Vec<String> {
        self.stores.iter().flat_map(|s| s.missing(tenant, range)).collect()
    }
}

/// One store's answer, read a batch at a time.
struct Source {
    stream: BoxStream<'static, Result<SeriesBatch, SelectError>>,
    read: VecDeque<Series>,
    ended: bool,
}

impl Source {
    fn new(stream: BoxStream<'static, Result<SeriesBatch, SelectError>>) -> Source {
        Source { stream, read: VecDeque::new(), ended: false }
    }

    async fn fill(&mut self) -> Result<(), SelectError> {
        while self.read.is_empty() && !self.ended {
            match self.stream.next().await {
                Some(batch) => self.read.extend(batch?),
                None => self.ended = true,
            }
        }
        Ok(())
    }
}

struct Merge {
    sources: Vec<Source>,
}

impl Merge {
    async fn next_batch(&mut self) -> Result<SeriesBatch, SelectError> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_SERIES {
            for source in &mut self.sources {
                source.fill().await?;
            }
            let Some(id) = self.sources.iter().filter_map(|s| s.read.front().map(|x| x.id)).min() else { break };
            let mut merged: Option<Series> = None;
            for source in &mut self.sources {
                let Some(series) = source.read.pop_front_if(|s| s.id == id) else { continue };
                match &mut merged {
                    None => merged = Some(series),
                    Some(known) => join(known, series.chunks),
                }
            }
            batch.extend(merged);
        }
        Ok(batch)
    }
}

/// Adds the chunks that are not there yet; equal ones are recognised by their bytes, before anything is decoded.
fn join(series: &mut Series, chunks: Vec<Chunk>) {
    for chunk in chunks {
        if !series.chunks.contains(&chunk) {
            series.chunks.push(chunk);
        }
    }
    series.chunks.sort_by_key(|c| c.mint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkEncoding, Shard};
    use model::{Labels, SeriesId, TimestampMs};

    struct Fixed(Vec<SeriesBatch>);

    impl Queryable for Fixed {
        fn select(&self, _: SelectRequest) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
            futures::stream::iter(self.0.clone().into_iter().map(Ok)).boxed()
        }
        fn label_names(&self, _: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
            futures::future::ready(Ok(LabelQueryAnswer { values: vec!["a".into()], warnings: vec!["w".into()] }))
                .boxed()
        }
        fn label_values(&self, n: &str, _: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
            futures::future::ready(Ok(LabelQueryAnswer { values: vec![n.into()], warnings: vec![] })).boxed()
        }
    }

    fn series(id: u128, mints: &[i64]) -> Series {
        let chunk = |t: &i64| Chunk {
            encoding: ChunkEncoding::Xor,
            mint: TimestampMs(*t),
            maxt: TimestampMs(*t + 5),
            data: t.to_be_bytes().to_vec().into(),
        };
        Series { id: SeriesId(id), labels: Labels::empty(), chunks: mints.iter().map(chunk).collect() }
    }

    #[test]
    fn series_are_merged_by_id_and_equal_chunks_are_kept_once() {
        let a = Fixed(vec![vec![series(1, &[0, 10]), series(3, &[0])], vec![series(5, &[0])]]);
        let b = Fixed(vec![vec![series(2, &[0])], vec![series(3, &[0, 20]), series(6, &[0])]]);
        let union = Union::new(vec![Arc::new(a), Arc::new(b)]);
        let request = SelectRequest {
            tenant: TenantId::anonymous(),
            range: TimeRange::new(TimestampMs(0), TimestampMs(1)),
            matchers: vec![],
            shard: Shard::ALL,
            with_chunks: true,
            series_max: 10,
        };
        let batches: Vec<_> = union.select(request).collect::<Vec<_>>().now_or_never().unwrap();
        let all: Vec<_> = batches.into_iter().flat_map(|b| b.unwrap()).collect();
        let seen: Vec<_> =
            all.iter().map(|s| (s.id.0, s.chunks.iter().map(|c| c.mint.0).collect::<Vec<_>>())).collect();
        assert_eq!(seen, [(1, vec![0, 10]), (2, vec![0]), (3, vec![0, 20]), (5, vec![0]), (6, vec![0])]);
    }
}
