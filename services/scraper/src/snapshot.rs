//! What there is to see of a scraper from outside.

use model::{DurationMs, Labels, Metadata, TimestampMs};

/// Whether a target answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// A target that is scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// The job.
    pub scrape_pool: String,
    /// What is asked for.
    pub scrape_url: String,
    /// Why the last scrape failed; empty where it did not.
    pub last_error: String,
    /// When the last scrape was; `None` before the first.
    pub last_scrape: Option<TimestampMs>,
    /// How long it took.
    pub last_scrape_seconds: f64,
    /// Whether it answers.
    pub health: Health,
    /// Time from one scrape to the next.
    pub scrape_interval: DurationMs,
    /// Time for one scrape.
    pub scrape_timeout: DurationMs,
}

/// A target that relabelling has dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// The job.
    pub scrape_pool: String,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolSnapshot {
    /// Its name.
    pub name: String,
    /// Targets that are scraped, by URL.
    pub active: Vec<ActiveTarget>,
    /// Targets that were dropped, as many as are kept.
    pub dropped: Vec<DroppedTarget>,
    /// How many were dropped.
    pub dropped_count: usize,
}

/// Metadata of one metric family of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMetadata {
    /// Labels of the target.
    pub target: Labels,
    /// Name of the family.
    pub family: String,
    /// What is said of it.
    pub metadata: Metadata,
}

impl From<ActiveTarget> for targets::ActiveTarget {
    fn from(t: ActiveTarget) -> targets::ActiveTarget {
        targets::ActiveTarget {
            discovered_labels: t.discovered_labels,
            labels: t.labels,
            scrape_pool: t.scrape_pool,
            global_url: t.scrape_url.clone(),
            scrape_url: t.scrape_url,
            last_error: t.last_error,
            last_scrape: t.last_scrape,
            last_scrape_seconds: t.last_scrape_seconds,
            health: match t.health {
                Health::Unknown => targets::TargetHealth::Unknown,
                Health::Up => targets::TargetHealth::Up,
                Health::Down => targets::TargetHealth::Down,
            },
            scrape_interval: t.scrape_interval.to_string(),
            scrape_timeout: t.scrape_timeout.to_string(),
            scraper: None,
        }
    }
}

impl From<DroppedTarget> for targets::DroppedTarget {
    fn from(t: DroppedTarget) -> targets::DroppedTarget {
        targets::DroppedTarget { discovered_labels: t.discovered_labels, scrape_pool: t.scrape_pool }
    }
}

impl From<TargetMetadata> for targets::TargetMetadata {
    fn from(m: TargetMetadata) -> targets::TargetMetadata {
        targets::TargetMetadata { target: m.target, family: m.family, metadata: m.metadata }
    }
}
