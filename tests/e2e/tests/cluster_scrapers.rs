//! Scrapers as processes: one that leaves, is killed or stands still costs no more than it must, and no scrape counts twice.
//!
//! What was scraped is judged by the timestamps that were stored. All that a busy machine can do to them is make ticks missing: a
//! [`Stalls`] measures how long threads had to wait here, and gaps may be as much longer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::api::{self, Range};
use e2e::cluster::{Cluster, PATIENCE};
use e2e::process::Signal;
use e2e::{Client, now_ms, wait};

const INTERVAL_MS: i64 = 4_000;
/// A node that is silent for so long has its targets moved.
const LEASE_MS: i64 = 10_000;
/// For what a busy machine adds and [`Stalls`] may not see.
const SLACK_MS: i64 = 30_000;
const TARGETS: usize = 24;
const SCRAPERS: [&str; 3] = ["scraper-1", "scraper-2", "scraper-3"];
const QUERIERS: [&str; 2] = ["querier-1", "querier-2"];
/// A departure under which a busy machine lost a tick proves nothing and is repeated; so often.
const ROUNDS: usize = 6;

/// Milliseconds by target.
type Ticks = BTreeMap<String, Vec<i64>>;

/// Answers every request with a counter that never stands still.
fn serve(stream: &TcpStream, began: Instant) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream;
    for line in BufReader::new(stream).lines() {
        if !line?.is_empty() {
            continue;
        }
        let body = format!("# TYPE x counter\nx {}\n", began.elapsed().as_millis());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        out.write_all(format!("{head}{body}").as_bytes())?;
    }
    Ok(())
}

/// Something to scrape, for as long as the test runs; its address.
fn start_target() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let (address, began) = (listener.local_addr()?.to_string(), Instant::now());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks is its scraper's to notice.
            std::thread::spawn(move || serve(&stream, began).ok());
        }
    });
    Ok(address)
}

/// How long threads of this machine had to wait for their turn.
struct Stalls {
    total_ms: Arc<AtomicI64>,
    ended: Arc<AtomicBool>,
}

impl Stalls {
    fn watch() -> Stalls {
        let stalls = Stalls { total_ms: Arc::default(), ended: Arc::default() };
        let (total_ms, ended) = (stalls.total_ms.clone(), stalls.ended.clone());
        std::thread::spawn(move || {
            let pause = Duration::from_millis(20);
            while !ended.load(Ordering::SeqCst) {
                let began = Instant::now();
                std::thread::sleep(pause);
                let late = began.elapsed().saturating_sub(pause).as_millis();
                // A few are the timer's own.
                if late > 5 {
                    total_ms.fetch_add(i64::try_from(late).unwrap_or(i64::MAX), Ordering::SeqCst);
                }
            }
        });
        stalls
    }

