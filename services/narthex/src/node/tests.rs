//! Nodes beside a ruler in this process.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use clap::Parser as _;
use cluster::{Address, LeaseTimes, NodeId, NodeState, Zone};
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::flags::{Command, CommandLine};

const PATIENCE: Duration = Duration::from_secs(90);

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A control plane of three.
struct Cluster {
    rulers: Vec<::ruler::Ruler>,
    addresses: Vec<String>,
    dirs: TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let (dirs, addresses) = (TempDir::new().unwrap(), Vec::from_iter((0..3).map(|_| free_address())));
        let mut rulers = Vec::new();
        for (i, address) in (0..).zip(&addresses) {
            let config = ::ruler::Config {
                cluster: "c".into(),
                node: NodeId::new(&format!("ruler-{i}")).unwrap(),
                zone: Zone::new("z0").unwrap(),
                incarnation: Incarnation(i + 1),
                storage: dirs.path().join(format!("ruler-{i}")),
                grpc_listen: address.clone(),
                address: Address::new(address).unwrap(),
                control_plane: addresses.clone(),
                replication_factor: 1,
                bootstrap_ingesters: 1,
                partition_count: 4,
                lease_times: LeaseTimes::default(),
                server_tls: None,
                client_tls: None,
            };
            rulers.push(::ruler::Ruler::start(config, &Metrics::default()).await.unwrap());
        }
        Cluster { rulers, addresses, dirs }
    }

    async fn stop(self) {
        for ruler in self.rulers {
            ruler.stop().await;
        }
    }

    /// Flags of a node of this name in zone z1, with a directory of its own.
    fn flags(&self, name: &str) -> NodeFlags {
        let line = CommandLine::try_parse_from([
            "narthex".to_owned(),
            "distributor".to_owned(),
            format!("--cluster.control-plane={}", self.addresses.join(",")),
            "--cluster.name=c".to_owned(),
            format!("--cluster.node-id={name}"),
            "--cluster.zone=z1".to_owned(),
            format!("--grpc.listen-address={}", free_address()),
            format!("--web.listen-address={}", free_address()),
            format!("--storage.path={}", self.dirs.path().join(name).display()),
        ]);
        let Command::Distributor(distributor) = line.unwrap().command else { panic!("a distributor was asked for") };
        distributor.node
    }

    /// Waits until the control plane has this of a node.
    async fn has(&self, name: &str, state: NodeState) -> Incarnation {
        let (mut map, name) = (self.rulers[0].node().map(), NodeId::new(name).unwrap());
        let wanted = map.wait_for(|map| map.node(&name).is_some_and(|node| node.state == state));
        let map = tokio::time::timeout(PATIENCE, wanted).await.expect("in time").unwrap();
        map.node(&name).unwrap().incarnation
    }
}

