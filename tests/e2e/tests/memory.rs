//! The memory of a query follows its result: a sum over many series takes little, and decodes each sample once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::api::seconds;
use e2e::narthex::{Server, Setup};
use e2e::write::{self, Series};
use e2e::{now_ms, variable};

const STEPS: i64 = 480;
const STEP_MS: i64 = 15_000;
/// Samples that the first window of five minutes needs before the first step.
const WINDOW_SAMPLES: i64 = 20;
const SERIES_FULL: usize = 200_000;
/// A debug build on two busy cores loads this in half a minute.
const SERIES_SMALL: usize = 50_000;
const GROWTH_MAX_FULL: u64 = 64 << 20;
/// What any query may take, whatever its size: threads' arenas, buffers of the connection.
const GROWTH_FIXED: u64 = 16 << 20;
const SENDERS: usize = 2;
const SERIES_PER_REQUEST: usize = 500;

#[test]
fn a_sum_over_many_series_takes_little_memory_and_decodes_each_sample_once() -> Result<()> {
    let series = if variable("NARTHEX_FULL").is_some() { SERIES_FULL } else { SERIES_SMALL };
    let growth_max = GROWTH_FIXED + (GROWTH_MAX_FULL - GROWTH_FIXED) * series as u64 / SERIES_FULL as u64;
    let folder = tempfile::tempdir()?;
    let setup =
        Setup::narthex(folder.path())?.with_flag("--wal.sync=interval").with_flag("--query.max-samples=1000000000");
    let base_ms = now_ms() - (STEPS + WINDOW_SAMPLES) * STEP_MS - 60_000;
    let mut server = setup.start()?;
    let began = Instant::now();
    load(&setup, base_ms, series)?;
    let loaded = began.elapsed();

    // Opens what the first query opens.
    server.query("count(x)", base_ms)?;
    let before = settled(&server)?;
    let began = Instant::now();
    let (data, peak) = with_peak(&mut server, base_ms)?;
    let (asked, growth) = (began.elapsed(), peak.saturating_sub(before));
    eprintln!(
        "memory: {series} series, {STEPS} steps: loaded in {loaded:?}, answered in {asked:?}, {growth} bytes more anonymous \
         memory (bound {growth_max})"
    );

    let values = data["result"][0]["values"].as_array().context("no values")?;
    ensure!(values.len() == STEPS as usize && data["result"][1].is_null(), "{} steps", values.len());
    for pair in values {
        let value: f64 = pair[1].as_str().context("no value")?.parse()?;
        let expected = series as f64 / 15.0;
        ensure!((value / expected - 1.0).abs() < 1e-9, "{value}, not {expected}");
    }
    ensure!(growth < growth_max, "{growth} bytes more anonymous memory, {growth_max} are allowed");
    let stats = &data["stats"]["samples"];
    let read = stats["samplesRead"].as_u64().with_context(|| format!("no samplesRead: {}", data["stats"]))?;
    // The left edge of the first window is open: its sample may be decoded with its chunk, or not.
    let stored = series as u64 * (STEPS + WINDOW_SAMPLES) as u64;
    ensure!((stored - series as u64..=stored).contains(&read), "{read} samples decoded, {stored} are stored");
    let queryable = stats["totalQueryableSamples"].as_u64().context("no totalQueryableSamples")?;
    ensure!(queryable == series as u64 * (STEPS * WINDOW_SAMPLES) as u64, "{queryable} samples in all windows");
    server.stop()
}

/// Sends every series with all of its samples, over some connections at once.
fn load(setup: &Setup, base_ms: i64, series: usize) -> Result<()> {
    std::thread::scope(|scope| {
        let sender = |first: usize| {
            move || -> Result<()> {
                let mut client = setup.client();
                for from in (first * SERIES_PER_REQUEST..series).step_by(SENDERS * SERIES_PER_REQUEST) {
                    let until = (from + SERIES_PER_REQUEST).min(series);
                    send(&mut client, base_ms, from..until)?;
                }
                Ok(())
            }
        };
        let senders: Vec<_> = (0..SENDERS).map(|first| scope.spawn(sender(first))).collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })
}

fn send(client: &mut e2e::Client, base_ms: i64, series: std::ops::Range<usize>) -> Result<()> {
    let one = |n: usize| {
        let labels = [("n", n.to_string()), ("pod", format!("pod-{}", n % 1000)), ("job", format!("job-{}", n % 10))];
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut series = Series::new("x", &labels);
        series.samples =
            (0..STEPS + WINDOW_SAMPLES).map(|k| (base_ms + k * STEP_MS, (n as i64 + k + 1_000_000) as f64)).collect();
        series
    };
    let all: Vec<Series> = series.map(one).collect();
    let body = write::compress(&write::encode(&all))?;
    let began = Instant::now();
    loop {
        match write::post(client, &body)? {
            204 => return Ok(()),
            // The server is behind: the same again, as a sender does.
            503 if began.elapsed() < Duration::from_secs(60) => std::thread::sleep(Duration::from_millis(50)),
            status => anyhow::bail!("remote write: status {status}"),
        }
    }
}

/// Anonymous memory once what loading took has been given back: what is free but still resident would hide growth.
fn settled(server: &Server) -> Result<u64> {
    const SETTLED: Duration = Duration::from_secs(2);
    let (began, mut least, mut since) = (Instant::now(), u64::MAX, Instant::now());
    while since.elapsed() < SETTLED && began.elapsed() < 10 * SETTLED {
        let now = server.process.rss_anon()?;
        // A drop by less than this is noise.
        if now + (256 << 10) < least {
            (least, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(least)
}

/// The query's data, and the most anonymous memory while it was answered.
fn with_peak(server: &mut Server, base_ms: i64) -> Result<(serde_json::Value, u64)> {
    let start_ms = base_ms + WINDOW_SAMPLES * STEP_MS;
    let (start, end) = (seconds(start_ms), seconds(start_ms + (STEPS - 1) * STEP_MS));
    let fields = [("query", "sum(rate(x[5m]))"), ("start", &start), ("end", &end), ("step", "15"), ("stats", "all")];
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let process = &server.process;
    let client = &mut server.client;
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::SeqCst) {
                peak.fetch_max(process.rss_anon()?, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        });
        let data = e2e::api::data(client, "/api/v1/query_range", &fields);
        done.store(true, Ordering::SeqCst);
        watcher.join().expect("the watcher does not panic")?;
        Ok((data?, peak.load(Ordering::SeqCst)))
    })
}
