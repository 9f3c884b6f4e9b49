//! Closing ranges (`ARCHITECTURE.md`, "Closing a range"): carries out what `replication::closer` asks for, against the bucket and
//! the other members. A group of one is its own quorum and pulls from nobody; otherwise it goes the same way.
//!
//! Each step may be the last before a crash; whoever comes next begins again, and a manifest that is there decides. Blocks of ours
//! that it does not list are left-overs of an attempt and go, once it was read: a manifest that lists them may have been on its
//! way until then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bucket::{Blocks, Bucket, Created, Manifest as Stored, ManifestBlock};
use cluster::{ClusterId, GenerationNumber, GroupId, Incarnation, NodeId, Replica as ReplicaId};
use model::{TenantId, TimeRange, TimestampMs};
use peer::Members;
use replication::closer::{self, Ask};
use replication::manifest::{BlockName, Manifest};
use replication::range::end_of;
use replication::replica::{Effects, SealReply};
use replication::{Entry, Rules};
use storage::chain;
use tokio::sync::Mutex;
use tracing::{debug, error, info, warn};
use ulid::Ulid;

use crate::Ingester;
use crate::cut::{Cut, CutError};
use crate::group::Core;
use crate::ingester::{LogFailed, no_answer};

/// How long another member may take over a seal.
const SEAL_TIMEOUT: Duration = Duration::from_secs(10);

type Step = closer::Step<Arc<batch::Batch>>;

