//! Servers to scrape, a replica that records, and waiting for what must come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use batch::{Batch, Column};
use config::{Config, Defaults};
use model::{Labels, Metadata, SampleValue, SeriesId, TenantId, is_stale};
use parking_lot::Mutex;
use replication::replica::PushReply;
use server::Metrics;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use writer::Writer;
use writer::testing::{TAKEN, saying};

use crate::{EnvironmentProxy, Limits, Outside, PoolSnapshot, Scraper};

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// Path and query, or the whole URL from a client that thinks of us as a proxy.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) hangs: bool,
}

impl Reply {
    pub(super) fn text(body: impl Into<String>) -> Reply {
        Reply::of("text/plain; version=0.0.4", body)
    }

    pub(super) fn of(content_type: &str, body: impl Into<String>) -> Reply {
        Reply::bytes(content_type, body.into().into_bytes())
    }

    pub(super) fn bytes(content_type: &str, body: Vec<u8>) -> Reply {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Reply { status: "200 OK".to_owned(), headers, body, hangs: false }
    }

    pub(super) fn status(status: &str) -> Reply {
        Reply { status: status.to_owned(), headers: Vec::new(), body: Vec::new(), hangs: false }
    }

    pub(super) fn hang() -> Reply {
        Reply { hangs: true, ..Reply::status("200 OK") }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Handler = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A server; it ends when dropped.
pub(super) struct Site {
    pub(super) address: String,
    pub(super) hits: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Site {
    pub(super) async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Site {
        Site::serve(None, Box::new(handler)).await
    }

    pub(super) async fn start_tls(
        acceptor: TlsAcceptor,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Site {
        Site::serve(Some(acceptor), Box::new(handler)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, handler: Handler) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hits = Arc::new(AtomicU64::new(0));
        let shared: Arc<(Handler, Arc<AtomicU64>)> = Arc::new((handler, hits.clone()));
        let accepting = tokio::spawn(async move {
            // Ends with this task all connections.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(stream, tls.clone(), shared.clone()));
            }
        });
        Site { address, hits, accepting }
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<(Handler, Arc<AtomicU64>)>) {
    stream.set_nodelay(true).unwrap();
    match tls {
        None => requests(stream, shared).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                requests(stream, shared).await;
            }
        }
    }
}

async fn requests(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<(Handler, Arc<AtomicU64>)>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let reply = (shared.0)(&Request { target, headers });
        shared.1.fetch_add(1, Ordering::SeqCst);
        if reply.hangs {
            return std::future::pending().await;
        }
        let mut out = format!("HTTP/1.1 {}\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in reply.headers {
            out += &format!("{name}: {value}\r\n");
        }
        let mut out = (out + "\r\n").into_bytes();
        out.extend_from_slice(&reply.body);
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// What a replica holds.
#[derive(Default)]
pub(super) struct Held {
    pub(super) labels: BTreeMap<SeriesId, Labels>,
    pub(super) samples: Vec<(Labels, i64, f64)>,
    pub(super) histograms: Vec<(Labels, i64, SampleValue)>,
    pub(super) exemplars: Vec<(Labels, i64, f64, Labels)>,
    pub(super) metadata: Vec<(String, Metadata)>,
    pub(super) definitions: usize,
    pub(super) batches: usize,
    /// How many samples of each `instance` and time a batch held, of the batches with samples that were taken.
    pub(super) by_batch: Vec<BTreeMap<(String, i64), usize>>,
    /// Says this instead of taking a batch.
    pub(super) refusal: Option<PushReply>,
}

#[derive(Clone, Default)]
pub(super) struct Twin(pub(super) Arc<Mutex<Held>>);

impl Held {
    fn take(&mut self, batch: &Batch) -> PushReply {
        if let Some(refusal) = &self.refusal {
            return refusal.clone();
        }
        self.batches += 1;
        let columns = || batch.sections().flat_map(|s| s.columns());
        for column in columns() {
            if let Column::Definitions(definitions) = column {
                for d in definitions {
                    self.definitions += 1;
                    self.labels.insert(d.id, d.labels.to_labels());
                }
            }
        }
        let mut unknown = Vec::new();
        let (mut samples, mut histograms) = (Vec::new(), Vec::new());
        for column in columns() {
            match column {
                Column::Definitions(_) => {}
                Column::Floats(f) => f.for_each_run(|id, run| match self.labels.get(&id) {
                    Some(labels) => samples.extend(run.map(|(t, v)| (labels.clone(), t, v))),
                    None => unknown.push(id),
                }),
                Column::Histograms(all) => {
                    for h in all {
                        match self.labels.get(&h.id) {
                            Some(labels) => histograms.push((labels.clone(), h.timestamp, h.value)),
                            None => unknown.push(h.id),
                        }
                    }
                }
                Column::Exemplars(all) => {
                    for e in all {
                        let labels = self.labels.get(&e.id).cloned().unwrap_or_default();
                        self.exemplars.push((labels, e.timestamp, e.value, e.labels.to_labels()));
                    }
                }
                Column::Metadata(all) => self.metadata.extend(all.map(|m| (m.name, m.metadata))),
            }
        }
        if !unknown.is_empty() {
            return PushReply::Need(unknown);
        }
        let mut counts = BTreeMap::new();
        for (labels, t, _) in &samples {
            *counts.entry((labels.get("instance").unwrap_or("").to_owned(), *t)).or_default() += 1;
        }
        if !counts.is_empty() {
            self.by_batch.push(counts);
        }
        self.samples.extend(samples);
        self.histograms.extend(histograms);
        TAKEN
    }
}

impl Twin {
    /// Loses all that it held.
    pub(super) fn forget(&self) {
        let mut held = self.0.lock();
        held.labels.clear();
        held.samples.clear();
        held.histograms.clear();
    }

    /// Samples of the series with these labels (`__name__` and others), in the order in which they came; a staleness marker is
    /// `None`.
    pub(super) fn series(&self, wanted: &[(&str, &str)]) -> Vec<(i64, Option<f64>)> {
        let held = self.0.lock();
        let has = |labels: &Labels| wanted.iter().all(|(name, value)| labels.get(name).unwrap_or("") == *value);
        let samples = held.samples.iter().filter(|(labels, ..)| has(labels));
        samples.map(|(_, t, v)| (*t, (!is_stale(*v)).then_some(*v))).collect()
    }

    pub(super) fn values(&self, wanted: &[(&str, &str)]) -> Vec<Option<f64>> {
        self.series(wanted).into_iter().map(|(_, v)| v).collect()
    }

    /// The last value of the only series with that metric name. `None` without samples, NaN for a marker.
    pub(super) fn last(&self, name: &str) -> Option<f64> {
        self.values(&[("__name__", name)]).last().map(|v| v.unwrap_or(f64::NAN))
    }

    /// The histograms of the series with this name, in the order in which they came.
    pub(super) fn histograms(&self, name: &str) -> Vec<(i64, SampleValue)> {
        let held = self.0.lock();
        let all = held.histograms.iter().filter(|(labels, ..)| labels.metric_name() == Some(name));
        all.map(|(_, t, value)| (*t, value.clone())).collect()
    }

    /// All label sets, but for those of the report.
    pub(super) fn exposed(&self) -> Vec<String> {
        let held = self.0.lock();
        let is_report =
            |labels: &Labels| labels.metric_name().is_some_and(|name| name == "up" || name.starts_with("scrape_"));
        let mut all: Vec<String> =
            held.samples.iter().filter(|s| !is_report(&s.0)).map(|(labels, ..)| labels.to_string()).collect();
        all.extend(held.histograms.iter().map(|(labels, ..)| labels.to_string()));
        all.sort();
        all.dedup();
        all
    }
}

/// A scraper and what it writes to.
pub(super) struct Rig {
    pub(super) twin: Twin,
    pub(super) scraper: Scraper,
    pub(super) metrics: Metrics,
}

pub(super) fn parse(yaml: &str) -> Config {
    config::parse(yaml, "/", &Defaults::default(), &|_| None).unwrap_or_else(|e| panic!("{e}\n{yaml}"))
}

impl Rig {
    pub(super) fn idle() -> Rig {
        let limits = Limits { threads: 1, ..Limits::default() };
        Rig::with(|writer, outside, metrics| Scraper::new(writer, outside, limits, metrics).unwrap())
    }

    /// With a scraper of the test's making.
    pub(super) fn with(make: impl FnOnce(Arc<Writer>, Outside, &Metrics) -> Scraper) -> Rig {
        let twin = Twin::default();
        let replica = twin.clone();
        let writer = Arc::new(saying(move |batch| replica.0.lock().take(batch), writer::Limits::default()));
        let outside = Outside {
            tenant: TenantId::anonymous(),
            user_agent: "Narthex/test".to_owned(),
            environment: EnvironmentProxy::default(),
        };
        let metrics = Metrics::default();
        Rig { twin, scraper: make(writer, outside, &metrics), metrics }
    }

    pub(super) async fn start(yaml: &str) -> Rig {
        let rig = Rig::idle();
        rig.apply(yaml).await;
        rig
    }

    pub(super) async fn apply(&self, yaml: &str) {
        self.scraper.apply_config(&parse(yaml)).await.unwrap();
    }

    /// The only pool.
    pub(super) fn pool(&self) -> PoolSnapshot {
        let mut pools = self.scraper.snapshot();
        assert_eq!(pools.len(), 1);
        pools.remove(0)
    }

    /// Waits for a scrape of the only target that fails, and why it does.
    pub(super) async fn failure(&self) -> String {
        until("a failed scrape", || self.pool().active.iter().any(|t| !t.last_error.is_empty())).await;
        self.pool().active.into_iter().map(|t| t.last_error).find(|e| !e.is_empty()).unwrap()
    }

    pub(super) async fn until_up(&self) {
        until("a target that is up", || self.twin.last("up") == Some(1.0)).await;
    }
}

/// One job `j` at an interval of 100 ms with `lines` of its own (indented by four) and static targets.
pub(super) fn job(lines: &str, targets: &[&str]) -> String {
    format!(
        "scrape_configs:\n  - job_name: j\n    scrape_interval: 100ms\n    scrape_timeout: 100ms\n{lines}    static_configs:\n      - targets: {targets:?}\n"
    )
}
