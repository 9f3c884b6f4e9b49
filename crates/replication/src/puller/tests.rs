//! From a peer's log into one's own.

use std::collections::BTreeMap;

use super::*;
use crate::Rules;
use crate::quorum::Flags;
use crate::replica::Limits;
use crate::tests_support::{Batch, at, batch, entry, id};
use cluster::GenerationNumber;

fn member() -> (Replica<Batch>, Puller) {
    let (mut replica, _) = Replica::new(id(1), &entry(3, 0), Limits::default(), Rules::ALL);
    replica.synced(1);
    (replica, Puller::default())
}

fn item(position: Position, seq: u64) -> (Position, Listed) {
    let batch = batch(seq, &[10]);
    (position, Listed::Batch { key: batch.key(), bounds: batch.bounds() })
}

fn list(to: Position, items: Vec<(Position, Listed)>) -> ListReply {
    ListReply::Listed { to, items }
}

fn head(position: Position) -> SnapshotHead {
    SnapshotHead {
        of: id(2),
        flags: Flags { generation: GenerationNumber(1), filled: true },
        position,
        covers: BTreeMap::from([(id(1), 1), (id(3), 30)]),
        sealed_before: at(120),
        dropped: BTreeMap::from([(at(0), "m".into())]),
        watermark: TimestampMs::MIN,
    }
}

#[test]
fn what_is_not_held_is_fetched_and_logged_before_the_cover() {
    let (mut replica, mut puller) = member();
    replica.pulled(&id(3), vec![batch(1, &[10])], 1);
    let (id1, request) = puller.start(&replica, &id(2));
    assert_eq!(request, PullRequest::List { from: 0 });
    let step = puller.listed(&mut replica, &id(2), id1, list(9, vec![item(3, 1), item(5, 2), item(7, 3)]));
    let (id2, request) = step.request.unwrap();
    assert_eq!(request, PullRequest::Fetch { positions: vec![5, 7], define: vec![] });
    let bodies = || bodies(vec![batch(2, &[10]), batch(3, &[10])]);
    let stale = puller.fetched(&mut replica, &id(2), id1, bodies(), vec![]);
    assert!(stale.effects.append.is_empty(), "an answer to something else");
    let unknown = vec![SeriesId(4)];
    let step = puller.fetched(&mut replica, &id(2), id2, bodies(), unknown.clone());
    let (id3, request) = step.request.unwrap();
    assert_eq!(request, PullRequest::Fetch { positions: vec![5, 7], define: unknown });
    let step = puller.fetched(&mut replica, &id(2), id3, bodies(), vec![]);
    let records: Vec<&str> = step
        .effects
        .append
        .iter()
        .map(|(_, record)| match record {
            crate::Record::Batch(_) => "batch",
            crate::Record::Covered { position: 9, .. } => "cover 9",
            _ => "other",
        })
        .collect();
    assert_eq!(records, ["batch", "batch", "cover 9"]);
    assert_eq!((replica.cover_of(&id(2)), puller.behind(&replica, &id(2))), (0, Some(9)), "not before the sync");
    replica.synced(replica.appended_position());
    assert_eq!((puller.behind(&replica, &id(2)), puller.behind(&replica, &id(3))), (Some(0), None));
    assert_eq!(puller.start(&replica, &id(2)).1, PullRequest::List { from: 9 });
}

fn bodies(batches: Vec<Batch>) -> Option<Bodies<Batch>> {
    Some(Bodies { batches, definitions: Vec::new() })
}

