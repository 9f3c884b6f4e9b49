//! A member of a group of ingesters, as writers, readers and its peers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::Batch;
use cluster::{GroupId, Replica as ReplicaId};
use futures::stream::BoxStream;
use model::{Exemplar, Labels, Matcher, Metadata, SeriesId, TenantId, TimeRange, TimestampMs};
use replication::replica::{ListReply, PushReply, ReadReply, SealReply};
use replication::{Entry, Position};
use storage::{LabelQuery, SelectError, SelectRequest, SeriesBatch};

use crate::Answer;

/// Bodies that a peer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which group's log.
    pub group: GroupId,
    /// Positions of batches, in order.
    pub positions: Vec<Position>,
    /// Series in them of which the caller has no definition.
    pub define: Vec<SeriesId>,
}

/// Batches that hold definitions and no samples, each of a name of its own and within the bound of a batch. They may be logged
/// and applied like any batch, by anyone, any number of times.
pub type Definitions = Vec<Batch>;

/// What a peer has of what was asked for.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The batches of the first of the positions: as many as fit into an answer, one at least.
    pub batches: Vec<Batch>,
    /// Definitions of the series asked for, as far as they are held.
    pub definitions: Definitions,
}

/// What a replica says to a query, and its series.
pub struct Selected {
    /// Whether it counts, and what it has dropped.
    pub reply: ReadReply,
    /// Sorted by id. Empty where the reply is not [`ReadReply::Held`]. What was acknowledged before the question came is in it.
    pub series: BoxStream<'static, Result<SeriesBatch, SelectError>>,
}

/// A question for names or values of labels.
#[derive(Clone, Debug)]
pub struct LabelQuestion {
    /// Values of this label; `None`: names.
    pub name: Option<String>,
    /// Of which series.
    pub query: LabelQuery,
}

/// What a replica says to a [`LabelQuestion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Whether it counts, and what it has dropped.
    pub reply: ReadReply,
    /// Sorted, unique.
    pub values: Vec<String>,
}

/// Exemplars of a series, sorted by time.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplars {
    /// The series.
    pub labels: Labels,
    /// Sorted by time.
    pub exemplars: Vec<Exemplar>,
}

/// A replica of a group. Every call says at which generation entry it is made.
pub trait Member: Send + Sync + 'static {
    /// Offers a batch.
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply>;

    /// What the log holds after a position up to which `puller` has durably covered it. Unanswered by another group.
    fn list(&self, puller: ReplicaId, entry: Entry, after: Position) -> Answer<ListReply>;

    /// Bodies of batches. `None` where the first of them is gone from the log.
    fn fetch(&self, fetch: Fetch) -> Answer<Option<Fetched>>;

    /// Seals the range that starts here. Unanswered by another group.
    fn seal(&self, entry: Entry, start: TimestampMs) -> Answer<SealReply>;

    /// Series with their chunks.
    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected>;

    /// Names or values of labels.
    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled>;

    /// Exemplars of series of which one of the sets of matchers holds.
    fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>>;

    /// Metadata of metric families, by name.
    fn metadata(&self, tenant: TenantId) -> Answer<BTreeMap<String, Metadata>>;
}

/// Finds members.
pub trait Members: Send + Sync + 'static {
    /// The member, if it is known where it answers. What it says may still be another incarnation's: such a call is
    /// unanswered.
    fn member(&self, replica: &ReplicaId) -> Option<Arc<dyn Member>>;
}
