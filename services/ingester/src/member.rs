//! The ingester as a member of its group: what writers, readers and its peers ask of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::Batch;
use cluster::Replica as ReplicaId;
use futures::{FutureExt, StreamExt};
use model::{Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use peer::{Answer, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Selected, Unanswered};
use replication::replica::{ListReply, PushReply, ReadReply, SealReply};
use replication::{Entry, Position};
use storage::SelectRequest;

use crate::Ingester;
use crate::group::Waiter;
use crate::ingester::{TIME_MAX, no_answer};
use crate::queryable;

impl Ingester {
    /// What is told of a time at an entry. It is told when all that it rests on is durable; mostly that is at once.
    fn read(&self, entry: &Entry, range: TimeRange) -> Answer<ReadReply> {
        if let Some(why) = self.shared.failures.lock().apply.clone() {
            // What was logged is not all in the head.
            return futures::future::ready(Err(Unanswered(why))).boxed();
        }
        let answer = self.ask(Waiter::Read, |core, token| core.read(token, entry, range.mint, range.maxt));
        self.answer(answer)
    }

    fn answer<T: Send + 'static>(&self, answer: tokio::sync::oneshot::Receiver<T>) -> Answer<T> {
        let shared = self.shared.clone();
        async move { answer.await.map_err(|_| Unanswered(no_answer(&shared).0)) }.boxed()
    }
}

/// Work that takes locks of the head or reads files, off the reactor's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unanswered> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Unanswered(e.to_string()))
}

impl Member for Ingester {
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply> {
        if batch.time_bounds().is_some_and(|(mint, maxt)| mint < -TIME_MAX || maxt > TIME_MAX) {
            let why = "a timestamp is beyond the year 4000".to_owned();
            return futures::future::ready(Ok(PushReply::Refused(why))).boxed();
        }
        let pushed = self.offer(&entry, batch);
        async { Ok(pushed.reply().await) }.boxed()
    }

    fn list(&self, puller: ReplicaId, entry: Entry, after: Position) -> Answer<ListReply> {
        let answer = self.ask(Waiter::List, |core, token| core.list(token, &puller, &entry, after));
        // The peer has told how much of the log it has.
        self.shared.look_at_truncation();
        self.answer(answer)
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Option<Fetched>> {
        if fetch.group != self.group {
            let why = format!("{} is a member of group {}, not {}", self.replica, self.group, fetch.group);
            return futures::future::ready(Err(Unanswered(why))).boxed();
        }
        let shared = self.shared.clone();
        async move {
            let synced = shared.lock().core.synced_position();
            blocking(move || shared.bodies.fetch(&shared.head, &fetch, synced)).await?
        }
        .boxed()
    }

    fn seal(&self, entry: Entry, start: TimestampMs) -> Answer<SealReply> {
        let sealed = self.seal_at(Some(entry), start, (self.window)(), (self.clock)());
        async { sealed.await.map_err(|e| Unanswered(e.0)) }.boxed()
    }

    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected> {
        let reply = self.read(&entry, request.range);
        let head = self.head().clone();
        async move {
            let reply = reply.await?;
            let series = match reply {
                ReadReply::Held { .. } => queryable::select(head, request),
                ReadReply::Stale(_) => futures::stream::empty().boxed(),
            };
            Ok(Selected { reply, series })
        }
        .boxed()
    }

    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled> {
        let reply = self.read(&entry, question.query.range);
        let head = self.head().clone();
        async move {
            let reply = reply.await?;
            let values = match reply {
                ReadReply::Stale(_) => Vec::new(),
                ReadReply::Held { .. } => {
                    let LabelQuestion { name, query } = question;
                    blocking(move || match name {
                        Some(name) => head.label_values(&name, &query),
                        None => head.label_names(&query),
                    })
                    .await?
                }
            };
            Ok(Labelled { reply, values })
        }
        .boxed()
    }

    fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        let head: Arc<head::Head> = self.head().clone();
        blocking(move || {
            let found = head.exemplars(&tenant, range, &sets).into_iter();
            found.map(|s| Exemplars { labels: s.labels, exemplars: s.exemplars }).collect()
        })
        .boxed()
    }

    fn metadata(&self, tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        let head = self.head().clone();
        blocking(move || head.metadata(&tenant)).boxed()
    }
}
