//! Requests that are wrong: Narthex refuses what a Prometheus 3 refuses, with the same status, type and text, and warns
//! in the same words.

use anyhow::{Result, ensure};
use e2e::narthex::{Server, Setup};
use e2e::write::{self, Series};
use e2e::{api, compare, percent};
use serde_json::Value;

/// One a line; a line that begins with `-- ` is a heading. Nearly all are wrong; the others stand beside one that is.
/// Asked as instant queries, as range queries, and to be formatted.
const EXPRESSIONS: &str = include_str!("errors/expressions.txt");
/// What no line can hold.
const MORE_EXPRESSIONS: [&str; 4] = ["", " ", "\"open\nline\"", "m\u{0}"];
/// Asked as `match[]`, and as queries for exemplars.
const SELECTORS: &str = include_str!("errors/selectors.txt");
/// Below `/api/v1/`, as they are sent.
const REQUESTS: &str = include_str!("errors/requests.txt");

/// Where the samples lie, and where queries ask.
const AT_MS: i64 = 1_772_322_300_000;
/// Requests that must have been compared, and those among them that must have been refused.
const REQUESTS_MIN: usize = 700;
const REFUSED_MIN: usize = 500;
/// So few that a test can ask for too many.
const SAMPLES_MAX: &str = "--query.max-samples=2000";

#[test]
fn what_prometheus_refuses_is_refused_in_its_words() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(prometheus) = Setup::prometheus(&folder.path().join("prometheus"))? else { return Ok(()) };
    if !prometheus.is_prometheus_3()? {
        eprintln!("skipped: Prometheus 2 has other words; NARTHEX_PROMETHEUS can name a Prometheus 3");
        return Ok(());
    }
    let window = "storage:\n  tsdb:\n    out_of_order_time_window: 20y\n";
    let narthex = Setup::narthex(&folder.path().join("narthex"))?.with_config(window);
    let mut ours = narthex.with_flag(SAMPLES_MAX).start()?;
    let mut theirs = prometheus.with_flag(SAMPLES_MAX).start()?;
    for server in [&mut ours, &mut theirs] {
        write::push(&mut server.client, &samples())?;
    }
    let (mut refused, mut failures) = (0, Vec::new());
    let requests = requests();
    for request in &requests {
        let verdicts = (verdict(&mut ours, request)?, verdict(&mut theirs, request)?);
        ours.process.ensure_running()?;
        refused += usize::from(verdicts.1.status != 200);
        if verdicts.0 != verdicts.1 {
            failures.push(format!("{request}\n  ours:   {:?}\n  theirs: {:?}", verdicts.0, verdicts.1));
        }
    }
    eprintln!("errors: {} requests, {refused} are refused, {} judged otherwise", requests.len(), failures.len());
    failures.iter().take(60).for_each(|failure| eprintln!("{failure}"));
    ensure!(failures.is_empty(), "{} of {} requests are judged otherwise", failures.len(), requests.len());
    ensure!(requests.len() >= REQUESTS_MIN && refused >= REFUSED_MIN, "{} requests, {refused} refused", requests.len());
    Ok(())
}

/// What is said of a request, without its result.
#[derive(Debug, PartialEq)]
struct Verdict {
    status: u16,
    kind: String,
    text: String,
    annotations: Vec<String>,
}

fn verdict(server: &mut Server, request: &str) -> Result<Verdict> {
    let response = server.client.get(request)?;
    // A path that is none is answered with text.
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_string();
    let annotations = api::annotations(&body);
    Ok(Verdict {
        status: response.status,
        kind: text("errorType"),
        text: text("error"),
        annotations: annotations.iter().map(|annotation| compare::without_count(annotation)).collect(),
    })
}

fn requests() -> Vec<String> {
    let at = AT_MS / 1000;
    let mut all = Vec::new();
    for expr in lines(EXPRESSIONS).chain(MORE_EXPRESSIONS) {
        let query = percent(expr);
        all.push(format!("/api/v1/query?time={at}&query={query}"));
        all.push(format!("/api/v1/query_range?start={at}&end={}&step=60&query={query}", at + 300));
        all.push(format!("/api/v1/format_query?query={query}"));
    }
    for selector in lines(SELECTORS).chain([""]) {
        let selector = percent(selector);
        all.push(format!("/api/v1/series?match[]={selector}"));
        all.push(format!("/api/v1/labels?match[]={selector}"));
        all.push(format!("/api/v1/label/a/values?match[]={selector}"));
        all.push(format!("/api/v1/query_exemplars?query={selector}&start={at}&end={at}"));
    }
    all.extend(lines(REQUESTS).chain([""]).map(|request| format!("/api/v1/{request}")));
    all
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with("-- "))
}

/// Few series, among them such as do not match one to one.
fn samples() -> Vec<Series> {
    let sets: [(&str, &[(&str, &str)]); 14] = [
        ("m", &[("a", "1"), ("b", "x")]),
        ("m", &[("a", "1"), ("b", "y")]),
        ("m", &[("a", "2"), ("b", "x")]),
        ("n", &[("a", "1"), ("c", "x")]),
        ("n", &[("a", "1"), ("c", "y")]),
        ("n", &[("a", "3"), ("c", "x")]),
        ("one", &[]),
        ("same_a", &[("x", "y")]),
        ("same_b", &[("x", "y")]),
        ("things_total", &[("a", "1")]),
        ("waits_bucket", &[("le", "0.1")]),
        ("waits_bucket", &[("le", "1")]),
        ("waits_bucket", &[("le", "+Inf")]),
        ("odd_bucket", &[("le", "wide")]),
    ];
    let mut all: Vec<Series> = sets.iter().map(|(name, labels)| Series::new(name, labels)).collect();
    for (index, one) in all.iter_mut().enumerate() {
        one.samples = (0..40).map(|n| (AT_MS - 15_000 * (39 - n), (index as i64 * n) as f64)).collect();
    }
    all
}
