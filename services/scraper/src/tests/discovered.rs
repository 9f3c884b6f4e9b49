//! Targets that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{Reply, Rig, Site, job, until};
use crate::Health;

fn page(_: &super::support::Request) -> Reply {
    Reply::text("a 1\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_added_to_a_file_is_scraped_within_an_interval_and_the_others_miss_nothing() {
    let (old, new) = (Site::start(page).await, Site::start(page).await);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets.json");
    let list = |sites: &[&Site]| {
        let targets: Vec<_> = sites.iter().map(|s| s.address.as_str()).collect();
        // As a careful deployment does it: written beside, then renamed.
        let beside = dir.path().join("targets.tmp");
        std::fs::write(&beside, format!("[{{\"targets\": {targets:?}, \"labels\": {{\"l\": \"v\"}}}}]")).unwrap();
        std::fs::rename(&beside, &file).unwrap();
    };
    list(&[&old]);
    let yaml = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  file_sd_configs: [{{files: [{}/*.json], refresh_interval: 1h}}]\n",
        dir.path().display()
    );
    let rig = Rig::start(&yaml).await;
    until("the first", || old.hits() >= 2).await;
    let added = server::clock::now();
    list(&[&old, &new]);
    until("the second", || new.hits() >= 1).await;
    let took = server::clock::now() - added;
    assert!(took.0 <= 700, "{took}");
    let active = rig.pool().active;
    assert_eq!(active.len(), 2);
    assert_eq!(active[0].labels.get("l"), Some("v"));
    assert_eq!(active[0].discovered_labels.get("__meta_filepath"), file.to_str());
    // A bad file changes nothing.
    std::fs::write(&file, "[{").unwrap();
    let hits = new.hits();
    until("more of the second", || new.hits() > hits + 1).await;
    list(&[&old]);
    until("the second is gone", || rig.pool().active.len() == 1).await;
    let of = |site: &Site, name: &str| rig.twin.series(&[("__name__", name), ("instance", &site.address)]);
    until("its end", || of(&new, "a").last().is_some_and(|s| s.1.is_none())).await;
    until("its report's end", || of(&new, "up").last().is_some_and(|s| s.1.is_none())).await;
    let times: Vec<i64> = of(&old, "up").iter().map(|s| s.0).collect();
    assert!(times.windows(2).all(|w| (w[1] - w[0] - 500).abs() <= 250), "{times:?}");
    // The marker stands where the next scrape would have been.
    let ended = of(&new, "a");
    let (last, end) = (ended[ended.len() - 2].0, ended[ended.len() - 1].0);
    assert!((end - last - 500).abs() <= 250, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_discovery_keeps_the_last_good_list() {
    let target = Site::start(page).await;
    let is_bad = Arc::new(AtomicBool::new(false));
    let (bad, address) = (is_bad.clone(), target.address.clone());
    let list = Site::start(move |request| {
        assert_eq!(request.headers["x-prometheus-refresh-interval-seconds"], "0.1");
        assert_eq!(request.headers["accept"], "application/json");
        if bad.load(Ordering::SeqCst) {
            return Reply::status("500 Internal Server Error");
        }
        Reply::of(
            "application/json; charset=utf-8",
            format!("[{{\"targets\": [\"{address}\"], \"labels\": {{\"__meta_x\": \"y\"}}}}]"),
        )
    })
    .await;
    let yaml = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  relabel_configs: [{{source_labels: [__meta_x], target_label: x}}]\n  http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 100ms}}]\n",
        list.address
    );
    let rig = Rig::start(&yaml).await;
    rig.until_up().await;
    let active = &rig.pool().active[0];
    assert_eq!(active.labels.get("x"), Some("y"));
    assert_eq!(active.discovered_labels.get("__meta_url"), Some(format!("http://{}/sd", list.address).as_str()));
    is_bad.store(true, Ordering::SeqCst);
    let (asked, scraped) = (list.hits(), target.hits());
    until("more of both", || list.hits() > asked + 2 && target.hits() > scraped + 2).await;
    assert_eq!(rig.pool().active.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_targets_and_those_that_cannot_be_are_not_scraped() {
    let site = Site::start(page).await;
    let lines = "    keep_dropped_targets: 1\n    relabel_configs:\n    - {source_labels: [__address__], regex: 'drop.*', action: drop}\n";
    let rig = Rig::start(&job(lines, &[&site.address, "drop1:1", "drop2:1", "http://x"])).await;
    rig.until_up().await;
    let pool = rig.pool();
    assert_eq!((pool.active.len(), pool.dropped.len(), pool.dropped_count), (1, 1, 2));
    assert_eq!(pool.dropped[0].discovered_labels.get("__address__"), Some("drop1:1"));
    assert_eq!((pool.active[0].health, pool.active[0].last_error.as_str()), (Health::Up, ""));
    assert!(pool.active[0].last_scrape.is_some());
    let metrics = rig.metrics.encode();
    assert!(metrics.contains("prometheus_target_sync_failed_total{scrape_job=\"j\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_eleven_actions_work_on_targets_and_samples() {
    let site = Site::start(|_| {
        Reply::text("keep_me{a=\"X\",b=\"x\",tmp_c=\"1\",gone=\"1\"} 1\ndrop_me 1\nother{a=\"1\",b=\"2\"} 1\n")
    })
    .await;
    let lines = r#"
    relabel_configs:
    - {source_labels: [__address__], modulus: 1, target_label: shard, action: hashmod}
    - {source_labels: [shard], regex: '0', action: keep}
    - {regex: __(scheme)__, replacement: the_$1, action: labelmap}
    metric_relabel_configs:
    - {source_labels: [__name__], regex: 'drop_.*', action: drop}
    - {source_labels: [__name__], regex: 'keep_.*|other', action: keep}
    - {source_labels: [a], target_label: lower, action: lowercase}
    - {source_labels: [b], target_label: upper, action: uppercase}
    - {source_labels: [b], target_label: lower, action: keepequal}
    - {source_labels: [upper], target_label: b, action: dropequal}
    - {regex: 'tmp_(.*)', replacement: '$1', action: labelmap}
    - {regex: 'gone|tmp_.*', action: labeldrop}
    - {regex: '__name__|a|b|c|shard|the_scheme|lower|upper|new', action: labelkeep}
    - {source_labels: [a, b], separator: '-', regex: '(.*)-(.*)', target_label: new, replacement: '$2$1'}
"#;
    let rig = Rig::start(&job(lines, &[&site.address])).await;
    rig.until_up().await;
    assert_eq!(
        rig.twin.exposed(),
        [r#"{__name__="keep_me", a="X", b="x", c="1", lower="x", new="xX", shard="0", the_scheme="http", upper="X"}"#]
    );
    assert_eq!(rig.twin.last("scrape_samples_post_metric_relabeling"), Some(1.0));
}
