//! Requests that are sent together: when, with whom, and what each is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::GenerationNumber;
use futures::{FutureExt, StreamExt, stream};
use model::{DurationMs, TenantId, TimestampMs};
use peer::Answer;
use replication::Entry;
use replication::replica::{NotNow, PushReply};
use storage::{AppendError, AppendOutcome, RejectReason};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::support::{Mode, NOW, Rig, Samples, id, samples_of};
use crate::testing::{Only, Plane, PushOnly};
use crate::{JoinLimits, Limits, Writer};

type Written = Result<AppendOutcome, AppendError>;

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A group whose members take so long.
fn rig(factor: u8, time: Duration, limits: Limits) -> Rig {
    let rig = Rig::new(1, factor, limits);
    (0..usize::from(factor)).for_each(|node| rig.nodes.set(node, Mode::Slow(time)));
    rig
}

fn one(n: u32) -> Samples {
    Samples(vec![(n, NOW.0 + i64::from(n))])
}

fn begin(rig: &Rig, samples: Samples) -> JoinHandle<Written> {
    let writer = rig.writer.clone();
    tokio::spawn(async move { writer.write(&TenantId::anonymous(), &samples, NOW).await })
}

/// Requests with a sample each, in this order; the first finds an idle group.
async fn begin_all(rig: &Rig, numbers: impl Iterator<Item = u32>) -> Vec<JoinHandle<Written>> {
    let mut begun = Vec::new();
    for n in numbers {
        begun.push(begin(rig, one(n)));
        tokio::task::yield_now().await;
    }
    settle().await;
    begun
}

/// How each of them ended, when all have.
async fn ended<T>(begun: Vec<JoinHandle<T>>) -> Vec<Result<T, JoinError>> {
    let mut all = Vec::new();
    for task in begun {
        all.push(task.await);
    }
    all
}

async fn all_stored(begun: Vec<JoinHandle<Written>>) {
    for written in begun {
        let written = written.await.unwrap().unwrap();
        assert_eq!((written.stored_samples, written.rejections.len()), (1, 0));
    }
}

/// How many samples the batches have that a member holds, in the order of their names.
fn held(rig: &Rig, node: usize) -> Vec<usize> {
    rig.nodes.node(node).lock().unwrap().log.values().map(|batch| batch.sample_count()).collect()
}

fn calls(rig: &Rig, node: usize) -> usize {
    rig.nodes.node(node).lock().unwrap().calls
}

/// Nothing is held of what is over.
fn check_nothing_left(rig: &Rig) {
    let stats = rig.writer.stats();
    assert_eq!((stats.open_requests, stats.open_calls, stats.in_flight_bytes), (0, 0, 0));
    rig.nodes.check_equal_bytes();
}

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_under_way_goes_as_one_when_that_ends() {
    let rig = rig(3, 2 * MS, Limits::default());
    let begun = Instant::now();
    all_stored(begin_all(&rig, 0..10).await).await;
    assert_eq!(begun.elapsed(), 4 * MS);
    settle().await;
    for node in 0..3 {
        assert_eq!(held(&rig, node), [1, 9]);
    }
    assert!((0..10).all(|n| rig.nodes.is_held_by_two(id(n), NOW.0 + i64::from(n), 3)));
    let stats = rig.writer.stats();
    assert_eq!((stats.joined_batches, stats.joined_requests), (1, 9));
    check_nothing_left(&rig);
    // The definitions that went along are known now.
    let definitions: usize = rig.nodes.node(0).lock().unwrap().labels.len();
    all_stored(begin_all(&rig, 0..10).await).await;
    assert_eq!((definitions, rig.nodes.node(0).lock().unwrap().labels.len()), (10, 10));
    assert_eq!(calls(&rig, 0), 4, "nobody asked for definitions");
}

