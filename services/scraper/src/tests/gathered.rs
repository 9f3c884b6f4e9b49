//! Scrapes that end within a moment of each other share a write.

use std::collections::BTreeMap;

use super::support::{Reply, Rig, Site, until};

/// Targets of one site, told apart by `instance`, at an interval of two seconds: scrapes wait for a tenth of a second.
fn many(site: &Site, count: usize) -> String {
    let targets: String = (0..count)
        .map(|n| format!("    - {{targets: ['{}'], labels: {{instance: 'i{n}'}}}}\n", site.address))
        .collect();
    format!("scrape_configs:\n  - job_name: j\n    scrape_interval: 2s\n    static_configs:\n{targets}")
}

fn writes(rig: &Rig) -> u64 {
    let text = rig.metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix("narthex_scraper_writes_total "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// How many scrapes of each target were written, as `up` tells.
fn scrapes(rig: &Rig) -> BTreeMap<String, usize> {
    let mut of = BTreeMap::new();
    for (labels, ..) in rig.twin.0.lock().samples.iter().filter(|s| s.0.metric_name() == Some("up")) {
        *of.entry(labels.get("instance").unwrap_or("").to_owned()).or_default() += 1;
    }
    of
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_fewer_than_scrapes() {
    let site = Site::start(|_| Reply::text("a 1\nb 2\n")).await;
    let rig = Rig::start(&many(&site, 60)).await;
    until("three scrapes of each", || {
        let of = scrapes(&rig);
        of.len() == 60 && of.values().all(|count| *count >= 3)
    })
    .await;
    rig.scraper.stop().await;
    let total: usize = scrapes(&rig).values().sum();
    // Sixty within two seconds are three in each tenth of a second, if they are spread at all.
    assert!(writes(&rig) * 2 < total as u64, "{} writes of {total} scrapes", writes(&rig));
    assert!(rig.metrics.encode().contains("narthex_scraper_dropped_scrapes_total 0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_stays_whole_in_one_batch_however_many_share_its_write() {
    const SERIES: usize = 700;
    const REPORT: usize = 5;
    let padding = "x".repeat(200);
    let page: String = (0..SERIES).map(|n| format!("a{{n=\"{n}\",padding=\"{padding}\"}} {n}\n")).collect();
    let site = Site::start(move |_| Reply::text(page.clone())).await;
    let rig = Rig::start(&many(&site, 24)).await;
    let all_have = |count: usize| {
        let of = scrapes(&rig);
        of.len() == 24 && of.values().all(|c| *c >= count)
    };
    until("a scrape of each", || all_have(1)).await;
    // Everything is defined anew, which makes batches ten times as large.
    rig.twin.forget();
    until("another scrape of each", || all_have(2)).await;
    rig.scraper.stop().await;
    let held = rig.twin.0.lock();
    let mut shared = 0;
    for batch in &held.by_batch {
        shared += usize::from(batch.len() > 1);
        for ((instance, at), count) in batch {
            // The last five of a target that was ended with the scraper would be markers; there are none.
            assert_eq!(*count, SERIES + REPORT, "{instance} at {at}");
        }
    }
    assert!(shared > 0, "no write was shared");
}

/// One that fails fails for all that share it, and all define their series again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_is_counted_for_each_scrape_and_the_next_holds_all() {
    use replication::replica::PushReply;
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::idle();
    rig.twin.0.lock().refusal = Some(PushReply::Full { limit_bytes: 5 });
    rig.apply(&many(&site, 30)).await;
    let dropped = || {
        let text = rig.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix("narthex_scraper_dropped_scrapes_total "));
        line.and_then(|value| value.parse::<usize>().ok()).unwrap_or_default()
    };
    until("lost scrapes", || dropped() >= 30).await;
    rig.twin.0.lock().refusal = None;
    until("a scrape of each", || scrapes(&rig).len() == 30).await;
    assert_eq!(rig.twin.exposed().len(), 30);
}
