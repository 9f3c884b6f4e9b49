//! The speed of PromQL: shapes in three forms over two hours, in the head or in blocks, warm, without a cache of results.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::blocks::steady_blocks;
use super::running::Running;
use super::{Bench, History, Phase, STEP_MS};
use crate::answer::{Said, ask, compare, parse};
use crate::fleet::{Fleet, SERIES_PER_TARGET};
use crate::http::Client;
use crate::native;
use crate::process::Process;
use crate::report::{Report, Unit, median};
use crate::shapes::{Form, MEMORY_METRIC, Shape, cpu_metric, memory_metric, metric, shapes};
use crate::system::{Kind, Purpose, System};

/// Queries are asked off the grid of the samples, so that closed (Prometheus 2) and left-open windows (3) hold the same.
const OFF_GRID_MS: i64 = 7_000;
/// How often each query is timed, once warm; the median counts.
const REPEATS: usize = 5;
/// Floats and native histograms take turns of so many minutes: Prometheus refuses what is an hour behind its newest sample.
const TURN_MINUTES: u64 = 30;
/// Samples of each series in one request: how the history comes is not what these phases measure.
const SAMPLES_PER_REQUEST: u64 = 10;
/// How long putting two hours of the whole fleet into blocks may take.
const BLOCKS_TIME_MAX: Duration = Duration::from_secs(1_800);
/// How often memory is looked at while a query runs.
const MEMORY_PAUSE: Duration = Duration::from_millis(1);

/// What one system answered, query by query; none where it cannot.
type Answers = Vec<Option<Vec<u8>>>;

/// Sends the history to each system in turn, asks everything, and compares.
pub(super) fn measure(bench: &Bench, run: usize, phase: Phase, report: &mut Report) -> Result<()> {
    let minutes = bench.scale.minutes;
    let history = if phase == Phase::Promql { History::recent(minutes) } else { History::past_range(minutes) };
    let fleet = bench.fleet(bench.scale.targets);
    let mut answers: Vec<(&System, Answers)> = Vec::new();
    // How a write is synced does nothing to a query: Narthex is measured in one mode.
    for system in bench.systems.iter().filter(|system| system.kind != Kind::NarthexInterval) {
        eprintln!("{}: {}", phase.id(), system.title());
        let measured = load(bench, system, &fleet, phase, history).and_then(|running| {
            let given = query(run, phase, &running, &fleet, history, report)?;
            answers.push((system, given));
            Ok(())
        });
        if let Err(error) = measured {
            let failure = format!("{} of {}: {error:#}", phase.id(), system.kind.id());
            eprintln!("{failure}");
            report.failures.push(failure);
        }
    }
    compare_answers(run, phase, &fleet, &answers, report)
}

/// A system with the history, where the phase wants it.
fn load<'a>(
    bench: &Bench,
    system: &'a System,
    fleet: &'a Fleet,
    phase: Phase,
    history: History,
) -> Result<Running<'a>> {
    let in_blocks = phase == Phase::PromqlBlocks;
    let purpose = Purpose { window: in_blocks.then_some("4y"), native_histograms: true, ..Purpose::default() };
    let mut running = Running::start(bench, system, fleet, &purpose)?;
    let mut rest = history;
    while rest.steps > 0 {
        let (turn, after) = rest.split(TURN_MINUTES.min(rest.steps * STEP_MS as u64 / 60_000));
        bench.send(&running.address, fleet.targets(), turn, SAMPLES_PER_REQUEST as usize)?;
        // VictoriaMetrics 1.79 knows no native histograms.
        if system.kind != Kind::VictoriaMetrics {
            let span = native::Span {
                start_ms: turn.start_ms,
                step_ms: STEP_MS,
                steps: turn.steps,
                per_request: SAMPLES_PER_REQUEST,
            };
            native::send(fleet, &mut running.client(), span)?;
        }
        rest = after;
    }
    if in_blocks {
        put_into_blocks(bench, &mut running, fleet, history)?;
    }
    running.finish_writing(bench)?;
    let verdict = bench.verify(&running.address, fleet.targets(), history, 1)?;
    verdict.ensure_equal()?;
    Ok(running)
}

