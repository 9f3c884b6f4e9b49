//! Scraping: `node_exporter` straight into Narthex, and a Prometheus that scrapes and writes to Narthex.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::api::{Answer, Labels, Range};
use e2e::compare::{self, Order};
use e2e::narthex::{Server, Setup};
use e2e::process::{self, Process};
use e2e::{now_ms, peer, wait};

const SCRAPE_TIMEOUT: Duration = Duration::from_secs(60);

/// A running `node_exporter` and its address; none where this machine has none.
fn node_exporter(folder: &Path) -> Result<Option<(Process, String)>> {
    let Some(program) = peer::find("NODE_EXPORTER")? else { return Ok(None) };
    let address = format!("127.0.0.1:{}", process::free_port()?);
    let mut command = process::command(&program);
    // Fewer collectors than it has: only what these tests ask, and it is fast on a busy machine.
    command.args(["--collector.disable-defaults", "--collector.cpu", "--collector.loadavg", "--collector.meminfo"]);
    command.arg(format!("--web.listen-address={address}"));
    let mut exporter = Process::start(command, &folder.join("node_exporter.log"))?;
    exporter.until_ready(&address, "/metrics", SCRAPE_TIMEOUT)?;
    Ok(Some((exporter, address)))
}

const CPU: &str = "sum by (mode) (rate(node_cpu_seconds_total{job=\"node\"}[4s]))";

#[test]
fn a_scraped_node_exporter_is_answered_for_before_and_after_a_kill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some((_exporter, target)) = node_exporter(folder.path())? else { return Ok(()) };
    let setup = Setup::narthex(&folder.path().join("narthex"))?.with_config(&format!(
        "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\nscrape_configs:\n- job_name: node\n  static_configs:\n  \
         - targets: ['{target}']\n"
    ));
    let mut server = setup.start()?;
    let (at_ms, before) = first_light(&mut server)?;
    ensure!(server.number("up{job=\"node\"}", at_ms)? == 1.0);
    let raw = server.query("node_cpu_seconds_total[10s]", at_ms)?;
    server.kill()?;

    let mut server = setup.start()?;
    // What was answered before the kill was acknowledged before it.
    let again = server.query(CPU, at_ms)?;
    ensure!(same(&before, &again), "before: {before:?}\nafter: {again:?}");
    let again = server.query("node_cpu_seconds_total[10s]", at_ms)?;
    ensure!(same(&raw, &again), "raw samples differ after the kill");
    let (later_ms, _) = first_light(&mut server)?;
    ensure!(later_ms > at_ms);
    server.stop()
}

/// Waits until the rate of every mode is there; when it was asked, and the answer. It is asked for half a second ago, so
/// that no scrape of that time is still under way.
fn first_light(server: &mut Server) -> Result<(i64, Answer)> {
    let found = wait::until("rates of node_cpu_seconds_total", SCRAPE_TIMEOUT, || {
        server.process.ensure_running()?;
        let at_ms = now_ms() - 500;
        let answer = server.query(CPU, at_ms)?;
        let has = |mode: &str| answer.series().iter().any(|one| one.labels.get("mode").is_some_and(|m| m == mode));
        let complete = ["user", "system", "idle"].into_iter().all(has);
        Ok(complete.then_some((at_ms, answer)))
    });
    let (at_ms, answer) = found.with_context(|| server.process.log_tail())?;
    for one in answer.series() {
        ensure!(one.labels.len() == 1 && one.samples[0].1 >= 0.0, "{one:?}");
    }
    Ok((at_ms, answer))
}

fn same(a: &Answer, b: &Answer) -> bool {
    compare::difference(a, b, Order::Free).is_none()
}

const INTERVAL_MS: i64 = 500;
/// How long Prometheus scrapes before it is asked.
const SCRAPED_MS: i64 = 9_000;

