//! The log of a cluster that comes into being, loses a member and gets it back.

use cluster::{
    Address, ClusterId, Command, Incarnation, NodeId, NodeState, Outcome, Role, Roles, State, Zone, next_growth,
};

use super::*;

#[derive(Default)]
struct Cluster {
    state: State,
    told: Told,
}

impl Cluster {
    fn apply(&mut self, command: &Command) {
        let outcome = self.state.apply(self.state.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    fn join(&mut self, name: &str) {
        self.apply(&Command::Join {
            node: NodeId::new(name).unwrap(),
            roles: Roles::one(Role::Ingester),
            zone: Zone::new(&format!("z{name}")).unwrap(),
            address: Address::new(&format!("{name}:1")).unwrap(),
            incarnation: Incarnation(1),
        });
        while let Some(command) = next_growth(self.state.map()) {
            self.apply(&command);
        }
    }

    fn set(&mut self, name: &str, state: NodeState) {
        self.apply(&Command::SetNodeState { node: NodeId::new(name).unwrap(), incarnation: Incarnation(1), state });
    }

    fn check(&mut self, expected: &[&str]) {
        let said: Vec<String> = self
            .told
            .news(self.state.map())
            .iter()
            .map(|news| match news {
                News::Promised(promise) => format!("promised: {promise:?}"),
                News::Short(why) if is_beginning(why) => format!("not yet: {why}"),
                News::Short(why) => format!("short: {why}"),
                News::Mended(why) => format!("mended: {why}"),
            })
            .collect();
        assert_eq!(said, expected);
    }
}

#[test]
fn each_change_is_told_once() {
    let mut cluster = Cluster::default();
    cluster.check(&[]);
    let (cluster_id, partition_count) = (ClusterId(1), 4);
    cluster.apply(&Command::Birth {
        cluster: cluster_id,
        partition_count,
        replication_factor: 2,
        bootstrap_ingesters: 2,
    });
    let waits = "0 of the 2 ingesters are up that the first groups wait for";
    let unplaced = "4 partitions have no owner, so writes to them are refused";
    cluster.check(&["promised: BothOrNothing", &format!("not yet: {waits}"), &format!("not yet: {unplaced}")]);
    cluster.check(&[]);
    cluster.join("1");
    cluster.join("2");
    cluster.check(&[&format!("mended: {waits}"), &format!("mended: {unplaced}")]);
    cluster.set("2", NodeState::Down);
    let short = "group 0 is short: 2/0000000000000001 is down";
    cluster.check(&[&format!("short: {short}")]);
    cluster.check(&[]);
    cluster.set("2", NodeState::Up);
    cluster.check(&[&format!("mended: {short}")]);
}
