//! Which samples a ledger writes: all of them follow from the plan, so that nothing but outcomes has to be recorded.
//!
//! Connection `c` sends requests 0, 1, 2, …; request `r` holds, of each of the connection's series, the numbers
//! `r * samples .. (r + 1) * samples`. A value says series and number, so that a sample in a wrong place is known as such.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::random::Random;
use serde::{Deserialize, Serialize};

/// The metric that ledgers write.
pub const METRIC: &str = "chaos_ledger";
/// The file of the plan within a ledger's folder.
pub const PLAN_FILE: &str = "plan.json";

/// Numbers per series have so many bits; a value has the series above them.
const NUMBER_BITS: u32 = 24;
/// So that values are whole numbers that a float holds exactly, and keep to 15 digits.
const SERIES_MAX: u64 = 1 << 20;

/// What a ledger writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Label `run` of every series, which tells ledgers apart.
    pub run: String,
    /// Decides all that is arbitrary.
    pub seed: u64,
    /// Connections, each with series of its own.
    pub connections: u64,
    /// Series of each connection.
    pub series: u64,
    /// Samples of each series in a request.
    pub samples: u64,
    /// Samples lie after this, in milliseconds.
    pub base_ms: i64,
    /// Between the samples of a series.
    pub step_ms: i64,
}

/// One of the plan's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Who writes it.
    pub connection: u64,
    /// Number within the connection.
    pub index: u64,
}

impl Plan {
    /// Fails where values could not be told apart or times not be kept.
    pub fn check(&self) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ensure!(!self.run.is_empty() && self.run.chars().all(is_plain), "run: letters, digits, - and _");
        ensure!(
            self.connections > 0 && self.series > 0 && self.samples > 0,
            "connections, series, samples: at least 1"
        );
        let series = self.connections.checked_mul(self.series).filter(|series| *series <= SERIES_MAX);
        ensure!(series.is_some(), "more than {SERIES_MAX} series");
        ensure!(self.samples <= 1 << NUMBER_BITS, "more than {} samples in a request", 1 << NUMBER_BITS);
        ensure!((10..=3_600_000).contains(&self.step_ms), "step: from 10 ms to 1 h");
        ensure!((1 << 35..1 << 42).contains(&self.base_ms), "the base lies before 1971 or after 2109");
        Ok(())
    }

    /// Reads the plan of a ledger's folder.
    pub fn load(folder: &Path) -> Result<Plan> {
        let file = folder.join(PLAN_FILE);
        let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let plan: Plan = serde_json::from_slice(&bytes).with_context(|| format!("{}", file.display()))?;
        plan.check()?;
        Ok(plan)
    }

    /// All series of a connection.
    pub fn series_of(&self, connection: u64) -> impl Iterator<Item = SeriesKey> + use<> {
        (0..self.series).map(move |index| SeriesKey { connection, index })
    }

    /// Labels of a series, sorted by name.
    pub fn labels(&self, key: SeriesKey) -> Vec<(String, String)> {
        let labels = [
            ("__name__", METRIC.to_string()),
            ("connection", key.connection.to_string()),
            ("run", self.run.clone()),
            ("series", key.index.to_string()),
        ];
        labels.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    /// The series that has these labels; none where no series of the plan has exactly these.
    pub fn find<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Option<SeriesKey> {
        let (mut connection, mut index, mut count) = (None, None, 0);
        for (name, value) in labels {
            count += 1;
            match name {
                "__name__" if value == METRIC => {}
                "run" if value == self.run => {}
                "connection" => {
                    connection = value.parse().ok().filter(|c| *c < self.connections && is_plain(*c, value))
                }
                "series" => index = value.parse().ok().filter(|i| *i < self.series && is_plain(*i, value)),
                _ => return None,
            }
        }
        let key = SeriesKey { connection: connection?, index: index? };
        (count == 4).then_some(key)
    }

    /// The time of a number, in milliseconds. Never a multiple of the step away from the base, so that no sample lies on the
    /// edge of a window that begins at one.
    pub fn time_of(&self, key: SeriesKey, number: u64) -> i64 {
        self.base_ms + self.shift(key) + self.step_ms * i64::try_from(number).expect("numbers have 24 bits")
    }

    /// The number whose time this is.
    pub fn number_at(&self, key: SeriesKey, at_ms: i64) -> Option<u64> {
        let distance = at_ms.checked_sub(self.base_ms + self.shift(key))?;
        let number = u64::try_from(distance).ok()? / self.step_ms.unsigned_abs();
        (distance % self.step_ms == 0 && number < Plan::number_count()).then_some(number)
    }

    /// The value of a number.
    pub fn value_of(&self, key: SeriesKey, number: u64) -> f64 {
        (((key.connection * self.series + key.index) << NUMBER_BITS) + number) as f64
    }

    /// The number whose value this is.
    pub fn number_of(&self, key: SeriesKey, value: f64) -> Option<u64> {
        let first = self.value_of(key, 0);
        let distance = value - first;
        let whole = distance >= 0.0 && distance.fract() == 0.0 && distance < Plan::number_count() as f64;
        whole.then_some(distance as u64)
    }

    /// The numbers of a request.
    pub fn numbers_of(&self, request: u64) -> std::ops::Range<u64> {
        request * self.samples..(request + 1) * self.samples
    }

    /// So many requests a connection can send.
    pub fn requests_max(&self) -> u64 {
        Plan::number_count() / self.samples
    }

    /// Samples in a request.
    pub fn request_samples(&self) -> u64 {
        self.series * self.samples
    }

    fn number_count() -> u64 {
        1 << NUMBER_BITS
    }

    /// Where within the step a series' samples lie: from 1 to the step, both excluded at the base.
    fn shift(&self, key: SeriesKey) -> i64 {
        let mix = self.seed ^ (key.connection << 32) ^ key.index;
        let within = Random::new(mix).below(self.step_ms.unsigned_abs() - 1);
        1 + i64::try_from(within).expect("below the step")
    }
}