/// Has a system put the whole history into blocks (VictoriaMetrics: merged parts). Prometheus does so once its head spans
/// three hours: a later quarter of an hour of one target is sent to all.
fn put_into_blocks(bench: &Bench, running: &mut Running<'_>, fleet: &Fleet, history: History) -> Result<()> {
    let later = History { start_ms: history.start_ms + 3 * 3_600_000 + 300_000, steps: 60 };
    bench.send(&running.address, 1, later, SAMPLES_PER_REQUEST as usize)?;
    if running.system.kind == Kind::VictoriaMetrics {
        running.client().get("/internal/force_merge")?.success("merge")?;
        return running.process.settle(BLOCKS_TIME_MAX);
    }
    if running.system.kind.is_narthex() {
        running.finish_writing(bench)?;
        let query = format!("node_load1{{instance=\"{}\"}}", fleet.instance(0));
        running.kill_and_restart(&Purpose { window: Some("1h"), ..Purpose::default() }, &query, history.end_ms())?;
    }
    let samples = history.steps * (fleet.targets() * SERIES_PER_TARGET) as u64;
    let (in_blocks, _) = steady_blocks(&running.folder.join("storage"), samples, BLOCKS_TIME_MAX)?;
    eprintln!("{in_blocks} samples in blocks");
    Ok(())
}

/// Asks every shape in every form and notes what it took.
fn query(
    run: usize,
    phase: Phase,
    running: &Running<'_>,
    fleet: &Fleet,
    history: History,
    report: &mut Report,
) -> Result<Answers> {
    let (mut client, system) = (running.client(), running.system);
    let bounds = (history.start_ms + OFF_GRID_MS, history.end_ms() + OFF_GRID_MS);
    let first_bytes = running.process.memory()?.rss_anon;
    let (mut answers, mut peak_bytes) = (Vec::new(), first_bytes);
    for Shape { name, query, .. } in shapes(fleet) {
        for form in Form::ALL {
            let mut asked = Asked { client: &mut client, process: &running.process, query: &query, bounds, form };
            let (took, answer) = match asked.measure()? {
                Ok(measured) => measured,
                Err(refusal) => {
                    eprintln!("{} cannot answer {}: {refusal}", system.kind.id(), metric(name, form));
                    answers.push(None);
                    continue;
                }
            };
            let mut note = |metric: String, value, unit| report.note(run, system, (phase.id(), &metric), value, unit);
            note(metric(name, form), took.wall_ms, Unit::Millis)?;
            note(cpu_metric(name, form), took.cpu_ms, Unit::Millis)?;
            note(memory_metric(name, form), took.peak_bytes.saturating_sub(took.before_bytes) as f64, Unit::Bytes)?;
            peak_bytes = peak_bytes.max(took.peak_bytes);
            answers.push(Some(answer));
        }
    }
    report.note(run, system, (phase.id(), MEMORY_METRIC), (peak_bytes - first_bytes) as f64, Unit::Bytes)?;
    Ok(answers)
}

/// One query of one system.
struct Asked<'a> {
    client: &'a mut Client,
    process: &'a Process,
    query: &'a str,
    bounds: (i64, i64),
    form: Form,
}

/// What a query took.
struct Took {
    /// Median of the repeats.
    wall_ms: f64,
    /// All of the system's CPU over the repeats, for one of them: to 2 ms.
    cpu_ms: f64,
    before_bytes: u64,
    peak_bytes: u64,
}

