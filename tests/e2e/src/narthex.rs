//! The binary under test, or a Prometheus, with a configuration and a data directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, Process, Signal};
use crate::{Client, api, peer};

/// How long a start may take: a debug build on two busy cores, with a log to replay.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// `NARTHEX_BIN`, else the binary that `cargo test --workspace` built beside this test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = crate::variable("NARTHEX_BIN") {
        ensure!(Path::new(&path).is_file(), "NARTHEX_BIN={path} is not there");
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe().context("path of this test")?;
    // <target>/debug/deps/e2e-0123456789abcdef
    let path = test.ancestors().nth(2).context("this test lies in no target folder")?.join("narthex");
    ensure!(
        path.is_file(),
        "{} is not there: build it with `cargo build -p narthex`, or name it in NARTHEX_BIN",
        path.display()
    );
    Ok(path)
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    program: PathBuf,
    folder: PathBuf,
    /// `narthex all`, not a Prometheus.
    is_narthex: bool,
    port: u16,
    /// More flags.
    pub flags: Vec<String>,
    /// The content of its configuration file.
    pub config: String,
}

impl Setup {
    /// Narthex in a folder of its own.
    pub fn narthex(folder: &Path) -> Result<Setup> {
        Setup::new(binary()?, folder, true)
    }

    /// Prometheus in a folder of its own; none where this machine has none. `NARTHEX_PROMETHEUS` names another than Debian's.
    pub fn prometheus(folder: &Path) -> Result<Option<Setup>> {
        let path = match crate::variable("NARTHEX_PROMETHEUS") {
            Some(path) => Some(PathBuf::from(path)),
            None => peer::find("PROMETHEUS")?,
        };
        path.map(|path| Setup::new(path, folder, false)).transpose()
    }

    fn new(program: PathBuf, folder: &Path, is_narthex: bool) -> Result<Setup> {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let folder = folder.to_path_buf();
        let config = "global: {}\n".to_string();
        Ok(Setup { program, folder, is_narthex, port: process::free_port()?, flags: Vec::new(), config })
    }

    /// The same with this configuration.
    pub fn with_config(mut self, config: &str) -> Setup {
        self.config = config.to_string();
        self
    }

    /// The same with one more flag.
    pub fn with_flag(mut self, flag: &str) -> Setup {
        self.flags.push(flag.to_string());
        self
    }

    /// The same on another port.
    pub fn on_another_port(mut self) -> Result<Setup> {
        self.port = process::free_port()?;
        Ok(self)
    }

    /// Whether it says of itself that it is a Prometheus 3 or later.
    pub fn is_prometheus_3(&self) -> Result<bool> {
        let output = Command::new(&self.program).arg("--version").output();
        let output = output.with_context(|| format!("run {} --version", self.program.display()))?;
        // 2.42 writes it where errors go.
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let version = text.strip_prefix("prometheus, version ").and_then(|rest| rest.split_once('.'));
        let major = version.and_then(|(major, _)| major.parse::<u32>().ok());
        Ok(major.with_context(|| format!("the version of a Prometheus: {text}"))? >= 3)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("prometheus.yml")
    }

    /// host:port of its HTTP interface.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client of its HTTP interface.
    pub fn client(&self) -> Client {
        Client::new(&self.address(), REQUEST_TIMEOUT)
    }

    /// Writes the configuration to its file.
    pub fn write_config(&self) -> Result<()> {
        let file = self.config_file();
        std::fs::write(&file, &self.config).with_context(|| format!("write {}", file.display()))
    }

    /// Starts it, without waiting until it is ready.
    pub fn launch(&self) -> Result<Process> {
        self.launch_with_log("log")
    }

    /// The same with a log of its own, beside a process that runs already.
    pub fn launch_with_log(&self, log: &str) -> Result<Process> {
        self.write_config()?;
        let mut command = process::command(&self.program);
        if self.is_narthex {
            command.arg("all").arg(format!("--storage.path={}", self.data().display()));
        } else {
            command.arg(format!("--storage.tsdb.path={}", self.data().display()));
            command.args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"]);
        }
        command.arg(format!("--config.file={}", self.config_file().display()));
        command.arg(format!("--web.listen-address={}", self.address()));
        command.args(&self.flags);
        Process::start(command, &self.folder.join(log))
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) -> Result<Server> {
        let mut process = self.launch()?;
        process.until_ready(&self.address(), "/-/ready", START_TIMEOUT)?;
        Ok(Server { process, setup: self.clone(), client: self.client() })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The child.
    pub process: Process,
    /// What it was started with.
    pub setup: Setup,
    /// A connection to it.
    pub client: Client,
}

impl Server {
    /// An instant query.
    pub fn query(&mut self, expr: &str, at_ms: i64) -> Result<api::Answer> {
        api::query(&mut self.client, expr, at_ms).map(|annotated| annotated.answer)
    }

    /// A range query.
    pub fn query_range(&mut self, expr: &str, range: &api::Range) -> Result<api::Answer> {
        api::query_range(&mut self.client, expr, range).map(|annotated| annotated.answer)
    }

    /// The value of an expression that gives one sample or a scalar.
    pub fn number(&mut self, expr: &str, at_ms: i64) -> Result<f64> {
        let answer = self.query(expr, at_ms)?;
        answer.number().with_context(|| format!("{expr}: not one value: {answer:?}"))
    }

    /// SIGTERM; waits for the end, which must be in order.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::Term)?;
        let status = self.process.exit(Duration::from_secs(30))?;
        if !status.success() {
            bail!("it ended with {status} after SIGTERM:\n{}", self.process.log_tail());
        }
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()
    }
}
