//! The ingester: logs batches, syncs, applies them to the head, acknowledges; snapshots, and closes ranges into blocks.
//!
//! Two threads carry a batch: the log thread writes what has gathered and syncs once for all of it (group commit), the apply
//! thread makes it visible and answers. Admission is the writer's; a batch is taken whole or not at all.

mod close;
mod control;
mod cut;
#[doc(hidden)]
pub mod fuzzing;
mod ingester;
mod pipeline;
mod queryable;
mod recover;

pub use close::{CloseError, Closer, Identity, RANGE};
pub use control::Control;
pub use ingester::{Config, Ingester, OpenError, Status, Sync};

#[cfg(test)]
mod tests;
