//! The generator of the comparison, a process of its own so that its CPU is not counted: sends history by remote write,
//! serves exposition pages, and reads back what was stored. Prints one line of JSON.

#![expect(clippy::print_stdout, reason = "the answer of a command")]

use std::io::Read;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Context, Result};
use benches::fleet::Fleet;
use benches::verify::{self, ScrapedWindow, Verdict, Written};
use benches::{machine, page, writer};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "A seeded fleet of targets for benchmarks: sends, serves and checks its samples")]
struct Arguments {
    #[command(flatten)]
    fleet: FleetArguments,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Args)]
struct FleetArguments {
    /// Same seed, same series and values.
    #[arg(long, default_value_t = 1, global = true)]
    seed: u64,
    /// Targets, of 1,000 series each.
    #[arg(long, default_value_t = 200, global = true)]
    targets: usize,
    /// Share of the series that is replaced every hour.
    #[arg(long, default_value_t = 0.01, global = true)]
    churn: f64,
}

#[derive(Subcommand)]
enum Mode {
    /// Send history as fast as the system takes it.
    RemoteWrite {
        #[command(flatten)]
        history: History,
        /// Path of the receiver.
        #[arg(long, default_value = "/api/v1/write")]
        path: String,
        /// Samples per series in each request.
        #[arg(long, default_value_t = 1)]
        samples_per_request: usize,
        /// Connections, each with targets of its own.
        #[arg(long, default_value_t = 4)]
        connections: usize,
        /// Series in each request.
        #[arg(long, default_value_t = 5_000)]
        series_per_request: usize,
        /// Samples per second over all connections; as fast as the system takes them without it.
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Serve exposition pages at /metrics/N, and counts at /stats, until the standard input ends.
    Serve {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
    },
    /// Read back what remote-write sent with the same arguments, and compare.
    Verify {
        #[command(flatten)]
        history: History,
        /// Targets of which each sample is compared; of the others counts and sums.
        #[arg(long, default_value_t = 4)]
        raw_targets: usize,
    },
    /// Read back what was scraped from `serve`, and compare.
    VerifyScraped {
        /// host:port of the system.
        #[arg(long)]
        address: String,
        /// Targets to compare.
        #[arg(long, default_value_t = 4)]
        check_targets: usize,
        /// Seconds before now that are compared.
        #[arg(long)]
        window_s: i64,
        /// Seconds between two scrapes.
        #[arg(long, default_value_t = 5)]
        interval_s: i64,
    },
}

#[derive(Args)]
struct History {
    /// host:port of the system.
    #[arg(long)]
    address: String,
    /// Time of the first sample of every series, in milliseconds; a multiple of 150,000.
    #[arg(long)]
    start_ms: i64,
    /// Samples per series.
    #[arg(long)]
    steps: u64,
    /// Milliseconds between two samples of a series.
    #[arg(long, default_value_t = 15_000)]
    step_ms: i64,
}

fn main() -> ExitCode {
    run(Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let fleet = Fleet::new(arguments.fleet.seed, arguments.fleet.targets, arguments.fleet.churn);
    match arguments.mode {
        Mode::RemoteWrite { history, path, samples_per_request, connections, series_per_request, rate } => {
            let History { address, start_ms, steps, step_ms } = history;
            let plan = writer::Plan {
                address,
                path,
                start_ms,
                step_ms,
                steps,
                samples_per_request,
                connections,
                series_per_request,
                rate,
            };
            println!("{}", serde_json::to_string(&writer::send(&fleet, &plan)?)?);
            Ok(ExitCode::SUCCESS)
        }
        Mode::Serve { listen } => serve(fleet, &listen),
        Mode::Verify { history, raw_targets } => {
            let History { address, start_ms, steps, step_ms } = history;
            judge(&verify::written(&fleet, &Written { address, start_ms, step_ms, steps, raw_targets })?)
        }
        Mode::VerifyScraped { address, check_targets, window_s, interval_s } => {
            let window = ScrapedWindow {
                address,
                targets: check_targets,
                end_ms: machine::now_ms(),
                window_ms: window_s * 1000,
                interval_ms: interval_s * 1000,
            };
            judge(&verify::scraped(&fleet, &window)?)
        }
    }
}

/// Serves in a thread of its own: the main one waits for the end of the input, so that the server ends with its parent.
fn serve(fleet: Fleet, listen: &str) -> Result<ExitCode> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    println!("{}", serde_json::json!({ "address": listener.local_addr()?.to_string() }));
    std::thread::spawn(move || {
        if let Err(error) = page::serve(fleet, listener) {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of the input")?;
    Ok(ExitCode::SUCCESS)
}

fn judge(verdict: &Verdict) -> Result<ExitCode> {
    println!("{}", serde_json::to_string(verdict)?);
    Ok(if verdict.ensure_equal().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
