//! The phases of the comparison. Each starts a system in a fresh folder, does one thing to it, and notes what it cost;
//! within a phase the systems follow one another, so that a number and that of a peer are minutes apart.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::fleet::{Fleet, GENERATION_GRID_MS};
use crate::machine;
use crate::process::tied_to_us;
use crate::report::Report;
use crate::scale::Scale;
use crate::system::System;
use crate::verify::Verdict;
use crate::writer::Sent;

mod blocks;
mod cluster;
mod history;
mod promql;
mod running;
mod scrape;
mod window;

/// Milliseconds between two samples of a series, in all phases but scraping.
pub const STEP_MS: i64 = 15_000;
/// The newest sample is this old at least: VictoriaMetrics hides the newest seconds from queries.
const AGE_MS: i64 = 60_000;
/// How long background work may go on before it is no longer waited for.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Remote write with one sample per series and request.
    Write1,
    /// Queries over what `Write1` wrote.
    Query,
    /// Restart after kill -9 with what `Write1` wrote.
    Restart,
    /// Remote write with ten samples per series and request.
    Write10,
    /// Scraping.
    Scrape,
    /// Bytes per sample on disk.
    Blocks,
    /// Memory after long history, of Narthex only.
    Window,
    /// Query shapes over two hours in the head.
    Promql,
    /// The same with the two hours in blocks.
    PromqlBlocks,
    /// A cluster with three ingesters beside the single process: remote write, latency, memory, queries.
    Cluster,
    /// Both with 500 samples per request.
    Cluster500,
    /// Remote write into twelve ingesters beside three.
    Cluster12,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 12] = [
        Phase::Write1,
        Phase::Query,
        Phase::Restart,
        Phase::Write10,
        Phase::Scrape,
        Phase::Blocks,
        Phase::Window,
        Phase::Promql,
        Phase::PromqlBlocks,
        Phase::Cluster,
        Phase::Cluster500,
        Phase::Cluster12,
    ];

    /// Whether it measures a cluster of processes, of Narthex only.
    pub fn is_cluster(self) -> bool {
        matches!(self, Phase::Cluster | Phase::Cluster500 | Phase::Cluster12)
    }

    /// The name on the command line and in the results.
    pub fn id(self) -> &'static str {
        match self {
            Phase::Write1 => "write1",
            Phase::Query => "query",
            Phase::Restart => "restart",
            Phase::Write10 => "write10",
            Phase::Scrape => "scrape",
            Phase::Blocks => "blocks",
            Phase::Window => "window",
            Phase::Promql => "promql",
            Phase::PromqlBlocks => "promql-blocks",
            Phase::Cluster => "cluster",
            Phase::Cluster500 => "cluster500",
            Phase::Cluster12 => "cluster12",
        }
    }
}

impl std::str::FromStr for Phase {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Phase> {
        let names = || Phase::ALL.map(Phase::id).join(", ");
        Phase::ALL.into_iter().find(|phase| phase.id() == text).with_context(|| format!("not one of {}", names()))
    }
}

/// What all phases of a run share.
#[derive(Debug)]
pub struct Bench {
    /// The systems, in the order in which they are measured.
    pub systems: Vec<System>,
    /// Our program, for the phases of the cluster.
    pub narthex: System,
    /// How much is measured.
    pub scale: Scale,
    /// The generator's program.
    pub loadgen: PathBuf,
    /// A folder on a local disk for the systems' data; emptied after each.
    pub work: PathBuf,
    /// The seed of the fleet.
    pub seed: u64,
    /// Share of the series replaced every hour.
    pub churn: f64,
}

/// A history to be sent: its first sample and the number of samples per series.
#[derive(Clone, Copy, Debug)]
struct History {
    start_ms: i64,
    steps: u64,
}

impl History {
    /// The last `minutes` minutes.
    fn recent(minutes: u64) -> History {
        let end_ms = (machine::now_ms() - AGE_MS) / GENERATION_GRID_MS * GENERATION_GRID_MS;
        let span_ms = minutes as i64 * 60_000;
        History { start_ms: end_ms - span_ms, steps: (span_ms / STEP_MS) as u64 }
    }

    /// Its first `minutes` minutes, and the rest.
    fn split(self, minutes: u64) -> (History, History) {
        let steps = minutes * 60_000 / STEP_MS as u64;
        let rest = History { start_ms: self.start_ms + steps as i64 * STEP_MS, steps: self.steps - steps };
        (History { steps, ..self }, rest)
    }

