//! What was measured: kept, written as JSON lines while the run goes on, and printed as one Markdown table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::system::{Kind, System};

/// The unit of a measurement; decides how the table prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Samples per second of CPU.
    #[serde(rename = "samples/cpu-s")]
    SamplesPerCpuSecond,
    /// Samples per second of wall time.
    #[serde(rename = "samples/s")]
    SamplesPerSecond,
    /// Microseconds of CPU per sample.
    #[serde(rename = "cpu-us/sample")]
    CpuMicrosPerSample,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// A number or a ratio.
    #[serde(rename = "")]
    Number,
}

/// One line of the results file.
#[derive(Debug, Serialize)]
struct Line<'a> {
    run: usize,
    system: &'static str,
    version: &'a str,
    year: &'a str,
    phase: &'static str,
    metric: &'a str,
    value: f64,
    unit: Unit,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    phase: &'static str,
    metric: String,
    unit: Unit,
    /// The value of each run.
    values: BTreeMap<Kind, Vec<f64>>,
}

/// All measurements so far.
#[derive(Debug)]
pub struct Report {
    file: File,
    rows: Vec<Row>,
    /// What went wrong without ending the run: answers that differ, phases that failed.
    pub failures: Vec<String>,
}

impl Report {
    /// A report that appends to this file.
    pub fn create(path: &Path) -> Result<Report> {
        let file = File::options().create(true).append(true).open(path);
        Ok(Report {
            file: file.with_context(|| format!("open {}", path.display()))?,
            rows: Vec::new(),
            failures: Vec::new(),
        })
    }

    /// Notes one number.
    pub fn note(
        &mut self,
        run: usize,
        system: &System,
        (phase, metric): (&'static str, &str),
        value: f64,
        unit: Unit,
    ) -> Result<()> {
        let (version, year) = (system.version.as_str(), system.year.as_str());
        let line = Line { run, system: system.kind.id(), version, year, phase, metric, value, unit };
        writeln!(self.file, "{}", serde_json::to_string(&line)?).context("write a result")?;
        let known = self.rows.iter().position(|row| row.phase == phase && row.metric == metric);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { phase, metric: metric.to_string(), unit, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[index].values.entry(system.kind).or_default().push(value);
        Ok(())
    }

    /// The median over the runs of a number.
    pub fn median(&self, phase: &str, metric: &str, kind: Kind) -> Option<f64> {
        self.row(phase, metric).and_then(|row| row.values.get(&kind)).map(|values| median(values))
    }

    /// The median over the runs of the ratio between two systems in one run.
    pub fn median_ratio(&self, phase: &str, metric: &str, kind: Kind, peer: Kind) -> Option<f64> {
        self.row(phase, metric).and_then(|row| row.ratio(kind, peer))
    }

    /// The table: a line per number, a column per system, and the ratio of the first system to each other.
    pub fn table(&self, systems: &[System]) -> String {
        let Some((first, others)) = systems.split_first() else { return String::new() };
        let mut out = String::from("| |");
        systems.iter().for_each(|system| out.push_str(&format!(" {} |", system.title())));
        others.iter().for_each(|peer| out.push_str(&format!(" {} / {} |", first.kind.id(), peer.kind.id())));
        out.push_str("\n|---|");
        out.push_str(&"---:|".repeat(systems.len() + others.len()));
        for row in &self.rows {
            out.push_str(&format!("\n| {}: {} |", row.phase, row.metric));
            for system in systems {
                let value = row.values.get(&system.kind).map(|values| human(median(values), row.unit));
                out.push_str(&format!(" {} |", value.unwrap_or_default()));
            }
            for peer in others {
                let ratio = row.ratio(first.kind, peer.kind).map(|ratio| format!("{ratio:.2}"));
                out.push_str(&format!(" {} |", ratio.unwrap_or_default()));
            }
        }
        out.push('\n');
        out
    }

    fn row(&self, phase: &str, metric: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.phase == phase && row.metric == metric)
    }
}

impl Row {
    fn ratio(&self, kind: Kind, peer: Kind) -> Option<f64> {
        let (ours, theirs) = (self.values.get(&kind)?, self.values.get(&peer)?);
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Some(median(&ratios)).filter(|ratio| ratio.is_finite())
    }
}

/// The middle value, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

/// A number with its unit and as many digits as mean something.
fn human(value: f64, unit: Unit) -> String {
    match unit {
        Unit::SamplesPerCpuSecond | Unit::SamplesPerSecond => format!("{} /s", thousands(value)),
        Unit::CpuMicrosPerSample => format!("{value:.3} µs"),
        Unit::Bytes if value < 100.0 => format!("{value:.2} B"),
        Unit::Bytes => format!("{} B", thousands(value)),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Millis if value < 10.0 => format!("{value:.2} ms"),
        Unit::Millis => format!("{value:.0} ms"),
        Unit::Number if value.fract() == 0.0 => thousands(value),
        Unit::Number => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && digits.as_bytes()[index - 1].is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(kind: Kind) -> System {
        System { kind, binary: "x".into(), version: "1.2".into(), year: "2026".into() }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_runs_ratios() {
        let path = std::env::temp_dir().join(format!("benches-report-{}", std::process::id()));
        let mut report = Report::create(&path).unwrap();
        let (ours, theirs) = (system(Kind::Narthex), system(Kind::Prometheus));
        for (run, (a, b)) in [(100.0, 50.0), (90.0, 30.0), (10.0, 10.0)].into_iter().enumerate() {
            report.note(run, &ours, ("write1", "speed"), a, Unit::SamplesPerCpuSecond).unwrap();
            report.note(run, &theirs, ("write1", "speed"), b, Unit::SamplesPerCpuSecond).unwrap();
        }
        assert_eq!(report.median("write1", "speed", Kind::Narthex), Some(90.0));
        assert_eq!(report.median_ratio("write1", "speed", Kind::Narthex, Kind::Prometheus), Some(2.0));
        assert_eq!(report.median_ratio("write1", "speed", Kind::Narthex, Kind::VictoriaMetrics), None);
        let table = report.table(&[ours, theirs]);
        assert!(table.ends_with("| write1: speed | 90 /s | 30 /s | 2.00 |\n"), "{table}");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 6);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0.0, 999.0, 1000.0, 1234567.4, -1000.0].map(thousands),
            ["0", "999", "1,000", "1,234,567", "-1,000"]
        );
    }
}
