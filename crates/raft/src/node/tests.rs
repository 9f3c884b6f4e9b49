//! Groups of one and of three, in one process, over wires that a test can cut.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{ClusterId, Incarnation, NodeState, Roles, SingleNode, Zone, next_step};
use futures::future::BoxFuture;
use tempfile::TempDir;

use super::*;
use crate::transport::{Alone, TransportError};

/// Longer than any election takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Carries requests between the nodes of a test, by address.
#[derive(Default)]
struct Wires {
    ends: Mutex<Ends>,
    /// Who made which kinds of calls, whether they arrived or not.
    calls: watch::Sender<BTreeSet<(String, &'static str)>>,
}

#[derive(Default)]
struct Ends {
    nodes: BTreeMap<String, Arc<Node>>,
    /// Addresses that reach nobody and that nobody reaches.
    cut: BTreeSet<String>,
}

/// One node's end.
struct Wire {
    own: String,
    wires: Arc<Wires>,
}

impl Transport for Wire {
    fn send(
        &self,
        peer: &Peer,
        call: Call,
        request: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.wires.calls.send_modify(|calls| {
            calls.insert((self.own.clone(), call.as_str()));
        });
        let ends = self.wires.ends.lock().unwrap();
        let cut = ends.cut.contains(&self.own) || ends.cut.contains(&peer.address);
        let node = ends.nodes.get(&peer.address).filter(|_| !cut).cloned();
        let peer = peer.clone();
        Box::pin(async move {
            let Some(node) = node else {
                let source = "cut".into();
                return Err(TransportError::Unreachable { peer: peer.name, address: peer.address, source });
            };
            node.handle(call, request).await.map_err(|e| TransportError::Refused(e.into()))
        })
    }
}

/// Three directories and the nodes on them.
struct Three {
    wires: Arc<Wires>,
    dirs: BTreeMap<&'static str, TempDir>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Three {
    async fn start() -> Three {
        let dirs = NAMES.map(|name| (name, TempDir::new().unwrap())).into();
        let three = Three { wires: Arc::default(), dirs };
        for name in NAMES {
            three.open(name).await;
        }
        let voters: Vec<Peer> = NAMES.iter().map(|name| three.node(name).peer()).collect();
        three.node("a").initialize(&voters).await.unwrap();
        three
    }

    async fn open(&self, name: &'static str) -> Arc<Node> {
        let wire = Wire { own: format!("{name}:1"), wires: Arc::clone(&self.wires) };
        let node = Arc::new(Node::open(options(&self.dirs[name], name), Arc::new(wire)).await.unwrap());
        self.wires.ends.lock().unwrap().nodes.insert(format!("{name}:1"), Arc::clone(&node));
        node
    }

    fn node(&self, name: &str) -> Arc<Node> {
        Arc::clone(&self.wires.ends.lock().unwrap().nodes[&format!("{name}:1")])
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.wires.ends.lock().unwrap().nodes.values().cloned().collect()
    }

    async fn stop(&self, name: &str) {
        let node = self.wires.ends.lock().unwrap().nodes.remove(&format!("{name}:1")).unwrap();
        node.shutdown().await;
    }

    fn cut(&self, name: &str) {
        self.wires.ends.lock().unwrap().cut.insert(format!("{name}:1"));
    }

    fn mend(&self) {
        self.wires.ends.lock().unwrap().cut.clear();
    }

    /// Waits until a node has made a call of this kind.
    async fn called(&self, node: &Node, call: Call) {
        let made = (node.peer().address, call.as_str());
        let mut calls = self.wires.calls.subscribe();
        tokio::time::timeout(PATIENCE, calls.wait_for(|calls| calls.contains(&made))).await.unwrap().unwrap();
    }

    /// The name of the leader that `node` knows of, once it is none of `but`.
    async fn leader_seen_by(&self, node: &Node, but: &[VoterId]) -> String {
        let but: Vec<u64> = but.iter().map(|id| id.0).collect();
        let raft = node.raft.clone();
        let known = move |m: &openraft::RaftMetrics<TypeConfig>| m.current_leader.is_some_and(|id| !but.contains(&id));
        let wait = async move { raft.wait(Some(PATIENCE)).metrics(known, "a leader").await.unwrap() };
        node.on_own_threads(wait).await.unwrap();
        let name = node.metrics().leader.unwrap().name;
        // It takes proposals once a majority has answered it.
        let raft = self.node(&name).raft.clone();
        let answered = |m: &openraft::RaftMetrics<TypeConfig>| m.state.is_leader() && m.last_quorum_acked.is_some();
        let wait = async move { raft.wait(Some(PATIENCE)).metrics(answered, "an answer").await.unwrap() };
        node.on_own_threads(wait).await.unwrap();
        name
    }

