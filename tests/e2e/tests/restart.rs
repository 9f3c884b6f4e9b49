//! Stopping, starting again, and starting twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::narthex::Setup;
use e2e::process::{Process, Signal};
use e2e::write::{self, Series};
use e2e::{Client, now_ms};

/// How long an orderly stop may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

fn some_series(at_ms: i64) -> Vec<Series> {
    let one = |n: i64| {
        let mut series = Series::new("restart_test", &[("n", &n.to_string())]);
        series.samples = (0..100).map(|i| (at_ms - 100_000 + i * 1000, (n * i) as f64)).collect();
        series
    };
    (0..50).map(one).collect()
}

fn sum_is_right(client: &mut Client, at_ms: i64) -> Result<()> {
    let answer = e2e::api::query(client, "sum(sum_over_time(restart_test[10m]))", at_ms)?.answer;
    let expected = (49 * 50 / 2 * 99 * 100 / 2) as f64;
    ensure!(answer.number() == Some(expected), "{answer:?}, not {expected}");
    Ok(())
}

fn stop_in_order(process: &mut Process) -> Result<()> {
    let began = Instant::now();
    process.signal(Signal::Term)?;
    let status = process.exit(Duration::from_secs(60))?;
    ensure!(status.code() == Some(0), "{status}\n{}", process.log_tail());
    ensure!(began.elapsed() < STOP_TIME_MAX, "it took {:?} to stop", began.elapsed());
    Ok(())
}

#[test]
fn sigterm_stops_in_order_and_the_data_is_there_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(folder.path())?;
    let at_ms = now_ms();
    let mut server = setup.start()?;
    write::push(&mut server.client, &some_series(at_ms))?;
    sum_is_right(&mut server.client, at_ms)?;
    // Connections that are open and idle do not hold it up.
    let mut idle = setup.client();
    ensure!(idle.get("/-/ready")?.status == 200);
    stop_in_order(&mut server.process)?;
    drop(idle);
    for _ in 0..2 {
        let mut server = setup.start()?;
        sum_is_right(&mut server.client, at_ms)?;
        stop_in_order(&mut server.process)?;
    }
    Ok(())
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(folder.path())?;
    let at_ms = now_ms();
    let mut server = setup.start()?;
    write::push(&mut server.client, &some_series(at_ms))?;

    let mut process = setup.clone().on_another_port()?.launch_with_log("log of the second")?;
    let status = process.exit(Duration::from_secs(60))?;
    ensure!(status.code() == Some(1), "{status}\n{}", process.log_tail());
    let log = process.log();
    let data = setup.data().display().to_string();
    ensure!(log.contains(&data) && log.contains("in use by another process"), "the message is not clear: {log}");
    server.process.ensure_running()?;
    sum_is_right(&mut server.client, at_ms).context("the first process still answers")?;
    server.stop()
}

#[test]
fn a_log_that_is_no_terminal_has_no_colours_and_a_good_run_no_warnings() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Setup::narthex(folder.path())?.start()?;
    write::push(&mut server.client, &some_series(now_ms()))?;
    stop_in_order(&mut server.process)?;
    let log = server.process.log();
    ensure!(!log.contains('\u{1b}'), "escape sequences in a file: {log}");
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}
