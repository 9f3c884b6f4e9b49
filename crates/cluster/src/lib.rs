//! The control plane as values: the cluster map, and the state machine that Raft replicates.
//!
//! Commands go in with their index in the log; a new state and events come out. No clock, no I/O, no runtime: times and
//! random ids arrive inside commands, so every replica that applies the same log holds the same state, byte for byte. Raft
//! itself lives in the crate `raft`. Heartbeats are no commands: whoever counts them proposes the change of state that
//! follows from them.

mod bootstrap;
pub mod codec;
mod command;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod hole;
mod identity;
mod map;
mod map_codec;
mod state;

pub use bootstrap::{SingleNode, next_step};
pub use codec::DecodeError;
pub use command::{COMMAND_BYTES_MAX, Command};
pub use group::{ChangeError, Generation, GenerationNumber, Group, GroupId, Member};
pub use hole::{Hole, Holes};
pub use identity::{Address, ClusterId, Incarnation, NodeId, Replica, Role, Roles, Zone};
pub use map::{ClusterMap, MapVersion, Node, NodeState, Ownership, owner};
pub use state::{Event, Outcome, Refusal, State};
