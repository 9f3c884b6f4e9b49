//! Asking the stores: manifests, the index, and blocks.
//!
//! A block belongs to the first stores after its hash on a ring of those that are up; a store loads what it does not have, so
//! that any of them may stand in for one that fails or is slow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cluster::{NodeId, Ring};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use model::{TenantId, TimeRange};
use peer::{Answer, Index, ManifestAnswer, Store, Unanswered};
use replication::manifest::BlockName;
use tokio::time::Instant;
use tracing::debug;
use xxhash_rust::xxh3::xxh3_64;

use crate::cluster::Shared;
use crate::question::Question;

/// Stores that are asked for the same thing before it is given up: the two that should have it, and two more.
const TRIES_MAX: usize = 4;

/// How often each store has failed to serve a block in this query.
pub(crate) type Failures = BTreeMap<BlockName, BTreeMap<NodeId, usize>>;

/// The stores that are up.
pub(crate) struct Shelves {
    stores: BTreeMap<NodeId, Arc<dyn Store>>,
    ring: Arc<Ring<NodeId>>,
}

impl Shelves {
    pub(crate) fn up(shared: &Shared) -> Shelves {
        let stores: BTreeMap<NodeId, Arc<dyn Store>> = shared.stores.stores().into_iter().collect();
        let ring = shared.ring(stores.keys());
        Shelves { stores, ring }
    }

    fn order(&self, bytes: &[u8]) -> impl Iterator<Item = &NodeId> {
        self.ring.walk(xxh3_64(bytes)).take(TRIES_MAX)
    }

    /// The stores to ask for a block, those that have failed to serve it last.
    fn order_of_block(&self, block: BlockName, failures: &Failures) -> VecDeque<NodeId> {
        let mut order: Vec<NodeId> = self.ring.walk(xxh3_64(&block.to_le_bytes())).cloned().collect();
        if let Some(failed) = failures.get(&block) {
            order.sort_by_key(|node| failed.get(node).copied().unwrap_or(0));
        }
        order.truncate(TRIES_MAX);
        order.into()
    }

    /// The first good answer: the next store is asked when one fails or is slow. `Err` has the last one that was not good.
    async fn first<T: Send + 'static>(
        &self,
        shared: &Shared,
        bytes: &[u8],
        ask: impl Fn(&dyn Store) -> Answer<T>,
        is_good: impl Fn(&T) -> bool,
    ) -> Result<T, Option<T>> {
        let mut order = self.order(bytes).filter_map(|node| self.stores.get(node));
        let mut calls = FuturesUnordered::new();
        let end = tokio::time::sleep(shared.timing.give_up_after);
        tokio::pin!(end);
        let mut found = None;
        loop {
            // Each time round one store has failed, or is slow.
            match order.next() {
                Some(store) => calls.push(ask(&**store)),
                None if calls.is_empty() => return Err(found),
                None => {}
            }
            tokio::select! {
                Some(answer) = calls.next() => match answer {
                    Ok(answer) if is_good(&answer) => return Ok(answer),
                    Ok(answer) => found = Some(answer),
                    Err(Unanswered(reason)) => debug!(error = reason, "store did not answer"),
                },
                () = tokio::time::sleep(shared.timing.hedge_after) => {
                    shared.metrics.hedged.inc();
                }
                () = &mut end => return Err(found),
            }
        }
    }

    /// What a manifest says.
    pub(crate) async fn manifest(&self, shared: &Shared, tenant: &TenantId, name: &str) -> Option<ManifestAnswer> {
        let ask = |store: &dyn Store| store.manifest(tenant.clone(), name.to_owned());
        self.first(shared, name.as_bytes(), ask, |_| true).await.ok()
    }

    /// A list of the blocks in a range, young where one is to be had.
    pub(crate) async fn index(&self, shared: &Shared, tenant: &TenantId, range: TimeRange) -> Option<Index> {
        let ask = |store: &dyn Store| store.index(tenant.clone(), range);
        let is_young = |index: &Index| index.age <= shared.timing.index_age_max;
        self.first(shared, tenant.as_str().as_bytes(), ask, is_young).await.map_or_else(|old| old, Some)
    }
}

/// What stores have served.
pub(crate) struct Served<P> {
    /// Which store, which blocks, what is in them.
    pub(crate) parts: Vec<(NodeId, Vec<BlockName>, P)>,
    /// Blocks that nobody serves.
    pub(crate) unserved: BTreeSet<BlockName>,
}