/// Status and body of a page; `None` while nobody answers.
async fn page(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let asked = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Waits until a page has this status, and gives its text.
async fn page_is(address: &str, path: &str, wanted: u16) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let came = page(address, path).await;
        if let Some((status, text)) = &came
            && *status == wanted
        {
            return text.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "{path}: {came:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a page has this in its text, and gives it.
async fn page_says(address: &str, path: &str, wanted: &str) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = page_is(address, path, 200).await;
        if text.contains(wanted) {
            return text;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path} does not say {wanted:?}: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const DISTRIBUTOR: Kind = Kind { role: Role::Distributor, has_disk: false, stays: false };
const INGESTER: Kind = Kind { role: Role::Ingester, has_disk: true, stays: true };

/// Runs a node that serves nothing of its own until told.
async fn idle(kind: Kind, flags: NodeFlags, told: oneshot::Receiver<()>) -> anyhow::Result<()> {
    let told = async { Ok(told.await?) };
    run_until(kind, flags, async |_: &Node| Ok(Serving::nothing()), told).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_shows_its_pages_serves_the_map_on_and_leaves() {
    let cluster = Cluster::start().await;
    let flags = cluster.flags("n");
    let (http, grpc) = (flags.listen_address.clone(), flags.grpc_listen_address.clone().unwrap());
    let (stop, told) = oneshot::channel::<()>();
    let (steps, hindered) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let serve = async |node: &Node| {
        assert_eq!(node.own.replica.node.as_str(), "n");
        assert!(
            node.map.borrow().node(&node.own.replica.node).is_none(),
            "what a role serves is there before it joins"
        );
        let (first, second, hindered) = (steps.clone(), steps.clone(), hindered.clone());
        let why =
            move || if hindered.load(Ordering::SeqCst) { vec!["the role has its reasons".into()] } else { vec![] };
        Ok(Serving {
            router: Router::new().route("/role", get(|| async { "the role's own" })),
            hindrances: Arc::new(why),
            wind_down: Box::pin(async move {
                first.lock().push("wind down");
                Ok(())
            }),
            stop: Box::pin(async move {
                second.lock().push("stop");
                Ok(())
            }),
            ..Serving::nothing()
        })
    };
    let ran = run_until(DISTRIBUTOR, flags, serve, async { Ok(told.await?) });
    let checks = async {
        let ready = page_is(&http, "/-/ready", 200).await;
        assert!(ready.starts_with("Narthex distributor is ready.\nreplication factor 1"), "{ready}");
        assert!(ready.contains("0 of the 1 ingesters are up"), "{ready}");
        assert_eq!(page_is(&http, "/-/healthy", 200).await, "Narthex distributor is healthy.\n");
        assert_eq!(page_is(&http, "/role", 200).await, "the role's own");
        page_is(&http, "/nothing", 404).await;
        // A front door does its job before the control plane has heard of it.
        cluster.has("n", NodeState::Up).await;
        let metrics = page_says(&http, "/metrics", "narthex_cluster_joined 1\n").await;
        assert!(metrics.contains("narthex_cluster_shortcomings 2\n"), "{metrics}");
        // The map that it holds has it, soon.
        let (own, peers) = (NodeId::new("f").unwrap(), [grpc]);
        let follower = Follower::start("c", own, &peers, Dialer::default(), None, clock::now).await;
        let mut map = follower.held().map();
        let named = NodeId::new("n").unwrap();
        let held = map.wait_for(|map| map.node(&named).is_some());
        tokio::time::timeout(PATIENCE, held).await.expect("the map comes by this node").unwrap();
        let map: Value = serde_json::from_str(&page_is(&http, "/cluster", 200).await).unwrap();
        assert_eq!(map["data"]["nodes"][0]["name"], "n");
        hindered.store(true, Ordering::SeqCst);
        let ready = page_is(&http, "/-/ready", 503).await;
        assert!(ready.starts_with("Narthex distributor is not ready.\n"), "{ready}");
        assert!(ready.contains("the role has its reasons\n"), "{ready}");
        cluster.has("n", NodeState::Up).await;
        stop.send(()).unwrap();
    };
    let (ran, ()) = tokio::join!(ran, checks);
    ran.unwrap();
    assert_eq!(*steps.lock(), ["wind down", "stop"]);
    cluster.has("n", NodeState::Left).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingester_stays_a_member_and_keeps_the_map_and_others_are_new_each_time() {
    let cluster = Cluster::start().await;
    for (kind, name, state) in [(INGESTER, "i", NodeState::Up), (DISTRIBUTOR, "d", NodeState::Left)] {
        let (mut incarnations, flags) = (Vec::new(), cluster.flags(name));
        for _ in 0..2 {
            let flags = flags.clone();
            let (http, (stop, told)) = (flags.listen_address.clone(), oneshot::channel());
            let checks = async {
                page_is(&http, "/-/ready", 200).await;
                incarnations.push(cluster.has(name, NodeState::Up).await);
                stop.send(()).unwrap();
            };
            let (ran, ()) = tokio::join!(idle(kind.clone(), flags, told), checks);
            ran.unwrap();
            cluster.has(name, state).await;
            if kind.stays {
                let kept = MapFile::of(&cluster.dirs.path().join(name)).load().unwrap();
                assert!(kept.is_some_and(|(map, _)| map.cluster().is_some()), "the map is on disk");
            }
        }
        assert_eq!(incarnations[0] == incarnations[1], kind.has_disk, "{name}");
        assert_eq!(cluster.dirs.path().join(name).exists(), kind.has_disk, "{name}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_refuses_for_good_ends_with_the_reason() {
    let cluster = Cluster::start().await;
    let flags = cluster.flags("i");
    let (http, (stop, told)) = (flags.listen_address.clone(), oneshot::channel());
    // A directory that joins in one zone, and comes back in another.
    let joined = async {
        page_is(&http, "/-/ready", 200).await;
        stop.send(()).unwrap();
    };
    tokio::join!(idle(INGESTER, flags.clone(), told), joined).0.unwrap();
    let moved = NodeFlags { zone: Zone::new("z9").unwrap(), ..flags };
    // A node that lives, and another of its name.
    let living = cluster.flags("n");
    let living_http = living.listen_address.clone();
    let (stop, living_told) = oneshot::channel();
    let strange = NodeFlags { cluster_name: "another".into(), ..cluster.flags("s") };
    let refusals = async {
        page_is(&living_http, "/-/ready", 200).await;
        cluster.has("n", NodeState::Up).await;
        let (mut stops, mut runs) = (Vec::new(), Vec::new());
        for (kind, flags) in [(INGESTER, moved), (DISTRIBUTOR, cluster.flags("n")), (DISTRIBUTOR, strange)] {
            let (stop, told) = oneshot::channel();
            stops.push(stop);
            runs.push(async {
                let http = flags.listen_address.clone();
                match tokio::time::timeout(PATIENCE, idle(kind, flags, told)).await {
                    Ok(ran) => ran.expect_err("refused").to_string(),
                    Err(_) => panic!("{http} ends by itself"),
                }
            });
        }
        let reasons: Vec<String> = futures::stream::iter(runs).buffered(3).collect().await;
        stop.send(()).unwrap();
        reasons
    };
    let (lived, reasons) = tokio::join!(idle(DISTRIBUTOR, living, living_told), refusals);
    lived.unwrap();
    let expected =
        ["is in zone z1, not z9", "node id n is in use by the node at ", "this is cluster \"c\", not \"another\""];
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.starts_with("the cluster refuses this node: ") && reason.contains(expected), "{reason}");
    }
    cluster.stop().await;
}