/// Over windows that are multiples of a second, and those of counters shorter than their series: where a counter begins
/// within the window, near zero, Prometheus 3 extrapolates otherwise than 2.
const QUERIES: [&str; 24] = [
    "up",
    "{__name__=~\"up|scrape_.*\"}",
    "up[8s]",
    "node_load1[8s]",
    "node_cpu_seconds_total[8s]",
    "go_goroutines[8s]",
    "{job=\"prometheus\",__name__=~\"prometheus_tsdb_.*\",__name__!~\".*(_bucket|_sum|_count)\"}",
    "sum by (mode) (rate(node_cpu_seconds_total[5s]))",
    "count by (job) ({__name__=~\".+\"})",
    "count_over_time(scrape_duration_seconds[7s])",
    "avg by (job) (scrape_samples_scraped)",
    "topk(3, node_memory_MemTotal_bytes or node_memory_MemFree_bytes or node_memory_Cached_bytes)",
    "increase(prometheus_http_requests_total{handler=\"/metrics\"}[4s])",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket{handler=\"/metrics\"}[4s])))",
    "max_over_time(node_load1[5s:1s])",
    "process_resident_memory_bytes / on () group_left () node_memory_MemTotal_bytes",
    "deriv(go_memstats_alloc_bytes[6s])",
    "irate(process_cpu_seconds_total[4s])",
    "node_load1 > bool node_load5",
    "absent(up{job=\"nothing\"})",
    "timestamp(up)",
    "changes(go_goroutines[6s])",
    "quantile_over_time(0.5, scrape_duration_seconds[6s])",
    "label_replace(up, \"port\", \"$1\", \"instance\", \".*:(.*)\")",
];

#[test]
fn a_prometheus_that_writes_to_narthex_through_a_kill_is_answered_alike() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some((_exporter, target)) = node_exporter(folder.path())? else { return Ok(()) };
    let Some(prometheus) = Setup::prometheus(&folder.path().join("prometheus"))? else { return Ok(()) };
    let narthex = Setup::narthex(&folder.path().join("narthex"))?;
    let (itself, receiver) = (prometheus.address(), narthex.address());
    let prometheus = prometheus.with_config(&format!(
        "global:\n  scrape_interval: {INTERVAL_MS}ms\n  scrape_timeout: {INTERVAL_MS}ms\nscrape_configs:\n\
         - job_name: prometheus\n  static_configs:\n  - targets: ['{itself}']\n\
         - job_name: node\n  static_configs:\n  - targets: ['{target}']\n\
         remote_write:\n- url: http://{receiver}/api/v1/write\n  queue_config:\n    batch_send_deadline: 200ms\n    \
         max_shards: 4\n    min_backoff: 30ms\n    max_backoff: 200ms\n"
    ));
    let ours = narthex.start()?;
    let mut theirs = prometheus.start()?;
    // Its discovery takes seconds.
    wait_for_scrapes(&mut theirs, now_ms())?;
    let began_ms = now_ms();
    wait_for_scrapes(&mut theirs, began_ms + SCRAPED_MS / 2)?;
    ours.kill()?;
    let mut ours = narthex.start()?;
    wait_for_scrapes(&mut theirs, began_ms + SCRAPED_MS)?;

    // Its shards send beside each other: all of it is there when every raw sample is.
    let at_ms = off_grid(&mut theirs, now_ms() - 1000)?;
    wait::until_ok("all that was scraped has come", SCRAPE_TIMEOUT, || {
        let raw = "{__name__=~\".+\"}[1m]";
        let (a, b) = (ours.query(raw, at_ms)?, theirs.query(raw, at_ms)?);
        compare::difference(&a, &b, Order::Free).map_or(Ok(()), |why| Err(anyhow!("{why}")))
    })
    .with_context(|| theirs.process.log_tail())?;
    let mut failures = Vec::new();
    let mut compared = 0;
    for expr in QUERIES {
        let range = Range { start_ms: at_ms - 2000, end_ms: at_ms, step_ms: 1000 };
        let answers = [(ours.query(expr, at_ms)?, theirs.query(expr, at_ms)?)];
        // Range queries take no range vectors.
        let ranged = match expr.ends_with(']') {
            true => None,
            false => Some((ours.query_range(expr, &range)?, theirs.query_range(expr, &range)?)),
        };
        for (a, b) in answers.into_iter().chain(ranged) {
            compared += 1;
            ensure!(!b.is_empty(), "{expr}: Prometheus has nothing");
            let differs = compare::difference(&a, &b, Order::Free);
            failures.extend(differs.map(|why| format!("{expr} at {at_ms}: {why}")));
        }
    }
    ensure!(failures.is_empty(), "{} of {compared} queries differ:\n{}", failures.len(), failures.join("\n"));
    eprintln!("a scraping Prometheus: {compared} queries alike");
    Ok(())
}

