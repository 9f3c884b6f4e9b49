//! How much is measured.

use anyhow::Result;

/// The size of a run. Samples are 15 s apart in all phases but scraping.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Name, for the table.
    pub name: &'static str,
    /// Targets of 1,000 series, for remote write, queries, restart and scraping.
    pub targets: usize,
    /// Minutes of history for remote write.
    pub minutes: u64,
    /// Seconds after a write in which the system's background work is still counted.
    pub settle_s: u64,
    /// Scrapes of every target before the measurement: series are created in the first.
    pub warm_up_scrapes: u64,
    /// Seconds of steady scraping that are measured.
    pub scrape_s: u64,
    /// Targets of the blocks phase, which sends [`Scale::blocks_minutes`].
    pub blocks_targets: usize,
    /// Minutes of history for blocks: Prometheus cuts its first block after three hours.
    pub blocks_minutes: u64,
    /// Targets of the window phase: what long history in the head costs.
    pub window_targets: usize,
    /// Minutes of the window phase, and the minutes after which it looks first.
    pub window_minutes: (u64, u64),
    /// How often each query is asked; the median counts.
    pub query_repeats: usize,
    /// Minutes of history that a cluster is sent flat out, the first five to warm up, and at half load twice: healthy, and
    /// with an ingester stopped.
    pub cluster_minutes: (u64, u64),
    /// Targets of which every single sample is compared.
    pub raw_targets: usize,
}

impl std::str::FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Scale> {
        match name {
            "small" => Ok(Scale {
                name: "small",
                targets: 20,
                minutes: 10,
                settle_s: 1,
                warm_up_scrapes: 2,
                scrape_s: 15,
                blocks_targets: 1,
                blocks_minutes: 7 * 60,
                window_targets: 2,
                window_minutes: (60, 20),
                query_repeats: 3,
                cluster_minutes: (10, 5),
                raw_targets: 4,
            }),
            "medium" => Ok(Scale {
                name: "medium",
                targets: 200,
                minutes: 40,
                settle_s: 11,
                warm_up_scrapes: 4,
                scrape_s: 60,
                blocks_targets: 4,
                blocks_minutes: 8 * 60,
                window_targets: 10,
                window_minutes: (360, 120),
                query_repeats: 5,
                cluster_minutes: (10, 5),
                raw_targets: 8,
            }),
            "full" => Ok(Scale {
                name: "full",
                targets: 200,
                minutes: 120,
                settle_s: 11,
                warm_up_scrapes: 6,
                scrape_s: 120,
                blocks_targets: 10,
                blocks_minutes: 10 * 60,
                window_targets: 50,
                window_minutes: (360, 120),
                query_repeats: 7,
                cluster_minutes: (40, 10),
                raw_targets: 10,
            }),
            _ => anyhow::bail!("not one of small, medium, full"),
        }
    }
}
