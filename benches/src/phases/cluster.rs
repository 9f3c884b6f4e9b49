//! A cluster of processes beside the single process, in one run and with the same generator: what three replicas cost in
//! CPU, memory, bytes on the wire and latency, what a query over them costs, and how that grows with the ingesters.

use anyhow::{Result, ensure};

use self::processes::Processes;
use super::{Bench, History, Phase, add_history, answer_of};
use crate::answer::{ask_instant, ask_range, compare};
use crate::fleet::{Fleet, SERIES_PER_TARGET};
use crate::report::{Report, Unit, median};
use crate::system::{Kind, System};
use crate::writer::Sent;

mod processes;
mod traffic;

/// The first minutes of a write: after them each series is known everywhere, and what is new is the fleet's own churn.
const WARM_UP_MINUTES: u64 = 5;
/// Bytes of batches that a writer may have in flight, as Narthex' `replication::writer::Limits` has it.
const WRITER_IN_FLIGHT_BYTES: f64 = (64 << 20) as f64;
/// A query reads more samples than this, where the history has so many.
const QUERY_SAMPLES_MIN: u64 = 12_000_000;
/// Queries are asked off the grid of the samples, as in the phase `query`.
const OFF_GRID_MS: i64 = 7_000;
/// Series in a request: the generator's usual number, and that of a stock sender.
const SERIES_PER_REQUEST: usize = 5_000;
const SERIES_PER_STOCK_REQUEST: usize = 500;

/// Measures one phase: its systems one after the other.
pub(super) fn measure(bench: &Bench, run: usize, phase: Phase, report: &mut Report) -> Result<()> {
    let (flat, paced) = bench.scale.cluster_minutes;
    let (kinds, series_per_request) = match phase {
        Phase::Cluster12 => ([Kind::Cluster3, Kind::Cluster12], SERIES_PER_REQUEST),
        Phase::Cluster500 => ([Kind::Narthex, Kind::Cluster3], SERIES_PER_STOCK_REQUEST),
        _ => ([Kind::Narthex, Kind::Cluster3], SERIES_PER_REQUEST),
    };
    let history = History::recent(if phase == Phase::Cluster { flat + 2 * paced } else { flat });
    let fleet = bench.fleet(bench.scale.targets);
    let mut answers = Vec::new();
    for kind in kinds {
        let system = bench.narthex.of_kind(kind);
        eprintln!("{}: {}", phase.id(), system.title());
        let processes = Processes::start(bench, &system, &fleet)?;
        let mut subject = Subject { bench, run, phase, system: &system, fleet: &fleet, processes, report };
        let (first, rest) = history.split(flat);
        let flat_rate = subject.write(first, series_per_request)?;
        if phase == Phase::Cluster {
            let (healthy, degraded) = rest.split(paced);
            subject.latencies(healthy, degraded, flat_rate / 2.0)?;
            answers.push(subject.queries(history)?);
        }
        subject.verify(history)?;
    }
    if let [ours, theirs] = answers.as_slice() {
        for (single, cluster) in ours.iter().zip(theirs) {
            let difference = compare(&cluster.1, &single.1)?;
            ensure!(difference.is_none(), "{} differs from the single process': {difference:?}", cluster.0);
        }
    }
    Ok(())
}

/// A query's name, and its answer.
type Answer = (&'static str, Vec<u8>);

/// One system of a phase.
struct Subject<'a> {
    bench: &'a Bench,
    run: usize,
    phase: Phase,
    system: &'a System,
    fleet: &'a Fleet,
    processes: Processes,
    report: &'a mut Report,
}

