//! What a replica remembers besides samples. It changes only by records of the log, so that a replay comes to the same state;
//! a snapshot carries it.
//!
//! Where the text says "`sealed`: ranges" this keeps an instant: sealing a range seals all time before its end. Ranges come
//! due in order and are closed oldest first ([`crate::closer`]), so nothing is lost by it, and the watermark that stands for
//! dropped ranges after 24 h can never stand for one that was not closed.

use std::collections::BTreeMap;

use cluster::{GenerationNumber, Replica as ReplicaId};
use model::TimestampMs;

use crate::entry::{is_live, is_newer, joined_at};
use crate::range::{RANGE, end_of, range_of, ranges_between};
use crate::{BatchKey, Entry, Payload, Position, Rule, Rules};

/// A record of a replica's log. All kinds are numbered in one sequence; *data positions* are those of batches and merges.
#[derive(Clone, Debug)]
pub enum Record<P> {
    /// A batch, pushed or pulled.
    Batch(P),
    /// A snapshot of another replica was merged. Its content is beside the log or in the record, as the caller likes, but
    /// durable not later.
    Merged(Merged),
    /// A generation entry.
    Adopted(Entry),
    /// This replica holds every batch acknowledged before this generation.
    Filled(GenerationNumber),
    /// All of another's log up to here is applied here.
    Covered {
        /// Whose log.
        of: ReplicaId,
        /// Up to here.
        position: Position,
    },
    /// Time before this takes no more batches from writers.
    Sealed {
        /// End of a range.
        before: TimestampMs,
    },
    /// A manifest replaced a range.
    Dropped {
        /// Start of the range.
        start: TimestampMs,
        /// The manifest's name.
        manifest: ManifestName,
        /// When, by the replica's clock.
        at: TimestampMs,
    },
    /// The samples of a dropped range are not held any more.
    Freed {
        /// Start of the range.
        start: TimestampMs,
    },
    /// Ranges before this are dropped and not named any more.
    Watermark {
        /// End of a range.
        before: TimestampMs,
    },
}

/// Names a manifest in the bucket.
pub type ManifestName = std::sync::Arc<str>;

/// What a merged snapshot said of its replica.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Whose snapshot.
    pub of: ReplicaId,
    /// That replica's last data position in it.
    pub position: Position,
    /// That replica's covers.
    pub covers: BTreeMap<ReplicaId, Position>,
    /// Its seal.
    pub sealed_before: TimestampMs,
    /// Its dropped ranges that are still named.
    pub dropped: BTreeMap<TimestampMs, ManifestName>,
    /// Its watermark.
    pub watermark: TimestampMs,
    /// When it was merged, by the clock of the replica that merged it.
    pub at: TimestampMs,
}

/// A dropped range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// What replaced it.
    pub manifest: ManifestName,
    /// Since when.
    pub since: TimestampMs,
    /// Whether its samples are gone.
    pub freed: bool,
}

/// The fold of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The newest generation entry seen.
    pub entry: Entry,
    /// The generation in which this replica's membership began; `None` for a founding member.
    pub joined: Option<GenerationNumber>,
    /// Whether this replica holds every batch acknowledged at earlier generations (in ranges not dropped). A member may
    /// acknowledge only then.
    pub filled: bool,
    /// Last data position.
    pub data_position: Position,
    /// Per other member of the live generations: all of its log up to here was applied here.
    pub covers: BTreeMap<ReplicaId, Position>,
    /// Time before this takes no more batches from writers.
    pub sealed_before: TimestampMs,
    /// Ranges by start that a manifest replaced, named for 24 h.
    pub dropped: BTreeMap<TimestampMs, Drop>,
    /// Everything before this is dropped and not named any more.
    pub watermark: TimestampMs,
}

impl State {
    /// A new directory that hears of its group for the first time.
    ///
    /// It is filled where the entry says so. That is so for founding members only: an incarnation lives in its directory,
    /// and one that had been a member before could not be new.
    pub fn new(me: &ReplicaId, entry: &Entry) -> State {
        let mut state = State {
            entry: entry.clone(),
            joined: None,
            filled: false,
            data_position: 0,
            covers: BTreeMap::new(),
            sealed_before: TimestampMs::MIN,
            dropped: BTreeMap::new(),
            watermark: TimestampMs::MIN,
        };
        state.follow(me);
        state
    }

