//! The ingester of this process as the only member of the only group.

use std::sync::Arc;

use anyhow::Context;
use cluster::{ClusterMap, Replica};
use ingester::Ingester;
use peer::{Member, Members};
use writer::AsMember;

/// Finds the ingester of this process and nobody else.
pub(crate) struct LocalMembers {
    me: Replica,
    member: Arc<dyn Member>,
}

impl LocalMembers {
    /// The ingester by the name that the map has for it.
    pub(crate) fn new(map: &ClusterMap, ingester: &Arc<Ingester>) -> anyhow::Result<LocalMembers> {
        let group = map.groups().first().context("the cluster map has no group")?;
        let me = group.newest().members.first().context("the group has no member")?.replica.clone();
        // TEMPORARY: until the ingester is a `Member` itself.
        Ok(LocalMembers { me, member: Arc::new(AsMember(ingester.clone())) })
    }
}

impl Members for LocalMembers {
    fn member(&self, replica: &Replica) -> Option<Arc<dyn Member>> {
        (*replica == self.me).then(|| self.member.clone())
    }
}
