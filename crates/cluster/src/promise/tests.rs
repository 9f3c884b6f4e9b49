//! What a node says when it is asked whether it is ready.

use super::*;
use crate::Roles;
use crate::plant::{Plant, join};

fn check(plant: &Plant, expected: &[&str]) {
    let said: Vec<String> =
        shortcomings(plant.map()).iter().map(|s| s.to_string().replace("000000000000000", "")).collect();
    assert_eq!(said, expected);
}

#[test]
fn a_cluster_says_what_it_waits_for() {
    check(&Plant::default(), &["the cluster is not born yet"]);
    let plant = Plant::born(16, 3, 3).grow("a@z1 b@z2");
    let unplaced = "16 partitions have no owner, so writes to them are refused";
    check(&plant, &["2 of the 3 ingesters are up that the first groups wait for", unplaced]);
    let plant = plant.grow("c@z2");
    check(&plant, &["ingesters are up in 2 zones, but replication factor 3 needs as many zones", unplaced]);
    check(&plant.grow("d@z3"), &[]);
}

#[test]
fn a_group_that_is_short_says_why() {
    let mut plant = Plant::born(16, 3, 3).grow("a@z1 b@z2 c@z3 d@z1");
    plant.set("a", NodeState::Down);
    check(&plant, &["group 0 is short: a/1 is down"]);
    plant.set("a", NodeState::Up);
    plant.apply(&join("b", "z2", Roles::one(Role::Ingester), 2));
    check(&plant, &["group 0 is short: b/1 came back with another directory, and b/2 is no member"]);
    plant.apply(&crate::next_replacement(plant.map()).unwrap().unwrap());
    check(&plant, &["group 0: b/2 is not filled yet"]);
}

#[test]
fn a_later_group_says_that_it_owns_nothing_and_endangers_nobody() {
    let plant = Plant::born(16, 3, 3).grow("a@z1 b@z2 c@z3 d@z1 e@z2 f@z3");
    check(&plant, &["group 1 owns no partitions: it was formed after they were placed"]);
    assert!(shortcomings(plant.map()).iter().all(|s| !s.endangers()));
}

#[test]
fn the_factor_says_what_is_promised() {
    assert_eq!(Promise::of(Plant::default().map()), None);
    let promises: Vec<_> = [1, 2, 3].map(|f| Promise::of(Plant::born(16, f, 3).map()).unwrap()).to_vec();
    assert_eq!(promises, [Promise::OneDisk, Promise::BothOrNothing, Promise::AnyOneLoss]);
    assert!(promises[0].to_string().contains("not the loss of a disk"));
}
