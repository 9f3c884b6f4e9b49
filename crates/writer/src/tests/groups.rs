//! Groups of three: who is waited for, what is sent to whom, what ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::{ClusterMap, GenerationNumber, GroupId};
use futures::FutureExt;
use model::{DurationMs, TenantId, TimestampMs};
use replication::replica::{NotNow, PushReply};
use storage::{AppendError, RejectReason};
use tokio::sync::watch;
use tokio::time::Instant;

use super::support::{Mode, NOW, Nodes, Rig, Samples, id, samples_of};
use crate::testing::Plane;
use crate::{Limits, Refusal, Writer};

/// Lets what was begun come to its end, without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn count(writer: &Writer, refusal: Refusal) -> u64 {
    writer.stats().refusals.into_iter().find(|(r, _)| *r == refusal).map_or(0, |(_, count)| count)
}

fn one(n: u32, at: i64) -> Samples {
    Samples(vec![(n, NOW.0 + at)])
}

#[tokio::test(start_paused = true)]
async fn no_acknowledgement_waits_for_one_of_three() {
    for mode in [Mode::Stopped, Mode::Dead, Mode::Slow(Duration::from_secs(4)), Mode::AnswerLost] {
        let rig = Rig::new(1, 3, Limits::default());
        rig.nodes.set(1, mode.clone());
        let begun = Instant::now();
        for i in 0..100 {
            assert_eq!(rig.write(&one(1, i)).await.unwrap().stored_samples, 1);
            assert!(rig.nodes.is_held_by_two(id(1), NOW.0 + i, 3), "{mode:?}");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "{mode:?}");
        rig.nodes.check_equal_bytes();
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_missed_reaches_it_when_it_is_back() {
    let rig = Rig::new(1, 3, Limits::default());
    rig.nodes.set(2, Mode::Dead);
    for i in 0..50 {
        rig.write(&one(1, i)).await.unwrap();
    }
    assert_eq!(rig.nodes.node(2).lock().unwrap().log.len(), 0);
    rig.nodes.set(2, Mode::Well);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(rig.nodes.node(2).lock().unwrap().log.len(), 50);
    let stats = rig.writer.stats();
    assert_eq!((stats.in_flight_bytes, stats.open_calls, stats.resends), (0, 0, 50));
}

#[tokio::test(start_paused = true)]
async fn two_are_needed_and_what_is_lost_is_sent_again_within_the_deadline() {
    let rig = Rig::new(1, 3, Limits::default());
    rig.nodes.set(0, Mode::Dead);
    rig.nodes.set(1, Mode::Stopped);
    let begun = Instant::now();
    let refused = rig.write(&one(1, 0)).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Unavailable(why) if why.contains("connection refused")), "{refused}");
    assert!((10..11).contains(&begun.elapsed().as_secs()));
    assert!(!rig.nodes.is_held_by_two(id(1), NOW.0, 3));
    // The same again, and a member comes back on the way. A call that hangs is given up for it.
    for back in [0, 1] {
        rig.nodes.set(0, Mode::Dead);
        rig.nodes.set(1, Mode::Stopped);
        let begun = Instant::now();
        let heal = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rig.nodes.set(back, Mode::Well);
        };
        let samples = one(1, 0);
        let (written, ()) = tokio::join!(rig.write(&samples), heal);
        assert_eq!(written.unwrap().stored_samples, 1, "{back}");
        assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
        assert!(rig.nodes.is_held_by_two(id(1), NOW.0, 3));
    }
    rig.nodes.check_equal_bytes();
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_two_generations_do_not_add_up() {
    let mut rig = Rig::new(1, 3, Limits::default());
    rig.nodes.set(1, Mode::Stopped);
    rig.nodes.set(2, Mode::Stopped);
    let (writer, samples) = (rig.writer.clone(), one(1, 0));
    let written = tokio::spawn(async move { writer.write(&TenantId::anonymous(), &samples, NOW).await });
    settle().await;
    assert_eq!(rig.nodes.node(0).lock().unwrap().log.len(), 1, "the first has said so at generation 1");
    // The third is replaced. The new one is not filled, and does not count.
    rig.plane.replace_last(GroupId(0), 3);
    rig.publish();
    settle().await;
    let both = BTreeSet::from([GenerationNumber(1), GenerationNumber(2)]);
    assert_eq!(rig.nodes.node(0).lock().unwrap().acks.values().next(), Some(&both));
    assert!(!written.is_finished());
    assert_eq!(count(&rig.writer, Refusal::Unfilled), 1);
    rig.nodes.set(1, Mode::Well);
    assert_eq!(written.await.unwrap().unwrap().stored_samples, 1);
    assert_eq!(rig.nodes.node(1).lock().unwrap().acks.values().next(), Some(&BTreeSet::from([GenerationNumber(2)])));
    settle().await;
    rig.nodes.check_equal_bytes();
}

