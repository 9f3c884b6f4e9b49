//! `kill -9` under a remote-write load: what was acknowledged is there afterwards, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::api::Range;
use e2e::narthex::{Server, Setup};
use e2e::random::{Random, seed};
use e2e::{Client, now_ms, wait, write};

const KILLS: usize = 20;
const SENDERS: u64 = 4;
const SERIES_PER_SENDER: u64 = 25;
/// Between the samples of a series.
const GRID_MS: i64 = 100;
/// A kill comes after so many acknowledged requests of its round, at most.
const ACKNOWLEDGED_MAX: u64 = 120;
/// One in so many requests that were cut is given up, as a sender does that ends itself: its samples may be there or not.
const GIVEN_UP_EVERY: u64 = 8;

/// What a sender knows of its numbers: acknowledged, or given up.
type Ledger = BTreeMap<i64, bool>;

/// What senders and the test share.
#[derive(Default)]
struct Shared {
    acknowledged: AtomicU64,
    /// Requests whose connection broke before an answer came.
    cut: AtomicU64,
    finish: AtomicBool,
}

#[test]
fn twenty_kills_lose_no_acknowledged_sample_and_double_none() -> Result<()> {
    kill_and_reconcile("--wal.sync=commit")
}

/// A process that is killed loses nothing either way: what is not synced is the kernel's.
#[test]
fn twenty_kills_lose_nothing_where_the_log_is_synced_now_and_then() -> Result<()> {
    kill_and_reconcile("--wal.sync=interval")
}

fn kill_and_reconcile(sync: &str) -> Result<()> {
    let mut random = Random::new(seed(&format!("kill {sync}")));
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(folder.path())?.with_flag(sync);
    // Half an hour ago: well within the hour that is read back, however long the test takes.
    let base_ms = (now_ms() - 30 * 60_000) / GRID_MS * GRID_MS;
    let shared = Arc::new(Shared::default());
    let mut server = setup.start()?;
    let senders: Vec<JoinHandle<Result<Ledger>>> = (0..SENDERS)
        .map(|sender| {
            let (setup, shared, random) = (setup.clone(), shared.clone(), Random::new(random.bits()));
            std::thread::spawn(move || send(sender, &setup, base_ms, &shared, random))
        })
        .collect();
    for _ in 0..KILLS {
        wait_for_progress(&mut server, &shared, &mut random)?;
        server.kill()?;
        if random.below(5) == 0 {
            // Once more while it is still replaying, or just has.
            let mut process = setup.launch()?;
            std::thread::sleep(Duration::from_millis(random.below(400)));
            process.kill()?;
        }
        server = setup.start()?;
    }
    shared.finish.store(true, Ordering::SeqCst);
    let mut ledgers = Vec::new();
    for sender in senders {
        ledgers.push(sender.join().expect("a sender does not panic")?);
    }
    reconcile(&mut server, base_ms, &ledgers)?;
    server.kill()?;
    reconcile(&mut setup.start()?, base_ms, &ledgers).context("after the last kill")?;
    let cut = shared.cut.load(Ordering::SeqCst);
    let counts: Vec<usize> = ledgers.iter().map(Ledger::len).collect();
    eprintln!("kill {sync}: {counts:?} numbers of {SERIES_PER_SENDER} series each, {cut} requests were cut");
    ensure!(cut > 0, "no kill met a request: nothing was tested");
    Ok(())
}

/// The seeded moment: so many acknowledged requests, and up to a few milliseconds more.
fn wait_for_progress(server: &mut Server, shared: &Shared, random: &mut Random) -> Result<()> {
    let goal = shared.acknowledged.load(Ordering::SeqCst) + 1 + random.below(ACKNOWLEDGED_MAX);
    wait::until("requests are acknowledged", Duration::from_secs(60), || {
        server.process.ensure_running()?;
        Ok((shared.acknowledged.load(Ordering::SeqCst) >= goal).then_some(()))
    })?;
    std::thread::sleep(Duration::from_micros(random.below(8_000)));
    Ok(())
}

/// Sends numbers in order, each until it is acknowledged or given up; ends when told to.
fn send(sender: u64, setup: &Setup, base_ms: i64, shared: &Shared, mut random: Random) -> Result<Ledger> {
    let mut client = setup.client();
    let mut ledger = Ledger::new();
    for number in 0.. {
        if shared.finish.load(Ordering::SeqCst) {
            break;
        }
        let body = write::compress(&write::encode(&request(sender, number, base_ms)))?;
        let acknowledged = send_one(&mut client, &body, shared, &mut random)?;
        ledger.insert(number, acknowledged);
    }
    Ok(ledger)
}

