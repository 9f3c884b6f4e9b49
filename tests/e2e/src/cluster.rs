//! A cluster of processes: each node with a folder, addresses and a log of its own. Whatever it waits for, it waits for long: a
//! test runs beside many others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::narthex::binary;
use crate::process::{self, Process, Signal};
use crate::write::{self, Series};
use crate::{Client, Response, api, now_ms, wait};

/// For whatever must come: ten times what it takes on a machine that is busy already.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// For one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A node.
struct Node {
    role: &'static str,
    node_id: String,
    zone: String,
    http: String,
    grpc: String,
    flags: Vec<String>,
    process: Option<Process>,
}

/// Nodes by name: `ruler-1`, `ingester-2`.
pub struct Cluster {
    folder: PathBuf,
    program: PathBuf,
    /// gRPC addresses of the first rulers.
    control_plane: Vec<String>,
    nodes: BTreeMap<String, Node>,
    /// Flags of every node besides.
    pub flags: Vec<String>,
    /// What `prometheus.yml` holds.
    pub config: String,
}

impl Cluster {
    /// A cluster with so many rulers, in zones `z1`, `z2`, …; nothing runs yet.
    pub fn new(folder: &Path, rulers: usize) -> Result<Cluster> {
        let (config, flags) = ("global: {}\n".to_owned(), vec!["--cluster.name=c".to_owned()]);
        let (folder, program) = (folder.to_path_buf(), binary()?);
        let (control_plane, nodes) = (Vec::new(), BTreeMap::new());
        let mut cluster = Cluster { folder, program, control_plane, nodes, flags, config };
        for n in 1..=rulers {
            let name = cluster.add("ruler", &format!("z{n}"))?;
            cluster.control_plane.push(cluster.grpc(&name).to_owned());
        }
        Ok(cluster)
    }

    /// One more node: `ROLE-1`, `ROLE-2`, …
    pub fn add(&mut self, role: &'static str, zone: &str) -> Result<String> {
        let name = format!("{role}-{}", 1 + self.nodes.values().filter(|node| node.role == role).count());
        let address = || process::free_port().map(|port| format!("127.0.0.1:{port}"));
        let (http, grpc, flags) = (address()?, address()?, Vec::new());
        let (node_id, zone) = (name.clone(), zone.to_owned());
        self.nodes.insert(name.clone(), Node { role, node_id, zone, http, grpc, flags, process: None });
        Ok(name)
    }

    /// One more flag of a node, from its next start on.
    pub fn flag(&mut self, name: &str, flag: String) {
        self.node_mut(name).flags.push(flag);
    }

    /// Another zone of a node, from its next start on.
    pub fn move_to(&mut self, name: &str, zone: &str) {
        self.node_mut(name).zone = zone.to_owned();
    }

    /// Another node id than its name here, from its next start on.
    pub fn rename(&mut self, name: &str, node_id: &str) {
        self.node_mut(name).node_id = node_id.to_owned();
    }

    /// Names of all nodes.
    pub fn names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// host:port of its pages.
    pub fn http(&self, name: &str) -> &str {
        &self.node(name).http
    }

    /// host:port that other nodes speak to.
    pub fn grpc(&self, name: &str) -> &str {
        &self.node(name).grpc
    }

