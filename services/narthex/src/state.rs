//! The running process as the HTTP API shows it: configuration, targets, metadata, readiness; and reloading.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use config::Config;
use futures::FutureExt;
use futures::future::BoxFuture;
use ingester::Ingester;
use model::{Labels, Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use querier::{
    BuildInfo, ExemplarSeries, ExemplarSource, Lifecycle, MetadataSource, Notification, Readiness, RuntimeInfo,
    StatusSource, TargetMetadata, TargetSource, TargetsSnapshot, Told, TsdbStatus, WalReplay, Wanted,
};
use scraper::Scraper;
use server::{Metrics, clock};
use storage::SelectError;
use tokio::sync::watch;
use tracing::{error, info, warn};
use writer::Writer;

use crate::configuration;
use crate::flags::All;

/// The version of Prometheus whose API and behaviour this is.
const PROMETHEUS_VERSION: &str = "3.14.0";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Block {
    block: String,
}

/// What all requests look at.
pub(crate) struct State {
    flags: All,
    config: ArcSwap<Config>,
    scraper: Arc<Scraper>,
    writer: Arc<Writer>,
    ingester: Arc<Ingester>,
    started: TimestampMs,
    loaded: Mutex<Loaded>,
    ready: AtomicBool,
    stop: watch::Sender<bool>,
    unsupported: Family<Block, Gauge>,
    reload_successful: Gauge,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// Told after each reload: a smaller window closes ranges at once.
    reloaded: tokio::sync::Notify,
}

struct Loaded {
    success: bool,
    at: TimestampMs,
    notifications: Vec<Notification>,
}

impl State {
    pub(crate) fn new(
        flags: &All,
        config: Config,
        scraper: Arc<Scraper>,
        writer: Arc<Writer>,
        ingester: Arc<Ingester>,
        stop: watch::Sender<bool>,
        metrics: &Metrics,
    ) -> State {
        let (unsupported, reload_successful) = (Family::default(), Gauge::default());
        metrics.register(|r| {
            let help = "Blocks of the configuration that are valid and not acted on";
            r.register("narthex_config_unsupported", help, unsupported.clone());
            let help = "Whether the last configuration reload attempt was successful";
            r.register("prometheus_config_last_reload_successful", help, reload_successful.clone());
        });
        let now = clock::now();
        State {
            flags: flags.clone(),
            config: ArcSwap::from_pointee(config),
            scraper,
            writer,
            ingester,
            started: now,
            loaded: Mutex::new(Loaded { success: true, at: now, notifications: Vec::new() }),
            ready: AtomicBool::new(false),
            stop,
            unsupported,
            reload_successful,
            reloading: tokio::sync::Mutex::default(),
            reloaded: tokio::sync::Notify::new(),
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Puts the first configuration in force.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        let config = self.config();
        self.scraper.apply_config(&config).await?;
        self.in_force(config);
        Ok(())
    }

    /// Reads the configuration again. A bad one is refused and the old one stays.
    pub(crate) async fn reload_now(&self) -> Result<(), String> {
        let _one_at_a_time = self.reloading.lock().await;
        let done = self.try_reload().await;
        match &done {
            Ok(()) => info!(file = %self.flags.config_file.display(), "configuration reloaded"),
            Err(e) => {
                error!(error = %e, "reload configuration failed, the old one stays in force");
                let mut loaded = self.loaded.lock();
                loaded.success = false;
                self.reload_successful.set(0);
                let text = "Configuration reload has failed.".to_owned();
                loaded.notifications.retain(|n| n.text != text);
                loaded.notifications.push(Notification { text, date: clock::now(), active: true });
            }
        }
        done
    }

    async fn try_reload(&self) -> Result<(), String> {
        let config = configuration::load(&self.flags).map_err(|e| e.to_string())?;
        self.scraper.apply_config(&config).await.map_err(|e| e.to_string())?;
        self.in_force(Arc::new(config));
        Ok(())
    }

    /// Takes over what does not concern the scraper, and says what is not acted on: once each.
    fn in_force(&self, config: Arc<Config>) {
        self.writer.set_window(configuration::window(&config));
        let now = clock::now();
        let mut loaded = self.loaded.lock();
        *loaded = Loaded { success: true, at: now, notifications: Vec::new() };
        self.reload_successful.set(1);
        self.unsupported.clear();
        for block in configuration::unsupported(&config) {
            self.unsupported.get_or_create(&Block { block: block.block.clone() }).set(1);
            warn!(block = block.block, jobs = ?block.jobs, "this part of the configuration is not supported yet and does nothing");
            let of_jobs =
                if block.jobs.is_empty() { String::new() } else { format!(" (jobs: {})", block.jobs.join(", ")) };
            let text = format!("Configuration block {}{of_jobs} is not supported yet and does nothing.", block.block);
            loaded.notifications.push(Notification { text, date: now, active: true });
        }
        self.config.store(config);
        self.reloaded.notify_one();
    }

    /// Resolves after a configuration came into force.
    pub(crate) async fn reloaded(&self) {
        self.reloaded.notified().await;
    }
}

impl StatusSource for State {
    fn config_yaml(&self) -> String {
        self.config.load().to_yaml()
    }

    fn flags(&self) -> BTreeMap<String, String> {
        self.flags.as_map()
    }

    fn external_labels(&self) -> Labels {
        self.config.load().global.external_labels.clone()
    }

    fn runtime_info(&self) -> RuntimeInfo {
        let loaded = self.loaded.lock();
        let recovery = self.ingester.recovery();
        RuntimeInfo {
            start_time: self.started,
            working_directory: std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned(),
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            server_time: clock::now(),
            reload_config_success: loaded.success,
            last_config_time: loaded.at,
            corruption_count: recovery.lost.len() as u64 + u64::from(recovery.torn_bytes > 0),
            task_count: tokio::runtime::Handle::try_current().map_or(0, |h| h.metrics().num_alive_tasks() as u64),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory_limit_bytes: i64::MAX,
            storage_retention: configuration::retention(&self.config.load()).map_or(String::new(), |r| r.to_string()),
        }
    }

    fn build_info(&self) -> BuildInfo {
        BuildInfo {
            version: PROMETHEUS_VERSION.to_owned(),
            revision: format!("narthex-{}", env!("CARGO_PKG_VERSION")),
            branch: "main".to_owned(),
            compiler_version: "rust".to_owned(),
            ..BuildInfo::default()
        }
    }

    fn tsdb(&self, tenant: &TenantId, limit: usize) -> TsdbStatus {
        let head = self.ingester.head();
        let (stats, c, bounds) = (head.stats(), head.cardinality(tenant, limit), head.time_bounds());
        TsdbStatus {
            series_count: stats.series_count,
            label_pair_count: c.label_pair_count,
            chunk_count: stats.chunk_count,
            mint: bounds.map(|b| b.0),
            maxt: bounds.map(|b| b.1),
            series_by_metric: c.series_by_metric,
            values_by_label: c.values_by_label,
            bytes_by_label: c.bytes_by_label,
            series_by_pair: c.series_by_pair,
        }
    }

    fn wal_replay(&self) -> WalReplay {
        let r = self.ingester.recovery();
        WalReplay { min: r.snapshot, max: r.last, current: r.last }
    }

    fn notifications(&self) -> Vec<Notification> {
        let mut notifications = self.loaded.lock().notifications.clone();
        if let Some(why) = self.ingester.status().log_failure {
            let text = format!("The log takes no samples: {why}");
            notifications.push(Notification { text, date: clock::now(), active: true });
        }
        notifications
    }

    fn features(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        BTreeMap::new()
    }
}

impl State {
    fn readiness(&self) -> Readiness {
        if *self.stop.borrow() {
            Readiness::Stopping
        } else if self.ready.load(Ordering::Relaxed) {
            Readiness::Ready
        } else {
            Readiness::NotReady
        }
    }
}

/// [`State`] behind the `Arc` that a reload needs to outlive its caller.
pub(crate) struct Running(pub(crate) Arc<State>);

impl Lifecycle for Running {
    fn readiness(&self) -> Readiness {
        self.0.readiness()
    }

    fn reload(&self) -> BoxFuture<'static, Result<(), String>> {
        let state = self.0.clone();
        let task = tokio::spawn(async move { state.reload_now().await });
        async move { task.await.unwrap_or_else(|e| Err(e.to_string())) }.boxed()
    }

    fn quit(&self) -> bool {
        !self.0.stop.send_replace(true)
    }
}

impl MetadataSource for State {
    fn metadata(&self, tenant: &TenantId, family: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        let mut families: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
        let wanted = |name: &str| family.is_none_or(|f| f == name);
        for (name, metadata) in self.ingester.head().metadata(tenant) {
            if wanted(&name) {
                families.entry(name).or_default().push(metadata);
            }
        }
        for m in self.scraper.metadata(|_| true) {
            if wanted(&m.family) {
                let known = families.entry(m.family).or_default();
                if !known.contains(&m.metadata) {
                    known.push(m.metadata);
                }
            }
        }
        families
    }
}

impl ExemplarSource for State {
    fn exemplars(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        matcher_sets: Vec<Vec<Matcher>>,
    ) -> BoxFuture<'static, Result<Vec<ExemplarSeries>, SelectError>> {
        let found = self.ingester.head().exemplars(tenant, range, &matcher_sets);
        let series = found.into_iter().map(|s| ExemplarSeries { labels: s.labels, exemplars: s.exemplars }).collect();
        futures::future::ready(Ok(series)).boxed()
    }
}

impl TargetSource for State {
    fn targets(&self, wanted: Wanted) -> BoxFuture<'_, Told<TargetsSnapshot>> {
        futures::future::ready(self.scraper.targets(&wanted).into()).boxed()
    }

    fn scrape_pools(&self) -> BoxFuture<'_, Told<Vec<String>>> {
        futures::future::ready(self.scraper.scrape_pools().into()).boxed()
    }

    fn relabel_rules(&self, scrape_pool: String) -> BoxFuture<'_, Told<Option<Vec<relabel::Rule>>>> {
        futures::future::ready(self.scraper.relabel_rules(&scrape_pool).into()).boxed()
    }

    fn metadata(&self, family: Option<String>) -> BoxFuture<'_, Told<Vec<TargetMetadata>>> {
        let mut all: Vec<TargetMetadata> =
            self.scraper.metadata(|_| true).into_iter().map(TargetMetadata::from).collect();
        all.retain(|m| family.as_ref().is_none_or(|f| *f == m.family));
        futures::future::ready(all.into()).boxed()
    }
}
