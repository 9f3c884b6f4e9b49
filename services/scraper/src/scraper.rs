//! All jobs of a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use discovery::{Discovery, Known};
use httpclient::EnvironmentProxy;
use model::{Labels, TenantId};
use parking_lot::Mutex;
use server::Metrics;
use targets::{TargetsSnapshot, Wanted};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use writer::Writer;

use crate::elsewhere::Elsewhere;
use crate::gather::Gather;
use crate::loops::Loops;
use crate::metrics::ScraperMetrics;
use crate::pool::{Epoch, Pool};
use crate::pools::Pools;
use crate::scrape_loop::Shared;
use crate::settings::{JobSettings, RefusedJob};
use crate::share::{Overlap, Share, Sharing};
use crate::snapshot::{PoolSnapshot, TargetMetadata};
use crate::threads::Threads;

/// How often it is looked whether loops that were given away have ended.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds of a scraper.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a page, uncompressed, that are too many where `body_size_limit` does not say less: protects memory.
    pub body_bytes_max: usize,
    /// How long scrapes under way may go on when the process ends.
    pub stop_timeout: Duration,
    /// Threads of the scraper's own for scrapes; with 0 they run on the caller's runtime.
    pub threads: usize,
    /// How much later than this scraper another one may act on a map: so long, and for an interval, a target that moved is
    /// scraped on.
    pub propagation: Duration,
    /// The longest that a target that moved is scraped on, and that [`Scraper::leave`] waits. Less than the time that a
    /// supervisor gives a process to end.
    pub handover_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: 512 << 20,
            stop_timeout: Duration::from_secs(2),
            threads: 0,
            propagation: Duration::from_secs(5),
            handover_max: Duration::from_secs(60),
        }
    }
}

/// What a scraper needs of the process.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Whose the samples are.
    pub tenant: TenantId,
    /// What it calls itself: `Narthex/0.1.0`.
    pub user_agent: String,
    /// Proxies of the environment.
    pub environment: EnvironmentProxy,
}

/// Discovers and scrapes targets and writes what they say.
pub struct Scraper {
    shared: Arc<Shared>,
    outside: Outside,
    limits: Limits,
    /// Held while a configuration is applied, over awaits.
    jobs: Arc<tokio::sync::Mutex<BTreeMap<String, Job>>>,
    /// The same pools, for those who look.
    pools: Pools,
    /// Whether the cluster has been left: maps say nothing any more.
    left: Arc<watch::Sender<bool>>,
    shutdown: watch::Sender<bool>,
}

/// One job of the configuration, running.
struct Job {
    pool: Arc<Mutex<Pool>>,
    discovery: Arc<Discovery>,
    follow: JoinHandle<()>,
}

/// What changes for one job.
struct Change {
    settings: Arc<JobSettings>,
    /// None where the one that runs is right.
    discovery: Option<Discovery>,
}

impl Scraper {
    /// A scraper without jobs, for all targets. An error: its threads cannot be started.
    pub fn new(writer: Arc<Writer>, outside: Outside, limits: Limits, metrics: &Metrics) -> std::io::Result<Scraper> {
        Scraper::build(writer, outside, limits, metrics, Share::Everything)
    }

    /// A scraper without jobs, for the targets that the map gives it. Within a runtime. A node should join the cluster as a scraper
    /// when its first configuration is applied and [`Scraper::discovered`] has resolved: it is given targets as soon as it has joined.
    pub fn of_cluster(
        writer: Arc<Writer>,
        outside: Outside,
        limits: Limits,
        metrics: &Metrics,
        mut sharing: Sharing,
    ) -> std::io::Result<Scraper> {
        let first = Share::of(&sharing.me, &sharing.map.borrow_and_update());
        let scraper = Scraper::build(writer, outside, limits, metrics, first)?;
        let (shared, jobs, left) = (scraper.shared.clone(), scraper.jobs.clone(), scraper.left.subscribe());
        let mut shutdown = scraper.shutdown.subscribe();
        drop(tokio::spawn(async move {
            tokio::select! {
                // Cancel-safe because a pool is shared again under its lock, off this task.
                () = follow_map(shared, jobs, sharing, left) => {}
                // An error is a scraper that was dropped.
                _ = shutdown.wait_for(|stopped| *stopped) => {}
            }
        }));
        Ok(scraper)
    }

