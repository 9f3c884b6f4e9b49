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

/// Shared, so that logging, applying and remembering a batch copy nothing of it.
impl<P: Payload> Payload for std::sync::Arc<P> {
    fn key(&self) -> BatchKey {
        P::key(self)
    }

    fn bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        P::bounds(self)
    }

    fn bytes(&self) -> usize {
        P::bytes(self)
    }
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

#[cfg(test)]
mod tests {
    use batch::{Batch, BatchBuilder, BatchHeader};
    use model::{PartitionId, SeriesId, TenantId};

    use super::*;

    #[test]
    fn a_batch_of_the_wire_is_a_payload() {
        let header = BatchHeader { group: 1, generation: 2, writer: 3, seq: 4 };
        let mut builder = BatchBuilder::new();
        let finish = |builder: &mut BatchBuilder| {
            let mut bytes = Vec::new();
            builder.finish(header, &TenantId::anonymous(), &mut bytes);
            Batch::parse(bytes.into()).unwrap()
        };
        assert_eq!(Payload::bounds(&finish(&mut builder)), None);
        for at in [30, 10, 20] {
            builder.push(PartitionId(0), SeriesId(1), at, 1.0);
        }
        let batch = finish(&mut builder);
        assert_eq!(Payload::key(&batch), BatchKey { writer: 3, seq: 4 });
        assert_eq!(Payload::bounds(&batch), Some((TimestampMs(10), TimestampMs(30))));
        assert_eq!(Payload::bytes(&batch), batch.bytes().len());
    }
}
