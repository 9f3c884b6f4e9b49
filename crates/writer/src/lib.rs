//! The write path of everything that has samples: scrapers, distributors, rulers.
//!
//! `samples -> admission -> SeriesId -> a batch per group -> its replicas -> acknowledgement`. The writer does all admission
//! (labels, age), and sends a series' labels only when they are new to it or asked for. Which replicas are sent to, when a batch
//! is acknowledged and when it is sent again is decided by `replication::writer`; here is what surrounds it: encoding, calls,
//! those who wait. Small requests that come while a batch of their group is under way are sent together. It keeps nothing durable: what was not acknowledged is the caller's to send again, which does no harm. No
//! protocol of any front door or between nodes lives here, and no clock: the caller says what time it is, and only how long
//! something takes is measured.

mod delivery;
mod encode;
mod known;
mod outgoing;
mod refusals;
mod routing;
mod split;
#[doc(hidden)]
pub mod testing;
mod write;

pub use batch::histogram_bytes_max;
pub use encode::{Admission, SampleSink, SampleSource};
pub use outgoing::Stats;
pub use refusals::Refusal;
pub use write::{JoinLimits, Limits, Writer};

#[cfg(test)]
mod tests;