#[test]
fn some_of_the_bodies_are_taken_and_definitions_come_before_them() {
    let (mut replica, mut puller) = member();
    let (first, _) = puller.start(&replica, &id(2));
    let all = list(9, vec![item(3, 1), item(5, 2), item(7, 3)]);
    let step = puller.listed(&mut replica, &id(2), first, all);
    let (second, _) = step.request.unwrap();
    let unknown = vec![SeriesId(4)];
    let two = vec![batch(1, &[10]), batch(2, &[10])];
    let step = puller.fetched(&mut replica, &id(2), second, bodies(two.clone()), unknown.clone());
    let (third, request) = step.request.unwrap();
    assert_eq!(request, PullRequest::Fetch { positions: vec![3, 5], define: unknown });
    let one = Bodies { batches: two[..1].to_vec(), definitions: vec![batch(77, &[])] };
    let step = puller.fetched(&mut replica, &id(2), third, Some(one), vec![]);
    let seqs = |step: &Step<Batch>| -> Vec<u64> {
        let seq = |record: &crate::Record<Batch>| match record {
            crate::Record::Batch(batch) => batch.seq,
            crate::Record::Covered { position, .. } => 1000 + position,
            _ => 0,
        };
        step.effects.append.iter().map(|(_, record)| seq(record)).collect()
    };
    assert_eq!(seqs(&step), [77, 1, 1004], "covered up to before the first that is missing");
    replica.synced(replica.appended_position());
    assert_eq!(puller.behind(&replica, &id(2)), Some(5));
    // Nothing, and more than was asked for.
    for wrong in [vec![], two.iter().cycle().take(9).cloned().collect()] {
        let (first, request) = puller.start(&replica, &id(2));
        assert_eq!(request, PullRequest::List { from: 4 });
        let step = puller.listed(&mut replica, &id(2), first, list(9, vec![item(5, 2), item(7, 3)]));
        let (second, _) = step.request.unwrap();
        let step = puller.fetched(&mut replica, &id(2), second, bodies(wrong), vec![]);
        assert!(step.effects.append.is_empty() && step.request.is_none() && !puller.is_busy(&id(2)));
    }
}

#[test]
fn definitions_that_the_peer_has_not_stop_the_pull() {
    let (mut replica, mut puller) = member();
    let (first, _) = puller.start(&replica, &id(2));
    let step = puller.listed(&mut replica, &id(2), first, list(5, vec![item(5, 2)]));
    let (second, _) = step.request.unwrap();
    let step = puller.fetched(&mut replica, &id(2), second, bodies(vec![batch(2, &[10])]), vec![SeriesId(1)]);
    let (third, _) = step.request.unwrap();
    let step = puller.fetched(&mut replica, &id(2), third, bodies(vec![batch(2, &[10])]), vec![SeriesId(1)]);
    assert!(step.request.is_none() && step.effects.append.is_empty());
    assert!(!puller.is_busy(&id(2)));
}

#[test]
fn what_was_truncated_comes_as_a_snapshot() {
    let (mut replica, mut puller) = member();
    let (first, _) = puller.start(&replica, &id(2));
    let step = puller.listed(&mut replica, &id(2), first, ListReply::Truncated);
    let (second, request) = step.request.unwrap();
    assert_eq!(request, PullRequest::Snapshot);
    let step = puller.snapshot(&mut replica, &id(2), second, head(50), at(300));
    assert_eq!(step.merged_at, Some(2));
    replica.synced(replica.appended_position());
    let state = replica.durable();
    assert_eq!(
        state.covers,
        BTreeMap::from([(id(2), 50), (id(3), 30)]),
        "its covers are ours, but for that of ourselves"
    );
    assert!(state.is_dropped(at(0)));
    assert_eq!((state.sealed_before, state.data_position), (at(120), 2));
}

#[test]
fn a_merge_at_the_peer_is_left_until_its_source_was_pulled() {
    let (mut replica, mut puller) = member();
    let merged = |of, position| (4, Listed::Merged { of: id(of), position });
    let mut listed = |replica: &mut Replica<Batch>, item| {
        let (first, _) = puller.start(replica, &id(2));
        let step = puller.listed(replica, &id(2), first, list(6, vec![item]));
        replica.synced(replica.appended_position());
        step.request.map(|(_, request)| request)
    };
    assert_eq!(listed(&mut replica, merged(3, 30)), None);
    assert_eq!(replica.cover_of(&id(2)), 3, "up to the merge");
    replica.pulled(&id(3), vec![], 30);
    assert_eq!(listed(&mut replica, merged(3, 30)), None);
    assert_eq!(replica.cover_of(&id(2)), 6);
    // A snapshot of this replica itself, and one of a replica that is gone.
    assert_eq!(listed(&mut replica, merged(1, 99)), None);
    assert_eq!(listed(&mut replica, merged(7, 5)), Some(PullRequest::Snapshot));
    for _ in 0..PATIENCE {
        assert_eq!(listed(&mut replica, merged(3, 31)), None);
    }
    assert_eq!(listed(&mut replica, merged(3, 31)), Some(PullRequest::Snapshot));
}
