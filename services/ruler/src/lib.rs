//! The ruler: a voter of the control plane, and what the leader among them does: it takes joins and heartbeats, forms groups,
//! places partitions, admits voters.
//!
//! It never decides by itself what the replicated state machine can decide, and holds nothing beside it but who was heard
//! when. It evaluates no rules yet.

mod control;
mod entry;
mod leader;
mod metrics;
mod pages;
mod ruler;

pub use ruler::{Config, Ruler, StartError};