#[tokio::test(start_paused = true)]
async fn a_writer_behind_the_map_learns_from_those_it_writes_to() {
    let mut rig = Rig::new(1, 3, Limits::default());
    rig.plane.replace_last(GroupId(0), 3);
    rig.nodes.node(0).lock().unwrap().learn(rig.plane.entry(GroupId(0)));
    let begun = Instant::now();
    rig.write(&one(1, 0)).await.unwrap();
    settle().await;
    assert_eq!(count(&rig.writer, Refusal::Stale), 1);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // When the new one is filled it counts; until the writer hears of it, two others do.
    rig.plane.fill_last(GroupId(0));
    rig.publish();
    settle().await;
    let calls = rig.nodes.node(2).lock().unwrap().calls;
    rig.nodes.set(1, Mode::Stopped);
    rig.write(&one(1, 1)).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(rig.nodes.is_held_by_two(id(1), NOW.0 + 1, 3));
    assert_eq!(rig.nodes.node(2).lock().unwrap().calls, calls, "who was replaced is not asked any more");
}

#[tokio::test(start_paused = true)]
async fn definitions_go_to_those_that_ask_and_the_batch_stays_the_same() {
    let rig = Rig::new(1, 3, Limits::default());
    let all = |at| Samples((0..20).map(|n| (n, NOW.0 + at)).collect());
    rig.write(&all(0)).await.unwrap();
    settle().await;
    // One: nobody waits for it, and the next batch defines for it what it asked for.
    rig.nodes.node(1).lock().unwrap().labels.clear();
    rig.write(&all(1)).await.unwrap();
    settle().await;
    rig.write(&all(2)).await.unwrap();
    settle().await;
    assert_eq!(rig.nodes.node(1).lock().unwrap().labels.len(), 20);
    // All three: each gets the same batch of definitions, and then the same batch of samples.
    for i in 0..3 {
        rig.nodes.node(i).lock().unwrap().labels.clear();
    }
    let before = rig.nodes.node(0).lock().unwrap().log.keys().next_back().copied();
    assert_eq!(rig.write(&all(3)).await.unwrap().stored_samples, 20);
    settle().await;
    for i in 0..3 {
        let node = rig.nodes.node(i);
        let node = node.lock().unwrap();
        assert_eq!((node.labels.len(), node.open), (20, (0, 0)));
        let last = node.log.iter().filter(|(name, _)| Some(**name) > before);
        let last: Vec<usize> = last.map(|(_, batch)| samples_of(batch).len()).collect();
        assert_eq!(last.iter().sum::<usize>(), 20, "{i}: {last:?}");
        assert!(last.contains(&0), "definitions travel without samples");
    }
    rig.nodes.check_equal_bytes();
    // They are known again.
    let needs = count(&rig.writer, Refusal::Need);
    rig.write(&all(4)).await.unwrap();
    settle().await;
    assert_eq!(count(&rig.writer, Refusal::Need), needs);
    assert_eq!(rig.writer.stats().in_flight_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn definitions_that_do_not_fit_one_batch_go_in_several() {
    let rig = Rig::new(1, 3, Limits::default());
    let all = |at| Samples((1_000_001..1_000_041).map(|n| (n, NOW.0 + at)).collect());
    rig.write(&all(0)).await.unwrap();
    settle().await;
    for i in 0..3 {
        rig.nodes.node(i).lock().unwrap().labels.clear();
    }
    assert_eq!(rig.write(&all(1)).await.unwrap().stored_samples, 40);
    settle().await;
    let node = rig.nodes.node(2);
    let without_samples = node.lock().unwrap().log.values().filter(|b| samples_of(b).is_empty()).count();
    assert!(without_samples >= 3, "40 x 60 KB in batches of at most 1 MiB: {without_samples}");
    rig.nodes.check_equal_bytes();
    // No room for so much: those that ask are full, and the caller comes back.
    let rig = Rig::new(1, 3, Limits { definition_bytes_max: 1 << 20, ..Limits::default() });
    rig.write(&all(0)).await.unwrap();
    settle().await;
    for i in 0..3 {
        rig.nodes.node(i).lock().unwrap().labels.clear();
    }
    assert!(matches!(rig.write(&all(1)).await, Err(AppendError::Overload { limit_bytes }) if limit_bytes == 1 << 20));
    assert_eq!(rig.write(&all(1)).await.unwrap().stored_samples, 40, "forgotten, so defined with the samples");
}

#[tokio::test(start_paused = true)]
async fn what_is_sealed_is_too_old_and_the_rest_is_stored() {
    for sealed in [vec![0], vec![1, 2], vec![0, 1, 2]] {
        let rig = Rig::new(1, 3, Limits::default());
        for i in &sealed {
            rig.nodes.node(*i).lock().unwrap().sealed_before = Some(TimestampMs(NOW.0 - 100));
        }
        let samples = Samples(vec![(1, NOW.0 - 101), (1, NOW.0 - 100), (2, NOW.0 - 500), (3, NOW.0)]);
        let outcome = rig.write(&samples).await.unwrap();
        if sealed.len() > 1 {
            let refused: Vec<_> = outcome.rejections.iter().map(|r| (r.reason, r.sample_count)).collect();
            assert_eq!((outcome.stored_samples, refused), (2, vec![(RejectReason::TooOld, 2)]), "{sealed:?}");
        }
        assert!(rig.nodes.is_held_by_two(id(1), NOW.0 - 100, 3));
        assert!(rig.nodes.is_held_by_two(id(3), NOW.0, 3));
        settle().await;
        rig.nodes.check_equal_bytes();
        assert_eq!(rig.writer.stats().open_requests, 0);
        // Nothing left of it.
        if sealed.len() == 3 {
            let outcome = rig.write(&Samples(vec![(1, NOW.0 - 200), (9, NOW.0 - 200)])).await.unwrap();
            assert_eq!((outcome.stored_samples, outcome.rejections[0].sample_count), (0, 2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_two_cannot_take_now_is_told_at_once() {
    let full = || Mode::Says(PushReply::Full { limit_bytes: 77 });
    let rig = Rig::new(1, 3, Limits::default());
    let begun = Instant::now();
    rig.nodes.set(0, full());
    rig.write(&one(1, 0)).await.unwrap();
    rig.nodes.set(1, full());
    assert!(matches!(rig.write(&one(1, 1)).await, Err(AppendError::Overload { limit_bytes: 77 })));
    let not_now = || Mode::Says(PushReply::NotNow(NotNow::Unavailable));
    rig.nodes.set(0, not_now());
    rig.nodes.set(1, not_now());
    assert!(matches!(rig.write(&one(1, 2)).await, Err(AppendError::Unavailable(_))));
    let never = || Mode::Says(PushReply::Refused("held with other labels".to_owned()));
    rig.nodes.set(0, never());
    rig.nodes.set(1, never());
    let refused = rig.write(&one(1, 3)).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Malformed(why) if why.ends_with("held with other labels")), "{refused}");
    rig.nodes.set(1, Mode::Well);
    rig.write(&one(1, 4)).await.unwrap();
    settle().await;
    assert_eq!((begun.elapsed(), rig.writer.stats().open_requests), (Duration::ZERO, 0));
    assert_eq!((rig.writer.stats().in_flight_bytes, count(&rig.writer, Refusal::Refused)), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn each_group_gets_one_batch_of_what_it_owns() {
    let rig = Rig::new(4, 3, Limits::default());
    let samples = Samples((0..500).map(|n| (n, NOW.0)).collect());
    let outcome = rig.write(&samples).await.unwrap();
    settle().await;
    assert_eq!(outcome.stored_samples, 500);
    let map = rig.plane.map();
    for i in 0..12 {
        let node = rig.nodes.node(i);
        let node = node.lock().unwrap();
        assert_eq!(node.log.len(), 1, "one batch, although there are 64 partitions");
        let group = GroupId(u32::try_from(i / 3).unwrap());
        let (name, batch) = node.log.iter().next().unwrap();
        assert_eq!((name.0, batch.header().group), (group, group.0));
        let owned = |id| cluster::owner(&TenantId::anonymous(), id, NOW, &map) == Some(group);
        let of_it: BTreeSet<_> = (0..500).map(id).filter(|id| owned(*id)).map(|id| (id, NOW.0)).collect();
        assert_eq!(samples_of(batch).into_iter().collect::<BTreeSet<_>>(), of_it);
    }
    // A group that cannot: the caller tries again, and the others take the same once more.
    for i in 3..6 {
        rig.nodes.set(i, Mode::Says(PushReply::NotNow(NotNow::Unavailable)));
    }
    let samples = Samples((0..500).map(|n| (n, NOW.0 + 1)).collect());
    assert!(matches!(rig.write(&samples).await, Err(AppendError::Unavailable(_))));
    for i in 3..6 {
        rig.nodes.set(i, Mode::Well);
    }
    assert_eq!(rig.write(&samples).await.unwrap().stored_samples, 500);
    assert!((0..500).all(|n| rig.nodes.is_held_by_two(id(n), NOW.0 + 1, 3)));
    settle().await;
    rig.nodes.check_equal_bytes();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_every_partition_has_a_group() {
    let (map, receiver) = watch::channel(Arc::new(ClusterMap::default()));
    let nodes = Nodes::default();
    let writer = Writer::new(7, receiver, Arc::new(nodes.clone()), Limits::default());
    let write = async || writer.write(&TenantId::anonymous(), &one(1, 0), NOW).await;
    let why = async || match write().await {
        Err(AppendError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why().await, "the cluster map is empty so far");
    let mut plane = Plane::new(2, 3, 64);
    map.send_replace(plane.map());
    settle().await;
    assert_eq!(why().await, "partition 0 of 64 has no group yet");
    plane.place();
    map.send_replace(plane.map());
    settle().await;
    assert_eq!(write().await.unwrap().stored_samples, 1);
    // Who publishes it has gone; the map stays.
    drop(map);
    settle().await;
    assert_eq!(write().await.unwrap().stored_samples, 1);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_nothing_behind() {
    let rig = Rig::new(1, 3, Limits::default());
    (0..3).for_each(|i| rig.nodes.set(i, Mode::Stopped));
    let samples = one(1, 0);
    let mut written = Box::pin(rig.write(&samples));
    assert!(written.as_mut().now_or_never().is_none());
    settle().await;
    assert_eq!((rig.writer.stats().open_requests, rig.nodes.node(0).lock().unwrap().open.0), (1, 1));
    drop(written);
    settle().await;
    let stats = rig.writer.stats();
    assert_eq!((stats.open_requests, stats.open_calls, stats.in_flight_bytes), (0, 0, 0));
    assert_eq!(rig.nodes.node(0).lock().unwrap().open, (0, 0), "the calls have ended");
    // A writer that goes takes its calls and its clock along.
    rig.nodes.set(0, Mode::Well);
    rig.nodes.set(1, Mode::Well);
    rig.write(&samples).await.unwrap();
    assert_eq!(rig.nodes.node(2).lock().unwrap().open.0, 1);
    let nodes = rig.nodes.clone();
    drop(rig);
    settle().await;
    assert_eq!(nodes.node(2).lock().unwrap().open.0, 0);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_or_stopped_member_bounds_what_is_held_for_it_for_an_hour() {
    for mode in [Mode::Stopped, Mode::Dead] {
        let in_flight = replication::writer::Limits {
            in_flight_bytes_max: 4 << 20,
            replica_bytes_max: 1 << 20,
            ..replication::writer::Limits::default()
        };
        let rig = Rig::new(1, 3, Limits { in_flight, ..Limits::default() });
        rig.nodes.set(2, mode.clone());
        let begun = Instant::now();
        let mut most = BTreeMap::<&str, usize>::new();
        let mut at_most = |what, value| {
            let most = most.entry(what).or_default();
            *most = (*most).max(value);
        };
        while begun.elapsed() < DurationMs::hours(1).to_std() {
            let at = NOW.0 + i64::try_from(begun.elapsed().as_millis()).unwrap() / 10;
            // About 20 KB.
            let samples = Samples((0..700).map(|n| (n, at)).collect());
            let before = Instant::now();
            assert_eq!(rig.write(&samples).await.unwrap().stored_samples, 700);
            assert_eq!(before.elapsed(), Duration::ZERO);
            let stats = rig.writer.stats();
            at_most("in flight", stats.in_flight_bytes);
            at_most("outstanding", stats.outstanding_bytes.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0));
            at_most("calls", stats.open_calls);
            (0..2).for_each(|i| rig.nodes.node(i).lock().unwrap().log.clear());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (open, most_open) = {
            let node = rig.nodes.node(2);
            let node = node.lock().unwrap();
            (node.open.1, node.open_bytes_max)
        };
        assert!(most["in flight"] <= 4 << 20 && most["outstanding"] <= 1 << 20, "{mode:?}: {most:?}");
        assert!(open <= 1 << 20 && most_open <= 1 << 20, "{mode:?}: {open} {most_open}");
        assert!(most["outstanding"] > 900_000, "{mode:?}: the bound was met: {most:?}");
        // It is over when nothing more comes.
        tokio::time::sleep(Duration::from_secs(31)).await;
        let stats = rig.writer.stats();
        assert_eq!((stats.in_flight_bytes, stats.open_calls), (0, 0), "{mode:?}");
        assert_eq!(rig.nodes.node(2).lock().unwrap().open, (0, 0));
    }
}