    /// All waits together.
    fn total_ms(&self) -> i64 {
        self.total_ms.load(Ordering::SeqCst)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// One ruler, one ingester, two queriers, three scrapers, and targets that are spread over these.
struct Scraped {
    cluster: Cluster,
    stalls: Stalls,
}

impl Scraped {
    fn start(folder: &Path) -> Result<Scraped> {
        let mut cluster = Cluster::new(folder, 1)?;
        cluster.flag("ruler-1", "--cluster.replication-factor=1".to_owned());
        cluster.flag("ruler-1", "--cluster.bootstrap-ingesters=1".to_owned());
        for (role, count) in [("ingester", 1), ("querier", QUERIERS.len()), ("scraper", SCRAPERS.len())] {
            for n in 1..=count {
                cluster.add(role, &format!("z{n}"))?;
            }
        }
        let address = start_target()?;
        let target = |n| format!("  - {{targets: ['{address}'], labels: {{__metrics_path__: '/{n}', n: '{n}'}}}}\n");
        let targets: String = (0..TARGETS).map(target).collect();
        cluster.config = format!(
            "global: {{scrape_interval: {INTERVAL_MS}ms, scrape_timeout: {INTERVAL_MS}ms}}\nscrape_configs:\n- job_name: t\n  \
             static_configs:\n{targets}"
        );
        cluster.start_all()?;
        let scraped = Scraped { cluster, stalls: Stalls::watch() };
        scraped.until_held_by(&SCRAPERS)?;
        Ok(scraped)
    }

    /// Which scraper has which target, by the page of a querier. Each is there once.
    fn holders(&self, querier: &str) -> Result<BTreeMap<String, String>> {
        let data = self.cluster.data_of(querier, "/api/v1/targets?state=active")?;
        let targets = data["activeTargets"].as_array().context("activeTargets")?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).with_context(|| data.to_string());
        let holders = targets.iter().map(|target| Ok((text(&target["labels"]["n"])?, text(&target["scraper"])?)));
        let holders: BTreeMap<String, String> = holders.collect::<Result<_>>()?;
        ensure!(holders.len() == targets.len(), "a target is there twice: {data}");
        Ok(holders)
    }

    /// Waits until the pages of all queriers show all targets, and that just these scrapers have them.
    fn until_held_by(&self, scrapers: &[&str]) -> Result<BTreeMap<String, String>> {
        let expected: BTreeSet<&str> = scrapers.iter().copied().collect();
        let mut last = BTreeMap::new();
        for querier in QUERIERS {
            last = wait::until_ok(&format!("{querier}: targets of {expected:?}"), PATIENCE, || {
                let holders = self.holders(querier)?;
                let found: BTreeSet<&str> = holders.values().map(String::as_str).collect();
                ensure!(holders.len() == TARGETS && found == expected, "{holders:?}");
                Ok(holders)
            })?;
        }
        Ok(last)
    }

    /// The scraper with the most targets, and these.
    fn busiest(&self) -> Result<(String, Vec<String>)> {
        let mut held = BTreeMap::<String, Vec<String>>::new();
        for (target, scraper) in self.until_held_by(&SCRAPERS)? {
            held.entry(scraper).or_default().push(target);
        }
        held.into_iter().max_by_key(|(_, targets)| targets.len()).context("nobody has a target")
    }

    /// When each target was scraped since then, as it is stored.
    fn ticks(&self, since_ms: i64) -> Result<Ticks> {
        wait::until_ok("a complete answer", PATIENCE, || self.ticks_at_once(since_ms))
    }

    fn ticks_at_once(&self, since_ms: i64) -> Result<Ticks> {
        let seconds = (now_ms() - since_ms) / 1000 + 1;
        let found = self.cluster.query("querier-1", &format!("x[{seconds}s]"))?;
        ensure!(found.annotations.is_empty(), "{:?}", found.annotations);
        let of = |one: &api::Points| one.samples.iter().map(|sample| sample.0).filter(|at| *at >= since_ms).collect();
        Ok(found.answer.series().iter().map(|one| (one.labels["n"].clone(), of(one))).collect())
    }

    /// Waits until each target was scraped so often since then.
    fn until_scraped(&self, since_ms: i64, times: usize) -> Result<()> {
        wait::until_ok(&format!("every target is scraped {times} times since {since_ms}"), PATIENCE, || {
            let ticks = self.ticks_at_once(since_ms)?;
            ensure!(ticks.len() == TARGETS && ticks.values().all(|at| at.len() >= times), "{ticks:?}");
            Ok(())
        })
    }
}

/// Every scrape counts for a tick, and each tick once, whoever scraped: so no rate and no count is of two scrapers.
fn check_on_ticks(ticks: &Ticks) -> Result<()> {
    for (target, at) in ticks {
        let phases: BTreeSet<i64> = at.iter().map(|at| at.rem_euclid(INTERVAL_MS)).collect();
        ensure!(phases.len() == 1, "target {target} is scraped off its ticks: {at:?}");
        ensure!(at.is_sorted_by(|a, b| a < b), "target {target} is scraped twice at a time: {at:?}");
    }
    Ok(())
}

/// The longest time between two scrapes of one of these targets.
fn longest_gap_ms(ticks: &Ticks, targets: &[String]) -> i64 {
    let gaps = targets.iter().flat_map(|target| ticks[target].windows(2).map(|pair| pair[1] - pair[0]));
    gaps.max().unwrap_or(i64::MAX)
}

#[test]
fn a_scraper_that_leaves_costs_no_interval_and_its_rates_go_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut scraped = Scraped::start(folder.path())?;
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS {
        let (leaver, targets) = scraped.busiest()?;
        let began_ms = now_ms();
        scraped.until_scraped(began_ms, 3)?;
        scraped.cluster.stop(&leaver)?;
        let others: Vec<&str> = SCRAPERS.into_iter().filter(|name| *name != leaver).collect();
        scraped.until_held_by(&others)?;
        let left_ms = now_ms();
        scraped.until_scraped(left_ms, 3)?;

        let ticks = scraped.ticks(began_ms)?;
        check_on_ticks(&ticks)?;
        let gap_ms = longest_gap_ms(&ticks, &targets);
        let end_ms = left_ms + INTERVAL_MS;
        let range = Range { start_ms: began_ms + 3 * INTERVAL_MS, end_ms, step_ms: 1000 };
        let steps = ((range.end_ms - range.start_ms) / range.step_ms + 1) as usize;
        let rates = wait::until_ok("rates", PATIENCE, || {
            let mut client = Client::new(scraped.cluster.http("querier-2"), PATIENCE);
            api::query_range(&mut client, "rate(x[1m])", &range)
        })?;
        let whole = rates.answer.series().iter().filter(|one| one.samples.len() == steps).count();
        if gap_ms == INTERVAL_MS && whole == TARGETS {
            return Ok(());
        }
        rounds.push(format!("{leaver}: {} targets, gap {gap_ms} ms, {whole} whole rates", targets.len()));
        scraped.cluster.start(&leaver)?;
    }
    // Each time: that is no accident of a busy machine.
    bail!("{rounds:?}; threads waited for {} ms", scraped.stalls.total_ms())
}