/// A call under way.
struct Call {
    to: NodeId,
    blocks: Vec<BlockName>,
    hedge_at: Instant,
    hedged: bool,
}

type Reply<P> = (usize, Result<(Vec<BlockName>, P), Unanswered>);

/// Asks for blocks until each is served or nobody is left to ask.
struct Asking<'a, Q: Question> {
    shared: &'a Shared,
    question: &'a Q,
    shelves: &'a Shelves,
    /// Blocks not served yet, with the stores not asked for them yet.
    wanted: BTreeMap<BlockName, VecDeque<NodeId>>,
    calls: BTreeMap<usize, Call>,
    next_call: usize,
    replies: FuturesUnordered<BoxFuture<'static, Reply<Q::Part>>>,
}

impl<Q: Question> Asking<'_, Q> {
    /// Asks the next store of each block, in one call per store. Returns how many were asked.
    fn ask_next(&mut self, blocks: impl IntoIterator<Item = BlockName>) -> usize {
        let mut by_store: BTreeMap<NodeId, Vec<BlockName>> = BTreeMap::new();
        for block in blocks {
            if let Some(node) = self.wanted.get_mut(&block).and_then(VecDeque::pop_front) {
                by_store.entry(node).or_default().push(block);
            }
        }
        let asked = by_store.len();
        for (to, blocks) in by_store {
            let Some(store) = self.shelves.stores.get(&to) else { continue };
            let number = self.next_call;
            self.next_call += 1;
            let reply = self.question.ask_store(&**store, blocks.clone());
            self.replies.push(reply.map(move |reply| (number, reply)).boxed());
            let hedge_at = Instant::now() + self.shared.timing.hedge_after;
            self.calls.insert(number, Call { to, blocks, hedge_at, hedged: false });
        }
        asked
    }

    /// Asks others for what slow stores were asked for.
    fn hedge(&mut self) {
        let now = Instant::now();
        let mut slow = Vec::new();
        for call in self.calls.values_mut().filter(|call| !call.hedged && call.hedge_at <= now) {
            call.hedged = true;
            slow.extend(call.blocks.iter().copied());
        }
        let asked = self.ask_next(slow);
        self.shared.metrics.hedged.inc_by(asked as u64);
    }

    fn next_hedge(&self) -> Option<Instant> {
        self.calls.values().filter(|call| !call.hedged).map(|call| call.hedge_at).min()
    }

    /// What a call has brought, if it is news.
    fn take(&mut self, (number, reply): Reply<Q::Part>) -> Option<(NodeId, Vec<BlockName>, Q::Part)> {
        let call = self.calls.remove(&number)?;
        let (served, part) = match reply {
            Ok((served, part)) => (served, Some(part)),
            Err(Unanswered(reason)) => {
                debug!(node = %call.to, error = reason, "store did not answer");
                (Vec::new(), None)
            }
        };
        // Only what was asked for is believed to be served.
        let mut news: Vec<BlockName> = call.blocks.iter().copied().filter(|block| served.contains(block)).collect();
        news.retain(|block| self.wanted.remove(block).is_some());
        self.ask_next(call.blocks);
        let part = part.filter(|_| !news.is_empty())?;
        Some((call.to, news, part))
    }
}

/// Asks the stores for blocks: each block's own first, others when these fail, are slow or do not have it.
pub(crate) async fn read_blocks<Q: Question>(
    shared: &Shared,
    shelves: &Shelves,
    question: &Q,
    blocks: &BTreeSet<BlockName>,
    failures: &Failures,
) -> Served<Q::Part> {
    let wanted = blocks.iter().map(|block| (*block, shelves.order_of_block(*block, failures))).collect();
    let (calls, replies) = (BTreeMap::new(), FuturesUnordered::new());
    let mut asking = Asking { shared, question, shelves, wanted, calls, next_call: 0, replies };
    asking.ask_next(blocks.iter().copied());
    let mut parts = Vec::new();
    let end = Instant::now() + shared.timing.give_up_after;
    while !asking.wanted.is_empty() && !asking.calls.is_empty() {
        let until = asking.next_hedge().map_or(end, |hedge| hedge.min(end));
        tokio::select! {
            Some(reply) = asking.replies.next() => parts.extend(asking.take(reply)),
            () = tokio::time::sleep_until(until) => {
                if Instant::now() >= end {
                    break;
                }
                asking.hedge();
            }
        }
    }
    Served { parts, unserved: asking.wanted.into_keys().collect() }
}
