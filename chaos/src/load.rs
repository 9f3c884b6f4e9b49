//! Writing: each connection sends its requests in order, and none before the outcome of the one before is on disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::http::Client;
use benches::machine::now_ms;
use e2e::random::Random;

use crate::plan::{PLAN_FILE, Plan};
use crate::record::{self, Outcome, Record, Recorder};
use crate::wire::{self, Requests};

/// Within the ledger's folder: while it is there, nothing more is sent.
pub const STOP_FILE: &str = "stop";
/// Samples keep this far behind the clock.
const BEHIND_CLOCK_MS: i64 = 1_000;
const RETRY_PAUSE_MIN_MS: u64 = 20;
const RETRY_PAUSE_MAX_MS: u64 = 500;

/// How a ledger writes; what it writes is the plan's.
#[derive(Clone, Debug)]
pub struct Options {
    /// host:port of whoever takes remote write. More than one: connections begin at different ones, a failure goes on to the
    /// next.
    pub addresses: Vec<String>,
    /// Where the ledger is kept.
    pub folder: PathBuf,
    /// Ends after so long, or so many requests of each connection, or with [`STOP_FILE`].
    pub most: Duration,
    /// See `most`.
    pub requests_max: u64,
    /// A request is sent again for so long before it is given up.
    pub retry_for: Duration,
    /// An answer may take so long.
    pub timeout: Duration,
    /// From a record to the next request.
    pub pause: Duration,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples acknowledged.
    pub acked: u64,
    /// Samples refused.
    pub refused: u64,
    /// Samples given up.
    pub given_up: u64,
    /// Requests that were sent more than once.
    pub retried: u64,
}

/// host:port of a URL that has no path.
pub fn address_of(url: &str) -> Result<String> {
    ensure!(!url.starts_with("https://"), "{url}: TLS is not spoken here");
    let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').with_context(|| format!("{url}: no port"))?;
    ensure!(!host.is_empty() && port.parse::<u16>().is_ok() && !address.contains('/'), "{url}: not http://HOST:PORT");
    Ok(address.to_string())
}

/// Makes the folder of a ledger. One that is there goes on with the plan it has.
pub fn create(folder: &Path, plan: &Plan) -> Result<Plan> {
    plan.check()?;
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    if folder.join(PLAN_FILE).exists() {
        return Plan::load(folder);
    }
    let unfinished = folder.join("plan.unfinished");
    std::fs::write(&unfinished, serde_json::to_vec_pretty(plan)?).context("write the plan")?;
    std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).context("sync the plan")?;
    std::fs::rename(&unfinished, folder.join(PLAN_FILE)).context("name the plan")?;
    record::sync_folder(folder)?;
    Ok(plan.clone())
}

/// Writes until the end that the options name.
pub fn write(plan: &Plan, options: &Options) -> Result<Written> {
    ensure!(!options.addresses.is_empty(), "no address to write to");
    // All files are there before anything is sent: one that is missing has sent nothing.
    let opened: Vec<_> =
        (0..plan.connections).map(|c| Recorder::open(&options.folder, c)).collect::<Result<Vec<_>>>()?;
    record::sync_folder(&options.folder)?;
    let failed = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let threads: Vec<_> = opened
            .into_iter()
            .enumerate()
            .map(|(connection, (recorder, account))| {
                let sender = Sender::new(plan, options, connection as u64, recorder, &failed);
                scope.spawn(move || sender.run(account.requests.len() as u64))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a sender does not panic")).collect::<Vec<_>>()
    });
    let mut total = Written::default();
    for one in written {
        let one = one?;
        total.acked += one.acked;
        total.refused += one.refused;
        total.given_up += one.given_up;
        total.retried += one.retried;
    }
    Ok(total)
}

struct Sender<'a> {
    plan: &'a Plan,
    options: &'a Options,
    connection: u64,
    recorder: Recorder,
    requests: Requests,
    /// By address.
    clients: Vec<Client>,
    /// Index of the client in use.
    at: usize,
    random: Random,
    /// Another sender could not go on.
    failed: &'a AtomicBool,
}

