//! The store: serves blocks out of the bucket, in place.
//!
//! It knows all blocks by a listing that it repeats, keeps the index headers of those that it was asked for in a folder of its
//! own, and reads series and chunks by range requests. Any block that is named to it is loaded, its own or not: who asks whom is
//! the asker's to say. A block that cannot be read is set aside and named. What is in memory and in flight is bounded.

mod catalog;
mod metrics;
mod reads;
mod serve;

pub use metrics::Metrics;
pub use serve::{BlockStore, Config, Limits, StartError};

#[cfg(test)]
mod tests;
