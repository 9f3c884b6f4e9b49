//! Which blocks there are, which are open, and which cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use block::{Block, BlockMeta, HeaderError, IndexHeader, ReadError};
use bucket::{Bucket, belongs, foreign_labels, may_pass};
use cluster::GroupId;
use futures::StreamExt;
use model::{TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use peer::IndexEntry;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing::warn;
use ulid::Ulid;

use crate::Metrics;
use crate::reads::CountedBlock;

/// `meta.json` files read at once.
const META_READS: usize = 16;

/// Locks that keep a block from being opened twice at once; more than blocks are opened at once.
const OPENING_LOCKS: usize = 64;

/// The id of the cluster, as manifests and blocks have it, once it is known.
pub(crate) type ClusterName = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The blocks of a bucket.
pub(crate) struct Catalog {
    bucket: Bucket,
    /// Where index headers lie.
    headers: PathBuf,
    cluster: ClusterName,
    open_max: usize,
    metrics: Metrics,
    /// Held for a few steps at a time, by every question.
    known: Mutex<Known>,
    /// One of these is held while a block is opened.
    opening: Vec<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    /// Listed and not marked for deletion.
    listed: BTreeMap<Ulid, Arc<BlockMeta>>,
    /// Blocks by those of level 1 that are in them.
    stands_in: BTreeMap<Ulid, Ulid>,
    set_aside: BTreeMap<Ulid, SetAside>,
    /// How often each block turned out to be damaged.
    strikes: BTreeMap<Ulid, u32>,
    open: BTreeMap<Ulid, Open>,
    /// Counts uses of open blocks.
    uses: u64,
    /// When the last listing that succeeded began.
    listed_at: Option<Instant>,
}

struct Open {
    block: Arc<Block>,
    last_use: u64,
}

#[derive(Clone)]
struct SetAside {
    meta: Option<Arc<BlockMeta>>,
    why: String,
    /// The bucket was out of reach; the next refresh tries again.
    again: bool,
}

/// A block that is open, and what it serves of what was asked for.
pub(crate) struct Serving {
    pub(crate) block: Arc<Block>,
    pub(crate) names: Vec<Ulid>,
}

impl Catalog {
    pub(crate) fn new(
        bucket: Bucket,
        headers: PathBuf,
        cluster: ClusterName,
        open_max: usize,
        metrics: Metrics,
    ) -> Catalog {
        let opening = (0..OPENING_LOCKS).map(|_| tokio::sync::Mutex::default()).collect();
        Catalog { bucket, headers, cluster, open_max, metrics, known: Mutex::default(), opening }
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Lists the bucket, and reads `meta.json` of what is new.
    pub(crate) async fn refresh(&self) -> Result<(), bucket::Error> {
        let began = Instant::now();
        let survey = self.bucket.survey().await.inspect_err(|_| {
            self.metrics.failed_listings.inc();
        })?;
        let there: BTreeSet<Ulid> = survey.iter().map(|block| block.ulid).collect();
        let listed: BTreeSet<Ulid> = survey.iter().filter(|b| !b.marked_for_deletion).map(|b| b.ulid).collect();
        let (new, gone): (Vec<Ulid>, Vec<Ulid>) = {
            let mut known = self.known.lock();
            let gone = known.open.keys().filter(|ulid| !there.contains(ulid)).copied().collect();
            known.listed.retain(|ulid, _| listed.contains(ulid));
            known.stands_in.retain(|_, by| listed.contains(by));
            known.open.retain(|ulid, _| there.contains(ulid));
            known.strikes.retain(|ulid, _| there.contains(ulid));
            known.set_aside.retain(|ulid, aside| there.contains(ulid) && !aside.again);
            let seen = |ulid: &Ulid| known.listed.contains_key(ulid) || known.set_aside.contains_key(ulid);
            (listed.into_iter().filter(|ulid| !seen(ulid)).collect(), gone)
        };
        gone.into_iter().for_each(|ulid| self.remove_header(ulid));
        let mut reading = futures::stream::iter(new)
            .map(|ulid| {
                let source = self.source(ulid);
                tokio::task::spawn_blocking(move || (ulid, Block::read_meta(&*source)))
            })
            .buffer_unordered(META_READS);
        while let Some(read) = reading.next().await {
            // A panic of the reader is a bug; the block stays unknown and is tried again.
            let Ok((ulid, meta)) = read else { continue };
            match meta {
                Ok(meta) if foreign_labels(&meta) => {
                    let why = "it has external labels, which this version does not add on reading".to_owned();
                    self.set_aside(ulid, SetAside { meta: Some(Arc::new(meta)), why, again: false });
                }
                Ok(meta) => self.list(ulid, Arc::new(meta)),
                Err(e) => {
                    let aside = SetAside { meta: None, why: storage::chain(&e), again: may_pass(&e) };
                    self.set_aside(ulid, aside);
                }
            }
        }
        let mut known = self.known.lock();
        known.listed_at = Some(began);
        self.show(&known);
        Ok(())
    }

    fn list(&self, ulid: Ulid, meta: Arc<BlockMeta>) {
        let mut known = self.known.lock();
        for source in meta.compaction.sources.iter().filter(|source| **source != ulid) {
            known.stands_in.insert(*source, ulid);
        }
        known.listed.insert(ulid, meta);
    }

    fn show(&self, known: &Known) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.blocks.set(count(known.listed.len()));
        self.metrics.blocks_open.set(count(known.open.len()));
        self.metrics.blocks_set_aside.set(count(known.set_aside.len()));
    }

    fn source(&self, ulid: Ulid) -> Arc<CountedBlock> {
        Arc::new(CountedBlock { inner: self.bucket.source(ulid), metrics: self.metrics.clone() })
    }

    /// The blocks of a tenant in a range, and how long ago they were listed; `None` before the first listing.
    pub(crate) fn index(&self, tenant: &TenantId, range: TimeRange) -> Option<(Vec<IndexEntry>, Duration)> {
        let known = self.known.lock();
        let age = known.listed_at?.elapsed();
        let cluster = (self.cluster)();
        let entry = |ulid: &Ulid, meta: Option<&BlockMeta>, set_aside: Option<String>| IndexEntry {
            block: ulid.0,
            origin: meta.and_then(|meta| origin(meta, cluster.as_deref()?)),
            // What cannot be read may be from any time.
            range: meta.map_or(TimeRange::new(TimestampMs::MIN, TimestampMs::MAX), BlockMeta::range),
            set_aside,
        };
        let is_theirs = |meta: &BlockMeta| belongs(meta, tenant) && meta.range().overlaps(&range);
        let aside = known.set_aside.iter().filter(|(_, aside)| aside.meta.as_deref().is_none_or(is_theirs));
        let mut entries: BTreeMap<Ulid, IndexEntry> =
            aside.map(|(ulid, aside)| (*ulid, entry(ulid, aside.meta.as_deref(), Some(aside.why.clone())))).collect();
        for (ulid, meta) in known.listed.iter().filter(|(_, meta)| is_theirs(meta)) {
            entries.entry(*ulid).or_insert_with(|| entry(ulid, Some(meta), None));
        }
        Some((entries.into_values().collect(), age))
    }

    /// Opens what is asked for: each block itself, or one that was made from it.
    pub(crate) async fn open_all(&self, tenant: &TenantId, names: Vec<Ulid>) -> Vec<Serving> {
        let mut opened: BTreeMap<Ulid, Serving> = BTreeMap::new();
        for name in names {
            let (is_listed, stand_in) = {
                let known = self.known.lock();
                (known.listed.contains_key(&name), known.stands_in.get(&name).copied())
            };
            // One that is not listed may be new, or may have been merged: what was made from it is there for certain.
            let candidates = if is_listed { [Some(name), stand_in] } else { [stand_in, Some(name)] };
            for ulid in candidates.into_iter().flatten() {
                if let Some(serving) = opened.get_mut(&ulid) {
                    serving.names.push(name);
                    break;
                }
                let block = self.open(ulid).await.filter(|block| belongs(block.meta(), tenant));
                if let Some(block) = block {
                    opened.insert(ulid, Serving { block, names: vec![name] });
                    break;
                }
            }
        }
        opened.into_values().collect()
    }

    /// `None` where there is no such block, or none that can be read.
    async fn open(&self, ulid: Ulid) -> Option<Arc<Block>> {
        // The random end of the name spreads.
        let lock = &self.opening[ulid.0 as usize % OPENING_LOCKS];
        let _opening = lock.lock().await;
        {
            let mut known = self.known.lock();
            known.uses += 1;
            let use_number = known.uses;
            if known.set_aside.contains_key(&ulid) {
                return None;
            }
            if let Some(open) = known.open.get_mut(&ulid) {
                open.last_use = use_number;
                return Some(open.block.clone());
            }
        }
        let (source, path) = (self.source(ulid), self.header_path(ulid));
        let headers = self.metrics.headers.clone();
        let opened = tokio::task::spawn_blocking(move || open_block(source, &path, &headers)).await;
        match opened {
            Ok(Ok(block)) if foreign_labels(block.meta()) => {
                let why = "it has external labels, which this version does not add on reading".to_owned();
                let meta = Some(Arc::new(block.meta().clone()));
                self.set_aside(ulid, SetAside { meta, why, again: false });
                None
            }
            Ok(Ok(block)) => Some(self.keep_open(ulid, Arc::new(block))),
            Ok(Err(HeaderError::Block(e))) if is_absent(&e) => None,
            Ok(Err(HeaderError::Block(e))) => {
                self.failed(ulid, &e);
                None
            }
            Ok(Err(e)) => {
                // The local disk's fault, not the block's.
                warn!(block_ulid = %ulid, error = storage::chain(&e), "index header could not be kept");
                None
            }
            Err(e) => {
                warn!(block_ulid = %ulid, error = %e, "opening a block failed inside");
                None
            }
        }
    }

    fn keep_open(&self, ulid: Ulid, block: Arc<Block>) -> Arc<Block> {
        let mut known = self.known.lock();
        known.uses += 1;
        let last_use = known.uses;
        known.open.insert(ulid, Open { block: block.clone(), last_use });
        while known.open.len() > self.open_max {
            let Some(oldest) = known.open.iter().min_by_key(|(_, open)| open.last_use).map(|(ulid, _)| *ulid) else {
                break;
            };
            known.open.remove(&oldest);
        }
        self.show(&known);
        block
    }

    /// A block turned out to be unreadable: it is named from now on, and not served.
    pub(crate) fn failed(&self, ulid: Ulid, e: &ReadError) {
        if matches!(e, ReadError::TooManySeries { .. }) {
            return;
        }
        let (meta, is_first) = {
            let mut known = self.known.lock();
            let strikes = known.strikes.entry(ulid).or_default();
            *strikes += u32::from(!may_pass(e));
            let is_first = *strikes <= 1;
            (known.listed.get(&ulid).cloned(), is_first)
        };
        // It may be the header that was damaged: it is made anew, and the block gets a second chance after the next listing.
        self.set_aside(ulid, SetAside { meta, why: storage::chain(e), again: is_first });
        self.remove_header(ulid);
    }

    fn set_aside(&self, ulid: Ulid, aside: SetAside) {
        warn!(block_ulid = %ulid, error = %aside.why, again = aside.again, "block set aside");
        let mut known = self.known.lock();
        known.open.remove(&ulid);
        known.set_aside.insert(ulid, aside);
        self.show(&known);
    }

    fn header_path(&self, ulid: Ulid) -> PathBuf {
        self.headers.join(ulid.to_string())
    }

    fn remove_header(&self, ulid: Ulid) {
        match std::fs::remove_file(self.header_path(ulid)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                warn!(block_ulid = %ulid, error = %e, "index header could not be removed");
            }
            _ => {}
        }
    }
}

/// Opens a block over its header, which is made where it is not there or damaged.
fn open_block(source: Arc<CountedBlock>, path: &Path, made: &Counter) -> Result<Block, HeaderError> {
    if let Ok(header) = IndexHeader::open(path, source.clone()) {
        return Ok(header.into_block()?);
    }
    IndexHeader::write(&*source, path)?;
    made.inc();
    Ok(IndexHeader::open(path, source)?.into_block()?)
}

fn is_absent(e: &ReadError) -> bool {
    matches!(e, ReadError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// The group and the range that a block of this cluster was cut from.
fn origin(meta: &BlockMeta, cluster: &str) -> Option<(GroupId, TimestampMs)> {
    let own = meta.thanos.as_ref()?.extensions.as_ref()?.get("narthex")?;
    if own.get("cluster")?.as_str()? != cluster || meta.compaction.level > 1 {
        return None;
    }
    let group = u32::try_from(own.get("group")?.as_u64()?).ok()?;
    Some((GroupId(group), TimestampMs(own.get("range")?.as_i64()?)))
}
