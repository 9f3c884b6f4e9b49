//! Closing ranges: seal, cut, upload, manifest, and later free (`ARCHITECTURE.md`, "Closing a range"). A group of one has nobody
//! to ask, so its seal is its own word and it pulls from nobody.
//!
//! Each step may be the last before a crash. What is found done is not done again: a manifest that is there decides; blocks of
//! ours that no manifest lists are left-overs of an attempt and go.

use std::path::PathBuf;
use std::sync::Arc;

use bucket::{Blocks, Bucket, Created, Manifest, ManifestBlock};
use cluster::ClusterId;
use model::{DurationMs, TenantId, TimeRange, TimestampMs};
use replication::range::{RANGE, SLACK};
use replication::replica::SealReply;
use replication::{Rules, closer};
use tracing::{info, warn};
use ulid::Ulid;

use crate::Ingester;
use crate::cut::{Cut, CutError};
use crate::ingester::LogFailed;

/// Who closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// The group.
    pub group: u32,
    /// Its generation.
    pub generation: u64,
    /// The replica.
    pub incarnation: String,
}

/// Why a range was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The log does not take the seal.
    #[error("log a change")]
    Log(#[from] LogFailed),
    /// The replica does not consent to the seal: there is a later generation, or the clock went back.
    #[error("the seal of {start} is refused")]
    Seal {
        /// Start of the range.
        start: TimestampMs,
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
    /// A computation panicked.
    #[error("a task failed: {0}")]
    Task(String),
}

/// Closes the ranges of an ingester.
pub struct Closer {
    ingester: Arc<Ingester>,
    bucket: Bucket,
    blocks: Arc<Blocks>,
    scratch: PathBuf,
    identity: Identity,
}

impl Closer {
    /// `scratch` is a folder of its own for blocks being cut.
    pub fn new(
        ingester: Arc<Ingester>,
        bucket: Bucket,
        blocks: Arc<Blocks>,
        scratch: PathBuf,
        identity: Identity,
    ) -> Closer {
        Closer { ingester, bucket, blocks, scratch, identity }
    }

    /// Closes every range that is due at `now`, oldest first, and frees what was closed long enough ago. `window` is how far back
    /// samples are taken. Returns how many ranges were closed.
    pub async fn run(&self, now: TimestampMs, window: DurationMs) -> Result<usize, CloseError> {
        let mut closed = 0;
        while let Some(range) = self.due(now, window).await? {
            self.close(range, now, window).await?;
            closed += 1;
        }
        self.free(now, window).await?;
        Ok(closed)
    }

    /// The oldest range with samples that is not closed, if its time has come.
    async fn due(&self, now: TimestampMs, window: DurationMs) -> Result<Option<TimeRange>, CloseError> {
        let state = self.ingester.state();
        let held = self.held().await?;
        let Some(start) = held.into_iter().find(|start| !state.is_dropped(*start)) else { return Ok(None) };
        let end = start + RANGE;
        let sealable = now - window - SLACK;
        Ok((end <= sealable).then(|| TimeRange::new(start, end)))
    }

    async fn held(&self) -> Result<std::collections::BTreeSet<TimestampMs>, CloseError> {
        let ingester = self.ingester.clone();
        let held = tokio::task::spawn_blocking(move || ingester.held_ranges()).await;
        held.map_err(|e| CloseError::Task(e.to_string()))
    }

    async fn seal(&self, start: TimestampMs, now: TimestampMs, window: DurationMs) -> Result<u64, CloseError> {
        let said = self.ingester.seal_at(None, start, window, now).await?;
        match said {
            SealReply::Sealed { position, .. } => Ok(position),
            SealReply::Stale(_) | SealReply::Early => Err(CloseError::Seal { start }),
        }
    }

    async fn close(&self, range: TimeRange, now: TimestampMs, window: DurationMs) -> Result<(), CloseError> {
        let position = self.seal(range.mint, now, window).await?;
        let Identity { cluster, group, generation, incarnation } = &self.identity;
        let manifest = match self.bucket.manifest(cluster, *group, range.mint.0).await? {
            Some(there) => there,
            None => {
                self.remove_left_overs(range).await?;
                let blocks = self.cut_all(range).await?;
                let manifest = Manifest {
                    cluster: cluster.clone(),
                    group: *group,
                    generation: *generation,
                    start: range.mint.0,
                    end: range.maxt.0,
                    sealed: vec![(incarnation.clone(), position)],
                    blocks,
                };
                match self.bucket.create_manifest(&manifest).await? {
                    Created::Ours => manifest,
                    Created::Theirs(theirs) => {
                        for b in manifest.blocks.iter().filter_map(|b| b.ulid.parse().ok()) {
                            self.bucket.delete(b).await?;
                        }
                        theirs
                    }
                }
            }
        };
        let ours = (&manifest.cluster, manifest.group, manifest.start) == (cluster, *group, range.mint.0);
        if !ours {
            return Err(CloseError::ForeignManifest { start: range.mint });
        }
        self.blocks.refresh().await?;
        let name = Bucket::manifest_name(cluster, *group, range.mint.0);
        self.ingester.change(|core| core.drop_range(range.mint, name.into(), now)).await?;
        info!(start = range.mint.0, end = range.maxt.0, blocks = manifest.blocks.len(), "range closed");
        Ok(())
    }

    /// Blocks of this range that an attempt before us uploaded and no manifest lists.
    async fn remove_left_overs(&self, range: TimeRange) -> Result<(), CloseError> {
        self.blocks.refresh().await?;
        let ours = self.extensions(range);
        for meta in self.blocks.metas() {
            if meta.thanos.is_some_and(|t| t.extensions.as_ref() == Some(&ours)) {
                warn!(block_ulid = %meta.ulid, "block of an unfinished attempt removed");
                self.blocks.delete(meta.ulid).await?;
            }
        }
        Ok(())
    }

    fn extensions(&self, range: TimeRange) -> serde_json::Value {
        serde_json::json!({ "narthex": {
            "cluster": self.identity.cluster,
            "group": self.identity.group,
            "incarnation": self.identity.incarnation,
            "range": range.mint.0,
        }})
    }

    /// One block for each tenant that has samples; uploaded.
    async fn cut_all(&self, range: TimeRange) -> Result<Vec<ManifestBlock>, CloseError> {
        self.clean_scratch()?;
        let mut blocks = Vec::new();
        for tenant in self.ingester.head().tenants() {
            let ulid = Ulid::new();
            let (head, whose, scratch) = (self.ingester.head().clone(), tenant.clone(), self.scratch.clone());
            let extensions = self.extensions(range);
            let cut = tokio::task::spawn_blocking(move || {
                Cut { head: &head, tenant: &whose, range, extensions }.write(&scratch, ulid)
            });
            let cut = cut.await.map_err(|e| CloseError::Task(e.to_string()))?;
            let cut = cut.map_err(|source| CloseError::Cut { tenant: tenant.clone(), source })?;
            if cut.is_some() {
                let bytes = self.bucket.upload(&self.scratch.join(ulid.to_string()), ulid).await?;
                blocks.push(ManifestBlock { ulid: ulid.to_string(), tenant: tenant.to_string(), bytes });
            }
        }
        self.clean_scratch()?;
        Ok(blocks)
    }

    fn clean_scratch(&self) -> Result<(), CloseError> {
        let failed = |source| CloseError::Scratch { path: self.scratch.clone(), source };
        match std::fs::remove_dir_all(&self.scratch) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        std::fs::create_dir_all(&self.scratch).map_err(failed)
    }

    /// Frees the closed ranges that were served long enough, oldest first.
    async fn free(&self, now: TimestampMs, window: DurationMs) -> Result<(), CloseError> {
        let held = self.held().await?;
        let identity = closer::Identity { cluster: ClusterId(0), window };
        let core = closer::Closer::new(identity, Rules::ALL);
        let before = self.ingester.shared.lock().core.appended_position();
        let freed = self.ingester.change(|replica| {
            let mut all = replication::replica::Effects::default();
            core.free(replica, held, now).into_iter().for_each(|effects| all.append.extend(effects.append));
            all
        });
        if freed.await? > before {
            let gone = self.ingester.collect().await.map_err(|e| CloseError::Task(e.to_string()))?;
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
