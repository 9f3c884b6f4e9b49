//! Silence and what follows from it.

use proptest::prelude::*;

use super::*;
use crate::plant::{Plant, join, node};
use crate::{Role, State};

const TIMES: LeaseTimes = LeaseTimes {
    lease: Duration::from_secs(10),
    lost_after: Duration::from_secs(300),
    forget_after: Duration::from_secs(3600),
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn scraper(name: &str) -> Command {
    join(name, "z1", Roles::one(Role::Scraper), 1)
}

fn beat(leases: &mut Leases, plant: &Plant, name: &str, incarnation: u64, now: u64) -> Beat {
    let address = Address::new(&format!("{name}:9095")).unwrap();
    leases.hear(plant.map(), &node(name), Incarnation(incarnation), &address, at(now))
}

/// Applies what is due until nothing is; the states that changed, in words.
fn due(leases: &mut Leases, plant: &mut Plant, now: u64) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let commands = leases.due(plant.map(), at(now));
        if commands.is_empty() {
            return said;
        }
        for command in commands {
            plant.apply(&command);
            said.push(command.to_string().replace("/0000000000000001", ""));
        }
    }
}

#[test]
fn silence_makes_a_node_down_then_lost_then_gone() {
    let mut plant = Plant::born(16, 1, 1);
    plant.apply(&scraper("a"));
    plant.apply(&scraper("b"));
    let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(100));
    for now in (105..=4000).step_by(5) {
        assert_eq!(beat(&mut leases, &plant, "b", 1, now), Beat::Counted);
        let expected: &[&str] = match now {
            110 => &["a is down"],
            400 => &["a is lost"],
            3700 => &["a is left"],
            _ => &[],
        };
        assert_eq!(due(&mut leases, &mut plant, now), expected, "at {now}");
    }
}

#[test]
fn a_heartbeat_brings_a_node_back() {
    let mut plant = Plant::born(16, 1, 1);
    plant.apply(&scraper("a"));
    let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(0));
    assert_eq!(due(&mut leases, &mut plant, 10), ["a is down"]);
    beat(&mut leases, &plant, "a", 1, 12);
    assert_eq!(due(&mut leases, &mut plant, 12), ["a is up"]);
    assert_eq!(due(&mut leases, &mut plant, 500), ["a is down", "a is lost"]);
    beat(&mut leases, &plant, "a", 1, 501);
    assert_eq!(due(&mut leases, &mut plant, 501), ["a is up"]);
}

#[test]
fn a_new_leader_grants_all_leases_afresh() {
    let mut plant = Plant::born(16, 1, 1);
    plant.apply(&scraper("a"));
    plant.apply(&scraper("b"));
    plant.set("b", NodeState::Down);
    let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(7000));
    assert_eq!(due(&mut leases, &mut plant, 7009), [""; 0], "b, which is down, has not been heard");
    assert_eq!(due(&mut leases, &mut plant, 7010), ["a is down"]);
    assert_eq!(due(&mut leases, &mut plant, 7299), [""; 0]);
    assert_eq!(due(&mut leases, &mut plant, 7300), ["a is lost", "b is lost"]);
}

#[test]
fn a_member_of_a_group_is_never_forgotten() {
    let mut plant = Plant::born(16, 1, 1).grow("a@z1");
    let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(0));
    assert_eq!(due(&mut leases, &mut plant, 100_000), ["a is down", "a is lost"]);
}

#[test]
fn a_heartbeat_of_somebody_else_does_not_count() {
    let mut plant = Plant::born(16, 1, 1);
    plant.apply(&scraper("a"));
    let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(0));
    assert_eq!(beat(&mut leases, &plant, "x", 1, 5), Beat::Join);
    assert_eq!(beat(&mut leases, &plant, "a", 2, 5), Beat::Join);
    let elsewhere = Address::new("elsewhere:1").unwrap();
    assert_eq!(leases.hear(plant.map(), &node("a"), Incarnation(1), &elsewhere, at(5)), Beat::Join);
    assert_eq!(due(&mut leases, &mut plant, 10), ["a is down"]);
    plant.set("a", NodeState::Left);
    assert_eq!(beat(&mut leases, &plant, "a", 1, 11), Beat::Join);
}

fn joining(name: &str, zone: &str, address: &str, incarnation: u64) -> Joining {
    Joining {
        node: node(name),
        roles: Roles::one(Role::Ingester),
        zone: Zone::new(zone).unwrap(),
        address: Address::new(address).unwrap(),
        incarnation: Incarnation(incarnation),
    }
}

