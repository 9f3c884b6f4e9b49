//! What is asked of replicas and stores, so that selects and questions about labels take the same way.

use futures::stream::BoxStream;
use futures::{FutureExt, TryFutureExt};
use model::{TenantId, TimeRange};
use peer::{Answer, LabelQuestion, Member, Store};
use replication::Entry;
use replication::manifest::BlockName;
use replication::replica::ReadReply;
use storage::{SelectError, SelectRequest, SeriesBatch};

/// A question, and what comes with the head of each answer.
pub(crate) trait Question: Clone + Send + Sync + 'static {
    /// What a replica or a store has to say.
    type Part: Send + 'static;

    fn tenant(&self) -> &TenantId;

    fn range(&self) -> TimeRange;

    fn ask_member(&self, member: &dyn Member, entry: Entry) -> Answer<(ReadReply, Self::Part)>;

    /// Which of the blocks are served, and what is in them.
    fn ask_store(&self, store: &dyn Store, blocks: Vec<BlockName>) -> Answer<(Vec<BlockName>, Self::Part)>;
}

/// A question for series.
#[derive(Clone, Debug)]
pub(crate) struct Select(pub(crate) SelectRequest);

/// A question for names or values of labels.
#[derive(Clone, Debug)]
pub(crate) struct Labels(pub(crate) LabelQuestion);

impl Question for Select {
    type Part = BoxStream<'static, Result<SeriesBatch, SelectError>>;

    fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    fn range(&self) -> TimeRange {
        self.0.range
    }

    fn ask_member(&self, member: &dyn Member, entry: Entry) -> Answer<(ReadReply, Self::Part)> {
        member.select(entry, self.0.clone()).map_ok(|selected| (selected.reply, selected.series)).boxed()
    }

    fn ask_store(&self, store: &dyn Store, blocks: Vec<BlockName>) -> Answer<(Vec<BlockName>, Self::Part)> {
        store.select(blocks, self.0.clone()).map_ok(|selected| (selected.served, selected.series)).boxed()
    }
}

impl Question for Labels {
    type Part = Vec<String>;

    fn tenant(&self) -> &TenantId {
        &self.0.query.tenant
    }

    fn range(&self) -> TimeRange {
        self.0.query.range
    }

    fn ask_member(&self, member: &dyn Member, entry: Entry) -> Answer<(ReadReply, Self::Part)> {
        member.labels(entry, self.0.clone()).map_ok(|labelled| (labelled.reply, labelled.values)).boxed()
    }

    fn ask_store(&self, store: &dyn Store, blocks: Vec<BlockName>) -> Answer<(Vec<BlockName>, Self::Part)> {
        store.labels(blocks, self.0.clone()).map_ok(|labelled| (labelled.served, labelled.values)).boxed()
    }
}