    /// Waits until a node has applied as much as another.
    async fn follows(&self, node: &Node, leader: &Node) {
        let target = leader.metrics().last_applied;
        let raft = node.raft.clone();
        let wait = async move { raft.wait(Some(PATIENCE)).applied_index_at_least(target, "follows").await.unwrap() };
        node.on_own_threads(wait).await.unwrap();
    }
}

fn options(dir: &TempDir, name: &str) -> Options {
    let address = Address::new(&format!("{name}:1")).unwrap();
    Options { dir: dir.path().join("raft"), name: NodeId::new(name).unwrap(), address }
}

fn birth() -> Command {
    Command::Birth { cluster: ClusterId(5), partition_count: 16, replication_factor: 1, bootstrap_ingesters: 1 }
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

fn has(node: &Node, name: &str) -> bool {
    node.map().borrow().node(&NodeId::new(name).unwrap()).is_some()
}

async fn open_single(dir: &TempDir) -> Node {
    Node::open(options(dir, "one"), Arc::new(Alone)).await.unwrap()
}

async fn changed(node: &Node, command: Command) {
    let outcome = node.propose(command).await.unwrap();
    assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_group_of_one_commits_restarts_and_has_the_same_state() {
    let dir = TempDir::new().unwrap();
    let node = open_single(&dir).await;
    assert!(!node.metrics().initialized);
    let early = node.propose(birth()).await;
    assert!(matches!(early, Err(ProposeError::NotLeader { leader: None })), "{early:?}");
    node.initialize_single().await.unwrap();
    node.recovered(PATIENCE).await.unwrap();
    assert!(matches!(node.initialize_single().await, Err(InitializeError::AlreadyInitialized)));

    let incarnation = Incarnation(9);
    let single = SingleNode {
        cluster: ClusterId(5),
        partition_count: 16,
        node: NodeId::new("one").unwrap(),
        zone: Zone::new("z").unwrap(),
        address: Address::new("one:1").unwrap(),
        incarnation,
    };
    let mut map = node.map();
    loop {
        let Some(command) = next_step(&map.borrow_and_update().clone(), &single) else { break };
        changed(&node, command).await;
        assert!(map.has_changed().unwrap(), "the map changes before the outcome is known");
    }
    let state = NodeState::Up;
    let set = Command::SetNodeState { node: single.node.clone(), incarnation: Incarnation(1), state };
    assert!(matches!(node.propose(set).await.unwrap(), Outcome::Refused(_)));

    let before = Arc::clone(&node.map().borrow());
    let metrics = node.metrics();
    assert_eq!((metrics.is_leader, metrics.leader, metrics.running), (true, Some(node.peer()), true));
    assert_eq!(metrics.voters, [node.peer()]);
    let id = node.peer().id;
    node.shutdown().await;
    assert!(matches!(node.propose(birth()).await, Err(ProposeError::Stopped(_))));
    assert!(!node.metrics().running);
    node.shutdown().await;

    let node = open_single(&dir).await;
    assert_eq!(node.peer().id, id);
    assert!(node.metrics().initialized);
    assert_eq!(*node.map().borrow(), before, "the state is there before anybody is asked");
    node.recovered(PATIENCE).await.unwrap();
    assert_eq!(*node.map().borrow(), before);
    changed(&node, join("two")).await;
    assert!(has(&node, "two"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_node_on_the_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let node = open_single(&dir).await;
    let error = Node::open(options(&dir, "one"), Arc::new(Alone)).await.err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    node.shutdown().await;
    open_single(&dir).await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn unreadable_records_are_damage_and_not_a_panic() {
    for key in ["vote", "committed", "purged", "snapshot"] {
        let dir = TempDir::new().unwrap();
        let db = Db::open(&dir.path().join("raft"), VoterId(1)).unwrap();
        db.write(|batch| batch.put(key, b"\x01nonsense")).unwrap();
        drop(db);
        let error = Node::open(options(&dir, "one"), Arc::new(Alone)).await.err().unwrap();
        assert!(matches!(error, OpenError::Damaged { .. }), "{key}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_proposals_at_once_all_have_their_outcome() {
    let dir = TempDir::new().unwrap();
    let node = Arc::new(open_single(&dir).await);
    node.initialize_single().await.unwrap();
    node.recovered(PATIENCE).await.unwrap();
    changed(&node, birth()).await;
    let proposals: Vec<_> = (0..500)
        .map(|i| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.propose(join(&format!("n{i}"))).await.unwrap() })
        })
        .collect();
    for proposal in proposals {
        assert!(matches!(proposal.await.unwrap(), Outcome::Changed(_)));
    }
    assert_eq!(node.map().borrow().nodes().len(), 500);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn snapshots_replace_the_log_and_a_restart_reads_them() {
    let dir = TempDir::new().unwrap();
    let node = open_single(&dir).await;
    node.initialize_single().await.unwrap();
    node.recovered(PATIENCE).await.unwrap();
    changed(&node, birth()).await;
    // Enough for the snapshot policy and for a purge, in as few fsyncs as openraft's own batches allow.
    for round in 0..3 {
        let names: Vec<_> = (0..900).map(|i| join(&format!("n{}", i + 20 * round))).collect();
        let raft = node.raft.clone();
        let write = async move {
            let outcomes = raft.client_write_many(names).await.unwrap();
            futures::StreamExt::count(outcomes).await
        };
        assert_eq!(node.on_own_threads(write).await.unwrap(), 900);
    }
    let raft = node.raft.clone();
    let purged = |m: &openraft::RaftMetrics<TypeConfig>| m.purged.is_some();
    let wait = async move { raft.wait(Some(PATIENCE)).metrics(purged, "a purge").await.unwrap() };
    node.on_own_threads(wait).await.unwrap();
    let metrics = node.metrics();
    assert!(metrics.snapshot >= Some(SNAPSHOT_EVERY) && metrics.purged >= Some(SNAPSHOT_EVERY - KEPT_BEHIND_SNAPSHOT));
    let before = Arc::clone(&node.map().borrow());
    node.shutdown().await;

    let node = open_single(&dir).await;
    assert_eq!(*node.map().borrow(), before);
    assert_eq!(node.metrics().snapshot, metrics.snapshot);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn three_elect_and_the_two_left_go_on_without_their_leader() {
    let three = Three::start().await;
    let first = three.leader_seen_by(&three.node("a"), &[]).await;
    let leader = three.node(&first);
    changed(&leader, birth()).await;
    changed(&leader, join("before")).await;

    // A follower sends the caller on.
    let follower = three.nodes().into_iter().find(|n| n.peer().name != first).unwrap();
    three.follows(&follower, &leader).await;
    let Err(ProposeError::NotLeader { leader: Some(peer) }) = follower.propose(join("x")).await else {
        panic!("a follower must name the leader")
    };
    assert_eq!(peer, leader.peer());

    let gone = leader.peer().id;
    drop(leader);
    three.stop(&first).await;
    let second = three.leader_seen_by(&follower, &[gone]).await;
    assert_ne!(second, first);
    let leader = three.node(&second);
    changed(&leader, join("after")).await;
    assert!(has(&leader, "before") && has(&leader, "after"));

    // The one that was gone comes back from its disk and catches up.
    let name = NAMES.into_iter().find(|name| *name == first).unwrap();
    let back = three.open(name).await;
    assert_eq!(back.peer().id, gone);
    assert!(has(&back, "before"));
    three.follows(&back, &leader).await;
    assert!(has(&back, "after"));
    assert_eq!(*back.map().borrow(), *leader.map().borrow());

    // All three restart, once each holds everything: a majority is enough for an outcome, and the third may lag.
    for node in three.nodes() {
        three.follows(&node, &leader).await;
    }
    let before = Arc::clone(&leader.map().borrow());
    drop((back, leader, follower));
    for name in NAMES {
        three.stop(name).await;
    }
    for name in NAMES {
        three.open(name).await;
    }
    for name in NAMES {
        three.node(name).recovered(PATIENCE).await.unwrap();
        assert_eq!(*three.node(name).map().borrow(), before);
    }
    let calls: BTreeSet<_> = three.wires.calls.borrow().iter().map(|(_, call)| *call).collect();
    assert!(["append_entries", "heartbeat", "pre_vote", "vote"].iter().all(|call| calls.contains(call)), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_voter_that_was_cut_off_raises_no_term_and_catches_up() {
    let three = Three::start().await;
    let first = three.leader_seen_by(&three.node("a"), &[]).await;
    let leader = three.node(&first);
    changed(&leader, birth()).await;
    let lonely = three.nodes().into_iter().find(|n| n.peer().name != first).unwrap();
    three.follows(&lonely, &leader).await;
    let term = leader.metrics().term;
    three.cut(&lonely.peer().name);
    // It stands for election, asks, is not heard, and so keeps its term.
    let raft = lonely.raft.clone();
    let asked = async move { raft.trigger().elect(true).await };
    lonely.on_own_threads(asked).await.unwrap().unwrap();
    three.called(&lonely, Call::PreVote).await;
    // Meanwhile so much happens that the others hold it only in a snapshot.
    let snapshot = leader.raft.clone();
    for i in 0..10 {
        changed(&leader, join(&format!("n{i}"))).await;
    }
    let last = leader.metrics().last_applied.unwrap();
    let compact = async move {
        snapshot.trigger().snapshot().await.unwrap();
        let built = |m: &openraft::RaftMetrics<TypeConfig>| m.snapshot.is_some_and(|id| id.index >= last);
        snapshot.wait(Some(PATIENCE)).metrics(built, "a snapshot").await.unwrap();
        snapshot.trigger().purge_log(last).await.unwrap();
        let purged = |m: &openraft::RaftMetrics<TypeConfig>| m.purged.is_some_and(|id| id.index >= last);
        snapshot.wait(Some(PATIENCE)).metrics(purged, "a purge").await.unwrap();
    };
    leader.on_own_threads(compact).await.unwrap();
    three.mend();
    three.follows(&lonely, &leader).await;
    assert_eq!(*lonely.map().borrow(), *leader.map().borrow());
    three.called(&leader, Call::FullSnapshot).await;
    assert_eq!((leader.metrics().term, leader.metrics().is_leader), (term, true), "nobody was disturbed");
    assert_eq!(lonely.metrics().snapshot, Some(last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wiped_voter_is_another_voter_and_does_not_count() {
    let three = Three::start().await;
    let first = three.leader_seen_by(&three.node("a"), &[]).await;
    let leader = three.node(&first);
    changed(&leader, birth()).await;
    let (wiped, third) = match NAMES.into_iter().filter(|name| *name != first).collect::<Vec<_>>()[..] {
        [wiped, third] => (wiped, third),
        _ => panic!("two follow"),
    };
    let old = three.node(wiped).peer().id;
    three.stop(wiped).await;
    std::fs::remove_dir_all(three.dirs[wiped].path().join("raft")).unwrap();
    let new = three.open(wiped).await;
    assert_ne!(new.peer().id, old);
    // What is meant for the old one is refused, and the two others go on.
    let request = codec_request(old);
    let refused = new.handle(Call::Vote, request).await;
    assert!(matches!(refused, Err(HandleError::OtherVoter { meant, .. }) if meant == old), "{refused:?}");
    changed(&leader, join("two-of-three")).await;
    assert!(!new.metrics().initialized && !has(&new, "two-of-three"));
    // With the third gone as well there is no majority, though two processes run.
    three.cut(third);
    let proposal = tokio::time::timeout(Duration::from_secs(5), leader.propose(join("one-of-three"))).await;
    assert!(!matches!(proposal, Ok(Ok(_))), "{proposal:?}");
    assert!(!has(&leader, "one-of-three"));
}

fn codec_request(target: VoterId) -> Bytes {
    crate::codec::encode_request(target.0, |_| {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nonsense_from_a_peer_is_refused() {
    let dir = TempDir::new().unwrap();
    let node = open_single(&dir).await;
    let calls =
        [Call::AppendEntries, Call::Heartbeat, Call::Vote, Call::PreVote, Call::FullSnapshot, Call::TransferLeader];
    for call in calls {
        for request in [Bytes::new(), Bytes::from_static(b"\x01nonsense"), codec_request(node.peer().id)] {
            let answer = node.handle(call, request).await;
            let refused = matches!(answer, Err(HandleError::Malformed(_) | HandleError::OtherVoter { .. }));
            assert!(refused, "{call:?}: {answer:?}");
        }
    }
    node.shutdown().await;
}
