//! Blocks in an S3 bucket (moto's): closing waits while it is out of reach and everything else goes on; another node on the same
//! bucket answers from it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::narthex::{Server, Setup};
use e2e::process::{self, Process};
use e2e::write::{self, Series};
use e2e::{Client, now_ms, peer, wait};

/// Narthex takes history while this is configured, and closes it when it no longer is.
const LONG_WINDOW: &str = "storage:\n  tsdb:\n    out_of_order_time_window: 4y\n";
const NO_WINDOW: &str = "global: {}\n";
const HOUR_MS: i64 = 3_600_000;
const BLOCK_MS: i64 = 2 * HOUR_MS;
const INTERVAL_MS: i64 = 30_000;
/// The default window, how long a range waits after it, and a minute's grace.
const CLOSED_AFTER_MS: i64 = 3 * HOUR_MS + 6 * 60_000;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(180);

fn history(from_ms: i64, until_ms: i64) -> Vec<Series> {
    let one = |n: i64| {
        let mut series = Series::new("s3_test", &[("n", &n.to_string())]);
        let times = (from_ms..until_ms).step_by(INTERVAL_MS as usize);
        series.samples = times.enumerate().map(|(i, at)| (at + n, (n * 100_000 + i as i64) as f64)).collect();
        series
    };
    (0..20).map(one).collect()
}

/// All samples before `before_ms` are answered as they were written.
fn ensure_answered(server: &mut Server, series: &[Series], before_ms: i64) -> Result<()> {
    let answer = server.query("s3_test[1w]", before_ms - 1)?;
    ensure!(answer.series().len() == series.len(), "{} series: {answer:?}", answer.series().len());
    for one in answer.series() {
        let named: Vec<_> = one.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let source = series.iter().find(|series| series.labels == named).context("a series that was not written")?;
        let expected: Vec<_> = source.samples.iter().copied().filter(|sample| sample.0 < before_ms).collect();
        ensure!(one.samples == expected, "{:?}: {} samples, not {}", one.labels, one.samples.len(), expected.len());
    }
    Ok(())
}

fn warnings(server: &mut Server, expr: &str) -> Result<String> {
    let response = server.client.post_form("/api/v1/query", &[("query", expr)])?.success(expr)?;
    let json: serde_json::Value = serde_json::from_slice(&response.body)?;
    Ok(json["warnings"].to_string())
}

fn start_moto(program: &Path, port: u16, folder: &Path) -> Result<Process> {
    let mut command = process::command(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let mut moto = Process::start(command, &folder.join("moto.log"))?;
    moto.until_ready(&format!("127.0.0.1:{port}"), "/moto-api/", Duration::from_secs(60))?;
    Ok(moto)
}

/// Keys in the bucket.
fn keys(client: &mut Client) -> Result<Vec<String>> {
    let response = client.get("/blocks?list-type=2&max-keys=1000")?.success("list")?;
    let text = String::from_utf8(response.body)?;
    let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
    Ok(keys.map(|(key, _)| key.to_string()).collect())
}

/// Waits until the manifests of all ranges that are due are there; the end of the last.
fn wait_until_closed(server: &mut Server, store: &mut Client, oldest_ms: i64) -> Result<i64> {
    let mut seen = Vec::new();
    let closed = wait::until("manifests of all closed ranges", CLOSE_TIMEOUT, || {
        server.process.ensure_running()?;
        seen = keys(store)?;
        let starts: Vec<i64> = seen.iter().filter_map(|key| start_of_manifest(key)).collect();
        let goal = (now_ms() - CLOSED_AFTER_MS) / BLOCK_MS * BLOCK_MS;
        let mut due = (oldest_ms / BLOCK_MS * BLOCK_MS..goal).step_by(BLOCK_MS as usize);
        Ok(due.all(|start| starts.contains(&start)).then(|| starts.iter().max().copied()).flatten())
    });
    Ok(closed.with_context(|| format!("{seen:?}\n{}", server.process.log_tail()))? + BLOCK_MS)
}

fn start_of_manifest(key: &str) -> Option<i64> {
    key.strip_prefix("some/where/closed/")?.strip_suffix(".json")?.rsplit('/').next()?.parse().ok()
}

/// S3 at this port in Thanos' form; Narthex in a folder of its own.
fn setup(folder: &Path, port: u16) -> Result<Setup> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("store.yml");
    let text = format!(
        "type: S3\nprefix: some/where\nconfig:\n  bucket: blocks\n  endpoint: 127.0.0.1:{port}\n  access_key: key\n  \
         secret_key: secret\n  insecure: true\n  max_retries: 1\n"
    );
    std::fs::write(&file, text)?;
    Ok(Setup::narthex(&folder.join("narthex"))?.with_flag(&format!("--objstore.config-file={}", file.display())))
}

