//! Groups over real sockets: each voter reaches each other one through a proxy that a test can stop.

use std::collections::BTreeMap;
use std::net::TcpListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cluster::{Address, ClusterId, Command, Incarnation, NodeId, Outcome, Roles, Zone};
use futures::future::BoxFuture;
use proto::v1::raft_client::RaftClient;
use proto::v1::{DescribeRequest, Frame, RaftRequest};
use proto::{Dialer, seal};
use server::{Limits, Server};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::service::Routes;

use super::*;
use crate::Birth;
use crate::grpc::{GrpcTransport, MESSAGE_BYTES_MAX};
use crate::node::Options;
use crate::service::RaftService;
use crate::transport::{Call, Transport, TransportError};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Carries bytes from one voter to another until it is stopped; then it holds what comes, and lets it go when it is mended.
struct Proxy {
    address: String,
    open: watch::Sender<bool>,
}

impl Proxy {
    async fn start(to: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, opened) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((inbound, _)) = listener.accept().await {
                let (to, opened) = (to.clone(), opened.clone());
                tokio::spawn(async move {
                    let Ok(outbound) = TcpStream::connect(to).await else { return };
                    let ((from_in, to_in), (from_out, to_out)) = (inbound.into_split(), outbound.into_split());
                    tokio::spawn(carry(from_in, to_out, opened.clone()));
                    tokio::spawn(carry(from_out, to_in, opened));
                });
            }
        });
        Proxy { address, open }
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// The transport of one voter: to each peer through the proxy between the two.
struct Via {
    inner: GrpcTransport,
    routes: Arc<BTreeMap<(String, String), Proxy>>,
    own: String,
}

impl Transport for Via {
    fn send(
        &self,
        peer: &Peer,
        call: Call,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let route = self.routes.get(&(self.own.clone(), peer.name.clone()));
        let address = route.map_or_else(|| peer.address.clone(), |proxy| proxy.address.clone());
        self.inner.send(&Peer { address, ..peer.clone() }, call, request, timeout)
    }
}

