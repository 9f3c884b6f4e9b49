//! The end of a target that is gone: staleness markers, late enough that the target may come back before. Source:
//! `scrapeLoop.endOfRunStaleness` of Prometheus `scrape/scrape.go`.
//!
//! Prometheus' storage refuses a marker that is older than the series' last sample; ours takes it. So series that another
//! loop has taken over are left out here.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use model::{SeriesId, TimestampMs, stale_nan};
use tokio::time::Instant;

use crate::gather;
use crate::page::Row;
use crate::scrape_loop::ScrapeLoop;
use crate::source::Scrape;

/// Waits, then ends all series that `ended` had and nobody has now. `last` is its last tick.
pub(crate) async fn run(ended: Arc<ScrapeLoop>, last: Option<TimestampMs>) {
    // Where there was no scrape there are no series.
    let Some(last) = last else { return };
    let interval = ended.schedule.interval();
    let stale_at = last + interval;
    let due = stale_at + interval + model::DurationMs(interval.0 / 10);
    tokio::time::sleep((due - server::clock::now()).to_std()).await;
    // It may have come back, or have changed, and be another scraper's now.
    if ended.shared.elsewhere.has(&ended.target.labels) {
        return;
    }
    let scrape = markers(&ended, stale_at);
    if !scrape.rows.markers.is_empty() || !scrape.rows.samples.is_empty() {
        let deadline = Instant::now() + interval.to_std().max(std::time::Duration::from_secs(10));
        gather::write(&ended.shared, &[scrape], deadline).await;
    }
}

fn markers(ended: &ScrapeLoop, at: TimestampMs) -> Scrape {
    let mut rows = ended.memory.lock().end_all(at);
    let mut left: HashSet<SeriesId> = rows.markers.iter().map(|m| m.id).collect();
    left.extend(ended.report.all().iter().map(|(id, _)| *id));
    for other in ended.shared.loops.those_that_may_go_on(ended) {
        if other.status.lock().last_scrape.is_some() {
            other.memory.lock().live_ids(|id| {
                left.remove(&id);
            });
            for (id, _) in other.report.all() {
                left.remove(id);
            }
        }
    }
    rows.markers.retain(|m| left.contains(&m.id));
    for (id, labels) in ended.report.all().iter().filter(|(id, _)| left.contains(id)) {
        let fresh = u32::try_from(rows.fresh.len()).expect("a handful");
        rows.fresh.push(labels.clone());
        rows.samples.push(Row { id: *id, at: at.0, value: stale_nan(), fresh });
    }
    Scrape {
        tenant: ended.shared.tenant.clone(),
        rules: ended.rules.clone(),
        page: Vec::new(),
        format: None,
        rows,
        report: (ended.report.clone(), at.0, Vec::new()),
        written_at: None,
        found_again: OnceLock::new(),
    }
}
