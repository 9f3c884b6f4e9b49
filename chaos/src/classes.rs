//! What is there, sorted by what should be: each sample of a ledger is there once, or lost, duplicated, altered, phantom, or
//! missing with a warning.

use std::collections::HashMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, SeriesKey};
use crate::record::{Account, Outcome};

/// Strays are remembered until all has been seen; more than so many are counted as phantoms at once.
const STRAYS_MAX: usize = 1_000_000;

/// Counts of one pass, and the first example of each class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The ledger's name.
    pub run: String,
    /// `promql` or `blocks`.
    pub pass: String,
    /// Series of the plan.
    pub series: u64,
    /// Samples that may have been sent.
    pub sent: u64,
    /// Samples that were acknowledged, within what the pass looked at.
    pub acked: u64,
    /// Samples that were refused.
    pub refused: u64,
    /// Samples that were given up.
    pub given_up: u64,
    /// Acknowledged and there.
    pub found: u64,
    /// Not acknowledged and there all the same, as is allowed.
    pub found_unacked: u64,
    /// Acknowledged, absent, and nothing said so.
    pub lost: u64,
    /// There again.
    pub duplicated: u64,
    /// There with another value, or at another time.
    pub altered: u64,
    /// Never sent.
    pub phantom: u64,
    /// Acknowledged and absent, and the answer said so.
    pub warned: u64,
    /// The first of each class.
    pub examples: std::collections::BTreeMap<String, String>,
    /// When the first and the last lost sample were acknowledged, in milliseconds since the epoch.
    pub lost_acked_at: Option<(i64, i64)>,
}

impl Summary {
    /// Whether what was promised did not hold. Samples missing with a warning break no promise.
    pub fn is_violated(&self) -> bool {
        self.lost + self.duplicated + self.altered + self.phantom > 0
    }

    /// The first of a class.
    fn note(&mut self, class: &str, example: impl FnOnce() -> String) {
        if !self.examples.contains_key(class) {
            self.examples.insert(class.to_string(), example());
        }
    }
}

/// What a pass can say of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What was acknowledged must be there.
    Complete,
    /// An answer about it came with this warning.
    Warned(String),
    /// The pass does not look there.
    Outside,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Present,
    Altered,
}

/// Sorts samples as they are found.
pub struct Sorter<'a> {
    plan: &'a Plan,
    /// By connection.
    accounts: &'a [Account],
    states: HashMap<SeriesKey, Vec<State>>,
    /// At times at which nothing was sent.
    strays: Vec<(SeriesKey, i64, f64)>,
    summary: Summary,
}

impl<'a> Sorter<'a> {
    /// Reads the accounts of a folder.
    pub fn accounts(plan: &Plan, folder: &std::path::Path) -> Result<Vec<Account>> {
        (0..plan.connections).map(|connection| Account::load(folder, connection)).collect()
    }

