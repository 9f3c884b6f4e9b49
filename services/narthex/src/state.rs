//! The running process as the HTTP API shows it: flags, configuration, readiness, and in `narthex all` its targets and series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use ingester::Ingester;
use model::{Labels, Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use querier::{
    BuildInfo, ExemplarSeries, ExemplarSource, Lifecycle, MetadataSource, Notification, Readiness, RuntimeInfo,
    StatusSource, TargetMetadata, TargetSource, TargetsSnapshot, Told, TsdbStatus, WalReplay, Wanted,
};
use scraper::Scraper;
use server::clock;
use storage::SelectError;
use tokio::sync::watch;

use crate::configuration;
use crate::configured::Configured;

/// The version of Prometheus whose API and behaviour this is.
const PROMETHEUS_VERSION: &str = "3.14.0";

/// What all requests look at.
pub(crate) struct State {
    flags: BTreeMap<String, String>,
    configured: Arc<Configured>,
    /// That of this process, where it has one.
    ingester: Option<Arc<Ingester>>,
    started: TimestampMs,
    ready: AtomicBool,
    /// Told to stop the process.
    stop: watch::Sender<bool>,
}

impl State {
    pub(crate) fn new(
        flags: BTreeMap<String, String>,
        configured: Arc<Configured>,
        ingester: Option<Arc<Ingester>>,
        stop: watch::Sender<bool>,
    ) -> State {
        State { flags, configured, ingester, started: clock::now(), ready: AtomicBool::new(false), stop }
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

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

impl StatusSource for State {
    fn config_yaml(&self) -> String {
        self.configured.config().to_yaml()
    }

    fn flags(&self) -> BTreeMap<String, String> {
        self.flags.clone()
    }

    fn external_labels(&self) -> Labels {
        self.configured.config().global.external_labels.clone()
    }

    fn runtime_info(&self) -> RuntimeInfo {
        let loaded = self.configured.loaded();
        let recovery = self.ingester.as_ref().map(|ingester| ingester.recovery().clone()).unwrap_or_default();
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
            storage_retention: configuration::retention(&self.configured.config())
                .map_or(String::new(), |r| r.to_string()),
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
        let Some(ingester) = &self.ingester else { return TsdbStatus::default() };
        let head = ingester.head();
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
        let Some(ingester) = &self.ingester else { return WalReplay::default() };
        let r = ingester.recovery();
        WalReplay { min: r.snapshot, max: r.last, current: r.last }
    }

    fn notifications(&self) -> Vec<Notification> {
        let mut notifications = self.configured.loaded().notifications;
        if let Some(why) = self.ingester.as_ref().and_then(|ingester| ingester.status().log_failure) {
            let text = format!("The log takes no samples: {why}");
            notifications.push(Notification { text, date: clock::now(), active: true });
        }
        notifications
    }

    fn features(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        BTreeMap::new()
    }
}

/// [`State`] behind the `Arc` that a reload needs to outlive its caller.
pub(crate) struct Running(pub(crate) Arc<State>);

impl Lifecycle for Running {
    fn readiness(&self) -> Readiness {
        self.0.readiness()
    }

    fn reload(&self) -> BoxFuture<'static, Result<(), String>> {
        let configured = self.0.configured.clone();
        let task = tokio::spawn(async move { configured.reload().await });
        async move { task.await.unwrap_or_else(|e| Err(e.to_string())) }.boxed()
    }

    fn quit(&self) -> bool {
        !self.0.stop.send_replace(true)
    }
}

/// The scraper and the ingester of this process as the API asks them.
pub(crate) struct InProcess {
    pub(crate) scraper: Arc<Scraper>,
    pub(crate) ingester: Arc<Ingester>,
}

impl MetadataSource for InProcess {
    fn metadata(&self, tenant: &TenantId, family: Option<&str>) -> BoxFuture<'_, BTreeMap<String, Vec<Metadata>>> {
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
        futures::future::ready(families).boxed()
    }
}

impl ExemplarSource for InProcess {
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

impl TargetSource for InProcess {
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
