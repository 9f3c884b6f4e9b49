//! A system that runs in a folder of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Bench, SETTLE_TIME_MAX};
use crate::answer::{ask_instant, parse};
use crate::fleet::Fleet;
use crate::http::Client;
use crate::process::{Memory, Process};
use crate::system::{Purpose, System};

/// How long a start may take.
const READY_TIME_MAX: Duration = Duration::from_secs(300);
/// How often a starting system is asked.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// A child with its folder, which is removed with it.
pub(super) struct Running<'a> {
    pub(super) system: &'a System,
    pub(super) process: Process,
    pub(super) address: String,
    pub(super) folder: PathBuf,
    port: u16,
    fleet: &'a Fleet,
}

impl<'a> Running<'a> {
    /// Starts a system with nothing stored, and waits until it is ready.
    pub(super) fn start(bench: &Bench, system: &'a System, fleet: &'a Fleet, purpose: &Purpose) -> Result<Running<'a>> {
        let folder = bench.work.join(system.kind.id());
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("find a free port")?.port();
        let process = Process::start(&system.command(&folder, port, fleet, purpose)?, &folder.join("log"))?;
        let mut running = Running { system, process, address: format!("127.0.0.1:{port}"), folder, port, fleet };
        running.wait("become ready", READY_TIME_MAX, |running| {
            let ready = running.client().get(system.ready_path());
            ready.is_ok_and(|response| response.status == 200)
        })?;
        Ok(running)
    }

    /// SIGKILL, and a start on the same folder; the time until `query` has an answer at `at_ms`.
    pub(super) fn kill_and_restart(&mut self, purpose: &Purpose, query: &str, at_ms: i64) -> Result<Duration> {
        self.process.kill()?;
        let command = self.system.command(&self.folder, self.port, self.fleet, purpose)?;
        let began = Instant::now();
        self.process = Process::start(&command, &self.folder.join("log"))?;
        self.wait("answer a query", READY_TIME_MAX, |running| {
            let answer = ask_instant(&mut running.client(), query, at_ms);
            answer.is_ok_and(|body| parse(&body).is_ok_and(|series| !series.is_empty()))
        })?;
        Ok(began.elapsed())
    }

    /// Polls until a condition holds; fails when the process ends or the time is up, with the end of the log.
    pub(super) fn wait(&mut self, what: &str, most: Duration, mut holds: impl FnMut(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        while !holds(self) {
            let running = self.process.ensure_running();
            if running.is_err() || began.elapsed() > most {
                let state = running.err().map_or(format!("not within {most:?}"), |error| error.to_string());
                bail!(
                    "{} did not {what}: {state}; its log ends (newest first): {:#?}",
                    self.system.kind.id(),
                    self.log_end()
                );
            }
            std::thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }

    /// The last lines of the log, newest first.
    fn log_end(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().rev().take(5).map(str::to_string).collect()
    }

    /// A client with a connection of its own.
    pub(super) fn client(&self) -> Client {
        Client::new(&self.address, Duration::from_secs(600))
    }

    /// Makes what was written visible, and waits until the system has nothing left to do: for the scale's time at least,
    /// since VictoriaMetrics turns to the newest samples after ten seconds.
    pub(super) fn finish_writing(&self, bench: &Bench) -> Result<()> {
        if let Some(path) = self.system.flush_path() {
            self.client().get(path)?.success("flush")?;
        }
        std::thread::sleep(Duration::from_secs(bench.scale.settle_s));
        self.process.settle(SETTLE_TIME_MAX)
    }

    /// Memory per series, in bytes.
    pub(super) fn memory_per_series(&self) -> Result<[f64; 3]> {
        let Memory { rss, rss_peak, rss_anon } = self.process.memory()?;
        let series = (self.fleet.targets() * crate::fleet::SERIES_PER_TARGET) as f64;
        Ok([rss, rss_peak, rss_anon].map(|bytes| bytes as f64 / series))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It was to run until now: that it did not explains the failure that follows, a refused connection mostly.
        if let Err(ended) = self.process.ensure_running() {
            eprintln!("{}: {ended}; its log ends (newest first): {:#?}", self.system.kind.id(), self.log_end());
        }
        // A folder that stays is emptied by the next start; while the process runs it would only grow again.
        self.process.kill().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
