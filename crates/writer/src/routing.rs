//! Which group holds a partition, as the cluster map says.

use std::sync::Arc;

use cluster::{ClusterMap, GroupId};
use model::PartitionId;

use crate::known::KnownSeries;

/// The groups of all partitions, computed once per map.
pub(crate) struct Routing {
    pub(crate) partition_count: u32,
    /// The groups that own something.
    groups: Vec<GroupId>,
    /// By partition: which of `groups` owns it.
    slots: Box<[u16]>,
    pub(crate) known: Arc<KnownSeries>,
}

/// Why nothing can be written yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRouting {
    #[error("the cluster map is empty so far")]
    Empty,
    #[error("partition {} of {partition_count} has no group yet", partition.0)]
    Unplaced { partition: PartitionId, partition_count: u32 },
    #[error("partition {} has more than one owner, which this version does not know", partition.0)]
    Moved { partition: PartitionId },
}

impl Routing {
    /// `before`: what held until now, whose known series stay known.
    pub(crate) fn of(map: &ClusterMap, before: Option<&Routing>, known_max: usize) -> Result<Routing, NoRouting> {
        let partition_count = map.partition_count();
        if partition_count == 0 {
            return Err(NoRouting::Empty);
        }
        let (mut groups, mut slots) = (Vec::new(), Vec::with_capacity(partition_count as usize));
        for partition in (0..partition_count).map(PartitionId) {
            let owner = match map.ownership(partition) {
                [] => return Err(NoRouting::Unplaced { partition, partition_count }),
                [owner] => owner.group,
                // Whoever teaches the map to move partitions has to teach the encoder to look at timestamps.
                _ => return Err(NoRouting::Moved { partition }),
            };
            let slot = groups.iter().position(|group| *group == owner).unwrap_or_else(|| {
                groups.push(owner);
                groups.len() - 1
            });
            slots.push(u16::try_from(slot).expect("groups are at most 256"));
        }
        let same = before.filter(|before| before.partition_count == partition_count);
        let known = same.map(|before| before.known.clone());
        let known = known.unwrap_or_else(|| Arc::new(KnownSeries::new(partition_count, known_max)));
        Ok(Routing { partition_count, groups, slots: slots.into(), known })
    }

    /// The groups that own something; slots are places in this list.
    pub(crate) fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    #[inline]
    pub(crate) fn slot(&self, partition: PartitionId) -> usize {
        usize::from(self.slots[partition.0 as usize])
    }
}
