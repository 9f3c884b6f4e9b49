//! The systems that are compared: where their programs are, how each is started, and what differs between them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::fleet::Fleet;
use crate::machine;

/// Which program, and in which mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Narthex as it is by default: a write is answered when it is on disk.
    Narthex,
    /// Narthex with `--wal.sync=interval`, which is what the peers do.
    NarthexInterval,
    /// Prometheus.
    Prometheus,
    /// VictoriaMetrics, single node.
    VictoriaMetrics,
    /// Narthex as a cluster of processes with three ingesters, one group.
    Cluster3,
    /// The same with twelve, four groups.
    Cluster12,
}

impl Kind {
    /// Those of one process, in the order of the tables.
    pub const ALL: [Kind; 4] = [Kind::Narthex, Kind::NarthexInterval, Kind::Prometheus, Kind::VictoriaMetrics];

    /// The name on the command line and in the results.
    pub fn id(self) -> &'static str {
        match self {
            Kind::Narthex => "narthex",
            Kind::NarthexInterval => "narthex-interval",
            Kind::Prometheus => "prometheus",
            Kind::VictoriaMetrics => "victoriametrics",
            Kind::Cluster3 => "cluster-3",
            Kind::Cluster12 => "cluster-12",
        }
    }

    /// Whether it is our single process.
    pub fn is_narthex(self) -> bool {
        matches!(self, Kind::Narthex | Kind::NarthexInterval)
    }
}

impl std::str::FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Kind> {
        let names = || Kind::ALL.map(Kind::id).join(", ");
        Kind::ALL.into_iter().find(|kind| kind.id() == text).with_context(|| format!("not one of {}", names()))
    }
}

/// A program that was found.
#[derive(Clone, Debug)]
pub struct System {
    /// Which.
    pub kind: Kind,
    /// Its file.
    pub binary: PathBuf,
    /// Its version, as it says itself or as its package does.
    pub version: String,
    /// The year of that version.
    pub year: String,
}

/// What a system is started for.
#[derive(Clone, Debug, Default)]
pub struct Purpose {
    /// Scrape the fleet's pages at this address every so many seconds.
    pub scrape: Option<(String, u32)>,
    /// Narthex' out-of-order window, none for its default. A long one keeps loaded history in the head; a restart with a
    /// short one puts it into blocks.
    pub window: Option<&'static str>,
    /// Whether native histograms will be written, which Prometheus 2 must be told.
    pub native_histograms: bool,
}

impl System {
    /// Finds the program of a kind. `narthex` is the path to ours.
    pub fn find(kind: Kind, narthex: &Path) -> Result<System> {
        let (binary, packaged) = match kind {
            Kind::Narthex | Kind::NarthexInterval | Kind::Cluster3 | Kind::Cluster12 => {
                (narthex.to_path_buf(), String::new())
            }
            Kind::Prometheus => match machine::variable("NARTHEX_PROMETHEUS") {
                Some(path) => (PathBuf::from(path), String::new()),
                None => peer("prometheus", "NARTHEX_PEER_PROMETHEUS")?,
            },
            Kind::VictoriaMetrics => peer("victoria-metrics", "NARTHEX_PEER_VICTORIA_METRICS")?,
        };
        ensure!(binary.is_file(), "{} is not at {}", kind.id(), binary.display());
        let output = Command::new(&binary).arg("--version").output();
        let output = output.with_context(|| format!("ask {} for its version", binary.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let said = first_version(&text).or_else(|| first_version(&packaged)).unwrap_or_else(|| "unknown".to_string());
        let year =
            release_year(kind, &said).or_else(|| build_year(&text)).unwrap_or_else(|| "year unknown".to_string());
        Ok(System { kind, binary, version: said, year })
    }

    /// The same program as another kind of system.
    pub fn of_kind(&self, kind: Kind) -> System {
        System { kind, ..self.clone() }
    }

    /// Name, version and year, as the tables say it.
    pub fn title(&self) -> String {
        let (name, mode) = match self.kind {
            Kind::Narthex => ("Narthex", ""),
            Kind::NarthexInterval => ("Narthex", ", --wal.sync=interval"),
            Kind::Prometheus => ("Prometheus", ""),
            Kind::VictoriaMetrics => ("VictoriaMetrics", ""),
            Kind::Cluster3 => ("Narthex", ", cluster of 3 ingesters"),
            Kind::Cluster12 => ("Narthex", ", cluster of 12 ingesters"),
        };
        format!("{name} {} ({}){mode}", self.version, self.year)
    }

    /// The path that answers 200 when the system is ready.
    pub fn ready_path(&self) -> &'static str {
        match self.kind {
            Kind::VictoriaMetrics => "/health",
            _ => "/-/ready",
        }
    }

    /// The path that makes what was written visible to queries, where that takes a request.
    pub fn flush_path(&self) -> Option<&'static str> {
        (self.kind == Kind::VictoriaMetrics).then_some("/internal/force_flush")
    }

