//! The answers of a store.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use block::{Block, ReadError};
use bucket::{Bucket, Manifest, OnFailure, stream_block};
use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use model::{TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use peer::{Answer, Index, LabelQuestion, ManifestAnswer, Store, StoreLabels, StoreSelected, Unanswered};
use replication::manifest::BlockName;
use storage::{Merge, SelectError, SelectRequest, SeriesBatch, SourceError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};
use ulid::Ulid;

use crate::Metrics;
use crate::catalog::{Catalog, ClusterName, Serving};

/// Blocks read at the same moment: enough that the bucket has something to do.
const THREADS_MAX: usize = 64;

/// Manifests kept in memory; they never change.
const MANIFESTS_KEPT: usize = 4096;

/// Most blocks in one question.
const BLOCKS_ASKED_MAX: usize = 100_000;

/// Bounds of a store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Blocks read at once by all questions: each holds two batches of series with their chunks.
    pub reading_max: u32,
    /// Questions under way; more wait.
    pub questions_max: usize,
    /// Blocks whose symbols and tables are kept in memory.
    pub open_max: usize,
    /// Time between listings of the bucket.
    pub refresh_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { reading_max: 128, questions_max: 64, open_max: 1000, refresh_every: Duration::from_secs(30) }
    }
}

/// What a store needs.
pub struct Config {
    /// Where the blocks are.
    pub bucket: Bucket,
    /// A folder of its own for index headers; made where it is not there.
    pub folder: PathBuf,
    /// The id of the cluster in 32 hexadecimal digits, once it is known: whose blocks are its own.
    pub cluster: ClusterName,
    /// Bounds.
    pub limits: Limits,
    /// What it tells of itself.
    pub metrics: Metrics,
}

/// Why a store does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("prepare {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Serves the blocks of a bucket. Clones are the same.
#[derive(Clone)]
pub struct BlockStore(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    limits: Limits,
    questions: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    /// Held for a step by each question for a manifest.
    manifests: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_name: HashMap<String, Arc<Manifest>>,
    order: VecDeque<String>,
}

impl BlockStore {
    /// Nothing is listed before the first [`BlockStore::refresh`]; blocks that are named are served at once.
    pub fn new(config: Config) -> Result<BlockStore, StartError> {
        let Config { bucket, folder, cluster, limits, metrics } = config;
        let unusable = |source| StartError::Folder { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(unusable)?;
        // Headers that were being written when the process ended.
        for entry in std::fs::read_dir(&folder).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            if path.extension().is_some_and(|extension| extension == "unfinished") {
                std::fs::remove_file(&path).map_err(unusable)?;
            }
        }
        let catalog = Catalog::new(bucket, folder, cluster, limits.open_max, metrics);
        let questions = Arc::new(Semaphore::new(limits.questions_max));
        let reading = Arc::new(Semaphore::new(limits.reading_max as usize));
        let (threads, manifests) = (Arc::new(Semaphore::new(THREADS_MAX)), Mutex::default());
        Ok(BlockStore(Arc::new(Inner { catalog, limits, questions, reading, threads, manifests })))
    }

    /// Lists the bucket.
    pub async fn refresh(&self) -> Result<(), bucket::Error> {
        self.0.catalog.refresh().await
    }

    /// Lists the bucket again and again, until it is dropped.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(self.0.limits.refresh_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.refresh().await {
                Ok(()) if failing => {
                    failing = false;
                    info!("the bucket is listed again");
                }
                Ok(()) => {}
                Err(e) if !failing => {
                    failing = true;
                    warn!(error = storage::chain(&e), "the bucket could not be listed");
                }
                Err(_) => {}
            }
        }
    }

    /// How old the list of the bucket is; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let nothing = TimeRange::new(TimestampMs::MIN, TimestampMs::MIN);
        self.0.catalog.index(&TenantId::anonymous(), nothing).map(|(_, age)| age)
    }

    /// Opens blocks and takes the right to read them all at once: a merge needs them together.
    async fn open(
        self,
        tenant: TenantId,
        blocks: Vec<BlockName>,
    ) -> Result<(Vec<Serving>, (OwnedSemaphorePermit, OwnedSemaphorePermit)), Unanswered> {
        if blocks.len() > BLOCKS_ASKED_MAX {
            return Err(Unanswered(format!("more than {BLOCKS_ASKED_MAX} blocks in one question")));
        }
        let closing = |_| Unanswered("the store is stopping".to_owned());
        let question = self.0.questions.clone().acquire_owned().await.map_err(closing)?;
        let names = blocks.into_iter().map(Ulid).collect();
        let opened = self.0.catalog.open_all(&tenant, names).await;
        let count = u32::try_from(opened.len()).unwrap_or(u32::MAX).clamp(1, self.0.limits.reading_max);
        let reading = self.0.reading.clone().acquire_many_owned(count).await.map_err(closing)?;
        Ok((opened, (question, reading)))
    }

    /// The series of one block; what makes it unreadable sets it aside.
    fn stream(&self, block: Arc<Block>, request: SelectRequest) -> BoxStream<'static, Item> {
        let (this, failing) = (self.clone(), block.clone());
        let failed: OnFailure = Arc::new(move |e| this.failed(&failing, e));
        stream_block(block, request, self.0.threads.clone(), failed)
    }

    fn failed(&self, block: &Block, e: ReadError) -> SelectError {
        let ulid = block.meta().ulid;
        self.0.catalog.failed(ulid, &e);
        e.into_select_error(&ulid.to_string())
    }

    async fn manifest_of(&self, name: String) -> Result<Arc<Manifest>, Unanswered> {
        if let Some(kept) = self.0.manifests.lock().by_name.get(&name) {
            return Ok(kept.clone());
        }
        let read = self.0.catalog.bucket().manifest_named(&name).await.map_err(|e| Unanswered(storage::chain(&e)))?;
        let manifest = Arc::new(read.ok_or_else(|| Unanswered(format!("there is no manifest {name}")))?);
        let mut kept = self.0.manifests.lock();
        if kept.by_name.insert(name.clone(), manifest.clone()).is_none() {
            kept.order.push_back(name);
        }
        while kept.order.len() > MANIFESTS_KEPT {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.by_name.remove(&oldest);
        }
        Ok(manifest)
    }
}

