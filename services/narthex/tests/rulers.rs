//! Three `narthex ruler` processes, killed and stopped.

#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Address, Incarnation, Joining, NodeId, Role, Roles, Zone};
use membership::{Caller, Follower, Identity, MapFile, MapSource as _, Presence};
use proto::{ClientTls, Dialer};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);

struct Rulers {
    dirs: TempDir,
    grpc: Vec<String>,
    http: Vec<String>,
    tls: Option<PathBuf>,
    processes: Vec<Option<Child>>,
}

impl Drop for Rulers {
    fn drop(&mut self) {
        (0..self.processes.len()).for_each(|i| self.kill(i));
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Status and body of a page; `None` while nobody listens.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Rulers {
    fn start(count: usize, tls: Option<PathBuf>) -> Rulers {
        let addresses = || (0..count).map(|_| free_address()).collect();
        let (grpc, http) = (addresses(), addresses());
        let mut rulers = Rulers { dirs: TempDir::new().unwrap(), grpc, http, tls, processes: Vec::new() };
        for i in 0..count {
            rulers.processes.push(None);
            rulers.spawn(i);
        }
        rulers
    }

    fn spawn(&mut self, i: usize) {
        let dir = self.dirs.path().join(format!("{i}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
        command
            .arg("ruler")
            .arg(format!("--cluster.control-plane={}", self.grpc.join(",")))
            .arg(format!("--cluster.node-id=ruler-{i}"))
            .arg(format!("--cluster.zone=z{i}"))
            .arg("--cluster.name=c")
            .arg(format!("--grpc.listen-address={}", self.grpc[i]))
            .arg(format!("--web.listen-address={}", self.http[i]))
            .arg(format!("--storage.path={}", dir.display()))
            .stderr(Stdio::null());
        if let Some(file) = &self.tls {
            command.arg(format!("--grpc.config.file={}", file.display()));
        }
        self.processes[i] = Some(command.spawn().unwrap());
    }

    fn kill(&mut self, i: usize) {
        if let Some(mut process) = self.processes[i].take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The page of the cluster as a running ruler sees it.
    fn page(&self, i: usize) -> Option<Value> {
        self.processes[i].as_ref()?;
        let (status, body) = get(&self.http[i], "/api/v1/status/cluster")?;
        let page: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &page["status"]), (200, &Value::from("success")));
        Some(page["data"].clone())
    }

    fn leader(&self) -> usize {
        until("a ruler leads", || {
            let page = (0..self.processes.len()).find_map(|i| {
                let page = self.page(i)?;
                // One that has lost its group may still name the leader of before.
                page["ageSeconds"].as_f64().is_some_and(|age| age < 1.0).then_some(page)
            })?;
            let name = page["raft"]["leader"]["name"].as_str()?.to_owned();
            let leader: usize = name.strip_prefix("ruler-")?.parse().ok()?;
            self.processes[leader].is_some().then_some(leader)
        })
    }

    fn ready(&self, i: usize) {
        until("a ruler is ready", || get(&self.http[i], "/-/ready").filter(|(status, _)| *status == 200));
    }
}

fn joining(name: &str) -> Joining {
    Joining {
        node: NodeId::new(name).unwrap(),
        roles: Roles::one(Role::Querier),
        zone: Zone::new("z").unwrap(),
        address: Address::new(&format!("{name}:1")).unwrap(),
        incarnation: Incarnation(1),
    }
}

async fn follow(rulers: &Rulers, dialer: &Dialer, file: &Path) -> Follower {
    let (own, file) = (NodeId::new("q").unwrap(), MapFile::of(file));
    Follower::start("c", own, &rulers.grpc, dialer.clone(), Some(file), server::clock::now).await
}

fn join(rulers: &Rulers, dialer: &Dialer, follower: &Follower, name: &str) -> Presence {
    let caller = Caller::new(dialer.clone(), &rulers.grpc, follower.held().map());
    Presence::start(Identity { cluster: "c".into(), joining: joining(name) }, caller)
}

async fn holds(follower: &Follower, name: &str) {
    let named = NodeId::new(name).unwrap();
    let mut map = follower.held().map();
    let held = tokio::time::timeout(PATIENCE, map.wait_for(|map| map.node(&named).is_some())).await;
    held.unwrap_or_else(|_| panic!("{name} comes into the map")).unwrap();
}

async fn outlives(tls: Option<(PathBuf, ClientTls)>) {
    let dialer = Dialer::new(tls.as_ref().map(|(_, client)| client.clone()));
    let mut rulers = Rulers::start(3, tls.map(|(file, _)| file));
    (0..3).for_each(|i| rulers.ready(i));
    let storage = TempDir::new().unwrap();
    let follower = follow(&rulers, &dialer, storage.path()).await;
    let first = join(&rulers, &dialer, &follower, "before");
    holds(&follower, "before").await;
    let cluster = follower.held().map().borrow().cluster();

    // kill -9 of the leader: the map stays, and a joiner joins.
    let leader = rulers.leader();
    rulers.kill(leader);
    let second = join(&rulers, &dialer, &follower, "after");
    holds(&follower, "after").await;
    assert_eq!(follower.held().map().borrow().cluster(), cluster);
    holds(&follower, "before").await;
    // It comes back and catches up.
    rulers.spawn(leader);
    rulers.ready(leader);
    until("the ruler that was killed has caught up", || {
        let page = rulers.page(leader)?;
        let names: Vec<&str> = page["nodes"].as_array()?.iter().filter_map(|n| n["name"].as_str()).collect();
        (names == ["after", "before", "ruler-0", "ruler-1", "ruler-2"]).then_some(())
    });
    let (_, metrics) = get(&rulers.http[leader], "/metrics").unwrap();
    assert!(metrics.contains("narthex_ruler_raft_voters 3"), "{metrics}");

    // All rulers down: what was followed is there, on disk too.
    until("the copy on disk is as new", || {
        let (kept, _) = MapFile::of(storage.path()).load().unwrap()?;
        (kept == **follower.held().map().borrow()).then_some(())
    });
    (0..3).for_each(|i| rulers.kill(i));
    let kept: Arc<_> = follower.held().map().borrow().clone();
    drop((first, second, follower));
    let again = follow(&rulers, &dialer, storage.path()).await;
    assert_eq!(again.held().map().borrow().version(), kept.version());

    // And all of them come back with what they knew.
    (0..3).for_each(|i| rulers.spawn(i));
    (0..3).for_each(|i| rulers.ready(i));
    let page = until("the page", || rulers.page(0));
    assert_eq!(page["cluster"].as_str(), cluster.map(|id| id.to_string()).as_deref());
    assert!(page["nodes"].as_array().unwrap().iter().any(|node| node["name"] == "after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_map_outlives_every_ruler() {
    outlives(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rulers_speak_tls_with_certificates_of_both_sides() {
    let dir = TempDir::new().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    for (file, text) in [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let file = dir.path().join("grpc.yml");
    let text = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: ca.pem\n  \
                client_auth_type: RequireAndVerifyClientCert\n";
    std::fs::write(&file, text).unwrap();
    let identity = Some((certificate.pem(), key.serialize_pem()));
    outlives(Some((file, ClientTls { authorities: authority.pem(), identity }))).await;
}

#[test]
fn a_ruler_that_is_told_to_stop_hands_over_and_ends() {
    let mut rulers = Rulers::start(3, None);
    (0..3).for_each(|i| rulers.ready(i));
    let leader = rulers.leader();
    let mut process = rulers.processes[leader].take().unwrap();
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
    let status = until("it ends", || process.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let next = rulers.leader();
    assert_ne!(next, leader);
    // Its directory is free again.
    rulers.spawn(leader);
    rulers.ready(leader);
}

#[test]
fn without_tls_and_without_consent_a_ruler_does_not_listen_beyond_loopback() {
    let dir = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["ruler", "--cluster.control-plane=10.0.0.1:9095", "--cluster.node-id=r", "--cluster.zone=z"])
        .args(["--grpc.listen-address=0.0.0.0:0", "--web.listen-address=127.0.0.1:0"])
        .arg(format!("--storage.path={}", dir.path().display()))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is not a loopback address"), "{said}");
}

#[test]
fn every_role_is_in_the_help_and_says_which_file_is_missing() {
    let help = Command::new(env!("CARGO_BIN_EXE_narthex")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("ruler"), "{help}");
    for role in ["ingester", "distributor", "querier", "store", "scraper"] {
        assert!(help.contains(&format!("\n  {role} ")), "{help}");
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
        command
            .args([role, "--cluster.control-plane=127.0.0.1:1", "--cluster.node-id=r", "--cluster.zone=z"])
            .args(["--grpc.listen-address=127.0.0.1:0", "--web.listen-address=127.0.0.1:0"])
            .arg(format!("--storage.path={}", dir.path().display()));
        if ["ingester", "store"].contains(&role) {
            command.arg("--objstore.config-file=absent/bucket.yml");
        }
        if role != "store" {
            command.arg("--config.file=absent/prometheus.yml");
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{role}: {said}");
        assert!(said.contains("absent/"), "{role}: {said}");
    }
}
