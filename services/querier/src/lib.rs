//! The querier: PromQL and the Prometheus HTTP API over whatever holds series.

mod active;
mod api;
mod evaluate;
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod scrapers;
mod sources;

pub use active::{ActiveQueries, Entry as ActiveQuery};
pub use api::{Api, ApiOptions, ApiSources};
pub use evaluate::{EvaluateError, Evaluated, Evaluator, Limits, Timings};
pub use scrapers::ScrapersOfCluster;
pub use sources::{
    ActiveTarget, BuildInfo, DroppedTarget, ExemplarSeries, ExemplarSource, Lifecycle, MetadataSource, Notification,
    Ranking, Readiness, RuntimeInfo, StatusSource, TargetHealth, TargetMetadata, TargetSource, TargetsSnapshot, Told,
    TsdbStatus, WalReplay, Wanted,
};
