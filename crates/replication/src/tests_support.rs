//! Groups for tests, made by the real state machine.

use std::sync::Arc;

use cluster::{
    Address, ClusterId, Command, GenerationNumber, Group, GroupId, Incarnation, NodeId, Outcome, Replica as ReplicaId,
    Role, Roles, State, Zone,
};
use model::TimestampMs;

use crate::{BatchKey, Entry, Payload};

/// A batch that touches these minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) seq: u64,
    pub(crate) minutes: Vec<i64>,
    pub(crate) bytes: usize,
}

impl Payload for Batch {
    fn key(&self) -> BatchKey {
        BatchKey { writer: 9, seq: self.seq }
    }

    fn bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        Some((at(*self.minutes.iter().min()?), at(*self.minutes.iter().max()?)))
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A batch of a hundred bytes.
pub(crate) fn batch(seq: u64, minutes: &[i64]) -> Batch {
    Batch { seq, minutes: minutes.to_vec(), bytes: 100 }
}

/// So many minutes after the epoch.
pub(crate) fn at(minute: i64) -> TimestampMs {
    TimestampMs(minute * 60_000)
}

/// The group as an entry.
pub(crate) fn entry(factor: usize, exchanged: usize) -> Entry {
    Arc::new(group(factor, exchanged))
}

/// `n1`, `n2`, ...
pub(crate) fn id(number: usize) -> ReplicaId {
    ReplicaId { node: NodeId::new(&format!("n{number}")).unwrap(), incarnation: Incarnation(1) }
}

/// A group of `factor` members, n1 and so on, whose last member was exchanged so many times without one being filled: for the
/// node after the last, the one after that, and so on.
pub(crate) fn group(factor: usize, exchanged: usize) -> Group {
    let mut cluster = Control::new(factor);
    (0..exchanged).for_each(|i| cluster.replace(factor + i, factor + i + 1));
    cluster.group()
}

/// The control plane of one group.
pub(crate) struct Control(State);

impl Control {
    pub(crate) fn new(factor: usize) -> Control {
        let mut control = Control(State::default());
        let replication_factor = u8::try_from(factor).unwrap();
        control.decide(&Command::Birth {
            cluster: ClusterId(7),
            partition_count: 4,
            replication_factor,
            bootstrap_ingesters: u32::from(replication_factor),
        });
        for number in 1..=8 {
            let (node, roles) = (id(number).node, Roles::one(Role::Ingester));
            // All that can follow the last member are in its zone.
            let zone = Zone::new(&format!("z{}", number.min(factor))).unwrap();
            let (address, incarnation) = (Address::new("host:1").unwrap(), Incarnation(1));
            control.decide(&Command::Join { node, roles, zone, address, incarnation });
        }
        let members = (1..=factor).map(id).collect();
        control.decide(&Command::CreateGroup { group: GroupId(0), members });
        control
    }

    fn decide(&mut self, command: &Command) {
        let outcome = self.0.apply(self.0.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    pub(crate) fn replace(&mut self, leaving: usize, joining: usize) {
        let seen = self.group().newest().number;
        let (leaving, joining) = (id(leaving), id(joining));
        self.decide(&Command::ReplaceMember { group: GroupId(0), seen, leaving, joining });
    }

    pub(crate) fn filled(&mut self, member: usize) {
        let seen: GenerationNumber = self.group().newest().number;
        self.decide(&Command::ReportFilled { group: GroupId(0), seen, replica: id(member) });
    }

    pub(crate) fn group(&self) -> Group {
        self.0.map().group(GroupId(0)).unwrap().clone()
    }
}

/// Another group, of n5.
pub(crate) fn second_group() -> Entry {
    let mut state = State::default();
    let mut decide = |command: Command| {
        let outcome = state.apply(state.applied() + 1, &command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    };
    decide(Command::Birth { cluster: ClusterId(7), partition_count: 4, replication_factor: 1, bootstrap_ingesters: 1 });
    for number in 4..=5 {
        let (node, roles) = (id(number).node, Roles::one(Role::Ingester));
        let (zone, address) = (Zone::new("z").unwrap(), Address::new("host:1").unwrap());
        decide(Command::Join { node, roles, zone, address, incarnation: Incarnation(1) });
        let group = GroupId(u32::try_from(number - 4).unwrap());
        decide(Command::CreateGroup { group, members: vec![id(number)] });
    }
    Arc::new(state.map().group(GroupId(1)).unwrap().clone())
}
