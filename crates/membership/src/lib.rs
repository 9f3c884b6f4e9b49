//! How a node belongs to a cluster: it joins, heartbeats, follows the cluster map by a stream from any peer, keeps the last
//! one on disk, and serves it on to others. Used by all roles.
//!
//! Nothing here decides anything: the control plane does. It knows neither Raft nor what a role is for, and it does not read
//! the clock (ages are spans; the wall clock comes in where one is written to disk).

mod caller;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod map_file;
mod news;
mod page;
mod presence;
mod serve;
pub mod wire;

pub use caller::{CallError, Caller};
pub use follow::Follower;
pub use held::{AdoptError, HeldMap, MapSource};
pub use map_file::{MapFile, MapFileError};
pub use news::tell_news;
pub use page::map_as_json;
pub use presence::{Identity, Presence, Reporter, Standing};
pub use serve::{MAP_BYTES_MAX, MapService};
