//! TEMPORARY: the ingester as it answers until it implements `peer::Member` itself. Goes with [`AsMember`].

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::Batch;
use cluster::{GenerationNumber, Replica as ReplicaId};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Matcher, Metadata, SeriesId, TenantId, TimeRange, TimestampMs};
use peer::{Answer, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Selected, Unanswered};
use replication::replica::{ListReply, NotNow, SealReply};
use replication::{Entry, Position};
use storage::SelectRequest;

/// What a replica says to a batch. In all cases but `Ok` nothing was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushReply {
    /// Logged, synced and applied, as a member of this generation.
    Ok {
        /// The replica's generation.
        generation: u64,
    },
    /// These ids are not known here: send the batch with their definitions.
    Need(Vec<SeriesId>),
    /// The batch touches time before this, which takes no more samples.
    Sealed(TimestampMs),
    /// No room at the moment.
    Full {
        /// The bound on bytes in flight that was met.
        limit_bytes: usize,
    },
    /// Not able to take anything now, and why.
    NotNow(String),
    /// The batch is not one that a writer of ours sends.
    Refused(String),
}

/// A replica in this process.
pub trait Replica: Send + Sync + 'static {
    /// Offers a batch.
    fn push(&self, batch: Batch) -> BoxFuture<'static, PushReply>;
}

/// A replica as a member that answers nothing but batches.
pub struct AsMember(pub Arc<dyn Replica>);

fn unanswered<T: Send + 'static>() -> Answer<T> {
    futures::future::ready(Err(Unanswered("only batches are answered here".to_owned()))).boxed()
}

impl Member for AsMember {
    fn push(&self, _entry: Entry, batch: Batch) -> Answer<replication::replica::PushReply> {
        use replication::replica::PushReply as Said;
        let said = |reply: PushReply| match reply {
            PushReply::Ok { generation } => Said::Ok(GenerationNumber(generation)),
            PushReply::Need(ids) => Said::Need(ids),
            PushReply::Sealed(before) => Said::Sealed(before),
            PushReply::Full { limit_bytes } => Said::Full { limit_bytes },
            PushReply::NotNow(_) => Said::NotNow(NotNow::Unavailable),
            PushReply::Refused(why) => Said::Refused(why),
        };
        self.0.push(batch).map(move |reply| Ok(said(reply))).boxed()
    }

    fn list(&self, _puller: ReplicaId, _entry: Entry, _after: Position) -> Answer<ListReply> {
        unanswered()
    }

    fn fetch(&self, _fetch: Fetch) -> Answer<Option<Fetched>> {
        unanswered()
    }

    fn seal(&self, _entry: Entry, _start: TimestampMs) -> Answer<SealReply> {
        unanswered()
    }

    fn select(&self, _entry: Entry, _request: SelectRequest) -> Answer<Selected> {
        unanswered()
    }

    fn labels(&self, _entry: Entry, _question: LabelQuestion) -> Answer<Labelled> {
        unanswered()
    }

    fn exemplars(&self, _tenant: TenantId, _range: TimeRange, _sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        unanswered()
    }

    fn metadata(&self, _tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        unanswered()
    }
}
