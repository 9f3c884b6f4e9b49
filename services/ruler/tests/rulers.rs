//! Three rulers in one process over real sockets, with nodes that join them.

#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Address, ClusterMap, GroupId, Incarnation, Joining, LeaseTimes, NodeId, NodeState, Role, Roles, Zone};
use membership::{Caller, Follower, Identity, MapSource as _, Presence, Standing};
use model::TimestampMs;
use proto::Dialer;
use ruler::{Config, Ruler};
use server::Metrics;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);

struct Rulers {
    dirs: TempDir,
    addresses: Vec<String>,
    running: Vec<Option<Ruler>>,
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Rulers {
    async fn start(count: usize) -> Rulers {
        let addresses: Vec<String> = (0..count).map(|_| free_address()).collect();
        let mut rulers = Rulers { dirs: TempDir::new().unwrap(), addresses, running: Vec::new() };
        for i in 0..count {
            rulers.running.push(None);
            rulers.open(i).await;
        }
        rulers
    }

    async fn open(&mut self, i: usize) {
        let config = Config {
            cluster: "c".into(),
            node: NodeId::new(&format!("ruler-{i}")).unwrap(),
            zone: Zone::new(&format!("z{i}")).unwrap(),
            incarnation: Incarnation(100 + u64::try_from(i).unwrap()),
            storage: self.dirs.path().join(format!("{i}")),
            grpc_listen: self.addresses[i].clone(),
            address: Address::new(&self.addresses[i]).unwrap(),
            control_plane: self.addresses.clone(),
            replication_factor: 3,
            bootstrap_ingesters: 3,
            partition_count: 64,
            lease_times: LeaseTimes::default(),
            server_tls: None,
            client_tls: None,
        };
        std::fs::create_dir_all(&config.storage).unwrap();
        self.running[i] = Some(Ruler::start(config, &Metrics::default()).await.unwrap());
    }

    async fn stop(&mut self, i: usize) {
        self.running[i].take().unwrap().stop().await;
    }

    /// Stops all that runs: a process that ends under RocksDB's threads is aborted.
    async fn end(mut self) {
        for i in 0..self.running.len() {
            if self.running[i].is_some() {
                self.stop(i).await;
            }
        }
    }

    fn ruler(&self, i: usize) -> &Ruler {
        self.running[i].as_ref().unwrap()
    }

    async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (i, ruler) in self.running.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref()?))) {
                if ruler.node().confirm_leadership(Duration::from_secs(2)).await.is_ok() {
                    return i;
                }
            }
            assert!(Instant::now() < deadline, "no ruler leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn map(&self, i: usize, what: &str, holds: impl FnMut(&Arc<ClusterMap>) -> bool) -> Arc<ClusterMap> {
        let mut map = self.ruler(i).node().map();
        let held = tokio::time::timeout(PATIENCE, map.wait_for(holds)).await;
        held.unwrap_or_else(|_| panic!("{what}")).unwrap().clone()
    }
}

/// A node of another role: it only belongs to the cluster.
struct Member {
    presence: Presence,
    follower: Follower,
}

fn clock() -> TimestampMs {
    TimestampMs(0)
}

async fn member(rulers: &Rulers, cluster: &str, name: &str, zone: &str, address: &str, incarnation: u64) -> Member {
    let node = NodeId::new(name).unwrap();
    let joining = Joining {
        node: node.clone(),
        roles: Roles::one(Role::Ingester),
        zone: Zone::new(zone).unwrap(),
        address: Address::new(address).unwrap(),
        incarnation: Incarnation(incarnation),
    };
    let follower = Follower::start(cluster, node, &rulers.addresses, Dialer::default(), None, clock).await;
    let caller = Caller::new(Dialer::default(), &rulers.addresses, follower.held().map());
    let presence = Presence::start(Identity { cluster: cluster.into(), joining }, caller);
    Member { presence, follower }
}

impl Member {
    async fn stands(&self, expected: &Standing) {
        let mut standing = self.presence.standing();
        let stands = tokio::time::timeout(PATIENCE, standing.wait_for(|standing| standing == expected)).await;
        assert!(stands.is_ok(), "{:?}, not {expected:?}", self.presence.standing().borrow().clone());
    }
}

