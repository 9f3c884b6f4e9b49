//! What a replica says, and when.

use super::*;
use crate::quorum::Flags;
use crate::tests_support::{Batch, Control, at, batch, entry, id};
use std::sync::Arc;

const WINDOW: DurationMs = DurationMs::hours(1);

fn flags(generation: u64, filled: bool) -> Flags {
    Flags { generation: GenerationNumber(generation), filled }
}

fn ok(generation: u64) -> Reply {
    Reply::Push(PushReply::Ok(GenerationNumber(generation)))
}

/// A founding member of a group of three, synced.
fn founding() -> Replica<Batch> {
    let (mut replica, effects) = Replica::new(id(1), &entry(3, 0), Limits::default(), Rules::ALL);
    assert_eq!(effects.append.len(), 1);
    replica.synced(1);
    replica
}

fn sync(replica: &mut Replica<Batch>) -> Vec<Reply> {
    let effects = replica.synced(replica.appended_position());
    effects.replies.into_iter().map(|(_, reply)| reply).collect()
}

/// Pushes and syncs.
fn push(replica: &mut Replica<Batch>, entry: &Entry, batch: Batch) -> Reply {
    let mut effects = replica.push(Token(1), entry, batch, Vec::new());
    effects.replies.extend(replica.synced(replica.appended_position()).replies);
    effects.replies.remove(0).1
}

#[test]
fn a_batch_is_acknowledged_after_the_sync_and_its_repeat_too() {
    let (mut replica, group) = (founding(), entry(3, 0));
    let effects = replica.push(Token(5), &group, batch(1, &[10]), Vec::new());
    assert_eq!((effects.append.len(), effects.replies.len()), (1, 0));
    let effects = replica.push(Token(6), &group, batch(1, &[10]), Vec::new());
    assert_eq!((effects.append.len(), effects.replies.len()), (0, 0), "held, and not synced");
    let effects = replica.synced(2);
    assert_eq!(effects.applied.len(), 1);
    assert_eq!(effects.replies, [(Token(5), ok(1)), (Token(6), ok(1))]);
    let effects = replica.push(Token(7), &group, batch(1, &[10]), Vec::new());
    assert_eq!(effects.replies, [(Token(7), ok(1))]);
    assert_eq!(replica.durable().data_position, 2);
}

#[test]
fn refusals_come_in_the_order_of_the_text() {
    let unknown = vec![SeriesId(7)];
    let mut replica = founding();
    replica.seal(Token(1), &entry(3, 0), at(0), WINDOW, at(10_000));
    sync(&mut replica);
    let mut said = |entry: &Entry, minutes: &[i64], unknown: &[SeriesId]| {
        let effects = replica.push(Token(1), entry, batch(1, minutes), unknown.to_vec());
        assert!(effects.append.is_empty(), "nothing is logged");
        effects.replies.into_iter().next().map(|(_, reply)| reply)
    };
    let sealed = PushReply::Sealed(at(120));
    assert_eq!(said(&entry(3, 0), &[10, 200], &unknown), Some(Reply::Push(sealed)));
    assert_eq!(said(&entry(3, 0), &[200], &unknown), Some(Reply::Push(PushReply::Need(unknown.clone()))));
    // n3 was exchanged for n4: this one is a member still, but takes nothing from writers that do not know it.
    let mut replica = founding();
    replica.adopt(&entry(3, 1));
    sync(&mut replica);
    assert_eq!(push(&mut replica, &entry(3, 0), batch(1, &[10])), Reply::Push(PushReply::Stale(entry(3, 1))));
    assert_eq!(push(&mut replica, &entry(3, 1), batch(1, &[10])), ok(2));
    // The one that left, and the one that came.
    let (mut third, _) = Replica::<Batch>::new(id(3), &entry(3, 1), Limits::default(), Rules::ALL);
    assert_eq!(push(&mut third, &entry(3, 1), batch(1, &[10])), Reply::Push(PushReply::NotNow(NotNow::NoMember)));
    let (mut fourth, _) = Replica::<Batch>::new(id(4), &entry(3, 1), Limits::default(), Rules::ALL);
    assert_eq!(push(&mut fourth, &entry(3, 1), batch(1, &[10])), Reply::Push(PushReply::NotNow(NotNow::Unfilled)));
    let limits = Limits { pending_bytes_max: 250, ..Limits::default() };
    let (mut small, _) = Replica::<Batch>::new(id(1), &entry(3, 0), limits, Rules::ALL);
    small.push(Token(1), &entry(3, 0), batch(1, &[1]), Vec::new());
    small.push(Token(2), &entry(3, 0), batch(2, &[1]), Vec::new());
    let full = Reply::Push(PushReply::Full { limit_bytes: 250 });
    small.push(Token(3), &entry(3, 0), batch(3, &[1]), Vec::new());
    assert_eq!(sync(&mut small), [ok(1), ok(1), full]);
}

