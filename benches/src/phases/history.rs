//! Remote write of two hours of history; then queries over it, and a restart with it.

use std::time::Instant;

use anyhow::Result;

use super::running::Running;
use super::{Bench, History, Phase};
use crate::answer::{ask_instant, ask_range, compare};
use crate::fleet::{Fleet, SERIES_PER_TARGET};
use crate::queries::{Shape, shapes};
use crate::report::{Report, Unit, median};
use crate::system::{Kind, Purpose, System};

/// Queries are asked off the grid of the samples, so that closed (Prometheus 2) and left-open windows (3) hold the same.
const OFF_GRID_MS: i64 = 7_000;

/// The answers of one system to all shapes; none where it failed.
type Answers = Vec<Option<Vec<u8>>>;

/// One sample per series and request, and what is measured on that history.
pub(super) fn measure(bench: &Bench, run: usize, phases: &[Phase], report: &mut Report) -> Result<()> {
    let history = History::recent(bench.scale.minutes);
    let fleet = bench.fleet(bench.scale.targets);
    let mut answers: Vec<(Kind, Answers)> = Vec::new();
    bench.each(report, Phase::Write1, |system, report| {
        let mut running = Running::start(bench, system, &fleet, &Purpose::default())?;
        write(bench, run, &running, history, Phase::Write1, report)?;
        if phases.contains(&Phase::Query) {
            answers.push((system.kind, query(bench, run, &running, &fleet, history, report)?));
        }
        if phases.contains(&Phase::Restart) {
            restart(bench, run, &mut running, &fleet, history, report)?;
        }
        Ok(())
    });
    compare_answers(bench, run, &fleet, &answers, report)
}

/// Ten samples per series and request.
pub(super) fn write10(bench: &Bench, run: usize, system: &System, history: History, report: &mut Report) -> Result<()> {
    let fleet = bench.fleet(bench.scale.targets);
    let running = Running::start(bench, system, &fleet, &Purpose::default())?;
    write(bench, run, &running, history, Phase::Write10, report)
}

/// Sends, notes the cost, and reads back.
fn write(
    bench: &Bench,
    run: usize,
    running: &Running<'_>,
    history: History,
    phase: Phase,
    report: &mut Report,
) -> Result<()> {
    let system = running.system;
    let targets = bench.scale.targets;
    let cpu_before = running.process.cpu_seconds()?;
    let sent = bench.send(&running.address, targets, history, if phase == Phase::Write1 { 1 } else { 10 })?;
    // What is put off (merges, syncs, snapshots) is part of the price; what is thrown away later is not.
    running.finish_writing(bench)?;
    let cpu = running.process.cpu_seconds()? - cpu_before;
    let [rss, rss_peak, rss_anon] = running.memory_per_series()?;
    let samples = sent.samples as f64;
    let mut note = |metric, value, unit| report.note(run, system, (phase.id(), metric), value, unit);
    note("samples per CPU-second", samples / cpu, Unit::SamplesPerCpuSecond)?;
    note("samples per second", samples / sent.seconds, Unit::SamplesPerSecond)?;
    note("VmRSS per series at the end", rss, Unit::Bytes)?;
    note("VmRSS per series at its peak", rss_peak, Unit::Bytes)?;
    note("RssAnon per series at the end", rss_anon, Unit::Bytes)?;
    note("repeated requests", sent.repeats as f64, Unit::Number)?;
    note("generator's samples per CPU-second", samples / sent.cpu_seconds, Unit::SamplesPerCpuSecond)?;
    let verdict = bench.verify(&running.address, targets, history, bench.scale.raw_targets)?;
    note("series that read back wrong", verdict.mismatches as f64, Unit::Number)?;
    verdict.ensure_equal()
}