    fn build(
        writer: Arc<Writer>,
        outside: Outside,
        limits: Limits,
        metrics: &Metrics,
        share: Share,
    ) -> std::io::Result<Scraper> {
        let (shutdown, watched) = watch::channel(false);
        let threads = Threads::start(limits.threads, &watched)?;
        let metrics = ScraperMetrics::new(metrics);
        metrics.sharing_scrapers.set(i64::try_from(share.scrapers()).unwrap_or(i64::MAX));
        let shared = Shared {
            writer,
            tenant: outside.tenant.clone(),
            metrics,
            loops: Loops::default(),
            threads,
            share: Mutex::new(share),
            overlap: Overlap { propagation: limits.propagation, max: limits.handover_max },
            elsewhere: Elsewhere::default(),
            gather: Gather::default(),
            shutdown: watched,
        };
        let left = Arc::new(watch::channel(false).0);
        Ok(Scraper {
            shared: Arc::new(shared),
            outside,
            limits,
            jobs: Arc::default(),
            pools: Pools::default(),
            left,
            shutdown,
        })
    }

    /// Goes over to `config`: all of it, or on an error nothing. Jobs that are the same go on undisturbed.
    pub async fn apply_config(&self, config: &Config) -> Result<(), RefusedJob> {
        let jobs = self.jobs.clone().lock_owned().await;
        let mut changes = Vec::new();
        for job in &config.scrape_configs {
            if let Some(change) = self.change(job, jobs.get(&job.job_name))? {
                changes.push((job.job_name.clone(), change));
            }
        }
        let is_gone = |name: &String| !config.scrape_configs.iter().any(|job| job.job_name == *name);
        let gone: Vec<String> = jobs.keys().filter(|name| is_gone(name)).cloned().collect();
        // In a task of its own: a caller who goes away half-way (the client of a reload) must not leave half of it.
        let applied = tokio::spawn(apply(self.shared.clone(), self.pools.clone(), jobs, gone, changes));
        if let Err(e) = applied.await
            && e.is_panic()
        {
            std::panic::resume_unwind(e.into_panic());
        }
        Ok(())
    }

    /// Ends all loops; scrapes under way get a moment to end. No series is ended: a restarted process goes on with them.
    pub async fn stop(&self) {
        let jobs = std::mem::take(&mut *self.jobs.lock().await);
        let mut tasks = Vec::new();
        for job in jobs.into_values() {
            job.follow.abort();
            tasks.extend(job.pool.lock().stop());
        }
        let all_ended = async {
            for task in tasks {
                // A loop that panicked has ended, too.
                drop(task.await);
            }
        };
        if tokio::time::timeout(self.limits.stop_timeout, all_ended).await.is_err() {
            warn!("some scrapes did not end within the stop timeout");
        }
        self.shutdown.send_replace(true);
    }

    /// Gives all targets to the other scrapers: goes on until they must have taken over, then stops. To be called when the control
    /// plane has taken this node out of the map. Where there are no others it stops at once.
    pub async fn leave(&self) {
        self.left.send_replace(true);
        let share = std::mem::replace(&mut *self.shared.share.lock(), Share::Nothing);
        if share.has_others() {
            let mut given = Vec::new();
            for job in self.jobs.lock().await.values() {
                let pool = job.pool.clone();
                given.extend(
                    off_the_reactor(move || {
                        let mut pool = pool.lock();
                        pool.share_again();
                        pool.take_given()
                    })
                    .await,
                );
            }
            info!(targets = given.len(), "targets are given to the other scrapers");
            let all_given = async {
                for task in given {
                    // A loop that panicked has ended, too.
                    drop(task.await);
                }
            };
            if tokio::time::timeout(self.limits.handover_max + self.limits.stop_timeout, all_given).await.is_err() {
                warn!("some scrapes did not end within the time for handing over");
            }
        }
        self.stop().await;
    }

    /// Resolves when discovery of every job has looked once. May take for ever where a mechanism hangs.
    pub async fn discovered(&self) {
        let known: Vec<_> = self.jobs.lock().await.values().map(|job| job.discovery.known()).collect();
        for mut known in known {
            // An error is a job that is gone.
            drop(known.wait_for(|known| known.is_complete).await.map(|_| ()));
        }
    }