type Item = Result<SeriesBatch, SelectError>;

/// The series of several blocks as one stream, which holds `permits` while it lives.
fn merged(streams: Vec<BoxStream<'static, Item>>, permits: impl Send + 'static) -> BoxStream<'static, Item> {
    let mut merge = Merge::new();
    streams.into_iter().for_each(|stream| merge.add((), stream));
    futures::stream::unfold(Some((merge, permits)), |state| async {
        let (mut merge, permits) = state?;
        match merge.next_batch().await {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => Some((Ok(batch), Some((merge, permits)))),
            Err(SourceError { error, .. }) => Some((Err(error), None)),
        }
    })
    .boxed()
}

fn names(serving: &[Serving]) -> Vec<BlockName> {
    serving.iter().flat_map(|serving| serving.names.iter().map(|ulid| ulid.0)).collect()
}

impl Store for BlockStore {
    fn select(&self, blocks: Vec<BlockName>, request: SelectRequest) -> Answer<StoreSelected> {
        let this = self.clone();
        async move {
            let (opened, permits) = this.clone().open(request.tenant.clone(), blocks).await?;
            let served = names(&opened);
            let streams = opened.into_iter().map(|serving| this.stream(serving.block, request.clone())).collect();
            Ok(StoreSelected { served, series: merged(streams, permits) })
        }
        .boxed()
    }

    fn labels(&self, blocks: Vec<BlockName>, question: LabelQuestion) -> Answer<StoreLabels> {
        let this = self.clone();
        async move {
            let (opened, _permits) = this.clone().open(question.query.tenant.clone(), blocks).await?;
            let mut served = Vec::new();
            let mut values = BTreeSet::new();
            for serving in opened {
                let (block, LabelQuestion { name, query }) = (serving.block.clone(), question.clone());
                let read = tokio::task::spawn_blocking(move || match name {
                    Some(name) => block.label_values(&name, &query.matcher_sets),
                    None => block.label_names(&query.matcher_sets),
                });
                match read.await.map_err(|e| Unanswered(e.to_string()))? {
                    Ok(found) => {
                        values.extend(found);
                        served.extend(serving.names.iter().map(|ulid| ulid.0));
                    }
                    // It is not served, which says so.
                    Err(e) => drop(this.failed(&serving.block, e)),
                }
            }
            Ok(StoreLabels { served, values: values.into_iter().collect() })
        }
        .boxed()
    }

    fn manifest(&self, tenant: TenantId, name: String) -> Answer<ManifestAnswer> {
        let this = self.clone();
        async move {
            let manifest = this.manifest_of(name).await?;
            let mut blocks = Vec::new();
            for block in manifest.blocks.iter().filter(|block| block.tenant == tenant.as_str()) {
                let ulid: Ulid = block.ulid.parse().map_err(|_| Unanswered(format!("block {:?}", block.ulid)))?;
                blocks.push(ulid.0);
            }
            let hole = manifest.holes.iter().any(|whose| whose == tenant.as_str());
            Ok(ManifestAnswer { start: TimestampMs(manifest.start), blocks, hole })
        }
        .boxed()
    }

    fn index(&self, tenant: TenantId, range: TimeRange) -> Answer<Index> {
        let found = self.0.catalog.index(&tenant, range);
        let unlisted = || Unanswered("the bucket could not be listed yet".to_owned());
        futures::future::ready(found.map(|(entries, age)| Index { entries, age }).ok_or_else(unlisted)).boxed()
    }
}
