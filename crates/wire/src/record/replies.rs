//! Answers: what members, stores and scrapers say.

use batch::Batch;
use cluster::DecodeError;
use cluster::codec::Encoder;
use model::{Exemplar, Labels, Metadata, MetricType};
use peer::{Exemplars, IndexEntry, ManifestAnswer};
use replication::quorum::Flags;
use replication::replica::{ListReply, NotNow, PushReply, ReadReply, SealReply};
use replication::{BatchKey, Listed};
use storage::SelectError;

use super::{Record, Source, impossible};

/// What a receiver says to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushSaid {
    /// The member's word.
    Replied(PushReply),
    /// The entry that was named is not known here: nothing was done.
    SendEntry,
}

/// Declares an enum's layout: a byte for the variant, then its parts.
macro_rules! variants {
    ($type:ty, $field:literal, { $($code:literal => $($variant:ident)::+ $({ $($part:ident),* })? $(( $($item:ident),* ))?),* $(,)? }) => {
        impl Record for $type {
            const BYTES_MIN: usize = 1;

            fn put(&self, out: &mut Encoder) {
                match self {
                    $($($variant)::+ $({ $($part),* })? $(( $($item),* ))? => {
                        out.u8($code);
                        $($($part.put(out);)*)?
                        $($($item.put(out);)*)?
                    })*
                }
            }

            fn get(from: &mut Source<'_>) -> Result<$type, DecodeError> {
                Ok(match from.decoder.u8()? {
                    $($code => $($variant)::+ $({ $($part: Record::get(from)?),* })? $(( $({ let $item = Record::get(from)?; $item }),* ))?,)*
                    found => return Err(impossible($field, found)),
                })
            }
        }
    };
}

variants!(PushSaid, "a word on a push", { 0 => PushSaid::Replied(reply), 1 => PushSaid::SendEntry });

variants!(PushReply, "a reply to a push", {
    0 => PushReply::Ok(generation),
    1 => PushReply::Stale(entry),
    2 => PushReply::NotNow(why),
    3 => PushReply::Sealed(before),
    4 => PushReply::Need(ids),
    5 => PushReply::Full { limit_bytes },
    6 => PushReply::Refused(why),
});

variants!(NotNow, "a reason", { 0 => NotNow::NoMember, 1 => NotNow::Unfilled, 2 => NotNow::Unavailable });

variants!(SealReply, "a reply to a seal", {
    0 => SealReply::Sealed { flags, position },
    1 => SealReply::Stale(entry),
    2 => SealReply::Early,
});

variants!(ReadReply, "a reply to a read", {
    0 => ReadReply::Held { flags, dropped, watermark },
    1 => ReadReply::Stale(entry),
});

variants!(ListReply, "a reply to a list", { 0 => ListReply::Listed { to, items }, 1 => ListReply::Truncated });

variants!(Listed, "a listed position", { 0 => Listed::Batch { key, bounds }, 1 => Listed::Merged { of, position } });

variants!(SelectError, "an error of a select", {
    0 => SelectError::TooManySeries { limit },
    1 => SelectError::Unreadable { what, reason },
    2 => SelectError::Unavailable(what),
});

variants!(MetricType, "a metric type", {
    0 => MetricType::Unknown,
    1 => MetricType::Counter,
    2 => MetricType::Gauge,
    3 => MetricType::Histogram,
    4 => MetricType::GaugeHistogram,
    5 => MetricType::Summary,
    6 => MetricType::Info,
    7 => MetricType::StateSet,
});

/// Declares a struct's layout: its parts in order.
macro_rules! parts {
    ($type:ident, $bytes_min:expr, $($part:ident),+) => {
        impl Record for $type {
            const BYTES_MIN: usize = $bytes_min;

            fn put(&self, out: &mut Encoder) {
                $(self.$part.put(out);)+
            }

            fn get(from: &mut Source<'_>) -> Result<$type, DecodeError> {
                Ok($type { $($part: Record::get(from)?),+ })
            }
        }
    };
}

parts!(Flags, 9, generation, filled);
parts!(BatchKey, 16, writer, seq);
parts!(Metadata, 9, metric_type, help, unit);
parts!(Exemplars, 8, labels, exemplars);
parts!(ManifestAnswer, 13, start, blocks, hole);
parts!(IndexEntry, 34, block, origin, range, set_aside);

impl Record for Exemplar {
    const BYTES_MIN: usize = 13;

    fn put(&self, out: &mut Encoder) {
        self.labels.put(out);
        out.u64(self.value.to_bits());
        self.timestamp.put(out);
    }

    fn get(from: &mut Source<'_>) -> Result<Exemplar, DecodeError> {
        let labels: Labels = Record::get(from)?;
        let bits = from.decoder.u64()?;
        Ok(Exemplar { labels, value: f64::from_bits(bits), timestamp: Record::get(from)? })
    }
}

impl Record for Batch {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self.bytes());
    }

    fn get(from: &mut Source<'_>) -> Result<Batch, DecodeError> {
        Batch::parse(from.shared()?).map_err(|_| DecodeError::Rule { rule: "a batch is well-formed" })
    }
}

/// Exemplars of a series in one item; more of them come as further items of the same labels.
const EXEMPLARS_PER_ITEM: usize = 512;

/// Cuts series with many exemplars into items that fit into a message.
pub(crate) fn split_large(all: Vec<Exemplars>) -> Vec<Exemplars> {
    if all.iter().all(|series| series.exemplars.len() <= EXEMPLARS_PER_ITEM) {
        return all;
    }
    let pieces = all.into_iter().filter(|series| !series.exemplars.is_empty()).flat_map(|series| {
        let Exemplars { labels, exemplars } = series;
        let pieces: Vec<_> = exemplars.chunks(EXEMPLARS_PER_ITEM).map(<[Exemplar]>::to_vec).collect();
        pieces.into_iter().map(move |exemplars| Exemplars { labels: labels.clone(), exemplars })
    });
    pieces.collect()
}

/// Puts together what [`split_large`] cut.
pub(crate) fn merge_neighbours(pieces: Vec<Exemplars>) -> Vec<Exemplars> {
    let mut all: Vec<Exemplars> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match all.last_mut().filter(|last| last.labels == piece.labels) {
            Some(last) => last.exemplars.extend(piece.exemplars),
            None => all.push(piece),
        }
    }
    all
}
