//! What callers are told, and what replicas are sent.

use super::*;
use crate::replica::NotNow;
use crate::tests_support::{Batch, at, batch, entry, id};
use cluster::GenerationNumber;
use model::SeriesId;

const GROUP: GroupId = GroupId(0);
const REQUEST: RequestId = RequestId(1);

fn writer(limits: Limits, factor: usize) -> Writer<Batch> {
    let mut writer = Writer::new(9, limits, Rules::ALL);
    assert!(writer.learn(&entry(factor, 0), at(0)).is_empty());
    writer
}

/// Effects in few words.
fn told(effects: Vec<Effect<Batch>>) -> Vec<String> {
    let word = |effect: Effect<Batch>| match effect {
        Effect::Send { to, entry, batch } => format!("{} to {} at {}", batch.seq, to.node, entry.newest().number),
        Effect::Define { batch, ids, .. } => format!("define {} in {}", ids.len(), batch.seq),
        Effect::Split { batch, sealed_before, .. } => format!("split {} at {sealed_before}", batch.seq),
        Effect::Forget { seq, .. } => format!("forget {seq}"),
        Effect::Done(request, outcome) => format!("{} {outcome:?}", request.0),
    };
    // That a batch is forgotten is seen in the bytes that it gives back.
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Forget { .. })).map(word).collect()
}

fn submit(writer: &mut Writer<Batch>, request: u64, minutes: &[i64]) -> Vec<String> {
    let key = writer.next_key(GROUP).unwrap();
    told(writer.submit(RequestId(request), vec![(GROUP, batch(key.seq, minutes))], at(0)).unwrap())
}

fn reply(writer: &mut Writer<Batch>, seq: u64, from: usize, reply: PushReply) -> Vec<String> {
    told(writer.replied(GROUP, seq, &id(from), reply, at(0)))
}

fn ok(generation: u64) -> PushReply {
    PushReply::Ok(GenerationNumber(generation))
}

const NOTHING: [&str; 0] = [];

#[test]
fn two_members_acknowledge_and_the_third_is_not_waited_for() {
    let mut writer = writer(Limits::default(), 3);
    assert_eq!(submit(&mut writer, 1, &[5]), ["1 to n1 at 1", "1 to n2 at 1", "1 to n3 at 1"]);
    assert_eq!(reply(&mut writer, 1, 1, ok(1)), NOTHING);
    assert_eq!(reply(&mut writer, 1, 1, ok(1)), NOTHING, "the same one again");
    assert_eq!(reply(&mut writer, 1, 3, ok(1)), ["1 Acked"]);
    assert_eq!(writer.in_flight_bytes(), 100, "the second has not answered");
    assert_eq!(told(writer.tick(at(0) + DurationMs::secs(2))), ["1 to n2 at 1"]);
    assert_eq!(reply(&mut writer, 1, 2, ok(1)), NOTHING);
    assert_eq!(writer.in_flight_bytes(), 0);
}

#[test]
fn groups_of_one_and_two_need_all() {
    let mut one = writer(Limits::default(), 1);
    submit(&mut one, 1, &[5]);
    assert_eq!(reply(&mut one, 1, 1, ok(1)), ["1 Acked"]);
    let mut two = writer(Limits::default(), 2);
    submit(&mut two, 1, &[5]);
    assert_eq!(reply(&mut two, 1, 1, ok(1)), NOTHING);
    assert_eq!(reply(&mut two, 1, 2, PushReply::NotNow(NotNow::Unfilled)), ["1 Retry(Unavailable)"]);
}

#[test]
fn acknowledgements_begin_afresh_at_a_new_generation() {
    let mut writer = writer(Limits::default(), 3);
    submit(&mut writer, 1, &[5]);
    reply(&mut writer, 1, 1, ok(1));
    let again = reply(&mut writer, 1, 2, PushReply::Stale(entry(3, 1)));
    assert_eq!(again, ["1 to n1 at 2", "1 to n2 at 2", "1 to n4 at 2"]);
    assert_eq!(reply(&mut writer, 1, 3, ok(1)), NOTHING, "late, and of the generation before");
    assert_eq!(reply(&mut writer, 1, 1, ok(1)), NOTHING);
    assert_eq!(reply(&mut writer, 1, 4, PushReply::NotNow(NotNow::Unfilled)), NOTHING);
    assert_eq!(reply(&mut writer, 1, 1, ok(2)), NOTHING);
    assert_eq!(reply(&mut writer, 1, 2, ok(2)), ["1 Acked"]);
}

