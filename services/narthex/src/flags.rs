//! The command line. Flags that Prometheus has keep its names and defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::DurationMs;

use crate::query_flags::QueryFlags;

/// Narthex, a clustered Prometheus.
#[derive(Parser, Debug)]
#[command(name = "narthex", version, about)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Every role in one process, with data in one directory.
    All(Box<All>),
    /// A voter of the control plane of a cluster.
    Ruler(Box<crate::ruler::Ruler>),
    /// Holds recent samples of its partitions.
    Ingester(Box<crate::ingester::Ingester>),
    /// Takes remote write.
    Distributor(Box<crate::distributor::Distributor>),
    /// Answers queries.
    Querier(Box<crate::querier::Querier>),
    /// Serves blocks out of the bucket.
    Store(Box<crate::store::Store>),
    /// Scrapes its share of the targets.
    Scraper(Box<crate::scraper::Scraper>),
    /// Shows and changes who votes in the control plane of a cluster.
    Admin(Box<crate::admin::Admin>),
}

impl Command {
    /// Which messages are printed, and how.
    pub(crate) fn log(&self) -> (LogLevel, LogFormat) {
        let node = match self {
            Command::All(flags) => return (flags.log_level, flags.log_format),
            // What it has to say goes to standard output, and why it failed to standard error.
            Command::Admin(_) => return (LogLevel::Warn, LogFormat::Logfmt),
            Command::Ruler(flags) => &flags.node,
            Command::Ingester(flags) => &flags.node,
            Command::Distributor(flags) => &flags.node,
            Command::Querier(flags) => &flags.node,
            Command::Store(flags) => &flags.node,
            Command::Scraper(flags) => &flags.node,
        };
        (node.log_level, node.log_format)
    }
}

/// Flags of `narthex all`.
#[derive(Args, Debug, Clone)]
pub(crate) struct All {
    /// Configuration in the format of prometheus.yml.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Address of the HTTP API.
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9090")]
    pub(crate) listen_address: String,
    /// TLS, passwords and headers of the HTTP API, in Prometheus' form.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(crate) web_config_file: Option<PathBuf>,
    /// Connections at once.
    #[arg(long = "web.max-connections", value_name = "N", default_value_t = 512)]
    pub(crate) max_connections: usize,
    /// How long a client may take to send the head of a request.
    #[arg(long = "web.read-timeout", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(crate) read_timeout: Duration,
    /// Where data lies.
    #[arg(long = "storage.path", alias = "storage.tsdb.path", value_name = "DIR", default_value = "data/")]
    pub(crate) storage_path: PathBuf,
    /// How long blocks are kept. Also in the configuration, which wins.
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", value_parser = model_duration)]
    pub(crate) retention_time: Option<DurationMs>,
    /// Object store of the blocks, in Thanos' form; a local directory without it.
    #[arg(long = "objstore.config-file", value_name = "FILE")]
    pub(crate) objstore_config_file: Option<PathBuf>,
    /// When what was written is made to survive power loss: before each acknowledgement, or every 100 ms (a killed process
    /// loses nothing either way).
    #[arg(long = "wal.sync", value_name = "WHEN", default_value = "commit")]
    pub(crate) wal_sync: WalSync,
    #[command(flatten)]
    pub(crate) query: QueryFlags,
    /// Least severe messages to print.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// Form of messages.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub(crate) log_format: LogFormat,
}

impl All {
    /// All flags as `/api/v1/status/flags` shows them.
    pub(crate) fn as_map(&self) -> BTreeMap<String, String> {
        let duration = |d: Duration| DurationMs(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)).to_string();
        let path = |p: &PathBuf| p.to_string_lossy().into_owned();
        let optional = |p: Option<String>| p.unwrap_or_default();
        let name = |v: Option<clap::builder::PossibleValue>| v.map(|v| v.get_name().to_owned()).unwrap_or_default();
        let flags = [
            ("config.file", path(&self.config_file)),
            ("web.listen-address", self.listen_address.clone()),
            ("web.config.file", optional(self.web_config_file.as_ref().map(path))),
            ("web.max-connections", self.max_connections.to_string()),
            ("web.read-timeout", duration(self.read_timeout)),
            ("storage.tsdb.path", path(&self.storage_path)),
            ("storage.tsdb.retention.time", optional(self.retention_time.map(|d| d.to_string()))),
            ("objstore.config-file", optional(self.objstore_config_file.as_ref().map(path))),
            ("wal.sync", name(self.wal_sync.to_possible_value())),
            ("log.level", name(self.log_level.to_possible_value())),
            ("log.format", name(self.log_format.to_possible_value())),
        ];
        flags.into_iter().chain(self.query.as_pairs()).map(|(flag, value)| (flag.to_owned(), value)).collect()
    }
}

/// See `--wal.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WalSync {
    /// Before each acknowledgement.
    Commit,
    /// Every 100 ms.
    Interval,
}

/// See `--log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Everything per request.
    Debug,
    /// Changes of state.
    Info,
    /// Degraded, but continuing.
    Warn,
    /// Somebody must look.
    Error,
}

/// See `--log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Logfmt,
    /// One JSON object a line.
    Json,
}

pub(crate) fn model_duration(text: &str) -> Result<DurationMs, String> {
    DurationMs::parse(text).map_err(|e| e.to_string())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    model_duration(text).map(DurationMs::to_std)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_well_formed_and_have_prometheus_defaults() {
        let line = CommandLine::try_parse_from(["narthex", "all"]).unwrap();
        let Command::All(all) = line.command else { panic!("all was asked for") };
        assert_eq!(all.query.lookback_delta, DurationMs::mins(5));
        assert_eq!(all.storage_path, PathBuf::from("data/"));
        assert_eq!(all.wal_sync, WalSync::Commit);
        let other = ["narthex", "all", "--storage.tsdb.path=x", "--web.listen-address=:1", "--enable-feature=a,b"];
        let Command::All(all) = CommandLine::try_parse_from(other).unwrap().command else {
            panic!("all was asked for")
        };
        assert_eq!((all.storage_path, all.query.enable_feature.len()), (PathBuf::from("x"), 2));
        assert!(CommandLine::try_parse_from(["narthex", "all", "--query.timeout=soon"]).is_err());
    }
}
