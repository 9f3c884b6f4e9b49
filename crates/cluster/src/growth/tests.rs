//! Which groups ingesters form, and where partitions go.

use proptest::prelude::*;

use super::*;
use crate::Roles;
use crate::plant::{Plant, join};

fn check(plant: Plant, groups: &[&str], loads: &[usize]) -> Plant {
    assert_eq!((plant.groups(), plant.loads()), (groups.iter().map(|g| (*g).to_owned()).collect(), loads.to_vec()));
    plant
}

#[test]
fn three_ingesters_in_three_zones_are_a_group_that_owns_everything() {
    let plant = Plant::born(64, 3, 3);
    assert_eq!(next_growth(Plant::default().map()), None);
    let plant = check(plant.grow("b@z2 a@z1"), &[], &[]);
    let plant = check(plant.grow("c@z3"), &["a b c"], &[64]);
    assert_eq!(plant.map().unplaced().count(), 0);
}

#[test]
fn a_fourth_is_a_spare() {
    let plant = check(Plant::born(64, 3, 3).grow("a@z1 b@z2 c@z3 d@z1"), &["a b c"], &[64]);
    assert_eq!(spares(plant.map()).into_values().flatten().count(), 1);
    // Three spares in two zones are spares still; one in the third makes them a group, which owns nothing.
    let plant = check(plant.grow("e@z1 f@z2"), &["a b c"], &[64]);
    check(plant.grow("g@z3"), &["a b c", "f g d"], &[64, 0]);
}

#[test]
fn twelve_form_four_and_partitions_are_placed_once_all_have_joined() {
    let eleven = "a@z1 b@z2 c@z3 d@z1 e@z2 f@z3 g@z1 h@z2 i@z3 j@z1 k@z2";
    let plant = check(Plant::born(64, 3, 12).grow(eleven), &[], &[]);
    check(plant.grow("l@z3"), &["a b c", "e f d", "i g h", "j k l"], &[16; 4]);
}

#[test]
fn partitions_are_spread_within_one_of_even() {
    let fifteen = "a@z1 b@z2 c@z3 d@z1 e@z2 f@z3 g@z1 h@z2 i@z3 j@z1 k@z2 l@z3 m@z1 n@z2 o@z3";
    let plant = Plant::born(64, 3, 15).grow(fifteen);
    let mut loads = plant.loads();
    loads.sort_unstable();
    assert_eq!(loads, [12, 13, 13, 13, 13]);
    let scattered = plant.map().owners().take(13).collect::<std::collections::BTreeSet<_>>().len();
    assert!(scattered > 2, "hashing scatters them");
    // More groups than partitions.
    assert_eq!(Plant::born(2, 1, 3).grow("a@z b@z c@z").loads().iter().sum::<usize>(), 2);
}

#[test]
fn factors_one_and_two_have_smaller_groups() {
    check(Plant::born(16, 1, 1).grow("a@z1"), &["a"], &[16]);
    check(Plant::born(16, 1, 2).grow("a@z1 b@z1"), &["a", "b"], &[8, 8]);
    check(Plant::born(16, 2, 2).grow("a@z1 b@z1"), &[], &[]);
    check(Plant::born(16, 2, 2).grow("a@z1 b@z1 c@z2"), &["a c"], &[16]);
}

#[test]
fn too_few_zones_form_nothing_until_there_are_enough() {
    let plant = check(Plant::born(64, 3, 3).grow("a@z1 b@z2 c@z2 d@z1"), &[], &[]);
    check(plant.grow("e@z9"), &["a b e"], &[64]);
}

#[test]
fn one_that_goes_down_before_the_placement_is_waited_for() {
    let mut plant = Plant::born(64, 3, 3);
    for (name, zone) in [("a", "z1"), ("b", "z2"), ("c", "z3")] {
        plant.apply(&join(name, zone, Roles::one(Role::Ingester), 1));
    }
    plant.set("b", NodeState::Down);
    assert_eq!(next_growth(plant.map()), None);
    plant.set("b", NodeState::Up);
    plant.apply(&next_growth(plant.map()).unwrap());
    plant.set("b", NodeState::Down);
    assert_eq!(next_growth(plant.map()), None, "placement waits as well");
    plant.set("b", NodeState::Up);
    plant.settle();
    check(plant, &["a b c"], &[64]);
}

#[test]
fn only_ingesters_count() {
    let mut plant = Plant::born(64, 3, 3);
    for (name, zone) in [("a", "z1"), ("b", "z2"), ("c", "z3")] {
        plant.apply(&join(name, zone, Roles::one(Role::Querier).with(Role::Ruler), 1));
    }
    assert_eq!(next_growth(plant.map()), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_joins_as_many_groups_as_can_be_are_formed_and_loads_are_even(
        factor in 1..4_u8,
        zones in proptest::collection::vec(0..5_u8, 0..24),
        bootstrap in 1..12_u32,
    ) {
        let bootstrap = bootstrap.max(u32::from(factor));
        let mut plant = Plant::born(64, factor, bootstrap);
        for (i, zone) in zones.iter().enumerate() {
            plant.apply(&join(&format!("n{i}"), &format!("z{zone}"), Roles::one(Role::Ingester), 1));
        }
        plant.settle();
        let mut in_zone = [0_usize; 5];
        zones.iter().for_each(|zone| in_zone[usize::from(*zone)] += 1);
        // k groups can be formed when, taking at most k from each zone, there are k times the factor.
        let can = |k: usize| in_zone.iter().map(|n| (*n).min(k)).sum::<usize>() >= k * usize::from(factor);
        let most = if zones.len() < usize::try_from(bootstrap).unwrap() { 0 } else { (0..25).take_while(|k| can(*k)).last().unwrap() };
        prop_assert_eq!(plant.map().groups().len(), most);
        let loads = plant.loads();
        prop_assert_eq!(loads.iter().sum::<usize>(), if most == 0 { 0 } else { 64 });
        if let (Some(least), Some(greatest)) = (loads.iter().min(), loads.iter().max()) {
            prop_assert!(greatest - least <= 1, "{:?}", loads);
        }
    }
}