#[test]
fn a_generation_is_spoken_at_when_it_is_durable() {
    let mut replica = founding();
    let effects = replica.read(Token(1), &entry(3, 1), at(0), at(10));
    assert!(effects.replies.is_empty());
    let held = |generation| {
        Reply::Read(ReadReply::Held { flags: flags(generation, true), dropped: vec![], watermark: TimestampMs::MIN })
    };
    assert_eq!(sync(&mut replica), [held(2)]);
    let effects = replica.read(Token(2), &entry(3, 0), at(0), at(10));
    assert_eq!(effects.replies, [(Token(2), Reply::Read(ReadReply::Stale(entry(3, 1))))]);
}

#[test]
fn a_batch_that_was_logged_before_a_new_generation_is_not_acknowledged_at_the_old() {
    let mut replica = founding();
    replica.push(Token(1), &entry(3, 0), batch(1, &[10]), Vec::new());
    replica.adopt(&entry(3, 1));
    assert_eq!(sync(&mut replica), [Reply::Push(PushReply::Stale(entry(3, 1)))]);
    assert_eq!(push(&mut replica, &entry(3, 1), batch(1, &[10])), ok(2));
}

#[test]
fn a_seal_names_the_last_batch_and_refuses_what_comes_after() {
    let (mut replica, group) = (founding(), entry(3, 0));
    replica.push(Token(1), &group, batch(1, &[10]), Vec::new());
    let early = replica.seal(Token(2), &group, at(0), WINDOW, at(183));
    assert_eq!(early.replies, [(Token(2), Reply::Seal(SealReply::Early))]);
    // Window and slack have passed but for a minute: clocks differ.
    let effects = replica.seal(Token(3), &group, at(0), WINDOW, at(184));
    assert_eq!((effects.append.len(), effects.replies.len()), (1, 0));
    let sealed = Reply::Seal(SealReply::Sealed { flags: flags(1, true), position: 2 });
    assert_eq!(sync(&mut replica), [ok(1), sealed.clone()]);
    // What was pulled after the seal is not acknowledged: it lies behind the position that was named.
    replica.pulled(&id(2), vec![batch(2, &[20])], 9);
    assert_eq!(push(&mut replica, &group, batch(2, &[20])), Reply::Push(PushReply::Sealed(at(120))));
    let again = replica.seal(Token(4), &group, at(0), WINDOW, at(0));
    assert_eq!(again.replies.len(), 1, "sealed already, whatever the clock says: {again:?}");
}

#[test]
fn what_was_pulled_is_listed_and_covers_are_not() {
    let (mut replica, group) = (founding(), entry(3, 0));
    push(&mut replica, &group, batch(1, &[10]));
    replica.pulled(&id(2), vec![batch(1, &[10]), batch(2, &[20])], 7);
    sync(&mut replica);
    assert_eq!((replica.cover_of(&id(2)), replica.durable().data_position), (7, 3));
    let effects = replica.list(Token(1), &id(3), &group, 2);
    let item = |position, seq, minute| {
        (position, Listed::Batch { key: batch(seq, &[]).key(), bounds: Some((at(minute), at(minute))) })
    };
    let listed = |items| Reply::List(ListReply::Listed { to: 3, items });
    assert_eq!(effects.replies, [(Token(1), listed(vec![item(3, 2, 20)]))]);
    let effects = replica.list(Token(2), &id(3), &group, 0);
    assert_eq!(effects.replies, [(Token(2), listed(vec![item(2, 1, 10), item(3, 2, 20)]))]);
}

