//! A system under measurement as a child process: started in a folder of its own, killed the hard way, its cost read
//! from `/proc`.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine::field_kb;

/// Ticks per second in `/proc/PID/stat`: USER_HZ, 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident now.
    pub rss: u64,
    /// The most that was ever resident.
    pub rss_peak: u64,
    /// The part of `rss` that is no file's: what cannot be dropped.
    pub rss_anon: u64,
}

impl Process {
    /// Starts a command whose output is appended to `log`. Where the machine has `setpriv`, the child dies with us.
    pub fn start(command: &Command, log: &Path) -> Result<Process> {
        let output =
            File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        let mut tied = tied_to_us(command);
        let errors = output.try_clone().context("share the log")?;
        let child = tied.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Process { child: child.with_context(|| format!("start {command:?}"))? })
    }

    /// Seconds of CPU so far, of all threads, in the kernel too.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_of(&self.child.id().to_string())
    }

    /// Memory now.
    pub fn memory(&self) -> Result<Memory> {
        let status = read(&self.child.id().to_string(), "status")?;
        let bytes =
            |name: &str| field_kb(&status, name).map(|kb| kb << 10).with_context(|| format!("{name} in status"));
        Ok(Memory { rss: bytes("VmRSS")?, rss_peak: bytes("VmHWM")?, rss_anon: bytes("RssAnon")? })
    }

    /// Waits until the process has nothing left to do: less than 2 % of a core for a second. At most `most`.
    pub fn settle(&self, most: Duration) -> Result<()> {
        let (began, mut quiet) = (Instant::now(), 0);
        let mut before = self.cpu_seconds()?;
        while quiet < 2 && began.elapsed() < most {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.cpu_seconds()?;
            quiet = if now - before < 0.011 { quiet + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// Fails if the process has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait().context("look after a child")? {
            Some(status) => bail!("the process ended: {status}"),
            None => Ok(()),
        }
    }

    /// Stops the process (`STOP`) or lets it go on (`CONT`).
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status();
        ensure!(status.context("run kill")?.success(), "kill -{signal} {} failed", self.child.id());
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill a child")?;
        self.child.wait().context("wait for a child")?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already, which is what we want.
        self.kill().ok();
    }
}

/// Seconds of CPU that a process, or `self`, has used.
pub fn cpu_seconds_of(process: &str) -> Result<f64> {
    let stat = read(process, "stat")?;
    // The second field is the program's name in brackets, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = (ticks(11).context("utime")?, ticks(12).context("stime")?);
    Ok((user + system) / TICKS_PER_SECOND)
}

fn read(process: &str, file: &str) -> Result<String> {
    let path = format!("/proc/{process}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

/// The same command, so that the kernel ends it when we end, whatever ends us. `setpriv` execs: the process id stays.
pub fn tied_to_us(command: &Command) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut tied = if setpriv.exists() {
        let mut tied = Command::new(setpriv);
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        tied
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    tied
}

/// Bytes of all files below a folder; files that vanish meanwhile count nothing.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries.with_context(|| format!("list {}", folder.display()))?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.context("list a folder")?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_memory_of_a_busy_child_are_read_and_it_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        let log = std::env::temp_dir().join(format!("benches-process-{}", std::process::id()));
        let mut process = Process::start(&command, &log).unwrap();
        while process.cpu_seconds().unwrap() < 0.02 {
            std::thread::yield_now();
        }
        let memory = process.memory().unwrap();
        assert!(memory.rss > 100 << 10 && memory.rss_peak >= memory.rss && memory.rss_anon <= memory.rss, "{memory:?}");
        process.ensure_running().unwrap();
        process.kill().unwrap();
        assert!(process.ensure_running().is_err() && process.memory().is_err());
        std::fs::remove_file(log).unwrap();
    }
}