fn state(map: &ClusterMap, name: &str) -> Option<NodeState> {
    map.node(&NodeId::new(name).unwrap()).map(|node| node.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_rulers_beget_a_cluster_that_outlives_its_leader() {
    let mut rulers = Rulers::start(3).await;
    let leader = rulers.leader().await;
    rulers.map(leader, "the cluster is born", |map| map.cluster().is_some()).await;
    let mut members = Vec::new();
    for (name, zone) in [("a", "z0"), ("b", "z1"), ("c", "z2")] {
        members.push(member(&rulers, "c", name, zone, &format!("{name}:1"), 1).await);
    }
    for m in &members {
        m.stands(&Standing::Joined).await;
    }
    let map =
        rulers.map(leader, "partitions are placed", |m| !m.groups().is_empty() && m.unplaced().count() == 0).await;
    assert_eq!((map.groups().len(), map.partition_count()), (1, 64));
    assert!(map.owners().all(|group| group == GroupId(0)));
    // The rulers are in it as well, and followers have it.
    for i in 0..3 {
        rulers.map(i, "all rulers join", |map| (0..3).all(|i| state(map, &format!("ruler-{i}")).is_some())).await;
    }
    let version = rulers.ruler(leader).node().map().borrow().version();
    let mut followed = members[0].follower.held().map();
    tokio::time::timeout(PATIENCE, followed.wait_for(|map| map.version() >= version)).await.unwrap().unwrap();

    // Refused, with the reason on this side too.
    let stranger = member(&rulers, "another", "x", "z0", "x:1", 1).await;
    stranger.stands(&Standing::Refused("this is cluster \"c\", not \"another\"".into())).await;
    let reused = member(&rulers, "c", "a", "z0", "elsewhere:1", 2).await;
    let in_use = "node id a is in use by the node at a:1 with directory 0000000000000001";
    reused.stands(&Standing::Refused(in_use.into())).await;
    drop((stranger, reused));
    let moved = member(&rulers, "c", "b", "z9", "b:1", 1).await;
    moved.stands(&Standing::Refused("node b with directory 0000000000000001 is in zone z1, not z9".into())).await;
    drop(moved);

    // The leader goes; the others lead, the map stays, and the members stay up under the new leader.
    rulers.stop(leader).await;
    let second = rulers.leader().await;
    assert_ne!(second, leader);
    let late = member(&rulers, "c", "d", "z1", "d:1", 1).await;
    late.stands(&Standing::Joined).await;
    let map = rulers.map(second, "the stopped ruler is down", |map| {
        state(map, &format!("ruler-{leader}")) == Some(NodeState::Down)
    });
    let map = map.await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(state(&map, name), Some(NodeState::Up), "{name}");
    }
    assert_eq!(map.groups().len(), 1, "d is a spare");

    // It comes back as the voter that it was.
    rulers.open(leader).await;
    rulers.map(second, "it is up again", |map| state(map, &format!("ruler-{leader}")) == Some(NodeState::Up)).await;
    // Silence makes a node down, and leaving makes it gone.
    late.presence.leave(Duration::from_secs(20)).await.unwrap();
    rulers.map(second, "d has left", |map| state(map, "d") == Some(NodeState::Left)).await;
    drop(members.pop());
    rulers.map(second, "c is down", |map| state(map, "c") == Some(NodeState::Down)).await;
    rulers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_ruler_is_admitted_as_a_new_voter() {
    let mut rulers = Rulers::start(3).await;
    let leader = rulers.leader().await;
    rulers.map(leader, "the cluster is born", |map| map.cluster().is_some()).await;
    let wiped = (leader + 1) % 3;
    rulers.map(wiped, "it has the map", |map| map.cluster().is_some()).await;
    let old = rulers.ruler(wiped).node().peer().id;
    rulers.stop(wiped).await;
    std::fs::remove_dir_all(rulers.dirs.path().join(format!("{wiped}"))).unwrap();
    rulers.open(wiped).await;
    let new = rulers.ruler(wiped).node().peer().id;
    assert_ne!(old, new);
    rulers.map(wiped, "it has the map again", |map| map.cluster().is_some()).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let voters: Vec<_> = rulers.ruler(wiped).node().metrics().voters.iter().map(|voter| voter.id).collect();
        if voters.len() == 3 && voters.contains(&new) && !voters.contains(&old) {
            break;
        }
        assert!(Instant::now() < deadline, "{voters:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rulers.end().await;
}
