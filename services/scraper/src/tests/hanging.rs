//! Targets that hang do not hold up the others.

use std::collections::BTreeMap;

use super::support::{Reply, Rig, Site, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_that_hang_delay_four_hundred_others_by_no_interval() {
    let site =
        Site::start(|request| if request.target.contains("hang") { Reply::hang() } else { Reply::text("a 1\nb 2\n") })
            .await;
    let mut targets = String::new();
    for (kind, count) in [("hang", 100), ("good", 400)] {
        for n in 0..count {
            targets += &format!(
                "    - {{targets: ['{}'], labels: {{kind: {kind}, n: '{n}', __metrics_path__: /{kind}/{n}}}}}\n",
                site.address
            );
        }
    }
    let yaml = format!(
        "scrape_configs:\n  - job_name: j\n    scrape_interval: 2s\n    scrape_timeout: 1900ms\n    static_configs:\n{targets}"
    );
    let rig = Rig::start(&yaml).await;
    let ups = |kind: &str, value: f64| {
        let mut of: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (labels, t, v) in &rig.twin.0.lock().samples {
            if labels.metric_name() == Some("up") && labels.get("kind") == Some(kind) && *v == value {
                of.entry(labels.get("n").unwrap().to_owned()).or_default().push(*t);
            }
        }
        of
    };
    let every = |kind: &str, value: f64, least: usize| {
        let of = ups(kind, value);
        (of.len(), of.values().filter(|times| times.len() >= least).count())
    };
    until("four scrapes of each good one", || every("good", 1.0, 4) == (400, 400)).await;
    until("two scrapes of each that hangs", || every("hang", 0.0, 2) == (100, 100)).await;
    rig.scraper.stop().await;
    // No good target was ever a whole interval late. How late exactly depends on what else the machine does.
    for (n, times) in ups("good", 1.0) {
        assert!(times.windows(2).all(|w| w[1] - w[0] < 4000), "{n}: {times:?}");
    }
    assert!(rig.metrics.encode().contains("narthex_scraper_missed_ticks_total 0\n"));
}
