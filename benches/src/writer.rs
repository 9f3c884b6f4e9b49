//! Sends a fleet's history by remote write in the order of time, as fast as the system takes it or at a steady rate.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, GENERATION_GRID_MS, SERIES_PER_TARGET};
use crate::http::Client;
use crate::process;
use crate::wire::Batch;

/// Requests of which one connection may be ahead of the slowest: a Prometheus refuses what is older than its newest
/// sample by more than an hour.
const LEAD_ROUNDS_MAX: u64 = 8;
/// How long a refused request is repeated before the run fails.
const RETRY_TIME_MAX: Duration = Duration::from_secs(120);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// What to send, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// host:port.
    pub address: String,
    /// Path of the receiver.
    pub path: String,
    /// Time of the first sample of every series; a multiple of [`GENERATION_GRID_MS`].
    pub start_ms: i64,
    /// Time between two samples of a series.
    pub step_ms: i64,
    /// Samples per series.
    pub steps: u64,
    /// Samples per series in each request; divides `steps`.
    pub samples_per_request: usize,
    /// Connections, each with targets of its own.
    pub connections: usize,
    /// Series in each request.
    pub series_per_request: usize,
    /// Samples per second over all connections, none for as fast as the system takes them.
    pub rate: Option<f64>,
}

/// What was sent and acknowledged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sent {
    /// Acknowledged samples.
    pub samples: u64,
    /// Acknowledged requests.
    pub requests: u64,
    /// Bytes of their bodies, compressed.
    pub bytes: u64,
    /// Bytes of their bodies before compression.
    pub bytes_raw: u64,
    /// Requests that had to be repeated.
    pub repeats: u64,
    /// Wall time.
    pub seconds: f64,
    /// CPU of the generator itself.
    pub cpu_seconds: f64,
    /// Milliseconds until requests were acknowledged: median, 99th percentile, longest. At a steady rate they count from
    /// when a request was due: one that waits because the one before it does has waited too.
    pub latency_ms: [f64; 3],
    /// By how many milliseconds the latest request was sent after it was due.
    pub late_ms: f64,
}

impl Plan {
    /// The time of the last sample.
    pub fn end_ms(&self) -> i64 {
        self.start_ms + (self.steps as i64 - 1) * self.step_ms
    }

    fn validate(&self) -> Result<()> {
        let round_ms = self.samples_per_request as i64 * self.step_ms;
        if self.start_ms % GENERATION_GRID_MS != 0 || GENERATION_GRID_MS % round_ms != 0 {
            bail!("the start, and the time that a request spans, must fit a grid of {GENERATION_GRID_MS} ms");
        }
        if self.steps == 0 || !self.steps.is_multiple_of(self.samples_per_request as u64) {
            bail!("{} samples per series do not fill requests of {}", self.steps, self.samples_per_request);
        }
        if self.connections == 0 || self.series_per_request == 0 {
            bail!("connections and series per request must be positive");
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            bail!("the rate must be positive");
        }
        Ok(())
    }
}

/// Sends everything. Fails with the first refusal that is for good.
pub fn send(fleet: &Fleet, plan: &Plan) -> Result<Sent> {
    plan.validate()?;
    let pace = Pace::new(plan.connections);
    let started = Instant::now();
    let results = std::thread::scope(|scope| {
        let connections: Vec<_> = (0..plan.connections)
            .map(|connection| {
                let pace = &pace;
                scope.spawn(move || {
                    // Built in the thread that sends: encoding the labels once takes a while too.
                    let result = send_share(fleet, plan, connection, pace);
                    pace.leave(connection, result.is_err());
                    result
                })
            })
            .collect();
        connections.into_iter().map(|thread| thread.join().expect("a sender does not panic")).collect::<Vec<_>>()
    });
    let (mut sent, mut latencies_ms) = (Sent::default(), Vec::new());
    for result in results {
        let (share, mut times_ms) = result?;
        latencies_ms.append(&mut times_ms);
        sent.late_ms = sent.late_ms.max(share.late_ms);
        sent.samples += share.samples;
        sent.requests += share.requests;
        sent.bytes += share.bytes;
        sent.bytes_raw += share.bytes_raw;
        sent.repeats += share.repeats;
    }
    sent.seconds = started.elapsed().as_secs_f64();
    sent.cpu_seconds = process::cpu_seconds_of("self")?;
    latencies_ms.sort_by(f64::total_cmp);
    sent.latency_ms = [0.5, 0.99, 1.0].map(|share| quantile(&latencies_ms, share));
    Ok(sent)
}

/// The smallest value that this share of the sorted ones does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// When requests of one connection are due.
struct Schedule {
    began: Instant,
    /// Seconds per sample of this connection; none: at once.
    sample_s: Option<f64>,
}

impl Schedule {
    /// The connections take turns.
    fn begin(plan: &Plan, connection: usize) -> Schedule {
        let sample_s = plan.rate.map(|rate| plan.connections as f64 / rate);
        let request = plan.series_per_request * plan.samples_per_request;
        let turn_s = sample_s.unwrap_or(0.0) * request as f64 * connection as f64 / plan.connections as f64;
        Schedule { began: Instant::now() + Duration::from_secs_f64(turn_s), sample_s }
    }

