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
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use writer::Writer;

use crate::loops::Loops;
use crate::metrics::ScraperMetrics;
use crate::pool::{Epoch, Pool};
use crate::scrape_loop::Shared;
use crate::settings::{JobSettings, RefusedJob};
use crate::snapshot::{PoolSnapshot, TargetMetadata};
use crate::threads::Threads;

/// Bounds of a scraper.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a page, uncompressed, that are too many where `body_size_limit` does not say less: protects memory.
    pub body_bytes_max: usize,
    /// How long scrapes under way may go on when the process ends.
    pub stop_timeout: Duration,
    /// Threads of the scraper's own for scrapes; with 0 they run on the caller's runtime.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_bytes_max: 512 << 20, stop_timeout: Duration::from_secs(2), threads: 0 }
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
    /// The same pools, for those who look. Locked for a moment.
    pools: Pools,
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
    /// A scraper without jobs. An error: its threads cannot be started.
    pub fn new(writer: Arc<Writer>, outside: Outside, limits: Limits, metrics: &Metrics) -> std::io::Result<Scraper> {
        let (shutdown, watched) = watch::channel(false);
        let threads = Threads::start(limits.threads, &watched)?;
        let shared = Shared {
            writer,
            tenant: outside.tenant.clone(),
            metrics: ScraperMetrics::new(metrics),
            loops: Loops::default(),
            threads,
            shutdown: watched,
        };
        let (jobs, pools) = (Arc::default(), Arc::default());
        Ok(Scraper { shared: Arc::new(shared), outside, limits, jobs, pools, shutdown })
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

    /// All jobs with their targets.
    pub fn snapshot(&self) -> Vec<PoolSnapshot> {
        let pools: Vec<Arc<Mutex<Pool>>> = self.pools.lock().values().cloned().collect();
        pools.iter().map(|pool| pool.lock().snapshot()).collect()
    }

    /// Names of all jobs, sorted.
    pub fn scrape_pools(&self) -> Vec<String> {
        self.pools.lock().keys().cloned().collect()
    }

    /// The `relabel_configs` of a job; `None` where there is no such job.
    pub fn relabel_rules(&self, job: &str) -> Option<Vec<relabel::Rule>> {
        let pool = self.pools.lock().get(job).cloned()?;
        let settings = pool.lock().settings().clone();
        Some(settings.relabel.clone())
    }

    /// Metadata of the targets whose labels `wanted` takes.
    pub fn metadata(&self, wanted: impl Fn(&Labels) -> bool) -> Vec<TargetMetadata> {
        let pools: Vec<Arc<Mutex<Pool>>> = self.pools.lock().values().cloned().collect();
        let mut out = Vec::new();
        for pool in pools {
            let loops: Vec<_> = pool.lock().scrape_loops().filter(|l| wanted(&l.target.labels)).cloned().collect();
            for scrape_loop in loops {
                let memory = scrape_loop.memory.lock();
                out.extend(memory.families.list(&memory.cache).into_iter().map(|(family, metadata)| TargetMetadata {
                    target: scrape_loop.target.labels.clone(),
                    family,
                    metadata,
                }));
            }
        }
        out
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
type Pools = Arc<Mutex<BTreeMap<String, Arc<Mutex<Pool>>>>>;

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
    *pools.lock() = jobs.iter().map(|(name, job)| (name.clone(), job.pool.clone())).collect();
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