#[test]
fn definitions_go_to_those_that_asked_under_the_same_name() {
    let mut writer = writer(Limits::default(), 3);
    submit(&mut writer, 1, &[5]);
    let need = || PushReply::Need(vec![SeriesId(1), SeriesId(2)]);
    assert_eq!(reply(&mut writer, 1, 2, need()), ["define 2 in 1"]);
    assert_eq!(reply(&mut writer, 1, 2, need()), NOTHING, "being made");
    let larger = Batch { bytes: 300, ..batch(1, &[5]) };
    assert_eq!(told(writer.defined(GROUP, &id(2), larger, at(0))), ["1 to n2 at 1"]);
    assert_eq!((writer.in_flight_bytes(), writer.to_replica[&id(2)]), (300, 300));
    reply(&mut writer, 1, 1, ok(1));
    assert_eq!(reply(&mut writer, 1, 2, ok(1)), ["1 Acked"]);
    reply(&mut writer, 1, 3, ok(1));
    assert_eq!((writer.in_flight_bytes(), writer.to_replica.len()), (0, 0));
}

#[test]
fn the_sealed_part_is_refused_and_the_rest_goes_on() {
    let mut writer = writer(Limits::default(), 3);
    submit(&mut writer, 1, &[5, 125]);
    assert_eq!(reply(&mut writer, 1, 2, PushReply::Sealed(at(120))), ["split 1 at 7200000"]);
    let rest = batch(writer.next_key(GROUP).unwrap().seq, &[125]);
    let sent = told(writer.rest(REQUEST, GROUP, Some(rest), at(120), at(0)));
    assert_eq!(sent, ["2 to n1 at 1", "2 to n2 at 1", "2 to n3 at 1"]);
    assert_eq!(reply(&mut writer, 1, 1, ok(1)), NOTHING, "the first batch is nobody's");
    reply(&mut writer, 2, 1, ok(1));
    assert_eq!(reply(&mut writer, 2, 2, ok(1)), ["1 Refused { sealed_before: TimestampMs(7200000) }"]);
    // Nothing left of it.
    submit(&mut writer, 2, &[5]);
    reply(&mut writer, 3, 1, PushReply::Sealed(at(120)));
    let done = told(writer.rest(RequestId(2), GROUP, None, at(120), at(0)));
    assert_eq!(done, ["2 Refused { sealed_before: TimestampMs(7200000) }"]);
    // A third that has sealed does not undo what two have acknowledged.
    submit(&mut writer, 3, &[5]);
    reply(&mut writer, 4, 1, ok(1));
    assert_eq!(reply(&mut writer, 4, 2, ok(1)), ["3 Acked"]);
    assert_eq!(reply(&mut writer, 4, 3, PushReply::Sealed(at(120))), NOTHING);
}

#[test]
fn a_request_is_tried_again_when_two_cannot_take_it_or_its_time_is_over() {
    let mut writer = writer(Limits::default(), 3);
    submit(&mut writer, 1, &[5]);
    assert_eq!(reply(&mut writer, 1, 1, PushReply::Full { limit_bytes: 9 }), NOTHING);
    assert_eq!(reply(&mut writer, 1, 2, PushReply::NotNow(NotNow::Unavailable)), ["1 Retry(Overload)"]);
    submit(&mut writer, 2, &[5]);
    assert_eq!(reply(&mut writer, 2, 1, PushReply::Full { limit_bytes: 9 }), NOTHING);
    let again = told(writer.tick(at(0) + DurationMs::secs(2)));
    assert_eq!(again, ["2 to n2 at 1", "2 to n3 at 1", "2 to n1 at 1"]);
    reply(&mut writer, 2, 3, ok(1));
    let over = told(writer.tick(at(0) + DurationMs::secs(10)));
    assert_eq!(over.last().unwrap(), "2 Retry(Deadline)");
    assert_eq!((writer.in_flight_bytes(), writer.open_requests()), (0, 0));
}

