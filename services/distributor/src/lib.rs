//! The distributor: takes samples that others push, by remote write 1.0 and 2.0.
//!
//! Statuses are Prometheus' with three differences: nothing is rolled back (400 tells what was refused, the rest is stored), a
//! sample inside the window is never out of order, and a second value for one timestamp is joined by the fixed order.

mod content;
mod write;

pub use write::{Distributor, Limits};

#[cfg(test)]
mod tests;
