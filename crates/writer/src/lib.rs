//! The write path of everything that has samples: scrapers, distributors, rulers.
//!
//! `samples -> admission -> SeriesId -> batches -> replica -> acknowledgement`. The writer does all admission (labels, age), and
//! sends a series' labels only when they are new to it or asked for. It keeps nothing durable: what was not acknowledged is the
//! caller's to send again, which does no harm. No protocol of any front door lives here, and no clock: the caller says what time
//! it is.

mod encode;
mod known;
mod replica;
mod write;

pub use encode::{Admission, SampleSink, SampleSource};
pub use replica::{PushReply, Replica};
pub use write::{Limits, Writer};

#[cfg(test)]
mod tests;
