//! Runs scenarios one after the other, a line per step, and prints the table of what they came to.
//!
//! Exit status: 0 where each held or was only to be measured, 1 where one did not, or could not be run.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use benches::machine;
use chaos::scenario::Scenario;
use chaos::table::{self, Row};
use chaos::{run, system};
use clap::Parser;

/// Runs scenarios and prints what they came to.
#[derive(Parser)]
#[command(name = "chaos-run", version)]
struct Arguments {
    /// Files of scenarios, or folders of them.
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// Where processes keep their data; a folder for each scenario, which is emptied first.
    #[arg(long)]
    work: Option<PathBuf>,
    /// Another seed than the files'.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let work = match arguments.work {
        Some(work) => work,
        None => machine::cache_folder()?.join("narthex-chaos"),
    };
    let ledger = system::beside_us("chaos-ledger")?;
    let mut rows = Vec::new();
    for file in files(&arguments.scenarios)? {
        let mut scenario = Scenario::load(&file)?;
        scenario.seed = arguments.seed.unwrap_or(scenario.seed);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = work.join(&name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        println!("== {name}: {}, seed {}", scenario.title, scenario.seed);
        let row = match run::run(&scenario, &folder, &ledger, &mut |line| println!("{line}")) {
            Ok(row) => row,
            Err(error) => {
                println!("FAILED: {error:#}");
                let system = format!("({name})");
                let verdict = "NOT TOLD".to_string();
                Row { system, scenario: scenario.title.clone(), verdict, failed: true, ..Row::default() }
            }
        };
        println!("== {name}: {}; its logs are in {}\n", row.verdict, folder.display());
        rows.push(row);
    }
    println!("{}", machine::describe());
    println!("{}", table::render(&rows));
    Ok(if rows.iter().any(|row| row.failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Files as they were named, those of folders in order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
        found.sort();
        all.extend(found);
    }
    Ok(all)
}