#[test]
fn a_silent_replica_bounds_what_is_sent_to_it_and_nothing_else() {
    let limits = Limits { in_flight_bytes_max: 1000, replica_bytes_max: 300, ..Limits::default() };
    let mut writer = writer(limits, 3);
    for seq in 1..=50 {
        let sent = submit(&mut writer, seq, &[5]);
        let third = sent.contains(&format!("{seq} to n3 at 1"));
        assert_eq!(third, seq <= 3, "n3 is sent to until 300 bytes are on their way to it: {sent:?}");
        reply(&mut writer, seq, 1, ok(1));
        assert_eq!(reply(&mut writer, seq, 2, ok(1)), [format!("{seq} Acked")]);
        assert!(writer.in_flight_bytes() <= 300);
    }
    // What waits for it is forgotten in the end.
    writer.tick(at(0) + DurationMs::secs(31));
    assert_eq!((writer.in_flight_bytes(), writer.to_replica.len()), (0, 0));
}

#[test]
fn past_the_bound_a_request_is_not_begun_and_the_background_makes_room() {
    let limits = Limits { in_flight_bytes_max: 250, ..Limits::default() };
    let mut writer = writer(limits, 3);
    submit(&mut writer, 1, &[5]);
    submit(&mut writer, 2, &[5]);
    let key = writer.next_key(GROUP).unwrap();
    let full = writer.submit(RequestId(3), vec![(GROUP, batch(key.seq, &[5]))], at(0)).unwrap_err();
    assert_eq!(full, SubmitError::Full { in_flight: 200, max: 250 });
    reply(&mut writer, 2, 1, ok(1));
    reply(&mut writer, 2, 2, ok(1));
    assert_eq!(submit(&mut writer, 4, &[5]).len(), 3, "the second goes on in the background, and is forgotten");
    let unknown = writer.submit(RequestId(5), vec![(GroupId(7), batch(9, &[]))], at(0)).unwrap_err();
    assert_eq!(unknown, SubmitError::UnknownGroup(GroupId(7)));
}

#[test]
fn who_acknowledged_is_not_waited_for_by_definitions_of_others() {
    let mut writer = writer(Limits::default(), 3);
    let need = || PushReply::Need(vec![SeriesId(1)]);
    submit(&mut writer, 1, &[5]);
    assert_eq!(reply(&mut writer, 1, 2, need()), ["define 1 in 1"]);
    assert_eq!(reply(&mut writer, 1, 3, need()), ["define 1 in 1"], "each has its own");
    let sent = told(writer.defined(GROUP, &id(3), batch(1, &[5]), at(0)));
    assert_eq!(sent, ["1 to n3 at 1"], "the second may not have them yet");
    reply(&mut writer, 1, 1, ok(1));
    assert_eq!(reply(&mut writer, 1, 3, ok(1)), ["1 Acked"]);
    assert_eq!(told(writer.defined(GROUP, &id(2), batch(1, &[5]), at(0))), ["1 to n2 at 1"]);
    assert_eq!(reply(&mut writer, 1, 2, need()), NOTHING, "nobody is left who could tell them");
    assert_eq!((writer.in_flight_bytes(), writer.to_replica.len()), (0, 0));
}

#[test]
fn what_replicas_call_impossible_is_not_tried_again_for_ever() {
    let no = || PushReply::Refused("other labels".to_owned());
    let mut three = writer(Limits::default(), 3);
    submit(&mut three, 1, &[5]);
    assert_eq!(reply(&mut three, 1, 1, no()), NOTHING);
    assert_eq!(told(three.tick(at(0) + DurationMs::secs(2))), ["1 to n2 at 1", "1 to n3 at 1"], "not to the first");
    assert_eq!(reply(&mut three, 1, 2, ok(1)), NOTHING);
    assert_eq!(reply(&mut three, 1, 3, ok(1)), ["1 Acked"], "two others take it");
    submit(&mut three, 2, &[5]);
    assert_eq!(reply(&mut three, 2, 1, no()), NOTHING);
    assert_eq!(reply(&mut three, 2, 2, no()), ["2 Invalid"]);
    submit(&mut three, 3, &[5]);
    assert_eq!(reply(&mut three, 3, 1, no()), NOTHING);
    let later = PushReply::NotNow(NotNow::Unavailable);
    assert_eq!(reply(&mut three, 3, 2, later), ["3 Retry(Unavailable)"], "later two may take it");
    let mut one = writer(Limits::default(), 1);
    submit(&mut one, 1, &[5]);
    assert_eq!(reply(&mut one, 1, 1, no()), ["1 Invalid"]);
    assert_eq!((three.in_flight_bytes(), one.in_flight_bytes()), (0, 0));
}

