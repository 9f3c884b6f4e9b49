//! Writes numbered samples and keeps each acknowledgement on disk; afterwards says what became of them.
//!
//! Exit status: 0 where nothing is wrong, 1 where something was lost, duplicated, altered or invented, 2 where it could not
//! be told.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::machine::now_ms;
use chaos::classes::Summary;
use chaos::plan::Plan;
use chaos::{block_pass, load, reconcile};
use clap::{Args, Parser, Subcommand};

/// Writes numbered samples by remote write, and afterwards looks for them.
#[derive(Parser)]
#[command(name = "chaos-ledger", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write until FOLDER/stop is there, or so long or so many requests.
    Write(Write),
    /// Ask by PromQL for everything that was written.
    Reconcile(Reconcile),
    /// Read the blocks of a bucket: acknowledged samples of closed ranges are there once.
    Blocks(Blocks),
}

#[derive(Args)]
struct Write {
    /// Whoever takes remote write, as http://HOST:PORT; may be given again.
    #[arg(long, required = true)]
    url: Vec<String>,
    /// Where the ledger is kept. One that is there goes on.
    #[arg(long)]
    folder: PathBuf,
    /// Decides all that is arbitrary, and is the ledger's name without --run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Label `run` of all series.
    #[arg(long)]
    run: Option<String>,
    /// Connections at once.
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Series of each connection.
    #[arg(long, default_value_t = 50)]
    series: u64,
    /// Samples of each series in a request.
    #[arg(long, default_value_t = 1)]
    samples: u64,
    /// How far back the first samples lie, in seconds.
    #[arg(long, default_value_t = 1_200)]
    age_s: u64,
    /// Between the samples of a series, in milliseconds.
    #[arg(long, default_value_t = 100)]
    step_ms: i64,
    /// At most so long, in seconds.
    #[arg(long, default_value_t = 60)]
    for_s: u64,
    /// At most so many requests of each connection.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// A request is sent again for so long before it is given up, in seconds.
    #[arg(long, default_value_t = 60)]
    retry_for_s: u64,
    /// An answer may take so long, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
    /// From a record to the next request, in milliseconds.
    #[arg(long, default_value_t = 5)]
    pause_ms: u64,
}

#[derive(Args)]
struct Reconcile {
    /// Whoever answers queries, as http://HOST:PORT.
    #[arg(long)]
    url: String,
    /// Where the ledger is kept.
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Args)]
struct Blocks {
    /// Where the ledger is kept.
    #[arg(long)]
    folder: PathBuf,
    /// The folder of the bucket.
    #[arg(long)]
    bucket: PathBuf,
}

fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Write(arguments) => write(arguments),
        Command::Reconcile(arguments) => load::address_of(&arguments.url)
            .and_then(|address| reconcile::by_query(&arguments.folder, &address))
            .and_then(|summary| report(&summary)),
        Command::Blocks(arguments) => {
            block_pass::by_blocks(&arguments.folder, &arguments.bucket).and_then(|summary| report(&summary))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("chaos-ledger: {error:#}");
        ExitCode::from(2)
    })
}

fn write(arguments: Write) -> Result<ExitCode> {
    let age_ms = i64::try_from(arguments.age_s * 1000).context("age")?;
    let plan = Plan {
        run: arguments.run.unwrap_or_else(|| format!("seed-{}", arguments.seed)),
        seed: arguments.seed,
        connections: arguments.connections,
        series: arguments.series,
        samples: arguments.samples,
        base_ms: now_ms() - age_ms,
        step_ms: arguments.step_ms,
    };
    let plan = load::create(&arguments.folder, &plan)?;
    let addresses = arguments.url.iter().map(|url| load::address_of(url)).collect::<Result<_>>()?;
    let options = load::Options {
        addresses,
        folder: arguments.folder,
        most: Duration::from_secs(arguments.for_s),
        requests_max: arguments.requests,
        retry_for: Duration::from_secs(arguments.retry_for_s),
        timeout: Duration::from_millis(arguments.timeout_ms),
        pause: Duration::from_millis(arguments.pause_ms),
    };
    let written = load::write(&plan, &options)?;
    println!(
        "{}: {} samples acknowledged, {} refused, {} given up; {} requests were sent more than once",
        plan.run, written.acked, written.refused, written.given_up, written.retried
    );
    Ok(ExitCode::SUCCESS)
}

/// Examples for people, then the summary as one line of JSON.
fn report(summary: &Summary) -> Result<ExitCode> {
    for (class, example) in &summary.examples {
        println!("{class}: {example}");
    }
    println!("{}", serde_json::to_string(summary)?);
    Ok(if summary.is_violated() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
