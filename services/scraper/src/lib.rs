//! The role that discovers targets, scrapes them, and writes what they say, as Prometheus does.
//!
//! Pure parts: `target` (from labels to a target), `schedule` (when), `sample_rules` (whose labels), `page` (from bytes to
//! samples, with the memory of the page before). Around them `scrape_loop` is one task per target, `pool` one job,
//! [`Scraper`] all of them. Storage is [`writer::Writer`]; the HTTP API only looks, by [`Scraper::snapshot`].
//!
//! Not here: native histograms and protobuf pages (their parser does not exist), start timestamps, sharding over several
//! scrapers, the scrape failure log.

mod end_of_run;
mod families;
#[doc(hidden)]
pub mod fuzzing;
mod loops;
mod metrics;
mod page;
mod pool;
mod report;
mod sample_rules;
mod schedule;
mod scrape_loop;
mod scraper;
mod settings;
mod snapshot;
mod source;
mod target;
mod threads;
mod url;

pub use httpclient::EnvironmentProxy;
pub use scraper::{Limits, Outside, Scraper};
pub use settings::RefusedJob;
pub use snapshot::{ActiveTarget, DroppedTarget, Health, PoolSnapshot, TargetMetadata};

#[cfg(test)]
mod tests;
