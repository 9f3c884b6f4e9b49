//! The cost of scraping: a steady state of some minutes, after all targets are up.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::running::Running;
use super::{Bench, Phase, answer_of};
use crate::answer::{ask_instant, parse};
use crate::http::Client;
use crate::machine;
use crate::page::Served;
use crate::process::tied_to_us;
use crate::report::{Report, Unit};
use crate::system::{Purpose, System};
use crate::verify::Verdict;

const INTERVAL_S: u32 = 5;

/// The server of the pages; ends when its input ends.
struct PageServer {
    child: Child,
    address: String,
}

impl PageServer {
    fn start(bench: &Bench, targets: usize) -> Result<PageServer> {
        let mut command = tied_to_us(&bench.generator(targets, "serve"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the page server")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line).context("its address")?;
        let said: serde_json::Value = serde_json::from_str(&line).context("the page server said no address")?;
        let address = said["address"].as_str().context("the page server said no address")?.to_string();
        Ok(PageServer { child, address })
    }

    fn served(&self) -> Result<Served> {
        let response = Client::new(&self.address, Duration::from_secs(10)).get("/stats")?;
        serde_json::from_slice(&response.success("stats")?.body).context("stats of the page server")
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Scrapes all targets every five seconds.
pub(super) fn measure(bench: &Bench, run: usize, system: &System, report: &mut Report) -> Result<()> {
    let fleet = bench.fleet(bench.scale.targets);
    let server = PageServer::start(bench, fleet.targets())?;
    let purpose = Purpose { scrape: Some((server.address.clone(), INTERVAL_S)), ..Purpose::default() };
    let mut running = Running::start(bench, system, &fleet, &purpose)?;
    let all = fleet.targets().to_string();
    running.wait("bring all targets up", Duration::from_secs(120), |running| {
        std::thread::sleep(Duration::from_millis(500));
        let up = ask_instant(&mut running.client(), "sum(up)", machine::now_ms());
        up.is_ok_and(|body| {
            parse(&body).is_ok_and(|sum| sum.first().is_some_and(|s| s.value.is_some_and(|v| v.1 == all)))
        })
    })?;
    std::thread::sleep(Duration::from_secs(u64::from(INTERVAL_S) * bench.scale.warm_up_scrapes));

    let (served_before, cpu_before) = (server.served()?, running.process.cpu_seconds()?);
    std::thread::sleep(Duration::from_secs(bench.scale.scrape_s));
    let (served, cpu) = (server.served()?, running.process.cpu_seconds()? - cpu_before);
    let samples = (served.samples - served_before.samples) as f64;
    let [rss, rss_peak, _] = running.memory_per_series()?;
    let due = bench.scale.scrape_s as f64 / f64::from(INTERVAL_S) * (fleet.targets() * 1_000) as f64;
    let mut note = |metric, value, unit| report.note(run, system, (Phase::Scrape.id(), metric), value, unit);
    note("CPU per scraped sample", cpu / samples * 1e6, Unit::CpuMicrosPerSample)?;
    note("samples per CPU-second", samples / cpu, Unit::SamplesPerCpuSecond)?;
    note("scraped of what was due", samples / due, Unit::Number)?;
    note("VmRSS per series at the end", rss, Unit::Bytes)?;
    note("VmRSS per series at its peak", rss_peak, Unit::Bytes)?;

    if let Some(path) = system.flush_path() {
        running.client().get(path)?.success("flush")?;
    }
    let mut check = bench.generator(fleet.targets(), "verify-scraped");
    check.args(["--address", &running.address, "--interval-s", &INTERVAL_S.to_string()]);
    check.args(["--check-targets", &(bench.scale.raw_targets * 4).to_string()]);
    check.args(["--window-s", &bench.scale.scrape_s.min(60).to_string()]);
    let verdict: Verdict = answer_of(&check)?;
    note("series that read back wrong", verdict.mismatches as f64, Unit::Number)?;
    verdict.ensure_equal()
}
