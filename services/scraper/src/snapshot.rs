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
