//! What the protocol has to know of a batch.

use std::fmt::Debug;

use model::TimestampMs;

/// Names a batch: the writer process and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchKey {
    /// A writer process: random, drawn at its start.
    pub writer: u64,
    /// The writer's number for this batch in this group.
    pub seq: u64,
}

/// A batch, real or simulated. Cheap to clone.
pub trait Payload: Clone + Debug {
    /// Its name.
    fn key(&self) -> BatchKey;
    /// Least and greatest timestamp; `None` where there is no sample, and then it touches no range.
    fn bounds(&self) -> Option<(TimestampMs, TimestampMs)>;
    /// What it takes of bounds on bytes.
    fn bytes(&self) -> usize;
}

impl Payload for batch::Batch {
    fn key(&self) -> BatchKey {
        let header = self.header();
        BatchKey { writer: header.writer, seq: header.seq }
    }

    fn bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.time_bounds().map(|(mint, maxt)| (TimestampMs(mint), TimestampMs(maxt)))
    }

    fn bytes(&self) -> usize {
        batch::Batch::bytes(self).len()
    }
}
