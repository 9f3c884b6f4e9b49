//! The role that discovers targets, scrapes them, and writes what they say, as Prometheus does.
//!
//! Pure parts: `target` (from labels to a target), `schedule` (when), `sample_rules` (whose labels), `page` (from bytes to
//! samples, with the memory of the page before). Around them `scrape_loop` is one task per target, `pool` one job,
//! [`Scraper`] all of them. Storage is [`writer::Writer`]; the HTTP API only looks, by [`Scraper::snapshot`].
//!
//! In a cluster each scraper discovers all targets and keeps its [`Sharing`]: `share` decides, `pool` starts and gives away.
//! A new holder does not know which series the old one wrote: one that vanishes from a page during the move gets no staleness
//! marker, and the lookback ends it, as when a Prometheus dies. Configurations are not compared: while scrapers run different
//! ones, what only some of them know is scraped only where it is theirs.
//!
//! Not here: start timestamps, the scrape failure log.

mod elsewhere;
mod end_of_run;
mod families;
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod histograms;
mod loops;
mod metrics;
mod page;
mod pool;
mod pools;
mod report;
mod sample_rules;
mod schedule;
mod scrape_loop;
mod scraper;
mod settings;
mod share;
mod snapshot;
mod source;
mod target;
mod threads;
mod url;

pub use httpclient::EnvironmentProxy;
pub use scraper::{Limits, Outside, Scraper};
pub use settings::RefusedJob;
pub use share::Sharing;
pub use snapshot::{ActiveTarget, DroppedTarget, Health, PoolSnapshot, TargetMetadata};

#[cfg(test)]
mod tests;
