//! Several stores as one: the head and its blocks, the replicas of a group.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use crate::{LabelQuery, LabelQueryAnswer, Merge, Queryable, SelectError, SelectRequest, Selection, SourceError};

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
    fn select(&self, request: SelectRequest) -> Selection {
        if let [only] = self.stores.as_slice() {
            return only.select(request);
        }
        let mut merge = Merge::new();
        let mut missing = Vec::new();
        for store in &self.stores {
            let (series, named) = store.select(request.clone()).into_parts();
            merge.add((), series);
            missing.extend(named);
        }
        let series = futures::stream::unfold(Some(merge), |merge| async {
            let mut merge = merge?;
            match merge.next_batch().await {
                Ok(batch) if batch.is_empty() => None,
                Ok(batch) => Some((Ok(batch), Some(merge))),
                Err(SourceError { error, .. }) => Some((Err(error), None)),
            }
        });
        Selection::of_parts(series.boxed(), missing)
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Union::labels(self.stores.iter().map(|s| s.label_names(query.clone())).collect())
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        Union::labels(self.stores.iter().map(|s| s.label_values(name, query.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chunk, ChunkEncoding, Missing, Series, SeriesBatch, Shard};
    use model::{Labels, SeriesId, TenantId, TimeRange, TimestampMs};

    struct Fixed(Vec<SeriesBatch>, &'static str);

    impl Queryable for Fixed {
        fn select(&self, _: SelectRequest) -> Selection {
            let series = futures::stream::iter(self.0.clone().into_iter().map(Ok)).boxed();
            Selection::new(series, Missing::from_iter([self.1]))
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
        let a = Fixed(vec![vec![series(1, &[0, 10]), series(3, &[0])], vec![series(5, &[0])]], "x");
        let b = Fixed(vec![vec![series(2, &[0])], vec![series(3, &[0, 20]), series(6, &[0])]], "y");
        let union = Union::new(vec![Arc::new(a), Arc::new(b)]);
        let request = SelectRequest {
            tenant: TenantId::anonymous(),
            range: TimeRange::new(TimestampMs(0), TimestampMs(1)),
            matchers: vec![],
            shard: Shard::ALL,
            with_chunks: true,
            series_max: 10,
        };
        let mut selection = union.select(request);
        let batches: Vec<_> = (&mut selection).collect::<Vec<_>>().now_or_never().unwrap();
        assert_eq!(selection.missing(), ["x", "y"]);
        let all: Vec<_> = batches.into_iter().flat_map(|b| b.unwrap()).collect();
        let seen: Vec<_> =
            all.iter().map(|s| (s.id.0, s.chunks.iter().map(|c| c.mint.0).collect::<Vec<_>>())).collect();
        assert_eq!(seen, [(1, vec![0, 10]), (2, vec![0]), (3, vec![0, 20]), (5, vec![0]), (6, vec![0])]);
    }
}
