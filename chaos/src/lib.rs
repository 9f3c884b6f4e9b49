//! Proof by ledger: what was acknowledged is there afterwards, once, unaltered, or its absence is told.
//!
//! The ledger (`chaos-ledger`) writes numbered samples by remote write, keeps each acknowledgement on disk before it goes
//! on, and afterwards sorts what the system answers. It knows a system by its remote write and its query API alone, so it
//! runs against any. Scenarios (`chaos-run`) start processes, load them, break them and reconcile. What the ledger would
//! see is itself tested: [`fault`] lies between a ledger and a [`twin`] of a system and forges one sample.

pub mod block_pass;
pub mod classes;
pub mod fault;
pub mod load;
pub mod owner;
pub mod plan;
pub mod proxy;
pub mod reconcile;
pub mod record;
pub mod run;
pub mod scenario;
pub mod serve;
pub mod system;
pub mod table;
pub mod topology;
pub mod twin;
pub mod wire;

#[doc(hidden)]
pub mod fuzzing;
