//! Manifests as the protocol sees them.

use cluster::{ClusterId, GenerationNumber, GroupId, Replica as ReplicaId};
use model::{TenantId, TimestampMs};

use crate::Position;

/// Names a block: a ULID.
pub type BlockName = u128;

/// What stands at `closed/<cluster>/<group>/<start>.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster.
    pub cluster: ClusterId,
    /// The group.
    pub group: GroupId,
    /// The generation at which the range was sealed.
    pub generation: GenerationNumber,
    /// Start of the range.
    pub start: TimestampMs,
    /// Who sealed, and their positions then.
    pub sealed: Vec<(ReplicaId, Position)>,
    /// All blocks of the range; none: there was no data.
    pub blocks: Vec<BlockName>,
    /// Tenants whose data could not be cut: a hole each, so that one never holds up the others.
    pub holes: Vec<TenantId>,
}
