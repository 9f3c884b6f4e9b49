//! The rules of the protocol by name, so that the simulation can leave one out and show that it then finds the loss.
//!
//! The program knows only [`Rules::ALL`]. Each variant says what holds; leaving it out is a shortcut that looks right.

/// A rule that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A read is answered by a quorum, never by one replica.
    ReadsAskAQuorum,
    /// Acknowledgements count only together with those of the same generation.
    AcksOfOneGeneration,
    /// A replica serves no generation older than its own.
    OlderGenerationsRefused,
    /// A new disk is a new incarnation. The simulation's: identities are given to these cores.
    NewDiskNewIncarnation,
    /// A member that is not filled does not acknowledge.
    UnfilledDoNotAck,
    /// A new member is filled by a majority of the members before.
    FilledByAMajority,
    /// A new member is filled only by replies of members that have themselves moved on.
    FilledByThoseMovedOn,
    /// A reply is judged by the flag that it carried, not by what is known later.
    FlagOfTheReply,
    /// A quorum reaches back over generations to the first all-filled one.
    GenerationsBefore,
    /// A range is sealed before it is cut.
    SealedBeforeCut,
    /// A seal needs a quorum.
    SealedByAQuorum,
    /// What those who sealed hold is pulled before the cut.
    PulledBeforeCut,
    /// A new member inherits what is sealed and dropped.
    SealsInherited,
    /// A batch is taken whole or not at all.
    BatchesWhole,
    /// A range is dropped when the manifest and each `meta.json` were read.
    DroppedWhenRead,
    /// Of two values the greater in a fixed order stays. The simulation's: values are not these cores'.
    GreaterValueStays,
    /// A batch is acknowledged after the sync.
    AckedAfterSync,
    /// A generation is adopted durably before anything is said at it.
    AdoptedBeforeSpoken,
    /// A cover is logged after the batches that it stands for.
    CoverAfterBatches,
    /// What is pulled and held already is not logged again.
    RecentNotPulledAgain,
    /// Samples of dropped ranges that are pulled are not kept.
    DroppedNotKept,
    /// Of a batch that touches a dropped range, what lies in other ranges is kept.
    RestOfBatchKept,
    /// The log is kept until the other members have it, or the retention has passed.
    TruncationWaitsForCovers,
    /// A puller that asks for what was truncated is told so.
    TruncatedIsTold,
    /// A merged snapshot takes a position of the log.
    MergesAreLogged,
    /// A snapshot is merged, and replaces nothing. The simulation's: content is not these cores'.
    SnapshotsMerge,
    /// A seal is asked for before a repeat is acknowledged.
    SealBeforeRepeat,
    /// Blocks of an attempt are deleted only when another's manifest was read.
    LeftOversKept,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 28] = [
        Rule::ReadsAskAQuorum,
        Rule::AcksOfOneGeneration,
        Rule::OlderGenerationsRefused,
        Rule::NewDiskNewIncarnation,
        Rule::UnfilledDoNotAck,
        Rule::FilledByAMajority,
        Rule::FilledByThoseMovedOn,
        Rule::FlagOfTheReply,
        Rule::GenerationsBefore,
        Rule::SealedBeforeCut,
        Rule::SealedByAQuorum,
        Rule::PulledBeforeCut,
        Rule::SealsInherited,
        Rule::BatchesWhole,
        Rule::DroppedWhenRead,
        Rule::GreaterValueStays,
        Rule::AckedAfterSync,
        Rule::AdoptedBeforeSpoken,
        Rule::CoverAfterBatches,
        Rule::RecentNotPulledAgain,
        Rule::DroppedNotKept,
        Rule::RestOfBatchKept,
        Rule::TruncationWaitsForCovers,
        Rule::TruncatedIsTold,
        Rule::MergesAreLogged,
        Rule::SnapshotsMerge,
        Rule::SealBeforeRepeat,
        Rule::LeftOversKept,
    ];
}

/// Which rules are kept: all but at most one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    without: Option<Rule>,
}

impl Rules {
    /// The protocol.
    pub const ALL: Rules = Rules { without: None };

    /// The protocol without one rule, for the simulation.
    #[doc(hidden)]
    pub const fn without(rule: Rule) -> Rules {
        Rules { without: Some(rule) }
    }

    /// Whether the rule is kept.
    #[inline]
    pub fn keep(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}
