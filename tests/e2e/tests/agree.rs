//! The same queries over the same samples: Narthex and Prometheus answer alike.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use e2e::api::{Annotated, Labels, Range, seconds};
use e2e::compare::{self, Order};
use e2e::narthex::{Server, Setup};
use e2e::random::Random;
use e2e::{api, write};

mod cases;
mod samples;

use cases::{Aim, Case};
use samples::{BASE_MS, INTERVAL_MS, LENGTH_MS};

/// The samples are always the same: a difference found once is found again.
const SEED: u64 = 42;
/// Queries that must have been compared and have an answer that is not empty.
const QUERIES_MIN: usize = 300;
/// Queries of each feature, likewise.
const QUERIES_PER_FEATURE_MIN: usize = 3;
/// Where samples lie, and where queries ask.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Into the interval of the samples: those of every other series.
    samples_ms: i64,
    /// Into the interval of the samples: queries.
    queries_ms: i64,
    /// Of a range query.
    step_ms: i64,
    /// What `@` names.
    at: &'static str,
    /// Whether Prometheus 2 answers otherwise here.
    needs_3: bool,
}

/// Prometheus 2 takes the sample at the left edge of a window, which 3 leaves out; no sample lies there, so that no query
/// can tell.
const OFF_GRID: Grid = Grid { samples_ms: 137, queries_ms: 777, step_ms: 97_000, at: "1772322300.777", needs_3: false };
/// Edges of windows and of the lookback, steps of subqueries and times of `@` are samples, at full seconds.
const ON_GRID: Grid = Grid { samples_ms: 0, queries_ms: 0, step_ms: 6 * INTERVAL_MS, at: "1772322300", needs_3: true };

#[test]
fn prometheus_gives_the_same_answers_over_the_same_samples() -> Result<()> {
    agree_on(OFF_GRID)
}

#[test]
fn prometheus_3_gives_the_same_answers_at_the_edges_of_windows() -> Result<()> {
    agree_on(ON_GRID)
}

fn agree_on(grid: Grid) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut prometheus) = Setup::prometheus(&folder.path().join("prometheus"))? else { return Ok(()) };
    let window = "storage:\n  tsdb:\n    out_of_order_time_window: 20y\n";
    let mut narthex = Setup::narthex(&folder.path().join("narthex"))?.with_config(window);
    let newer = prometheus.is_prometheus_3()?;
    if !newer && grid.needs_3 {
        eprintln!("skipped: Prometheus 2 has other edges; NARTHEX_PROMETHEUS can name a Prometheus 3");
        return Ok(());
    }
    if newer {
        let functions = "--enable-feature=promql-experimental-functions";
        (narthex, prometheus) = (narthex.with_flag(functions), prometheus.with_flag(functions));
    }
    let series = samples::all(&mut Random::new(SEED), grid.samples_ms);
    let (mut ours, mut theirs) = (narthex.start()?, prometheus.start()?);
    for server in [&mut ours, &mut theirs] {
        write::push_in_slices(&mut server.client, &series, 10 * 60_000)?;
    }
    for server in [&mut ours, &mut theirs] {
        ensure_stored(server, &series)?;
    }
    let mut comparison =
        Comparison { ours, theirs, newer, failures: Vec::new(), compared: 0, with_content: BTreeMap::new() };
    comparison.run(grid)?;
    comparison.verdict()
}

/// Every sample that was written is there, by its bits, and no other.
fn ensure_stored(server: &mut Server, series: &[write::Series]) -> Result<()> {
    let answer = server.query("{__name__=~\".+\"}[3h]", BASE_MS + LENGTH_MS)?;
    let mut stored: BTreeMap<&Labels, &[(i64, f64)]> = BTreeMap::new();
    for one in answer.series() {
        ensure!(stored.insert(&one.labels, &one.samples).is_none(), "twice: {:?}", one.labels);
    }
    ensure!(stored.len() == series.len(), "{} series are stored, {} were written", stored.len(), series.len());
    for one in series {
        let found = stored.get(&one.labels.iter().cloned().collect::<Labels>()).copied().unwrap_or_default();
        // A range selector shows no stale markers.
        let written = one.samples.iter().filter(|sample| sample.1.to_bits() != write::STALE.to_bits());
        let same = |(a, b): (&(i64, f64), &(i64, f64))| a.0 == b.0 && (a.1 == b.1 || a.1.is_nan() && b.1.is_nan());
        ensure!(
            found.len() == written.clone().count() && written.zip(found).all(same),
            "not as written: {:?}",
            one.labels
        );
    }
    Ok(())
}