    /// How long acknowledged samples may stay in memory alone. VictoriaMetrics 1.79 loses up to ten seconds of them to
    /// kill -9: parts in memory are looked after every five seconds, and written once they are five seconds old.
    pub fn unwritten_time(&self) -> Duration {
        match self.kind {
            Kind::VictoriaMetrics => Duration::from_secs(12),
            Kind::NarthexInterval => Duration::from_secs(2),
            Kind::Narthex | Kind::Prometheus | Kind::Cluster3 | Kind::Cluster12 => Duration::ZERO,
        }
    }

    /// The command that starts the system in `folder`, where its configuration is written too.
    pub fn command(&self, folder: &Path, port: u16, fleet: &Fleet, purpose: &Purpose) -> Result<Command> {
        let (config, storage) = (folder.join("config.yml"), folder.join("storage"));
        std::fs::create_dir_all(&storage).with_context(|| format!("create {}", storage.display()))?;
        std::fs::write(&config, self.configuration(fleet, purpose)).context("write the configuration")?;
        let (config, storage, mut command) = (config.display(), storage.display(), Command::new(&self.binary));
        match self.kind {
            Kind::Narthex | Kind::NarthexInterval => {
                command.arg("all");
                command.arg(format!("--config.file={config}"));
                command.arg(format!("--storage.path={storage}"));
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
                command.args(["--query.max-samples=1000000000", "--query.timeout=10m"]);
                if self.kind == Kind::NarthexInterval {
                    command.arg("--wal.sync=interval");
                }
            }
            Kind::Prometheus => {
                command.arg(format!("--config.file={config}"));
                command.arg(format!("--storage.tsdb.path={storage}"));
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
                command.args(["--query.max-samples=1000000000", "--query.timeout=10m"]);
                command.args(["--web.enable-remote-write-receiver", "--log.level=warn"]);
                if purpose.native_histograms {
                    command.arg("--enable-feature=native-histograms");
                }
            }
            Kind::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={storage}"));
                command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
                // Limits that the check of all samples would meet; 30 s of offset would hide the newest from queries.
                command.args(["-retentionPeriod=12", "-search.maxUniqueTimeseries=10000000"]);
                command.args(["-search.maxQueryDuration=10m", "-search.latencyOffset=1s", "-loggerLevel=WARN"]);
                if purpose.scrape.is_some() {
                    command.arg(format!("-promscrape.config={config}"));
                }
            }
            Kind::Cluster3 | Kind::Cluster12 => bail!("a cluster is no single process"),
        }
        Ok(command)
    }

    /// The same labels on a scraped series as on a written one: the target's come from here.
    fn configuration(&self, fleet: &Fleet, purpose: &Purpose) -> String {
        let mut text = String::new();
        if let Some(window) = purpose.window.filter(|_| self.kind.is_narthex()) {
            text.push_str(&format!("storage:\n  tsdb:\n    out_of_order_time_window: {window}\n"));
        }
        let Some((address, interval_s)) = &purpose.scrape else {
            return if text.is_empty() { "global: {}\n".to_string() } else { text };
        };
        text.push_str(&format!("global:\n  scrape_interval: {interval_s}s\n  scrape_timeout: {interval_s}s\n"));
        text.push_str("scrape_configs:\n- job_name: web\n  static_configs:\n");
        for target in 0..fleet.targets() {
            text.push_str(&format!(
                "  - targets: ['{address}']\n    labels:\n      __metrics_path__: /metrics/{target}\n"
            ));
            for (name, value) in fleet.target_labels(target).iter().filter(|(name, _)| *name != "job") {
                text.push_str(&format!("      {name}: '{value}'\n"));
            }
        }
        text
    }
}

