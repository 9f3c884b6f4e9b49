//! Groups for tests, made by the real state machine.

use cluster::{
    Address, ClusterId, Command, GenerationNumber, Group, GroupId, Incarnation, NodeId, Outcome, Replica as ReplicaId,
    Role, Roles, State, Zone,
};

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
        control.decide(&Command::Birth { cluster: ClusterId(7), partition_count: 4, replication_factor });
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
