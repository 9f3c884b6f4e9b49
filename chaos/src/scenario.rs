//! Scenario files: which processes there are, what is loaded, and what is done to them, step by step.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::topology::Topology;

/// A scenario. In texts of processes and steps `{NAME}` is the address (host:port) of a process, `{NAME.PORT}` that of its
/// further ports, `{via NAME}` and `{via NAME.PORT}` those of a proxy before them, `{NAME/}` its folder and `{folder}` the
/// process's own; `{}` stays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the row of the table says.
    pub title: String,
    /// Decides all that is arbitrary.
    pub seed: u64,
    /// Longer than this, and it has failed.
    pub limit_s: u64,
    /// What a violation means.
    #[serde(default)]
    pub expect: Expect,
    /// The process whose program and version the table names.
    pub system: String,
    /// By name.
    #[serde(default)]
    pub processes: BTreeMap<String, ProcessFile>,
    /// A cluster, whose nodes are processes besides.
    #[serde(default)]
    pub cluster: Option<Topology>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// What the verdict asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Nothing is lost, duplicated, altered, phantom or missing.
    #[default]
    Holds,
    /// As before, but samples may be missing with a warning, and some are.
    Warned,
    /// A row of the table, whatever it says: another system.
    Measured,
}

/// How a process is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessFile {
    /// Which program.
    pub program: Program,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is in `config.yml` in its folder.
    #[serde(default)]
    pub config: String,
    /// Other files in its folder.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Answers 200 when it is ready.
    pub ready: String,
}

/// Programs that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// Ours, in any role.
    Narthex,
    /// Debian's, or another that `NARTHEX_PROMETHEUS` names.
    Prometheus,
    /// Debian's.
    VictoriaMetrics,
}

/// A step.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Starts a process and waits until it is ready.
    Start(String),
    /// Starts all nodes of the cluster and waits until each is ready.
    StartCluster(Nothing),
    /// Starts a process.
    Launch(String),
    /// Waits until a process is ready.
    Ready(String),
    /// SIGKILL.
    Kill(String),
    /// SIGTERM; it must end in order.
    Stop(String),
    /// SIGSTOP.
    Pause(String),
    /// SIGCONT.
    Resume(String),
    /// Writes another configuration.
    Configure(Configure),
    /// POST to a path of a process, which must answer 2xx: `{NAME}/path`.
    Post(String),
    /// Starts the ledger; one in a scenario.
    Load(Load),
    /// Waits until the ledger has recorded so many more requests.
    Requests(Between),
    /// Waits for so many milliseconds.
    WaitMs(Between),
    /// Ends the ledger in order: after its bound, where it has one.
    EndLoad(EndLoad),
    /// The proxy before a port: `{via NAME}` drops everything, as a partition does.
    Stall(String),
    /// The proxy before a port closes connections.
    Refuse(String),
    /// The proxy before a port lets through again.
    Pass(String),
    /// Two processes do not hear each other, though each hears all others: the proxy before the gRPC port of each lets the bytes of
    /// the other wait.
    CutPair((String, String)),
    /// They hear each other again.
    MendPair((String, String)),
    /// The folder of a bucket is gone, and nothing can be made in its place.
    BucketDown(String),
    /// It is back.
    BucketUp(String),
    /// A folder is lost for good, as with its disk.
    Wipe(String),
    /// Waits until the readiness page of each ingester that runs says that it is repaired: its group is filled, and it has pulled
    /// what its peers have.
    Repaired(Nothing),
    /// Waits until all that was written lies in closed ranges of the bucket in this folder.
    Closed(String),
    /// Asks a process for all that was written.
    Reconcile(String),
    /// Reads the blocks of the bucket in this folder.
    Blocks(String),
    /// Steps, again and again.
    Repeat(Repeat),
}

/// A step without a word more: `{}`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// See [`Step::Configure`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configure {
    /// Whose.
    pub process: String,
    /// The new text.
    pub config: String,
}

/// A seeded number from `least` to `most`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// At least.
    pub least: u64,
    /// At most; `least` without it.
    pub most: Option<u64>,
}

/// See [`Step::EndLoad`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndLoad {
    /// Now.
    Now,
    /// When it has sent the requests of its bound.
    Bound,
}

/// What the ledger is started with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Addresses that take remote write.
    pub to: Vec<String>,
    /// See `chaos-ledger write --help` for all of these.
    #[serde(default = "four")]
    pub connections: u64,
    /// Series of each connection.
    #[serde(default = "fifty")]
    pub series: u64,
    /// Samples of each series in a request.
    #[serde(default = "one")]
    pub samples: u64,
    /// How far back the first samples lie.
    #[serde(default = "twenty_minutes")]
    pub age_s: u64,
    /// Between samples.
    #[serde(default = "hundred")]
    pub step_ms: u64,
    /// After each request.
    #[serde(default = "five")]
    pub pause_ms: u64,
    /// Requests of each connection.
    pub requests: Option<u64>,
    /// An answer may take so long.
    #[serde(default = "two_thousand")]
    pub timeout_ms: u64,
}

