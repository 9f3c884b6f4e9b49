//! Whatever one sample suffers on its way, the ledger says so; and where nothing happened it says nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use chaos::classes::Summary;
use chaos::fault::{Fault, FaultProxy};
use chaos::load::{self, Options};
use chaos::plan::Plan;
use chaos::reconcile;
use chaos::twin::{Twin, WARNING};
use chaos::{record, wire};
use e2e::process::{self, Process};
use e2e::random::Random;
use e2e::{now_ms, wait};

/// Each fault is tried with so many seeds: another request, another sample.
const SEEDS: u64 = 8;
const CONNECTIONS: u64 = 2;
const REQUESTS: u64 = 6;

fn plan(seed: u64) -> Plan {
    let (run, base_ms) = (format!("fault-{seed}"), now_ms() - 600_000);
    Plan { run, seed, connections: CONNECTIONS, series: 5, samples: 3, base_ms, step_ms: 100 }
}

fn options(folder: &Path, address: String) -> Options {
    Options {
        addresses: vec![address],
        folder: folder.to_path_buf(),
        most: Duration::from_secs(60),
        requests_max: REQUESTS,
        retry_for: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        pause: Duration::ZERO,
    }
}

/// A ledger writes to a twin through a proxy with this fault, and asks it through the same.
fn run(fault: Fault, seed: u64, prepare: impl FnOnce(&Twin, &Plan)) -> Result<(Summary, u64)> {
    let folder = tempfile::tempdir()?;
    let twin = Twin::start()?;
    let at_request = Random::new(seed).below(CONNECTIONS * REQUESTS);
    let proxy = FaultProxy::start(&twin.address(), fault, at_request, seed)?;
    let plan = load::create(folder.path(), &plan(seed))?;
    let written = load::write(&plan, &options(folder.path(), proxy.address()))?;
    let all = CONNECTIONS * REQUESTS * plan.request_samples();
    ensure!(written.acked == all, "{written:?}");
    prepare(&twin, &plan);
    let summary = reconcile::by_query(folder.path(), &proxy.address())?;
    ensure!((summary.acked, summary.sent) == (all, all), "{summary:?}");
    Ok((summary, proxy.applied()))
}

fn counts(summary: &Summary) -> [u64; 5] {
    [summary.lost, summary.duplicated, summary.altered, summary.phantom, summary.warned]
}

#[test]
fn a_system_that_does_nothing_wrong_is_not_blamed() -> Result<()> {
    for seed in 0..SEEDS {
        let (summary, _) = run(Fault::None, seed, |_, _| ())?;
        ensure!(counts(&summary) == [0; 5] && summary.found == summary.acked, "seed {seed}: {summary:?}");
        ensure!(!summary.is_violated() && summary.examples.is_empty());
    }
    Ok(())
}

fn check_caught(fault: Fault, expected: [u64; 5], class: &str) -> Result<()> {
    for seed in 0..SEEDS {
        let (summary, applied) = run(fault, seed, |_, _| ())?;
        ensure!(applied == 1, "the proxy forged {applied} samples");
        ensure!(counts(&summary) == expected, "{fault:?}, seed {seed}: {summary:?}");
        ensure!(summary.is_violated() && summary.examples.keys().eq([class]), "{fault:?}, seed {seed}: {summary:?}");
    }
    Ok(())
}

#[test]
fn a_sample_that_is_dropped_is_lost() -> Result<()> {
    check_caught(Fault::Drop, [1, 0, 0, 0, 0], "lost")
}

#[test]
fn a_sample_that_is_written_again_at_another_time_is_duplicated() -> Result<()> {
    check_caught(Fault::Double, [0, 1, 0, 0, 0], "duplicated")
}

#[test]
fn a_sample_with_another_value_is_altered() -> Result<()> {
    check_caught(Fault::Alter, [0, 0, 1, 0, 0], "altered")
}

#[test]
fn a_sample_at_another_time_is_altered() -> Result<()> {
    check_caught(Fault::Move, [0, 0, 1, 0, 0], "altered")
}

#[test]
fn an_invented_sample_is_a_phantom() -> Result<()> {
    check_caught(Fault::Invent, [0, 0, 0, 1, 0], "phantom")
}

#[test]
fn an_invented_series_is_a_phantom() -> Result<()> {
    check_caught(Fault::InventSeries, [0, 0, 0, 1, 0], "phantom")
}

/// Hides the samples of two numbers of each series.
fn hide(twin: &Twin, plan: &Plan) {
    twin.hide(plan.base_ms + 4 * plan.step_ms, plan.base_ms + 6 * plan.step_ms);
}

#[test]
fn what_is_missing_with_a_warning_is_lost_where_the_warning_is_stripped() -> Result<()> {
    for seed in 0..SEEDS {
        let (summary, _) = run(Fault::None, seed, hide)?;
        ensure!(counts(&summary) == [0, 0, 0, 0, 20], "seed {seed}: {summary:?}");
        ensure!(!summary.is_violated() && summary.examples["warned"].contains(WARNING), "{summary:?}");

        let (summary, applied) = run(Fault::StripWarnings, seed, hide)?;
        ensure!(applied > 0, "no warning was stripped");
        ensure!(counts(&summary) == [20, 0, 0, 0, 0] && summary.is_violated(), "seed {seed}: {summary:?}");
    }
    Ok(())
}