#[test]
fn the_log_is_kept_for_peers_until_the_retention_has_passed() {
    let (mut replica, group) = (founding(), entry(3, 0));
    for seq in 1..=5 {
        push(&mut replica, &group, batch(seq, &[10]));
    }
    assert_eq!(replica.truncatable(6, 0), 0, "nobody has told of a cover");
    assert_eq!(replica.truncatable(6, 3), 3, "past the retention");
    replica.list(Token(1), &id(2), &group, 6);
    replica.list(Token(2), &id(3), &group, 4);
    assert_eq!(replica.truncatable(6, 3), 4);
    assert_eq!(replica.truncatable(2, 3), 2, "the snapshot decides");
    replica.truncated(4);
    assert_eq!(replica.list(Token(3), &id(3), &group, 3).replies, [(Token(3), Reply::List(ListReply::Truncated))]);
    assert_ne!(replica.list(Token(4), &id(3), &group, 4).replies, [(Token(4), Reply::List(ListReply::Truncated))]);
    // Names of truncated batches are remembered.
    assert!(replica.push(Token(5), &group, batch(1, &[10]), Vec::new()).append.is_empty());
}

#[test]
fn a_restart_comes_to_the_same_state() {
    let (mut replica, effects) = Replica::new(id(1), &entry(3, 0), Limits::default(), Rules::ALL);
    let mut log = effects.append;
    log.extend(replica.push(Token(1), &entry(3, 0), batch(1, &[10]), Vec::new()).append);
    log.extend(replica.pulled(&id(2), vec![batch(2, &[500])], 4).append);
    log.extend(replica.adopt(&entry(3, 1)).append);
    log.extend(replica.drop_range(at(0), "m".into(), at(400)).append);
    replica.synced(4);
    let base = replica.base();
    sync(&mut replica);
    for (base, floor) in [(None, 0), (Some(&base), 0), (Some(&base), 3)] {
        let records = log.iter().filter(|(at, _)| *at > floor).map(|(at, record)| (*at, record));
        let again = Replica::recover(id(1), base, floor, records, Limits::default(), Rules::ALL).unwrap();
        assert_eq!(again.durable(), replica.durable());
        assert_eq!(again.synced_position(), replica.synced_position());
    }
    let nothing = Replica::<Batch>::recover(id(1), None, 0, [], Limits::default(), Rules::ALL);
    assert!(nothing.is_none());
}

#[test]
fn one_that_left_and_comes_back_is_not_filled_by_its_old_word() {
    let mut control = Control::new(3);
    let (mut third, _) = Replica::<Batch>::new(id(3), &Arc::new(control.group()), Limits::default(), Rules::ALL);
    control.replace(3, 4);
    third.adopt(&Arc::new(control.group()));
    sync(&mut third);
    assert!(third.durable().filled, "its word counts in the generation before");
    control.filled(4);
    control.replace(4, 3);
    let back = Arc::new(control.group());
    third.adopt(&back);
    sync(&mut third);
    assert!(!third.durable().filled);
    third.fill(back.newest().number);
    sync(&mut third);
    assert!(third.durable().filled);
}

#[test]
fn of_a_batch_over_a_dropped_range_only_what_lies_there_is_discarded() {
    let mut replica = founding();
    replica.drop_range(at(0), "m".into(), at(400));
    assert!(replica.has(batch(1, &[]).key(), Some((at(10), at(119)))), "nothing of it is to be kept");
    assert!(!replica.has(batch(1, &[]).key(), Some((at(119), at(120)))));
    sync(&mut replica);
    let state = replica.durable();
    assert_eq!([at(0), at(119), at(120)].map(|at| state.discards(at)), [true, true, false]);
    assert_eq!(state.sealed_before, at(120));
}

#[test]
fn what_is_meant_for_another_group_is_not_taken() {
    let mut replica = founding();
    let other = crate::tests_support::second_group();
    assert_eq!(push(&mut replica, &other, batch(1, &[1])), Reply::Push(PushReply::NotNow(NotNow::NoMember)));
    assert!(replica.adopt(&other).append.is_empty());
    assert!(replica.read(Token(1), &other, at(0), at(1)).replies.is_empty());
    assert!(replica.snapshot_for(Token(1), &other).replies.is_empty());
    assert!(replica.list(Token(1), &id(5), &other, 0).replies.is_empty());
}
