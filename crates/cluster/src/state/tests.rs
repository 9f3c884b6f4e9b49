//! The rules by example, and random commands that try to break them.

use std::collections::BTreeSet;

use model::{SeriesId, TenantId, TimeRange};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::{Address, Roles, Zone, fuzzing, owner};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn replica(name: &str, incarnation: u64) -> Replica {
    Replica { node: node(name), incarnation: Incarnation(incarnation) }
}

fn birth(replication_factor: u8) -> Command {
    waiting_birth(4, replication_factor, u32::from(replication_factor))
}

fn waiting_birth(partition_count: u32, replication_factor: u8, bootstrap_ingesters: u32) -> Command {
    Command::Birth { cluster: ClusterId(1), partition_count, replication_factor, bootstrap_ingesters }
}

fn join(name: &str, zone: &str, incarnation: u64) -> Command {
    Command::Join {
        node: node(name),
        roles: Roles::one(Role::Ingester),
        zone: Zone::new(zone).unwrap(),
        address: Address::new("host:9095").unwrap(),
        incarnation: Incarnation(incarnation),
    }
}

fn set(name: &str, incarnation: u64, state: NodeState) -> Command {
    Command::SetNodeState { node: node(name), incarnation: Incarnation(incarnation), state }
}

fn group(number: u32, members: &[(&str, u64)]) -> Command {
    let members = members.iter().map(|(name, incarnation)| replica(name, *incarnation)).collect();
    Command::CreateGroup { group: GroupId(number), members }
}

fn replace(seen: u64, leaving: (&str, u64), joining: (&str, u64)) -> Command {
    Command::ReplaceMember {
        group: GroupId(0),
        seen: GenerationNumber(seen),
        leaving: replica(leaving.0, leaving.1),
        joining: replica(joining.0, joining.1),
    }
}

fn filled(seen: u64, name: &str, incarnation: u64) -> Command {
    Command::ReportFilled { group: GroupId(0), seen: GenerationNumber(seen), replica: replica(name, incarnation) }
}

fn place(owners: &[(u32, u32)]) -> Command {
    Command::PlacePartitions { owners: owners.iter().map(|(p, g)| (PartitionId(*p), GroupId(*g))).collect() }
}

fn hole(group: u32, mint: i64, maxt: i64) -> Command {
    Command::RecordHole(Hole { group: GroupId(group), range: TimeRange::new(TimestampMs(mint), TimestampMs(maxt)) })
}

/// Applies one more command; the word, or the reason of the refusal.
fn apply(state: &mut State, command: &Command) -> String {
    let before = state.clone();
    let outcome = state.apply(before.applied + 1, command);
    assert_eq!(state.map.check(), Ok(()));
    if !matches!(outcome, Outcome::Changed(_)) {
        assert_eq!(state.map, before.map, "{command} changed the map");
    }
    match outcome {
        Outcome::Changed(_) => "changed".into(),
        Outcome::Unchanged => "unchanged".into(),
        Outcome::Refused(refusal) => refusal.to_string(),
    }
}

/// A cluster of factor 3: group 0 of a, b, c; d is a spare in c's zone, e is a spare in a's.
fn three() -> State {
    let mut state = State::default();
    let nodes = [("a", "z1"), ("b", "z2"), ("c", "z3"), ("d", "z3"), ("e", "z1")];
    assert_eq!(apply(&mut state, &birth(3)), "changed");
    for (name, zone) in nodes {
        assert_eq!(apply(&mut state, &join(name, zone, 1)), "changed");
    }
    assert_eq!(apply(&mut state, &group(0, &[("a", 1), ("b", 1), ("c", 1)])), "changed");
    state
}

fn check(commands: &[(Command, &str)]) -> State {
    let mut state = three();
    for (command, expected) in commands {
        assert_eq!(apply(&mut state, command), *expected, "{command}");
    }
    state
}

