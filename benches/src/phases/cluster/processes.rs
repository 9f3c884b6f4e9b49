//! The processes of a system under measurement: one, or those of a cluster of three zones on loopback.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::traffic::Traffic;
use crate::fleet::Fleet;
use crate::http::Client;
use crate::phases::{Bench, SETTLE_TIME_MAX};
use crate::process::{Memory, Process};
use crate::system::{Kind, Purpose, System};

/// How long the start of a cluster may take.
const READY_TIME_MAX: Duration = Duration::from_secs(120);
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// For how long the idle processes are watched.
const IDLE_TIME: Duration = Duration::from_secs(5);
const RULERS: usize = 3;

/// One process.
struct Node {
    role: &'static str,
    name: String,
    /// Ports of HTTP and gRPC.
    ports: [u16; 2],
    process: Process,
}

/// All processes, and the folder of their data, which is removed with them.
pub(super) struct Processes {
    nodes: Vec<Node>,
    write: String,
    query: String,
    folder: PathBuf,
}

impl Processes {
    /// Starts a system with nothing stored, and waits until each process is ready.
    pub(super) fn start(bench: &Bench, system: &System, fleet: &Fleet) -> Result<Processes> {
        let folder = bench.work.join(system.kind.id());
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let mut processes = Processes { nodes: Vec::new(), write: String::new(), query: String::new(), folder };
        match system.kind {
            Kind::Cluster3 => processes.start_cluster(system, 3)?,
            Kind::Cluster12 => processes.start_cluster(system, 12)?,
            _ => {
                let [port] = free_ports(1)?[..] else { bail!("one port was asked for") };
                let command = system.command(&processes.folder, port, fleet, &Purpose::default())?;
                processes.add("all", "all".to_owned(), [port, 0], &command)?;
            }
        }
        let address = |processes: &Processes, role| {
            let node = processes.nodes.iter().find(|node| node.role == role || node.role == "all");
            node.map(|node| format!("127.0.0.1:{}", node.ports[0])).context("a node of each role was started")
        };
        processes.write = address(&processes, "distributor")?;
        processes.query = address(&processes, "querier")?;
        processes.wait_until_ready()?;
        Ok(processes)
    }

    fn start_cluster(&mut self, system: &System, ingesters: usize) -> Result<()> {
        let bucket = self.folder.join("bucket");
        std::fs::create_dir_all(&bucket).context("create the bucket")?;
        let object_store = format!("type: FILESYSTEM\nconfig:\n  directory: \"{}\"\n", bucket.display());
        std::fs::write(self.folder.join("bucket.yml"), object_store).context("write bucket.yml")?;
        std::fs::write(self.folder.join("config.yml"), "global: {}\n").context("write config.yml")?;
        let roles = [("ruler", RULERS), ("ingester", ingesters), ("store", 1), ("distributor", 1), ("querier", 1)];
        let nodes: Vec<(&'static str, usize)> =
            roles.into_iter().flat_map(|(role, count)| (1..=count).map(move |n| (role, n))).collect();
        let ports = free_ports(nodes.len() * 2)?;
        let ports: Vec<[u16; 2]> = ports.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
        let rulers: Vec<String> = ports[..RULERS].iter().map(|[_, grpc]| format!("127.0.0.1:{grpc}")).collect();
        for ((role, n), ports) in nodes.into_iter().zip(ports) {
            let node = Member { role, n, ports, rulers: &rulers, ingesters };
            let command = node.command(&system.binary, &self.folder);
            self.add(role, format!("{role}-{n}"), ports, &command)?;
        }
        Ok(())
    }

    fn add(&mut self, role: &'static str, name: String, ports: [u16; 2], command: &Command) -> Result<()> {
        let process = Process::start(command, &self.log(&name))?;
        self.nodes.push(Node { role, name, ports, process });
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        for index in 0..self.nodes.len() {
            let address = format!("127.0.0.1:{}", self.nodes[index].ports[0]);
            let is_ready = || Client::new(&address, Duration::from_secs(10)).get("/-/ready");
            while !is_ready().is_ok_and(|response| response.status == 200) {
                let node = &mut self.nodes[index];
                let ended = node.process.ensure_running().err();
                if ended.is_some() || began.elapsed() > READY_TIME_MAX {
                    let state = ended.map_or("not in time".to_string(), |error| error.to_string());
                    let name = node.name.clone();
                    bail!("{name} did not become ready: {state}; its log ends {:#?}", self.log_end(&name));
                }
                std::thread::sleep(POLL_PAUSE);
            }
        }
        Ok(())
    }

    fn log_end(&self, name: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
        log.lines().rev().take(5).map(str::to_string).collect()
    }

    /// host:port that takes remote write.
    pub(super) fn write_address(&self) -> &str {
        &self.write
    }

    /// host:port that answers queries.
    pub(super) fn query_address(&self) -> &str {
        &self.query
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.query, Duration::from_secs(600))
    }

    /// Seconds of CPU of all processes so far.
    pub(super) fn cpu(&self) -> Result<f64> {
        self.nodes.iter().map(|node| node.process.cpu_seconds()).sum()
    }

