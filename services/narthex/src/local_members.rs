//! The ingester of this process as the only member of the only group.

use std::sync::Arc;

use cluster::Replica;
use ingester::Ingester;
use peer::{Member, Members};

/// Finds the ingester of this process and nobody else.
pub(crate) struct LocalMembers(Arc<Ingester>);

impl LocalMembers {
    /// The ingester by the name that it has itself.
    pub(crate) fn new(ingester: &Arc<Ingester>) -> LocalMembers {
        LocalMembers(ingester.clone())
    }
}

impl Members for LocalMembers {
    fn member(&self, replica: &Replica) -> Option<Arc<dyn Member>> {
        (replica == self.0.replica()).then(|| self.0.clone() as Arc<dyn Member>)
    }
}
