//! The blocks of the bucket, open for reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use block::{Block, BlockMeta};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use model::{TenantId, TimeRange};
use parking_lot::RwLock;
use storage::{LabelQuery, LabelQueryAnswer, Missing, Queryable, SelectError, SelectRequest, Selection, Union, chain};
use tokio::sync::Semaphore;
use tracing::warn;
use ulid::Ulid;

use crate::remote::may_pass;
use crate::{Bucket, Error, OnFailure, stream_block};

/// The label under which Thanos and we keep the tenant of a block.
const TENANT_LABEL: &str = "tenant_id";
/// Blocks read at the same moment: enough that a disk or a bucket has something to do.
const THREADS_MAX: usize = 64;

/// All blocks of a bucket; clones are the same.
#[derive(Clone)]
pub struct Blocks {
    bucket: Bucket,
    known: Arc<RwLock<Known>>,
    threads: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    open: BTreeMap<Ulid, Arc<Block>>,
    /// Blocks that cannot be read. Named in answers that would need them.
    set_aside: BTreeMap<Ulid, SetAside>,
    /// A listing has succeeded.
    listed: bool,
}

struct SetAside {
    /// As far as it is known.
    range: Option<TimeRange>,
    why: String,
    /// The store was out of reach; the next refresh tries again.
    again: bool,
}

/// One block as a store; its damage sets it aside.
struct OneBlock {
    block: Arc<Block>,
    known: Arc<RwLock<Known>>,
    threads: Arc<Semaphore>,
}

impl Blocks {
    /// Nothing is open before the first [`Blocks::refresh`].
    pub fn new(bucket: Bucket) -> Blocks {
        Blocks { bucket, known: Arc::default(), threads: Arc::new(Semaphore::new(THREADS_MAX)) }
    }

    /// Opens blocks that are new in the bucket and forgets those that are gone.
    pub async fn refresh(&self) -> Result<(), Error> {
        let listed: BTreeSet<Ulid> = self.bucket.list().await?.into_iter().collect();
        let new: Vec<Ulid> = {
            let mut known = self.known.write();
            known.listed = true;
            known.open.retain(|ulid, _| listed.contains(ulid));
            known.set_aside.retain(|ulid, _| listed.contains(ulid));
            let given_up = |ulid: &Ulid| known.set_aside.get(ulid).is_some_and(|s| !s.again);
            let seen = |ulid: &Ulid| known.open.contains_key(ulid) || given_up(ulid);
            listed.into_iter().filter(|u| !seen(u)).collect()
        };
        for ulid in new {
            let source = self.bucket.source(ulid);
            // Opening reads the index' tables: not for the reactor's threads.
            let opened =
                tokio::task::spawn_blocking(move || (Block::read_meta(&*source).ok(), Block::open(source))).await;
            let (range, why, again) = match opened {
                Ok((_, Ok(block))) if foreign_labels(block.meta()) => {
                    let why = "it has external labels, which this version does not add on reading";
                    (Some(block.meta().range()), why.to_owned(), false)
                }
                Ok((_, Ok(block))) => {
                    let mut known = self.known.write();
                    known.set_aside.remove(&ulid);
                    known.open.insert(ulid, Arc::new(block));
                    continue;
                }
                Ok((meta, Err(e))) => (meta.map(|m| m.range()), chain(&e), may_pass(&e)),
                Err(e) => (None, e.to_string(), false),
            };
            set_aside(&self.known, ulid, SetAside { range, why, again });
        }
        Ok(())
    }

    /// `meta.json` of all open blocks.
    pub fn metas(&self) -> Vec<BlockMeta> {
        self.known.read().open.values().map(|b| b.meta().clone()).collect()
    }

    /// Blocks that cannot be read, and why.
    pub fn set_aside(&self) -> Vec<(Ulid, String)> {
        self.known.read().set_aside.iter().map(|(u, s)| (*u, s.why.clone())).collect()
    }

    /// Deletes a block from the bucket, after no new query meets it.
    pub async fn delete(&self, ulid: Ulid) -> Result<(), Error> {
        self.known.write().open.remove(&ulid);
        self.bucket.delete(ulid).await
    }

    /// What cannot be read at the moment and may hold samples of the range, in words for `warnings`.
    pub fn missing(&self, range: TimeRange) -> Vec<String> {
        let known = self.known.read();
        if !known.listed && self.bucket.is_remote() {
            return vec!["the bucket could not be listed yet, the samples of its blocks are missing".to_owned()];
        }
        let named = known.set_aside.iter().filter(|(_, s)| s.range.is_none_or(|r| r.overlaps(&range)));
        named.map(|(ulid, s)| format!("block {ulid} is set aside, its samples are missing: {}", s.why)).collect()
    }

