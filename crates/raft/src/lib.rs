//! The Raft node over the control plane's state machine (`cluster::State`): log, vote and snapshots on disk, elections,
//! replication through a [`Transport`].
//!
//! The only crate that names openraft or RocksDB, and neither shows in its interface. What is on disk and on the wire is
//! this crate's own layout (`codec`), so that a new version of openraft is no migration of data. It does not know what
//! commands mean, and does not listen on a socket: it has the gRPC service ([`RaftService`]), a role has the listener.
//!
//! A node runs on threads of its own ([`Node`] owns a runtime), because a heavy query in the same process must not starve
//! heartbeats. Only one more thread exists: the one that makes writes durable, many with one fsync.

mod birth;
mod codec;
mod disk;
mod flusher;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod log;
mod machine;
mod network;
mod node;
mod service;
mod transport;
mod types;
mod voters;

pub use birth::Birth;
pub use disk::OpenError;
pub use grpc::GrpcTransport;
pub use node::{HandleError, InitializeError, Metrics, Node, Options, ProposeError, RecoverError};
pub use service::RaftService;
pub use transport::{Alone, Call, Peer, Transport, TransportError, VoterId};
pub use voters::{ChangeVotersError, VOTERS_MAX};
