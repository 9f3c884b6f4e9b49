//! The place of an ingester in its group: taken once the map names this node's directory as a member, empty before.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use batch::Batch;
use cluster::{ClusterMap, Replica};
use futures::FutureExt;
use ingester::Ingester;
use model::{Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use peer::{Answer, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Selected, Unanswered};
use replication::replica::{ListReply, NotNow, PushReply, SealReply};
use replication::{Entry, Position, is_live};
use storage::SelectRequest;

/// The ingester of this node, once it is a member.
#[derive(Clone, Default)]
pub(crate) struct Seat(Arc<OnceLock<Arc<Ingester>>>);

/// The group of which this replica is a member, in any generation that counts.
pub(crate) fn entry_of(map: &ClusterMap, replica: &Replica) -> Option<Entry> {
    map.groups().iter().find(|group| is_live(group, replica)).map(|group| Arc::new(group.clone()))
}

fn nobody<T: Send + 'static>() -> Answer<T> {
    futures::future::ready(Err(Unanswered("this ingester is a member of no group".to_owned()))).boxed()
}

impl Seat {
    /// The ingester takes its seat.
    pub(crate) fn take(&self, ingester: Arc<Ingester>) {
        drop(self.0.set(ingester));
    }

    /// The ingester, if it is a member.
    pub(crate) fn ingester(&self) -> Option<&Arc<Ingester>> {
        self.0.get()
    }
}

impl Member for Seat {
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply> {
        match self.ingester() {
            Some(ingester) => ingester.push(entry, batch),
            None => futures::future::ready(Ok(PushReply::NotNow(NotNow::NoMember))).boxed(),
        }
    }

    fn list(&self, puller: Replica, entry: Entry, after: Position) -> Answer<ListReply> {
        self.ingester().map_or_else(nobody, |ingester| ingester.list(puller, entry, after))
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Option<Fetched>> {
        self.ingester().map_or_else(nobody, |ingester| ingester.fetch(fetch))
    }

    fn seal(&self, entry: Entry, start: TimestampMs) -> Answer<SealReply> {
        self.ingester().map_or_else(nobody, |ingester| ingester.seal(entry, start))
    }

    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected> {
        self.ingester().map_or_else(nobody, |ingester| Member::select(&**ingester, entry, request))
    }

    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled> {
        self.ingester().map_or_else(nobody, |ingester| ingester.labels(entry, question))
    }

    fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        self.ingester().map_or_else(nobody, |ingester| ingester.exemplars(tenant, range, sets))
    }

    fn metadata(&self, tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        self.ingester().map_or_else(nobody, |ingester| ingester.metadata(tenant))
    }
}