#[test]
fn blocks_in_s3_answer_and_an_outage_only_delays_closing() -> Result<()> {
    let Some(program) = peer::find("MOTO_SERVER")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let port = process::free_port()?;
    let mut setup = setup(folder.path(), port)?.with_config(LONG_WINDOW);
    let until_ms = now_ms() - 60_000;
    let from_ms = until_ms - 10 * HOUR_MS;
    let series = history(from_ms, until_ms);

    // The store is out of reach from the beginning.
    let mut server = setup.start()?;
    write::push_in_slices(&mut server.client, &series, HOUR_MS)?;
    ensure_answered(&mut server, &series, until_ms)?;
    server.stop()?;
    setup.config = NO_WINDOW.to_string();
    let mut server = setup.start()?;
    wait::until("closing fails", CLOSE_TIMEOUT, || {
        server.process.ensure_running()?;
        Ok(server.process.plain_log().contains("close range failed").then_some(()))
    })?;
    let mut fresh = Series::new("fresh", &[]);
    fresh.samples.push((now_ms(), 1.0));
    write::push(&mut server.client, &[fresh]).context("samples are taken while closing waits")?;
    ensure_answered(&mut server, &series, until_ms)?;
    let named = warnings(&mut server, "s3_test")?;
    ensure!(named.contains("the bucket could not be listed yet"), "{named}");

    // It comes, and what waited is closed.
    let mut moto = start_moto(&program, port, folder.path())?;
    let mut store = Client::new(&format!("127.0.0.1:{port}"), Duration::from_secs(30));
    store.request("PUT", "/blocks", &[], &[])?.success("create the bucket")?;
    let closed_before = wait_until_closed(&mut server, &mut store, from_ms)?;
    ensure_answered(&mut server, &series, until_ms)?;
    let named = warnings(&mut server, "s3_test")?;
    ensure!(named == "null", "{named}");
    server.kill()?;
    let mut server = setup.start()?;
    ensure_answered(&mut server, &series, until_ms)?;
    server.stop()?;

    // The same bucket, and nothing else.
    let mut another = self::setup(&folder.path().join("another"), port)?.start()?;
    ensure_answered(&mut another, &series, closed_before)?;
    let later = another.query("s3_test[1w]", until_ms)?;
    let last = later.series().iter().flat_map(|one| one.samples.last()).map(|sample| sample.0).max();
    ensure!(last.is_some_and(|last| last < closed_before), "{last:?} is not before {closed_before}");
    // The same question again is answered from what was read.
    moto.kill()?;
    ensure_answered(&mut another, &series, closed_before)?;
    another.stop()
}

#[test]
fn a_bucket_that_cannot_be_used_is_refused_with_a_reason() -> Result<()> {
    for (config, expected) in [
        ("bucket: b, endpoint: e, signature_version2: true", "signature_version2 is not supported"),
        (
            "bucket: b, endpoint: e, http_config: {tls_config: {server_name: x}}",
            "server_name of an S3 bucket is not supported",
        ),
        ("endpoint: e", "no s3 bucket in config file"),
    ] {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("store.yml");
        std::fs::write(&file, format!("type: S3\nconfig: {{{config}}}\n"))?;
        let flag = format!("--objstore.config-file={}", file.display());
        let mut process = Setup::narthex(folder.path())?.with_flag(&flag).launch()?;
        let status = process.exit(Duration::from_secs(60))?;
        let log = process.plain_log();
        ensure!(status.code() == Some(1) && log.contains(expected) && log.contains("store.yml"), "{config}: {log}");
    }
    Ok(())
}
