//! What is missing from an answer, and how that is said.

use std::fmt;

use cluster::GroupId;
use model::TimeRange;
use replication::manifest::BlockName;
use replication::reader::{Missing, Why};
use ulid::Ulid;

/// A group and a range of time of which an answer may lack samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The group; `None`: all of them, or blocks that no group has written.
    pub group: Option<GroupId>,
    /// The time, within that of the question.
    pub range: TimeRange,
    /// Why.
    pub because: Because,
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// No quorum of the replicas answered.
    Replicas,
    /// The manifest of a closed range was not read.
    Manifest,
    /// A block was not read, or is set aside.
    Block(BlockName),
    /// No young list of the bucket was to be had.
    Index,
    /// Samples were lost for good, or could not be cut.
    Hole,
    /// Where things are is not known.
    Map,
    /// Who owns some partitions is not known.
    Placement,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Replicas => f.write_str("no quorum of its replicas answered"),
            Because::Manifest => f.write_str("the manifest of a closed range could not be read"),
            Because::Block(name) => write!(f, "block {} could not be read", Ulid(*name)),
            Because::Index => f.write_str("no store has a young list of the blocks"),
            Because::Hole => f.write_str("acknowledged samples were lost"),
            Because::Map => f.write_str("the cluster map is not known yet"),
            Because::Placement => f.write_str("some partitions have no owner in the cluster map"),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Some(group) => write!(f, "group {group}")?,
            None => f.write_str("all groups")?,
        }
        let TimeRange { mint, maxt } = self.range;
        write!(f, ": samples between {mint} and {maxt} (ms) may be missing: {}", self.because)
    }
}

impl From<Missing> for Shortage {
    fn from(missing: Missing) -> Shortage {
        let because = match missing.why {
            Why::Replicas => Because::Replicas,
            Why::Manifest => Because::Manifest,
            Why::Block(name) => Because::Block(name),
            Why::Index => Because::Index,
            Why::Hole => Because::Hole,
        };
        Shortage { group: Some(missing.group), range: missing.range, because }
    }
}
