//! Blocks: what is loaded with a long window is closed with a short one, promtool and Prometheus read it, and answers stay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::api::{Answer, Labels, Range};
use e2e::compare::{self, Order};
use e2e::narthex::{Server, Setup};
use e2e::random::{Random, seed};
use e2e::write::{self, Series};
use e2e::{now_ms, peer, wait};

/// Narthex takes history while this is configured, and closes it when it no longer is.
const LONG_WINDOW: &str = "storage:\n  tsdb:\n    out_of_order_time_window: 4y\n";
const NO_WINDOW: &str = "global: {}\n";
const HOUR_MS: i64 = 3_600_000;
const BLOCK_MS: i64 = 2 * HOUR_MS;
/// The window where none is configured.
const DEFAULT_WINDOW_MS: i64 = 3 * HOUR_MS;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(120);
const INTERVAL_MS: i64 = 30_000;

/// Blocks of a data directory that are complete, in order of time.
#[derive(Clone, Debug)]
struct Block {
    path: PathBuf,
    mint: i64,
    maxt: i64,
}

fn blocks(data: &Path) -> Result<Vec<Block>> {
    let bucket = data.join("bucket");
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(&bucket) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        // What is being deleted or is no block has no such file.
        let Ok(text) = std::fs::read_to_string(path.join("meta.json")) else { continue };
        let meta: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let time = |name: &str| meta[name].as_i64().with_context(|| format!("{name} in {text}"));
        found.push(Block { mint: time("minTime")?, maxt: time("maxTime")?, path });
    }
    found.sort_by_key(|block| block.mint);
    Ok(found)
}

/// Counters and gauges from `from_ms` to `until_ms`.
fn history(random: &mut Random, count: usize, from_ms: i64, until_ms: i64) -> Vec<Series> {
    let from_ms = from_ms / INTERVAL_MS * INTERVAL_MS;
    let one = |index: usize| {
        let (name, n) = (["history_total", "history_ratio"][index % 2], index.to_string());
        let mut series = Series::new(name, &[("n", &n), ("job", ["a", "b", "c"][index % 3])]);
        let mut total = 0.0;
        let mut at_ms = from_ms + random.below(INTERVAL_MS.unsigned_abs()) as i64;
        while at_ms < until_ms {
            total += random.below(100) as f64;
            // One in twenty is missing.
            if random.below(20) != 0 {
                series.samples.push((at_ms, if index.is_multiple_of(2) { total } else { random.unit() }));
            }
            at_ms += INTERVAL_MS;
        }
        series
    };
    (0..count).map(one).collect()
}

/// Waits until every two hours that a window of `window_ms` has left behind are in blocks; the end of the last.
fn wait_until_closed(server: &mut Server, oldest_ms: i64, window_ms: i64) -> Result<i64> {
    let mut seen = Vec::new();
    let closed = wait::until("blocks of all closed ranges", CLOSE_TIMEOUT, || {
        server.process.ensure_running()?;
        seen = blocks(&server.setup.data())?;
        // A range is closed five minutes after it has left the window, and looked for every half minute.
        let goal = (now_ms() - window_ms - 6 * 60_000) / BLOCK_MS * BLOCK_MS;
        let starts = (oldest_ms / BLOCK_MS * BLOCK_MS..goal).step_by(BLOCK_MS as usize);
        let covered = |start: i64| seen.iter().any(|block| block.mint < start + BLOCK_MS && block.maxt > start);
        let complete = starts.clone().all(covered);
        Ok(complete.then(|| seen.iter().map(|block| block.maxt).max()).flatten())
    });
    closed.with_context(|| format!("{seen:?}\n{}", server.process.log_tail()))
}

/// Answers over all of the history, by query.
fn answers(server: &mut Server, from_ms: i64, until_ms: i64) -> Result<Vec<(String, Answer)>> {
    let raw = ["history_total[4w]", "history_ratio{job=\"b\"}[4w]", "{n=~\"1.\"}[6h] offset 12h"];
    let instant =
        ["count_over_time(history_ratio[4w])", "sum by (job) (sum_over_time(history_total[2w]))", "history_total"];
    let ranged = [
        "sum by (job) (rate(history_total[10m]))",
        "history_ratio{n=\"1\"}",
        "max by (job) (max_over_time(history_ratio[2h]))",
        "count({job=~\"a|b\"})",
        "quantile_over_time(0.9, history_ratio{job=\"a\"}[3h])",
    ];
    let mut all = Vec::new();
    for expr in raw.into_iter().chain(instant) {
        all.push((expr.to_string(), server.query(expr, until_ms)?));
    }
    let range = Range { start_ms: from_ms, end_ms: until_ms, step_ms: 293_000 };
    for expr in ranged {
        all.push((expr.to_string(), server.query_range(expr, &range)?));
    }
    for (expr, answer) in &all {
        ensure!(!answer.is_empty(), "{expr}: nothing");
    }
    Ok(all)
}

