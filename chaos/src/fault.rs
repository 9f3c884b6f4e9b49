//! A proxy between a ledger and a system that forges one sample on the way in, and acknowledges all the same, or strips
//! warnings on the way out. The ledger must catch each: this is how it is tested.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use benches::http::Client;
use e2e::random::Random;

use crate::serve::{Reply, Request, Server};
use crate::wire::{self, Series};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to the system that are kept.
const IDLE_MAX: usize = 16;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// One sample is left out.
    Drop,
    /// One sample is written again under another timestamp.
    Double,
    /// One sample gets another value.
    Alter,
    /// One sample gets another timestamp.
    Move,
    /// One sample is written that nobody sent, to a series that is there.
    Invent,
    /// The same to a series that is not.
    InventSeries,
    /// Answers to queries lose their warnings.
    StripWarnings,
}

impl Fault {
    /// Those that forge a sample.
    pub const FORGING: [Fault; 6] =
        [Fault::Drop, Fault::Double, Fault::Alter, Fault::Move, Fault::Invent, Fault::InventSeries];
}

struct State {
    upstream: String,
    fault: Fault,
    /// The write request that is forged, counted from 0.
    at_request: u64,
    /// Guards the generator alone; held while one request is forged.
    random: Mutex<Random>,
    writes: AtomicU64,
    applied: AtomicU64,
    /// Guards the list alone; held for a push or a pop.
    idle: Mutex<Vec<Client>>,
}

/// A running proxy.
pub struct FaultProxy {
    state: Arc<State>,
    server: Server,
}

impl FaultProxy {
    /// Passes on to `upstream` (host:port); forges one sample of write request `at_request`, which the seed chooses.
    pub fn start(upstream: &str, fault: Fault, at_request: u64, seed: u64) -> Result<FaultProxy> {
        let state = Arc::new(State {
            upstream: upstream.to_string(),
            fault,
            at_request,
            random: Mutex::new(Random::new(seed)),
            writes: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            idle: Mutex::default(),
        });
        let shared = state.clone();
        let server = Server::start(Arc::new(move |request: &Request| shared.pass(request).ok()))?;
        Ok(FaultProxy { state, server })
    }

    /// host:port.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// How often it did what it is there for.
    pub fn applied(&self) -> u64 {
        self.state.applied.load(Ordering::SeqCst)
    }
}

impl State {
    /// An error closes the connection, as a system that broke would.
    fn pass(&self, request: &Request) -> Result<Reply> {
        let forged;
        let mut body = &request.body;
        if request.path == "/api/v1/write"
            && self.writes.fetch_add(1, Ordering::SeqCst) == self.at_request
            && Fault::FORGING.contains(&self.fault)
        {
            forged = self.forge(body)?;
            body = &forged;
            self.applied.fetch_add(1, Ordering::SeqCst);
        }
        let mut client = self.idle().pop().unwrap_or_else(|| Client::new(&self.upstream, TIMEOUT));
        let own = ["host", "content-length", "connection"];
        let headers: Vec<(&str, &str)> =
            request.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| !own.contains(n)).collect();
        let response = client.request(&request.method, &request.path, &headers, body)?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(client);
        }
        drop(idle);
        let mut reply = Reply { status: response.status, body: response.body };
        if self.fault == Fault::StripWarnings && request.path == "/api/v1/query" {
            self.strip(&mut reply)?;
        }
        Ok(reply)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().expect("nothing panics while it holds the list")
    }

    fn forge(&self, body: &[u8]) -> Result<Vec<u8>> {
        let mut all = wire::decode(body)?;
        let mut random = self.random.lock().expect("nothing panics while it holds the generator");
        let series = random.below(all.len() as u64) as usize;
        let chosen = all.get_mut(series).context("a request without series")?;
        let at = random.below(chosen.samples.len() as u64) as usize;
        let sample = chosen.samples[at];
        // Less than a step, and no multiple of it.
        let other_ms = sample.0 + 1 + random.below(8) as i64;
        match self.fault {
            Fault::None | Fault::StripWarnings => {}
            Fault::Drop => drop(chosen.samples.remove(at)),
            Fault::Double => chosen.samples.insert(at + 1, (other_ms, sample.1)),
            Fault::Alter => chosen.samples[at].1 += 1.0 + random.below(1000) as f64,
            Fault::Move => chosen.samples[at].0 = other_ms,
            Fault::Invent => chosen.samples.insert(at + 1, (other_ms, random.unit())),
            Fault::InventSeries => {
                let mut labels = chosen.labels.clone();
                let label = labels.iter_mut().find(|(name, _)| name == "series").context("a series of no ledger")?;
                label.1 = format!("x{}", random.below(1000));
                all.push(Series { labels, samples: vec![sample] });
            }
        }
        wire::compress(&wire::encode(&all))
    }

    fn strip(&self, reply: &mut Reply) -> Result<()> {
        let mut answer: serde_json::Value = serde_json::from_slice(&reply.body).context("an answer")?;
        if let Some(answer) = answer.as_object_mut()
            && answer.remove("warnings").is_some()
        {
            self.applied.fetch_add(1, Ordering::SeqCst);
        }
        reply.body = answer.to_string().into_bytes();
        Ok(())
    }
}