/// Waits until both jobs were scraped at or after this time, as the server knows it.
fn wait_for_scrapes(server: &mut Server, at_ms: i64) -> Result<()> {
    wait::until(&format!("scrapes at {at_ms}"), SCRAPE_TIMEOUT, || {
        server.process.ensure_running()?;
        let newest = server.query("timestamp(up)", now_ms())?;
        let reached = newest.series().iter().filter(|one| one.samples[0].1 * 1000.0 >= at_ms as f64).count();
        Ok((reached == 2).then_some(()))
    })
}

/// A time near this one, to whose left no window of whole seconds has a sample at its very edge, nor a step of a subquery, which
/// lies at a whole second: Prometheus 2 and 3 differ there.
fn off_grid(server: &mut Server, near_ms: i64) -> Result<i64> {
    let raw = server.query("up[1m]", near_ms)?;
    let mut phases: Vec<i64> =
        raw.series().iter().flat_map(|one| one.samples.iter().map(|sample| sample.0.rem_euclid(1000))).collect();
    phases.push(0);
    phases.sort_unstable();
    let free = (0..1000).map(|back| near_ms - back).find(|at| phases.binary_search(&at.rem_euclid(1000)).is_err());
    free.context("samples at every millisecond")
}

#[test]
fn labels_of_a_target_are_as_in_prometheus() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some((_exporter, target)) = node_exporter(folder.path())? else { return Ok(()) };
    let Some(prometheus) = Setup::prometheus(&folder.path().join("prometheus"))? else { return Ok(()) };
    let config = format!(
        "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n  external_labels: {{region: here}}\n\
         scrape_configs:\n- job_name: node\n  metrics_path: /metrics\n  params: {{x: [y]}}\n  static_configs:\n\
         \x20 - targets: ['{target}']\n    labels: {{team: infra, mode: own}}\n  relabel_configs:\n\
         \x20 - source_labels: [__address__]\n    regex: '(.*):.*'\n    target_label: host\n\
         \x20 - source_labels: [__param_x]\n    target_label: parameter\n  metric_relabel_configs:\n\
         \x20 - source_labels: [__name__]\n    regex: 'node_memory_.*'\n    action: drop\n\
         \x20 - regex: 'cpu'\n    action: labeldrop\n\
         \x20 - source_labels: [__name__]\n    regex: 'node_(load.*)'\n    target_label: __name__\n"
    );
    let narthex = Setup::narthex(&folder.path().join("narthex"))?.with_config(&config);
    let mut both = [narthex.start()?, prometheus.with_config(&config).start()?];
    let mut sets = Vec::new();
    for server in &mut both {
        let labels: Vec<Labels> = wait::until("a scrape", SCRAPE_TIMEOUT, || {
            let answer = server.query("{job=\"node\",quantile=\"\",le=\"\"}", now_ms())?;
            // Prometheus 3 writes the values of `quantile` and `le` as floats, 2 as they were scraped: left out above.
            let mut labels: Vec<Labels> = answer.series().iter().map(|one| one.labels.clone()).collect();
            labels.sort();
            // Samples of a target and its own metrics come at once in one, one after the other in the other.
            let complete = labels.iter().any(|one| one["__name__"] == "scrape_series_added");
            Ok(complete.then_some(labels))
        })?;
        sets.push(labels);
    }
    ensure!(sets[0].len() > 10, "{:?}", sets[0]);
    // The cores lost the label that told them apart: which of them is left is the same label set in both.
    ensure!(sets[0] == sets[1], "ours:   {:?}\ntheirs: {:?}", sets[0], sets[1]);
    Ok(())
}