#[test]
fn nothing_comes_before_the_birth_and_no_second_birth() {
    let mut state = State::default();
    for command in [join("a", "z", 1), group(0, &[]), hole(0, 0, 1), place(&[]), set("a", 1, NodeState::Up)] {
        assert_eq!(apply(&mut state, &command), "the cluster is not born yet");
    }
    for (partition_count, replication_factor, waited) in
        [(0, 1, 1), (3, 1, 1), (8192, 1, 1), (16, 0, 0), (16, 4, 4), (16, 3, 2), (16, 3, 1025)]
    {
        let command = waiting_birth(partition_count, replication_factor, waited);
        let refused = apply(&mut state, &command);
        assert!(refused.contains(" is ") || refused.contains(" are "), "{command}: {refused}");
    }
    assert_eq!(apply(&mut state, &birth(1)), "changed");
    assert_eq!(apply(&mut state, &birth(1)), "unchanged");
    assert_eq!(apply(&mut state, &birth(3)), "cluster 00000000000000000000000000000001 is born already");
}

#[test]
fn a_member_is_exchanged_for_an_unfilled_one_and_old_generations_count_until_it_is_filled() {
    let state = check(&[(replace(1, ("c", 1), ("d", 1)), "changed")]);
    let newest = state.map.groups[0].newest();
    let flags: Vec<_> = newest.members.iter().map(|m| (m.replica.to_string(), m.filled)).collect();
    let expected = [("a", true), ("b", true), ("d", false)];
    assert_eq!(flags, expected.map(|(name, filled)| (format!("{name}/0000000000000001"), filled)));
    assert_eq!(state.map.groups[0].generations().len(), 2);

    let state = check(&[
        (replace(1, ("c", 1), ("d", 1)), "changed"),
        (filled(1, "d", 1), "group 0: decided at generation 1, but the newest is 2"),
        (filled(2, "c", 1), "group 0: c/0000000000000001 is no member"),
        (filled(2, "a", 1), "unchanged"),
        (filled(2, "d", 1), "changed"),
        (filled(2, "d", 1), "unchanged"),
    ]);
    assert_eq!(state.map.groups[0].generations().len(), 1);
    assert!(state.map.groups[0].newest().all_filled());
}

#[test]
fn only_the_unfilled_member_is_exchanged_while_there_is_one() {
    check(&[
        (replace(1, ("c", 1), ("d", 1)), "changed"),
        (
            replace(2, ("a", 1), ("e", 1)),
            "group 0: a/0000000000000001 cannot be replaced while d/0000000000000001 is not filled",
        ),
        (replace(1, ("d", 1), ("c", 1)), "group 0: decided at generation 1, but the newest is 2"),
        // c was a member of the generation before, which counts still: its directory may not come back.
        (replace(2, ("d", 1), ("c", 1)), "group 0: c/0000000000000001 is in a generation that still counts"),
        (join("c", "z3", 2), "changed"),
        (replace(2, ("d", 1), ("c", 1)), "group 0: c/0000000000000001 is in a generation that still counts"),
        (replace(2, ("d", 1), ("c", 2)), "changed"),
        (filled(3, "c", 2), "changed"),
        // Now a may go.
        (replace(3, ("a", 1), ("e", 1)), "changed"),
    ]);
}

#[test]
fn a_node_with_a_new_directory_may_follow_itself() {
    check(&[
        (join("c", "z3", 2), "changed"),
        (replace(1, ("c", 1), ("c", 3)), "c/0000000000000003 was meant, but the node's directory is 0000000000000002"),
        (replace(1, ("c", 1), ("c", 2)), "changed"),
        (filled(2, "c", 2), "changed"),
    ]);
}

