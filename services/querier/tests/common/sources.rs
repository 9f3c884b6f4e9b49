//! A process that scrapes nothing and has nothing to tell.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use model::{Labels, Metadata, TenantId};
use querier::{
    BuildInfo, Lifecycle, MetadataSource, Notification, Readiness, RuntimeInfo, StatusSource, TargetMetadata,
    TargetSource, TargetsSnapshot, Told, TsdbStatus, WalReplay, Wanted,
};
use relabel::Rule;

#[derive(Default)]
pub(crate) struct Process {
    pub(crate) stopping: AtomicBool,
    pub(crate) reload_error: Mutex<Option<String>>,
    pub(crate) targets: TargetsSnapshot,
    pub(crate) target_warnings: Vec<String>,
    pub(crate) relabel_rules: Vec<Rule>,
    pub(crate) metadata: Vec<TargetMetadata>,
}

impl Process {
    pub(crate) fn set_reload_error(&self, text: &str) {
        *self.reload_error.lock().unwrap() = Some(text.to_owned());
    }

    fn told<T: Send + 'static>(&self, value: T) -> BoxFuture<'static, Told<T>> {
        Box::pin(std::future::ready(Told { value, warnings: self.target_warnings.clone() }))
    }

    fn metadata_of(&self, family: Option<&str>) -> Vec<TargetMetadata> {
        self.metadata.iter().filter(|m| family.is_none_or(|f| f == m.family)).cloned().collect()
    }
}

impl TargetSource for Process {
    fn targets(&self, _: Wanted) -> BoxFuture<'_, Told<TargetsSnapshot>> {
        self.told(self.targets.clone())
    }

    fn scrape_pools(&self) -> BoxFuture<'_, Told<Vec<String>>> {
        self.told(self.targets.dropped_counts.keys().rev().cloned().collect())
    }

    fn relabel_rules(&self, scrape_pool: String) -> BoxFuture<'_, Told<Option<Vec<Rule>>>> {
        self.told(self.targets.dropped_counts.contains_key(&scrape_pool).then(|| self.relabel_rules.clone()))
    }

    fn metadata(&self, family: Option<String>) -> BoxFuture<'_, Told<Vec<TargetMetadata>>> {
        self.told(self.metadata_of(family.as_deref()))
    }
}

impl MetadataSource for Process {
    fn metadata(&self, _tenant: &TenantId, family: Option<&str>) -> BoxFuture<'_, BTreeMap<String, Vec<Metadata>>> {
        let mut families: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
        for m in self.metadata_of(family) {
            families.entry(m.family).or_default().push(m.metadata);
        }
        Box::pin(std::future::ready(families))
    }
}

impl StatusSource for Process {
    fn config_yaml(&self) -> String {
        "global: {}\n".to_owned()
    }

    fn external_labels(&self) -> Labels {
        Labels::from_pairs([("cluster", "golden")]).unwrap()
    }

    fn flags(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn runtime_info(&self) -> RuntimeInfo {
        RuntimeInfo::default()
    }

    fn build_info(&self) -> BuildInfo {
        BuildInfo { version: "3.14.0".to_owned(), ..BuildInfo::default() }
    }

    fn tsdb(&self, _tenant: &TenantId, _limit: usize) -> TsdbStatus {
        let ranking = vec![("a".to_owned(), 2), ("b".to_owned(), 1)];
        TsdbStatus {
            series_by_metric: ranking.clone(),
            values_by_label: ranking.clone(),
            bytes_by_label: ranking.clone(),
            series_by_pair: ranking,
            ..TsdbStatus::default()
        }
    }

    fn wal_replay(&self) -> WalReplay {
        WalReplay::default()
    }

    fn notifications(&self) -> Vec<Notification> {
        Vec::new()
    }

    fn features(&self) -> BTreeMap<String, BTreeMap<String, bool>> {
        BTreeMap::new()
    }
}

impl Lifecycle for Process {
    fn readiness(&self) -> Readiness {
        if self.stopping.load(Ordering::SeqCst) { Readiness::Stopping } else { Readiness::Ready }
    }

    fn reload(&self) -> BoxFuture<'static, Result<(), String>> {
        let result = self.reload_error.lock().unwrap().clone().map_or(Ok(()), Err);
        Box::pin(async move { result })
    }

    fn quit(&self) -> bool {
        !self.stopping.swap(true, Ordering::SeqCst)
    }
}
