//! Targets and what they say of their metric families.

use std::collections::BTreeMap;

use model::{Labels, Metadata, TimestampMs};

/// Whether a target answered last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetHealth {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// It answered.
    Up,
    /// It did not, or not well.
    Down,
}

impl TargetHealth {
    /// Every state.
    pub const ALL: [TargetHealth; 3] = [TargetHealth::Unknown, TargetHealth::Up, TargetHealth::Down];

    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetHealth::Unknown => "unknown",
            TargetHealth::Up => "up",
            TargetHealth::Down => "down",
        }
    }
}

/// A target that is scraped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActiveTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// Name of its `scrape_config`.
    pub scrape_pool: String,
    /// What is fetched, parameters included.
    pub scrape_url: String,
    /// The same with a host that is known outside of this machine.
    pub global_url: String,
    /// Why the last scrape failed; empty where it did not.
    pub last_error: String,
    /// When it was scraped last; `None` before the first time.
    pub last_scrape: Option<TimestampMs>,
    /// How long that took, in seconds.
    pub last_scrape_seconds: f64,
    /// Whether it answered.
    pub health: TargetHealth,
    /// As in the configuration: `15s`.
    pub scrape_interval: String,
    /// As in the configuration: `10s`.
    pub scrape_timeout: String,
    /// The node that scrapes it; `None` where there is but one.
    pub scraper: Option<String>,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Name of its `scrape_config`.
    pub scrape_pool: String,
}

/// All targets at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetsSnapshot {
    /// Ordered within a pool; pools in any order.
    pub active: Vec<ActiveTarget>,
    /// Ordered within a pool; pools in any order. May hold fewer than `dropped_counts` says.
    pub dropped: Vec<DroppedTarget>,
    /// How many were dropped, by pool; every pool is there.
    pub dropped_counts: BTreeMap<String, u64>,
}

/// What a target says of one of its metric families.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetMetadata {
    /// Labels that the target's series get.
    pub target: Labels,
    /// The family.
    pub family: String,
    /// Type, help, unit.
    pub metadata: Metadata,
}

impl TargetsSnapshot {
    /// What several scrapers hold, each with its name, in the order of pool, URL, labels, scraper. A target that two of them hold,
    /// because one is cut off from the others, is there twice. Each drops its own share of what relabelling drops, so that counts
    /// are added.
    pub fn united(parts: impl IntoIterator<Item = (String, TargetsSnapshot)>) -> TargetsSnapshot {
        let mut all = TargetsSnapshot::default();
        for (scraper, part) in parts {
            let named = part.active.into_iter().map(|t| ActiveTarget { scraper: Some(scraper.clone()), ..t });
            all.active.extend(named);
            all.dropped.extend(part.dropped);
            for (pool, count) in part.dropped_counts {
                let sum = all.dropped_counts.entry(pool).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        let place =
            |t: &ActiveTarget| (t.scrape_pool.clone(), t.scrape_url.clone(), t.labels.clone(), t.scraper.clone());
        all.active.sort_by_cached_key(place);
        all.dropped.sort_by(|a, b| {
            a.scrape_pool.cmp(&b.scrape_pool).then_with(|| a.discovered_labels.cmp(&b.discovered_labels))
        });
        all
    }
}
