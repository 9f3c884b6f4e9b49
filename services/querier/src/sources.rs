//! What the HTTP API tells besides series: the binary gives it through these traits, so that services do not import each other.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use model::{Exemplar, Labels, Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use relabel::Rule;
use storage::SelectError;
pub use targets::{ActiveTarget, DroppedTarget, TargetHealth, TargetMetadata, TargetsSnapshot, Wanted};

/// An answer, and in words what it lacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told<T> {
    /// The answer.
    pub value: T,
    /// Whose part is missing.
    pub warnings: Vec<String>,
}

impl<T> From<T> for Told<T> {
    fn from(value: T) -> Told<T> {
        Told { value, warnings: Vec::new() }
    }
}

/// Knows what is scraped: the scraper of the process, or those of a cluster ([`crate::ScrapersOfCluster`]).
pub trait TargetSource: Send + Sync + 'static {
    /// Targets; there may be others among them than are wanted.
    fn targets(&self, wanted: Wanted) -> BoxFuture<'_, Told<TargetsSnapshot>>;
    /// Names of all `scrape_configs`, in any order.
    fn scrape_pools(&self) -> BoxFuture<'_, Told<Vec<String>>>;
    /// The `relabel_configs` of a pool; `None` where there is no such pool, as far as is known.
    fn relabel_rules(&self, scrape_pool: String) -> BoxFuture<'_, Told<Option<Vec<Rule>>>>;
    /// What active targets say of their families, target by target; of `family` alone where one is named.
    fn metadata(&self, family: Option<String>) -> BoxFuture<'_, Told<Vec<TargetMetadata>>>;
}

/// Knows types, helps and units by metric family.
pub trait MetadataSource: Send + Sync + 'static {
    /// Of all families, or of `family` alone.
    fn metadata(&self, tenant: &TenantId, family: Option<&str>) -> BoxFuture<'_, BTreeMap<String, Vec<Metadata>>>;
}

/// Exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarSeries {
    /// Labels of the series.
    pub labels: Labels,
    /// By time.
    pub exemplars: Vec<Exemplar>,
}

/// Holds exemplars.
pub trait ExemplarSource: Send + Sync + 'static {
    /// Those of series for which one of `matcher_sets` holds, within `range`, by labels of the series.
    fn exemplars(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        matcher_sets: Vec<Vec<Matcher>>,
    ) -> BoxFuture<'static, Result<Vec<ExemplarSeries>, SelectError>>;
}

/// The running process, as `/api/v1/status/runtimeinfo` tells. Fields that only Go has are filled with what comes nearest.
#[derive(Clone, Debug, Default)]
pub struct RuntimeInfo {
    /// Start of the process.
    pub start_time: TimestampMs,
    /// Working directory.
    pub working_directory: String,
    /// Name of the machine.
    pub hostname: String,
    /// Now.
    pub server_time: TimestampMs,
    /// Whether the last reload went well.
    pub reload_config_success: bool,
    /// The last reload that went well.
    pub last_config_time: TimestampMs,
    /// Damaged places met in the log.
    pub corruption_count: u64,
    /// Tasks of the async runtime (`goroutineCount`).
    pub task_count: u64,
    /// Threads that compute (`GOMAXPROCS`).
    pub threads: u64,
    /// Bound on memory in bytes (`GOMEMLIMIT`); `i64::MAX` for none.
    pub memory_limit_bytes: i64,
    /// How long samples are kept: `15d`.
    pub storage_retention: String,
}

/// What was built.
#[derive(Clone, Debug, Default)]
pub struct BuildInfo {
    /// The version of Prometheus whose API this is: Grafana decides by it what it asks.
    pub version: String,
    /// Commit.
    pub revision: String,
    /// Branch.
    pub branch: String,
    /// Who built it.
    pub build_user: String,
    /// When.
    pub build_date: String,
    /// Compiler (`goVersion`).
    pub compiler_version: String,
}

/// Number of something by name, largest first.
pub type Ranking = Vec<(String, u64)>;

/// What `/api/v1/status/tsdb` tells of the newest data.
#[derive(Clone, Debug, Default)]
pub struct TsdbStatus {
    /// Series.
    pub series_count: u64,
    /// Different pairs of label and value.
    pub label_pair_count: u64,
    /// Chunks.
    pub chunk_count: u64,
    /// The oldest sample; `None` where there is none.
    pub mint: Option<TimestampMs>,
    /// The newest sample; `None` where there is none.
    pub maxt: Option<TimestampMs>,
    /// Series by metric name.
    pub series_by_metric: Ranking,
    /// Values by label name.
    pub values_by_label: Ranking,
    /// Bytes of values by label name.
    pub bytes_by_label: Ranking,
    /// Series by `name=value`.
    pub series_by_pair: Ranking,
}

/// How far recovery is, in whatever parts the log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalReplay {
    /// First part.
    pub min: u64,
    /// Last part.
    pub max: u64,
    /// The part being read.
    pub current: u64,
}

/// Something an operator should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// In words.
    pub text: String,
    /// Since when.
    pub date: TimestampMs,
    /// False once it is over.
    pub active: bool,
}

/// Knows the process and its configuration: the binary.
pub trait StatusSource: Send + Sync + 'static {
    /// The configuration as YAML, defaults filled in, secrets hidden.
    fn config_yaml(&self) -> String;
    /// The configuration's external labels, which federation adds. None where the role has no configuration.
    fn external_labels(&self) -> Labels {
        Labels::empty()
    }
    /// All flags.
    fn flags(&self) -> BTreeMap<String, String>;
    /// The process.
    fn runtime_info(&self) -> RuntimeInfo;
    /// The build.
    fn build_info(&self) -> BuildInfo;
    /// The newest data; rankings of at most `limit` entries. Called on a compute thread.
    fn tsdb(&self, tenant: &TenantId, limit: usize) -> TsdbStatus;
    /// Recovery at the start.
    fn wal_replay(&self) -> WalReplay;
    /// What is going on.
    fn notifications(&self) -> Vec<Notification>;
    /// What is on and what is off, by area. The API adds what it knows itself.
    fn features(&self) -> BTreeMap<String, BTreeMap<String, bool>>;
}

/// Whether requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Recovery is running.
    NotReady,
    /// Yes.
    Ready,
    /// The process ends.
    Stopping,
}

/// Steers the process.
pub trait Lifecycle: Send + Sync + 'static {
    /// Whether requests are answered.
    fn readiness(&self) -> Readiness;
    /// Reads the configuration again; an error in words where the old one stays.
    fn reload(&self) -> BoxFuture<'static, Result<(), String>>;
    /// Ends the process. False where it is ending already.
    fn quit(&self) -> bool;
}