    /// The same by role.
    pub(super) fn cpu_by_role(&self) -> Result<BTreeMap<&'static str, f64>> {
        let mut seconds = BTreeMap::new();
        for node in &self.nodes {
            *seconds.entry(node.role).or_default() += node.process.cpu_seconds()?;
        }
        Ok(seconds)
    }

    /// Seconds of CPU per second while nobody asks for anything.
    pub(super) fn idle_cpu(&self) -> Result<f64> {
        let before = self.cpu()?;
        std::thread::sleep(IDLE_TIME);
        Ok((self.cpu()? - before) / IDLE_TIME.as_secs_f64())
    }

    /// Memory of each process of a role.
    pub(super) fn memory(&self, role: &str) -> Result<Vec<Memory>> {
        self.nodes.iter().filter(|node| node.role == role).map(|node| node.process.memory()).collect()
    }

    /// Bytes that went over the connections to the ingesters' gRPC ports so far.
    pub(super) fn traffic(&self) -> Result<Traffic> {
        let ports = self.nodes.iter().filter(|node| node.role == "ingester").map(|node| node.ports[1]);
        Traffic::read(&ports.collect())
    }

    /// Stops a process by name (`STOP`) or lets it go on (`CONT`).
    pub(super) fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.with_context(|| format!("no node {name}"))?.process.signal(signal)
    }

    /// Waits for this time, and then until what holds the series is quiet.
    pub(super) fn finish_writing(&self, settle_s: u64) -> Result<()> {
        std::thread::sleep(Duration::from_secs(settle_s));
        let mut holders = self.nodes.iter().filter(|node| matches!(node.role, "all" | "ingester"));
        holders.try_for_each(|node| node.process.settle(SETTLE_TIME_MAX))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            if let Err(ended) = node.process.ensure_running() {
                let name = node.name.clone();
                eprintln!("{name}: {ended}; its log ends (newest first): {:#?}", self.log_end(&name));
            }
        }
        // Ended first: a process that runs would write into its folder again.
        self.nodes.clear();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// A node of a cluster before it is started.
struct Member<'a> {
    role: &'static str,
    n: usize,
    ports: [u16; 2],
    rulers: &'a [String],
    ingesters: usize,
}

impl Member<'_> {
    fn command(&self, binary: &Path, folder: &Path) -> Command {
        let (role, n, [http, grpc], folder) = (self.role, self.n, self.ports, folder.display());
        let mut command = Command::new(binary);
        command.arg(role);
        command.args(["--cluster.name=bench".to_owned(), format!("--cluster.node-id={role}-{n}")]);
        command.arg(format!("--cluster.zone=z{}", (n - 1) % 3 + 1));
        command.arg(format!("--cluster.control-plane={}", self.rulers.join(",")));
        command.arg(format!("--web.listen-address=127.0.0.1:{http}"));
        command.arg(format!("--grpc.listen-address=127.0.0.1:{grpc}"));
        command.arg(format!("--storage.path={folder}/{role}-{n}"));
        if matches!(role, "ingester" | "store") {
            command.arg(format!("--objstore.config-file={folder}/bucket.yml"));
        }
        if matches!(role, "ingester" | "distributor" | "querier") {
            command.arg(format!("--config.file={folder}/config.yml"));
        }
        match role {
            "ruler" => _ = command.arg(format!("--cluster.bootstrap-ingesters={}", self.ingesters)),
            "querier" => _ = command.args(["--query.max-samples=1000000000", "--query.timeout=10m"]),
            _ => (),
        }
        command
    }
}

/// Ports that nothing listens on now, all different.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    // Held until all are known, so that none comes twice.
    let listeners: std::io::Result<Vec<TcpListener>> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let listeners = listeners.context("find free ports")?;
    listeners.iter().map(|listener| Ok(listener.local_addr().context("find a free port")?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(role: &'static str, n: usize) -> Vec<String> {
        let rulers = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let node = Member { role, n, ports: [80, 81], rulers: &rulers, ingesters: 12 };
        let command = node.command(Path::new("narthex"), Path::new("/d"));
        command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn nodes_lie_in_three_zones_in_turn_and_know_the_rulers() {
        let fourth = arguments("ingester", 4);
        for flag in [
            "ingester",
            "--cluster.node-id=ingester-4",
            "--cluster.zone=z1",
            "--cluster.control-plane=127.0.0.1:1,127.0.0.1:2",
            "--web.listen-address=127.0.0.1:80",
            "--grpc.listen-address=127.0.0.1:81",
            "--objstore.config-file=/d/bucket.yml",
        ] {
            assert!(fourth.iter().any(|argument| argument == flag), "{flag} in {fourth:?}");
        }
        assert!(arguments("ruler", 2).contains(&"--cluster.bootstrap-ingesters=12".to_owned()));
        assert!(arguments("ruler", 2).contains(&"--cluster.zone=z2".to_owned()));
    }

    #[test]
    fn free_ports_are_different() {
        let mut ports = free_ports(40).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 40);
    }
}
