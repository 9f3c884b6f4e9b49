//! Clusters for tests, grown from a line of text.

use crate::{
    Address, ClusterId, ClusterMap, Command, GroupId, Incarnation, NodeId, NodeState, Outcome, Role, Roles, State,
    Zone, next_growth,
};

/// A cluster under test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plant(pub(crate) State);

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn join(name: &str, zone: &str, roles: Roles, incarnation: u64) -> Command {
    Command::Join {
        node: node(name),
        roles,
        zone: Zone::new(zone).unwrap(),
        address: Address::new(&format!("{name}:9095")).unwrap(),
        incarnation: Incarnation(incarnation),
    }
}

impl Plant {
    /// A cluster that is born.
    pub(crate) fn born(partition_count: u32, replication_factor: u8, bootstrap_ingesters: u32) -> Plant {
        let mut plant = Plant::default();
        let cluster = ClusterId(1);
        plant.apply(&Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters });
        plant
    }

    /// Joins ingesters with directory 1 and lets groups grow after each: `a@z1 b@z2`.
    pub(crate) fn grow(mut self, ingesters: &str) -> Plant {
        for ingester in ingesters.split_whitespace() {
            let (name, zone) = ingester.split_once('@').unwrap();
            self.apply(&join(name, zone, Roles::one(Role::Ingester), 1));
            self.settle();
        }
        self
    }

    /// Proposes growth until there is none; each step must change something.
    pub(crate) fn settle(&mut self) {
        while let Some(command) = next_growth(self.map()) {
            self.apply(&command);
        }
    }

    pub(crate) fn apply(&mut self, command: &Command) {
        let outcome = self.0.apply(self.0.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    pub(crate) fn set(&mut self, name: &str, state: NodeState) {
        let incarnation = self.map().node(&node(name)).unwrap().incarnation;
        self.apply(&Command::SetNodeState { node: node(name), incarnation, state });
    }

    pub(crate) fn map(&self) -> &ClusterMap {
        self.0.map()
    }

    /// Names of the members of each group, in order.
    pub(crate) fn groups(&self) -> Vec<String> {
        let members = |g: &crate::Group| {
            g.newest().members.iter().map(|m| m.replica.node.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        };
        self.map().groups().iter().map(members).collect()
    }

    /// How many partitions each group owns.
    pub(crate) fn loads(&self) -> Vec<usize> {
        let owned = |group: GroupId| self.map().owners().filter(|owner| *owner == group).count();
        self.map().groups().iter().map(|g| owned(g.id())).collect()
    }
}