fn ensure_same(before: &[(String, Answer)], after: &[(String, Answer)], when: &str) -> Result<()> {
    for ((expr, a), (_, b)) in before.iter().zip(after) {
        if let Some(why) = compare::difference(a, b, Order::Free) {
            anyhow::bail!("{expr}: another answer {when}: {why}");
        }
    }
    Ok(())
}

#[test]
fn promtool_reads_the_blocks_of_a_day_and_answers_stay_as_they_were() -> Result<()> {
    let Some(promtool) = peer::find("PROMTOOL")? else { return Ok(()) };
    let mut random = Random::new(seed("promtool"));
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::narthex(&folder.path().join("narthex"))?.with_config(LONG_WINDOW);
    let until_ms = now_ms() - 60_000;
    let from_ms = until_ms - 26 * HOUR_MS;
    let series = history(&mut random, 30, from_ms, until_ms);

    let mut server = setup.start()?;
    write::push_in_slices(&mut server.client, &series, HOUR_MS)?;
    let before = answers(&mut server, from_ms, until_ms)?;
    ensure!(blocks(&setup.data())?.is_empty(), "blocks while the window is open");
    server.stop()?;

    setup.config = NO_WINDOW.to_string();
    let mut server = setup.start()?;
    ensure_same(&before, &answers(&mut server, from_ms, until_ms)?, "while ranges are being closed")?;
    let closed_before = wait_until_closed(&mut server, from_ms, DEFAULT_WINDOW_MS)?;
    ensure_same(&before, &answers(&mut server, from_ms, until_ms)?, "from blocks")?;
    // The last blocks are closed and the head still has what came after.
    ensure!(closed_before < until_ms && closed_before > until_ms - 8 * HOUR_MS, "{closed_before}");
    let bucket = setup.data().join("bucket");
    let listed = run(Command::new(&promtool).args(["tsdb", "list"]).arg(&bucket))?;
    let found = blocks(&setup.data())?;
    ensure!(listed.lines().count() == found.len() + 1, "{} blocks:\n{listed}", found.len());
    server.kill()?;

    let copy = copy_of_blocks(&found, &folder.path().join("copy"))?;
    analyze(&promtool, &copy, &found, series.len())?;
    ensure_dumped(&promtool, &copy, &series, closed_before)?;
    let mut server = setup.start()?;
    ensure_same(&before, &answers(&mut server, from_ms, until_ms)?, "after kill -9")?;
    server.stop()?;
    prometheus_reads(&copy, &folder.path().join("prometheus"), &before, &series, closed_before)
}

/// The blocks in a folder with a log that is empty, without which promtool 2.42 dumps nothing.
fn copy_of_blocks(blocks: &[Block], copy: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(copy.join("wal"))?;
    for block in blocks {
        let name = block.path.file_name().context("a block without a name")?;
        run(Command::new("cp").arg("-r").arg(&block.path).arg(copy.join(name)))?;
    }
    Ok(copy.to_path_buf())
}

fn analyze(promtool: &Path, copy: &Path, blocks: &[Block], series: usize) -> Result<()> {
    for block in blocks {
        let name = block.path.file_name().context("a block without a name")?;
        let text = run(Command::new(promtool).args(["tsdb", "analyze"]).arg(copy).arg(name))?;
        // "Series: " in 2.42, "Total Series: " in later ones.
        let total = text.lines().find_map(|line| line.trim_start_matches("Total ").strip_prefix("Series: "));
        let total = total.with_context(|| text.clone())?;
        ensure!(total.trim() == series.to_string(), "{total} series in {name:?}");
    }
    Ok(())
}

/// What promtool dumps is what was written before this time, sample by sample.
fn ensure_dumped(promtool: &Path, copy: &Path, series: &[Series], before_ms: i64) -> Result<()> {
    let dump = run(Command::new(promtool).args(["tsdb", "dump"]).arg(copy))?;
    let mut dumped: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
    for line in dump.lines() {
        let (labels, sample) = line.split_once("} ").with_context(|| format!("a line of the dump: {line}"))?;
        let (value, at) = sample.split_once(' ').with_context(|| format!("a line of the dump: {line}"))?;
        dumped.entry(labels).or_default().push((at.parse()?, value.parse()?));
    }
    let mut written: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for one in series {
        let labels: Vec<String> = one.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let samples = one.samples.iter().copied().filter(|sample| sample.0 < before_ms).collect();
        written.insert(format!("{{{}", labels.join(", ")), samples);
    }
    ensure!(dumped.len() == written.len(), "{} series are dumped, {} were written", dumped.len(), written.len());
    for (labels, samples) in &written {
        let found = dumped.get(labels.as_str()).with_context(|| format!("not dumped: {labels}"))?;
        ensure!(found == samples, "{labels}}}: {} samples dumped, {} written", found.len(), samples.len());
    }
    Ok(())
}

