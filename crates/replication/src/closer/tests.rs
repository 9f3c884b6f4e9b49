//! A range on its way into the bucket.

use super::*;
use crate::quorum::Flags;
use crate::range::RANGE;
use crate::replica::Limits;
use crate::tests_support::{Batch, at, batch, entry, id};
use cluster::{GenerationNumber, GroupId};

const CLUSTER: ClusterId = ClusterId(3);
const START: TimestampMs = TimestampMs(0);

/// n1 or another, with a batch in the first range, and its closer.
fn member(number: usize) -> (Replica<Batch>, Closer) {
    let (mut replica, _) = Replica::new(id(number), &entry(3, 0), Limits::default(), Rules::ALL);
    replica.pulled(&id(4), vec![batch(1, &[10])], 0);
    replica.synced(replica.appended_position());
    let identity = Identity { cluster: CLUSTER, window: DurationMs::hours(1) };
    (replica, Closer::new(identity, Rules::ALL))
}

fn sealed(position: Position) -> SealReply {
    SealReply::Sealed { flags: Flags { generation: GenerationNumber(1), filled: true }, position }
}

fn manifest(blocks: &[BlockName]) -> Manifest {
    Manifest {
        cluster: CLUSTER,
        group: GroupId(0),
        generation: GenerationNumber(1),
        start: START,
        sealed: vec![(id(1), 2), (id(2), 9)],
        blocks: blocks.to_vec(),
        holes: vec![],
    }
}

/// A closer of n1 that has cut blocks 7 and 8 and is about to create the manifest.
fn creating() -> (Replica<Batch>, Closer, u64) {
    let (mut replica, mut closer) = member(1);
    let now = at(185);
    let step = closer.tick(&mut replica, Some(START), now);
    assert_eq!(step.asks, [Ask::ReadManifest { start: START }]);
    let step = closer.manifest_read(&mut replica, step.attempt, None, now);
    let everyone = [1, 2, 3].map(|n| Ask::Seal { to: id(n), entry: entry(3, 0), start: START });
    assert_eq!(step.asks, everyone);
    let attempt = step.attempt;
    assert!(closer.sealed(&mut replica, attempt, &id(1), sealed(2), now).asks.is_empty());
    let step = closer.sealed(&mut replica, attempt, &id(2), sealed(9), now);
    assert_eq!(step.asks, [Ask::Pull { from: id(2) }], "two have sealed; what the other holds comes first");
    assert_eq!(closer.tick(&mut replica, Some(START), now).asks, [Ask::Pull { from: id(2) }]);
    replica.pulled(&id(2), vec![batch(2, &[20])], 9);
    assert_eq!(closer.tick(&mut replica, Some(START), now).asks, [Ask::Pull { from: id(2) }], "not durable yet");
    replica.synced(replica.appended_position());
    let step = closer.tick(&mut replica, Some(START), now);
    assert_eq!(step.asks, [Ask::Cut { start: START }]);
    let step = closer.cut(&mut replica, step.attempt, vec![7, 8], vec![], now);
    assert_eq!(step.asks, [Ask::Create(manifest(&[7, 8]))]);
    (replica, closer, step.attempt)
}

#[test]
fn a_range_is_dropped_when_its_manifest_and_each_block_were_found() {
    let (mut replica, mut closer, attempt) = creating();
    // The answer is lost; what was asked is asked again, as often as it takes.
    let later = at(600);
    assert_eq!(closer.tick(&mut replica, Some(START), later).asks, [Ask::Create(manifest(&[7, 8]))]);
    let step = closer.created(&mut replica, attempt, manifest(&[7, 8]), later);
    assert_eq!(step.asks, [Ask::FindMetas(vec![7, 8])]);
    assert!(closer.metas_found(&mut replica, step.attempt, false, later).effects.append.is_empty());
    let step = closer.tick(&mut replica, Some(START), later);
    let step = closer.manifest_read(&mut replica, step.attempt, Some(manifest(&[7, 8])), later);
    assert_eq!(closer.metas_found(&mut replica, step.attempt, true, later).effects.append.len(), 1);
    assert!(replica.appended_state().is_dropped(START));
}