/// Why a range was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The log does not take the change.
    #[error("log a change")]
    Log(#[from] LogFailed),
    /// The bucket said no.
    #[error("use bucket")]
    Bucket(#[from] bucket::Error),
    /// The scratch folder.
    #[error("clean {path}")]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another cluster closes ranges under our name, or our disk went back in time.
    #[error("the manifest of {start} is of another cluster, group or range")]
    ForeignManifest {
        /// Start of the range.
        start: TimestampMs,
    },
    /// A manifest that a closer of ours does not write.
    #[error("the manifest of {start} is malformed: {what}")]
    MalformedManifest {
        /// Start of the range.
        start: TimestampMs,
        /// Which part.
        what: &'static str,
    },
    /// The block was not cut.
    #[error("cut block of tenant {tenant}")]
    Cut {
        /// Whose.
        tenant: TenantId,
        /// Why.
        #[source]
        source: CutError,
    },
    /// A computation panicked.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Closes the ranges of an ingester.
pub struct Closer {
    ingester: Arc<Ingester>,
    members: Arc<dyn Members>,
    bucket: Bucket,
    blocks: Arc<Blocks>,
    scratch: PathBuf,
    cluster: ClusterId,
    /// One run at a time. An asynchronous lock, because it is held over the bucket's answers.
    state: Mutex<Closing>,
}

struct Closing {
    core: closer::Closer,
    /// What the core's manifest does not say of blocks of ours: those of the last cut.
    cut: BTreeMap<BlockName, ManifestBlock>,
    /// Ranges closed in this run.
    closed: usize,
}

impl Closer {
    /// `scratch` is a folder of its own for blocks being cut.
    pub fn new(
        ingester: Arc<Ingester>,
        members: Arc<dyn Members>,
        bucket: Bucket,
        blocks: Arc<Blocks>,
        scratch: PathBuf,
        cluster: ClusterId,
    ) -> Closer {
        let identity = closer::Identity { cluster, window: (ingester.window)() };
        let core = closer::Closer::new(identity, Rules::ALL);
        let state = Mutex::new(Closing { core, cut: BTreeMap::new(), closed: 0 });
        Closer { ingester, members, bucket, blocks, scratch, cluster, state }
    }

    fn now(&self) -> TimestampMs {
        (self.ingester.clock)()
    }

    /// Goes on closing every range that is due, oldest first, as far as it gets without waiting; and frees what was closed long
    /// enough ago. Returns how many ranges were closed. To be called again and again; after an error, too.
    pub async fn run(&self) -> Result<usize, CloseError> {
        let mut closing = self.state.lock().await;
        closing.core.set_window((self.ingester.window)());
        closing.closed = 0;
        // A look at all series, so one for the whole run: what comes meanwhile is seen by the next.
        let held = self.held().await?;
        let outcome = self.close_all(&mut closing, &held).await;
        if let Some(foreign) = closing.core.foreign() {
            return Err(CloseError::ForeignManifest { start: foreign.manifest.start });
        }
        outcome?;
        self.free(&closing.core, held).await?;
        Ok(closing.closed)
    }

    async fn close_all(&self, closing: &mut Closing, held: &BTreeSet<TimestampMs>) -> Result<(), CloseError> {
        loop {
            let (oldest, now, closed) = (self.oldest(held), self.now(), closing.closed);
            let (asks, before) = self.step(|replica| closing.core.tick(replica, oldest, now)).await?;
            let mut attempt = before;
            let mut todo: VecDeque<(u64, Ask)> = asks.into_iter().map(|ask| (before, ask)).collect();
            while let Some((of, ask)) = todo.pop_front() {
                match self.carry_out(closing, of, ask).await {
                    Ok((more, next)) => {
                        attempt = next;
                        todo.extend(more.into_iter().map(|ask| (next, ask)));
                    }
                    Err(e) => {
                        closing.core.failed();
                        return Err(e);
                    }
                }
            }
            // Otherwise it waits for pulls, for members that did not answer, or for its turn.
            if attempt == before && closing.closed == closed {
                return Ok(());
            }
        }
    }

    /// Carries out what is asked, and tells the core what came of it. Returns what it asks then.
    async fn carry_out(&self, closing: &mut Closing, attempt: u64, ask: Ask) -> Result<(Vec<Ask>, u64), CloseError> {
        debug!(?ask, attempt, "closing");
        match ask {
            Ask::ReadManifest { start } => {
                let there = self.read_manifest(start).await?;
                let now = self.now();
                self.step(|replica| closing.core.manifest_read(replica, attempt, there, now)).await
            }
            Ask::Seal { to, entry, start } => {
                let Some(reply) = self.seal(&to, entry, start).await? else { return Ok((Vec::new(), attempt)) };
                let now = self.now();
                self.step(|replica| closing.core.sealed(replica, attempt, &to, reply, now)).await
            }
            Ask::Pull { .. } => {
                self.ingester.pull_soon();
                Ok((Vec::new(), attempt))
            }
            Ask::Cut { start } => {
                // A cover is durable before what it stands for is applied; what is cut is read from the head.
                self.ingester.change(|_| Effects::default()).await?;
                let (blocks, holes) = self.cut_all(TimeRange::new(start, end_of(start))).await?;
                let names = blocks.keys().copied().collect();
                closing.cut = blocks;
                let now = self.now();
                self.step(|replica| closing.core.cut(replica, attempt, names, holes, now)).await
            }
            Ask::Create(manifest) => {
                let stored = to_stored(&manifest, &closing.cut);
                let there = match self.bucket.create_manifest(&stored).await? {
                    Created::Ours => manifest,
                    Created::Theirs(theirs) => from_stored(&theirs)?,
                };
                let now = self.now();
                self.step(|replica| closing.core.created(replica, attempt, there, now)).await
            }
            Ask::FindMetas(blocks) => {
                let Some(start) = closing.core.range() else { return Ok((Vec::new(), attempt)) };
                self.blocks.refresh().await?;
                let listed = self.bucket.list().await?;
                let all = blocks.iter().all(|block| listed.binary_search(&Ulid(*block)).is_ok());
                if all {
                    self.remove_left_overs(start, &blocks).await?;
                } else {
                    warn!(start = start.0, "a block of a manifest is not in the bucket; the range is kept");
                }
                let now = self.now();
                let next = self.step(|replica| closing.core.metas_found(replica, attempt, all, now)).await?;
                if all {
                    closing.closed += 1;
                    info!(start = start.0, end = end_of(start).0, blocks = blocks.len(), "range closed");
                }
                Ok(next)
            }
            Ask::Delete(blocks) => {
                for block in blocks {
                    // Should it not work, the block is a left-over, and is looked for with the manifest in hand.
                    if let Err(e) = self.blocks.delete(Ulid(block)).await {
                        warn!(block_ulid = %Ulid(block), error = %chain(&e), "delete block of no use failed");
                    }
                }
                Ok((Vec::new(), attempt))
            }
        }
    }

    /// A step of the core; what it logs is durable and applied when this returns. What is to be done, and of which attempt.
    async fn step(&self, step: impl FnOnce(&mut Core) -> Step) -> Result<(Vec<Ask>, u64), CloseError> {
        let shared = &self.ingester.shared;
        let (asks, attempt, settled) = {
            let mut group = shared.lock();
            let step = step(&mut group.core);
            // Without anything to log there is nothing to wait for.
            let is_logged = !step.effects.append.is_empty();
            group.log(step.effects);
            (step.asks, step.attempt, is_logged.then(|| group.settled()))
        };
        if let Some(settled) = settled {
            shared.wake.notify_one();
            settled.await.map_err(|_| no_answer(shared))?;
        }
        Ok((asks, attempt))
    }

    /// The oldest range of those that hold samples that is not dropped.
    fn oldest(&self, held: &BTreeSet<TimestampMs>) -> Option<TimestampMs> {
        let state = self.ingester.state();
        held.iter().copied().find(|start| !state.is_dropped(*start))
    }

    async fn held(&self) -> Result<BTreeSet<TimestampMs>, CloseError> {
        let ingester = self.ingester.clone();
        Ok(tokio::task::spawn_blocking(move || ingester.held_ranges()).await?)
    }

    async fn read_manifest(&self, start: TimestampMs) -> Result<Option<Manifest>, CloseError> {
        let there = self.bucket.manifest(&cluster_text(self.cluster), self.ingester.group.0, start.0).await?;
        there.as_ref().map(from_stored).transpose()
    }

    /// What a member says to the seal; `None`: nothing, and it is asked again.
    async fn seal(&self, to: &ReplicaId, entry: Entry, start: TimestampMs) -> Result<Option<SealReply>, CloseError> {
        if to == self.ingester.replica() {
            let (window, now) = ((self.ingester.window)(), self.now());
            return Ok(Some(self.ingester.seal_at(Some(entry), start, window, now).await?));
        }
        let Some(member) = self.members.member(to) else { return Ok(None) };
        match tokio::time::timeout(SEAL_TIMEOUT, member.seal(entry, start)).await {
            Ok(Ok(reply)) => Ok(Some(reply)),
            Ok(Err(e)) => {
                debug!(replica = %to, error = %e, "seal is not answered");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Blocks of this range that an attempt of this replica uploaded, whole or in part, and that the manifest, which was read,
    /// does not list.
    async fn remove_left_overs(&self, start: TimestampMs, listed: &[BlockName]) -> Result<(), CloseError> {
        let ours = self.extensions(start);
        let is_ours =
            |meta: &block::BlockMeta| meta.thanos.as_ref().is_some_and(|t| t.extensions.as_ref() == Some(&ours));
        let whole = self.blocks.metas().into_iter().filter(is_ours).map(|meta| meta.ulid);
        let scratch = self.scratch_of(start);
        let begun = attempts(&scratch).map_err(|source| CloseError::Scratch { path: scratch.clone(), source })?;
        let left: BTreeSet<Ulid> = whole.chain(begun).filter(|ulid| !listed.contains(&ulid.0)).collect();
        for ulid in left {
            warn!(block_ulid = %ulid, "block of an unfinished attempt removed");
            self.blocks.delete(ulid).await?;
        }
        match std::fs::remove_dir_all(&scratch) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CloseError::Scratch { path: scratch, source: e }),
            _ => Ok(()),
        }
    }

    /// A folder for blocks of a range. In it a folder is kept for each block of which the upload was begun, until a manifest of the
    /// range was read: empty, it says that there may be left-overs of that name.
    fn scratch_of(&self, start: TimestampMs) -> PathBuf {
        self.scratch.join(start.0.to_string())
    }

    fn extensions(&self, start: TimestampMs) -> serde_json::Value {
        let replica = self.ingester.replica();
        serde_json::json!({ "narthex": {
            "cluster": cluster_text(self.cluster),
            "group": self.ingester.group.0,
            "node": replica.node.as_str(),
            "incarnation": replica.incarnation.to_string(),
            "range": start.0,
        }})
    }

    /// One block for each tenant that has samples, uploaded; and the tenants whose samples cannot be read.
    async fn cut_all(
        &self,
        range: TimeRange,
    ) -> Result<(BTreeMap<BlockName, ManifestBlock>, Vec<TenantId>), CloseError> {
        let folder = self.scratch_of(range.mint);
        let failed = |source| CloseError::Scratch { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        for ulid in attempts(&folder).map_err(failed)? {
            empty(&folder.join(ulid.to_string())).map_err(failed)?;
        }
        let (mut blocks, mut holes) = (BTreeMap::new(), Vec::new());
        for tenant in self.ingester.head().tenants() {
            let ulid = Ulid::new();
            let (head, whose, scratch) = (self.ingester.head().clone(), tenant.clone(), folder.clone());
            let extensions = self.extensions(range.mint);
            let cut = tokio::task::spawn_blocking(move || {
                Cut { head: &head, tenant: &whose, range, extensions }.write(&scratch, ulid)
            });
            match cut.await? {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let cut = folder.join(ulid.to_string());
                    let bytes = self.bucket.upload(&cut, ulid).await?;
                    empty(&cut).map_err(failed)?;
                    let block = ManifestBlock { ulid: ulid.to_string(), tenant: tenant.to_string(), bytes };
                    blocks.insert(ulid.0, block);
                }
                // One tenant must not hold up the others for ever.
                Err(e) if e.is_damage() => {
                    error!(%tenant, start = range.mint.0, error = %chain(&e), "samples cannot be read; the range has a hole");
                    holes.push(tenant);
                }
                Err(source) => return Err(CloseError::Cut { tenant, source }),
            }
        }
        Ok((blocks, holes))
    }

    /// Frees the closed ranges that were served long enough.
    async fn free(&self, core: &closer::Closer, held: BTreeSet<TimestampMs>) -> Result<(), CloseError> {
        let now = self.now();
        let mut is_freed = false;
        let changed = self.ingester.change(|replica| {
            let mut all = Effects::default();
            core.free(replica, held, now).into_iter().for_each(|effects| all.append.extend(effects.append));
            is_freed = !all.append.is_empty();
            all
        });
        changed.await?;
        if is_freed {
            let gone = self.ingester.collect().await?;
            info!(series_gone = gone, "closed ranges freed");
        }
        Ok(())
    }

    /// Gives the memory of mapped chunks back to the kernel.
    pub fn drop_resident(&self) {
        if let Err(e) = self.ingester.head().drop_resident() {
            warn!(error = %e, "give back mapped pages failed");
        }
    }

    /// Deletes blocks that end before `oldest`. Returns how many.
    pub async fn expire(&self, oldest: TimestampMs) -> Result<usize, CloseError> {
        let mut expired = 0;
        for meta in self.blocks.metas().into_iter().filter(|m| m.max_time <= oldest.0) {
            self.blocks.delete(meta.ulid).await?;
            info!(block_ulid = %meta.ulid, max_time = meta.max_time, "block expired");
            expired += 1;
        }
        Ok(expired)
    }
}

/// Blocks of which the upload may have been begun.
fn attempts(folder: &Path) -> std::io::Result<Vec<Ulid>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        // The block's writer has names of its own for what is not finished.
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Ulid>().ok()));
    }
    Ok(found)
}

