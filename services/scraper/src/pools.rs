//! All pools, for those who look: the HTTP API of the process, or a querier of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use model::Labels;
use parking_lot::Mutex;
use peer::{Answer, ScrapeState, ScrapingNode, Unanswered};
use targets::{Question, TargetsSnapshot, Wanted, answer};

use crate::Scraper;
use crate::pool::Pool;
use crate::snapshot::{PoolSnapshot, TargetMetadata};

/// By job. Locked for a moment.
#[derive(Clone, Default)]
pub(crate) struct Pools(Arc<Mutex<BTreeMap<String, Arc<Mutex<Pool>>>>>);

impl Pools {
    pub(crate) fn set(&self, pools: BTreeMap<String, Arc<Mutex<Pool>>>) {
        *self.0.lock() = pools;
    }

    fn all(&self) -> Vec<Arc<Mutex<Pool>>> {
        self.0.lock().values().cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    pub(crate) fn snapshot(&self) -> Vec<PoolSnapshot> {
        self.all().iter().map(|pool| pool.lock().snapshot()).collect()
    }

    pub(crate) fn relabel_rules(&self, job: &str) -> Option<Vec<relabel::Rule>> {
        let pool = self.0.lock().get(job).cloned()?;
        let settings = pool.lock().settings().clone();
        Some(settings.relabel.clone())
    }

    pub(crate) fn metadata(&self, wanted: impl Fn(&Labels) -> bool) -> Vec<TargetMetadata> {
        let mut out = Vec::new();
        for pool in self.all() {
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

    pub(crate) fn targets(&self, wanted: &Wanted) -> TargetsSnapshot {
        let mut all = TargetsSnapshot::default();
        for pool in self.snapshot() {
            all.dropped_counts.insert(pool.name.clone(), pool.dropped_count as u64);
            if !wanted.takes_pool(&pool.name) {
                continue;
            }
            if wanted.active {
                all.active.extend(pool.active.into_iter().map(targets::ActiveTarget::from));
            }
            if wanted.dropped {
                all.dropped.extend(pool.dropped.into_iter().map(targets::DroppedTarget::from));
            }
        }
        all
    }

    fn answer(&self, path: &str, query: &str) -> ScrapeState {
        match Question::parse(path, query) {
            Ok(Question::Targets(wanted)) => answer::targets(&self.targets(&wanted)),
            Ok(Question::ScrapePools) => answer::scrape_pools(&self.names()),
            Ok(Question::Metadata(family)) => {
                let mut all: Vec<targets::TargetMetadata> =
                    self.metadata(|_| true).into_iter().map(targets::TargetMetadata::from).collect();
                all.retain(|m| family.as_ref().is_none_or(|f| *f == m.family));
                answer::metadata(&all)
            }
            Ok(Question::RelabelRules(pool)) => match self.relabel_rules(&pool) {
                Some(rules) => answer::relabel_rules(&rules),
                None => answer::refusal(&format!("scrape pool {pool:?} not found")),
            },
            Err(e) => answer::refusal(&e.to_string()),
        }
    }
}

impl ScrapingNode for Scraper {
    fn ask(&self, path: String, query: String) -> Answer<ScrapeState> {
        let pools = self.pools().clone();
        // The JSON of ten thousand targets takes tens of milliseconds.
        let answered = tokio::task::spawn_blocking(move || pools.answer(&path, &query));
        answered.map(|done| done.map_err(|e| Unanswered(e.to_string()))).boxed()
    }
}
