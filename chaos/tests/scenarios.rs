//! The short set of scenarios: that one process and a cluster keep what they acknowledged, and that the runner sees one that does not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chaos::run;
use chaos::scenario::{Scenario, Step};
use chaos::table::Row;

fn load(name: &str) -> Result<Scenario> {
    Scenario::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.yml")))
}

fn run(scenario: &Scenario, folder: &Path) -> Result<Row> {
    let ledger = PathBuf::from(env!("CARGO_BIN_EXE_chaos-ledger"));
    run::run(scenario, folder, &ledger, &mut |line| eprintln!("{line}"))
}

#[test]
fn a_process_that_is_killed_under_load_keeps_what_it_acknowledged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let row = run(&load("00-short")?, folder.path())?;
    ensure!(!row.failed && row.verdict == "holds", "{row:?}");
    Ok(())
}

#[test]
fn a_cluster_whose_ingesters_are_killed_in_turn_keeps_what_it_acknowledged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let row = run(&load("01-cluster-short")?, folder.path())?;
    ensure!(!row.failed && row.verdict == "holds", "{row:?}");
    Ok(())
}

/// The same, and in the end the data directory is lost: then all that was acknowledged is.
#[test]
fn a_process_that_loses_its_disk_is_found_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut scenario = load("00-short")?;
    let at = scenario.steps.iter().position(|step| matches!(step, Step::Reconcile(_)));
    let at = at.context("the scenario reconciles nothing")?;
    let name = || "all".to_string();
    scenario.steps.truncate(at + 1);
    scenario.steps.splice(at..at, [Step::Kill(name()), Step::Wipe("{all/}/data".to_string()), Step::Start(name())]);
    let row = run(&scenario, folder.path())?;
    ensure!(row.failed && row.verdict == "VIOLATED" && row.counts.lost == row.counts.acked, "{row:?}");
    Ok(())
}