/// Leaves the folder with nothing in it.
fn empty(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(folder)?;
    std::fs::create_dir(folder)
}

/// Finds no other member: a group of one has none.
pub struct NoMembers;

impl Members for NoMembers {
    fn member(&self, _replica: &ReplicaId) -> Option<Arc<dyn peer::Member>> {
        None
    }
}

fn cluster_text(cluster: ClusterId) -> String {
    format!("{:032x}", cluster.0)
}

fn to_stored(manifest: &Manifest, cut: &BTreeMap<BlockName, ManifestBlock>) -> Stored {
    let block = |name: &BlockName| cut.get(name).cloned().expect("what is to be listed was cut in this process");
    Stored {
        cluster: cluster_text(manifest.cluster),
        group: manifest.group.0,
        generation: manifest.generation.0,
        start: manifest.start.0,
        end: end_of(manifest.start).0,
        sealed: manifest.sealed.iter().map(|(of, position)| (of.to_string(), *position)).collect(),
        blocks: manifest.blocks.iter().map(block).collect(),
        holes: manifest.holes.iter().map(TenantId::to_string).collect(),
    }
}

fn from_stored(stored: &Stored) -> Result<Manifest, CloseError> {
    let start = TimestampMs(stored.start);
    let malformed = |what| CloseError::MalformedManifest { start, what };
    let replica = |text: &str| {
        let (node, incarnation) = text.rsplit_once('/')?;
        let incarnation = Incarnation(u64::from_str_radix(incarnation, 16).ok()?);
        Some(ReplicaId { node: NodeId::new(node)?, incarnation })
    };
    let sealed = stored.sealed.iter().map(|(of, position)| Some((replica(of)?, *position)));
    let block = |b: &ManifestBlock| b.ulid.parse::<Ulid>().map(|ulid| ulid.0).map_err(|_| malformed("a block's name"));
    Ok(Manifest {
        cluster: ClusterId(u128::from_str_radix(&stored.cluster, 16).map_err(|_| malformed("the cluster"))?),
        group: GroupId(stored.group),
        generation: GenerationNumber(stored.generation),
        start,
        sealed: sealed.collect::<Option<_>>().ok_or_else(|| malformed("a replica's name"))?,
        blocks: stored.blocks.iter().map(block).collect::<Result<_, _>>()?,
        holes: stored
            .holes
            .iter()
            .map(|t| TenantId::new(t))
            .collect::<Option<_>>()
            .ok_or_else(|| malformed("a tenant"))?,
    })
}