/// Whether the request was acknowledged in the end.
fn send_one(client: &mut Client, body: &[u8], shared: &Shared, random: &mut Random) -> Result<bool> {
    loop {
        match write::post(client, body) {
            Ok(204) => {
                shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                return Ok(true);
            }
            Ok(status) => ensure!(status / 100 == 5, "status {status} for a good request"),
            // Between two lives of the server nobody listens, and the request has not been anywhere.
            Err(e) if refused(&e) => {}
            Err(_) => {
                shared.cut.fetch_add(1, Ordering::SeqCst);
                if random.below(GIVEN_UP_EVERY) == 0 {
                    return Ok(false);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refused(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::ConnectionRefused)
}

fn request(sender: u64, number: i64, base_ms: i64) -> Vec<write::Series> {
    let series = (0..SERIES_PER_SENDER).map(|series| {
        let mut one = write::Series::new("kill_test", &[("sender", &sender.to_string()), ("n", &series.to_string())]);
        one.samples.push((base_ms + number * GRID_MS, number as f64));
        one
    });
    series.collect()
}

/// What is read back is what the ledgers say, by three ways of reading.
fn reconcile(server: &mut Server, base_ms: i64, ledgers: &[Ledger]) -> Result<()> {
    let last = ledgers.iter().filter_map(|ledger| ledger.keys().next_back()).max().context("nothing was sent")?;
    let end_ms = base_ms + last * GRID_MS;
    let stored = raw(server, base_ms, end_ms, ledgers)?;

    let counts = server.query("count_over_time(kill_test[1h])", end_ms)?;
    ensure!(counts.series().len() as u64 == SENDERS * SERIES_PER_SENDER);
    for one in counts.series() {
        let expected = stored[&one.labels["sender"]][&one.labels["n"]].len();
        let count = one.samples[0].1;
        ensure!(count == expected as f64, "{:?}: count_over_time gives {count}, there are {expected}", one.labels);
    }

    // At each point of the grid the newest number up to there.
    let range = Range { start_ms: base_ms, end_ms, step_ms: GRID_MS };
    let matrix = server.query_range("kill_test", &range)?;
    ensure!(matrix.series().len() as u64 == SENDERS * SERIES_PER_SENDER);
    for one in matrix.series() {
        let numbers = &stored[&one.labels["sender"]][&one.labels["n"]];
        let first = numbers.first().context("an empty series")?;
        let expected = (*first..=*last).map(|step| {
            let newest = numbers[..numbers.partition_point(|number| *number <= step)].last();
            (base_ms + step * GRID_MS, newest.copied().unwrap_or_default() as f64)
        });
        ensure!(expected.eq(one.samples.iter().copied()), "{:?}: a range query gives something else", one.labels);
    }
    Ok(())
}

/// Numbers that are stored, by sender and series.
type Stored = BTreeMap<String, BTreeMap<String, Vec<i64>>>;

/// Reads raw samples and holds them against the ledgers.
fn raw(server: &mut Server, base_ms: i64, end_ms: i64, ledgers: &[Ledger]) -> Result<Stored> {
    let answer = server.query("kill_test[1h]", end_ms)?;
    let mut stored = Stored::new();
    for one in answer.series() {
        let ledger = &ledgers[one.labels["sender"].parse::<usize>()?];
        let mut numbers = Vec::with_capacity(one.samples.len());
        for (at_ms, value) in &one.samples {
            let number = (at_ms - base_ms) / GRID_MS;
            ensure!(base_ms + number * GRID_MS == *at_ms, "{:?}: nobody sent a sample at {at_ms}", one.labels);
            ensure!(number as f64 == *value, "{:?}: {value} at {at_ms}, not {number}", one.labels);
            ensure!(ledger.contains_key(&number), "{:?}: {number} was never sent", one.labels);
            ensure!(numbers.last() < Some(&number), "{:?}: {number} twice or out of order", one.labels);
            numbers.push(number);
        }
        let lost: Vec<&i64> =
            ledger.iter().filter(|(n, acked)| **acked && numbers.binary_search(n).is_err()).map(|(n, _)| n).collect();
        ensure!(lost.is_empty(), "{:?}: {} acknowledged samples are lost: {lost:?}", one.labels, lost.len());
        stored.entry(one.labels["sender"].clone()).or_default().insert(one.labels["n"].clone(), numbers);
    }
    let series: usize = stored.values().map(BTreeMap::len).sum();
    ensure!(series as u64 == SENDERS * SERIES_PER_SENDER, "{series} series are there");
    Ok(stored)
}
