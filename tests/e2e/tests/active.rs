//! A query under way when the process dies is told by the next one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::narthex::Setup;
use e2e::{api, wait};

const AT_MS: i64 = 1_772_322_300_000;
/// Minutes of work, unless it is stopped.
const SLOW: &str = "quantile_over_time(0.5, (vector(time()))[2d:1s])";
const SOON: Duration = Duration::from_secs(60);

#[test]
fn after_a_crash_the_queries_that_did_not_finish_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(&folder.path().join("narthex"))?;
    let server = setup.start()?;
    let file = setup.data().join("queries.active");
    let written = || std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()));
    ensure!(!written()?.contains("query"), "an entry before any query");
    let mut client = setup.client();
    let asking = std::thread::spawn(move || {
        let range = api::Range { start_ms: AT_MS, end_ms: AT_MS + 10_000_000, step_ms: 1000 };
        // It ends when the server does.
        api::query_range(&mut client, SLOW, &range).is_err()
    });
    wait::until("the query is in the file", SOON, || Ok(written()?.contains(SLOW).then_some(())))?;
    server.kill()?;
    ensure!(asking.join().is_ok_and(|failed| failed), "a killed server has answered");

    let mut server = setup.start()?;
    let log = server.process.plain_log();
    let told = log.lines().find(|line| line.contains("these queries did not finish")).context("nothing was told")?;
    ensure!(told.contains("quantile_over_time(0.5"), "another query was told: {told}");
    ensure!(server.number("1 + 1", AT_MS)? == 2.0, "it does not answer");
    wait::until("its entry is gone", SOON, || Ok((!written()?.contains("query")).then_some(())))?;
    server.stop()?;
    let server = setup.start()?;
    let told = server.process.plain_log().matches("these queries did not finish").count();
    ensure!(told == 1, "told {told} times, after one crash");
    Ok(())
}
