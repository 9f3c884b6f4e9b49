//! The control plane as values: the cluster map, and the state machine that Raft replicates.
//!
//! Commands go in with their index in the log; a new state and events come out. No clock, no I/O, no runtime: times and
//! random ids arrive inside commands, so every replica that applies the same log holds the same state, byte for byte. Raft
//! itself lives in the crate `raft`. Heartbeats are no commands: whoever leads counts them ([`Leases`]) and proposes the
//! change of state that follows; which groups to form ([`next_growth`]) and whom to exchange ([`next_replacement`]) is read
//! off the map in the same way. Consistent hashing ([`Ring`]) is here too.

mod bootstrap;
pub mod codec;
mod command;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod growth;
mod hole;
mod identity;
mod leases;
mod map;
mod map_codec;
#[cfg(test)]
mod plant;
mod promise;
mod replacement;
mod ring;
mod state;

pub use bootstrap::{SingleNode, next_step};
pub use codec::DecodeError;
pub use command::{COMMAND_BYTES_MAX, Command};
pub use group::{ChangeError, Generation, GenerationNumber, Group, GroupId, Member};
pub use growth::next_growth;
pub use hole::{Hole, Holes};
pub use identity::{Address, ClusterId, Incarnation, NodeId, Replica, Role, Roles, Zone};
pub use leases::{Beat, JoinRefusal, Joining, LeaseTimes, Leases};
pub use map::{ClusterMap, MapVersion, Node, NodeState, Ownership, owner};
pub use promise::{Promise, Shortcoming, shortcomings};
pub use replacement::{Held, next_replacement};
pub use ring::{PointOwner, Ring, SCRAPER_POINTS, live_scrapers, scraper_ring};
pub use state::{Event, Outcome, Refusal, State};