/// Two servers, and what came of asking both.
struct Comparison {
    ours: Server,
    theirs: Server,
    /// Theirs is a Prometheus 3: warnings and infos count.
    newer: bool,
    failures: Vec<String>,
    compared: usize,
    /// Queries whose answer was not empty, by feature.
    with_content: BTreeMap<&'static str, usize>,
}

impl Comparison {
    /// Asks every query at two instants and over a range.
    fn run(&mut self, grid: Grid) -> Result<()> {
        let minutes = |n: i64| BASE_MS + n * 60_000 + grid.queries_ms;
        let range = Range { start_ms: minutes(22), end_ms: minutes(115), step_ms: grid.step_ms };
        for case in cases::all(Aim { at: grid.at, newer: self.newer }) {
            self.instant(&case, minutes(74))?;
            self.instant(&case, minutes(103))?;
            if case.in_range {
                self.range(&case, &range)?;
            }
        }
        Ok(())
    }

    fn instant(&mut self, case: &Case, at_ms: i64) -> Result<()> {
        let answers =
            [&mut self.ours, &mut self.theirs].map(|server| api::query(&mut server.client, &case.expr, at_ms));
        self.judge(case, &format!("at {}", seconds(at_ms)), answers, case.order)
    }

    fn range(&mut self, case: &Case, range: &Range) -> Result<()> {
        let answers =
            [&mut self.ours, &mut self.theirs].map(|server| api::query_range(&mut server.client, &case.expr, range));
        let [start, end, step] = [range.start_ms, range.end_ms, range.step_ms].map(seconds);
        self.judge(case, &format!("start={start} end={end} step={step}"), answers, Order::Free)
    }

    fn judge(&mut self, case: &Case, when: &str, answers: [Result<Annotated>; 2], order: Order) -> Result<()> {
        self.ours.process.ensure_running()?;
        let why = match &answers {
            [Ok(ours), Ok(theirs)] => compare::difference(&ours.answer, &theirs.answer, order)
                .or_else(|| self.newer.then(|| other_annotations(ours, theirs)).flatten()),
            _ => Some("no answer".to_string()),
        };
        if let Some(why) = why {
            let [ours, theirs] = answers.each_ref().map(excerpt);
            self.failures.push(format!("{} {when}\n  {why}\n  ours:   {ours}\n  theirs: {theirs}", case.expr));
        }
        self.compared += 1;
        let with_content = matches!(&answers[1], Ok(theirs) if !theirs.answer.is_empty());
        *self.with_content.entry(case.feature).or_default() += usize::from(with_content);
        Ok(())
    }

    fn verdict(&self) -> Result<()> {
        let (total, features) = (self.compared, self.with_content.len());
        let with_content: usize = self.with_content.values().sum();
        eprintln!(
            "agree: {total} queries of {features} features, {with_content} with an answer that is not empty, {} answered \
             otherwise",
            self.failures.len()
        );
        for failure in self.failures.iter().take(40) {
            eprintln!("{failure}");
        }
        ensure!(self.failures.is_empty(), "{} of {total} queries are answered otherwise", self.failures.len());
        ensure!(with_content >= QUERIES_MIN, "only {with_content} queries have an answer that is not empty");
        for (feature, count) in &self.with_content {
            ensure!(*count >= QUERIES_PER_FEATURE_MIN, "only {count} queries of {feature}");
        }
        Ok(())
    }
}

fn other_annotations(ours: &Annotated, theirs: &Annotated) -> Option<String> {
    let [a, b] = [ours, theirs]
        .map(|one| one.annotations.iter().map(|annotation| compare::without_count(annotation)).collect::<Vec<_>>());
    (a != b).then(|| format!("other annotations: {a:?} and {b:?}"))
}

fn excerpt(answer: &Result<Annotated>) -> String {
    let text = match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(e) => format!("{e:#}"),
    };
    text.chars().take(400).collect()
}