#[test]
fn targets_of_a_killed_scraper_are_scraped_elsewhere_within_the_lease_and_an_interval() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut scraped = Scraped::start(folder.path())?;
    let (killed, targets) = scraped.busiest()?;
    let began_ms = now_ms();
    scraped.until_scraped(began_ms, 2)?;
    let before_ms = scraped.stalls.total_ms();
    scraped.cluster.kill(&killed)?;
    let others: Vec<&str> = SCRAPERS.into_iter().filter(|name| *name != killed).collect();
    scraped.until_held_by(&others)?;
    scraped.until_scraped(now_ms(), 2)?;

    let ticks = scraped.ticks(began_ms)?;
    check_on_ticks(&ticks)?;
    let stalled_ms = scraped.stalls.total_ms() - before_ms;
    let (gap_ms, most_ms) = (longest_gap_ms(&ticks, &targets), LEASE_MS + INTERVAL_MS + SLACK_MS + stalled_ms);
    ensure!(gap_ms <= most_ms, "nobody scraped for {gap_ms} ms, {most_ms} at most: {ticks:?}");
    Ok(())
}

#[test]
fn a_scraper_that_stood_still_beyond_its_lease_counts_no_scrape_twice() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut scraped = Scraped::start(folder.path())?;
    let (still, targets) = scraped.busiest()?;
    let began_ms = now_ms();
    scraped.until_scraped(began_ms, 2)?;
    scraped.cluster.process(&still)?.signal(Signal::Stop)?;
    let still_ms = now_ms();
    // It cannot have been the one that stands still: its lease is over.
    scraped.until_scraped(still_ms + INTERVAL_MS, 3)?;
    scraped.cluster.process(&still)?.signal(Signal::Continue)?;
    let again_ms = now_ms();
    // It takes its targets back.
    for querier in QUERIERS {
        wait::until_ok(&format!("{querier}: {still} has its targets again"), PATIENCE, || {
            let holders = scraped.holders(querier)?;
            ensure!(targets.iter().all(|target| holders.get(target) == Some(&still)), "{holders:?}");
            Ok(())
        })?;
    }
    scraped.until_scraped(again_ms + INTERVAL_MS, 4)?;
    let ticks = scraped.ticks(began_ms)?;
    check_on_ticks(&ticks)?;
    // Nor does a window hold more of them than it has ticks.
    let window_s = (now_ms() - began_ms) / 1000;
    let most = window_s * 1000 / INTERVAL_MS + 1;
    let expr = format!("count_over_time(x[{window_s}s])");
    let counts = wait::until_ok("counts", PATIENCE, || scraped.cluster.query("querier-2", &expr))?;
    ensure!(counts.answer.series().len() == TARGETS, "{counts:?}");
    for one in counts.answer.series() {
        ensure!(one.samples[0].1 <= most as f64, "{one:?}, {most} at most");
    }
    Ok(())
}
