//! Targets as they are shown: values that the HTTP API tells ([`TargetsSnapshot`], [`TargetMetadata`]), questions about them
//! ([`Question`]), and answers as JSON of Prometheus' shape, as they travel from a scraper to a querier ([`answer`], [`read`]).
//!
//! What a user reads is not written here: the bytes of the API, its order of members and its escapes are the querier's.

pub mod answer;
pub mod date;
#[doc(hidden)]
pub mod fuzzing;
mod question;
pub mod read;
mod values;

pub use question::{Question, UnknownQuestion, Wanted};
pub use read::ReadError;
pub use values::{ActiveTarget, DroppedTarget, TargetHealth, TargetMetadata, TargetsSnapshot};

#[cfg(test)]
mod tests;
