//! The contract between what takes samples, what holds them and what asks for them.
//!
//! Everything that holds series is a [`Queryable`]; everything that takes samples is an [`Appendable`]. The scraper knows only
//! the second, PromQL and the HTTP API only the first. This crate holds no data and starts no task.

mod append;
mod cause;
mod merge;
mod select;
mod union;

pub use append::{AppendError, AppendOutcome, Appendable, ErrorClass, RejectReason, Rejection, SeriesSamples};
pub use cause::chain;
pub use merge::{Merge, SourceError};
pub use select::{
    Chunk, ChunkEncoding, LabelQuery, LabelQueryAnswer, Missing, Queryable, SelectError, SelectRequest, Selection,
    Series, SeriesBatch, Shard,
};
pub use union::Union;