/// The program of a peer, and its package's version: where the environment says, or by `tools/peers.sh`.
fn peer(name: &str, variable: &str) -> Result<(PathBuf, String)> {
    if let Some(path) = machine::variable(variable) {
        return Ok((PathBuf::from(path), packaged_version(name)));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/peers.sh");
    let output = Command::new(&script).arg(name).output().with_context(|| format!("run {}", script.display()))?;
    let text = String::from_utf8(output.stdout).context("the output of peers.sh")?;
    let path = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
    match path {
        Some(path) => Ok((PathBuf::from(path), packaged_version(name))),
        None => bail!("{}", text.lines().next().unwrap_or("peers.sh said nothing").trim_start_matches("# ")),
    }
}

/// The version that `tools/peers.sh` noted: Debian's VictoriaMetrics does not know its own.
fn packaged_version(name: &str) -> String {
    let stamp = machine::cache_folder().map(|cache| cache.join("narthex-peers").join(format!("{name}.stamp")));
    let text = stamp.ok().and_then(|stamp| std::fs::read_to_string(stamp).ok()).unwrap_or_default();
    text.lines().nth(1).unwrap_or_default().to_string()
}

/// The first word that looks like a version, without what a distribution appends.
fn first_version(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',');
    let versions = words.map(|word| word.trim_start_matches('v').split(['+', '-']).next().unwrap_or_default());
    let is_version =
        |word: &&str| word.split('.').count() >= 2 && word.split('.').all(|part| part.parse::<u32>().is_ok());
    versions.into_iter().find(is_version).map(str::to_string)
}

/// The years of the versions that this is usually run with; a distribution's build date is a later one.
fn release_year(kind: Kind, version: &str) -> Option<String> {
    let minor = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let year = match (kind, minor.as_str()) {
        (Kind::Prometheus, "2.42") => "2023",
        (Kind::Prometheus, "2.53") => "2024",
        (Kind::VictoriaMetrics, "1.79") => "2022",
        _ => return None,
    };
    Some(year.to_string())
}

/// The year of a line such as `build date: 20250101-…`.
fn build_year(text: &str) -> Option<String> {
    let date = text.lines().find_map(|line| line.trim().strip_prefix("build date:"))?.trim().get(..4)?;
    Some(format!("built {date}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_years_are_found_in_what_programs_say() {
        let text =
            "prometheus, version 3.14.0+ds (branch: x, revision: 3.14.0)\n  build date:       20260604-00:58:54\n";
        assert_eq!(first_version(text).as_deref(), Some("3.14.0"));
        assert_eq!(build_year(text).as_deref(), Some("built 2026"));
        assert_eq!(first_version("1.79.5+ds1-2+b5").as_deref(), Some("1.79.5"));
        assert_eq!(first_version("victoria-metrics-20221122-tags-v1.79.5-0-gabc"), None);
        assert_eq!(first_version("narthex v0.1.0 (abc)").as_deref(), Some("0.1.0"));
        assert_eq!(release_year(Kind::Prometheus, "2.42.0").as_deref(), Some("2023"));
    }

    #[test]
    fn a_scrape_configuration_carries_the_labels_of_each_target() {
        let narthex = Kind::Narthex;
        let system = System { kind: narthex, binary: "n".into(), version: "0.1.0".into(), year: "2026".into() };
        let purpose =
            Purpose { scrape: Some(("127.0.0.1:9".to_string(), 5)), window: Some("4y"), ..Purpose::default() };
        let text = system.configuration(&Fleet::new(1, 2, 0.01), &purpose);
        assert!(
            text.starts_with("storage:\n  tsdb:\n    out_of_order_time_window: 4y\nglobal:\n  scrape_interval: 5s\n")
        );
        assert!(text.contains("      __metrics_path__: /metrics/1\n"));
        assert!(text.contains("      instance: '10.16.0.2:9100'\n"));
        assert_eq!(system.configuration(&Fleet::new(1, 2, 0.01), &Purpose::default()), "global: {}\n");
    }
}