#[test]
fn whom_a_group_does_not_take() {
    check(&[
        (replace(1, ("c", 1), ("x", 1)), "node x is unknown"),
        (replace(1, ("x", 1), ("d", 1)), "group 0: x/0000000000000001 is no member"),
        (replace(1, ("c", 1), ("a", 1)), "group 0: a/0000000000000001 is in a generation that still counts"),
        (replace(1, ("c", 1), ("e", 1)), "another member is in the zone of e"),
        (set("d", 1, NodeState::Down), "changed"),
        (replace(1, ("c", 1), ("d", 1)), "node d is no ingester that is up"),
        (group(0, &[]), "the next group is 1, not 0"),
        (group(1, &[("d", 1)]), "a group has 3 members, not 1"),
        (join("f", "z2", 1), "changed"),
        (join("d", "z3", 1), "changed"),
        (group(1, &[("d", 1), ("e", 1), ("a", 1)]), "another member is in the zone of a"),
        (group(1, &[("d", 1), ("a", 1), ("f", 1)]), "node a is a member of group 0"),
        (group(1, &[("d", 1), ("e", 1), ("f", 1)]), "changed"),
        (replace(1, ("c", 1), ("d", 1)), "node d is a member of group 1"),
    ]);
}

#[test]
fn unfilled_members_cannot_be_exchanged_for_ever() {
    let mut state = three();
    for incarnation in 2..9 {
        assert_eq!(apply(&mut state, &join("c", "z3", incarnation)), "changed");
        let (leaving, joining) = (("c", incarnation - 1), ("c", incarnation));
        assert_eq!(apply(&mut state, &replace(incarnation - 1, leaving, joining)), "changed");
    }
    apply(&mut state, &join("c", "z3", 9));
    let refused = "group 0: 8 generations without all members filled: one must be filled first";
    assert_eq!(apply(&mut state, &replace(8, ("c", 8), ("c", 9))), refused);
    assert_eq!(apply(&mut state, &filled(8, "c", 8)), "changed");
    assert_eq!(apply(&mut state, &replace(8, ("c", 8), ("c", 9))), "changed");
}

#[test]
fn node_states_change_for_the_directory_that_was_meant() {
    let state = check(&[
        (set("x", 1, NodeState::Down), "node x is unknown"),
        (set("a", 2, NodeState::Down), "a/0000000000000002 was meant, but the node's directory is 0000000000000001"),
        (set("a", 1, NodeState::Up), "unchanged"),
        (set("a", 1, NodeState::Down), "changed"),
        (set("a", 1, NodeState::Lost), "changed"),
        (set("a", 1, NodeState::Up), "changed"),
        (set("a", 1, NodeState::Left), "node a is a member of group 0"),
        (set("d", 1, NodeState::Left), "changed"),
        (set("d", 1, NodeState::Up), "node d has left"),
        (join("d", "z2", 1), "changed"),
        (join("a", "z9", 1), "node a is a member of group 0"),
    ]);
    assert_eq!(state.map.nodes[&node("d")].zone.as_str(), "z2");
}

#[test]
fn partitions_are_placed_once() {
    let state = check(&[
        (place(&[]), "unchanged"),
        (place(&[(4, 0)]), "partition 4 does not exist"),
        (place(&[(0, 1)]), "group 1 is unknown"),
        (place(&[(1, 0), (1, 0)]), "partition 1 is placed already, twice or out of order"),
        (place(&[(2, 0), (1, 0)]), "partition 1 is placed already, twice or out of order"),
        (place(&[(1, 0), (3, 0)]), "changed"),
        (place(&[(0, 0), (1, 0)]), "partition 1 is placed already, twice or out of order"),
    ]);
    assert_eq!(state.map.unplaced().collect::<Vec<_>>(), [PartitionId(0), PartitionId(2)]);
}

