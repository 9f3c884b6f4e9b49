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
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use writer::Writer;

use crate::loops::Loops;
use crate::metrics::ScraperMetrics;
use crate::pool::Pool;
use crate::scrape_loop::Shared;
use crate::settings::{JobSettings, RefusedJob};
use crate::snapshot::{PoolSnapshot, TargetMetadata};

/// Bounds of a scraper.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a page, uncompressed, that are too many where `body_size_limit` does not say less: protects memory.
    pub body_bytes_max: usize,
    /// How long scrapes under way may go on when the process ends.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_bytes_max: 512 << 20, stop_timeout: Duration::from_secs(2) }
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
    jobs: tokio::sync::Mutex<BTreeMap<String, Job>>,
    /// The same pools, for those who look. Locked for a moment.
    pools: Mutex<BTreeMap<String, Arc<Mutex<Pool>>>>,
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
    /// A scraper without jobs.
    pub fn new(writer: Arc<Writer>, outside: Outside, limits: Limits, metrics: &Metrics) -> Scraper {
        let (shutdown, watched) = watch::channel(false);
        let shared = Shared {
            writer,
            tenant: outside.tenant.clone(),
            metrics: ScraperMetrics::new(metrics),
            loops: Loops::default(),
            shutdown: watched,
        };
        Scraper {
            shared: Arc::new(shared),
            outside,
            limits,
            jobs: tokio::sync::Mutex::default(),
            pools: Mutex::default(),
            shutdown,
        }
    }

    /// Goes over to `config`: all of it, or on an error nothing. Jobs that are the same go on undisturbed.
    pub async fn apply_config(&self, config: &Config) -> Result<(), RefusedJob> {
        let mut jobs = self.jobs.lock().await;
        let mut changes = Vec::new();
        for job in &config.scrape_configs {
            if let Some(change) = self.change(job, jobs.get(&job.job_name))? {
                changes.push((job.job_name.clone(), change));
            }
        }
        let is_gone = |name: &String| !config.scrape_configs.iter().any(|job| job.job_name == *name);
        let gone: Vec<String> = jobs.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            let Some(job) = jobs.remove(&name) else { continue };
            job.follow.abort();
            off_the_reactor(move || job.pool.lock().end_all()).await;
            info!(scrape_pool = name, "scrape pool removed");
        }
        for (name, change) in changes {
            let before = jobs.remove(&name);
            let job = self.replace(before, change).await;
            jobs.insert(name, job);
        }
        *self.pools.lock() = jobs.iter().map(|(name, job)| (name.clone(), job.pool.clone())).collect();
        self.shared.metrics.pools.set(i64::try_from(jobs.len()).unwrap_or(i64::MAX));
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

    async fn replace(&self, before: Option<Job>, change: Change) -> Job {
        let Change { settings, discovery } = change;
        let (pool, old_discovery) = match before {
            Some(job) => {
                job.follow.abort();
                (job.pool, Some(job.discovery))
            }
            None => (Arc::new(Mutex::new(Pool::new(self.shared.clone(), settings.clone()))), None),
        };
        let discovery = match (discovery, old_discovery) {
            (Some(new), _) => Arc::new(new),
            (None, Some(old)) => old,
            (None, None) => unreachable!("a job that did not run gets a discovery"),
        };
        let mut known = discovery.known();
        let now = known.borrow_and_update().clone();
        // A mechanism that has not looked yet knows nothing of the targets that its predecessor found: they stay until it has.
        let groups = if now.is_complete { now.groups } else { pool.lock().groups_with(&now.groups) };
        let of_pool = pool.clone();
        off_the_reactor(move || of_pool.lock().reload(settings, groups)).await;
        Job { follow: tokio::spawn(follow(pool.clone(), known)), pool, discovery }
    }
}

/// Syncs a pool whenever its groups change.
async fn follow(pool: Arc<Mutex<Pool>>, mut known: watch::Receiver<Known>) {
    while known.changed().await.is_ok() {
        let now = known.borrow_and_update().clone();
        let pool = pool.clone();
        off_the_reactor(move || {
            let mut pool = pool.lock();
            let groups = if now.is_complete { now.groups } else { pool.groups_with(&now.groups) };
            pool.sync(groups);
        })
        .await;
    }
}

/// Relabelling ten thousand targets takes a tenth of a second.
async fn off_the_reactor(work: impl FnOnce() + Send + 'static) {
    if let Err(e) = tokio::task::spawn_blocking(work).await
        && e.is_panic()
    {
        std::panic::resume_unwind(e.into_panic());
    }
}
