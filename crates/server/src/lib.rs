//! What every role of the binary needs at its edge: the clock, a listener, the compute pool, its own metrics.
//!
//! No role's logic, no routes of an API, no configuration files but the listener's own.

pub mod clock;
mod listen;
mod metrics;
mod pool;
mod web;

pub use listen::{Limits, ListenError, Server};
pub use metrics::{Metrics, ProcessStats};
pub use pool::ComputePool;
pub use web::{Web, WebError};
