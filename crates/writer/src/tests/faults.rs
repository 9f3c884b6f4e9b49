//! Members that fail at random: whatever happens, what is acknowledged is held by two members of one generation, under one name
//! there are the same bytes everywhere, and trying again succeeds when all is well.

use std::time::Duration;

use cluster::GroupId;
use model::TimestampMs;
use replication::replica::{NotNow, PushReply};
use storage::{AppendError, RejectReason};

use super::support::{Mode, NOW, Rig, Samples, id};
use crate::Limits;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn mode(&mut self) -> Mode {
        match self.below(10) {
            0 => Mode::Stopped,
            1 => Mode::Dead,
            2 => Mode::Slow(Duration::from_millis(self.below(4000))),
            3 => Mode::AnswerLost,
            4 => Mode::Says(PushReply::Full { limit_bytes: 1 }),
            5 => Mode::Says(PushReply::NotNow(NotNow::Unavailable)),
            _ => Mode::Well,
        }
    }
}

/// Writes the same until it is taken, while a fault comes now and then.
async fn run(seed: u64) -> (u32, u32) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let groups = 1 + u32::try_from(random.below(2)).unwrap();
    let mut rig = Rig::new(groups, 3, Limits::default());
    let mut next_node = groups * 3;
    let (mut acked, mut refused) = (0, 0);
    for round in 0..40_i64 {
        let node = usize::try_from(random.below(u64::from(next_node))).unwrap();
        match random.below(8) {
            0..=3 => rig.nodes.set(node, random.mode()),
            4 => rig.nodes.node(node).lock().unwrap().labels.clear(),
            5 => rig.nodes.node(node).lock().unwrap().sealed_before = Some(TimestampMs(NOW.0 + round * 1000 - 3000)),
            6 => {
                let group = GroupId(u32::try_from(random.below(u64::from(groups))).unwrap());
                if rig.plane.entry(group).newest().all_filled() {
                    rig.plane.replace_last(group, next_node);
                    next_node += 1;
                } else {
                    rig.plane.fill_last(group);
                }
                // The writer hears of it now, or by what members say.
                if random.below(2) == 0 {
                    rig.publish();
                } else {
                    let entry = rig.plane.entry(group);
                    let members: Vec<_> = entry.newest().members.iter().map(|m| m.replica.node.clone()).collect();
                    let nodes = rig.nodes.0.lock().unwrap();
                    members.iter().filter_map(|m| nodes.get(m)).for_each(|n| n.lock().unwrap().learn(entry.clone()));
                }
            }
            _ => {}
        }
        let count = 1 + random.below(30);
        let at = NOW.0 + round * 1000 - i64::try_from(random.below(4000)).unwrap();
        let samples = Samples((0..count).map(|i| (u32::try_from(i * 7 % 40).unwrap(), at + i as i64)).collect());
        match rig.write(&samples).await {
            Ok(outcome) => {
                acked += 1;
                let too_old: u64 = outcome.rejections.iter().map(|r| r.sample_count).sum();
                assert!(outcome.rejections.iter().all(|r| r.reason == RejectReason::TooOld), "seed {seed}");
                assert_eq!(outcome.stored_samples + too_old, count, "seed {seed}, round {round}");
                let held = samples.0.iter().filter(|(n, at)| rig.nodes.is_held_by_two(id(*n), *at, 3)).count() as u64;
                assert!(held >= outcome.stored_samples, "seed {seed}, round {round}: {held} of {outcome:?}");
            }
            Err(AppendError::Unavailable(_) | AppendError::Overload { .. }) => refused += 1,
            Err(e @ AppendError::Malformed(_)) => panic!("seed {seed}: {e}"),
        }
        rig.nodes.check_equal_bytes();
    }
    (0..next_node).for_each(|node| rig.nodes.set(node as usize, Mode::Well));
    rig.publish();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let samples = Samples((0..40).map(|n| (n, NOW.0 + 60_000)).collect());
    assert_eq!(rig.write(&samples).await.unwrap().stored_samples, 40, "seed {seed}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let stats = rig.writer.stats();
    assert_eq!((stats.in_flight_bytes, stats.open_calls, stats.open_requests), (0, 0, 0), "seed {seed}");
    assert!(stats.outstanding_bytes.is_empty());
    (acked, refused)
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_held_by_two_whatever_fails() {
    let (mut acked, mut refused) = (0, 0);
    for seed in 1..=60 {
        let (a, r) = run(seed).await;
        acked += a;
        refused += r;
    }
    // Both happen, or the faults are too many or too few.
    assert!(acked > 800 && refused > 100, "{acked} acknowledged, {refused} refused");
}
