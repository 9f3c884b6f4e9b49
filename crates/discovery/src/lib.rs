//! Where targets come from: groups written into the configuration, in files, and behind URLs.
//!
//! [`Sources`] is the pure part: what each origin said last. Around it are the mechanisms, one task each, and one task per job
//! that publishes all groups whenever some changed. It does not know what a target is: relabelling is the scraper's.

mod discovery;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod http;

pub use discovery::{Discovery, Known, Outside};
pub use group::{Group, Sources};