    /// Nothing seen yet.
    pub fn new(plan: &'a Plan, accounts: &'a [Account], pass: &str) -> Sorter<'a> {
        let mut summary = Summary {
            run: plan.run.clone(),
            pass: pass.to_string(),
            series: plan.connections * plan.series,
            ..Summary::default()
        };
        let mut states = HashMap::new();
        for (connection, account) in accounts.iter().enumerate() {
            let numbers = account.requests_sent() * plan.samples;
            summary.sent += numbers * plan.series;
            for record in &account.requests {
                match record.outcome {
                    Outcome::Refused(_) => summary.refused += plan.request_samples(),
                    Outcome::GivenUp => summary.given_up += plan.request_samples(),
                    Outcome::Acked | Outcome::Finished => {}
                }
            }
            let numbers = usize::try_from(numbers).expect("24 bits");
            states.extend(plan.series_of(connection as u64).map(|key| (key, vec![State::Absent; numbers])));
        }
        Sorter { plan, accounts, states, strays: Vec::new(), summary }
    }

    /// A sample that is there.
    pub fn see(&mut self, key: SeriesKey, at_ms: i64, value: f64) {
        let plan = self.plan;
        let Some(number) = plan.number_at(key, at_ms).filter(|number| self.is_sent(key, *number)) else {
            if self.strays.len() < STRAYS_MAX {
                self.strays.push((key, at_ms, value));
            } else {
                self.summary.phantom += 1;
            }
            return;
        };
        let expected = plan.value_of(key, number);
        let state = self.state(key, number);
        if value.to_bits() != expected.to_bits() {
            if *state == State::Absent {
                *state = State::Altered;
            }
            self.summary.altered += 1;
            self.summary.note("altered", || format!("{} is {value}", self::name(plan, key, number)));
        } else if *state == State::Present {
            self.summary.duplicated += 1;
            self.summary.note("duplicated", || format!("{} is there twice", self::name(plan, key, number)));
        } else {
            *state = State::Present;
        }
    }

    /// A sample of a series that nobody wrote.
    pub fn see_unknown(&mut self, labels: &str, at_ms: i64, value: f64) {
        self.summary.phantom += 1;
        self.summary.note("phantom", || format!("{labels} has {value} at {at_ms}: there is no such series"));
    }

    /// All has been seen: what is missing is sorted by what is known of its instant.
    pub fn finish(mut self, scope: &dyn Fn(SeriesKey, i64) -> Scope) -> Summary {
        for (key, at_ms, value) in std::mem::take(&mut self.strays) {
            self.sort_stray(key, at_ms, value);
        }
        for (connection, account) in self.accounts.iter().enumerate() {
            for key in self.plan.series_of(connection as u64) {
                self.sort_missing(key, account, scope);
            }
        }
        self.summary
    }

    /// A sample at a time at which nothing was sent: one that we know by its value, or none.
    fn sort_stray(&mut self, key: SeriesKey, at_ms: i64, value: f64) {
        let plan = self.plan;
        let number = plan.number_of(key, value).filter(|number| self.is_sent(key, *number));
        let Some(number) = number else {
            self.summary.phantom += 1;
            self.summary.note("phantom", || format!("{} has {value} at {at_ms}: never sent", labels(plan, key)));
            return;
        };
        let state = self.state(key, number);
        if *state == State::Absent {
            *state = State::Altered;
            self.summary.altered += 1;
            self.summary.note("altered", || format!("{} lies at {at_ms}", name(plan, key, number)));
        } else {
            self.summary.duplicated += 1;
            self.summary.note("duplicated", || format!("{} is there again at {at_ms}", name(plan, key, number)));
        }
    }

    fn sort_missing(&mut self, key: SeriesKey, account: &Account, scope: &dyn Fn(SeriesKey, i64) -> Scope) {
        let plan = self.plan;
        let states = self.states.get(&key).expect("made for all series");
        for (number, state) in states.iter().enumerate() {
            let number = number as u64;
            let Some(record) = account.acked(number / plan.samples) else {
                self.summary.found_unacked += u64::from(*state == State::Present);
                continue;
            };
            let scope = scope(key, plan.time_of(key, number));
            if scope == Scope::Outside {
                continue;
            }
            self.summary.acked += 1;
            let told = || {
                let (request, at_ms, attempts) = (record.request, record.at_ms, record.attempts);
                let name = name(plan, key, number);
                format!("{name} is absent; request {request}, acknowledged at {at_ms}, sent {attempts} times")
            };
            match (state, scope) {
                (State::Present, _) => self.summary.found += 1,
                // Counted where it was seen.
                (State::Altered, _) => {}
                (State::Absent, Scope::Warned(warning)) => {
                    self.summary.warned += 1;
                    self.summary.note("warned", || format!("{}; warning: {warning}", told()));
                }
                (State::Absent, Scope::Complete | Scope::Outside) => {
                    self.summary.lost += 1;
                    self.summary.note("lost", told);
                    let (first, last) = self.summary.lost_acked_at.unwrap_or((record.at_ms, record.at_ms));
                    self.summary.lost_acked_at = Some((first.min(record.at_ms), last.max(record.at_ms)));
                }
            }
        }
    }

    fn is_sent(&self, key: SeriesKey, number: u64) -> bool {
        let account = usize::try_from(key.connection).ok().and_then(|connection| self.accounts.get(connection));
        account.is_some_and(|account| account.may_be_sent(number / self.plan.samples))
    }

    fn state(&mut self, key: SeriesKey, number: u64) -> &mut State {
        let states = self.states.get_mut(&key).expect("made for all series");
        &mut states[usize::try_from(number).expect("24 bits")]
    }
}

fn labels(plan: &Plan, key: SeriesKey) -> String {
    let SeriesKey { connection, index } = key;
    format!("{}{{connection=\"{connection}\",run=\"{}\",series=\"{index}\"}}", crate::plan::METRIC, plan.run)
}