    /// The targets of the HTTP API: those that this scraper holds.
    pub fn targets(&self, wanted: &Wanted) -> TargetsSnapshot {
        self.pools.targets(wanted)
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// All jobs with their targets.
    pub fn snapshot(&self) -> Vec<PoolSnapshot> {
        self.pools.snapshot()
    }

    /// Names of all jobs, sorted.
    pub fn scrape_pools(&self) -> Vec<String> {
        self.pools.names()
    }

    /// The `relabel_configs` of a job; `None` where there is no such job.
    pub fn relabel_rules(&self, job: &str) -> Option<Vec<relabel::Rule>> {
        self.pools.relabel_rules(job)
    }

    /// Metadata of the targets whose labels `wanted` takes.
    pub fn metadata(&self, wanted: impl Fn(&Labels) -> bool) -> Vec<TargetMetadata> {
        self.pools.metadata(wanted)
    }

    /// What a job of the new configuration needs; `None` where all is as it was.
    fn change(&self, job: &config::ScrapeConfig, running: Option<&Job>) -> Result<Option<Change>, RefusedJob> {
        let before = running.map(|r| r.pool.lock().settings().clone());
        if before.as_ref().is_some_and(|b| b.config == *job) {
            return Ok(None);
        }
        let Outside { user_agent, environment, .. } = &self.outside;
        let settings = JobSettings::new(job, environment, user_agent, self.limits.body_bytes_max)?;
        let same = before.is_some_and(|b| b.config.service_discoveries == job.service_discoveries);
        let outside = discovery::Outside { environment: environment.clone(), user_agent: user_agent.clone() };
        let start = || {
            Discovery::start(&job.service_discoveries, &outside)
                .map_err(|source| RefusedJob::Discovery { job: job.job_name.clone(), source })
        };
        Ok(Some(Change { settings, discovery: if same { None } else { Some(start()?) } }))
    }
}

type Jobs = OwnedMutexGuard<BTreeMap<String, Job>>;

/// Shares the targets again whenever the map says that scrapers came or went.
async fn follow_map(
    shared: Arc<Shared>,
    jobs: Arc<tokio::sync::Mutex<BTreeMap<String, Job>>>,
    sharing: Sharing,
    mut left: watch::Receiver<bool>,
) {
    let Sharing { me, mut map } = sharing;
    let mut has_given = false;
    loop {
        tokio::select! {
            // Cancel-safe because only a change, a pause and a flag are awaited.
            changed = map.changed() => if changed.is_err() {
                // Cut off for good: it goes on with what it has.
                return;
            },
            () = tokio::time::sleep(FORGET_INTERVAL), if has_given => {}
            _ = left.wait_for(|left| *left) => return,
        }
        let now = map.borrow_and_update().clone();
        // An applied configuration makes its pools by the share of before or of after, and those of before are found here.
        let jobs = jobs.lock().await;
        let is_new = {
            let mut share = shared.share.lock();
            let next = if *left.borrow() { None } else { share.after(&me, &now) };
            next.is_some_and(|next| {
                info!(scrapers = next.scrapers(), "targets are shared anew");
                shared.metrics.sharing_scrapers.set(i64::try_from(next.scrapers()).unwrap_or(i64::MAX));
                *share = next;
                true
            })
        };
        has_given = false;
        for job in jobs.values() {
            let pool = job.pool.clone();
            has_given |= off_the_reactor(move || {
                let mut pool = pool.lock();
                if is_new {
                    pool.share_again();
                }
                pool.forget_given()
            })
            .await;
        }
    }
}

async fn apply(shared: Arc<Shared>, pools: Pools, mut jobs: Jobs, gone: Vec<String>, changes: Vec<(String, Change)>) {
    for name in gone {
        let Some(job) = jobs.remove(&name) else { continue };
        job.follow.abort();
        off_the_reactor(move || job.pool.lock().end_all()).await;
        info!(scrape_pool = name, "scrape pool removed");
    }
    for (name, change) in changes {
        let before = jobs.remove(&name);
        let job = replace(&shared, before, change).await;
        jobs.insert(name, job);
    }
    pools.set(jobs.iter().map(|(name, job)| (name.clone(), job.pool.clone())).collect());
    shared.metrics.pools.set(i64::try_from(jobs.len()).unwrap_or(i64::MAX));
}

async fn replace(shared: &Arc<Shared>, before: Option<Job>, change: Change) -> Job {
    let Change { settings, discovery } = change;
    let (pool, old_discovery) = match before {
        Some(job) => {
            job.follow.abort();
            (job.pool, Some(job.discovery))
        }
        None => (Arc::new(Mutex::new(Pool::new(shared.clone(), settings.clone()))), None),
    };
    let discovery = match (discovery, old_discovery) {
        (Some(new), _) => Arc::new(new),
        (None, Some(old)) => old,
        (None, None) => unreachable!("a job that did not run gets a discovery"),
    };
    let mut known = discovery.known();
    let now = known.borrow_and_update().clone();
    let of_pool = pool.clone();
    let epoch = off_the_reactor(move || {
        let mut pool = of_pool.lock();
        let groups = pool.groups_for(&now);
        pool.reload(settings, groups)
    });
    let follow = tokio::spawn(follow(pool.clone(), known, epoch.await));
    Job { follow, pool, discovery }
}

/// Syncs a pool whenever its groups change.
async fn follow(pool: Arc<Mutex<Pool>>, mut known: watch::Receiver<Known>, epoch: Epoch) {
    while known.changed().await.is_ok() {
        let now = known.borrow_and_update().clone();
        let pool = pool.clone();
        off_the_reactor(move || pool.lock().follow(epoch, &now)).await;
    }
}

/// Relabelling ten thousand targets takes a tenth of a second.
async fn off_the_reactor<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        // The runtime is going down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}