#[test]
fn the_owner_is_the_last_that_began_before_the_sample() {
    let mut state = three();
    apply(&mut state, &place(&[(3, 0)]));
    apply(&mut state, &join("f", "z2", 1));
    apply(&mut state, &group(1, &[("d", 1), ("e", 1), ("f", 1)]));
    // No command moves partitions yet; the map can already say it.
    state.map.placement[3].push(Ownership { since: TimestampMs(1000), group: GroupId(1) });
    assert_eq!(state.map.check(), Ok(()));
    let owner_at = |top: u128, at: i64| {
        owner(&TenantId::anonymous(), SeriesId(top << 126), TimestampMs(at), &state.map).map(|g| g.0)
    };
    assert_eq!(
        [owner_at(3, i64::MIN), owner_at(3, 999), owner_at(3, 1000), owner_at(3, i64::MAX)],
        [0, 0, 1, 1].map(Some)
    );
    assert_eq!(owner_at(0, 0), None, "not placed yet");
    assert_eq!(owner(&TenantId::anonymous(), SeriesId(0), TimestampMs(0), &ClusterMap::default()), None);
}

#[test]
fn holes_are_some_groups_and_not_empty() {
    let state = check(&[
        (hole(1, 0, 10), "group 1 is unknown"),
        (hole(0, 10, 10), "the range is empty"),
        (hole(0, 0, 10), "changed"),
        (hole(0, 2, 10), "unchanged"),
    ]);
    assert_eq!(state.map.holes().iter().count(), 1);
}

#[test]
fn a_full_record_of_nodes_makes_room_only_by_those_that_left() {
    let mut state = State::default();
    apply(&mut state, &birth(1));
    for i in 0..ClusterMap::NODES_MAX {
        let outcome = state.apply(state.applied + 1, &join(&format!("n{i}"), "z", 1));
        assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
    }
    assert_eq!(apply(&mut state, &join("more", "z", 1)), "no more than 1024 nodes");
    apply(&mut state, &set("n7", 1, NodeState::Left));
    apply(&mut state, &set("n5", 1, NodeState::Left));
    assert_eq!(apply(&mut state, &join("more", "z", 1)), "changed");
    assert_eq!(state.map.node(&node("n7")), None, "the one that left first");
    assert!(state.map.node(&node("n5")).is_some());
}

#[test]
fn golden_bytes_do_not_change() {
    let bytes = join("a", "z", 0x0102_0304_0506_0708).encode();
    let expected = [&[1, 1][..], &[1, 0, b'a', 0b100, 1, 0, b'z', 9, 0], b"host:9095", &[8, 7, 6, 5, 4, 3, 2, 1]];
    assert_eq!(bytes, expected.concat());
    let born = waiting_birth(64, 3, 3).encode();
    assert_eq!(born, [&[1, 0, 1][..], &[0; 15], &[64, 0, 0, 0, 3]].concat());
    let waits = waiting_birth(64, 3, 12).encode();
    assert_eq!(waits, [&[1, 8, 1][..], &[0; 15], &[64, 0, 0, 0, 3, 12, 0, 0, 0]].concat());
    let empty = State::default().encode();
    assert_eq!(empty, [&[1][..], &[0; 8], &[26, 0, 0, 0], &[1], &[0; 25]].concat());
}

/// Commands over few nodes, zones, groups and generations, so that many of them meet.
fn any_command() -> impl Strategy<Value = Command> {
    let name = (0..7_usize).prop_map(|i| ["a", "b", "c", "d", "e", "f", "g"][i]);
    let zone = (0..4_usize).prop_map(|i| ["z1", "z2", "z3", "z4"][i]);
    let who = (name.clone(), 1..4_u64);
    let state = (0..4_usize).prop_map(|i| [NodeState::Up, NodeState::Down, NodeState::Lost, NodeState::Left][i]);
    let members = proptest::collection::vec(who.clone(), 3);
    let owners = proptest::collection::vec((0..5_u32, 0..3_u32), 0..4);
    prop_oneof![
        1 => (0..2_u128).prop_map(|id| Command::Birth { cluster: ClusterId(id), partition_count: 4, replication_factor: 3, bootstrap_ingesters: 3 }),
        6 => (who.clone(), zone).prop_map(|((name, incarnation), zone)| join(name, zone, incarnation)),
        3 => (who.clone(), state).prop_map(|((name, incarnation), state)| set(name, incarnation, state)),
        4 => (0..2_u32, members).prop_map(|(number, members)| group(number, &members)),
        6 => (1..5_u64, who.clone(), who.clone()).prop_map(|(seen, from, to)| replace(seen, from, to)),
        3 => (1..5_u64, who).prop_map(|(seen, (name, incarnation))| filled(seen, name, incarnation)),
        2 => owners.prop_map(|owners| place(&owners)),
        1 => (0..2_u32, -5..5_i64, -5..5_i64).prop_map(|(group, mint, maxt)| hole(group, mint, maxt)),
    ]
}

