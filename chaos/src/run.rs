//! Runs a scenario: processes in folders of their own, the ledger as one of them, a line per step, a verdict at the end.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use benches::http::Client;
use e2e::process::{self, Process, Signal};
use e2e::random::Random;
use e2e::wait;

use crate::block_pass;
use crate::classes::Summary;
use crate::load::STOP_FILE;
use crate::owner::Owners;
use crate::plan::Plan;
use crate::proxy::{Mode, TcpProxy};
use crate::record;
use crate::scenario::{Between, EndLoad, Expect, Load, ProcessFile, Scenario, Step};
use crate::system::{self, Found};
use crate::table::Row;

/// The port at which nodes of a cluster speak to each other.
const GRPC_PORT: &str = "grpc";
/// The port of `{NAME}`.
const MAIN_PORT: &str = "main";
/// What a folder is called while it is gone.
const AWAY_SUFFIX: &str = "away";

/// Runs a scenario in `folder`, which must be empty; tells each step to `say`. An error says why it could not be told what
/// became of the samples.
pub fn run(scenario: &Scenario, folder: &Path, ledger: &Path, say: &mut dyn FnMut(&str)) -> Result<Row> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let system = system::find(scenario.processes[&scenario.system].program)?;
    let mut row = Row { system: system.title, scenario: scenario.title.clone(), ..Row::default() };
    let mut runner = Runner {
        scenario,
        folder: folder.canonicalize().context("the folder of a run")?,
        ledger: ledger.to_path_buf(),
        programs: BTreeMap::new(),
        configs: scenario.processes.iter().map(|(name, file)| (name.clone(), file.config.clone())).collect(),
        running: BTreeMap::new(),
        addresses: BTreeMap::new(),
        proxies: BTreeMap::new(),
        owners: Arc::default(),
        load: None,
        passes: Vec::new(),
        random: Random::new(scenario.seed),
        began: Instant::now(),
        say,
    };
    runner.steps(&scenario.steps)?;
    for summary in &runner.passes {
        row.add(summary);
    }
    let violated = runner.passes.iter().any(Summary::is_violated);
    ensure!(row.counts.acked > 0, "nothing was acknowledged: nothing was tested");
    (row.failed, row.verdict) = match scenario.expect {
        Expect::Measured if violated => (false, "loses".to_string()),
        Expect::Holds if row.counts.warned > 0 => (true, "MISSING".to_string()),
        Expect::Warned if !violated && row.counts.warned == 0 => (true, "NO WARNING".to_string()),
        _ if violated => (true, "VIOLATED".to_string()),
        _ => (false, "holds".to_string()),
    };
    Ok(row)
}

struct Runner<'a> {
    scenario: &'a Scenario,
    folder: PathBuf,
    /// The program of the ledger.
    ledger: PathBuf,
    /// By name of the process.
    programs: BTreeMap<String, Found>,
    configs: BTreeMap<String, String>,
    running: BTreeMap<String, Process>,
    /// By process and port.
    addresses: BTreeMap<(String, String), String>,
    proxies: BTreeMap<(String, String), TcpProxy>,
    /// The processes that run, for the proxies.
    owners: Arc<Owners>,
    load: Option<Process>,
    passes: Vec<Summary>,
    random: Random,
    began: Instant,
    say: &'a mut dyn FnMut(&str),
}