    /// Asks until no more blocks are set aside, and names those that are.
    fn labels(
        &self,
        query: LabelQuery,
        ask: impl Fn(&Union, LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let this = self.clone();
        async move {
            let mut attempt = 1;
            loop {
                let missing = this.missing(query.range);
                let asked = ask(&this.union(&query.tenant, query.range), query.clone());
                match asked.await {
                    Err(SelectError::Unreadable { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                    Err(e) => return Err(e),
                    Ok(mut answer) => {
                        answer.warnings.extend(missing);
                        return Ok(answer);
                    }
                }
            }
        }
        .boxed()
    }

    fn union(&self, tenant: &TenantId, range: TimeRange) -> Union {
        let known = self.known.read();
        let wanted = known.open.values().filter(|b| b.meta().range().overlaps(&range) && belongs(b.meta(), tenant));
        let store = |block: &Arc<Block>| -> Arc<dyn Queryable> {
            Arc::new(OneBlock { block: block.clone(), known: self.known.clone(), threads: self.threads.clone() })
        };
        Union::new(wanted.map(store).collect())
    }
}

/// Whether a foreign writer wants labels added to every series.
pub fn foreign_labels(meta: &BlockMeta) -> bool {
    meta.thanos.as_ref().is_some_and(|t| t.labels.keys().any(|k| k != TENANT_LABEL))
}

/// Whether a block is a tenant's.
pub fn belongs(meta: &BlockMeta, tenant: &TenantId) -> bool {
    let named = meta.thanos.as_ref().and_then(|t| t.labels.get(TENANT_LABEL));
    named.map_or(TenantId::ANONYMOUS, String::as_str) == tenant.as_str()
}

/// How often a question is asked again because a block turned out to be unreadable and was set aside.
const ATTEMPTS_MAX: usize = 4;

fn set_aside(known: &RwLock<Known>, ulid: Ulid, aside: SetAside) {
    warn!(block_ulid = %ulid, error = %aside.why, again = aside.again, "block set aside");
    let mut known = known.write();
    known.open.remove(&ulid);
    known.set_aside.insert(ulid, aside);
}

impl Queryable for Blocks {
    fn select(&self, request: SelectRequest) -> Selection {
        // Damage that is found on the way ends the answer with an error; asked again, it is named here.
        let missing = Missing::from_iter(self.missing(request.range));
        let (tenant, range) = (request.tenant.clone(), request.range);
        Selection::new(self.union(&tenant, range).select(request).boxed(), missing)
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        self.labels(query, |union, query| union.label_names(query))
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let name = name.to_owned();
        self.labels(query, move |union, query| union.label_values(&name, query))
    }
}

impl OneBlock {
    fn failed(&self, e: block::ReadError) -> SelectError {
        let ulid = self.block.meta().ulid;
        let again = may_pass(&e);
        let error = e.into_select_error(&ulid.to_string());
        let range = Some(self.block.meta().range());
        set_aside(&self.known, ulid, SetAside { range, why: error.to_string(), again });
        error
    }

    fn labels(
        &self,
        f: impl FnOnce(&Block) -> Result<Vec<String>, block::ReadError> + Send + 'static,
    ) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let this = OneBlock { block: self.block.clone(), known: self.known.clone(), threads: self.threads.clone() };
        async move {
            let done = tokio::task::spawn_blocking(move || f(&this.block).map_err(|e| this.failed(e))).await;
            let values = done.map_err(|e| SelectError::Unavailable(e.to_string()))??;
            Ok(LabelQueryAnswer { values, warnings: Vec::new() })
        }
        .boxed()
    }
}

impl Queryable for OneBlock {
    fn select(&self, request: SelectRequest) -> Selection {
        let this = OneBlock { block: self.block.clone(), known: self.known.clone(), threads: self.threads.clone() };
        let failed: OnFailure = Arc::new(move |e| this.failed(e));
        stream_block(self.block.clone(), request, self.threads.clone(), failed).into()
    }

    fn label_names(&self, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        self.labels(move |block| block.label_names(&query.matcher_sets))
    }

    fn label_values(&self, name: &str, query: LabelQuery) -> BoxFuture<'static, Result<LabelQueryAnswer, SelectError>> {
        let name = name.to_owned();
        self.labels(move |block| block.label_values(&name, &query.matcher_sets))
    }
}