fn check_join(leases: &Leases, plant: &Plant, joining: &Joining, now: u64) -> String {
    leases.check_join(plant.map(), joining, at(now)).map_or_else(|e| e.to_string(), |()| "ok".into())
}

#[test]
fn a_node_id_in_use_is_refused_until_its_lease_has_run_out() {
    let plant = Plant::born(16, 1, 1).grow("a@z1");
    let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(0));
    beat(&mut leases, &plant, "a", 1, 3);
    let in_use = "node id a is in use by the node at a:9095 with directory 0000000000000001";
    // Another directory elsewhere, and a copy of the same directory elsewhere.
    for incarnation in [1, 2] {
        assert_eq!(check_join(&leases, &plant, &joining("a", "z1", "b:1", incarnation), 12), in_use);
        assert_eq!(check_join(&leases, &plant, &joining("a", "z1", "b:1", incarnation), 13), "ok");
    }
    // The same address: started again, with its directory or a new one.
    for incarnation in [1, 2] {
        assert_eq!(check_join(&leases, &plant, &joining("a", "z1", "a:9095", incarnation), 4), "ok");
    }
    assert_eq!(check_join(&leases, &plant, &joining("b", "z1", "a:9095", 1), 4), "ok");
}

#[test]
fn a_new_leader_has_heard_nobody_and_so_refuses_for_a_lease() {
    let plant = Plant::born(16, 1, 1).grow("a@z1");
    let leases = Leases::granted_afresh(plant.map(), TIMES, at(50));
    let newcomer = joining("a", "z1", "b:1", 2);
    assert!(check_join(&leases, &plant, &newcomer, 59).contains("in use"));
    assert_eq!(check_join(&leases, &plant, &newcomer, 60), "ok");
}

#[test]
fn a_directory_does_not_change_its_zone() {
    let mut plant = Plant::born(16, 1, 1);
    plant.apply(&join("a", "z1", Roles::one(Role::Ingester), 1));
    let leases = Leases::granted_afresh(plant.map(), TIMES, at(0));
    let refused = "node a with directory 0000000000000001 is in zone z1, not z2";
    assert_eq!(check_join(&leases, &plant, &joining("a", "z2", "a:9095", 1), 0), refused);
    assert_eq!(check_join(&leases, &plant, &joining("a", "z2", "a:9095", 2), 0), "ok");
    plant.set("a", NodeState::Left);
    assert_eq!(check_join(&leases, &plant, &joining("a", "z2", "b:1", 1), 0), "ok");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random beats, joins and changes of leader against a list of when each was last heard.
    #[test]
    fn states_follow_silence_exactly(steps in proptest::collection::vec((0..4_usize, 0..5_u8, 1..40_u64), 1..80)) {
        let names = ["a", "b", "c", "d"];
        let mut plant = Plant(State::default());
        plant.apply(&Command::Birth { cluster: crate::ClusterId(1), partition_count: 16, replication_factor: 1, bootstrap_ingesters: 1 });
        names.iter().for_each(|name| plant.apply(&scraper(name)));
        let mut leases = Leases::granted_afresh(plant.map(), TIMES, at(0));
        let mut now = 0;
        // When each was heard last or had its lease granted, and whether this leader has heard it.
        let mut heard = [(0_u64, false); 4];
        for (who, what, pause) in steps {
            now += pause;
            match what {
                0 => {
                    leases = Leases::granted_afresh(plant.map(), TIMES, at(now));
                    heard = [(now, false); 4];
                }
                1 | 2 if beat(&mut leases, &plant, names[who], 1, now) == Beat::Counted => heard[who] = (now, true),
                _ => {}
            }
            let before: Vec<_> = names.map(|name| plant.map().node(&node(name)).unwrap().state).to_vec();
            due(&mut leases, &mut plant, now);
            for (i, name) in names.iter().enumerate() {
                let silence = now - heard[i].0;
                let state = plant.map().node(&node(name)).unwrap().state;
                let expected = match (before[i], silence) {
                    (NodeState::Left, _) => NodeState::Left,
                    (_, 3600..) => NodeState::Left,
                    (_, 300..) => NodeState::Lost,
                    (NodeState::Lost, 10..) => NodeState::Lost,
                    (_, 10..) => NodeState::Down,
                    (before, _) if !heard[i].1 => before,
                    _ => NodeState::Up,
                };
                prop_assert_eq!(state, expected, "{} at {}, silent for {}", name, now, silence);
            }
        }
    }
}
