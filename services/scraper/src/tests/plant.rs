//! Maps with scrapers, as a control plane makes them.

use cluster::{
    Address, ClusterId, ClusterMap, Command, Incarnation, NodeId, NodeState, Outcome, Role, Roles, State, Zone,
};

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// A cluster of scrapers.
pub(crate) struct Plant(State);

impl Plant {
    pub(crate) fn of(scrapers: &[&str]) -> Plant {
        let mut plant = Plant(State::default());
        let cluster = ClusterId(1);
        plant.apply(&Command::Birth { cluster, partition_count: 1, replication_factor: 1, bootstrap_ingesters: 1 });
        for name in scrapers {
            plant.join(name);
        }
        plant
    }

    fn apply(&mut self, command: &Command) {
        let outcome = self.0.apply(self.0.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    pub(crate) fn join(&mut self, name: &str) {
        self.apply(&Command::Join {
            node: node(name),
            roles: Roles::one(Role::Scraper),
            zone: Zone::new("z").unwrap(),
            address: Address::new("a:1").unwrap(),
            incarnation: Incarnation(1),
        });
    }

    pub(crate) fn set(&mut self, name: &str, state: NodeState) {
        self.apply(&Command::SetNodeState { node: node(name), incarnation: Incarnation(1), state });
    }

    pub(crate) fn map(&self) -> &ClusterMap {
        self.0.map()
    }
}