/// Asks every shape, once to warm up and then as often as the scale says; the median counts.
fn query(
    bench: &Bench,
    run: usize,
    running: &Running<'_>,
    fleet: &Fleet,
    history: History,
    report: &mut Report,
) -> Result<Answers> {
    let mut client = running.client();
    let end_ms = history.end_ms() + OFF_GRID_MS;
    let start_ms = (end_ms - 3_600_000).max(history.start_ms + OFF_GRID_MS);
    let (mut answers, mut logarithms) = (Vec::new(), Vec::new());
    for Shape { name, query, range } in shapes(fleet) {
        let mut ask = || match range {
            Some(range) => ask_range(&mut client, &query, start_ms, end_ms, range.step_ms()),
            None => ask_instant(&mut client, &query, end_ms),
        };
        let answer = match ask() {
            Ok(answer) => answer,
            Err(error) => {
                report.failures.push(format!("query of {}: {name}: {error:#}", running.system.kind.id()));
                answers.push(None);
                continue;
            }
        };
        let mut times_ms = Vec::new();
        for _ in 0..bench.scale.query_repeats {
            let began = Instant::now();
            ask()?;
            times_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let time_ms = median(&times_ms);
        logarithms.push(time_ms.ln());
        report.note(run, running.system, (Phase::Query.id(), name), time_ms, Unit::Millis)?;
        answers.push(Some(answer));
    }
    let mean_ms = (logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64).exp();
    report.note(run, running.system, (Phase::Query.id(), "geometric mean"), mean_ms, Unit::Millis)?;
    Ok(answers)
}

/// Compares answers with Prometheus'. Ours must be equal; VictoriaMetrics' own language differs where it says so (rates
/// without extrapolation, the sample before a window), so its differences are only counted.
fn compare_answers(
    bench: &Bench,
    run: usize,
    fleet: &Fleet,
    answers: &[(Kind, Answers)],
    report: &mut Report,
) -> Result<()> {
    let Some((_, expected)) = answers.iter().find(|(kind, _)| *kind == Kind::Prometheus) else { return Ok(()) };
    for (kind, given) in answers.iter().filter(|(kind, _)| *kind != Kind::Prometheus) {
        let mut differing = 0;
        for ((shape, ours), theirs) in shapes(fleet).iter().zip(given).zip(expected) {
            let difference = match (ours, theirs) {
                (Some(ours), Some(theirs)) => compare(ours, theirs)?,
                _ => Some("no answer".to_string()),
            };
            let Some(difference) = difference else { continue };
            differing += 1;
            let text = format!("{} answers {} unlike Prometheus: {difference}", kind.id(), shape.name);
            eprintln!("{}", text.chars().take(400).collect::<String>());
            if kind.is_narthex() {
                report.failures.push(text);
            }
        }
        if let Some(system) = bench.systems.iter().find(|system| system.kind == *kind) {
            let metric = (Phase::Query.id(), "answers that differ from Prometheus'");
            report.note(run, system, metric, f64::from(differing), Unit::Number)?;
        }
    }
    Ok(())
}

/// Kills the hard way and starts again; then everything that was acknowledged must be there.
fn restart(
    bench: &Bench,
    run: usize,
    running: &mut Running<'_>,
    fleet: &Fleet,
    history: History,
    report: &mut Report,
) -> Result<()> {
    // What a system keeps unwritten for a while, by design, is not what this measures.
    std::thread::sleep(running.system.unwritten_time());
    let query = format!("node_load1{{instance=\"{}\"}}", fleet.instance(fleet.targets() / 2));
    let took = running.kill_and_restart(&Purpose::default(), &query, history.end_ms())?;
    let mut note = |metric, value, unit| report.note(run, running.system, (Phase::Restart.id(), metric), value, unit);
    note("until a query answers after kill -9", took.as_secs_f64(), Unit::Seconds)?;
    running.process.settle(super::SETTLE_TIME_MAX)?;
    note("CPU until quiet again", running.process.cpu_seconds()?, Unit::Seconds)?;
    let rss = running.process.memory()?.rss as f64 / (fleet.targets() * SERIES_PER_TARGET) as f64;
    note("VmRSS per series when quiet again", rss, Unit::Bytes)?;
    let verdict = bench.verify(&running.address, bench.scale.targets, history, 1)?;
    note("series that read back wrong", verdict.mismatches as f64, Unit::Number)?;
    verdict.ensure_equal()
}
