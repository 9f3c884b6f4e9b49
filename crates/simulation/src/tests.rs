//! The protocol passes, and each rule left out is found.

use replication::{Rule, Rules};

use crate::{Report, finds, run};

/// About twenty seconds.
const SEEDS: u64 = 6000;

#[test]
fn the_protocol_passes_and_everything_happens() {
    let mut total = Report::default();
    for seed in 0..SEEDS {
        match run(seed, Rules::ALL) {
            Ok(report) => total.add(report),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{total:?}");
    // A simulation in which something does not happen says nothing about it.
    let happened = [
        total.acknowledged,
        total.complete_answers,
        total.closed_ranges,
        total.uploaded_again,
        total.generations,
        total.crashes,
        total.lost_disks,
        total.merges,
        total.pulled,
        total.freed,
        total.watermarks,
        total.sealed,
        total.defined,
    ];
    assert!(happened.iter().all(|count| *count > SEEDS / 50), "{total:?}");
}

#[test]
fn a_seed_reproduces() {
    for seed in 0..20 {
        assert_eq!(run(seed, Rules::ALL), run(seed, Rules::ALL));
    }
}

/// Most seeds until a violation is found.
const SEEDS_TO_FIND: u64 = 20_000;

fn check_found(rule: Rule) {
    let found = (0..SEEDS_TO_FIND).find_map(|seed| Some((seed, finds(seed, Rules::without(rule))?)));
    match found {
        Some((seed, what)) => println!("{rule:?} left out: seed {seed}: {what}"),
        None => panic!("{rule:?} is left out, and {SEEDS_TO_FIND} seeds show nothing"),
    }
}

/// One test for each rule.
macro_rules! left_out {
    ($($name:ident: $rule:ident,)*) => {
        $(
            #[test]
            fn $name() {
                check_found(Rule::$rule);
            }
        )*

        #[test]
        fn every_rule_has_its_test() {
            assert_eq!(Rule::ALL.to_vec(), [$(Rule::$rule),*]);
        }
    };
}

left_out! {
    without_reads_ask_a_quorum: ReadsAskAQuorum,
    without_acks_of_one_generation: AcksOfOneGeneration,
    without_older_generations_refused: OlderGenerationsRefused,
    without_new_disk_new_incarnation: NewDiskNewIncarnation,
    without_unfilled_do_not_ack: UnfilledDoNotAck,
    without_filled_by_a_majority: FilledByAMajority,
    without_filled_by_those_moved_on: FilledByThoseMovedOn,
    without_flag_of_the_reply: FlagOfTheReply,
    without_generations_before: GenerationsBefore,
    without_sealed_before_cut: SealedBeforeCut,
    without_sealed_by_a_quorum: SealedByAQuorum,
    without_pulled_before_cut: PulledBeforeCut,
    without_seals_inherited: SealsInherited,
    without_batches_whole: BatchesWhole,
    without_dropped_when_read: DroppedWhenRead,
    without_greater_value_stays: GreaterValueStays,
    without_acked_after_sync: AckedAfterSync,
    without_adopted_before_spoken: AdoptedBeforeSpoken,
    without_cover_after_batches: CoverAfterBatches,
    without_recent_not_pulled_again: RecentNotPulledAgain,
    without_dropped_not_kept: DroppedNotKept,
    without_rest_of_batch_kept: RestOfBatchKept,
    without_truncation_waits_for_covers: TruncationWaitsForCovers,
    without_truncated_is_told: TruncatedIsTold,
    without_merges_are_logged: MergesAreLogged,
    without_snapshots_merge: SnapshotsMerge,
    without_seal_before_repeat: SealBeforeRepeat,
    without_left_overs_kept: LeftOversKept,
}