/// Whether the text is how we write the number: `07` is another label than `7`.
fn is_plain(number: u64, text: &str) -> bool {
    number.to_string() == text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small plan.
    pub(crate) fn plan() -> Plan {
        let run = "test".to_string();
        Plan { run, seed: 7, connections: 2, series: 3, samples: 2, base_ms: 1_700_000_000_000, step_ms: 100 }
    }

    #[test]
    fn each_sample_is_known_by_its_time_and_by_its_value_and_by_those_of_no_other() {
        let plan = plan();
        let mut values = std::collections::HashSet::new();
        for key in plan.series_of(0).chain(plan.series_of(1)) {
            for number in 0..50 {
                let (at, value) = (plan.time_of(key, number), plan.value_of(key, number));
                assert_eq!(plan.number_at(key, at), Some(number));
                assert_eq!(plan.number_at(key, at + 1), None);
                assert_eq!(plan.number_of(key, value), Some(number));
                assert_eq!(plan.number_of(key, value + 0.5), None);
                assert_ne!((at - plan.base_ms) % plan.step_ms, 0, "a sample on the edge of a window");
                assert!(values.insert(value.to_bits()));
            }
            assert_eq!(plan.number_at(key, plan.base_ms), None);
            assert_eq!(plan.number_of(key, f64::NAN), None);
        }
    }

    #[test]
    fn a_series_is_known_by_exactly_its_labels() {
        let plan = plan();
        let key = SeriesKey { connection: 1, index: 2 };
        let labels = plan.labels(key);
        let pairs = || labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        assert_eq!(plan.find(pairs()), Some(key));
        assert_eq!(plan.find(pairs().take(3)), None);
        assert_eq!(plan.find(pairs().chain([("more", "x")])), None);
        for (name, value) in [("connection", "2"), ("connection", "01"), ("series", "3"), ("run", "other")] {
            let other = pairs().map(|(n, v)| if n == name { (n, value) } else { (n, v) });
            assert_eq!(plan.find(other), None, "{name}={value}");
        }
    }

    #[test]
    fn plans_that_could_not_be_told_apart_are_refused() {
        plan().check().unwrap();
        for bad in [
            Plan { run: "a\"b".to_string(), ..plan() },
            Plan { connections: 0, ..plan() },
            Plan { series: 1 << 20, ..plan() },
            Plan { samples: 1 << 25, ..plan() },
            Plan { step_ms: 5, ..plan() },
            Plan { base_ms: 0, ..plan() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
