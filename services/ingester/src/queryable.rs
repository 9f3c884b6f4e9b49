//! Reading an ingester: the head behind the contract of `storage`.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use head::{Head, Order};
use model::TimeRange;
use storage::{LabelQuery, LabelQueryAnswer, Missing, Queryable, SelectError, SelectRequest, Selection, SeriesBatch};
use tokio::sync::mpsc;

use crate::Ingester;

/// Batches read ahead of whoever evaluates them.
const READ_AHEAD: usize = 2;

/// Series of the head, as they are when the first of them are asked for.
pub(crate) fn select(head: Arc<Head>, request: SelectRequest) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    // Selecting is CPU work and holds locks: not for the reactor's threads. A reader that goes away closes the channel.
    tokio::task::spawn_blocking(move || {
        let mut selection = match head.select(&request, Order::Id) {
            Ok(selection) => selection,
            Err(e) => return drop(sender.blocking_send(Err(e))),
        };
        loop {
            let item = match selection.next_batch() {
                Ok(None) => return,
                Ok(Some(batch)) => Ok(batch),
                Err(e) => Err(e),
            };
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    futures::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|item| (item, r)) }).boxed()
}

impl Queryable for Ingester {
    fn select(&self, request: SelectRequest) -> Selection {
        let missing = Missing::from_iter(self.lost(request.range));
        Selection::new(select(self.head().clone(), request), missing)
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let (head, lost) = (self.head().clone(), self.lost(query.range));
        blocking(lost, move || head.label_names(&query))
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let (head, name, lost) = (self.head().clone(), name.to_owned(), self.lost(query.range));
        blocking(lost, move || head.label_values(&name, &query))
    }
}

impl Ingester {
    /// The holes in a range, in words for `warnings`.
    fn lost(&self, range: TimeRange) -> Vec<String> {
        let told = |hole: TimeRange| {
            format!("samples between {} and {} (ms) were lost when the log was damaged", hole.mint, hole.maxt)
        };
        self.holes().into_iter().filter(|hole| hole.overlaps(&range)).map(told).collect()
    }
}

fn blocking(
    warnings: Vec<String>,
    f: impl FnOnce() -> Vec<String> + Send + 'static,
) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
    async move {
        match tokio::task::spawn_blocking(f).await {
            Ok(values) => Ok(LabelQueryAnswer { values, warnings }),
            Err(e) => Err(SelectError::Unavailable(e.to_string())),
        }
    }
    .boxed()
}
