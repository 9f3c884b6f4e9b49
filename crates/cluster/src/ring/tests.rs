//! The figures that the sharing of targets promises, and a ring made of a plain map beside it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn names(prefix: &str, count: usize) -> Vec<NodeId> {
    (0..count).map(|i| NodeId::new(&format!("{prefix}{i}")).unwrap()).collect()
}

/// The naive ring: every point in a map.
fn model(owners: &[NodeId]) -> BTreeMap<u64, NodeId> {
    let mut points = BTreeMap::new();
    for owner in owners {
        for n in 0..SCRAPER_POINTS {
            points.entry(xxh3_64(&[owner.as_str().as_bytes(), &n.to_le_bytes()].concat())).or_insert(owner.clone());
        }
    }
    points
}

fn model_owner(points: &BTreeMap<u64, NodeId>, hash: u64) -> Option<&NodeId> {
    points.range(hash..).next().or_else(|| points.iter().next()).map(|(_, owner)| owner)
}

/// The share of the ring that each owner has, by the naive ring.
fn arcs(owners: &[NodeId]) -> BTreeMap<NodeId, f64> {
    let points = model(owners);
    let mut before = *points.keys().next_back().unwrap();
    let mut shares = BTreeMap::<NodeId, f64>::new();
    for (at, owner) in &points {
        *shares.entry(owner.clone()).or_default() += at.wrapping_sub(before) as f64 / 2_f64.powi(64);
        before = *at;
    }
    shares
}

/// The largest deviation from an equal share.
fn worst(owners: &[NodeId]) -> f64 {
    let count = owners.len() as f64;
    arcs(owners).values().map(|share| (share * count - 1.0).abs()).fold(0.0, f64::max)
}

fn target(n: u64) -> u64 {
    xxh3_64(format!("{{job=\"node\",instance=\"host-{n}:9100\"}}").as_bytes())
}

#[test]
fn arcs_are_within_five_percent_of_equal_for_up_to_ten_scrapers() {
    for prefix in ["scraper-", "narthex-scraper-", "s", "10.0.0.", "zone-a.scraper"] {
        for count in 1..=10 {
            let worst = worst(&names(prefix, count));
            assert!(worst < 0.05, "{prefix} {count}: {worst:.4}");
        }
    }
    let same = Ring::new(names("", 2), SCRAPER_POINTS);
    assert!((0..64).any(|n| same.owner(n << 58) == Some(&names("", 1)[0])), "short names do not share their points");
    // Any names: five percent is 3.4 standard deviations of the share of one in ten, so a set of names in a hundred or two
    // has one scraper beyond it, and not by much.
    let sets: Vec<f64> = (0..100).map(|set| worst(&names(&format!("{set}-"), 10))).collect();
    assert!(sets.iter().filter(|worst| **worst > 0.05).count() <= 4, "{sets:?}");
    assert!(sets.iter().all(|worst| *worst < 0.07), "{sets:?}");
}

#[test]
fn counts_of_targets_are_a_draw_by_the_arcs() {
    for (scrapers, targets) in [(2, 1000), (3, 1000), (10, 1000), (10, 100_000)] {
        let owners = names("scraper-", scrapers);
        let ring = Ring::new(owners.clone(), SCRAPER_POINTS);
        let mut counts = BTreeMap::<NodeId, u32>::new();
        for n in 0..targets {
            *counts.entry(ring.owner(target(n)).unwrap().clone()).or_default() += 1;
        }
        for (owner, share) in arcs(&owners) {
            let (drawn, targets) = (f64::from(counts[&owner]), targets as f64);
            let deviation = (targets * share * (1.0 - share)).sqrt();
            let off = (drawn - targets * share).abs() / deviation;
            assert!(off <= 4.0, "{owner} of {scrapers}: {drawn} of {targets}, {off:.1} standard deviations");
        }
    }
}

#[test]
fn a_ring_is_the_same_for_ever() {
    assert_eq!(point(b"scraper-0", 0), 14_864_219_506_415_082_928);
}

#[test]
fn an_empty_ring_has_no_owner() {
    let ring = Ring::<NodeId>::new([], SCRAPER_POINTS);
    assert_eq!(ring.owner(7), None);
    assert_eq!(ring.walk(7).count(), 0);
}

#[test]
fn owners_whose_points_meet_do_not_depend_on_the_order_given() {
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Same(u8);
    impl PointOwner for Same {
        fn ring_bytes(&self) -> Vec<u8> {
            Vec::new()
        }
    }
    let (one, two) = (Ring::new([Same(1), Same(2)], 8), Ring::new([Same(2), Same(1), Same(2)], 8));
    assert_eq!(two.owners(), [Same(1), Same(2)]);
    for n in 0..64 {
        assert_eq!(one.owner(n << 58), two.owner(n << 58));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_scraper_more_or_less_moves_only_its_share(count in 1..12_usize, seed in any::<u32>()) {
        let mut owners = names(&format!("{seed}-"), count + 1);
        owners.sort();
        let all = Ring::new(owners.clone(), SCRAPER_POINTS);
        let leaving = owners.remove(usize::try_from(seed).unwrap() % owners.len());
        let less = Ring::new(owners.clone(), SCRAPER_POINTS);
        let points = model(&owners);
        let mut moved = 0;
        for n in 0..2000 {
            let hash = target(n + u64::from(seed));
            let (before, after) = (all.owner(hash).unwrap(), less.owner(hash).unwrap());
            prop_assert_eq!(Some(after), model_owner(&points, hash));
            if *before == leaving {
                moved += 1;
                // It goes to the next on the walk, so whoever holds it knows who would be next.
                prop_assert_eq!(all.walk(hash).nth(1).unwrap(), after);
            } else {
                prop_assert_eq!(before, after, "a target of another scraper moved");
            }
        }
        let share = 2000.0 / (count as f64 + 1.0);
        prop_assert!((f64::from(moved) - share).abs() < 6.0 * share.sqrt(), "{} moved of {}", moved, share);
    }

    #[test]
    fn a_walk_names_each_owner_once(count in 1..6_usize, hash in any::<u64>()) {
        let ring = Ring::new(names("s", count), 64);
        let walk: Vec<_> = ring.walk(hash).cloned().collect();
        prop_assert_eq!(Some(&walk[0]), ring.owner(hash));
        prop_assert_eq!(walk.into_iter().collect::<BTreeSet<_>>().len(), count);
    }
}