struct Voter {
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

/// Directories, addresses and the voters that run on them.
struct Group {
    names: Vec<&'static str>,
    dirs: TempDir,
    addresses: BTreeMap<&'static str, String>,
    routes: Arc<BTreeMap<(String, String), Proxy>>,
    voters: BTreeMap<&'static str, Voter>,
}

fn free_port() -> String {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Group {
    /// Voters that run and are empty.
    async fn empty(names: &[&'static str]) -> Group {
        let addresses: BTreeMap<&str, String> = names.iter().map(|name| (*name, free_port())).collect();
        let mut routes = BTreeMap::new();
        for from in names {
            for to in names.iter().filter(|to| *to != from) {
                let proxy = Proxy::start(addresses[to].clone()).await;
                routes.insert(((*from).to_owned(), (*to).to_owned()), proxy);
            }
        }
        let (dirs, voters) = (TempDir::new().unwrap(), BTreeMap::new());
        let mut group = Group { names: names.to_vec(), dirs, addresses, routes: Arc::new(routes), voters };
        for name in names {
            group.open(name).await;
        }
        group
    }

    /// Voters that have begun a group.
    async fn begun(names: &[&'static str], first: &[&'static str]) -> Group {
        let group = Group::empty(names).await;
        let listed: Vec<String> = first.iter().map(|name| group.addresses[name].clone()).collect();
        let mut began = 0;
        for name in first {
            let birth = group.node(name).try_begin("c", &Dialer::default(), &listed).await.unwrap();
            began += i32::from(birth == Birth::Began);
        }
        assert_eq!(began, 1, "one voter begins");
        group
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.dirs.path().join(name).join("raft")
    }

    async fn open(&mut self, name: &'static str) {
        let via = Via {
            inner: GrpcTransport::new("c", Dialer::default()),
            routes: Arc::clone(&self.routes),
            own: name.to_owned(),
        };
        let options = Options {
            dir: self.dir(name),
            name: NodeId::new(name).unwrap(),
            address: Address::new(&self.addresses[name]).unwrap(),
        };
        let node = Arc::new(Node::open(options, Arc::new(via)).await.unwrap());
        let (stop, stopped) = watch::channel(false);
        let router = Routes::new(RaftService::server("c", Arc::clone(&node))).into_axum_router();
        let server = Server::bind(&self.addresses[name], None, Limits::default()).await.unwrap();
        let listener = node.threads().spawn(server.serve(router, stopped));
        self.voters.insert(name, Voter { node, stop, listener });
    }

    async fn stop(&mut self, name: &str) {
        let Voter { node, stop, listener } = self.voters.remove(name).unwrap();
        stop.send_replace(true);
        listener.abort();
        node.shutdown().await;
        // The port is free once the listener is gone.
        drop(listener.await);
    }

    fn node(&self, name: &str) -> Arc<Node> {
        Arc::clone(&self.voters[name].node)
    }

    /// Stops all that runs: a process that ends under RocksDB's threads is aborted.
    async fn end(mut self) {
        for name in self.names.clone() {
            if self.voters.contains_key(name) {
                self.stop(name).await;
            }
        }
    }

    /// Opens or closes all ways between a voter and the others.
    fn reach(&self, name: &str, open: bool) {
        let touching = self.routes.iter().filter(|((from, to), _)| from == name || to == name);
        for (_, proxy) in touching {
            proxy.open.send_replace(open);
        }
    }

    /// The voter, of those, that leads and has heard a majority.
    async fn leader(&self, among: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for name in among {
                if self.node(name).confirm_leadership(Duration::from_secs(2)).await.is_ok() {
                    return (*name).to_owned();
                }
            }
            assert!(Instant::now() < deadline, "nobody leads among {among:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn has(&self, name: &str, joined: &str) {
        let joined = NodeId::new(joined).unwrap();
        let mut map = self.node(name).map();
        let held = map.wait_for(|map| map.node(&joined).is_some());
        tokio::time::timeout(PATIENCE, held).await.expect("the command arrives in time").unwrap();
    }

    fn others(&self, but: &str) -> Vec<&'static str> {
        self.names.iter().copied().filter(|name| *name != but && self.voters.contains_key(name)).collect()
    }

    /// Has the leader commit, whoever that is by now.
    async fn commit(&self, among: &[&str], command: Command) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader(among).await;
            match tokio::time::timeout(Duration::from_secs(5), self.node(&leader).propose(command.clone())).await {
                Ok(Ok(Outcome::Changed(_) | Outcome::Unchanged)) => return,
                other => assert!(Instant::now() < deadline, "{other:?}"),
            }
        }
    }

    async fn admit(&self, among: &[&str], peer: &Peer) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader(among).await;
            match self.node(&leader).admit_voter(peer, Duration::from_secs(2)).await {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn voters_seen_by(&self, name: &str, expected: &[VoterId]) {
        let expected: BTreeSet<VoterId> = expected.iter().copied().collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen: BTreeSet<VoterId> = self.node(name).metrics().voters.iter().map(|voter| voter.id).collect();
            if seen == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{name} sees {seen:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a leader forget its log but for a snapshot.
    async fn compact(&self, name: &str) {
        let node = self.node(name);
        let (raft, last) = (node.raft.clone(), node.metrics().last_applied.unwrap());
        let compact = async move {
            raft.trigger().snapshot().await.unwrap();
            let built = |m: &openraft::RaftMetrics<TypeConfig>| m.snapshot.is_some_and(|id| id.index >= last);
            raft.wait(Some(PATIENCE)).metrics(built, "a snapshot").await.unwrap();
            raft.trigger().purge_log(last).await.unwrap();
            let purged = |m: &openraft::RaftMetrics<TypeConfig>| m.purged.is_some_and(|id| id.index >= last);
            raft.wait(Some(PATIENCE)).metrics(purged, "a purge").await.unwrap();
        };
        node.on_own_threads(compact).await.unwrap();
    }
}

fn birth() -> Command {
    Command::Birth { cluster: ClusterId(5), partition_count: 16, replication_factor: 3, bootstrap_ingesters: 3 }
}

fn join(name: &str) -> Command {
    Command::Join {
        node: NodeId::new(name).unwrap(),
        roles: Roles::ALL,
        zone: Zone::new("z").unwrap(),
        address: Address::new("x:1").unwrap(),
        incarnation: Incarnation(1),
    }
}

const THREE: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_begins_and_only_when_all_are_empty() {
    let group = Group::empty(&THREE).await;
    let dialer = Dialer::default();
    let mut listed: Vec<String> = THREE.iter().map(|name| group.addresses[name].clone()).collect();
    // One that does not answer: nobody begins.
    let absent = [listed.clone(), vec![free_port()]].concat();
    for name in THREE {
        let birth = group.node(name).try_begin("c", &dialer, &absent).await.unwrap();
        assert!(matches!(birth, Birth::Unknown { refused: false, .. }), "{birth:?}");
        let birth = group.node(name).try_begin("another", &dialer, &listed).await.unwrap();
        assert!(matches!(birth, Birth::Unknown { refused: true, .. }), "{birth:?}");
    }
    let lowest = THREE.into_iter().min_by_key(|name| group.node(name).peer().id).unwrap();
    let others = group.others(lowest);
    for name in &others {
        let birth = group.node(name).try_begin("c", &dialer, &listed).await.unwrap();
        assert_eq!(birth, Birth::Another(group.node(lowest).peer().id));
    }
    assert_eq!(group.node(lowest).try_begin("c", &dialer, &listed).await.unwrap(), Birth::Began);
    assert_eq!(group.node(lowest).try_begin("c", &dialer, &listed).await.unwrap(), Birth::Member);
    group.commit(&THREE, birth()).await;
    group.commit(&THREE, join("x")).await;
    for name in THREE {
        group.has(name, "x").await;
    }
    // Whoever comes to be empty now waits to be admitted.
    let late = Group::empty(&["d"]).await;
    listed.push(late.addresses["d"].clone());
    assert_eq!(late.node("d").try_begin("c", &dialer, &listed).await.unwrap(), Birth::Admission);
    late.end().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_goes_on_a_minority_refuses_and_whoever_returns_disturbs_nobody() {
    let group = Group::begun(&THREE, &THREE).await;
    group.commit(&THREE, birth()).await;
    let first = group.leader(&THREE).await;
    let rest = group.others(&first);

    // The leader is cut off: the others elect one of them, and it refuses.
    group.reach(&first, false);
    group.commit(&rest, join("without-first")).await;
    let alone = group.node(&first);
    assert!(alone.confirm_leadership(Duration::from_secs(5)).await.is_err());
    let proposed = tokio::time::timeout(Duration::from_secs(5), alone.propose(join("alone"))).await;
    assert!(!matches!(proposed, Ok(Ok(_))), "{proposed:?}");
    let second = group.leader(&rest).await;
    let term = group.node(&second).metrics().term;

    // Cut off, it stands for election again and again; nobody hears it, and its term does not grow past the group's.
    for _ in 0..3 {
        let raft = alone.raft.clone();
        alone.on_own_threads(async move { raft.trigger().elect(true).await }).await.unwrap().unwrap();
    }
    group.reach(&first, true);
    group.has(&first, "without-first").await;
    group.commit(&THREE, join("together")).await;
    for name in THREE {
        group.has(name, "together").await;
        assert_eq!(group.node(name).metrics().term, term, "{name}");
    }
    assert_eq!(group.leader(&THREE).await, second, "the one that returned did not depose the leader");
    assert!(group.node(&first).map().borrow().node(&NodeId::new("alone").unwrap()).is_none());
    assert!(group.node(&first).map_age().unwrap() < Duration::from_secs(60));
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_voter_comes_back_as_another_with_a_snapshot() {
    let mut group = Group::begun(&THREE, &THREE).await;
    group.commit(&THREE, birth()).await;
    for i in 0..20 {
        group.commit(&THREE, join(&format!("n{i}"))).await;
    }
    let leader = group.leader(&THREE).await;
    let wiped = group.others(&leader)[0];
    let old = group.node(wiped).peer().id;
    group.stop(wiped).await;
    std::fs::remove_dir_all(group.dir(wiped)).unwrap();
    let rest = group.others(wiped);
    group.commit(&rest, join("meanwhile")).await;
    for name in &rest {
        group.has(name, "meanwhile").await;
        group.compact(name).await;
    }

    group.open(wiped).await;
    let new = group.node(wiped).peer();
    assert_ne!(new.id, old);
    let listed: Vec<String> = THREE.iter().map(|name| group.addresses[name].clone()).collect();
    assert_eq!(group.node(wiped).try_begin("c", &Dialer::default(), &listed).await.unwrap(), Birth::Admission);
    group.admit(&rest, &new).await;
    group.has(wiped, "n19").await;
    group.has(wiped, "meanwhile").await;
    let ids: Vec<VoterId> = THREE.iter().map(|name| group.node(name).peer().id).collect();
    for name in THREE {
        group.voters_seen_by(name, &ids).await;
    }
    assert!(group.node(wiped).metrics().snapshot.is_some(), "it came as a snapshot");
    // It counts: with the leader gone, it and the other are a majority.
    let leader = group.leader(&rest).await;
    group.stop(&leader).await;
    let two = group.others(&leader);
    group.commit(&two, join("by-the-new")).await;
    group.has(wiped, "by-the-new").await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_come_and_go_while_the_group_runs() {
    let five = ["a", "b", "c", "d", "e"];
    let mut group = Group::begun(&five, &THREE).await;
    group.commit(&THREE, birth()).await;
    for name in ["d", "e"] {
        group.admit(&THREE, &group.node(name).peer()).await;
        // Once more is no harm.
        group.admit(&THREE, &group.node(name).peer()).await;
    }
    let ids: Vec<VoterId> = five.iter().map(|name| group.node(name).peer().id).collect();
    for name in five {
        group.voters_seen_by(name, &ids).await;
    }
    // A live voter's name is not given to another.
    let leader = group.leader(&five).await;
    let used = group.others(&leader)[0];
    let thief = Peer { id: VoterId(1), ..group.node(used).peer() };
    let refused = group.node(&leader).admit_voter(&thief, Duration::from_secs(30)).await;
    assert!(matches!(refused, Err(ChangeVotersError::InUse { .. })), "{refused:?}");
    let unknown = group.node(&leader).remove_voter(VoterId(1)).await;
    assert!(matches!(unknown, Err(ChangeVotersError::Unknown(_))), "{unknown:?}");

    // The leader itself goes; the four go on, and lose one more.
    group.node(&leader).remove_voter(group.node(&leader).peer().id).await.unwrap();
    let four = group.others(&leader);
    group.commit(&four, join("without-the-leader")).await;
    let ids: Vec<VoterId> = four.iter().map(|name| group.node(name).peer().id).collect();
    for name in &four {
        group.voters_seen_by(name, &ids).await;
    }
    let second = group.leader(&four).await;
    group.stop(&second).await;
    let three = group.others(&leader).into_iter().filter(|name| *name != second).collect::<Vec<_>>();
    group.commit(&three, join("three-of-four")).await;

    // A leader that stops hands over rather than leaving the others to find out.
    let third = group.leader(&three).await;
    group.node(&third).hand_over().await;
    let rest: Vec<&str> = three.iter().copied().filter(|name| *name != third).collect();
    group.leader(&rest).await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spoiled_messages_end_the_call_and_change_nothing() {
    let group = Group::begun(&THREE, &THREE).await;
    group.commit(&THREE, birth()).await;
    let leader = group.leader(&THREE).await;
    let victim = group.others(&leader)[0];
    let before = group.node(victim).metrics();
    let channel = Dialer::default().dial(&group.addresses[victim], Duration::from_secs(10)).unwrap();
    let mut client = RaftClient::new(channel);
    let good = seal(crate::codec::encode_request(group.node(victim).peer().id.0, |_| {}));
    let request = |frame: Option<Frame>| RaftRequest { cluster: "c".into(), frame, total_bytes: 9 };
    let large = seal(vec![1; MESSAGE_BYTES_MAX + 1].into());
    let cases = [
        (request(None), Code::InvalidArgument),
        (request(Some(Frame { version: 2, ..good.clone() })), Code::Unimplemented),
        (request(Some(Frame { crc32c: 1, ..good.clone() })), Code::DataLoss),
        (request(Some(Frame { payload: good.payload.slice(1..), ..good.clone() })), Code::DataLoss),
        // Whole, but no such request.
        (request(Some(good.clone())), Code::InvalidArgument),
        (request(Some(seal(Bytes::from_static(b"\x09nonsense")))), Code::InvalidArgument),
        // Meant for the voter that was here before.
        (request(Some(seal(crate::codec::encode_request(1, |_| {})))), Code::FailedPrecondition),
        (RaftRequest { cluster: "another".into(), ..request(Some(good.clone())) }, Code::PermissionDenied),
        (request(Some(large)), Code::OutOfRange),
    ];
    for (request, code) in cases {
        for refused in [
            client.append_entries(request.clone()).await,
            client.vote(request.clone()).await,
            client.pre_vote(request.clone()).await,
            client.transfer_leader(request.clone()).await,
        ] {
            let status = refused.unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
        }
    }
    // A snapshot that ends early, disagrees with itself, or is larger than any.
    let chunk =
        |total_bytes, frame: &Frame| RaftRequest { cluster: "c".into(), frame: Some(frame.clone()), total_bytes };
    let size = good.payload.len() as u64;
    let snapshots = [
        (vec![], Code::InvalidArgument),
        (vec![chunk(size + 1, &good)], Code::DataLoss),
        (vec![chunk(2 * size, &good), chunk(3 * size, &good)], Code::InvalidArgument),
        (vec![chunk(size, &good), chunk(size, &good)], Code::InvalidArgument),
        (vec![chunk(u64::MAX, &good)], Code::InvalidArgument),
        (vec![chunk(size, &good)], Code::InvalidArgument),
    ];
    for (chunks, code) in snapshots {
        let status = client.install_snapshot(futures::stream::iter(chunks.clone())).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?} {chunks:?}");
    }
    // A second ruler of the same name.
    let sender = proto::v1::Voter { id: 1, name: victim.to_owned(), address: "h:1".into() };
    let status = client.describe(DescribeRequest { cluster: "c".into(), sender: Some(sender) }).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);

    let after = group.node(victim).metrics();
    assert_eq!((after.term, after.last_log, after.voters), (before.term, before.last_log, before.voters));
    group.commit(&THREE, join("x")).await;
    group.has(victim, "x").await;
    group.end().await;
}