    /// So many minutes that begin with a range of two hours, and ended two hours ago at least: Prometheus and Narthex cut
    /// blocks at even hours, and a block of its own is cut once a range is an hour past.
    fn past_range(minutes: u64) -> History {
        let range_ms = 2 * 3_600_000;
        let start_ms = (machine::now_ms() - AGE_MS - 2 * range_ms).div_euclid(range_ms) * range_ms;
        History { start_ms, steps: (minutes * 60_000 / STEP_MS as u64) }
    }

    fn end_ms(self) -> i64 {
        self.start_ms + (self.steps as i64 - 1) * STEP_MS
    }
}

impl Bench {
    /// Runs the phases once. A system that fails a phase is noted as a failure; the others go on.
    pub fn run(&self, run: usize, phases: &[Phase], report: &mut Report) -> Result<()> {
        let wants = |phase| phases.contains(&phase);
        if wants(Phase::Write1) || wants(Phase::Query) || wants(Phase::Restart) {
            history::measure(self, run, phases, report)?;
        }
        if wants(Phase::Write10) {
            let history = History::recent(self.scale.minutes);
            self.each(report, Phase::Write10, |system, report| history::write10(self, run, system, history, report));
        }
        if wants(Phase::Scrape) {
            self.each(report, Phase::Scrape, |system, report| scrape::measure(self, run, system, report));
        }
        if wants(Phase::Blocks) {
            let history = History::recent(self.scale.blocks_minutes);
            self.each(report, Phase::Blocks, |system, report| blocks::measure(self, run, system, history, report));
        }
        if wants(Phase::Window) {
            let history = History::recent(self.scale.window_minutes.0);
            self.each(report, Phase::Window, |system, report| window::measure(self, run, system, history, report));
        }
        for phase in [Phase::Promql, Phase::PromqlBlocks].into_iter().filter(|&phase| wants(phase)) {
            promql::measure(self, run, phase, report)?;
        }
        for &phase in phases.iter().filter(|phase| phase.is_cluster()) {
            if let Err(error) = cluster::measure(self, run, phase, report) {
                let failure = format!("{}: {error:#}", phase.id());
                eprintln!("{failure}");
                report.failures.push(failure);
            }
        }
        Ok(())
    }

    fn each(&self, report: &mut Report, phase: Phase, mut measure: impl FnMut(&System, &mut Report) -> Result<()>) {
        for system in &self.systems {
            eprintln!("{}: {}", phase.id(), system.title());
            if let Err(error) = measure(system, report) {
                let failure = format!("{} of {}: {error:#}", phase.id(), system.kind.id());
                eprintln!("{failure}");
                report.failures.push(failure);
            }
        }
    }

    /// The fleet with so many targets. Its size is part of no random number: a smaller fleet is a part of a larger.
    fn fleet(&self, targets: usize) -> Fleet {
        Fleet::new(self.seed, targets, self.churn)
    }

    /// The generator's command line for a fleet.
    fn generator(&self, targets: usize, mode: &str) -> Command {
        let mut command = Command::new(&self.loadgen);
        let (seed, targets, churn) = (self.seed.to_string(), targets.to_string(), self.churn.to_string());
        command.args([mode, "--seed", &seed, "--targets", &targets, "--churn", &churn]);
        command
    }

    /// Sends a history; returns what was acknowledged.
    fn send(&self, address: &str, targets: usize, history: History, samples_per_request: usize) -> Result<Sent> {
        let mut command = self.generator(targets, "remote-write");
        let per_request = samples_per_request.to_string();
        add_history(&mut command, address, history).args(["--samples-per-request", &per_request]);
        let sent: Sent = answer_of(&command)?;
        ensure!(sent.samples == history.steps * targets as u64 * 1_000, "the generator sent {sent:?}");
        Ok(sent)
    }

    /// Reads a history back.
    fn verify(&self, address: &str, targets: usize, history: History, raw_targets: usize) -> Result<Verdict> {
        let mut command = self.generator(targets, "verify");
        add_history(&mut command, address, history).args(["--raw-targets", &raw_targets.to_string()]);
        answer_of(&command)
    }
}

fn add_history<'a>(command: &'a mut Command, address: &str, history: History) -> &'a mut Command {
    let (start, steps, step) = (history.start_ms.to_string(), history.steps.to_string(), STEP_MS.to_string());
    command.args(["--address", address, "--start-ms", &start, "--steps", &steps, "--step-ms", &step])
}

/// Runs the generator; its one line of JSON. A verdict comes with a failing status too, so the line decides.
fn answer_of<T: DeserializeOwned>(command: &Command) -> Result<T> {
    let output = tied_to_us(command).output().with_context(|| format!("run {command:?}"))?;
    let line = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(line.trim()) {
        Ok(answer) => Ok(answer),
        Err(_) => bail!("the generator: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()),
    }
}