#[test]
fn what_is_abandoned_takes_no_room() {
    let mut writer = writer(Limits::default(), 3);
    submit(&mut writer, 1, &[5]);
    submit(&mut writer, 2, &[5]);
    assert_eq!(writer.request_of(GROUP, 1), Some(REQUEST));
    let effects = writer.abandon(REQUEST);
    assert!(matches!(effects[..], [Effect::Forget { group: GROUP, seq: 1 }]), "{effects:?}");
    assert_eq!((writer.in_flight_bytes(), writer.open_requests(), writer.request_of(GROUP, 1)), (100, 1, None));
    assert_eq!(reply(&mut writer, 1, 1, ok(1)), NOTHING);
    reply(&mut writer, 2, 1, ok(1));
    assert_eq!(reply(&mut writer, 2, 2, ok(1)), ["2 Acked"]);
}

#[test]
fn what_waits_to_be_sent_counts_as_if_it_were() {
    let limits = Limits { in_flight_bytes_max: 250, ..Limits::default() };
    let mut writer = writer(limits, 3);
    assert!(!writer.is_busy(GROUP));
    submit(&mut writer, 1, &[5]);
    reply(&mut writer, 1, 1, ok(1));
    assert!(writer.is_busy(GROUP));
    assert_eq!(writer.hold(151).unwrap_err(), SubmitError::Full { in_flight: 100, max: 250 });
    assert!(writer.hold(150).unwrap().is_empty());
    let key = writer.next_key(GROUP).unwrap();
    let full = writer.submit(RequestId(2), vec![(GROUP, batch(key.seq, &[5]))], at(0)).unwrap_err();
    assert_eq!(full, SubmitError::Full { in_flight: 250, max: 250 });
    assert_eq!(reply(&mut writer, 1, 2, ok(1)), ["1 Acked"]);
    assert!(!writer.is_busy(GROUP), "nobody waits for the third");
    writer.let_go(100);
    assert_eq!((writer.in_flight_bytes(), submit(&mut writer, 3, &[5]).len()), (150, 3));
    assert_eq!(writer.in_flight_bytes(), 250);
    // The first is in the background; it is not forgotten for what does not fit without it either.
    assert_eq!(writer.hold(101).unwrap_err(), SubmitError::Full { in_flight: 250, max: 250 });
    assert_eq!(writer.in_flight_bytes(), 250);
    assert!(matches!(writer.hold(100).unwrap()[..], [Effect::Forget { seq: 1, .. }]));
    assert_eq!(writer.in_flight_bytes(), 250);
    writer.abandon(RequestId(3));
    assert!(!writer.is_busy(GROUP));
    writer.let_go(150);
    assert_eq!(writer.in_flight_bytes(), 0);
}

#[test]
fn a_group_is_busy_until_its_last_request_is_over_however_that_ends() {
    let mut writer = writer(Limits::default(), 3);
    for (request, seq) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
        submit(&mut writer, request, &[5]);
        assert_eq!(writer.request_of(GROUP, seq), Some(RequestId(request)));
    }
    reply(&mut writer, 1, 1, PushReply::NotNow(NotNow::Unavailable));
    assert_eq!(reply(&mut writer, 1, 2, PushReply::NotNow(NotNow::Unavailable)), ["1 Retry(Unavailable)"]);
    reply(&mut writer, 2, 1, PushReply::Sealed(at(120)));
    assert_eq!(told(writer.rest(RequestId(2), GROUP, None, at(120), at(0))).len(), 1);
    reply(&mut writer, 3, 1, PushReply::Stale(entry(3, 1)));
    reply(&mut writer, 3, 1, ok(2));
    assert_eq!(reply(&mut writer, 3, 2, ok(2)), ["3 Acked"]);
    assert!(writer.is_busy(GROUP));
    assert!(told(writer.tick(at(0) + DurationMs::secs(10))).contains(&"4 Retry(Deadline)".to_owned()));
    assert!(!writer.is_busy(GROUP));
}