/// See [`Step::Repeat`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// So often.
    pub times: u64,
    /// These.
    pub steps: Vec<Step>,
}

fn one() -> u64 {
    1
}

fn four() -> u64 {
    4
}

fn five() -> u64 {
    5
}

fn fifty() -> u64 {
    50
}

fn hundred() -> u64 {
    100
}

fn twenty_minutes() -> u64 {
    1_200
}

fn two_thousand() -> u64 {
    2_000
}

impl Scenario {
    /// Reads a file and checks what can be checked before anything is started.
    pub fn load(file: &Path) -> Result<Scenario> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        Scenario::parse(&text).with_context(|| format!("{}", file.display()))
    }

    /// The same from the text.
    pub fn parse(text: &str) -> Result<Scenario> {
        let mut scenario: Scenario = serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{error}"))?;
        scenario.processes.extend(scenario.cluster.iter().flat_map(Topology::processes));
        ensure!(scenario.processes.contains_key(&scenario.system), "there is no process {}", scenario.system);
        ensure!((1..=3_600).contains(&scenario.limit_s), "limit_s: from 1 to 3600");
        let (mut loads, mut verdicts) = (0, 0);
        scenario.check(&scenario.steps, &mut loads, &mut verdicts)?;
        ensure!(loads == 1, "{loads} steps start the ledger, not one");
        ensure!(verdicts > 0, "nothing is reconciled");
        Ok(scenario)
    }

    fn check(&self, steps: &[Step], loads: &mut usize, verdicts: &mut usize) -> Result<()> {
        for step in steps {
            match step {
                Step::Start(name)
                | Step::Launch(name)
                | Step::Ready(name)
                | Step::Kill(name)
                | Step::Stop(name)
                | Step::Pause(name)
                | Step::Resume(name)
                | Step::Configure(Configure { process: name, .. }) => {
                    ensure!(self.processes.contains_key(name), "there is no process {name}");
                }
                Step::CutPair((one, other)) | Step::MendPair((one, other)) => {
                    ensure!(one != other, "{one} and {other} are one process");
                    for name in [one, other] {
                        ensure!(self.processes.contains_key(name), "there is no process {name}");
                    }
                }
                Step::Load(_) => *loads += 1,
                Step::Reconcile(_) | Step::Blocks(_) => *verdicts += 1,
                Step::Repeat(repeat) => {
                    ensure!(repeat.times <= 1_000, "more than 1000 times");
                    self.check(&repeat.steps, loads, verdicts)?;
                }
                Step::Requests(between) | Step::WaitMs(between) => {
                    ensure!(between.most.is_none_or(|most| most >= between.least), "most is below least");
                }
                Step::StartCluster(Nothing {}) => ensure!(self.cluster.is_some(), "there is no cluster"),
                Step::Post(_)
                | Step::EndLoad(_)
                | Step::Stall(_)
                | Step::Refuse(_)
                | Step::Pass(_)
                | Step::BucketDown(_)
                | Step::BucketUp(_)
                | Step::Wipe(_)
                | Step::Repaired(Nothing {})
                | Step::Closed(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "title: t\nseed: 1\nlimit_s: 9\nsystem: a\nprocesses:\n  a:\n    program: narthex\n    args: [all]\n    \
                        ready: /x\nsteps:\n- start: a\n- load: {to: [\"{a}\"]}\n- repeat:\n    times: 2\n    steps:\n    - \
                        requests: {least: 3, most: 4}\n    - kill: a\n- end_load: now\n- reconcile: \"{a}\"\n";

    fn check_refused(from: &str, to: &str, expected: &str) {
        assert!(GOOD.contains(from), "{from}");
        let error = format!("{:#}", Scenario::parse(&GOOD.replace(from, to)).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_scenario_is_read_and_what_it_cannot_mean_is_refused() {
        let scenario = Scenario::parse(GOOD).unwrap();
        assert_eq!((scenario.steps.len(), scenario.expect), (5, Expect::Holds));
        check_refused("kill: a", "kill: b", "there is no process b");
        check_refused("system: a", "system: b", "there is no process b");
        check_refused("kill: a", "tickle: a", "tickle");
        check_refused("kill: a", "cut_pair: [a, b]", "there is no process b");
        check_refused("kill: a", "mend_pair: [a, a]", "are one process");
        check_refused("least: 3", "least: 7", "most is below least");
        check_refused("- reconcile: \"{a}\"\n", "", "nothing is reconciled");
        check_refused("- load: {to: [\"{a}\"]}\n", "", "0 steps start the ledger");
        check_refused("limit_s: 9", "limit_s: 0", "limit_s");
    }

    #[test]
    fn the_scenarios_that_lie_here_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            Scenario::load(&entry.unwrap().path()).unwrap();
            count += 1;
        }
        assert!(count >= 6, "{count} scenarios");
    }
}
