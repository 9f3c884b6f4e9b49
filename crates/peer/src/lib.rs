//! What the roles of a cluster ask of each other, as traits: a member of a group of ingesters ([`Member`]), a store of blocks
//! ([`Store`]), a scraper ([`ScrapingNode`]), and where to find them ([`Members`], [`Stores`], [`ScrapingNodes`]).
//!
//! Each has an implementation in the process (the ingester itself, say) and one over gRPC, so that `narthex all` and a cluster
//! are the same program. No transport, no clock and no decision lives here: what the answers mean is `replication`'s.

mod member;
mod scraping;
mod store;

pub use member::{Definitions, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Members, Selected};
pub use scraping::{ScrapeState, ScrapingNode, ScrapingNodes};
pub use store::{Index, IndexEntry, ManifestAnswer, Store, StoreLabels, StoreSelected, Stores};

use futures::future::BoxFuture;

/// No answer came, or one that cannot be read: whether the other side did what was asked is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// An answer that comes later. Dropping it stops the work on the other side.
pub type Answer<T> = BoxFuture<'static, Result<T, Unanswered>>;
