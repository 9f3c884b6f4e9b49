//! The recorded answers of Prometheus 3.14 to the same requests over the same data.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, though not all of it stands in test functions")]

#[path = "common/client.rs"]
mod client;
#[path = "common/compare.rs"]
mod compare;
#[path = "common/sources.rs"]
mod sources;
#[path = "common/store.rs"]
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use client::HttpAnswer;
use model::{Labels, Metadata, MetricType, TimestampMs};
use promql::engine;
use querier::{
    ActiveTarget, Api, ApiOptions, ApiSources, DroppedTarget, Evaluator, Limits, TargetHealth, TargetMetadata,
    TargetsSnapshot,
};
use relabel::{Draft, Fields, NameValidationScheme};
use serde_json::Value;
use server::{ComputePool, Metrics};
use sources::Process;
use store::MemoryStore;
use tokio::net::TcpListener;

/// What explains why an answer differs. A case that holds needs no explanation: who builds something lowers a count.
#[derive(Clone, Copy)]
enum LeftOut {
    /// All answers of this path that differ.
    Path(&'static str),
    /// One case.
    Id(&'static str),
    /// Queries that begin with this.
    Query(&'static str),
}

/// Left out, how many cases that is, and why.
const LEFT_OUT: [(LeftOut, usize, &str); 8] = [
    (LeftOut::Path("/api/v1/rules"), 15, "there is no ruler yet"),
    (LeftOut::Path("/api/v1/alerts"), 1, "there is no ruler yet"),
    (LeftOut::Path("/api/v1/alertmanagers"), 1, "there is no ruler yet"),
    (LeftOut::Path("/api/v1/read"), 2, "not built yet"),
    (LeftOut::Path("/api/v1/openapi.yaml"), 1, "not built yet"),
    (LeftOut::Path("/api/v1/otlp/v1/metrics"), 1, "not built yet; the record names a flag that we do not have"),
    (LeftOut::Path("/api/v1/status/flags"), 1, "the flags are Prometheus' own"),
    (LeftOut::Path("/api/v1/features"), 1, "what is on differs between systems"),
];

/// What the engine answers differently today; remove an entry when its case holds.
const ENGINE: [(LeftOut, usize, &str); 1] = [(
    LeftOut::Id("query_range-082"),
    1,
    "holds all operands of a chain at once: too many samples before it is too late",
)];

/// Requests of the recorded data that write nothing.
const CASES: usize = 536;

impl LeftOut {
    fn explains(self, case: &Value) -> bool {
        match self {
            LeftOut::Path(path) => case["path"] == path,
            LeftOut::Id(id) => case["id"] == id,
            LeftOut::Query(text) => case["query"][0][1].as_str().is_some_and(|query| query.starts_with(text)),
        }
    }
}

fn conformance() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "says where the recorded answers are")]
    let root = std::env::var("NARTHEX_CONFORMANCE").ok();
    if root.is_none() {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
    }
    root.map(PathBuf::from)
}

fn load(root: &std::path::Path) -> MemoryStore {
    let mut store = MemoryStore::default();
    store.load_openmetrics(&std::fs::read(root.join("api/data.om")).unwrap());
    store.load_extra(&std::fs::read_to_string(root.join("api/data_extra.jsonl")).unwrap());
    store
}

/// With the bound on samples of the recorded server.
async fn start(store: MemoryStore) -> (SocketAddr, Arc<Process>) {
    let query_limits = engine::Limits { samples_max: 50_000, ..Default::default() };
    start_with(store, ApiOptions { query_limits, ..ApiOptions::default() }).await
}

async fn start_with(store: MemoryStore, options: ApiOptions) -> (SocketAddr, Arc<Process>) {
    start_process(store, options, Process::default()).await
}

