//! Native histograms: out of messages, out of classic ones, within limits.

use model::{Histogram, SampleValue, Span};

use super::support::{Reply, Request, Rig, Site, job, until};

const MESSAGES: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()][..], content].concat()
}

/// A family `h` of one metric with a label: two buckets from the first, of `counts`, and classic ones for them.
fn messages(counts: [u8; 2]) -> Vec<u8> {
    let [a, b] = counts;
    let bucket = |count: u8, upper: f64| field(3, &[&[1 << 3, count, 2 << 3 | 1][..], &upper.to_le_bytes()].concat());
    let delta = |from: u8, to: u8| (i16::from(to) - i16::from(from)).unsigned_abs() as u8 * 2 - u8::from(to < from);
    let histogram = [
        vec![1 << 3, a + b],
        bucket(a, 2.0),
        bucket(a + b, 4.0),
        field(12, &[1 << 3, 2, 2 << 3, 2]),
        field(13, &[delta(0, a), delta(a, b)]),
    ];
    let label = field(1, &[field(1, b"path"), field(2, b"/")].concat());
    let metric = field(4, &[label, field(7, &histogram.concat())].concat());
    let family = [field(1, b"h"), field(2, b"Some help."), vec![3 << 3, 4], metric].concat();
    [&[u8::try_from(family.len()).unwrap()][..], &family].concat()
}

fn native(counts: [u8; 2]) -> SampleValue {
    let [a, b] = counts.map(i64::from);
    SampleValue::Histogram(Box::new(Histogram {
        count: (a + b).unsigned_abs(),
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![a, b - a],
        ..Histogram::default()
    }))
}

fn asks_for_messages(request: &Request) -> bool {
    request.headers["accept"].starts_with(
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_histograms_are_asked_for_and_stored_in_place_of_classic_ones() {
    let site = Site::start(|request| {
        assert!(asks_for_messages(request), "{:?}", request.headers);
        Reply::bytes(MESSAGES, messages([3, 1]))
    })
    .await;
    let rig = Rig::start(&job("    scrape_native_histograms: true\n", &[&site.address])).await;
    until("three histograms", || rig.twin.histograms("h").len() >= 3).await;
    rig.scraper.stop().await;
    let stored = rig.twin.histograms("h");
    assert!(stored.iter().all(|(_, value)| *value == native([3, 1])), "{stored:?}");
    let ups: Vec<i64> = rig.twin.series(&[("__name__", "up")]).iter().map(|s| s.0).collect();
    assert!(stored.iter().all(|(at, _)| ups.contains(at)));
    let labels = format!("{{__name__=\"h\", instance=\"{}\", job=\"j\", path=\"/\"}}", site.address);
    assert_eq!(rig.twin.exposed(), [labels]);
    assert_eq!(rig.twin.last("scrape_samples_scraped"), Some(1.0));
    let held = rig.twin.0.lock();
    assert_eq!((held.metadata[0].0.as_str(), held.metadata[0].1.help.as_str()), ("h", "Some help."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_of_histograms_is_the_jobs_choice_and_the_targets() {
    let native = "    scrape_native_histograms: true\n";
    let target = |label: &str| format!("    relabel_configs: [{{target_label: {label}, replacement: 'true'}}]\n");
    for (lines, names) in [
        (
            "    scrape_protocols: [PrometheusProto]\n".to_owned(),
            &["h_bucket", "h_bucket", "h_bucket", "h_count", "h_sum"][..],
        ),
        (
            format!("{native}    always_scrape_classic_histograms: true\n"),
            &["h", "h_bucket", "h_bucket", "h_bucket", "h_count", "h_sum"],
        ),
        ("    scrape_protocols: [PrometheusProto]\n".to_owned() + &target("__scrape_native_histograms__"), &["h"]),
    ] {
        let site = Site::start(|_| Reply::bytes(MESSAGES, messages([3, 1]))).await;
        let rig = Rig::start(&job(&lines, &[&site.address])).await;
        rig.until_up().await;
        let exposed = rig.twin.exposed();
        let got: Vec<&str> = exposed.iter().map(|labels| labels.split('"').nth(1).unwrap()).collect();
        assert_eq!(got, names, "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classic_histograms_of_text_become_native_ones() {
    let page =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 5\nh_sum 9\nh_count 5\n# TYPE g gauge\ng 1\n";
    let site = Site::start(move |_| Reply::text(page)).await;
    let rig = Rig::start(&job("    convert_classic_histograms_to_nhcb: true\n", &[&site.address])).await;
    until("two histograms", || rig.twin.histograms("h").len() >= 2).await;
    let SampleValue::Histogram(h) = &rig.twin.histograms("h")[1].1 else { panic!("whole counts") };
    assert_eq!((h.count, h.sum, &h.custom_values[..], &h.positive_buckets[..]), (5, 9.0, &[1.0][..], &[2, 1][..]));
    assert_eq!(rig.twin.exposed().len(), 2);
    assert_eq!(rig.twin.last("g"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_histogram_that_vanishes_gets_a_marker_and_one_that_is_forgotten_its_labels() {
    let is_gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let gone = is_gone.clone();
    let site = Site::start(move |_| {
        let is_gone = gone.load(std::sync::atomic::Ordering::SeqCst);
        if is_gone { Reply::text("g 1\n") } else { Reply::bytes(MESSAGES, messages([1, 2])) }
    })
    .await;
    let rig = Rig::start(&job("    scrape_native_histograms: true\n", &[&site.address])).await;
    until("a histogram", || !rig.twin.histograms("h").is_empty()).await;
    rig.twin.forget();
    until("a histogram again", || !rig.twin.histograms("h").is_empty()).await;
    assert!(rig.twin.histograms("h").iter().all(|(_, value)| *value == native([1, 2])));
    is_gone.store(true, std::sync::atomic::Ordering::SeqCst);
    until("a marker", || rig.twin.values(&[("__name__", "h"), ("path", "/")]).last() == Some(&None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_are_made_to_fit_or_fail_the_scrape() {
    let native = "    scrape_native_histograms: true\n";
    let site = Site::start(|_| Reply::bytes(MESSAGES, messages([1, 2]))).await;
    // The first bucket reaches to 2, the second to 4: at the next coarser resolution the first is (1, 4].
    for lines in ["    native_histogram_bucket_limit: 1\n", "    native_histogram_min_bucket_factor: 4\n"] {
        let rig = Rig::start(&job(&format!("{native}{lines}"), &[&site.address])).await;
        until("a histogram", || !rig.twin.histograms("h").is_empty()).await;
        let SampleValue::Histogram(h) = &rig.twin.histograms("h")[0].1 else { panic!("whole counts") };
        assert_eq!((h.schema, &h.positive_buckets[..]), (-1, &[3][..]), "{lines}");
    }
    let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 5\nh_count 5\n";
    let site = Site::start(move |_| Reply::text(text)).await;
    let lines = "    convert_classic_histograms_to_nhcb: true\n    native_histogram_bucket_limit: 1\n";
    let rig = Rig::start(&job(lines, &[&site.address])).await;
    assert_eq!(rig.failure().await, "histogram bucket limit exceeded");
    let site = Site::start(|_| Reply::bytes(MESSAGES, vec![9, 1])).await;
    let rig = Rig::start(&job(native, &[&site.address])).await;
    assert_eq!(rig.failure().await, "unexpected EOF");
}