/// A random command, or one made from the state, so that deep states are reached and their rules met.
#[derive(Clone, Debug)]
enum Move {
    Command(Command),
    /// Exchange a member of the newest generation for a node as it is on record.
    Replace(usize, usize),
    /// Report a member of the newest generation filled.
    Fill(usize),
    /// A node on record joins with its next directory.
    Renew(usize),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => any_command().prop_map(Move::Command),
        4 => (0..3_usize, 0..7_usize).prop_map(|(place, node)| Move::Replace(place, node)),
        2 => (0..3_usize).prop_map(Move::Fill),
        2 => (0..7_usize).prop_map(Move::Renew),
    ]
}

impl Move {
    fn resolve(self, map: &ClusterMap) -> Option<Command> {
        let pick = |i: usize| map.nodes.iter().nth(i % map.nodes.len().max(1));
        match self {
            Move::Command(command) => Some(command),
            Move::Replace(place, node) => {
                let newest = map.groups.first()?.newest();
                let (id, node) = pick(node)?;
                Some(Command::ReplaceMember {
                    group: GroupId(0),
                    seen: newest.number,
                    leaving: newest.members[place].replica.clone(),
                    joining: node.replica(id),
                })
            }
            Move::Fill(place) => {
                let newest = map.groups.first()?.newest();
                let replica = newest.members[place].replica.clone();
                Some(Command::ReportFilled { group: GroupId(0), seen: newest.number, replica })
            }
            Move::Renew(node) => {
                let (id, node) = pick(node)?;
                Some(join(id.as_str(), node.zone.as_str(), node.incarnation.0 + 1))
            }
        }
    }
}

/// A cluster that stands, so that random moves reach beyond its birth, followed by random moves.
fn any_history() -> impl Strategy<Value = Vec<Command>> {
    let nodes = [("a", "z1"), ("b", "z2"), ("c", "z3"), ("d", "z3"), ("e", "z1"), ("f", "z2")];
    let mut standing = vec![birth(3)];
    standing.extend(nodes.map(|(name, zone)| join(name, zone, 1)));
    standing.push(group(0, &[("a", 1), ("b", 1), ("c", 1)]));
    (0..=standing.len(), proptest::collection::vec(any_move(), 0..60)).prop_map(move |(dropped, moves)| {
        // Small numbers come first when a failure is shrunk, and a whole standing cluster is the simpler case.
        let mut commands = standing[..standing.len() - dropped / 4].to_vec();
        let mut state = State::default();
        for (index, command) in (1..).zip(&commands) {
            state.apply(index, command);
        }
        for next in moves {
            let Some(command) = next.resolve(state.map()) else { continue };
            state.apply(state.applied() + 1, &command);
            commands.push(command);
        }
        commands
    })
}