async fn start_process(store: MemoryStore, options: ApiOptions, process: Process) -> (SocketAddr, Arc<Process>) {
    let store = Arc::new(store);
    let pool = ComputePool::start(2, 64).unwrap();
    let evaluator = Evaluator::new(store.clone(), pool, Limits::default());
    let process = Arc::new(process);
    let sources = ApiSources {
        status: process.clone(),
        lifecycle: process.clone(),
        targets: Some(process.clone()),
        metadata: Some(process.clone()),
        exemplars: Some(store),
        metrics: Metrics::default(),
    };
    let api = Arc::new(Api::new(evaluator, sources, options));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, api.router()).await });
    (address, process)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_answers_hold() {
    let Some(root) = conformance() else { return };
    let store = load(&root);
    let (address, _) = start(store).await;
    let cases = std::fs::read_to_string(root.join("api/requests.jsonl")).unwrap();
    let cases = cases.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let cases = cases.filter(|c| c["data"] == "data" && c.get("writes").is_none());
    let explanations: Vec<_> = LEFT_OUT.iter().chain(&ENGINE).collect();
    let mut explained = vec![0; explanations.len()];
    let mut failed = Vec::new();
    let mut held = 0;
    for case in cases {
        let answer = client::send_case(address, &case).await;
        let differs = compare::compare(&case, &answer, &address.to_string(), 0);
        match (differs, explanations.iter().position(|(left_out, _, _)| left_out.explains(&case))) {
            (Ok(()), _) => held += 1,
            (Err(_), Some(at)) => explained[at] += 1,
            (Err(e), None) => failed.push(format!("{} {} {}: {e}", case["id"], case["path"], case["query"])),
        }
    }
    assert!(failed.is_empty(), "{held} held, {} failed\n{}", failed.len(), failed.join("\n"));
    let counts: Vec<usize> = explanations.iter().map(|(_, count, _)| *count).collect();
    let reasons: Vec<&str> = explanations.iter().map(|(_, _, reason)| *reason).collect();
    assert_eq!(explained, counts, "left out: {reasons:?}");
    assert_eq!(held, CASES - counts.iter().sum::<usize>());
}

async fn get(address: SocketAddr, target: &str) -> HttpAnswer {
    client::send(address, "GET", target, &[], b"").await
}