    /// Applies a record. Nothing ever goes back.
    pub(crate) fn apply<P: Payload>(&mut self, me: &ReplicaId, position: Position, record: &Record<P>, rules: Rules) {
        match record {
            // A snapshot's state may be ahead of the record that is read again.
            Record::Batch(_) => self.data_position = self.data_position.max(position),
            Record::Merged(merged) => {
                if rules.keep(Rule::MergesAreLogged) {
                    self.data_position = self.data_position.max(position);
                }
                self.merge(me, merged, rules);
            }
            Record::Adopted(entry) => {
                if is_newer(entry, &self.entry) {
                    self.entry = entry.clone();
                    self.follow(me);
                }
            }
            Record::Filled(generation) => self.filled |= self.entry.newest().number == *generation,
            Record::Covered { of, position } => self.cover(of, *position),
            Record::Sealed { before } => self.sealed_before = self.sealed_before.max(*before),
            Record::Dropped { start, manifest, at } => self.drop_range(*start, manifest, *at),
            Record::Freed { start } => {
                if let Some(drop) = self.dropped.get_mut(start) {
                    drop.freed = true;
                }
            }
            Record::Watermark { before } => self.raise_watermark(*before),
        }
    }

    /// What the entry says of this replica.
    ///
    /// A replica that left and comes back is in the entry as unfilled, in a generation later than the one in which its
    /// word on being filled was given: that word is void then. One that is no member any more keeps its word, because
    /// quorums of the generations before still count it.
    fn follow(&mut self, me: &ReplicaId) {
        let newest = self.entry.newest();
        if let Some(place) = newest.position(me) {
            let joined = joined_at(&self.entry, me);
            if newest.members[place].filled {
                self.filled = true;
            } else if self.joined != joined {
                self.joined = joined;
                self.filled = false;
            }
        }
        let entry = self.entry.clone();
        self.covers.retain(|of, _| is_live(&entry, of));
    }

    fn cover(&mut self, of: &ReplicaId, position: Position) {
        if is_live(&self.entry, of) {
            let cover = self.covers.entry(of.clone()).or_insert(0);
            *cover = (*cover).max(position);
        }
    }

    fn merge(&mut self, me: &ReplicaId, merged: &Merged, rules: Rules) {
        for (of, position) in merged.covers.iter().filter(|(of, _)| *of != me) {
            self.cover(of, *position);
        }
        self.cover(&merged.of, merged.position);
        if !rules.keep(Rule::SealsInherited) {
            return;
        }
        self.sealed_before = self.sealed_before.max(merged.sealed_before);
        for (start, manifest) in &merged.dropped {
            self.drop_range(*start, manifest, merged.at);
        }
        self.raise_watermark(merged.watermark);
    }

    fn drop_range(&mut self, start: TimestampMs, manifest: &ManifestName, at: TimestampMs) {
        if !self.is_dropped(start) {
            self.dropped.insert(start, Drop { manifest: manifest.clone(), since: at, freed: false });
            self.sealed_before = self.sealed_before.max(end_of(start));
        }
    }

    fn raise_watermark(&mut self, before: TimestampMs) {
        self.watermark = self.watermark.max(before);
        self.sealed_before = self.sealed_before.max(before);
        self.dropped.retain(|start, drop| *start >= before || !drop.freed);
    }

    /// Whether blocks stand for the range that starts here.
    pub fn is_dropped(&self, start: TimestampMs) -> bool {
        start < self.watermark || self.dropped.contains_key(&start)
    }

    /// Whether a sample at this time is not to be kept, because blocks stand for its range.
    pub fn discards(&self, at: TimestampMs) -> bool {
        self.is_dropped(range_of(at))
    }

    /// Whether nothing between these instants is to be kept.
    pub(crate) fn discards_all(&self, bounds: Option<(TimestampMs, TimestampMs)>) -> bool {
        bounds.is_some_and(|(mint, maxt)| {
            let open = mint.max(self.watermark);
            // Dropped ranges that are named are few; what spans more is looked at.
            let few = (maxt - open).0 / RANGE.0 <= 64;
            maxt < self.watermark || few && ranges_between(open, maxt).all(|start| self.dropped.contains_key(&start))
        })
    }
}

/// What a position of a log holds, as peers list it. Positions of other records are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A batch.
    Batch {
        /// Its name.
        key: BatchKey,
        /// Least and greatest timestamp.
        bounds: Option<(TimestampMs, TimestampMs)>,
    },
    /// A merged snapshot; its content is to be had by a snapshot only.
    Merged {
        /// Whose.
        of: ReplicaId,
        /// Up to which of that replica's positions.
        position: Position,
    },
}

impl Listed {
    /// What is listed of a record; `None` for those that hold no samples.
    pub(crate) fn of<P: Payload>(record: &Record<P>) -> Option<Listed> {
        match record {
            Record::Batch(batch) => Some(Listed::Batch { key: batch.key(), bounds: batch.bounds() }),
            Record::Merged(merged) => Some(Listed::Merged { of: merged.of.clone(), position: merged.position }),
            Record::Adopted(_)
            | Record::Filled(_)
            | Record::Covered { .. }
            | Record::Sealed { .. }
            | Record::Dropped { .. }
            | Record::Freed { .. }
            | Record::Watermark { .. } => None,
        }
    }
}