    /// Waits until the request after this many samples is due; when that was, and by how many milliseconds it is late.
    fn wait(&self, samples: u64) -> (Instant, f64) {
        let Some(sample_s) = self.sample_s else { return (Instant::now(), 0.0) };
        let due = self.began + Duration::from_secs_f64(sample_s * samples as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        (due, due.elapsed().as_secs_f64() * 1e3)
    }
}

/// What one connection sent, and its latencies in milliseconds.
fn send_share(fleet: &Fleet, plan: &Plan, connection: usize, pace: &Pace) -> Result<(Sent, Vec<f64>)> {
    let bound = |connection: usize| connection * fleet.targets() / plan.connections;
    let members: Vec<(usize, usize)> = (bound(connection)..bound(connection + 1))
        .flat_map(|target| (0..SERIES_PER_TARGET).map(move |template| (target, template)))
        .collect();
    let mut batches: Vec<Batch> = members
        .chunks(plan.series_per_request)
        .map(|members| Batch::new(fleet, members, plan.samples_per_request, plan.start_ms))
        .collect();
    let mut client = Client::new(&plan.address, ANSWER_TIME_MAX);
    let (mut encoder, mut body, mut sent) = (snap::raw::Encoder::new(), Vec::new(), Sent::default());
    let round_ms = plan.samples_per_request as i64 * plan.step_ms;
    let (schedule, mut latencies_ms) = (Schedule::begin(plan, connection), Vec::new());
    for round in 0..plan.steps / plan.samples_per_request as u64 {
        if !pace.enter(connection, round) {
            break;
        }
        for batch in &mut batches {
            batch.fill(fleet, plan.start_ms + round as i64 * round_ms, plan.step_ms);
            batch.compress(&mut encoder, &mut body)?;
            let (due, late_ms) = schedule.wait(sent.samples);
            sent.repeats += post(&mut client, &plan.path, &body)?;
            latencies_ms.push(due.elapsed().as_secs_f64() * 1e3);
            sent.late_ms = sent.late_ms.max(late_ms);
            sent.samples += batch.samples() as u64;
            sent.requests += 1;
            sent.bytes += body.len() as u64;
            sent.bytes_raw += batch.body().len() as u64;
        }
    }
    Ok((sent, latencies_ms))
}

/// Posts until the request is taken; the number of repeats. 5xx and 429 ask for a repeat, as the protocol says.
pub(crate) fn post(client: &mut Client, path: &str, body: &[u8]) -> Result<u64> {
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
        ("User-Agent", "narthex-loadgen"),
    ];
    let (began, mut pause, mut repeats) = (Instant::now(), Duration::from_millis(20), 0);
    loop {
        let response = client.request("POST", path, &headers, body).context("remote write")?;
        match response.status {
            200..=299 => return Ok(repeats),
            429 | 500..=599 if began.elapsed() < RETRY_TIME_MAX => {
                repeats += 1;
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            status => bail!("remote write: status {status}: {}", response.excerpt()),
        }
    }
}

/// Keeps the connections together.
struct Pace {
    // Guards the round that each connection is in; the condition variable tells of a change. Nothing else is locked.
    rounds: Mutex<Vec<u64>>,
    changed: Condvar,
}

/// In place of a round: this connection has sent everything.
const DONE: u64 = u64::MAX;
/// In place of a round: this connection failed, and the others stop.
const FAILED: u64 = u64::MAX - 1;

impl Pace {
    fn new(connections: usize) -> Pace {
        Pace { rounds: Mutex::new(vec![0; connections]), changed: Condvar::new() }
    }

    /// Waits until `round` may begin; false where another connection failed.
    fn enter(&self, connection: usize, round: u64) -> bool {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds[connection] = round;
        self.changed.notify_all();
        let too_early = |rounds: &mut Vec<u64>| {
            !rounds.contains(&FAILED) && rounds.iter().any(|slowest| slowest.saturating_add(LEAD_ROUNDS_MAX) < round)
        };
        let rounds = self.changed.wait_while(rounds, too_early).unwrap_or_else(PoisonError::into_inner);
        !rounds.contains(&FAILED)
    }

    fn leave(&self, connection: usize, failed: bool) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds[connection] = if failed { FAILED } else { DONE };
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_quantiles(sorted: &[f64], expected: [f64; 3]) {
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(sorted, share)), expected);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_met() {
        check_quantiles(&[7.0], [7.0, 7.0, 7.0]);
        check_quantiles(&[1.0, 2.0], [1.0, 2.0, 2.0]);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        check_quantiles(&hundred, [50.0, 99.0, 100.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn requests_are_due_at_the_rate_and_their_lateness_is_known() {
        let schedule = Schedule { began: Instant::now(), sample_s: Some(0.001) };
        let (due, _) = schedule.wait(20);
        assert_eq!(due - schedule.began, Duration::from_millis(20));
        assert!(schedule.began.elapsed() >= Duration::from_millis(20));
        // It was due nineteen milliseconds ago at least.
        assert!(schedule.wait(1).1 >= 19.0);
        let (due, late_ms) = Schedule { sample_s: None, ..schedule }.wait(1_000_000);
        assert!(late_ms == 0.0 && due <= Instant::now());
    }
}