impl Subject<'_> {
    fn note(&mut self, metric: &str, value: f64, unit: Unit) -> Result<()> {
        self.report.note(self.run, self.system, (self.phase.id(), metric), value, unit)
    }

    fn is_cluster(&self) -> bool {
        self.system.kind != Kind::Narthex
    }

    fn series(&self) -> f64 {
        (self.fleet.targets() * SERIES_PER_TARGET) as f64
    }

    fn send(&self, history: History, series_per_request: usize, rate: Option<f64>) -> Result<Sent> {
        let mut command = self.bench.generator(self.fleet.targets(), "remote-write");
        add_history(&mut command, self.processes.write_address(), history);
        command.args(["--series-per-request", &series_per_request.to_string()]);
        if let Some(rate) = rate {
            command.args(["--rate", &rate.to_string()]);
        }
        let sent: Sent = answer_of(&command)?;
        let due = history.steps * (self.fleet.targets() * SERIES_PER_TARGET) as u64;
        ensure!(sent.samples == due, "the generator sent {sent:?}");
        Ok(sent)
    }

    /// Sends history flat out and notes what it cost; samples per second of wall time in the steady state.
    fn write(&mut self, history: History, series_per_request: usize) -> Result<f64> {
        let memory_before = self.processes.memory("distributor")?;
        let before = self.processes.cpu_by_role()?;
        let (warm_up, steady) = history.split(WARM_UP_MINUTES);
        let warmed = self.send(warm_up, series_per_request, None)?;
        let (wire_before, between) = (self.processes.traffic()?, self.processes.cpu()?);
        let sent = self.send(steady, series_per_request, None)?;
        // Pulling goes on behind the acknowledgements: it is part of the price, on the wire too.
        self.processes.finish_writing(self.bench.scale.settle_s)?;
        let wire = self.processes.traffic()?.since(&wire_before)?;
        let after = self.processes.cpu_by_role()?;
        let samples = (warmed.samples + sent.samples) as f64;
        let mut all = 0.0;
        for (role, seconds) in &after {
            let cpu = seconds - before.get(role).copied().unwrap_or_default();
            all += cpu;
            if self.is_cluster() {
                self.note(&format!("CPU per sample: {role}"), cpu / samples * 1e6, Unit::CpuMicrosPerSample)?;
            }
        }
        self.note("CPU per sample", all / samples * 1e6, Unit::CpuMicrosPerSample)?;
        self.note("samples per CPU-second", samples / all, Unit::SamplesPerCpuSecond)?;
        let steady_cpu = after.values().sum::<f64>() - between;
        self.note("CPU per sample, steady", steady_cpu / sent.samples as f64 * 1e6, Unit::CpuMicrosPerSample)?;
        let rate = sent.samples as f64 / sent.seconds;
        self.note("samples per second", rate, Unit::SamplesPerSecond)?;
        self.note("repeated requests", (warmed.repeats + sent.repeats) as f64, Unit::Number)?;
        if self.is_cluster() {
            let copies = sent.samples as f64 * 3.0;
            self.note("bytes on the wire per sample and replica", wire as f64 / copies, Unit::Bytes)?;
        }
        let idle = self.processes.idle_cpu()?;
        self.note("CPU milliseconds per second when idle", idle * 1e3, Unit::Number)?;
        if self.phase != Phase::Cluster12 {
            self.memory(memory_before.first().map_or(0.0, |memory| memory.rss as f64))?;
        }
        Ok(rate)
    }

    /// Memory of what holds the series, and of the writer against what it had before the first request.
    fn memory(&mut self, writer_before: f64) -> Result<()> {
        let series = self.series();
        let holder = if self.is_cluster() { "ingester" } else { "all" };
        let held = self.processes.memory(holder)?;
        let most = |bytes: fn(&crate::process::Memory) -> u64| held.iter().map(bytes).max().unwrap_or_default() as f64;
        let (rss, peak) = (most(|memory| memory.rss), most(|memory| memory.rss_peak));
        self.note("VmRSS per series of the process that holds it", rss / series, Unit::Bytes)?;
        self.note("VmRSS per series of the process that holds it, peak", peak / series, Unit::Bytes)?;
        let Some(writer) = self.processes.memory("distributor")?.pop() else { return Ok(()) };
        let (grown, most) = (writer.rss as f64 - writer_before, writer.rss_peak as f64 - writer_before);
        self.note("VmRSS of the writer, grown since its start", grown, Unit::Bytes)?;
        self.note("VmRSS of the writer, grown since its start, peak", most, Unit::Bytes)?;
        let beyond = (most - WRITER_IN_FLIGHT_BYTES).max(0.0) / series;
        self.note("bytes per series of the writer beyond its in-flight bound", beyond, Unit::Bytes)
    }

    /// Latency of acknowledgement at a steady rate, and at the same rate with an ingester stopped.
    fn latencies(&mut self, healthy: History, degraded: History, rate: f64) -> Result<()> {
        let sent = self.send(healthy, SERIES_PER_REQUEST, Some(rate))?;
        let healthy_ms = sent.latency_ms;
        self.note_latency("", &sent)?;
        if !self.is_cluster() {
            // It has no replica to lose, but the same history.
            self.send(degraded, SERIES_PER_REQUEST, Some(rate))?;
            return Ok(());
        }
        self.processes.signal("ingester-1", "STOP")?;
        let sent = self.send(degraded, SERIES_PER_REQUEST, Some(rate));
        let writer = self.processes.memory("distributor")?.pop();
        self.processes.signal("ingester-1", "CONT")?;
        let sent = sent?;
        self.note_latency(", one ingester stopped", &sent)?;
        let ratio = sent.latency_ms[1] / healthy_ms[1];
        self.note("acknowledged, 99th: one ingester stopped to healthy", ratio, Unit::Number)?;
        let peak = writer.map_or(f64::NAN, |memory| memory.rss_peak as f64);
        self.note("VmRSS of the writer, peak with one ingester stopped", peak, Unit::Bytes)?;
        // The one that was stopped catches up.
        self.processes.finish_writing(self.bench.scale.settle_s)
    }

    fn note_latency(&mut self, state: &str, sent: &Sent) -> Result<()> {
        for (name, value) in ["median", "99th", "longest"].into_iter().zip(sent.latency_ms) {
            self.note(&format!("acknowledged{state}, {name}"), value, Unit::Millis)?;
        }
        self.note(&format!("generator late{state}, longest"), sent.late_ms, Unit::Millis)?;
        self.note(&format!("repeated requests at half load{state}"), sent.repeats as f64, Unit::Number)
    }

    /// CPU of all processes per query over many samples; the answers.
    fn queries(&mut self, history: History) -> Result<Vec<Answer>> {
        let (names, samples) = metrics_of(self.fleet, history.steps);
        self.note("samples that a query reads", samples as f64, Unit::Number)?;
        let mut client = self.processes.client();
        let end_ms = history.end_ms() + OFF_GRID_MS;
        let span_ms = history.end_ms() - history.start_ms + OFF_GRID_MS + super::STEP_MS;
        let sums = join(&names, |name| format!("sum(sum_over_time({name}[{span_ms}ms]))"));
        let rates = join(&names, |name| format!("sum(rate({name}[5m]))"));
        let mut answers = Vec::new();
        for (name, query) in [("sum_over_time", sums), ("sum(rate) range", rates)] {
            let mut ask = || match name {
                "sum_over_time" => ask_instant(&mut client, &query, end_ms),
                _ => ask_range(&mut client, &query, history.start_ms + 300_000 + OFF_GRID_MS, end_ms, 60_000),
            };
            let answer = ask()?;
            let mut cpu_ms = Vec::new();
            for _ in 0..self.bench.scale.query_repeats {
                let before = self.processes.cpu()?;
                ask()?;
                cpu_ms.push((self.processes.cpu()? - before) * 1e3);
            }
            self.note(&format!("CPU per query: {name}"), median(&cpu_ms), Unit::Millis)?;
            answers.push((name, answer));
        }
        Ok(answers)
    }

    /// Everything that was acknowledged is there, as it was sent.
    fn verify(&mut self, history: History) -> Result<()> {
        let (bench, address) = (self.bench, self.processes.query_address());
        let verdict = bench.verify(address, self.fleet.targets(), history, bench.scale.raw_targets)?;
        self.note("series that read back wrong", verdict.mismatches as f64, Unit::Number)?;
        verdict.ensure_equal()
    }
}

