//! All loops of a scraper that still run or wait for their end.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::scrape_loop::{ScrapeLoop, Stop};

/// Loops by number. Locked for a moment, under no other lock.
#[derive(Default)]
pub(crate) struct Loops {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    next: u64,
    loops: BTreeMap<u64, Weak<ScrapeLoop>>,
    /// How many there may be before those that are gone are looked for.
    clean_at: usize,
}

impl Loops {
    /// A number for a new loop.
    pub(crate) fn next_number(&self) -> u64 {
        let mut known = self.known.lock();
        known.next += 1;
        known.next
    }

    pub(crate) fn add(&self, scrape_loop: &Arc<ScrapeLoop>) {
        let mut known = self.known.lock();
        known.loops.insert(scrape_loop.number, Arc::downgrade(scrape_loop));
        if known.loops.len() > known.clean_at {
            known.loops.retain(|_, l| l.strong_count() > 0);
            known.clean_at = 2 * known.loops.len() + 64;
        }
    }

    /// Running loops that may write series of `ended`: younger ones, and those whose pages decide about all labels.
    pub(crate) fn those_that_may_go_on(&self, ended: &ScrapeLoop) -> Vec<Arc<ScrapeLoop>> {
        let alive: Vec<Arc<ScrapeLoop>> = self.known.lock().loops.values().filter_map(Weak::upgrade).collect();
        let mut alive = alive;
        alive.retain(|l| {
            let other = l.number != ended.number && *l.stop.borrow() != Stop::Now;
            other && (l.number > ended.number || l.rules.job.config.honor_labels)
        });
        alive
    }
}
