//! The targets that other scrapers hold: series that go on there are not ended here.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use model::Labels;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

/// By job, hashes of labels of targets. Locked for a moment, under no other lock but that of a pool.
#[derive(Default)]
pub(crate) struct Elsewhere(Mutex<BTreeMap<String, Arc<HashSet<u64>>>>);

/// Of the labels that a target's series get. Another interval, say, makes another target, whose series are the same.
pub(crate) fn series_hash(labels: &Labels) -> u64 {
    xxh3_64(labels.as_packed())
}

impl Elsewhere {
    /// Takes what is known of a job.
    pub(crate) fn set(&self, job: &str, hashes: HashSet<u64>) {
        let mut jobs = self.0.lock();
        if hashes.is_empty() {
            jobs.remove(job);
        } else {
            jobs.insert(job.to_owned(), Arc::new(hashes));
        }
    }

    /// Whether another scraper has a target with these labels.
    pub(crate) fn has(&self, labels: &Labels) -> bool {
        let hash = series_hash(labels);
        self.0.lock().values().any(|hashes| hashes.contains(&hash))
    }
}