impl Runner<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            ensure!(!self.rest().is_zero(), "not done within {} s", self.scenario.limit_s);
            self.step(step).with_context(|| format!("{step:?}"))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Start(name) => {
                self.launch(name)?;
                self.ready(name)
            }
            Step::StartCluster(_) => self.start_cluster(),
            Step::Launch(name) => self.launch(name),
            Step::Ready(name) => self.ready(name),
            Step::Kill(name) => {
                let mut process = self.running.remove(name).context("it does not run")?;
                self.tell(&format!("kill -9 {name} ({})", process.id()));
                process.ensure_running().and_then(|()| process.kill())
            }
            Step::Stop(name) => self.stop(name),
            Step::Pause(name) => self.send_signal(name, "STOP"),
            Step::Resume(name) => self.send_signal(name, "CONT"),
            Step::Configure(change) => {
                self.tell(&format!("configure {}", change.process));
                self.configs.insert(change.process.clone(), change.config.clone());
                self.write_config(&change.process)
            }
            Step::Post(url) => self.post(url),
            Step::Load(load) => self.start_load(load),
            Step::Requests(between) => self.wait_for_requests(between),
            Step::WaitMs(between) => {
                let pause_ms = self.draw(between);
                self.tell(&format!("wait {pause_ms} ms"));
                std::thread::sleep(Duration::from_millis(pause_ms).min(self.rest()));
                Ok(())
            }
            Step::EndLoad(end) => self.end_load(*end),
            Step::Stall(port) => self.set_proxy(port, Mode::Stall),
            Step::Refuse(port) => self.set_proxy(port, Mode::Refuse),
            Step::Pass(port) => self.set_proxy(port, Mode::Pass),
            Step::CutPair(pair) => self.set_pair(pair, "cut off from each other", TcpProxy::cut_off),
            Step::MendPair(pair) => self.set_pair(pair, "hear each other", TcpProxy::mend),
            Step::BucketDown(path) => self.bucket_down(path),
            Step::BucketUp(path) => self.bucket_up(path),
            Step::Wipe(path) => {
                let path = self.fill(path, "")?;
                self.tell(&format!("{path} is lost"));
                std::fs::remove_dir_all(&path).context("lose a folder")
            }
            Step::Repaired(_) => self.wait_until_repaired(),
            Step::Closed(path) => self.wait_until_closed(path),
            Step::Reconcile(address) => {
                let address = self.fill(address, "")?;
                self.pass("reconcile", &["--url", &address])
            }
            Step::Blocks(path) => {
                let path = self.fill(path, "")?;
                self.pass("blocks", &["--bucket", &path])
            }
            Step::Repeat(repeat) => (0..repeat.times).try_for_each(|_| self.steps(&repeat.steps)),
        }
    }

    fn tell(&mut self, text: &str) {
        (self.say)(&format!("[{:6.1} s] {text}", self.began.elapsed().as_secs_f64()));
    }

    /// What is left of the scenario's time.
    fn rest(&self) -> Duration {
        Duration::from_secs(self.scenario.limit_s).saturating_sub(self.began.elapsed())
    }

    fn draw(&mut self, between: &Between) -> u64 {
        let most = between.most.unwrap_or(between.least);
        between.least + self.random.below(most - between.least + 1)
    }

    fn file(&self, name: &str) -> Result<&ProcessFile> {
        self.scenario.processes.get(name).with_context(|| format!("there is no process {name}"))
    }

    fn launch(&mut self, name: &str) -> Result<()> {
        ensure!(!self.running.contains_key(name), "{name} runs already");
        let file = self.file(name)?.clone();
        if !self.programs.contains_key(name) {
            self.programs.insert(name.to_string(), system::find(file.program)?);
        }
        self.write_config(name)?;
        let mut command = process::command(&self.programs[name].path);
        for argument in &file.args {
            command.arg(self.fill(argument, name)?);
        }
        // A group of its own: when the shell that started us ends, the kernel hangs up our group if it has a stopped member.
        command.process_group(0);
        let process = Process::start(command, &self.folder.join(name).join("log"))?;
        self.owners.set(name, process.id());
        self.tell(&format!("start {name} ({})", process.id()));
        self.running.insert(name.to_string(), process);
        Ok(())
    }

    fn start_cluster(&mut self) -> Result<()> {
        let nodes = self.scenario.cluster.as_ref().context("there is no cluster")?.processes();
        nodes.iter().try_for_each(|(name, _)| self.launch(name))?;
        nodes.iter().try_for_each(|(name, _)| self.ready(name))
    }

    fn write_config(&mut self, name: &str) -> Result<()> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let config = self.configs.get(name).cloned().unwrap_or_default();
        let config = self.fill(&config, name)?;
        std::fs::write(folder.join("config.yml"), config).context("write a configuration")?;
        for (file, text) in self.file(name)?.files.clone() {
            std::fs::write(folder.join(file), self.fill(&text, name)?).context("write a file")?;
        }
        Ok(())
    }

    fn ready(&mut self, name: &str) -> Result<()> {
        let path = self.file(name)?.ready.clone();
        let (address, rest) = (self.address(name, MAIN_PORT)?, self.rest());
        self.process(name)?.until_ready(&address, &path, rest)?;
        self.tell(&format!("{name} is ready"));
        Ok(())
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        self.tell(&format!("stop {name}"));
        let mut process = self.running.remove(name).context("it does not run")?;
        process.signal(Signal::Term)?;
        let status = process.exit(self.rest())?;
        ensure!(status.success(), "it ended with {status}:\n{}", process.log_tail());
        Ok(())
    }

    fn send_signal(&mut self, name: &str, signal: &str) -> Result<()> {
        let id = self.process(name)?.id();
        self.tell(&format!("SIG{signal} {name} ({id})"));
        let script = format!("kill -{signal} {id}");
        let status = Command::new("sh").args(["-c", &script]).status().context("run sh")?;
        ensure!(status.success(), "{script}: {status}");
        Ok(())
    }

    fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.running.get_mut(name).with_context(|| format!("{name} does not run"))
    }

    fn post(&mut self, url: &str) -> Result<()> {
        let url = self.fill(url, "")?;
        self.tell(&format!("POST {url}"));
        let (address, path) = url.split_once('/').context("no path")?;
        let response = Client::new(address, self.rest()).request("POST", &format!("/{path}"), &[], &[])?;
        response.success("POST").map(drop)
    }

    fn start_load(&mut self, load: &Load) -> Result<()> {
        let mut command = process::command(&self.ledger);
        command.arg("write").arg("--folder").arg(self.ledger_folder());
        let addresses = load.to.iter().map(|address| self.fill(address, "")).collect::<Result<Vec<_>>>()?;
        for address in &addresses {
            command.arg("--url").arg(address);
        }
        let limit_s = self.scenario.limit_s;
        let numbers = [
            ("--seed", self.scenario.seed),
            ("--connections", load.connections),
            ("--series", load.series),
            ("--samples", load.samples),
            ("--age-s", load.age_s),
            ("--step-ms", load.step_ms),
            ("--pause-ms", load.pause_ms),
            ("--timeout-ms", load.timeout_ms),
            ("--for-s", limit_s),
            ("--retry-for-s", limit_s),
            ("--requests", load.requests.unwrap_or(u64::MAX)),
        ];
        for (flag, number) in numbers {
            command.arg(flag).arg(number.to_string());
        }
        self.tell(&format!(
            "load {}, {} connections of {} series",
            addresses.join(", "),
            load.connections,
            load.series
        ));
        self.load = Some(Process::start(command, &self.folder.join("ledger.log"))?);
        Ok(())
    }

    fn ledger_folder(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    fn wait_for_requests(&mut self, between: &Between) -> Result<()> {
        let (folder, more, rest) = (self.ledger_folder(), self.draw(between), self.rest());
        let before = record::count(&folder);
        let load = self.load.as_mut().context("the ledger does not run")?;
        wait::until("requests are acknowledged", rest, || {
            load.ensure_running()?;
            Ok((record::count(&folder) >= before + more).then_some(()))
        })?;
        self.tell(&format!("{more} more requests have their answer"));
        Ok(())
    }

    fn end_load(&mut self, end: EndLoad) -> Result<()> {
        let mut load = self.load.take().context("the ledger does not run")?;
        if end == EndLoad::Now {
            std::fs::write(self.ledger_folder().join(STOP_FILE), "").context("stop the ledger")?;
        }
        let status = load.exit(self.rest())?;
        ensure!(status.success(), "the ledger ended with {status}:\n{}", load.log_tail());
        self.tell(load.log().lines().last().unwrap_or_default());
        Ok(())
    }

    fn set_proxy(&mut self, port: &str, mode: Mode) -> Result<()> {
        self.tell(&format!("{mode:?} {port}"));
        let inner = port.strip_prefix("{via ").and_then(|port| port.strip_suffix('}'));
        let (name, port) = split_port(inner.context("not {via NAME} or {via NAME.PORT}")?);
        let proxy = self.proxies.get(&(name.to_string(), port.to_string()));
        proxy.context("nobody uses this proxy")?.set(mode);
        Ok(())
    }

    fn set_pair(&mut self, (one, other): &(String, String), what: &str, set: fn(&TcpProxy, &str)) -> Result<()> {
        self.tell(&format!("{one} and {other}: {what}"));
        for (before, from) in [(one, other), (other, one)] {
            let proxy = self.proxies.get(&(before.clone(), GRPC_PORT.to_string()));
            set(proxy.with_context(|| format!("nobody uses a proxy before {before}"))?, from);
        }
        Ok(())
    }

    fn bucket_down(&mut self, path: &str) -> Result<()> {
        let path = PathBuf::from(self.fill(path, "")?);
        self.tell(&format!("{} is gone", path.display()));
        std::fs::rename(&path, path.with_extension(AWAY_SUFFIX)).context("move a bucket away")?;
        // A file in its place: no folder of that name can be made.
        std::fs::write(&path, "").context("block the place of a bucket")
    }

    fn bucket_up(&mut self, path: &str) -> Result<()> {
        let path = PathBuf::from(self.fill(path, "")?);
        self.tell(&format!("{} is back", path.display()));
        std::fs::remove_file(&path).context("clear the place of a bucket")?;
        std::fs::rename(path.with_extension(AWAY_SUFFIX), &path).context("move a bucket back")
    }

    fn wait_until_repaired(&mut self) -> Result<()> {
        let ingesters: Vec<String> =
            self.running.keys().filter(|name| name.starts_with("ingester-")).cloned().collect();
        for name in ingesters {
            let address = self.address(&name, MAIN_PORT)?;
            wait::until_ok("an ingester is repaired", self.rest(), || {
                let response = Client::new(&address, Duration::from_secs(5)).request("GET", "/-/ready", &[], &[])?;
                let text = String::from_utf8_lossy(&response.body).into_owned();
                ensure!(text.lines().any(|line| line == "repaired"), "{name}: {text}");
                Ok(())
            })?;
        }
        self.tell("every ingester is repaired");
        Ok(())
    }

    fn wait_until_closed(&mut self, path: &str) -> Result<()> {
        let bucket = PathBuf::from(self.fill(path, "")?);
        let plan = Plan::load(&self.ledger_folder())?;
        let sent = (0..plan.connections).map(|connection| {
            record::Account::load(&self.ledger_folder(), connection).map(|account| account.requests_sent())
        });
        let numbers = sent.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default() * plan.samples;
        let last_ms = plan.base_ms + plan.step_ms * i64::try_from(numbers).context("numbers")?;
        wait::until_ok("ranges are closed", self.rest(), || {
            let closed = block_pass::closed(&bucket)?;
            let open = (plan.base_ms..last_ms).step_by(60_000).find(|at_ms| !closed.contains(*at_ms));
            match open {
                Some(at_ms) => bail!("{at_ms} lies in no closed range: {:?}", closed.ranges),
                None => Ok(()),
            }
        })?;
        self.tell("all that was written lies in closed ranges");
        Ok(())
    }

    /// Runs the ledger's own program over what it has recorded.
    fn pass(&mut self, command: &str, arguments: &[&str]) -> Result<()> {
        let mut child = process::command(&self.ledger);
        child.arg(command).arg("--folder").arg(self.ledger_folder()).args(arguments);
        let log = self.folder.join(format!("{command}-{}.log", self.passes.len()));
        let mut child = Process::start(child, &log)?;
        let status = child.exit(self.rest())?;
        let text = child.log();
        ensure!(matches!(status.code(), Some(0 | 1)), "{status}: {text}");
        let summary: Summary = serde_json::from_str(text.lines().last().unwrap_or_default()).context(text.clone())?;
        ensure!(summary.is_violated() == (status.code() == Some(1)), "{status}: {text}");
        let Summary { acked, found, lost, duplicated, altered, phantom, warned, .. } = &summary;
        self.tell(&format!(
            "{command}: {acked} acked, {found} found, {lost} lost, {duplicated} duplicated, {altered} altered, {phantom} \
             phantom, {warned} missing with a warning"
        ));
        for (class, example) in &summary.examples {
            self.tell(&format!("  first {class}: {example}"));
        }
        if let Some((first, last)) = summary.lost_acked_at {
            self.tell(&format!("  lost samples were acknowledged from {first} to {last}"));
        }
        self.passes.push(summary);
        Ok(())
    }

    fn address(&mut self, name: &str, port: &str) -> Result<String> {
        ensure!(self.scenario.processes.contains_key(name), "there is no process {name}");
        let key = (name.to_string(), port.to_string());
        if let Some(address) = self.addresses.get(&key) {
            return Ok(address.clone());
        }
        let address = format!("127.0.0.1:{}", process::free_port()?);
        self.addresses.insert(key, address.clone());
        Ok(address)
    }

    fn proxy(&mut self, name: &str, port: &str) -> Result<String> {
        let (key, upstream) = ((name.to_string(), port.to_string()), self.address(name, port)?);
        if !self.proxies.contains_key(&key) {
            self.proxies.insert(key.clone(), TcpProxy::start(&upstream, self.owners.clone())?);
        }
        Ok(self.proxies[&key].address())
    }

    /// Fills in what stands in braces; see [`Scenario`].
    fn fill(&mut self, text: &str, own: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inner, after) = after.split_once('}').with_context(|| format!("{text}: a brace is not closed"))?;
            out.push_str(before);
            if inner.is_empty() {
                out.push_str("{}");
            } else if inner == "folder" {
                out.push_str(&self.folder.join(own).display().to_string());
            } else if let Some(name) = inner.strip_suffix('/') {
                out.push_str(&self.folder.join(name).display().to_string());
            } else if let Some(port) = inner.strip_prefix("via ") {
                let (name, port) = split_port(port);
                out.push_str(&self.proxy(name, port)?);
            } else {
                let (name, port) = split_port(inner);
                out.push_str(&self.address(name, port)?);
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn split_port(text: &str) -> (&str, &str) {
    text.split_once('.').unwrap_or((text, MAIN_PORT))
}
