//! The ingester: a replica of a group. It logs batches, syncs, applies them to the head, acknowledges; snapshots, and closes ranges
//! into blocks.
//!
//! What it decides is decided by `replication`'s core, under one lock; two threads carry what the core wants logged: the log
//! thread writes what has gathered and syncs once for all of it (group commit), the apply thread makes it visible and answers.
//! Admission is the writer's; a batch is taken whole or not at all.

mod bodies;
mod close;
mod config;
mod cut;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod ingester;
mod member;
mod pipeline;
mod pull;
mod queryable;
mod records;
mod recover;

pub use close::{CloseError, Closer, NoMembers};
pub use config::{Clock, Config, Sync, Window};
pub use ingester::{Ingester, LogFailed, OpenError, Status};
pub use pull::{PeerStatus, PullLimits};
pub use records::RecordError;
pub use recover::{Damage, Recovery};
pub use replication::range::RANGE;

#[cfg(test)]
mod tests;
