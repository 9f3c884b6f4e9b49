//! What holds samples: the ingester, its blocks and their upkeep, put together for `narthex all` and `narthex ingester` alike.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bucket::{Blocks, Bucket};
use cluster::Replica;
use ingester::{Closer, Ingester, Sync};
use model::DurationMs;
use replication::Entry;
use server::clock;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::configuration;
use crate::configured::Configured;
use crate::flags::WalSync;

/// How often a head snapshot is due in any case.
pub(crate) const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often the log is synced with `--wal.sync=interval`.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// How often ranges are closed, blocks looked for and expired, and mapped pages given back.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(30);

/// The bucket that a file names; without one the folder `bucket` in the data directory.
pub(crate) fn open_bucket(file: Option<&Path>, storage: &Path) -> anyhow::Result<Bucket> {
    let Some(file) = file else {
        return Ok(Bucket::local(&storage.join("bucket"))?);
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let parsed = config::parse_object_store(&text).with_context(|| format!("parse {}", file.display()))?;
    match parsed.bucket {
        config::object_store::Bucket::Filesystem { directory } => {
            Ok(Bucket::local(&Path::new(&directory).join(parsed.prefix))?)
        }
        config::object_store::Bucket::S3(s3) => {
            for key in &s3.ignored {
                warn!(key, file = %file.display(), "this key of the object store is not acted on");
            }
            Bucket::s3(&s3, &parsed.prefix, &configuration::variable).with_context(|| format!("use {}", file.display()))
        }
    }
}

/// The blocks of a bucket.
pub(crate) async fn open_blocks(bucket: Bucket) -> anyhow::Result<Arc<Blocks>> {
    let is_remote = bucket.is_remote();
    let blocks = Arc::new(Blocks::new(bucket));
    match blocks.refresh().await {
        // Taking samples does not wait for a bucket that is out of reach. Answers say what they lack until it is listed.
        Err(e) if is_remote => error!(error = format!("{:#}", anyhow::Error::from(e)), "list blocks failed"),
        done => done?,
    }
    Ok(blocks)
}

/// Where an ingester is and what it is.
pub(crate) struct Place<'a> {
    pub(crate) storage: &'a Path,
    pub(crate) replica: Replica,
    pub(crate) entry: Entry,
    pub(crate) partition_count: u32,
    pub(crate) wal_sync: WalSync,
    /// Most bytes of log; the ingester's default where it is `None`.
    pub(crate) log_bytes_max: Option<u64>,
}

/// Opens an ingester, and says what it found.
pub(crate) async fn open_ingester(place: Place<'_>, configured: &Arc<Configured>) -> anyhow::Result<Arc<Ingester>> {
    let exemplars_max = configured.config().storage.max_exemplars.map_or(0, |n| usize::try_from(n).unwrap_or(0));
    let window = configured.clone();
    let defaults = ingester::Config::new(place.storage.to_path_buf());
    let config = ingester::Config {
        log_bytes_max: place.log_bytes_max.unwrap_or(defaults.log_bytes_max),
        exemplars_max,
        replica: place.replica,
        entry: place.entry,
        clock: Arc::new(clock::now),
        window: Arc::new(move || window.window()),
        sync: match place.wal_sync {
            WalSync::Commit => Sync::EveryCommit,
            WalSync::Interval => Sync::Interval(SYNC_INTERVAL),
        },
        partition_count: place.partition_count,
        ..defaults
    };
    let started = tokio::time::Instant::now();
    let ingester = tokio::task::spawn_blocking(move || Ingester::open(config)).await?.context("open ingester")?;
    let r = ingester.recovery();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    info!(records = r.records, snapshot = r.snapshot, last = r.last, elapsed_ms, "log replayed");
    if r.torn_bytes > 0 {
        warn!(
            bytes = r.torn_bytes,
            "log ended in bytes that form no record; they were dropped, nobody was told of them"
        );
    }
    for (first, last) in &r.lost {
        error!(first, last, records = last - first + 1, "log is damaged: these records are lost");
    }
    for damaged in &r.damaged_snapshots {
        error!(snapshot = damaged, "head snapshot is damaged; an older one is used");
    }
    if r.refused_records > 0 || r.applied != Default::default() {
        error!(records = r.refused_records, applied = ?r.applied, "log held what cannot be applied");
    }
    Ok(ingester)
}

/// Closes ranges, finds blocks, expires them where `expires` says so, gives mapped pages back. Errors are told and tried again the
/// next time.
pub(crate) async fn maintain(
    closer: Closer,
    configured: Arc<Configured>,
    blocks: Arc<Blocks>,
    expires: bool,
    mut stop: watch::Receiver<bool>,
) {
    let mut reloaded = configured.reloaded();
    loop {
        if let Err(e) = closer.run().await {
            error!(error = format!("{:#}", anyhow::Error::from(e)), "close range failed");
        }
        if let Err(e) = blocks.refresh().await {
            warn!(error = format!("{:#}", anyhow::Error::from(e)), "list blocks failed");
        }
        let retention: Option<DurationMs> = configuration::retention(&configured.config()).filter(|_| expires);
        if let Some(retention) = retention
            && let Err(e) = closer.expire(clock::now() - retention).await
        {
            warn!(error = format!("{:#}", anyhow::Error::from(e)), "expire blocks failed");
        }
        closer.drop_resident();
        tokio::select! {
            // Cancel-safe because only time and signals are awaited.
            () = tokio::time::sleep(MAINTENANCE_INTERVAL) => {}
            _ = reloaded.changed() => {}
            () = stopped(&mut stop) => return,
        }
    }
}

pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|s| *s).await);
}

/// Puts what a damaged directory of a member holds aside, so that the node comes back as a new incarnation when it is started again.
pub(crate) fn put_aside(storage: &Path) -> anyhow::Result<()> {
    let aside = storage.join(format!("damaged-{}", clock::now().0));
    std::fs::create_dir(&aside).with_context(|| format!("create {}", aside.display()))?;
    for name in ["log", "chunks", "snapshots", "cut", "incarnation"] {
        match std::fs::rename(storage.join(name), aside.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                bail!("move {name} to {}: {e}", aside.display());
            }
            _ => {}
        }
    }
    error!(folder = %aside.display(), "the data directory is damaged and was put aside");
    Ok(())
}
