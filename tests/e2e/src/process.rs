//! Children: started with a log of their own, known by their id, killed when dropped and when we die.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{Client, wait};

/// First port that is tried. Below the range that the kernel takes for outgoing connections, so that none of those holds
/// it when a killed server comes back.
const PORT_FIRST: u16 = 20_000;
const PORT_COUNT: u16 = 12_000;

/// A port of 127.0.0.1 that is free now, and that this test run gives out once.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs beside each other begin at different places.
    let offset = (std::process::id() % 400) as u16 * 30;
    for _ in 0..PORT_COUNT {
        let port = PORT_FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % PORT_COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 is free")
}

/// A command that the kernel kills when the thread that starts it ends, whatever ends that; the process id is the program's own.
pub fn command(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Signals that a test sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop.
    Term,
    /// Reload.
    Hup,
    /// Stand still.
    Stop,
    /// Go on.
    Continue,
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command whose output is appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Process> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("open {}", log.display()))?;
        let errors = output.try_clone().context("share the log")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Process { child: child.with_context(|| format!("start {command:?}"))?, log: log.to_path_buf() })
    }

    /// All that it and its predecessors with the same log wrote.
    pub fn log(&self) -> String {
        // A log that cannot be read is an empty one: it is only ever searched or shown.
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// [`Process::log`] without escape sequences of terminals.
    pub fn plain_log(&self) -> String {
        let log = self.log();
        let mut parts = log.split('\u{1b}');
        let mut plain = parts.next().unwrap_or_default().to_string();
        // Each is `[`, numbers, and a letter that ends it.
        plain.extend(parts.map(|part| part.split_once('m').map_or("", |(_, text)| text)));
        plain
    }

    /// The end of the log, for messages.
    pub fn log_tail(&self) -> String {
        let log = self.plain_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::Term => "-TERM",
            Signal::Hup => "-HUP",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        // The shell's own `kill`: not every machine has the program.
        let script = format!("kill {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().context("run sh")?;
        ensure!(status.success(), "{script}: {status}");
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill a child")?;
        self.child.wait().context("wait for a child")?;
        Ok(())
    }

    /// Waits until it ends of itself.
    pub fn exit(&mut self, most: Duration) -> Result<ExitStatus> {
        let ended = wait::until("the process ends", most, || self.child.try_wait().context("look after a child"));
        ended.with_context(|| self.log_tail())
    }

    /// Fails if it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait().context("look after a child")? {
            Some(status) => bail!("the process ended: {status}\n{}", self.log_tail()),
            None => Ok(()),
        }
    }

    /// Waits until GET `path` of `address` gives 200, as long as the process lives.
    pub fn until_ready(&mut self, address: &str, path: &str, most: Duration) -> Result<()> {
        let mut client = Client::new(address, Duration::from_secs(5));
        let ready = wait::until(&format!("http://{address}{path}"), most, || {
            self.ensure_running()?;
            Ok(client.get(path).ok().filter(|response| response.status == 200))
        });
        ready.with_context(|| self.log_tail()).map(drop)
    }

    /// Resident bytes that are no file's.
    pub fn rss_anon(&self) -> Result<u64> {
        self.memory("RssAnon:")
    }

    /// Resident bytes.
    pub fn rss(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most bytes that were resident since [`Process::forget_rss_peak`].
    pub fn rss_peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Lets the peak of resident bytes be what is resident now. Source: proc_pid_clear_refs(5).
    pub fn forget_rss_peak(&self) -> Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").context("write clear_refs")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
        let kb: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{field} {line}"))?;
        Ok(kb << 10)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it is gone already, which is what we want.
        self.kill().ok();
    }
}
