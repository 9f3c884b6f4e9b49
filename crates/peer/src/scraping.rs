//! A scraper, as the front door sees it: `/api/v1/targets` of any querier shows the targets of all scrapers.

use std::sync::Arc;

use cluster::NodeId;

use crate::Answer;

/// What a scraper says about its targets: the body of Prometheus' `/api/v1/targets`, `scrape_pools`, `targets/metadata` or
/// `targets/relabel_steps` as JSON, as that scraper alone would answer it, errors included. The crate `targets` writes and reads
/// it; a transport carries it as it is. With ten thousand targets it has about 12 MB.
pub type ScrapeState = String;

/// A scraper.
pub trait ScrapingNode: Send + Sync + 'static {
    /// Answers a GET of the API about targets: path below `/api/v1/` and query, as `targets::Question` gives them.
    fn ask(&self, path: String, query: String) -> Answer<ScrapeState>;
}

/// Finds scrapers.
pub trait ScrapingNodes: Send + Sync + 'static {
    /// Those that are up, by name.
    fn scrapers(&self) -> Vec<(NodeId, Arc<dyn ScrapingNode>)>;
}
