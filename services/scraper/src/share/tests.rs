//! Whose a target is, on maps that a control plane made; and that no tick is lost whoever learns of a map when.

use cluster::NodeState;

use super::*;
use crate::schedule::Schedule;
use crate::tests::plant::{Plant, node};

fn hashes(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| xxhash_rust::xxh3::xxh3_64(format!("http://host-{n}:9100/metrics").as_bytes()))
}

/// Who has each hash; each has exactly one owner.
fn owners<'a>(names: &[&'a str], map: &ClusterMap) -> Vec<&'a str> {
    let shares: Vec<(&str, Share)> = names.iter().map(|name| (*name, Share::of(&node(name), map))).collect();
    hashes(3000)
        .map(|hash| {
            let of: Vec<&str> = shares.iter().filter(|(_, share)| share.is_mine(hash)).map(|(name, _)| *name).collect();
            assert_eq!(of.len(), 1, "{hash} is held by {of:?}");
            of[0]
        })
        .collect()
}

#[test]
fn one_of_n_scrapers_more_or_less_moves_its_share_and_no_more() {
    let names = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    for count in 2..names.len() {
        let names = &names[..count];
        let (last, others) = names.split_last().unwrap();
        let mut plant = Plant::of(others);
        let before = owners(others, plant.map());
        plant.join(last);
        let after = owners(names, plant.map());
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).inspect(|(_, a)| assert_eq!(*a, last)).count();
        let share = 3000 / count;
        assert!(moved.abs_diff(share) < share / 4, "{moved} of 3000 moved to one of {count}");
        // Dead or gone, the targets go where they came from.
        for state in [NodeState::Down, NodeState::Left] {
            plant.set(last, state);
            assert_eq!(owners(others, plant.map()), before);
            plant.join(last);
        }
    }
}

#[test]
fn a_share_changes_only_with_the_scrapers_that_live() {
    let (me, mut plant) = (node("s0"), Plant::of(&[]));
    let nothing = Share::of(&me, plant.map());
    assert!(!nothing.is_mine(7) && nothing.after(&me, &ClusterMap::default()).is_none());
    plant.join("s1");
    let of_another = nothing.after(&me, plant.map()).unwrap();
    assert!(hashes(100).all(|hash| !of_another.is_mine(hash)), "before it has joined nothing is its");
    plant.join("s0");
    let both = of_another.after(&me, plant.map()).unwrap();
    assert_eq!((both.scrapers(), both.has_others()), (2, true));
    assert!(both.after(&me, plant.map()).is_none());
    plant.set("s1", NodeState::Down);
    let alone = both.after(&me, plant.map()).unwrap();
    assert!(!alone.has_others() && hashes(100).all(|hash| alone.is_mine(hash)));
    // Nobody would scrape at all: it goes on.
    plant.set("s0", NodeState::Down);
    assert!(alone.after(&me, plant.map()).is_none());
    let everything = Share::Everything;
    assert!(everything.is_mine(7) && !everything.has_others());
}

/// The ticks in `(from, to]` at which a scraper that finds at `from` that the target is its scrapes.
fn taken(schedule: Schedule, from: i64, to: i64) -> Vec<i64> {
    let mut last = None;
    let mut ticks = Vec::new();
    loop {
        let tick = schedule.next(last, TimestampMs(last.map_or(from, |t: TimestampMs| t.0)));
        if tick.0 > to {
            return ticks;
        }
        ticks.push(tick.0);
        last = Some(tick);
    }
}

#[test]
fn no_tick_is_lost_while_a_target_moves_whoever_learns_of_it_first() {
    let overlap = Overlap { propagation: Duration::from_secs(5), max: Duration::from_secs(60) };
    for (n, hash) in (0..).zip(hashes(2000)) {
        let interval = [1000, 5000, 15_000, 40_000][n % 4];
        let schedule = Schedule::new(DurationMs(interval), hash);
        // The old holder learns of it at `given`, the new one up to five seconds later, or earlier.
        let given = 1_000_000 + i64::try_from(hash % 100_000).unwrap();
        let found = given - 5000 + i64::try_from(hash / 7 % 10_000).unwrap();
        let last = overlap.last_tick_max(TimestampMs(given), DurationMs(interval)).0;
        let end = given + 300_000;
        let mut both: Vec<i64> = taken(schedule, 900_000, last);
        both.extend(taken(schedule, found, end));
        both.sort_unstable();
        both.dedup();
        assert_eq!(both, taken(schedule, 900_000, end), "{interval} {given} {found}");
    }
}

#[test]
fn an_overlap_is_bounded() {
    let overlap = Overlap { propagation: Duration::from_secs(5), max: Duration::from_secs(60) };
    let last = |interval| overlap.last_tick_max(TimestampMs(1000), interval).0;
    assert_eq!((last(DurationMs::secs(15)), last(DurationMs::mins(60))), (21_000, 61_000));
    let unbounded = Overlap { propagation: Duration::MAX, max: Duration::MAX };
    assert_eq!(unbounded.last_tick_max(TimestampMs(5), DurationMs(1)).0, i64::MAX);
}
