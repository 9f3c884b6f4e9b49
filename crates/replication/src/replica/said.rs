//! What a replica says, put together from what is durable.

use cluster::GenerationNumber;
use model::{SeriesId, TimestampMs};

use super::{Ask, ListReply, Replica, SnapshotHead};
use crate::quorum::Flags;
use crate::range::{end_of, ranges_between};
use crate::state::ManifestName;
use crate::{Entry, Payload, Position, Rule};

/// Why a replica takes nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// It is no member of the generation.
    NoMember,
    /// It does not hold what was acknowledged before.
    Unfilled,
    /// Its log or its process cannot.
    Unavailable,
}

/// What a replica says to a batch. In all cases but `Ok` nothing was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushReply {
    /// Logged, synced and applied, as a member of this generation.
    Ok(GenerationNumber),
    /// There is a later generation.
    Stale(Entry),
    /// Not able to take anything now.
    NotNow(NotNow),
    /// Time before this takes no more samples.
    Sealed(TimestampMs),
    /// These ids are not known here.
    Need(Vec<SeriesId>),
    /// No room at the moment.
    Full {
        /// The bound that was met.
        limit_bytes: usize,
    },
    /// The batch defines this id, and other labels are held under it: it will never be taken.
    Conflict(SeriesId),
}

/// What a replica says to a seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealReply {
    /// The range takes no direct writes any more.
    Sealed {
        /// Generation and whether filled.
        flags: Flags,
        /// Everything that touches the range and was or will be acknowledged by this replica lies up to here in its log.
        position: Position,
    },
    /// There is a later generation.
    Stale(Entry),
    /// Not due by this replica's clock.
    Early,
}

/// What a replica says to a read; the samples of ranges not dropped go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadReply {
    /// What it holds.
    Held {
        /// Generation and whether filled.
        flags: Flags,
        /// Dropped ranges in the query, by start, and what replaced them.
        dropped: Vec<(TimestampMs, ManifestName)>,
        /// Blocks stand for all before this, without being named.
        watermark: TimestampMs,
    },
    /// There is a later generation.
    Stale(Entry),
}

/// Anything that waits for a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a batch.
    Push(PushReply),
    /// To a seal.
    Seal(SealReply),
    /// To a read; the caller adds samples.
    Read(ReadReply),
    /// To a peer's question what is new.
    List(ListReply),
    /// To a peer's wish for a snapshot; the caller adds samples of all ranges not dropped, and definitions.
    Snapshot(Result<SnapshotHead, Entry>),
}

impl<P: Payload> Replica<P> {
    pub(super) fn reply_to(&self, ask: Ask) -> Reply {
        match ask {
            Ask::Refused(reply) => Reply::Push(reply),
            Ask::Pushed { generation } => Reply::Push(self.pushed(generation)),
            Ask::Seal { start, generation, early } => Reply::Seal(self.sealed(start, generation, early)),
            Ask::Read { generation, mint, maxt } => Reply::Read(self.told(generation, mint, maxt)),
            Ask::List { from } => Reply::List(self.list_from(from)),
            Ask::Snapshot { generation } => {
                Reply::Snapshot(self.speaks_at(generation).map(|flags| self.snapshot_head(flags)))
            }
        }
    }

    /// The flags of a reply at this generation, unless this replica has moved on. What is said rests on what is durable.
    fn speaks_at(&self, generation: GenerationNumber) -> Result<Flags, Entry> {
        let state = if self.rules.keep(Rule::AdoptedBeforeSpoken) { &self.durable } else { &self.state };
        let own = state.entry.newest().number;
        if own > generation && self.rules.keep(Rule::OlderGenerationsRefused) {
            return Err(state.entry.clone());
        }
        Ok(Flags { generation, filled: state.filled })
    }

    fn pushed(&self, generation: GenerationNumber) -> PushReply {
        match self.speaks_at(generation) {
            Ok(flags) => {
                // Assertion 2: a filled member at exactly this generation.
                debug_assert!(flags.filled || !self.rules.keep(Rule::UnfilledDoNotAck));
                PushReply::Ok(generation)
            }
            Err(entry) => PushReply::Stale(entry),
        }
    }

    fn sealed(&self, start: TimestampMs, generation: GenerationNumber, early: bool) -> SealReply {
        match self.speaks_at(generation) {
            Err(entry) => SealReply::Stale(entry),
            Ok(_) if early && self.durable.sealed_before < end_of(start) => SealReply::Early,
            Ok(flags) => SealReply::Sealed { flags, position: self.durable.data_position },
        }
    }

    fn told(&self, generation: GenerationNumber, mint: TimestampMs, maxt: TimestampMs) -> ReadReply {
        let flags = match self.speaks_at(generation) {
            Ok(flags) => flags,
            Err(entry) => return ReadReply::Stale(entry),
        };
        let within = |start: TimestampMs| start < maxt && mint < end_of(start);
        let named = self.durable.dropped.iter().filter(|(start, _)| within(**start));
        let dropped = named.map(|(start, drop)| (*start, drop.manifest.clone())).collect();
        ReadReply::Held { flags, dropped, watermark: self.durable.watermark }
    }

    /// The ranges between two instants for which the replica does not answer itself.
    pub fn dropped_between(&self, mint: TimestampMs, maxt: TimestampMs) -> impl Iterator<Item = TimestampMs> + '_ {
        ranges_between(mint, maxt).filter(|start| self.durable.is_dropped(*start))
    }
}
