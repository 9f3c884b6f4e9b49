//! A store of blocks, as readers see it.

use std::sync::Arc;
use std::time::Duration;

use cluster::{GroupId, NodeId};
use futures::stream::BoxStream;
use model::{TenantId, TimeRange, TimestampMs};
use replication::manifest::BlockName;
use storage::{SelectError, SelectRequest, SeriesBatch};

use crate::{Answer, LabelQuestion};

/// Series out of blocks.
pub struct StoreSelected {
    /// The blocks of those asked for that are in the answer, or that a block in the answer lists among its sources. An error in
    /// the stream takes it all back.
    pub served: Vec<BlockName>,
    /// Sorted by id.
    pub series: BoxStream<'static, Result<SeriesBatch, SelectError>>,
}

/// Names or values of labels out of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreLabels {
    /// As in [`StoreSelected`].
    pub served: Vec<BlockName>,
    /// Sorted, unique.
    pub values: Vec<String>,
}

/// A manifest, as a reader needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestAnswer {
    /// Start of the range.
    pub start: TimestampMs,
    /// The tenant's blocks of the range.
    pub blocks: Vec<BlockName>,
    /// Whether the tenant's data could not be cut.
    pub hole: bool,
}

/// A block that a store knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The block.
    pub block: BlockName,
    /// The group and the start of the range that a block of ours was cut from; `None` for a block from elsewhere, which belongs
    /// to every answer about its time.
    pub origin: Option<(GroupId, TimestampMs)>,
    /// Its time.
    pub range: TimeRange,
    /// Why it cannot be read, where it was set aside.
    pub set_aside: Option<String>,
}

/// The blocks of a tenant in a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The blocks.
    pub entries: Vec<IndexEntry>,
    /// How long ago the bucket was listed.
    pub age: Duration,
}

/// Serves blocks out of the bucket. A block that is named to it is loaded on demand, whether it is its own or not.
pub trait Store: Send + Sync + 'static {
    /// Series of these blocks.
    fn select(&self, blocks: Vec<BlockName>, request: SelectRequest) -> Answer<StoreSelected>;

    /// Names or values of labels in these blocks.
    fn labels(&self, blocks: Vec<BlockName>, question: LabelQuestion) -> Answer<StoreLabels>;

    /// A manifest by its name. Unanswered where there is none.
    fn manifest(&self, tenant: TenantId, name: String) -> Answer<ManifestAnswer>;

    /// Which blocks there are.
    fn index(&self, tenant: TenantId, range: TimeRange) -> Answer<Index>;
}

/// Finds stores.
pub trait Stores: Send + Sync + 'static {
    /// Those that are up, by name.
    fn stores(&self) -> Vec<(NodeId, Arc<dyn Store>)>;
}