/// A store of `series` with `points` samples a minute each.
fn many(series: usize, points: usize) -> MemoryStore {
    let mut page = String::new();
    for s in 0..series {
        for p in 0..points {
            page.push_str(&format!("m{{s=\"{s}\"}} {} {}\n", (s * points + p) as f64 / 7.0, 60 * p));
        }
    }
    page.push_str("# EOF\n");
    let mut store = MemoryStore::default();
    store.load_openmetrics(page.as_bytes());
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_the_bytes_of_prometheus() {
    let mut store = MemoryStore::default();
    store.load_openmetrics(b"a{l=\"<&>\\\"\"} 0.1 1.5\na{l=\"x\"} -0 1.5\n# EOF\n");
    let (address, _) = start(store).await;
    for (target, expected) in [
        (
            "/api/v1/query?query=a&time=1.5",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"a","l":"<&>\""},"value":[1.500,"0.1"]},{"metric":{"__name__":"a","l":"x"},"value":[1.500,"-0"]}]}}"#,
        ),
        (
            "/api/v1/query_range?query=a%7Bl=%22x%22%7D&start=1.5&end=3&step=1",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"a","l":"x"},"values":[[1.500,"-0"],[2.500,"-0"]]}]}}"#,
        ),
        (
            "/api/v1/query?query=1e-7&time=1.5",
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"0.0000001"]}}"#,
        ),
        (
            "/api/v1/query?query=%22%3Ca%3E%22&time=0",
            r#"{"status":"success","data":{"resultType":"string","result":[0,"\u003ca\u003e"]}}"#,
        ),
        ("/api/v1/label/l/values", r#"{"status":"success","data":["\u003c\u0026\u003e\"","x"]}"#),
        (
            "/api/v1/query?query=%3C",
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:1: parse error: unexpected \u003cop:\u003c\u003e"}"#,
        ),
    ] {
        assert_eq!(get(address, target).await.text(), expected, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_result_comes_in_pieces_and_whole() {
    let (address, _) = start_with(many(300, 150), ApiOptions::default()).await;
    let target = "/api/v1/query_range?query=m&start=0&end=8940&step=60";
    let plain = get(address, target).await;
    assert_eq!(plain.header("transfer-encoding"), Some("chunked"));
    let json: Value = serde_json::from_slice(&plain.body).unwrap();
    let series = json["data"]["result"].as_array().unwrap();
    assert_eq!(series.len(), 300);
    assert!(series.iter().all(|s| s["values"].as_array().unwrap().len() == 150));
    for encoding in ["gzip", "deflate"] {
        let packed = client::send(address, "GET", target, &[("Accept-Encoding", encoding)], b"").await;
        assert_eq!(packed.header("content-encoding"), Some(encoding));
        assert_eq!(packed.body, plain.body, "{encoding}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_steered_only_where_that_is_on() {
    let options = ApiOptions { lifecycle_enabled: true, ..ApiOptions::default() };
    let (address, process) = start_with(MemoryStore::default(), options).await;
    let post = |target: &'static str| client::send(address, "POST", target, &[], b"");
    let shown = |answer: HttpAnswer| (answer.status, answer.text());
    assert_eq!(shown(post("/-/reload").await), (200, String::new()));
    process.set_reload_error("bad yaml");
    assert_eq!(shown(post("/-/reload").await), (500, "failed to reload config: bad yaml\n".to_owned()));
    assert_eq!(shown(post("/-/quit").await), (200, "Requesting termination... Goodbye!".to_owned()));
    assert_eq!(shown(post("/-/quit").await), (200, "Termination already in progress.".to_owned()));
    // It is stopping now.
    for target in ["/-/ready", "/api/v1/query?query=1", "/api/v1/targets", "/api/v1/search/label_names"] {
        let answer = get(address, target).await;
        assert_eq!(answer.header("x-prometheus-stopping"), Some("true"), "{target}");
        assert_eq!(shown(answer), (503, "Service Unavailable".to_owned()), "{target}");
    }
    for target in ["/-/healthy", "/metrics", "/api/v1/notifications", "/api/v1/status/walreplay", "/"] {
        assert_eq!(get(address, target).await.status, 200, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_says_so_and_all_is_counted() {
    let (address, _) = start(MemoryStore::default()).await;
    get(address, "/api/v1/label/a/values").await;
    let answer = get(address, "/api/v1/rules").await;
    let expected = r#"{"status":"error","errorType":"not_found","error":"Narthex does not have rules yet"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (404, expected));
    assert_eq!(get(address, "/graph?g0.expr=up").await.header("location"), Some("/query?g0.expr=up"));
    let metrics = get(address, "/metrics").await.text();
    for line in [
        "prometheus_http_requests_total{code=\"404\",handler=\"/api/v1/rules\"} 1",
        "prometheus_http_requests_total{code=\"200\",handler=\"/api/v1/label/:name/values\"} 1",
        "prometheus_http_request_duration_seconds_count{handler=\"/api/v1/rules\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_is_too_large_is_refused() {
    let options = ApiOptions { body_bytes_max: 100, ..ApiOptions::default() };
    let (address, _) = start_with(MemoryStore::default(), options).await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = client::send(address, "POST", "/api/v1/query", &form, "query=1+".repeat(20).as_bytes()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("http: POST too large"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn federation_gives_the_newest_sample_of_each_series() {
    let now = server::clock::now().0 / 1000;
    let (old, fresh, outside) = (now - 60, now - 10, now - 400);
    let page = format!(
        "b{{instance=\"i\",x=\"<\\\"\"}} 1 {old}\nb{{instance=\"i\",x=\"<\\\"\"}} 2.5 {fresh}\n\
         b{{cluster=\"own\"}} NaN {fresh}\na 1e21 {fresh}\nc 7 {outside}\n# EOF\n"
    );
    let mut store = MemoryStore::default();
    store.load_openmetrics(page.as_bytes());
    let stale = format!(r#"{{"labels":{{"__name__":"d"}},"samples":[[{old}000,"1"],[{fresh}000,"stale"]]}}"#);
    store.load_extra(&stale);
    let (address, _) = start(store).await;
    let answer = get(address, "/federate?match[]=%7B%7D&match[]=a").await;
    let expected = format!(
        "# TYPE a untyped\na{{cluster=\"golden\",instance=\"\"}} 1e+21 {fresh}000\n\
         # TYPE b untyped\nb{{cluster=\"own\",instance=\"\"}} NaN {fresh}000\n\
         b{{instance=\"i\",x=\"<\\\"\",cluster=\"golden\"}} 2.5 {fresh}000\n"
    );
    assert_eq!(answer.text(), expected);
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn scraping_process() -> Process {
    let active = |pool: &str, instance: &str, last_scrape| ActiveTarget {
        discovered_labels: labels(&[("__address__", instance), ("job", pool)]),
        labels: labels(&[("instance", instance), ("job", pool)]),
        scrape_pool: pool.to_owned(),
        scrape_url: format!("http://{instance}/metrics?a=1&b=2"),
        global_url: format!("http://{instance}/metrics"),
        last_scrape,
        last_scrape_seconds: 0.0105,
        health: if last_scrape.is_some() { TargetHealth::Up } else { TargetHealth::Unknown },
        scrape_interval: "15s".to_owned(),
        scrape_timeout: "10s".to_owned(),
        ..ActiveTarget::default()
    };
    let scraped = Some(TimestampMs(1_700_000_400_250));
    let dropped = DroppedTarget { discovered_labels: labels(&[("__address__", "c:1")]), scrape_pool: "x".to_owned() };
    let family = |instance: &str, family: &str, help: &str| TargetMetadata {
        target: labels(&[("instance", instance)]),
        family: family.to_owned(),
        metadata: Metadata { metric_type: MetricType::Counter, help: help.to_owned(), unit: "s".to_owned() },
    };
    let set = Fields {
        source_labels: Some(vec!["zone".to_owned()]),
        target_label: Some("region".to_owned()),
        ..Fields::default()
    };
    let drop = Fields {
        source_labels: Some(vec!["job".to_owned()]),
        regex: Some("b".to_owned()),
        action: Some(Some("drop".to_owned())),
        ..Fields::default()
    };
    let rule = |fields| Draft::new(fields).unwrap().validate(NameValidationScheme::Utf8).unwrap();
    Process {
        targets: TargetsSnapshot {
            active: vec![active("x", "b:1", scraped), active("x", "a:1", None), active("a", "z:1", scraped)],
            dropped: vec![dropped],
            dropped_counts: [("x".to_owned(), 1), ("a".to_owned(), 0)].into(),
        },
        relabel_rules: [set, drop].map(rule).into(),
        metadata: vec![family("a", "f", "F"), family("a", "g", "G"), family("b", "f", "F")],
        ..Process::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_and_their_metadata_are_told() {
    let (address, _) = start_process(MemoryStore::default(), ApiOptions::default(), scraping_process()).await;
    let z = r#"{"discoveredLabels":{"__address__":"z:1","job":"a"},"labels":{"instance":"z:1","job":"a"},"scrapePool":"a","scrapeUrl":"http://z:1/metrics?a=1\u0026b=2","globalUrl":"http://z:1/metrics","lastError":"","lastScrape":"2023-11-14T22:20:00.25Z","lastScrapeDuration":0.0105,"health":"up","scrapeInterval":"15s","scrapeTimeout":"10s"}"#;
    let c = r#"{"discoveredLabels":{"__address__":"c:1"},"scrapePool":"x"}"#;
    let f = r#"{"target":{"instance":"a"},"metric":"f","type":"counter","help":"F","unit":"s"}"#;
    for (target, expected) in [
        ("targets?state=active&scrapePool=a", format!(r#"{{"activeTargets":[{z}],"droppedTargets":[],"droppedTargetCounts":null}}"#)),
        ("targets?state=DROPPED", format!(r#"{{"activeTargets":[],"droppedTargets":[{c}],"droppedTargetCounts":{{"a":0,"x":1}}}}"#)),
        ("scrape_pools", r#"{"scrapePools":["a","x"]}"#.to_owned()),
        ("targets/metadata?limit=1", format!("[{f},{}]", f.replace("\"f\"", "\"g\"").replace('F', "G"))),
        ("targets/metadata?limit=0", "[]".to_owned()),
        ("targets/metadata?metric=g", r#"[{"target":{"instance":"a"},"type":"counter","help":"G","unit":"s"}]"#.to_owned()),
        ("targets/metadata?match_target=%7Binstance%3D%22b%22%7D&metric=f", r#"[{"target":{"instance":"b"},"type":"counter","help":"F","unit":"s"}]"#.to_owned()),
        ("metadata?limit_per_metric=1", r#"{"f":[{"type":"counter","unit":"s","help":"F"}],"g":[{"type":"counter","unit":"s","help":"G"}]}"#.to_owned()),
        ("metadata?limit=1&metric=g", r#"{"g":[{"type":"counter","unit":"s","help":"G"}]}"#.to_owned()),
        (
            "targets/relabel_steps?scrapePool=x&labels=%7B%22job%22:%22b%22,%22zone%22:%22eu%22%7D",
            r#"{"steps":[{"rule":{"source_labels":["zone"],"separator":";","regex":"(.*)","target_label":"region","replacement":"$1","action":"replace"},"output":{"job":"b","region":"eu","zone":"eu"},"keep":true},{"rule":{"source_labels":["job"],"separator":";","regex":"b","replacement":"$1","action":"drop"},"output":{},"keep":false}]}"#.to_owned(),
        ),
    ] {
        let answer = get(address, &format!("/api/v1/{target}")).await.text();
        assert_eq!(answer, format!("{{\"status\":\"success\",\"data\":{expected}}}"), "{target}");
    }
    let all: Value = serde_json::from_slice(&get(address, "/api/v1/targets").await.body).unwrap();
    let urls: Vec<&str> =
        all["data"]["activeTargets"].as_array().unwrap().iter().map(|t| t["globalUrl"].as_str().unwrap()).collect();
    assert_eq!(
        urls,
        ["http://z:1/metrics", "http://b:1/metrics", "http://a:1/metrics"],
        "by pool, then as they were given"
    );
    assert_eq!(all["data"]["activeTargets"][2]["lastScrape"], "0001-01-01T00:00:00Z");
    let unknown = get(address, "/api/v1/targets/relabel_steps?scrapePool=nope&labels=%7B%7D").await.text();
    assert!(unknown.contains(r#"error retrieving scrape config: scrape pool \"nope\" not found"#), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_a_cluster_are_told_with_their_scrapers_and_what_is_missing() {
    let mut process = scraping_process();
    process.targets.active[0].scraper = Some("s&1".to_owned());
    process.target_warnings = vec!["scraper s2 is away".to_owned()];
    let (address, _) = start_process(MemoryStore::default(), ApiOptions::default(), process).await;
    let of_b = get(address, "/api/v1/targets?scrapePool=x&state=active").await.text();
    assert_eq!(of_b.matches(r#""scrapeTimeout":"10s","scraper":"s\u00261"}"#).count(), 1, "{of_b}");
    assert_eq!(of_b.matches("\"scraper\"").count(), 1, "{of_b}");
    for target in ["targets", "scrape_pools", "targets/metadata", "targets/relabel_steps?scrapePool=x&labels=%7B%7D"] {
        let answer = get(address, &format!("/api/v1/{target}")).await.text();
        assert!(answer.ends_with(r#","warnings":["scraper s2 is away"]}"#), "{answer}");
    }
    // It may be that the one who is away knows the pool.
    let unknown = get(address, "/api/v1/targets/relabel_steps?scrapePool=nope&labels=%7B%7D").await.text();
    assert_eq!(
        unknown,
        r#"{"status":"error","errorType":"unavailable","error":"error retrieving scrape config: scrape pool \"nope\" not found: scraper s2 is away"}"#
    );
}

/// Of the answers of a fresh server: what is left out, and how many cases that is. All wait for the ruler.
const FRESH_LEFT_OUT: [(LeftOut, usize); 3] =
    [(LeftOut::Path("/api/v1/rules"), 9), (LeftOut::Path("/api/v1/alerts"), 1), (LeftOut::Query("ALERTS"), 3)];
const FRESH_CASES: usize = 55;

/// What a server with the recorded configuration knows after two scrapes of itself.
fn fresh_process(host: &str) -> Process {
    let target = labels(&[("instance", host), ("job", "self"), ("region", "eu"), ("zone", "eu")]);
    let discovered = labels(&[
        ("__address__", host),
        ("__always_scrape_classic_histograms__", "false"),
        ("__convert_classic_histograms_to_nhcb__", "false"),
        ("__metrics_path__", "/metrics"),
        ("__scheme__", "http"),
        ("__scrape_interval__", "5s"),
        ("__scrape_native_histograms__", "false"),
        ("__scrape_timeout__", "5s"),
        ("job", "self"),
        ("zone", "eu"),
    ]);
    let url = format!("http://{host}/metrics");
    let family = |family: &str| TargetMetadata {
        target: target.clone(),
        family: family.to_owned(),
        metadata: Metadata { metric_type: MetricType::Gauge, help: "Help.".to_owned(), unit: String::new() },
    };
    let region = Fields {
        source_labels: Some(vec!["zone".to_owned()]),
        target_label: Some("region".to_owned()),
        ..Fields::default()
    };
    Process {
        targets: TargetsSnapshot {
            active: vec![ActiveTarget {
                discovered_labels: discovered,
                labels: target.clone(),
                scrape_pool: "self".to_owned(),
                scrape_url: url.clone(),
                global_url: url,
                last_scrape: Some(server::clock::now()),
                last_scrape_seconds: 0.01,
                health: TargetHealth::Up,
                scrape_interval: "5s".to_owned(),
                scrape_timeout: "5s".to_owned(),
                ..ActiveTarget::default()
            }],
            dropped: Vec::new(),
            dropped_counts: [("self".to_owned(), 0)].into(),
        },
        relabel_rules: vec![Draft::new(region).unwrap().validate(NameValidationScheme::Utf8).unwrap()],
        metadata: ["go_goroutines", "prometheus_ready", "process_start_time_seconds"].map(family).into(),
        ..Process::default()
    }
}

/// The recorded page with its samples at `now_ms`, and what a scrape adds.
fn fresh_store(root: &std::path::Path, now_ms: i64) -> MemoryStore {
    let at = format!("{}.{:03}", now_ms / 1000, now_ms % 1000);
    let page = std::fs::read_to_string(root.join("api/fresh.om")).unwrap();
    let mut dated = format!("up{{job=\"self\"}} 1 {at}\n");
    for line in page.lines() {
        dated.push_str(line);
        if !line.starts_with('#') {
            dated.push_str(&format!(" {at}"));
        }
        dated.push('\n');
    }
    let mut store = MemoryStore::default();
    store.load_openmetrics(dated.as_bytes());
    store
}

/// Names of families differ between systems: what is told of each is compared.
fn without_families(json: &mut Value) {
    if let Some(families) = json["data"].as_object() {
        json["data"] = families.values().cloned().collect();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_answers_of_a_fresh_server_hold() {
    let Some(root) = conformance() else { return };
    let now_ms = server::clock::now().0;
    // Any will do, as long as it is the same everywhere.
    let host = "fresh.example:9090";
    let (address, _) = start_process(fresh_store(&root, now_ms), ApiOptions::default(), fresh_process(host)).await;
    let cases = std::fs::read_to_string(root.join("api/requests.jsonl")).unwrap();
    let cases = cases.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|c| c["data"] == "fresh");
    let (mut held, mut counts, mut failed) = (0, [0; FRESH_LEFT_OUT.len()], Vec::new());
    for mut case in cases {
        let mut answer = client::send_case(address, &case).await;
        if case["path"] == "/api/v1/metadata" {
            let mut json: Value = serde_json::from_slice(&answer.body).unwrap();
            without_families(&mut json);
            without_families(&mut case["response"]["json"]);
            answer.body = serde_json::to_vec(&json).unwrap();
        }
        if let Some(at) = FRESH_LEFT_OUT.iter().position(|(left_out, _)| left_out.explains(&case)) {
            counts[at] += 1;
        } else if let Err(e) = compare::compare(&case, &answer, host, now_ms) {
            failed.push(format!("{} {} {}: {e}", case["id"], case["path"], case["query"]));
        } else {
            held += 1;
        }
    }
    assert!(failed.is_empty(), "{held} held, {} failed\n{}", failed.len(), failed.join("\n"));
    assert_eq!(counts, FRESH_LEFT_OUT.map(|(_, count)| count), "left out: the ruler's");
    assert_eq!(held, FRESH_CASES - counts.iter().sum::<usize>());
}