#[test]
fn histories_reach_deep_states() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut exchanges, mut chains, mut filled) = (0, 0, 0);
    for _ in 0..200 {
        let commands = any_history().new_tree(&mut runner).unwrap().current();
        let mut state = State::default();
        for (index, command) in (1..).zip(&commands) {
            match (command, state.apply(index, command)) {
                (Command::ReplaceMember { .. }, Outcome::Changed(_)) => exchanges += 1,
                (_, Outcome::Changed(Event::GroupFilled(..))) => filled += 1,
                _ => {}
            }
            chains += usize::from(state.map.groups.iter().any(|g| g.generations().len() > 2));
        }
    }
    assert!(exchanges > 100 && filled > 50 && chains > 100, "{exchanges} {filled} {chains}");
}

/// Each successor of a group's generation, judged from outside: one member differs, and the earlier generation was all
/// filled or the one exchanged was its unfilled member.
fn assert_lawful_successor(before: &ClusterMap, after: &ClusterMap) {
    for (earlier, later) in before.groups().iter().zip(after.groups()) {
        let (earlier, later) = (earlier.newest(), later.newest());
        assert!(later.number >= earlier.number, "generations never go back");
        if later.number == earlier.number {
            continue;
        }
        assert_eq!(later.number.0, earlier.number.0 + 1);
        let of = |g: &crate::Generation| g.members.iter().map(|m| m.replica.clone()).collect::<BTreeSet<_>>();
        let left: Vec<_> = of(earlier).difference(&of(later)).cloned().collect();
        assert_eq!((left.len(), of(later).difference(&of(earlier)).count()), (1, 1));
        let unfilled: Vec<_> = earlier.members.iter().filter(|m| !m.filled).map(|m| m.replica.clone()).collect();
        assert!(unfilled.is_empty() || unfilled == left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_promises(commands in any_history()) {
        let mut state = State::default();
        for command in &commands {
            let before = state.clone();
            apply(&mut state, command);
            assert_lawful_successor(&before.map, &state.map);
            prop_assert!(before.map.groups.len() <= state.map.groups.len());
            prop_assert_eq!(&Command::decode(&command.encode()).unwrap(), command);
        }
    }

    #[test]
    fn a_snapshot_reads_back_equal_and_replay_gives_the_same_bytes(commands in any_history(), cut in 0..68_usize) {
        let cut = cut.min(commands.len());
        let mut whole = State::default();
        let mut resumed = State::default();
        for (index, command) in (1..).zip(&commands) {
            let outcome = whole.apply(index, command);
            if index == u64::try_from(cut).unwrap() + 1 {
                // From a snapshot of what came before, the rest of the log has the same outcomes.
                let mut before = State::default();
                for (index, command) in (1..).zip(&commands[..cut]) {
                    before.apply(index, command);
                }
                resumed = State::decode(&before.encode()).unwrap();
                prop_assert_eq!(&resumed, &before);
            }
            if index > u64::try_from(cut).unwrap() {
                prop_assert_eq!(resumed.apply(index, command), outcome);
                prop_assert_eq!(resumed.encode(), whole.encode());
            }
        }
        prop_assert_eq!(&State::decode(&whole.encode()).unwrap(), &whole);
    }
}

#[test]
fn damaged_bytes_are_refused_or_are_another_legal_value() {
    let state = check(&[
        (replace(1, ("c", 1), ("d", 1)), "changed"),
        (place(&[(0, 0)]), "changed"),
        (hole(0, 0, 9), "changed"),
    ]);
    let mut seeds = vec![state.encode(), state.map.encode()];
    seeds.extend(
        [birth(3), waiting_birth(4, 2, 9), join("a", "z", 1), replace(1, ("c", 1), ("d", 1)), place(&[(0, 0), (1, 0)])]
            .map(|c| c.encode()),
    );
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..6000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=next() % 3 {
            let at = usize::try_from(next()).unwrap() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = u8::try_from(next() & 0xff).unwrap(),
                1 => bytes[at] ^= 1 << (next() % 8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        fuzzing::fuzz_command(&bytes);
        fuzzing::fuzz_snapshot(&bytes);
    }
}