    /// Its data directory.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("data")
    }

    /// Starts it, without waiting.
    pub fn launch(&mut self, name: &str) -> Result<()> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let bucket = format!("type: FILESYSTEM\nconfig: {{directory: {:?}}}\n", self.folder.join("bucket"));
        for (file, text) in [("bucket.yml", &bucket), ("prometheus.yml", &self.config)] {
            std::fs::write(folder.join(file), text).with_context(|| format!("write {file}"))?;
        }
        let node = self.node(name);
        ensure!(node.process.is_none(), "{name} runs already");
        let mut command = process::command(&self.program);
        command.arg(node.role);
        command.arg(format!("--cluster.control-plane={}", self.control_plane.join(",")));
        command.arg(format!("--cluster.node-id={}", node.node_id));
        command.arg(format!("--cluster.zone={}", node.zone));
        command.arg(format!("--web.listen-address={}", node.http));
        command.arg(format!("--grpc.listen-address={}", node.grpc));
        command.arg(format!("--storage.path={}", self.data(name).display()));
        if ["ingester", "store"].contains(&node.role) {
            command.arg(format!("--objstore.config-file={}", folder.join("bucket.yml").display()));
        }
        if !["ruler", "store"].contains(&node.role) {
            command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        }
        command.args(&self.flags).args(&node.flags);
        let process = Process::start(command, &folder.join("log"))?;
        self.node_mut(name).process = Some(process);
        Ok(())
    }

    /// Starts all nodes that do not run.
    pub fn launch_all(&mut self) -> Result<()> {
        let idle = self.nodes.iter().filter(|(_, node)| node.process.is_none()).map(|(name, _)| name.clone());
        idle.collect::<Vec<_>>().iter().try_for_each(|name| self.launch(name))
    }

    /// Starts all nodes that do not run, and waits until all are ready.
    pub fn start_all(&mut self) -> Result<()> {
        self.launch_all()?;
        self.names().iter().try_for_each(|name| self.until_ready(name))
    }

    /// Starts a node and waits until it is ready.
    pub fn start(&mut self, name: &str) -> Result<()> {
        self.launch(name)?;
        self.until_ready(name)
    }

    /// The process of a node.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.node_mut(name).process.as_mut().with_context(|| format!("{name} does not run"))
    }

    /// SIGKILL.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.process(name)?.kill()?;
        self.node_mut(name).process = None;
        Ok(())
    }

    /// SIGTERM; it must end in order.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        self.process(name)?.signal(Signal::Term)?;
        let code = self.until_ended(name)?;
        ensure!(code == Some(0), "{name} ended with {code:?}:\n{}", self.log_tail(name));
        Ok(())
    }

    /// Waits until a node ends of itself; its exit code.
    pub fn until_ended(&mut self, name: &str) -> Result<Option<i32>> {
        let status = self.process(name)?.exit(PATIENCE)?;
        self.node_mut(name).process = None;
        Ok(status.code())
    }

    /// Whether a node that was started is no more.
    pub fn has_ended(&mut self, name: &str) -> bool {
        self.process(name).and_then(Process::ensure_running).is_err()
    }

    /// All that a node has logged, over all its lives.
    pub fn log(&self, name: &str) -> String {
        // A log that cannot be read is an empty one: it is only ever searched or shown.
        let bytes = std::fs::read(self.folder.join(name).join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_tail(&self, name: &str) -> String {
        let log = self.log(name);
        let lines: Vec<&str> = log.lines().collect();
        format!("the end of the log of {name}:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// Waits until a line of the log has all of these.
    pub fn until_logged(&mut self, name: &str, parts: &[&str]) -> Result<()> {
        wait::until_ok(&format!("{parts:?} in the log of {name}"), PATIENCE, || {
            let log = self.log(name);
            let found = log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            ensure!(found, "{}", self.log_tail(name));
            Ok(())
        })
    }

    /// GET.
    pub fn get(&self, name: &str, path: &str) -> Result<Response> {
        Client::new(self.http(name), ANSWER_TIMEOUT).get(path)
    }

    fn text(&self, name: &str, path: &str) -> Result<String> {
        self.get(name, path).map(|response| String::from_utf8_lossy(&response.body).into_owned())
    }

    /// Waits until a node is ready.
    pub fn until_ready(&mut self, name: &str) -> Result<()> {
        let address = self.http(name).to_owned();
        self.process(name)?.until_ready(&address, "/-/ready", PATIENCE).with_context(|| name.to_owned())
    }

    /// Waits until the page about readiness has this, whatever else it says, and gives the page.
    pub fn until_says(&self, name: &str, words: &str) -> Result<String> {
        let said = wait::until_ok(&format!("{name} says {words:?}"), PATIENCE, || {
            let page = self.text(name, "/-/ready")?;
            ensure!(page.contains(words), "{page}");
            Ok(page)
        });
        said.with_context(|| self.log_tail(name))
    }

    /// Waits until the page about readiness no longer has this.
    pub fn until_not_said(&self, name: &str, words: &str) -> Result<()> {
        let gone = wait::until_ok(&format!("{name} no longer says {words:?}"), PATIENCE, || {
            let page = self.text(name, "/-/ready")?;
            ensure!(!page.contains(words), "{page}");
            Ok(())
        });
        gone.with_context(|| self.log_tail(name))
    }

    /// Waits until a metric without labels has this value.
    pub fn until_metric(&self, name: &str, metric: &str, value: f64) -> Result<()> {
        wait::until_ok(&format!("{metric} {value} of {name}"), PATIENCE, || {
            let page = self.text(name, "/metrics")?;
            let line = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
            let found = line.with_context(|| format!("no {metric} in {page}"))?;
            ensure!(found.parse::<f64>()? == value, "{found}");
            Ok(())
        })
    }

    /// JSON of a page of the API: what lies under `data`.
    pub fn data_of(&self, name: &str, path: &str) -> Result<Value> {
        let response = self.get(name, path)?;
        ensure!(response.status == 200, "{path}: status {}: {}", response.status, response.excerpt());
        let mut page: Value = serde_json::from_slice(&response.body).context("not JSON")?;
        ensure!(page["status"] == "success", "{page}");
        Ok(page["data"].take())
    }

    /// Sends series to a front door once; the status.
    pub fn push(&self, name: &str, series: &[Series]) -> Result<u16> {
        let body = write::compress(&write::encode(series))?;
        write::post(&mut Client::new(self.http(name), ANSWER_TIMEOUT), &body)
    }

    /// Sends series to a front door until they are acknowledged, as a sender does.
    pub fn write(&self, name: &str, series: &[Series]) -> Result<()> {
        wait::until_ok(&format!("{name} acknowledges"), PATIENCE, || match self.push(name, series)? {
            200..300 => Ok(()),
            status => bail!("status {status}"),
        })
    }

    /// Asks a querier until it gives this number, without a warning.
    pub fn until_number(&self, name: &str, expr: &str, expected: f64) -> Result<()> {
        wait::until_ok(&format!("{expr} is {expected} at {name}"), PATIENCE, || {
            let found = self.query(name, expr)?;
            ensure!(found.annotations.is_empty(), "{:?}", found.annotations);
            ensure!(found.answer.number() == Some(expected), "{:?}", found.answer);
            Ok(())
        })
    }

    /// An instant query at this moment.
    pub fn query(&self, name: &str, expr: &str) -> Result<api::Annotated> {
        api::query(&mut Client::new(self.http(name), ANSWER_TIMEOUT), expr, now_ms())
    }
}