/// A Prometheus on the copy answers raw queries with what was written.
fn prometheus_reads(
    copy: &Path,
    folder: &Path,
    before: &[(String, Answer)],
    series: &[Series],
    before_ms: i64,
) -> Result<()> {
    let Some(setup) = Setup::prometheus(folder)? else { return Ok(()) };
    std::fs::rename(copy, setup.data())?;
    let mut server = setup.start()?;
    let names = ["history_total", "history_ratio"];
    let mut raw: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    for name in names {
        // The block's end is exclusive, the query's inclusive.
        let answer = server.query(&format!("{name}[4w]"), before_ms - 1)?;
        raw.extend(answer.series().iter().map(|one| (one.labels.clone(), one.samples.clone())));
    }
    ensure!(raw.len() == series.len());
    for one in series {
        let written: Vec<_> = one.samples.iter().copied().filter(|sample| sample.0 < before_ms).collect();
        let labels: Labels = one.labels.iter().cloned().collect();
        ensure!(raw.get(&labels) == Some(&written), "a Prometheus on the blocks gives something else: {labels:?}");
    }
    ensure!(!before.is_empty());
    server.stop()
}

#[test]
fn kills_while_ranges_are_closed_change_no_answer() -> Result<()> {
    const KILLS: usize = 10;
    let mut random = Random::new(seed("kills while closing"));
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::narthex(folder.path())?.with_config(LONG_WINDOW);
    let until_ms = now_ms() - 60_000;
    let from_ms = until_ms - 26 * HOUR_MS;
    let mut server = setup.start()?;
    write::push_in_slices(&mut server.client, &history(&mut random, 30, from_ms, until_ms), HOUR_MS)?;
    let before = answers(&mut server, from_ms, until_ms)?;
    server.kill()?;

    setup.config = NO_WINDOW.to_string();
    let mut moments = Vec::new();
    for _ in 0..KILLS {
        let server = setup.start()?;
        // It closes from its start on, and is done in a second or two.
        std::thread::sleep(Duration::from_millis(random.below(120)));
        server.kill()?;
        moments.push(blocks(&setup.data())?.len());
    }
    eprintln!("kills while closing: blocks after each: {moments:?}");
    let mut server = setup.start()?;
    wait_until_closed(&mut server, from_ms, DEFAULT_WINDOW_MS)?;
    ensure_same(&before, &answers(&mut server, from_ms, until_ms)?, "after kills")?;
    server.stop()
}

#[test]
fn blocks_older_than_the_retention_are_deleted() -> Result<()> {
    let mut random = Random::new(seed("retention"));
    let folder = tempfile::tempdir()?;
    let lifecycle = "--web.enable-lifecycle";
    let mut setup = Setup::narthex(folder.path())?.with_config(LONG_WINDOW).with_flag(lifecycle);
    let until_ms = now_ms() - 60_000;
    let from_ms = until_ms - 40 * HOUR_MS;
    let series = history(&mut random, 6, from_ms, until_ms);
    let mut server = setup.start()?;
    write::push_in_slices(&mut server.client, &series, 4 * HOUR_MS)?;

    // A reload closes as a restart does.
    setup.config = NO_WINDOW.to_string();
    setup.write_config()?;
    server.client.request("POST", "/-/reload", &[], &[])?.success("reload")?;
    wait_until_closed(&mut server, from_ms, DEFAULT_WINDOW_MS)?;
    server.stop()?;
    let first = blocks(&setup.data())?.first().context("no block")?.clone();
    ensure!(first.mint < from_ms + BLOCK_MS, "{first:?}");

    let kept_ms = 20 * HOUR_MS;
    let setup = setup.with_flag("--storage.tsdb.retention.time=20h");
    let mut server = setup.start()?;
    let mut left = Vec::new();
    wait::until("old blocks are deleted", CLOSE_TIMEOUT, || {
        server.process.ensure_running()?;
        left = blocks(&setup.data())?;
        Ok(left.iter().all(|block| block.maxt > now_ms() - kept_ms).then_some(()))
    })
    .with_context(|| format!("{left:?}\n{}", server.process.log_tail()))?;
    ensure!(!first.path.join("index").exists(), "its meta.json is gone, but not the block");
    // What lies within the retention is answered for as it was written.
    let answer = server.query("{n=~\".+\"}[19h]", until_ms)?;
    ensure!(answer.series().len() == series.len());
    for one in answer.series() {
        let named: Vec<_> = one.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let source = series.iter().find(|series| series.labels == named).context("a series that was not written")?;
        let expected = source.samples.iter().filter(|sample| sample.0 > until_ms - 19 * HOUR_MS);
        ensure!(expected.eq(one.samples.iter()), "{:?} lost samples within the retention", one.labels);
    }
    server.stop()
}

/// Runs a command that must succeed; what it says.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).context("output is no text")
}
