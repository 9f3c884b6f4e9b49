//! The cluster as something that holds series.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{ClusterMap, Group, NodeId, Replica as ReplicaId, Ring};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{DurationMs, TimestampMs};
use parking_lot::Mutex;
use peer::{LabelQuestion, Members, Stores};
use replication::live_members;
use storage::{LabelQuery, LabelQueryAnswer, Queryable, SelectError, SelectRequest, Selection};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gather::gather;
use crate::question::Labels;
use crate::{Metrics, stream};

/// Tells the time of samples: which are too old to be written any more.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// When to do what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A replica or store that has not begun to answer after this is no longer waited for alone: others are asked, too.
    pub hedge_after: Duration,
    /// What has not begun to answer after this is named as missing.
    pub give_up_after: Duration,
    /// A stream that gives nothing for so long while it is waited for has broken.
    pub silence_max: Duration,
    /// A list of the bucket older than this may lack blocks.
    pub index_age_max: Duration,
    /// Samples younger than this are still written here: blocks from elsewhere are looked for in what is older. Not less than
    /// the window of the ingesters.
    pub recent: DurationMs,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            hedge_after: Duration::from_millis(300),
            give_up_after: Duration::from_secs(30),
            silence_max: Duration::from_secs(30),
            index_age_max: Duration::from_secs(300),
            recent: DurationMs::hours(3),
        }
    }
}

/// For so long a replica that did not answer is asked last.
const TROUBLE: Duration = Duration::from_secs(10);

/// Replicas in trouble that are remembered: more than a cluster has at once.
const TROUBLES_MAX: usize = 1024;

/// Points of a store on the ring of blocks: with them shares differ by some ten percent, and a ring of ten is built in a
/// fraction of a millisecond.
const STORE_POINTS: u32 = 128;

/// All groups and the stores of a cluster. Clones are the same.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

/// What all questions share.
pub(crate) struct Shared {
    map: watch::Receiver<Arc<ClusterMap>>,
    pub(crate) members: Arc<dyn Members>,
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) timing: Timing,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// Counts questions, so that each replica of a group is asked as often as the others.
    turn: AtomicUsize,
    /// When a replica last did not answer. A lock: every question writes, and holds it for a few steps of a small map.
    troubles: Mutex<BTreeMap<ReplicaId, Instant>>,
    /// The ring of the stores that were last up; a lock for the same reason.
    ring: Mutex<Arc<Ring<NodeId>>>,
}

impl Cluster {
    /// Reads through `members` and `stores` what `map` says there is.
    pub fn new(
        map: watch::Receiver<Arc<ClusterMap>>,
        members: Arc<dyn Members>,
        stores: Arc<dyn Stores>,
        timing: Timing,
        clock: Clock,
        metrics: Metrics,
    ) -> Cluster {
        let turn = AtomicUsize::new(0);
        let ring = Mutex::new(Arc::new(Ring::new([], STORE_POINTS)));
        let troubles = Mutex::default();
        Cluster { shared: Arc::new(Shared { map, members, stores, timing, clock, metrics, turn, troubles, ring }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn labels(
        &self,
        name: Option<String>,
        query: LabelQuery,
    ) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let shared = self.shared.clone();
        async move {
            let gathered = gather(&shared, &Labels(LabelQuestion { name, query })).await;
            let warnings: BTreeSet<String> = gathered.shortages.iter().map(ToString::to_string).collect();
            let values: BTreeSet<String> = gathered.parts().flatten().collect();
            shared.metrics.answered(!warnings.is_empty());
            Ok(LabelQueryAnswer { values: values.into_iter().collect(), warnings: warnings.into_iter().collect() })
        }
        .boxed()
    }
}

impl Queryable for Cluster {
    fn select(&self, request: SelectRequest) -> Selection {
        stream::select(self.shared.clone(), request)
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        self.labels(None, query)
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        self.labels(Some(name.to_owned()), query)
    }
}

impl Shared {
    /// The newest map.
    pub(crate) fn map(&self) -> Arc<ClusterMap> {
        self.map.borrow().clone()
    }

    /// The members of a group in the order in which to ask them: each the first in turn, those that are
    /// not filled later, then those in trouble, `avoid` last.
    pub(crate) fn preferred(&self, group: &Group, avoid: &[ReplicaId]) -> Vec<ReplicaId> {
        let mut members = live_members(group);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % members.len().max(1);
        members.rotate_left(turn);
        let now = Instant::now();
        let troubles = self.troubles.lock();
        let troubled = |id: &ReplicaId| troubles.get(id).is_some_and(|since| now.duration_since(*since) < TROUBLE);
        // With those that hold everything a quorum of the newest generation is one of those before, too.
        let is_full = |id: &ReplicaId| group.newest().members.iter().any(|m| m.replica == *id && m.filled);
        members.sort_by_cached_key(|id| (avoid.contains(id), troubled(id), !is_full(id)));
        members
    }

    /// Notes that a replica did not answer.
    pub(crate) fn in_trouble(&self, replica: &ReplicaId) {
        let now = Instant::now();
        let mut troubles = self.troubles.lock();
        troubles.retain(|_, since| now.duration_since(*since) < TROUBLE);
        if troubles.len() < TROUBLES_MAX {
            troubles.insert(replica.clone(), now);
        }
    }

    /// The ring of these stores, made anew where they are not those of the last time.
    pub(crate) fn ring<'a>(&self, stores: impl Iterator<Item = &'a NodeId> + Clone) -> Arc<Ring<NodeId>> {
        let mut ring = self.ring.lock();
        if !ring.owners().iter().eq(stores.clone()) {
            *ring = Arc::new(Ring::new(stores.cloned(), STORE_POINTS));
        }
        ring.clone()
    }
}
