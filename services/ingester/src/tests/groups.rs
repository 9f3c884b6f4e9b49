//! A group of three in one process: pulling, restarts, refusals, bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use model::TenantId;
use peer::{Fetch, LabelQuestion, Member};
use replication::range::{RANGE, range_of};
use replication::replica::{ListReply, NotNow, PushReply, ReadReply, SealReply};

use super::world::*;
use crate::{Config, Damage, Ingester, OpenError};
use cluster::{GenerationNumber, GroupId};
use model::TimestampMs;

const OK: PushReply = PushReply::Ok(GenerationNumber(1));

#[tokio::test(flavor = "multi_thread")]
async fn what_two_of_three_took_reaches_the_third_by_pulling() {
    for seed in 0..4 {
        let (mut world, mut dice) = (World::new(), Dice(seed));
        (0..3).for_each(|n| world.pull(n));
        let mut expected = BTreeMap::new();
        for i in 0..120 {
            for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                let fault = match dice.below(30) {
                    0 => Fault::Cut,
                    1 => Fault::AnswerLost,
                    2 => Fault::Delayed(Duration::from_millis(3)),
                    3..10 => Fault::None,
                    _ => continue,
                };
                world.fault(from, to, fault);
            }
            let written: Vec<_> =
                (0..=dice.below(5)).map(|_| (dice.below(40) as u32, NOW + i, dice.below(100) as f64)).collect();
            let two = dice.two();
            assert!(world.write(&two, &written).await);
            for (n, at, value) in written {
                let held = expected.entry((n.to_string(), at)).or_insert(value.to_bits());
                *held = value.to_bits().max(*held);
            }
        }
        world.wire.faults.lock().clear();
        world.settled().await;
        for n in 0..3 {
            assert_eq!(world.read(n).await, expected, "seed {seed}, n{n}");
            let status = world.node(n).peers();
            assert!(status.values().all(|peer| peer.behind == Some(0)), "{status:?}");
        }
        // Nothing is logged any more by idle replicas.
        let positions = |world: &World| -> Vec<u64> {
            (0..3).map(|n| world.node(n).shared.lock().core.appended_position()).collect()
        };
        let before = positions(&world);
        for (n, last) in before.iter().enumerate() {
            let listed = world.node(n).list(id((n + 1) % 3), world.entry.clone(), *last).await.unwrap();
            assert!(matches!(listed, ListReply::Listed { items, .. } if items.is_empty()));
        }
        world.settled().await;
        assert_eq!(positions(&world), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_each_at_any_moment_loses_nothing_that_two_acknowledged() {
    for seed in 100..110 {
        let (mut world, mut dice) = (World::new(), Dice(seed));
        (0..3).for_each(|n| world.pull(n));
        let mut acknowledged = BTreeMap::new();
        let mut crashes = [0; 3];
        for i in 0..150 {
            let victim = usize::try_from(dice.below(3)).unwrap();
            match dice.below(12) {
                // From now on it acknowledges for a few syncs more.
                0 => world.disks[victim].fail_after_syncs(dice.below(4)),
                1 => {
                    world.crash(victim);
                    world.start(victim);
                    world.pull(victim);
                    crashes[victim] += 1;
                }
                2 => drop(world.node(victim).write_snapshot()),
                _ => {}
            }
            let sample = (dice.below(10) as u32, NOW + i, i as f64);
            if world.write(&dice.two(), &[sample]).await {
                acknowledged.insert((sample.0.to_string(), sample.1), sample.2.to_bits());
            }
        }
        assert!(crashes.iter().sum::<u32>() > 3 && acknowledged.len() > 5, "{crashes:?} {}", acknowledged.len());
        for n in 0..3 {
            world.crash(n);
            world.start(n);
            world.pull(n);
        }
        world.settled().await;
        let first = world.read(0).await;
        for (key, value) in &acknowledged {
            assert_eq!(first.get(key), Some(value), "seed {seed}: {key:?} was acknowledged");
        }
        for n in 1..3 {
            assert_eq!(world.read(n).await, first, "seed {seed}, n{n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_series_are_needed_and_then_taken_once() {
    let mut world = World::new();
    let (bare, defined) = (world.batch(false, &[(1, NOW, 1.0)]), world.batch(true, &[(1, NOW, 1.0)]));
    let replies = world.push(&[0], &bare).await;
    assert_eq!(needed(&replies[0]), [series(1)].into());
    assert_eq!(world.push(&[0], &defined).await, [OK]);
    assert_eq!(world.push(&[0, 0], &bare).await, [OK, OK], "and the same again");
    assert_eq!(world.node(0).state().data_position, 3, "a repeat is not logged");
    // Ids are hashes of tenant and labels, and batches are checked for that: only a collision could conflict.
    let mut bytes = defined.bytes().to_vec();
    let packed = labels(1).as_packed().to_vec();
    let at = bytes.windows(packed.len()).position(|window| window == packed).unwrap();
    bytes[at + packed.len() - 1] = b'2';
    assert!(batch::Batch::parse(bytes.into()).is_err());
    assert_eq!(world.node(0).status().conflicts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_at_an_older_generation_is_stale() {
    let mut world = World::new();
    let mut control = Control::new();
    let batch = world.batch(true, &[(1, NOW, 1.0)]);
    control.replace(2, 3);
    let newer = control.entry();
    assert_eq!(world.node(0).push(newer.clone(), batch.clone()).await, Ok(PushReply::Ok(GenerationNumber(2))));
    assert_eq!(world.push(&[0], &batch).await, [PushReply::Stale(newer.clone())]);
    let read = world.node(0).select(world.entry.clone(), everything()).await.unwrap();
    assert_eq!(read.reply, ReadReply::Stale(newer.clone()));
    assert!(samples(read).await.is_empty());
    // One that was exchanged takes nothing at the generation without it.
    let refused = world.node(2).push(newer.clone(), batch).await;
    assert_eq!(refused, Ok(PushReply::NotNow(NotNow::NoMember)));
    world.crash(0);
    world.start(0);
    assert_eq!(world.node(0).entry(), newer, "also after a crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_waits_for_peers_and_writers_wait_for_the_log() {
    let mut world = World::configured(|config| Config {
        log: wal::Limits { segment_bytes: 4096 },
        log_bytes_max: 40_000,
        ..config
    });
    let mut pushed = 0;
    let full = loop {
        let batch = world.batch(true, &(0..20).map(|n| (n, NOW + pushed, 1.0)).collect::<Vec<_>>());
        match world.push(&[0], &batch).await.remove(0) {
            PushReply::Ok(_) => pushed += 1,
            other => break other,
        }
        // Both kept snapshots hold nearly all of it.
        world.node(0).write_snapshot().unwrap();
        assert!(pushed < 1000, "it is never full");
    };
    assert_eq!(full, PushReply::Full { limit_bytes: 40_000 });
    let first = world.node(0).list(id(1), world.entry.clone(), 0).await.unwrap();
    let ListReply::Listed { to, items } = first else { panic!("{first:?}: it was truncated before its peers had it") };
    assert_eq!((to, items.len() as i64), (1 + pushed as u64, pushed));
    world.pull(1);
    // The other has not covered it yet.
    let batch = world.batch(false, &[(1, NOW + 1_000, 1.0)]);
    assert_eq!(world.push(&[0], &batch).await, [full]);
    world.pull(2);
    world.pull(0);
    world.settled().await;
    let taken = async {
        while world.push(&[0], &batch).await != [OK] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken).await.expect("the covers make room");
    let gone = world.node(0).list(id(1), world.entry.clone(), 0).await.unwrap();
    assert_eq!(gone, ListReply::Truncated);
    assert!(world.node(0).status().log_bytes < 40_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_directory_of_a_larger_group_does_not_come_back() {
    let mut world = World::new();
    for i in 0..10 {
        assert!(world.write(&[0, 1], &[(1, NOW + i, 1.0)]).await);
    }
    let log = std::path::Path::new("/data/log");
    world.crash(0);
    let disk: &dyn disk::Disk = &world.disks[0];
    let segment = disk.list(log).unwrap().remove(0);
    let file = disk.open(&segment).unwrap();
    let middle = file.len().unwrap() / 2;
    file.write_at(&[0xff; 3], middle).unwrap();
    file.sync().unwrap();
    let error = Ingester::open(world.config(0)).err().unwrap();
    assert!(matches!(error, OpenError::Damaged(Damage::Lost { .. })), "{error:?}");
    // A group of one goes on with it.
    let lonely = Config { entry: crate::config::alone(&id(0)), ..world.config(0) };
    let error = Ingester::open(lonely).err();
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_come_out_of_memory_and_of_the_log() {
    for newest_bytes_max in [0, 2_000, 32 << 20] {
        let configure: fn(Config) -> Config = match newest_bytes_max {
            0 => |config| Config { newest_bytes_max: 0, ..config },
            2_000 => |config| Config { newest_bytes_max: 2_000, ..config },
            _ => |config| config,
        };
        let mut world = World::configured(configure);
        let mut bodies = BTreeMap::new();
        for i in 0..50 {
            let batch = world.batch(i == 0, &[(1, NOW + i, 1.0)]);
            assert_eq!(world.push(&[0], &batch).await, [OK]);
            bodies.insert(2 + i as u64, batch.bytes().clone());
        }
        let fetch = |positions: Vec<u64>, define| {
            let fetch = Fetch { group: GroupId(0), positions, define };
            let node = world.node(0);
            async move { node.fetch(fetch).await.unwrap() }
        };
        for positions in [vec![2], vec![2, 3, 51], vec![51], (2..52).collect()] {
            let fetched = fetch(positions.clone(), Vec::new()).await.unwrap();
            assert!(!fetched.batches.is_empty());
            for (position, batch) in positions.iter().zip(&fetched.batches) {
                assert_eq!(batch.bytes(), &bodies[position]);
            }
        }
        assert!(fetch(vec![1, 2], Vec::new()).await.is_none(), "no batch lies there");
        assert!(fetch(vec![52], Vec::new()).await.is_none(), "nothing yet");
        let defined = fetch(vec![7], vec![series(1), series(2)]).await.unwrap();
        assert_eq!(defined.definitions.len(), 1, "what is held");
        assert_eq!(defined.definitions[0].sample_count(), 0);
        let again = fetch(vec![7], vec![series(1)]).await.unwrap();
        assert_ne!(again.definitions[0].header(), defined.definitions[0].header(), "a name of its own");
        let other = world.node(0).fetch(Fetch { group: GroupId(1), positions: vec![2], define: vec![] }).await;
        assert!(other.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_pulled_batch_only_what_is_not_dropped_is_kept() {
    let mut world = World::new();
    let now = NOW + RANGE.0 * 2;
    let start = range_of(TimestampMs(NOW));
    assert!(world.write(&[0, 1], &[(1, NOW, 1.0), (2, NOW + RANGE.0, 2.0)]).await);
    let late = TimestampMs(now);
    world.node(2).change(|core| core.drop_range(start, "closed/x".into(), late)).await.unwrap();
    (0..3).for_each(|n| world.pull(n));
    world.settled().await;
    let kept: Vec<_> = world.read(2).await.into_keys().collect();
    assert_eq!(kept, [("2".to_owned(), NOW + RANGE.0)]);
    assert_eq!(world.read(0).await.len(), 2);
    world.crash(2);
    world.start(2);
    let kept: Vec<_> = world.read(2).await.into_keys().collect();
    assert_eq!(kept, [("2".to_owned(), NOW + RANGE.0)], "after a restart, too");
    let selected = world.node(2).select(world.entry.clone(), everything()).await.unwrap();
    assert!(matches!(&selected.reply, ReadReply::Held { dropped, .. } if dropped == &[(start, "closed/x".into())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_early_or_holds_and_labels_are_told() {
    let mut world =
        World::configured(|config| Config { clock: std::sync::Arc::new(|| TimestampMs(NOW + 4 * RANGE.0)), ..config });
    assert!(world.write(&[0, 1], &[(1, NOW, 1.0), (2, NOW, 1.0)]).await);
    let (start, entry) = (range_of(TimestampMs(NOW)), world.entry.clone());
    let early = world.node(0).seal(entry.clone(), start + RANGE + RANGE + RANGE).await;
    assert_eq!(early, Ok(SealReply::Early));
    let sealed = world.node(0).seal(entry.clone(), start).await;
    assert!(matches!(sealed, Ok(SealReply::Sealed { position: 2.., .. })), "{sealed:?}");
    let batch = world.batch(false, &[(1, NOW + 1, 1.0)]);
    assert_eq!(world.push(&[0], &batch).await, [PushReply::Sealed(start + RANGE)]);
    let query = |name: Option<&str>| LabelQuestion {
        name: name.map(str::to_owned),
        query: storage::LabelQuery {
            tenant: TenantId::anonymous(),
            range: everything().range,
            matcher_sets: Vec::new(),
        },
    };
    let names = world.node(0).labels(entry.clone(), query(None)).await.unwrap();
    assert_eq!(names.values, ["__name__", "n"]);
    let values = world.node(0).labels(entry, query(Some("n"))).await.unwrap();
    assert_eq!(values.values, ["1", "2"]);
}
