//! A map that goes from hand to hand over real sockets, and from disk.

use std::sync::Arc;

use cluster::{MapVersion, Outcome};
use server::{Limits, Server};
use tokio::sync::watch;
use tonic::service::Routes;

use super::*;
use crate::MapService;
use crate::held::tests::{map, map_at};

const PATIENCE: Duration = Duration::from_secs(20);

/// A node that serves a map; it stops when told.
struct Peer {
    address: String,
    held: Arc<HeldMap>,
    stop: watch::Sender<bool>,
}

impl Peer {
    async fn start(cluster: &str, held: Arc<HeldMap>) -> Peer {
        let (stop, stopped) = watch::channel(false);
        let server = Server::bind("127.0.0.1:0", None, Limits::default()).await.unwrap();
        let address = server.address().unwrap().to_string();
        let service = MapService::server(cluster, held.clone(), stopped.clone());
        tokio::spawn(server.serve(Routes::new(service).into_axum_router(), stopped));
        Peer { address, held, stop }
    }
}

fn clock() -> TimestampMs {
    TimestampMs(1_000_000)
}

async fn follow(peers: &[&str], file: Option<MapFile>) -> Follower {
    let peers: Vec<String> = peers.iter().map(|p| (*p).to_owned()).collect();
    Follower::start("c", NodeId::new("me").unwrap(), &peers, Dialer::default(), file, clock).await
}

async fn reaches(follower: &Follower, version: u64) {
    let mut map = follower.held().map();
    let reached = map.wait_for(|map| map.version() == MapVersion(version));
    tokio::time::timeout(PATIENCE, reached).await.expect("the map comes in time").unwrap();
}

/// Waits for something that has no notice of its own.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_newer_map_comes_and_is_kept_on_disk() {
    let peer = Peer::start("c", Arc::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let follower = follow(&[&peer.address], Some(MapFile::of(dir.path()))).await;
    for version in [1, 2, 7] {
        peer.held.adopt(map(version), Duration::from_secs(100)).unwrap();
        reaches(&follower, version).await;
    }
    assert!(follower.held().age().unwrap() >= Duration::from_secs(100));
    assert_eq!(*follower.held().map().borrow(), *peer.held.map().borrow());
    // Younger word of the same map comes as well.
    peer.held.confirm(MapVersion(7), Duration::ZERO);
    until("younger word", || follower.held().age().unwrap() < Duration::from_secs(50)).await;
    until("the copy on disk", || {
        MapFile::of(dir.path()).load().unwrap().is_some_and(|(kept, _)| kept.version() == MapVersion(7))
    })
    .await;
    drop(follower);
    // With nobody there the copy is what there is, as old as it is.
    peer.stop.send_replace(true);
    let alone = follow(&["127.0.0.1:1"], Some(MapFile::of(dir.path()))).await;
    assert_eq!(alone.held().map().borrow().version(), MapVersion(7));
    assert!(alone.held().age().unwrap() >= Duration::from_secs(100));
}

#[tokio::test]
async fn whoever_has_none_learns_the_map_from_a_follower_that_is_in_no_list() {
    // A peer whose address is in the map that another peer serves.
    let ruler = Peer::start("c", Arc::default()).await;
    let other = Peer::start("c", Arc::default()).await;
    ruler.held.adopt(map_at(4, &other.address), Duration::ZERO).unwrap();
    let follower = follow(&[&ruler.address], None).await;
    reaches(&follower, 4).await;
    // The ruler is gone; the other one, named by the map, knows more.
    other.held.adopt(map_at(6, &other.address), Duration::ZERO).unwrap();
    ruler.stop.send_replace(true);
    reaches(&follower, 6).await;
    // And one that starts now, with only a follower to ask, learns it as well.
    let serving = Peer::start("c", follower.held()).await;
    reaches(&follow(&["127.0.0.1:1", &serving.address], None).await, 6).await;
}

#[tokio::test]
async fn a_peer_with_old_word_is_left_for_one_that_knows_more() {
    let old = Peer::start("c", Arc::default()).await;
    let new = Peer::start("c", Arc::default()).await;
    old.held.adopt(map(3), Duration::from_secs(1000)).unwrap();
    new.held.adopt(map(5), Duration::ZERO).unwrap();
    let follower = follow(&[&old.address, &new.address], None).await;
    reaches(&follower, 5).await;
}

#[tokio::test]
async fn another_cluster_is_neither_served_nor_taken() {
    let peer = Peer::start("other", Arc::default()).await;
    peer.held.adopt(map(3), Duration::ZERO).unwrap();
    let following = Following {
        cluster: "c".into(),
        own: NodeId::new("me").unwrap(),
        control_plane: Vec::new(),
        dialer: Dialer::default(),
        held: Arc::default(),
        file: None,
        clock,
    };
    let error = following.watch(&peer.address).await;
    assert_eq!(error.to_string(), "this is cluster \"other\", not \"c\"");
    // A map of another cluster under the same name.
    following.held.adopt(map(2), Duration::ZERO).unwrap();
    let mut state = cluster::State::default();
    let birth = cluster::Command::Birth {
        cluster: cluster::ClusterId(9),
        partition_count: 4,
        replication_factor: 1,
        bootstrap_ingesters: 1,
    };
    assert!(matches!(state.apply(8, &birth), Outcome::Changed(_)));
    let frame = Some(proto::seal(state.map().encode().into()));
    let taken = following.take(MapUpdate { map: frame, version: 8, age_ms: 0 }).await;
    assert!(matches!(taken, Err(WatchError::Adopt(_))), "{taken:?}");
    assert_eq!(following.held.map().borrow().version(), MapVersion(2));
}

#[tokio::test]
async fn spoiled_maps_change_nothing() {
    let following = Following {
        cluster: "c".into(),
        own: NodeId::new("me").unwrap(),
        control_plane: Vec::new(),
        dialer: Dialer::default(),
        held: Arc::default(),
        file: None,
        clock,
    };
    following.held.adopt(map(2), Duration::ZERO).unwrap();
    let good = proto::seal(map(5).encode().into());
    let mut of_version = map(5).encode();
    of_version[0] = 9;
    let spoiled = [
        proto::v1::Frame { version: 7, ..good.clone() },
        proto::v1::Frame { crc32c: 0, ..good.clone() },
        proto::v1::Frame { payload: good.payload.slice(..good.payload.len() - 1), ..good.clone() },
        proto::seal(of_version.into()),
        proto::seal(good.payload.slice(..good.payload.len() - 1)),
        proto::seal(vec![1; MAP_BYTES_MAX + 1].into()),
    ];
    for frame in spoiled {
        let update = MapUpdate { map: Some(frame), version: 5, age_ms: 0 };
        assert!(following.take(update).await.is_err());
        assert_eq!(following.held.map().borrow().version(), MapVersion(2));
    }
    following.take(MapUpdate { map: Some(good), version: 5, age_ms: 0 }).await.unwrap();
    assert_eq!(following.held.map().borrow().version(), MapVersion(5));
}
