//! Reads a fleet back over the query API and compares it with what the seed says.
//!
//! After remote write every series is compared by the count and the sum of its samples, so that every sample takes part
//! while the answer stays small; of some targets all samples are read too, with their times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::answer::{ask_instant, close, key, parse};
use crate::fleet::{Fleet, Generation, Template};
use crate::http::Client;

mod scraped;

pub use scraped::{ScrapedWindow, scraped};

/// Relative error of a sum, which systems may add up in another order.
const SUM_ERROR: f64 = 1e-9;
/// Relative error of a value: VictoriaMetrics stores decimals, and may be off in the last binary digit.
const VALUE_ERROR: f64 = 1e-15;
/// Mismatches that are described; the rest is counted.
const DESCRIBED_MAX: usize = 5;
/// Reading back two hours of a metric of fifty thousand series takes a while.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);

/// What remote write stored.
#[derive(Clone, Debug)]
pub struct Written {
    /// host:port.
    pub address: String,
    /// Time of the first sample of every series.
    pub start_ms: i64,
    /// Time between two samples.
    pub step_ms: i64,
    /// Samples per series.
    pub steps: u64,
    /// Number of targets, spread over the fleet, of which each sample is compared.
    pub raw_targets: usize,
}

/// The outcome.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Series compared.
    pub series: u64,
    /// Samples that took part in a count and a sum.
    pub samples: u64,
    /// Samples compared one by one.
    pub raw_samples: u64,
    /// Series that differ.
    pub mismatches: u64,
    /// The first of them.
    pub described: Vec<String>,
}

impl Verdict {
    fn mismatch(&mut self, describe: impl FnOnce() -> String) {
        self.mismatches += 1;
        if self.described.len() < DESCRIBED_MAX {
            self.described.push(describe());
        }
    }

    /// Fails where something differs, or where nothing was compared.
    pub fn ensure_equal(&self) -> Result<()> {
        ensure!(self.mismatches == 0, "{} series differ, among them {:#?}", self.mismatches, self.described);
        ensure!(self.series > 0, "nothing was compared");
        Ok(())
    }
}

impl Written {
    fn end_ms(&self) -> i64 {
        self.start_ms + (self.steps as i64 - 1) * self.step_ms
    }

    /// A range that ends with the last sample and holds the first, whether its left end belongs to it or not.
    fn span(&self) -> String {
        format!("{}ms", self.steps as i64 * self.step_ms)
    }

    /// The series that one place of a target had, one after the other.
    fn lives<'a>(&self, fleet: &'a Fleet, target: usize, template: &'a Template) -> Vec<Life<'a>> {
        let generation_at =
            |step: u64| fleet.generation(target, template.pod, self.start_ms + step as i64 * self.step_ms);
        let life = |generation, from, to| Life { fleet, target, template, generation, from, to };
        let first = generation_at(0);
        if first == generation_at(self.steps - 1) {
            return vec![life(first, 0, self.steps)];
        }
        let mut lives = vec![life(first, 0, 0)];
        for step in 0..self.steps {
            let generation = generation_at(step);
            match lives.last_mut() {
                Some(last) if last.generation == generation => last.to = step + 1,
                _ => lives.push(life(generation, step, step + 1)),
            }
        }
        lives
    }
}

/// The samples of one series: one place of a target, in one generation of its pod, in the steps `[from, to)`.
struct Life<'a> {
    fleet: &'a Fleet,
    target: usize,
    template: &'a Template,
    generation: Generation,
    from: u64,
    to: u64,
}

impl Life<'_> {
    fn key(&self) -> String {
        let labels = self.fleet.labels(self.target, self.template, self.generation);
        key(labels.iter().map(|(name, value)| (*name, value.as_str())))
    }

    fn samples(&self, written: &Written) -> impl Iterator<Item = (i64, f64)> {
        let (stream, start_ms, step_ms) =
            (self.fleet.stream(self.target, self.template), written.start_ms, written.step_ms);
        (self.from..self.to).map(move |step| {
            let at_ms = start_ms + step as i64 * step_ms;
            (at_ms, self.fleet.value(self.template, stream, self.generation, at_ms))
        })
    }
}