#[tokio::test(start_paused = true)]
async fn who_finds_nothing_under_way_waits_for_nobody() {
    let rig = rig(3, Duration::ZERO, Limits::default());
    let begun = Instant::now();
    for n in 0..20 {
        rig.write(&one(n)).await.unwrap();
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(rig.writer.stats().joined_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_one_that_waited_goes_by_itself() {
    let rig = rig(3, 2 * MS, Limits::default());
    all_stored(begin_all(&rig, 0..2).await).await;
    settle().await;
    assert_eq!((held(&rig, 0), rig.writer.stats().joined_batches), (vec![1, 1], 0));
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_one_gets_each_request_at_once() {
    let rig = rig(1, 2 * MS, Limits::default());
    let begun = Instant::now();
    all_stored(begin_all(&rig, 0..10).await).await;
    assert_eq!(begun.elapsed(), 2 * MS);
    assert_eq!((held(&rig, 0), rig.writer.stats().joined_requests), (vec![1; 10], 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_5_ms() {
    let rig = rig(3, 100 * MS, Limits::default());
    let begun = begin_all(&rig, 0..4).await;
    tokio::time::sleep(4 * MS).await;
    settle().await;
    assert_eq!(calls(&rig, 0), 1);
    tokio::time::sleep(2 * MS).await;
    settle().await;
    assert_eq!((calls(&rig, 0), rig.writer.stats().joined_requests), (2, 3));
    all_stored(begun).await;
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn the_third_member_delays_nobody() {
    for third in [Mode::Stopped, Mode::Dead, Mode::Slow(Duration::from_secs(4)), Mode::AnswerLost] {
        let rig = rig(3, 2 * MS, Limits::default());
        rig.nodes.set(2, third.clone());
        let begun = Instant::now();
        for round in 0..5 {
            all_stored(begin_all(&rig, round * 10..round * 10 + 10).await).await;
        }
        assert_eq!(begun.elapsed(), 20 * MS, "{third:?}");
        assert_eq!(held(&rig, 0), [1, 9].repeat(5), "{third:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_32_requests_go_together() {
    let rig = rig(3, 100 * MS, Limits::default());
    let begun = begin_all(&rig, 0..100).await;
    assert_eq!(calls(&rig, 0), 4, "what is full does not wait");
    all_stored(begun).await;
    settle().await;
    assert_eq!(held(&rig, 0), [1, 32, 32, 32, 3]);
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_go_together_than_a_batch_may_have() {
    let join = JoinLimits { bytes_max: 64 << 10, ..Limits::default().join };
    let rig = rig(3, 100 * MS, Limits { join, ..Limits::default() });
    let many = |n: u32, count: u32| Samples((0..count).map(|i| (n * 1000 + i, NOW.0)).collect());
    let begun: Vec<_> = (0..20).map(|n| begin(&rig, many(n, 100))).collect();
    let large = begin(&rig, many(20, 1000));
    settle().await;
    assert!(rig.writer.stats().joined_batches >= 2);
    for written in ended(begun).await {
        assert_eq!(written.unwrap().unwrap().stored_samples, 100);
    }
    assert_eq!(large.await.unwrap().unwrap().stored_samples, 1000);
    settle().await;
    let batches: Vec<_> = rig.nodes.node(0).lock().unwrap().log.values().cloned().collect();
    let joined = || batches.iter().filter(|batch| batch.sample_count() < 1000);
    assert!(joined().all(|batch| batch.bytes().len() <= 64 << 10 && batch.sample_count() % 100 == 0));
    assert!(joined().any(|batch| batch.sample_count() >= 300));
    assert_eq!(joined().count() + 1, batches.len(), "the large one went alone");
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn tenants_do_not_share_a_batch() {
    let rig = rig(3, 2 * MS, Limits::default());
    let tenants: Vec<_> = ["a", "b"].map(|name| TenantId::new(name).unwrap()).into();
    let write = |n: u32| {
        let (writer, tenant) = (&rig.writer, &tenants[n as usize % 2]);
        async move { writer.write(tenant, &one(n / 2), NOW).await }
    };
    let written = stream::iter((0..9).map(write)).buffered(9).collect::<Vec<_>>().await;
    assert!(written.into_iter().all(|written| written.unwrap().stored_samples == 1));
    settle().await;
    let node = rig.nodes.node(0);
    let held: Vec<_> = node.lock().unwrap().log.values().map(|b| (b.tenant().to_string(), b.sample_count())).collect();
    assert_eq!(held, [("a", 1), ("a", 4), ("b", 4)].map(|(tenant, count)| (tenant.to_owned(), count)));
}

#[tokio::test(start_paused = true)]
async fn samples_that_come_too_late_are_refused_to_those_who_sent_them() {
    let rig = rig(3, 2 * MS, Limits::default());
    (0..3).for_each(|node| rig.nodes.node(node).lock().unwrap().sealed_before = Some(NOW));
    let first = begin(&rig, one(0));
    settle().await;
    let late = begin(&rig, Samples(vec![(1, NOW.0 - 1000), (1, NOW.0 - 500), (1, NOW.0 + 1)]));
    let others: Vec<_> = (2..8).map(|n| begin(&rig, one(n))).collect();
    settle().await;
    let late = late.await.unwrap().unwrap();
    let reasons: Vec<_> = late.rejections.iter().map(|r| (r.reason, r.sample_count)).collect();
    assert_eq!((late.stored_samples, reasons), (1, vec![(RejectReason::TooOld, 2)]));
    all_stored(others.into_iter().chain([first]).collect()).await;
    settle().await;
    assert_eq!((held(&rig, 0).len(), rig.writer.stats().joined_batches), (8, 1), "they parted");
    // From now on nobody is asked to ride with what is too late.
    let first = begin(&rig, one(0));
    settle().await;
    let late = begin(&rig, Samples(vec![(1, NOW.0 - 1000)]));
    let others: Vec<_> = (2..8).map(|n| begin(&rig, one(n))).collect();
    assert_eq!(late.await.unwrap().unwrap().rejections[0].sample_count, 1);
    all_stored(others.into_iter().chain([first]).collect()).await;
    settle().await;
    assert_eq!((held(&rig, 0).len(), rig.writer.stats().joined_batches), (10, 2));
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn what_replicas_call_impossible_is_told_to_whom_it_belongs() {
    let mut plane = Plane::new(1, 3, 64);
    plane.place();
    let (_map, receiver) = watch::channel(plane.map());
    let push = |_: Entry, batch: batch::Batch| -> Answer<PushReply> {
        async move {
            tokio::time::sleep(2 * MS).await;
            let is_impossible = samples_of(&batch).iter().any(|(series, _)| *series == id(5));
            let refused = PushReply::Refused("other labels".to_owned());
            Ok(if is_impossible { refused } else { PushReply::Ok(GenerationNumber::FIRST) })
        }
        .boxed()
    };
    let writer = Writer::new(7, receiver, Arc::new(Only(Arc::new(PushOnly(push)))), Limits::default());
    let (tenant, writer) = (&TenantId::anonymous(), &writer);
    let write = |n: u32| async move { writer.write(tenant, &one(n), NOW).await };
    let written = stream::iter((0..10).map(write)).buffered(10).collect::<Vec<_>>().await;
    for (n, written) in written.into_iter().enumerate() {
        match written {
            Err(AppendError::Malformed(why)) => assert!(n == 5 && why.contains("other labels"), "{n}: {why}"),
            other => assert!(n != 5 && other.unwrap().stored_samples == 1, "{n}"),
        }
    }
    assert_eq!((writer.stats().joined_requests, writer.stats().open_requests), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_now_is_to_be_tried_again_by_all() {
    let rig = rig(3, 2 * MS, Limits::default());
    let begun = begin_all(&rig, 0..5).await;
    (0..3).for_each(|node| rig.nodes.set(node, Mode::Says(PushReply::NotNow(NotNow::Unavailable))));
    for refused in ended(begun).await {
        let refused = refused.unwrap().unwrap_err();
        assert!(matches!(&refused, AppendError::Unavailable(why) if why.contains("takes nothing now")), "{refused}");
    }
    assert_eq!(rig.writer.stats().joined_requests, 4);
    (0..3).for_each(|node| rig.nodes.set(node, Mode::Stopped));
    let at = Instant::now();
    for refused in ended(begin_all(&rig, 0..5).await).await {
        assert!(matches!(refused.unwrap(), Err(AppendError::Unavailable(_))));
    }
    assert!((10..11).contains(&at.elapsed().as_secs()), "{:?}", at.elapsed());
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn definitions_that_replicas_ask_for_come_from_whom_they_belong_to() {
    let rig = rig(3, 2 * MS, Limits::default());
    all_stored(begin_all(&rig, 0..10).await).await;
    settle().await;
    (0..3).for_each(|node| {
        let node = rig.nodes.node(node);
        let mut node = node.lock().unwrap();
        (5..7).for_each(|n| assert!(node.labels.remove(&id(n))));
        node.log.clear();
    });
    all_stored(begin_all(&rig, 0..10).await).await;
    settle().await;
    let found: BTreeSet<_> = {
        let node = rig.nodes.node(0);
        let node = node.lock().unwrap();
        node.log.values().flat_map(samples_of).map(|(id, _)| id).collect()
    };
    assert_eq!(found, (0..10).map(id).collect());
    assert!(rig.nodes.node(0).lock().unwrap().labels.contains(&id(5)));
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_takes_only_its_own_samples_along() {
    for after in [0, 3] {
        let rig = rig(3, 2 * MS, Limits::default());
        let begun = begin_all(&rig, 0..6).await;
        // Before what they wait for has ended, and when they are on their way.
        tokio::time::sleep(after * MS).await;
        settle().await;
        begun[3].abort();
        settle().await;
        for (n, written) in ended(begun).await.into_iter().enumerate() {
            match written {
                Err(stopped) => assert!(n == 3 && stopped.is_cancelled(), "{n}"),
                Ok(written) => assert!(n != 3 && written.unwrap().stored_samples == 1, "{n}"),
            }
        }
        settle().await;
        assert_eq!(held(&rig, 0), if after == 0 { [1, 4] } else { [1, 5] });
        check_nothing_left(&rig);
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_have_stopped_waiting_nothing_is_on_its_way() {
    for after in [0, 20] {
        let rig = rig(3, Duration::from_secs(5), Limits::default());
        let begun = begin_all(&rig, 0..6).await;
        tokio::time::sleep(after * MS).await;
        settle().await;
        begun.iter().for_each(JoinHandle::abort);
        settle().await;
        check_nothing_left(&rig);
        assert_eq!(rig.nodes.node(0).lock().unwrap().open, (0, 0));
        // A writer that goes takes those that wait along.
        let begun = begin_all(&rig, 0..3).await;
        begun.iter().for_each(JoinHandle::abort);
        let nodes = rig.nodes.clone();
        drop((rig, begun));
        settle().await;
        assert_eq!(nodes.node(0).lock().unwrap().open, (0, 0));
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_counts_as_in_flight() {
    let in_flight = replication::writer::Limits {
        in_flight_bytes_max: 2 << 20,
        replica_bytes_max: 1 << 20,
        ..replication::writer::Limits::default()
    };
    let join = JoinLimits { wait: DurationMs::secs(60), requests_max: 10_000, ..Limits::default().join };
    let rig = rig(3, Duration::from_secs(1), Limits { in_flight, join, ..Limits::default() });
    let many = |n: u32| Samples((0..700).map(|i| (n * 1000 + i, NOW.0)).collect());
    let (mut begun, mut most) = (Vec::new(), 0);
    for n in 0..100 {
        begun.push(begin(&rig, many(n)));
        settle().await;
        most = most.max(rig.writer.stats().in_flight_bytes);
    }
    assert!(most <= 2 << 20, "{most}");
    assert!(most > 1 << 20, "the bound was met: {most}");
    let (mut stored, mut refused) = (0, 0);
    for written in ended(begun).await {
        match written.unwrap() {
            Ok(outcome) => stored += outcome.stored_samples,
            Err(AppendError::Overload { .. }) => refused += 1,
            Err(e) => panic!("{e}"),
        }
    }
    assert!(stored > 700 && refused > 10, "{stored} stored, {refused} refused");
    tokio::time::sleep(Duration::from_secs(60)).await;
    check_nothing_left(&rig);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_two_groups_may_ride_to_one_and_go_alone_to_the_other() {
    let rig = Rig::new(2, 3, Limits::default());
    (0..6).for_each(|node| rig.nodes.set(node, Mode::Slow(2 * MS)));
    let all = |from: u32| Samples((from..from + 50).map(|n| (n, NOW.0)).collect());
    let holds = |node: usize, n: u32| {
        let node = rig.nodes.node(node);
        let node = node.lock().unwrap();
        node.log.values().any(|batch| samples_of(batch).contains(&(id(n), NOW.0)))
    };
    rig.write(&all(0)).await.unwrap();
    settle().await;
    let of_first = (0..50).find(|n| holds(0, *n)).unwrap();
    let begun: Vec<_> = [one(of_first), all(100), all(200), one(of_first)].map(|s| begin(&rig, s)).into();
    settle().await;
    let stored = ended(begun).await.into_iter().map(|written| written.unwrap().unwrap().stored_samples);
    assert_eq!(stored.collect::<Vec<_>>(), [1, 50, 50, 1]);
    settle().await;
    assert!((100..150).chain(200..250).all(|n| rig.nodes.is_held_by_two(id(n), NOW.0, 3)));
    assert_eq!((held(&rig, 0).len(), held(&rig, 3).len()), (3, 3), "the first group: a request, and three in one");
    check_nothing_left(&rig);
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % n
    }

    fn mode(&mut self) -> Mode {
        match self.below(12) {
            0 => Mode::Stopped,
            1 => Mode::Dead,
            2 => Mode::AnswerLost,
            3 => Mode::Says(PushReply::Full { limit_bytes: 1 }),
            4 => Mode::Says(PushReply::NotNow(NotNow::Unavailable)),
            _ => Mode::Slow(Duration::from_millis(self.below(8))),
        }
    }
}

/// Many write at once, some of them stop waiting, while members fail.
async fn run(seed: u64) -> (u64, u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let groups = 1 + u32::try_from(random.below(2)).unwrap();
    let rig = Rig::new(groups, 3, Limits::default());
    let mut acked = 0;
    for round in 0..6_i64 {
        let node = usize::try_from(random.below(u64::from(groups * 3))).unwrap();
        match random.below(6) {
            0..=2 => rig.nodes.set(node, random.mode()),
            3 => rig.nodes.node(node).lock().unwrap().labels.clear(),
            4 => rig.nodes.node(node).lock().unwrap().sealed_before = Some(TimestampMs(NOW.0 + round * 1000 - 3000)),
            _ => (0..groups as usize * 3).for_each(|node| rig.nodes.set(node, Mode::Slow(3 * MS))),
        }
        let mut begun = Vec::new();
        for _ in 0..8 {
            let at = NOW.0 + round * 1000 - i64::try_from(random.below(4000)).unwrap();
            let count = 1 + u32::try_from(random.below(20)).unwrap();
            let samples = Samples((0..count).map(|i| (i * 7 % 40, at + i64::from(i))).collect());
            let written = begin(&rig, samples.clone());
            tokio::time::sleep(Duration::from_millis(random.below(2))).await;
            if random.below(12) == 0 {
                written.abort();
            }
            begun.push((samples, written));
        }
        for (samples, written) in begun {
            match written.await {
                Err(stopped) => assert!(stopped.is_cancelled(), "seed {seed}"),
                Ok(Ok(outcome)) => {
                    acked += 1;
                    let too_old: u64 = outcome.rejections.iter().map(|r| r.sample_count).sum();
                    assert!(outcome.rejections.iter().all(|r| r.reason == RejectReason::TooOld), "seed {seed}");
                    assert_eq!(outcome.stored_samples + too_old, samples.0.len() as u64, "seed {seed}, round {round}");
                    let is_held = |(n, at): &&(u32, i64)| rig.nodes.is_held_by_two(id(*n), *at, 3);
                    let held = samples.0.iter().filter(is_held).count() as u64;
                    assert!(held >= outcome.stored_samples, "seed {seed}, round {round}: {held} of {outcome:?}");
                }
                Ok(Err(AppendError::Unavailable(_) | AppendError::Overload { .. })) => {}
                Ok(Err(e @ AppendError::Malformed(_))) => panic!("seed {seed}: {e}"),
            }
        }
        rig.nodes.check_equal_bytes();
    }
    (0..groups as usize * 3).for_each(|node| rig.nodes.set(node, Mode::Well));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let samples = Samples((0..40).map(|n| (n, NOW.0 + 60_000)).collect());
    assert_eq!(rig.write(&samples).await.unwrap().stored_samples, 40, "seed {seed}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    check_nothing_left(&rig);
    (acked, rig.writer.stats().joined_requests)
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_held_by_two_whoever_it_went_with() {
    let (mut acked, mut joined) = (0, 0);
    for seed in 1..=60 {
        let (a, j) = run(seed).await;
        acked += a;
        joined += j;
    }
    assert!(acked > 1200 && joined > 400, "{acked} acknowledged, {joined} joined");
}
