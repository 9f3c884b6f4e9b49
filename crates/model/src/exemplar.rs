//! Exemplars.

use crate::{Labels, TimestampMs};

/// One exemplar of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Labels of the exemplar itself (a trace id, usually); at most 128 characters in all.
    pub labels: Labels,
    /// The value observed.
    pub value: f64,
    /// When, where it was said.
    pub timestamp: Option<TimestampMs>,
}