/// Compares everything that remote write stored.
pub fn written(fleet: &Fleet, written: &Written) -> Result<Verdict> {
    let mut client = Client::new(&written.address, ANSWER_TIME_MAX);
    let mut verdict = Verdict::default();
    let names: BTreeSet<&str> = fleet.templates().iter().map(|template| template.name.as_str()).collect();
    for name in names {
        metric(fleet, written, &mut client, name, &mut verdict)?;
    }
    for target in spread(fleet, written.raw_targets) {
        target_samples(fleet, written, &mut client, target, &mut verdict)?;
    }
    Ok(verdict)
}

/// Compares counts and sums of all series of one metric.
fn metric(fleet: &Fleet, written: &Written, client: &mut Client, name: &str, verdict: &mut Verdict) -> Result<()> {
    let mut expected = HashMap::new();
    for target in 0..fleet.targets() {
        for template in fleet.templates().iter().filter(|template| template.name == name) {
            for life in written.lives(fleet, target, template) {
                let sum = life.samples(written).map(|sample| sample.1).sum::<f64>();
                expected.insert(life.key(), [(life.to - life.from) as f64, sum]);
                verdict.series += 1;
                verdict.samples += life.to - life.from;
            }
        }
    }
    for (index, function) in ["count_over_time", "sum_over_time"].into_iter().enumerate() {
        let query = format!("{function}({name}[{}])", written.span());
        let body = ask_instant(client, &query, written.end_ms())?;
        let series = parse(&body)?;
        if series.len() != expected.len() {
            verdict.mismatch(|| format!("{query}: {} series, expected {}", series.len(), expected.len()));
        }
        for series in series {
            let got = series.samples()?.first().map(|sample| sample.1);
            let want = expected.get(&key_of(&series.metric)).map(|numbers| numbers[index]);
            if !matches!((got, want), (Some(got), Some(want)) if close(got, want, SUM_ERROR)) {
                verdict.mismatch(|| format!("{query} {:?}: {got:?}, expected {want:?}", series.metric));
            }
        }
    }
    Ok(())
}

/// Compares each sample of one target.
fn target_samples(
    fleet: &Fleet,
    written: &Written,
    client: &mut Client,
    target: usize,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut expected = HashMap::new();
    for template in fleet.templates() {
        for life in written.lives(fleet, target, template) {
            expected.insert((template.name.clone(), life.key()), life);
        }
    }
    let query = format!("{{instance=\"{}\"}}[{}]", fleet.instance(target), written.span());
    let body = ask_instant(client, &query, written.end_ms())?;
    for series in parse(&body)? {
        let name = series.metric.get("__name__").cloned().unwrap_or_default();
        let samples = series.samples()?;
        verdict.raw_samples += samples.len() as u64;
        let Some(life) = expected.remove(&(name, key_of(&series.metric))) else {
            verdict.mismatch(|| format!("never written: {:?}", series.metric));
            continue;
        };
        let count = (life.to - life.from) as usize;
        let equal = |(got, want): (&(i64, f64), (i64, f64))| got.0 == want.0 && close(got.1, want.1, VALUE_ERROR);
        if samples.len() != count || !samples.iter().zip(life.samples(written)).all(equal) {
            let first = samples.iter().zip(life.samples(written)).find(|pair| !equal(*pair));
            verdict.mismatch(|| {
                format!("{:?}: {} samples, expected {count}; first difference {first:?}", series.metric, samples.len())
            });
        }
    }
    for (name, key) in expected.keys() {
        verdict.mismatch(|| format!("not there: {name} {key:?}"));
    }
    Ok(())
}

/// Targets spread evenly over the fleet.
fn spread(fleet: &Fleet, count: usize) -> impl Iterator<Item = usize> {
    let (targets, count) = (fleet.targets(), count.min(fleet.targets()));
    (0..count).map(move |index| index * targets / count)
}

fn key_of(metric: &BTreeMap<String, String>) -> String {
    key(metric.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

#[cfg(test)]
mod tests;