impl<'a> Sender<'a> {
    fn new(
        plan: &'a Plan,
        options: &'a Options,
        connection: u64,
        recorder: Recorder,
        failed: &'a AtomicBool,
    ) -> Sender<'a> {
        let clients: Vec<Client> =
            options.addresses.iter().map(|address| Client::new(address, options.timeout)).collect();
        let at = usize::try_from(connection).expect("few connections") % clients.len();
        let random = Random::new(plan.seed ^ connection);
        let requests = Requests::new(plan, connection);
        Sender { plan, options, connection, recorder, requests, clients, at, random, failed }
    }

    fn run(mut self, first: u64) -> Result<Written> {
        let result = self.send_all(first);
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result.with_context(|| format!("connection {}", self.connection))
    }

    fn send_all(&mut self, first: u64) -> Result<Written> {
        let (began, mut written) = (Instant::now(), Written::default());
        let last = self.plan.requests_max().min(self.options.requests_max);
        let mut request = first;
        while request < last && self.wait_for_clock(request, began) {
            let body = self.requests.compressed(self.plan, request)?;
            let (outcome, attempts) = self.send(&body);
            self.recorder.append(&Record { outcome, attempts, request, at_ms: now_ms() })?;
            let samples = self.plan.request_samples();
            match outcome {
                Outcome::Acked => written.acked += samples,
                Outcome::Refused(_) => written.refused += samples,
                Outcome::GivenUp | Outcome::Finished => written.given_up += samples,
            }
            written.retried += u64::from(attempts > 1);
            request += 1;
            std::thread::sleep(self.options.pause);
        }
        if request == first && self.recorder.in_flight() {
            // An earlier ledger may have sent it, and we do not any more.
            self.recorder.append(&Record { outcome: Outcome::GivenUp, attempts: 0, request, at_ms: now_ms() })?;
            written.given_up += self.plan.request_samples();
            request += 1;
        }
        self.recorder.append(&Record { outcome: Outcome::Finished, attempts: 0, request, at_ms: now_ms() })?;
        Ok(written)
    }

    /// False where the ledger is to end.
    fn wait_for_clock(&self, request: u64, began: Instant) -> bool {
        let newest_ms = self.plan.base_ms
            + self.plan.step_ms * i64::try_from(self.plan.numbers_of(request + 1).start).expect("numbers have 24 bits");
        loop {
            let stop = self.failed.load(Ordering::SeqCst)
                || began.elapsed() >= self.options.most
                || self.options.folder.join(STOP_FILE).exists();
            if stop {
                return false;
            }
            if newest_ms + BEHIND_CLOCK_MS <= now_ms() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends until there is a verdict or the time for it has passed.
    fn send(&mut self, body: &[u8]) -> (Outcome, u32) {
        let (began, mut pause_ms) = (Instant::now(), RETRY_PAUSE_MIN_MS);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let answer = self.clients[self.at].request("POST", "/api/v1/write", &wire::HEADERS, body);
            match answer.map(|answer| answer.status) {
                Ok(200..=299) => return (Outcome::Acked, attempts),
                Ok(429 | 500..) | Err(_) => {}
                Ok(status) => return (Outcome::Refused(status), attempts),
            }
            if began.elapsed() >= self.options.retry_for || self.failed.load(Ordering::SeqCst) {
                return (Outcome::GivenUp, attempts);
            }
            self.at = (self.at + 1) % self.clients.len();
            std::thread::sleep(Duration::from_millis(pause_ms / 2 + self.random.below(pause_ms)));
            pause_ms = (pause_ms * 2).min(RETRY_PAUSE_MAX_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for (url, expected) in [
            ("http://127.0.0.1:9090", Some("127.0.0.1:9090")),
            ("http://localhost:1/", Some("localhost:1")),
            ("host:80", Some("host:80")),
            ("https://host:80", None),
            ("http://host", None),
            ("http://host:80/api", None),
        ] {
            assert_eq!(address_of(url).ok().as_deref(), expected, "{url}");
        }
    }
}
