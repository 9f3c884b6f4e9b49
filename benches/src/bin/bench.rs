//! The driver of the comparison: starts each system, lets the generator at it, and prints what it cost.

#![expect(clippy::print_stdout, reason = "the table is the program's answer")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use benches::phases::{Bench, Phase};
use benches::report::Report;
use benches::scale::Scale;
use benches::system::{Kind, System};
use benches::{aims, machine};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures Narthex beside Prometheus and VictoriaMetrics, in one run and with the same generator")]
struct Arguments {
    /// How much: small (a smoke of minutes), medium, full (the published figures).
    #[arg(long, default_value = "full")]
    scale: Scale,
    /// Only these phases: write1, query, restart, write10, scrape, blocks, window, promql, promql-blocks,
    /// cluster, cluster500, cluster12.
    #[arg(long, value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Only these systems: narthex, narthex-interval, prometheus, victoriametrics. By default all that can be had.
    #[arg(long, value_delimiter = ',')]
    systems: Vec<Kind>,
    /// Fail where an aim is not met by the median of the runs.
    #[arg(long)]
    check: bool,
    /// How often everything is measured; 3 with --check, else 1.
    #[arg(long)]
    runs: Option<usize>,
    /// Narthex' program.
    #[arg(long)]
    narthex: Option<PathBuf>,
    /// A folder on a local disk for the systems' data.
    #[arg(long)]
    work: Option<PathBuf>,
    /// The file that results are appended to, a line of JSON each.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of the series that is replaced every hour.
    #[arg(long, default_value_t = 0.01)]
    churn: f64,
    /// Other than the scale's number of targets for remote write, queries, restart and scraping.
    #[arg(long)]
    targets: Option<usize>,
    /// Other than the scale's minutes of history; a multiple of 5.
    #[arg(long)]
    minutes: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut scale = arguments.scale;
    scale.targets = arguments.targets.unwrap_or(scale.targets);
    scale.minutes = arguments.minutes.unwrap_or(scale.minutes);
    ensure!(scale.targets > 0 && scale.minutes > 0 && scale.minutes % 5 == 0, "minutes are a positive multiple of 5");
    let phases = if arguments.phases.is_empty() { Phase::ALL.to_vec() } else { arguments.phases };
    let work = match arguments.work {
        Some(work) => work,
        None => machine::cache_folder()?.join("narthex-bench"),
    };
    std::fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
    let out = arguments.out.unwrap_or_else(|| work.join("results.jsonl"));
    let narthex = match arguments.narthex {
        Some(narthex) => narthex,
        None => machine::target_folder()?.join("release/narthex"),
    };
    let loadgen = std::env::current_exe().context("find this program")?.with_file_name("loadgen");
    ensure!(loadgen.is_file(), "{} is missing: build the package's binaries, both", loadgen.display());
    let systems = find_systems(&arguments.systems, &narthex)?;

    let runs = arguments.runs.unwrap_or(if arguments.check { 3 } else { 1 });
    println!("{}", machine::describe());
    println!(
        "scale {}: {} series, {} min of history, seed {}",
        scale.name,
        scale.targets * 1_000,
        scale.minutes,
        arguments.seed
    );
    let narthex = System::find(Kind::Narthex, &narthex)?;
    let bench = Bench { systems, narthex, scale, loadgen, work, seed: arguments.seed, churn: arguments.churn };
    let mut report = Report::create(&out)?;
    let mut shown = bench.systems.clone();
    if phases.iter().any(|phase| phase.is_cluster()) {
        shown.extend([Kind::Cluster3, Kind::Cluster12].map(|kind| bench.narthex.of_kind(kind)));
    }
    for run in 0..runs {
        bench.run(run, &phases, &mut report)?;
    }
    println!("\n{}", report.table(&shown));
    println!("each number is the median of {runs}; results are appended to {}", out.display());
    for failure in &report.failures {
        println!("failed: {failure}");
    }
    let (text, met) = aims::judge(&report, &bench.systems, &phases);
    println!("\n{text}");
    let ok = report.failures.is_empty() && (met || !arguments.check);
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The systems asked for, all of which must be there; or all that are there.
fn find_systems(asked: &[Kind], narthex: &std::path::Path) -> Result<Vec<System>> {
    let mut systems = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| asked.is_empty() || asked.contains(kind)) {
        match System::find(kind, narthex) {
            Ok(system) => systems.push(system),
            Err(error) if asked.is_empty() => eprintln!("{} is left out: {error:#}", kind.id()),
            Err(error) => return Err(error),
        }
    }
    ensure!(!systems.is_empty(), "no system to measure");
    Ok(systems)
}
