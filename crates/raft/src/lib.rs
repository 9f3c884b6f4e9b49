//! The Raft node over the control plane's state machine (`cluster::State`): log, vote and snapshots on disk, elections,
//! replication through a [`Transport`].
//!
//! The only crate that names openraft or RocksDB, and neither shows in its interface. What is on disk and on the wire is
//! this crate's own layout (`codec`), so that a new version of openraft is no migration of data. It does not know what
//! commands mean, does not listen on a socket, and does not change the set of voters after the group was initialised.
//!
//! A node runs on threads of its own ([`Node`] owns a runtime), because a heavy query in the same process must not starve
//! heartbeats. Only one more thread exists: the one that makes writes durable, many with one fsync.

mod codec;
mod disk;
mod flusher;
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod machine;
mod network;
mod node;
mod transport;
mod types;

pub use disk::OpenError;
pub use node::{HandleError, InitializeError, Metrics, Node, Options, ProposeError, RecoverError};
pub use transport::{Alone, Call, Peer, Transport, TransportError, VoterId};