/// The names of the most frequent metrics that together have enough samples, and how many they have.
fn metrics_of(fleet: &Fleet, steps: u64) -> (Vec<&str>, u64) {
    let mut counts: Vec<(u64, &str)> = Vec::new();
    for template in fleet.templates() {
        let samples = steps * fleet.targets() as u64;
        match counts.iter_mut().find(|(_, name)| *name == template.name) {
            Some((count, _)) => *count += samples,
            None => counts.push((samples, &template.name)),
        }
    }
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let (mut names, mut samples) = (Vec::new(), 0);
    for (count, name) in counts {
        if samples > QUERY_SAMPLES_MIN {
            break;
        }
        names.push(name);
        samples += count;
    }
    (names, samples)
}

fn join(names: &[&str], term: impl Fn(&str) -> String) -> String {
    names.iter().map(|name| term(name)).collect::<Vec<_>>().join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_read_the_most_frequent_metrics_until_there_are_enough_samples() {
        let fleet = Fleet::new(1, 200, 0.01);
        let (names, samples) = metrics_of(&fleet, 160);
        assert!(samples > QUERY_SAMPLES_MIN && samples < 2 * QUERY_SAMPLES_MIN, "{samples} of {names:?}");
        let (all, samples) = metrics_of(&fleet, 1);
        assert_eq!(samples, 200_000);
        assert!(all.len() > names.len() && all.starts_with(&names));
        assert_eq!(join(&["a", "b"], |name| format!("sum({name})")), "sum(a) + sum(b)");
    }
}