#[test]
fn a_request_that_fails_is_sent_again_and_one_that_fails_too_long_is_given_up() -> Result<()> {
    let (folder, twin) = (tempfile::tempdir()?, Twin::start()?);
    let plan = load::create(folder.path(), &plan(1))?;
    twin.fail(3);
    let written = load::write(&plan, &options(folder.path(), twin.address()))?;
    ensure!(written.acked == CONNECTIONS * REQUESTS * plan.request_samples() && written.retried > 0, "{written:?}");

    // The same ledger goes on, and now nobody takes what it sends.
    twin.fail(u64::MAX);
    let hopeless =
        Options { retry_for: Duration::ZERO, requests_max: REQUESTS + 1, ..options(folder.path(), twin.address()) };
    let written = load::write(&plan, &hopeless)?;
    ensure!(written.given_up == CONNECTIONS * plan.request_samples() && written.acked == 0, "{written:?}");
    let summary = reconcile::by_query(folder.path(), &twin.address())?;
    ensure!(counts(&summary) == [0; 5] && summary.given_up == written.given_up, "{summary:?}");
    ensure!(twin.sample_count() as u64 == summary.acked);
    Ok(())
}

#[test]
fn what_is_refused_is_recorded_and_not_missed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = chaos::serve::Server::start(std::sync::Arc::new(|request: &chaos::serve::Request| {
        let empty = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        let write = request.path == "/api/v1/write";
        Some(if write { chaos::serve::Reply::text(400, "no") } else { chaos::serve::Reply::text(200, empty) })
    }))?;
    let plan = load::create(folder.path(), &plan(1))?;
    let written = load::write(&plan, &options(folder.path(), server.address()))?;
    ensure!(written.refused == CONNECTIONS * REQUESTS * plan.request_samples(), "{written:?}");
    let summary = reconcile::by_query(folder.path(), &server.address())?;
    ensure!(!summary.is_violated() && summary.acked == 0 && summary.refused == written.refused, "{summary:?}");
    Ok(())
}

#[test]
fn a_query_that_fails_is_no_verdict() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let refuse = |_: &chaos::serve::Request| Some(chaos::serve::Reply::text(422, "no"));
    let server = chaos::serve::Server::start(std::sync::Arc::new(refuse))?;
    load::create(folder.path(), &plan(1))?;
    let error = reconcile::by_query(folder.path(), &server.address()).unwrap_err();
    ensure!(format!("{error:#}").contains("status 422: no"), "{error:#}");
    Ok(())
}

/// Starts the program of the ledger against a twin.
fn start_ledger(folder: &Path, twin: &Twin) -> Result<Process> {
    let mut command = process::command(Path::new(env!("CARGO_BIN_EXE_chaos-ledger")));
    command.args(["write", "--connections", "3", "--series", "4", "--pause-ms", "0", "--url", &twin.address()]);
    command.arg("--folder").arg(folder.join("ledger"));
    Process::start(command, &folder.join("log"))
}

/// Each record is on disk before the next request of its connection: what a killed ledger knows is what it has sent, but for
/// one request a connection, which may be there or not.
#[test]
fn a_ledger_that_is_killed_knows_what_it_sent_and_goes_on() -> Result<()> {
    let (folder, twin) = (tempfile::tempdir()?, Twin::start()?);
    let ledger = folder.path().join("ledger");
    for life in 1..=4 {
        let mut process = start_ledger(folder.path(), &twin)?;
        wait::until("requests are recorded", Duration::from_secs(60), || {
            process.ensure_running()?;
            Ok((record::count(&ledger) >= life * 100).then_some(()))
        })?;
        process.kill()?;
        let summary = reconcile::by_query(&ledger, &twin.address())?;
        ensure!(counts(&summary) == [0; 5] && summary.acked >= life * 400, "{summary:?}");
        ensure!(summary.found == summary.acked && summary.sent == summary.acked + 3 * 4, "{summary:?}");
    }
    std::fs::write(ledger.join(load::STOP_FILE), "")?;
    let mut process = start_ledger(folder.path(), &twin)?;
    ensure!(process.exit(Duration::from_secs(30))?.success());
    let summary = reconcile::by_query(&ledger, &twin.address())?;
    ensure!(counts(&summary) == [0; 5] && summary.given_up == 3 * 4, "{summary:?}");
    ensure!(summary.sent == summary.acked + summary.given_up, "it has ended, and nothing more was sent: {summary:?}");

    // A sample with the next number is one that nobody sent.
    let plan = Plan::load(&ledger)?;
    let next = record::Account::load(&ledger, 1)?.requests_sent();
    let body = wire::Requests::new(&plan, 1).compressed(&plan, next)?;
    e2e::Client::new(&twin.address(), Duration::from_secs(10)).request(
        "POST",
        "/api/v1/write",
        &wire::HEADERS,
        &body,
    )?;
    let summary = reconcile::by_query(&ledger, &twin.address())?;
    ensure!(counts(&summary) == [0, 0, 0, 4, 0], "{summary:?}");
    Ok(())
}
