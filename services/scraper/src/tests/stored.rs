//! What happens between the scraper and its storage.

use replication::replica::{NotNow, PushReply};

use super::support::{Reply, Rig, Site, job, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_away_for_a_moment_loses_nothing() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address]).replace("100ms", "2s")).await;
    rig.until_up().await;
    rig.twin.0.lock().refusal = Some(PushReply::NotNow(NotNow::Unavailable));
    let hits = site.hits();
    until("a scrape", || site.hits() > hits).await;
    until("a retry", || !rig.metrics.encode().contains("narthex_scraper_write_retries_total 0\n")).await;
    rig.twin.0.lock().refusal = None;
    until("two more samples", || rig.twin.values(&[("__name__", "a")]).len() >= 3).await;
    let ups = rig.twin.series(&[("__name__", "up")]);
    assert!(ups.windows(2).all(|w| (w[1].0 - w[0].0 - 2000).abs() <= 200), "{ups:?}");
    assert!(rig.metrics.encode().contains("narthex_scraper_dropped_scrapes_total 0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_stays_away_costs_scrapes_that_are_counted() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::idle();
    rig.twin.0.lock().refusal = Some(PushReply::Full { limit_bytes: 5 });
    rig.apply(&job("", &[&site.address])).await;
    until("a lost scrape", || !rig.metrics.encode().contains("narthex_scraper_dropped_scrapes_total 0\n")).await;
    rig.twin.0.lock().refusal = None;
    until("samples", || rig.twin.last("a") == Some(1.0)).await;
    // What was lost had not reached the storage: it is told the labels now, and what the family is.
    assert_eq!(rig.twin.exposed().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_forgets_gets_the_labels_of_remembered_lines_again() {
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\n# TYPE g gauge\ng{le=\"1\"} 1\nbad{x=\"1\"} 1\n";
    let site = Site::start(move |_| Reply::text(page)).await;
    let rules = "    metric_relabel_configs: [{source_labels: [__name__], regex: bad, action: drop}]\n";
    let rig = Rig::start(&job(rules, &[&site.address])).await;
    rig.until_up().await;
    let before = rig.twin.exposed();
    assert_eq!(before.len(), 3);
    assert!(before[1].contains("le=\"1.0\""), "{before:?}");
    rig.twin.forget();
    until("samples", || rig.twin.last("up") == Some(1.0)).await;
    assert_eq!(rig.twin.exposed(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_is_stored_where_its_series_was_forgotten() {
    let is_short = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let short = is_short.clone();
    let site = Site::start(move |_| {
        let is_short = short.load(std::sync::atomic::Ordering::SeqCst);
        Reply::text(if is_short { "a 1\n" } else { "a 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n" })
    })
    .await;
    let rig = Rig::start(&job("", &[&site.address]).replace("100ms", "400ms")).await;
    rig.until_up().await;
    is_short.store(true, std::sync::atomic::Ordering::SeqCst);
    rig.twin.forget();
    until("a marker", || rig.twin.values(&[("__name__", "h_bucket"), ("le", "1.0")]).last() == Some(&None)).await;
}
