//! From pages to samples: reports, staleness, labels, limits, formats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::{Reply, Rig, Site, job, until};
use parking_lot::Mutex;

/// A site whose page the test changes.
async fn changing(first: Reply) -> (Site, Arc<Mutex<Reply>>) {
    let page = Arc::new(Mutex::new(first));
    let shown = page.clone();
    (Site::start(move |_| shown.lock().clone()).await, page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_stores_its_samples_and_a_report_at_one_time() {
    let count = AtomicU64::new(0);
    let site = Site::start(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        Reply::text(format!("# TYPE a counter\n# HELP a Some help.\na{{x=\"1\"}} {n}\nb 2\n"))
    })
    .await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    until("five scrapes", || rig.twin.values(&[("__name__", "b")]).len() >= 5).await;
    rig.scraper.stop().await;
    let instance = site.address.as_str();
    let of = |name: &str| rig.twin.series(&[("__name__", name), ("instance", instance), ("job", "j")]);
    let a = rig.twin.series(&[("__name__", "a"), ("instance", instance), ("job", "j"), ("x", "1")]);
    let up = of("up");
    assert_eq!(a.iter().map(|s| s.0).collect::<Vec<_>>(), up.iter().map(|s| s.0).collect::<Vec<_>>());
    assert!(a.iter().enumerate().all(|(i, (_, v))| *v == Some(i as f64)), "{a:?}");
    assert!(up.iter().all(|s| s.1 == Some(1.0)));
    for (name, first, then) in [
        ("scrape_samples_scraped", 2.0, 2.0),
        ("scrape_samples_post_metric_relabeling", 2.0, 2.0),
        ("scrape_series_added", 2.0, 0.0),
    ] {
        let values: Vec<_> = of(name).into_iter().map(|s| s.1.unwrap()).collect();
        assert!(values[0] == first && values[1..].iter().all(|v| *v == then), "{name} {values:?}");
    }
    assert!(of("scrape_duration_seconds").iter().all(|s| s.1.is_some_and(|v| v > 0.0 && v < 5.0)));
    assert!(of("scrape_timeout_seconds").is_empty());
    // Labels travel once, metadata as well.
    let held = rig.twin.0.lock();
    assert_eq!(held.definitions, 7);
    assert_eq!(held.metadata.len(), 1);
    assert_eq!((held.metadata[0].0.as_str(), held.metadata[0].1.help.as_str()), ("a", "Some help."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extra_metrics_are_stored_where_asked_for() {
    let (site, page) = changing(Reply::text("a 1\n")).await;
    let rig = Rig::start(&job(
        "    extra_scrape_metrics: true\n    sample_limit: 3\n    body_size_limit: 20B\n",
        &[&site.address],
    ))
    .await;
    until("a scrape", || rig.twin.last("scrape_body_size_bytes") == Some(4.0)).await;
    assert_eq!(rig.twin.last("scrape_timeout_seconds"), Some(0.1));
    assert_eq!(rig.twin.last("scrape_sample_limit"), Some(3.0));
    *page.lock() = Reply::text("a 1\n".repeat(5));
    until("a body that is too long", || rig.twin.last("scrape_body_size_bytes") == Some(-1.0)).await;
    *page.lock() = Reply::status("500 Internal Server Error");
    until("a failure", || rig.twin.last("scrape_body_size_bytes") == Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_marked_stale_and_a_failure_ends_all() {
    let (site, page) = changing(Reply::text("a 1\nb 1\nc 1 1700000000000\n")).await;
    let rig = Rig::start(&job("    honor_timestamps: true\n", &[&site.address])).await;
    rig.until_up().await;
    *page.lock() = Reply::text("a 2\n");
    until("the end of b", || rig.twin.values(&[("__name__", "b")]).contains(&None)).await;
    *page.lock() = Reply::status("503 Out Of Order");
    until("the end of a", || rig.twin.values(&[("__name__", "a")]).contains(&None)).await;
    assert_eq!(rig.failure().await, "server returned HTTP status 503 Out Of Order");
    until("down", || rig.twin.last("up") == Some(0.0)).await;
    *page.lock() = Reply::text("a 3\n");
    until("up again", || rig.twin.last("a") == Some(3.0)).await;
    rig.scraper.stop().await;
    let ends = |name| rig.twin.values(&[("__name__", name)]).iter().filter(|v| v.is_none()).count();
    assert_eq!((ends("a"), ends("b"), ends("c"), ends("up")), (1, 1, 0, 0));
    let end_of_a = rig.twin.series(&[("__name__", "a")]).into_iter().find(|s| s.1.is_none()).unwrap().0;
    assert!(rig.twin.series(&[("__name__", "up")]).contains(&(end_of_a, Some(0.0))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_fails_the_scrape_and_what_stands_before_it_counts() {
    let (site, page) = changing(Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    *page.lock() = Reply::text("a 2\nb 2\nc{ 1\n");
    assert!(rig.failure().await.starts_with("expected label name"), "{}", rig.failure().await);
    until("a marker", || rig.twin.values(&[("__name__", "a")]).contains(&None)).await;
    rig.scraper.stop().await;
    assert!(rig.twin.series(&[("__name__", "b")]).is_empty());
    assert_eq!(rig.twin.last("scrape_samples_scraped"), Some(2.0));
    assert_eq!(rig.twin.last("up"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_of_the_target_win_unless_the_page_is_honoured() {
    let page = "a{job=\"x\",exported_job=\"y\",z=\"1\"} 1\n";
    for (honor, expected) in [
        (
            "false",
            "{__name__=\"a\", exported_exported_job=\"x\", exported_job=\"y\", instance=\"i\", job=\"j\", z=\"1\"}",
        ),
        ("true", "{__name__=\"a\", exported_job=\"y\", instance=\"i\", job=\"x\", z=\"1\"}"),
    ] {
        let site = Site::start(move |_| Reply::text(page)).await;
        let relabel =
            format!("    honor_labels: {honor}\n    relabel_configs: [{{target_label: instance, replacement: i}}]\n");
        let rig = Rig::start(&job(&relabel, &[&site.address])).await;
        rig.until_up().await;
        assert_eq!(rig.twin.exposed(), [expected]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_fail_the_scrape() {
    for (lines, page, error) in [
        ("sample_limit: 2", "a 1\nb 1\nc 1\n", "sample limit exceeded"),
        ("body_size_limit: 8B", "a 1\nb 1\n", "body size limit exceeded"),
        ("label_limit: 3", "a{x=\"1\"} 1\n", "label_limit exceeded (metric: a, number of labels: 4, limit: 3)"),
        (
            "label_name_length_limit: 9",
            "a{long_label=\"1\"} 1\n",
            "label_name_length_limit exceeded (metric: a, label name: long_label, length: 10, limit: 9)",
        ),
        (
            "label_value_length_limit: 20",
            "a{x=\"123456789012345678901\"} 1\n",
            "label_value_length_limit exceeded (metric: a, label name: x, value: \"123456789012345678901\", length: 21, limit: 20)",
        ),
    ] {
        let site = Site::start(move |_| Reply::text(page)).await;
        let rig = Rig::start(&job(&format!("    {lines}\n"), &[&site.address])).await;
        assert_eq!(rig.failure().await, error);
        until("down", || rig.twin.last("up") == Some(0.0)).await;
        assert!(rig.twin.exposed().is_empty(), "{lines}");
    }
    let site = Site::start(|_| Reply::text("a 1\nb 1\nc 1\n")).await;
    let relabelled =
        "    sample_limit: 2\n    metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]\n";
    let rig = Rig::start(&job(relabelled, &[&site.address])).await;
    rig.until_up().await;
    assert_eq!(rig.twin.last("scrape_samples_scraped"), Some(3.0));
    assert_eq!(rig.twin.last("scrape_samples_post_metric_relabeling"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_targets_fail_all_of_them() {
    let (one, two) = (Site::start(|_| Reply::text("a 1\n")).await, Site::start(|_| Reply::text("a 1\n")).await);
    let rig = Rig::start(&job("    target_limit: 1\n", &[&one.address, &two.address])).await;
    assert_eq!(rig.failure().await, "target_limit exceeded (number of targets: 2, limit: 1)");
    until("both down", || rig.twin.values(&[("__name__", "up")]).len() >= 2).await;
    assert_eq!((one.hits(), two.hits()), (0, 0));
    rig.apply(&job("    target_limit: 1\n", &[&two.address])).await;
    until("one up", || {
        rig.twin.series(&[("__name__", "up"), ("instance", &two.address)]).iter().any(|s| s.1 == Some(1.0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_and_wild_timestamps_are_left_out_and_the_scrape_succeeds() {
    let site = Site::start(|_| Reply::text("a 1\na 2\nb 1 9999999999999\nc 1 1000\nd 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    rig.scraper.stop().await;
    assert!(rig.twin.values(&[("__name__", "a")]).iter().all(|v| *v == Some(1.0)));
    assert!(rig.twin.series(&[("__name__", "b")]).is_empty());
    assert!(rig.twin.series(&[("__name__", "c")]).is_empty());
    assert_eq!(rig.twin.last("scrape_samples_post_metric_relabeling"), Some(5.0));
    assert_eq!(rig.twin.values(&[("__name__", "scrape_series_added")])[0], Some(2.0));
    let metrics = rig.metrics.encode();
    assert!(!metrics.contains("prometheus_target_scrapes_sample_duplicate_timestamp_total 0\n"), "{metrics}");
    assert!(!metrics.contains("prometheus_target_scrapes_sample_out_of_bounds_total 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_count_unless_told_otherwise() {
    let now = server::clock::now().0;
    for (honor, expected) in [("true", true), ("false", false)] {
        let site = Site::start(move |_| Reply::text(format!("a 1 {}\n", now - 60_000))).await;
        let rig = Rig::start(&job(&format!("    honor_timestamps: {honor}\n"), &[&site.address])).await;
        rig.until_up().await;
        assert_eq!(rig.twin.series(&[("__name__", "a")])[0].0 == now - 60_000, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openmetrics_brings_exemplars_and_metadata() {
    let text = "# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a Help.\na_total 1 # {trace_id=\"x\"} 0.5\n# EOF\n";
    let text = text.replace("# UNIT a_seconds seconds\n", "");
    let site = Site::start(move |request| {
        assert!(request.headers["accept"].starts_with("application/openmetrics-text;version=1.0.0"));
        assert_eq!(request.headers["accept-encoding"], "gzip");
        assert_eq!(request.headers["user-agent"], "Narthex/test");
        assert_eq!(request.headers["x-prometheus-scrape-timeout-seconds"], "0.1");
        Reply::of("application/openmetrics-text; version=1.0.0; charset=utf-8", text.clone())
    })
    .await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    let held = rig.twin.0.lock();
    let (labels, _, value, exemplar) = &held.exemplars[0];
    assert_eq!((labels.metric_name(), *value, exemplar.get("trace_id")), (Some("a_total"), 0.5, Some("x")));
    drop(held);
    let metadata = rig.scraper.metadata(|labels| labels.get("job") == Some("j"));
    assert_eq!(metadata.len(), 1);
    assert_eq!((metadata[0].family.as_str(), metadata[0].metadata.help.as_str()), ("a", "Help."));
    assert!(rig.scraper.metadata(|_| false).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_does_not_say_what_it_is_needs_a_fallback() {
    let site = Site::start(|_| Reply::of("text/html", "a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    assert!(rig.failure().await.contains("text/html"), "{}", rig.failure().await);
    rig.apply(&job("    fallback_scrape_protocol: PrometheusText0.0.4\n", &[&site.address])).await;
    rig.until_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_page_is_a_good_one() {
    let (site, page) = changing(Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    *page.lock() = Reply::status("200 OK");
    until("a marker", || rig.twin.values(&[("__name__", "a")]).contains(&None)).await;
    assert_eq!(rig.twin.last("up"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_page_is_read_beside_the_reactor() {
    let page: String = (0..8000).map(|i| format!("some_metric{{number=\"{i}\"}} {i}\n")).collect();
    assert!(page.len() > 128 << 10);
    let site = Site::start(move |_| Reply::text(page.clone())).await;
    let rig = Rig::start(&job("", &[&site.address]).replace("100ms", "500ms")).await;
    until("two scrapes", || rig.twin.values(&[("__name__", "up")]).len() >= 2).await;
    assert_eq!(rig.twin.last("scrape_samples_scraped"), Some(8000.0));
    assert_eq!(rig.twin.last("scrape_series_added"), Some(0.0));
    assert_eq!(rig.twin.exposed().len(), 8000);
}