impl Asked<'_> {
    /// Warms up, times, and once more looks at the memory only, so that looking is no part of the times. The warm-up's memory
    /// counts too: an allocator may have kept since what that took.
    fn measure(&mut self) -> Result<Result<(Took, Vec<u8>), String>> {
        let before_bytes = self.process.memory()?.rss_anon;
        let (warm_up_bytes, said) = self.ask_watched()?;
        let answer = match said {
            Said::Refusal(reason) => return Ok(Err(reason)),
            // No shape has nothing for an answer: a system that says so does not know the function or the type of the samples.
            Said::Answer(body) if parse(&body)?.is_empty() => return Ok(Err("the answer is empty".to_string())),
            Said::Answer(body) => body,
        };
        let (mut times_ms, cpu_before) = (Vec::new(), self.process.cpu_seconds()?);
        for _ in 0..REPEATS {
            let began = Instant::now();
            let said = self.ask()?;
            times_ms.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(matches!(said, Said::Answer(_)), "answered {} once, then refused: {said:?}", self.query);
        }
        let cpu_ms = (self.process.cpu_seconds()? - cpu_before) * 1e3 / REPEATS as f64;
        let (warm_bytes, _) = self.ask_watched()?;
        let peak_bytes = warm_up_bytes.max(warm_bytes);
        Ok(Ok((Took { wall_ms: median(&times_ms), cpu_ms, before_bytes, peak_bytes }, answer)))
    }

    fn ask(&mut self) -> Result<Said> {
        ask(self.client, self.query, self.bounds, self.form.step_ms())
    }

    /// Asks; the most anonymous memory meanwhile.
    fn ask_watched(&mut self) -> Result<(u64, Said)> {
        let (process, done) = (self.process, AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut peak_bytes = 0;
                // Once more after the end: what is left then was there at the end too.
                loop {
                    let last = done.load(Ordering::Relaxed);
                    peak_bytes = peak_bytes.max(process.memory()?.rss_anon);
                    if last {
                        return Ok::<u64, anyhow::Error>(peak_bytes);
                    }
                    std::thread::sleep(MEMORY_PAUSE);
                }
            });
            let said = self.ask();
            done.store(true, Ordering::Relaxed);
            let peak_bytes = watcher.join().expect("a watcher does not panic").context("watch the memory")?;
            Ok((peak_bytes, said?))
        })
    }
}

/// Compares answers with Prometheus'. Ours must be equal; VictoriaMetrics' language differs where it says so, which is counted.
fn compare_answers(
    run: usize,
    phase: Phase,
    fleet: &Fleet,
    answers: &[(&System, Answers)],
    report: &mut Report,
) -> Result<()> {
    let Some((_, expected)) = answers.iter().find(|(system, _)| system.kind == Kind::Prometheus) else {
        return Ok(());
    };
    let names: Vec<String> =
        shapes(fleet).iter().flat_map(|shape| Form::ALL.map(|form| metric(shape.name, form))).collect();
    for (system, given) in answers.iter().filter(|(system, _)| system.kind != Kind::Prometheus) {
        let (mut differing, mut refused) = (0, 0);
        for ((name, ours), theirs) in names.iter().zip(given).zip(expected) {
            let difference = match (ours, theirs) {
                (Some(ours), Some(theirs)) => compare(ours, theirs)?,
                (None, _) => {
                    refused += 1;
                    system.kind.is_narthex().then(|| "no answer".to_string())
                }
                (Some(_), None) => None,
            };
            let Some(difference) = difference else { continue };
            differing += 1;
            let text = format!("{} answers {name} unlike Prometheus: {difference}", system.kind.id());
            let text: String = text.chars().take(400).collect();
            eprintln!("{text}");
            if system.kind.is_narthex() {
                report.failures.push(format!("{}: {text}", phase.id()));
            }
        }
        let mut note =
            |metric, value: i32| report.note(run, system, (phase.id(), metric), f64::from(value), Unit::Number);
        note("answers that differ from Prometheus'", differing)?;
        note("queries that it cannot answer", refused)?;
    }
    Ok(())
}
