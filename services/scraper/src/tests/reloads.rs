//! Another configuration while scraping goes on.

use super::support::{Reply, Rig, Site, job, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_are_the_same_are_left_alone() {
    let (a, b) = (Site::start(|_| Reply::text("a 1\n")).await, Site::start(|_| Reply::text("b 1\n")).await);
    let other = |name: &str, site: &Site| {
        job("", &[&site.address]).replace("job_name: j", &format!("job_name: {name}")).replace("scrape_configs:\n", "")
    };
    let both = |second: &str| format!("{}{}", job("", &[&a.address]), other(second, &b));
    let rig = Rig::start(&both("k")).await;
    until("both", || rig.twin.last("a").is_some() && rig.twin.last("b").is_some()).await;
    let seen = rig.twin.values(&[("__name__", "scrape_series_added"), ("job", "j")]).len();
    rig.apply(&both("l")).await;
    assert_eq!(rig.scraper.scrape_pools(), ["j", "l"]);
    until("the end of the renamed job", || {
        rig.twin.values(&[("__name__", "b"), ("job", "k")]).last() == Some(&None)
            && rig.twin.values(&[("__name__", "up"), ("job", "k")]).last() == Some(&None)
    })
    .await;
    rig.scraper.stop().await;
    // Its memory of pages was not lost, and no tick.
    let added = rig.twin.values(&[("__name__", "scrape_series_added"), ("job", "j")]);
    assert!(added.len() > seen && added[1..].iter().all(|v| *v == Some(0.0)), "{added:?}");
    let ups = rig.twin.series(&[("__name__", "up"), ("job", "j")]);
    assert!(ups.windows(2).all(|w| (w[1].0 - w[0].0 - 100).abs() <= 60), "{ups:?}");
    assert!(!rig.twin.values(&[("__name__", "a")]).contains(&None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_leaves_pages_alone_keeps_their_memory() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    until("a", || rig.twin.values(&[("__name__", "a")]).len() >= 2).await;
    let definitions = rig.twin.0.lock().definitions;
    rig.apply(&job("    sample_limit: 5\n", &[&site.address])).await;
    let seen = rig.twin.values(&[("__name__", "a")]).len();
    until("more", || rig.twin.values(&[("__name__", "a")]).len() >= seen + 2).await;
    rig.scraper.stop().await;
    assert!(!rig.twin.values(&[("__name__", "a")]).contains(&None));
    assert!(rig.twin.values(&[("__name__", "scrape_series_added")])[1..].iter().all(|v| *v == Some(0.0)));
    assert_eq!(rig.twin.0.lock().definitions, definitions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_that_new_rules_no_longer_make_are_ended_and_the_others_go_on() {
    let site = Site::start(|_| Reply::text("a 1\nb 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    let rules = "    metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]\n";
    rig.apply(&job(rules, &[&site.address])).await;
    until("the end of b", || rig.twin.values(&[("__name__", "b")]).last() == Some(&None)).await;
    let seen = rig.twin.values(&[("__name__", "a")]).len();
    until("more of a", || rig.twin.values(&[("__name__", "a")]).len() > seen + 3).await;
    assert!(!rig.twin.values(&[("__name__", "a")]).contains(&None));
    assert!(!rig.twin.values(&[("__name__", "up")]).contains(&None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_comes_back_is_not_ended() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    rig.apply(&job("", &[])).await;
    assert!(rig.pool().active.is_empty());
    rig.apply(&job("", &[&site.address])).await;
    let seen = rig.twin.values(&[("__name__", "a")]).len();
    until("six more scrapes", || rig.twin.values(&[("__name__", "a")]).len() >= seen + 6).await;
    assert!(!rig.twin.values(&[("__name__", "a")]).contains(&None));
    assert!(!rig.twin.values(&[("__name__", "up")]).contains(&None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_interval_starts_the_loops_again() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address]).replace("100ms", "1h")).await;
    rig.apply(&job("", &[&site.address])).await;
    rig.until_up().await;
    let active = &rig.pool().active[0];
    assert_eq!((active.scrape_interval.0, active.scrape_timeout.0), (100, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_scrapes_but_no_series() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let hanging = Site::start(|_| Reply::hang()).await;
    let rig = Rig::start(&job("", &[&site.address, &hanging.address])).await;
    until("both", || rig.twin.values(&[("__name__", "up"), ("instance", &hanging.address)]).len() > 1).await;
    until("up", || rig.twin.values(&[("__name__", "up"), ("instance", &site.address)]).len() > 1).await;
    rig.scraper.stop().await;
    let (hits, samples) = (site.hits(), rig.twin.0.lock().samples.len());
    // Longer than two intervals and a tenth: nothing comes any more.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!((site.hits(), rig.twin.0.lock().samples.len()), (hits, samples));
    assert!(!rig.twin.values(&[]).contains(&None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_stay_while_a_new_mechanism_has_not_looked_yet() {
    let target = Site::start(|_| Reply::text("a 1\n")).await;
    let address = target.address.clone();
    let list = Site::start(move |request| match request.target.as_str() {
        "/hang" => Reply::hang(),
        _ => Reply::of("application/json", format!("[{{\"targets\": [\"{address}\"]}}]")),
    })
    .await;
    let yaml = |path: &str| {
        format!(
            "scrape_configs:\n- job_name: j\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  http_sd_configs: [{{url: 'http://{}{path}', refresh_interval: 1h}}]\n",
            list.address
        )
    };
    let rig = Rig::start(&yaml("/a")).await;
    rig.until_up().await;
    for path in ["/hang", "/b"] {
        rig.apply(&yaml(path)).await;
        let hits = target.hits();
        until("more scrapes", || target.hits() > hits + 3).await;
        assert_eq!(rig.pool().active.len(), 1);
    }
    rig.scraper.stop().await;
    let ups = rig.twin.series(&[("__name__", "up")]);
    assert!(ups.windows(2).all(|w| (w[1].0 - w[0].0 - 100).abs() <= 60), "{ups:?}");
    assert!(rig.twin.values(&[("__name__", "scrape_series_added")])[1..].iter().all(|v| *v == Some(0.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_goes_away_leaves_no_half_configuration() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &["gone.invalid:1"])).await;
    let config = super::support::parse(&job("", &[&site.address]));
    // Polled once, then dropped: done or not, whichever thread was quicker.
    drop(futures::FutureExt::now_or_never(rig.scraper.apply_config(&config)));
    rig.until_up().await;
    assert_eq!(rig.pool().active[0].scrape_url, format!("http://{}/metrics", site.address));
    rig.apply(&job("", &[])).await;
    assert!(rig.pool().active.is_empty());
}