#[test]
fn who_finds_anothers_manifest_deletes_its_own_blocks() {
    let (mut replica, mut closer, attempt) = creating();
    let step = closer.created(&mut replica, attempt, manifest(&[5]), at(185));
    assert_eq!(step.asks, [Ask::FindMetas(vec![5]), Ask::Delete(vec![7, 8])]);
}

#[test]
fn another_clusters_manifest_stops_the_closer() {
    let (mut replica, mut closer, attempt) = creating();
    let theirs = Manifest { cluster: ClusterId(4), ..manifest(&[5]) };
    assert!(closer.created(&mut replica, attempt, theirs.clone(), at(185)).asks.is_empty());
    assert_eq!(closer.foreign(), Some(&Foreign { manifest: theirs }));
    assert!(closer.tick(&mut replica, Some(START), at(9999)).asks.is_empty());
}

#[test]
fn members_wait_for_their_turn_and_look_before() {
    for (number, turn) in [(1, 185), (2, 200), (3, 215)] {
        for minute in [184, 185, turn - 1, turn] {
            let (mut replica, mut closer) = member(number);
            let step = closer.tick(&mut replica, Some(START), at(minute));
            assert_eq!(step.asks.is_empty(), minute < 185, "n{number} at {minute}");
            if !step.asks.is_empty() {
                let step = closer.manifest_read(&mut replica, step.attempt, None, at(minute));
                assert_eq!(step.asks.len(), if minute < turn { 0 } else { 3 }, "n{number} at {minute}");
            }
        }
    }
}

#[test]
fn what_is_older_is_cut_first() {
    let (mut replica, mut closer) = member(1);
    let second = START + RANGE;
    let step = closer.tick(&mut replica, Some(second), at(400));
    let step = closer.manifest_read(&mut replica, step.attempt, None, at(400));
    closer.sealed(&mut replica, step.attempt, &id(1), sealed(2), at(400));
    closer.sealed(&mut replica, step.attempt, &id(3), sealed(0), at(400));
    // The pull has brought samples of the first range.
    assert!(closer.tick(&mut replica, Some(START), at(400)).asks.is_empty());
    assert_eq!(closer.tick(&mut replica, Some(START), at(400)).asks, [Ask::ReadManifest { start: START }]);
}

#[test]
fn a_later_generation_begins_again() {
    let (mut replica, mut closer) = member(1);
    let step = closer.tick(&mut replica, Some(START), at(185));
    let step = closer.manifest_read(&mut replica, step.attempt, None, at(185));
    let step = closer.sealed(&mut replica, step.attempt, &id(2), SealReply::Stale(entry(3, 1)), at(185));
    assert_eq!(step.effects.append.len(), 1);
    replica.synced(replica.appended_position());
    let step = closer.tick(&mut replica, Some(START), at(185));
    let step = closer.manifest_read(&mut replica, step.attempt, None, at(185));
    // The one that left is asked, too.
    assert_eq!(step.asks.len(), 4);
}

#[test]
fn dropped_ranges_are_freed_after_half_an_hour_and_not_named_after_a_day() {
    let (mut replica, closer) = member(1);
    replica.drop_range(START, "m".into(), at(200));
    let mut freed = |minute: i64, held: &[TimestampMs]| {
        closer.free(&mut replica, held.iter().copied(), at(minute)).iter().map(|e| e.append.len()).sum::<usize>()
    };
    assert_eq!(freed(229, &[START]), 0);
    assert_eq!(freed(230, &[START]), 1);
    assert_eq!(freed(231, &[]), 0);
    assert_eq!(freed(200 + 1440, &[START - RANGE]), 0, "something older is held: the watermark cannot pass it");
    assert_eq!(freed(200 + 1440, &[START + RANGE]), 1);
    let state = replica.appended_state();
    assert_eq!((state.watermark, state.dropped.len()), (at(120), 0));
}