fn name(plan: &Plan, key: SeriesKey, number: u64) -> String {
    let (at_ms, value) = (plan.time_of(key, number), plan.value_of(key, number));
    format!("{} number {number} ({value} at {at_ms})", labels(plan, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;
    use crate::record::Record;

    /// Requests 0 and 1 acknowledged, 2 refused, 3 given up, 4 perhaps sent; the other connection has sent nothing.
    fn accounts() -> Vec<Account> {
        let outcomes = [Outcome::Acked, Outcome::Acked, Outcome::Refused(400), Outcome::GivenUp];
        let record = |(request, outcome)| Record { outcome, attempts: 1, request: request as u64, at_ms: 5 };
        let requests = outcomes.into_iter().enumerate().map(record).collect();
        let nothing = Account { finished: true, ..Account::default() };
        vec![Account { requests, ..Account::default() }, nothing]
    }

    const KEY: SeriesKey = SeriesKey { connection: 0, index: 1 };

    /// All acknowledged samples are there, but for what `change` does to the list of those of series 1.
    fn check(change: impl FnOnce(&Plan, &mut Vec<(i64, f64)>), expected: [u64; 5], example: &str) {
        let (plan, accounts) = (plan(), accounts());
        let mut sorter = Sorter::new(&plan, &accounts, "test");
        let sample = |key, number| (plan.time_of(key, number), plan.value_of(key, number));
        for key in plan.series_of(0).filter(|key| *key != KEY) {
            (0..4).map(|number| sample(key, number)).for_each(|(at, value)| sorter.see(key, at, value));
        }
        let mut samples: Vec<(i64, f64)> = (0..4).map(|number| sample(KEY, number)).collect();
        change(&plan, &mut samples);
        samples.iter().for_each(|(at, value)| sorter.see(KEY, *at, *value));
        // Number 3 lies under a warning.
        let warned_at = plan.time_of(KEY, 3);
        let scope = |_, at| if at == warned_at { Scope::Warned("half of it".to_string()) } else { Scope::Complete };
        let summary = sorter.finish(&scope);
        let counts = [summary.lost, summary.duplicated, summary.altered, summary.phantom, summary.warned];
        assert_eq!(counts, expected, "{summary:?}");
        assert_eq!(summary.is_violated(), expected[..4].iter().sum::<u64>() > 0);
        assert_eq!((summary.acked, summary.refused, summary.given_up, summary.sent), (12, 6, 6, 30));
        assert!(summary.examples.values().any(|text| text.contains(example)) || example.is_empty(), "{summary:?}");
    }

    fn remove(all: &mut Vec<(i64, f64)>, index: usize) {
        all.remove(index);
    }

    #[test]
    fn every_sample_has_its_class() {
        check(|_, _| (), [0; 5], "");
        check(|_, all| remove(all, 1), [1, 0, 0, 0, 0], "number 1 (16777217 at 1700000000");
        check(|_, all| remove(all, 3), [0, 0, 0, 0, 1], "warning: half of it");
        check(|_, all| all.push(all[2]), [0, 1, 0, 0, 0], "number 2 (16777218");
        check(|_, all| all.push((all[2].0 + 1, all[2].1)), [0, 1, 0, 0, 0], "is there again at 1700000000");
        check(|_, all| all[0].1 += 1.0, [0, 0, 1, 0, 0], "is 16777217");
        check(|_, all| all[0].1 = f64::NAN, [0, 0, 1, 0, 0], "is NaN");
        check(|_, all| all[0].0 += 1, [0, 0, 1, 0, 0], "lies at");
        check(|_, all| all.push((all[0].0 + 1, 0.5)), [0, 0, 0, 1, 0], "never sent");
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_and_what_was_not_sent_may_not() {
        let push = |numbers: std::ops::Range<u64>| {
            move |plan: &Plan, all: &mut Vec<(i64, f64)>| {
                all.extend(numbers.map(|number| (plan.time_of(KEY, number), plan.value_of(KEY, number))));
            }
        };
        check(push(4..10), [0; 5], "");
        check(push(4..11), [0, 0, 0, 1, 0], "never sent");
    }

    #[test]
    fn a_series_of_nobody_is_a_phantom() {
        let (plan, accounts) = (plan(), accounts());
        let mut sorter = Sorter::new(&plan, &accounts, "test");
        sorter.see_unknown("x", 1, 2.0);
        // A connection that has sent nothing.
        let key = SeriesKey { connection: 1, index: 0 };
        sorter.see(key, plan.time_of(key, 0), plan.value_of(key, 0));
        let summary = sorter.finish(&|_, _| Scope::Outside);
        assert_eq!((summary.phantom, summary.lost, summary.acked), (2, 0, 0));
    }
}
