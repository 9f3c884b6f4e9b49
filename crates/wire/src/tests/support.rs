//! Fakes of what is called, and servers that make them reachable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batch::{Batch, BatchBuilder, BatchHeader};
use bytes::Bytes;
use cluster::{
    Address, ClusterId, ClusterMap, Command, GenerationNumber, Incarnation, NodeId, NodeState, Outcome, Replica, Role,
    Roles, State, Zone, next_growth,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Exemplar, Labels, Matcher, Metadata, MetricType, PartitionId, SeriesId, TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use peer::{
    Answer, Exemplars, Fetch, Fetched, Index, IndexEntry, LabelQuestion, Labelled, ManifestAnswer, Member, Members,
    ScrapeState, ScrapingNode, Selected, Store, StoreLabels, StoreSelected, Unanswered,
};
use proto::Dialer;
use replication::manifest::BlockName;
use replication::quorum::Flags;
use replication::replica::{ListReply, PushReply, ReadReply, SealReply};
use replication::{BatchKey, Entry, Listed, Position};
use server::{Limits as ServerLimits, Server};
use storage::{Chunk, ChunkEncoding, SelectError, SelectRequest, Series, SeriesBatch, Shard};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::{Connections, IngesterService, Limits, Own, ScraperService, StoreService};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn replica(name: &str, incarnation: u64) -> Replica {
    Replica { node: NodeId::new(name).unwrap(), incarnation: Incarnation(incarnation) }
}

/// A cluster of these nodes, `name role address` each; ingesters form groups of three.
#[derive(Default)]
pub(super) struct World(State);

impl World {
    pub(super) fn born() -> World {
        let mut world = World::default();
        let birth =
            Command::Birth { cluster: ClusterId(1), partition_count: 4, replication_factor: 3, bootstrap_ingesters: 3 };
        world.apply(&birth);
        world
    }

    pub(super) fn apply(&mut self, command: &Command) {
        let outcome = self.0.apply(self.0.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    pub(super) fn join(&mut self, name: &str, role: Role, address: &str) {
        self.apply(&Command::Join {
            node: NodeId::new(name).unwrap(),
            roles: Roles::one(role),
            zone: Zone::new(name).unwrap(),
            address: Address::new(address).unwrap(),
            incarnation: Incarnation(1),
        });
        while let Some(command) = next_growth(self.0.map()) {
            self.apply(&command);
        }
    }

    pub(super) fn set(&mut self, name: &str, state: NodeState) {
        self.apply(&Command::SetNodeState { node: NodeId::new(name).unwrap(), incarnation: Incarnation(1), state });
    }

    pub(super) fn map(&self) -> Arc<ClusterMap> {
        Arc::new(self.0.map().clone())
    }
}

/// A map in which ingester `a` answers here, and the entry of its group.
pub(super) fn group_of_a(address: &str) -> (Arc<ClusterMap>, Entry) {
    let mut world = World::born();
    for (name, address) in [("a", address), ("b", "127.0.0.1:1"), ("c", "127.0.0.1:1")] {
        world.join(name, Role::Ingester, address);
    }
    let entry = Arc::new(world.map().groups()[0].clone());
    (world.map(), entry)
}

pub(super) fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "some job")]).unwrap()
}

/// A batch of group 0 with so many samples of one series, and its definition.
pub(super) fn batch(seq: u64, samples: i64) -> Batch {
    let (tenant, labels) = (TenantId::anonymous(), labels("m"));
    let id = SeriesId::compute(&tenant, &labels, &mut Vec::new());
    let mut builder = BatchBuilder::new();
    builder.define(PartitionId(0), id, labels.as_packed());
    (0..samples).for_each(|t| builder.push(PartitionId(0), id, t * 1000, 0.5));
    let mut bytes = Vec::new();
    builder.finish(BatchHeader { group: 0, generation: 1, writer: 7, seq }, &tenant, &mut bytes);
    Batch::parse(Bytes::from(bytes)).unwrap()
}

/// Series with ids from here on, with chunks of these sizes.
pub(super) fn series(first: u128, chunk_bytes: &[&[usize]]) -> SeriesBatch {
    let one = |(i, sizes): (usize, &&[usize])| Series {
        id: SeriesId(first + i as u128),
        labels: labels(&format!("m{i}")),
        chunks: (0..)
            .zip(*sizes)
            .map(|(n, size)| Chunk {
                encoding: [ChunkEncoding::Xor, ChunkEncoding::Histogram, ChunkEncoding::Xor2][n as usize % 3],
                mint: TimestampMs(n * 100),
                maxt: TimestampMs(n * 100 + 99),
                data: (0..*size).map(|b| b as u8 ^ n as u8).collect(),
            })
            .collect(),
    };
    chunk_bytes.iter().enumerate().map(one).collect()
}

/// Series as text: what can be compared.
pub(super) fn said(series: &[Series]) -> Vec<(SeriesId, Labels, Vec<Chunk>)> {
    series.iter().map(|s| (s.id, s.labels.clone(), s.chunks.clone())).collect()
}

pub(super) fn select_request() -> SelectRequest {
    let matchers = [("=", "a"), ("!=", "b"), ("=~", "c.*|d"), ("!~", "e+")];
    let op = |text| match text {
        "=" => model::MatchOp::Equal,
        "!=" => model::MatchOp::NotEqual,
        "=~" => model::MatchOp::Regex,
        _ => model::MatchOp::NotRegex,
    };
    SelectRequest {
        tenant: TenantId::new("some-tenant").unwrap(),
        range: TimeRange::new(TimestampMs(-5), TimestampMs(1 << 40)),
        matchers: matchers.iter().map(|(o, value)| Matcher::new("job", op(o), value).unwrap()).collect(),
        shard: Shard { index: 3, count: 8 },
        with_chunks: true,
        series_max: 1_000_000,
    }
}

pub(super) fn label_question() -> LabelQuestion {
    let SelectRequest { tenant, range, matchers, .. } = select_request();
    let query = storage::LabelQuery { tenant, range, matcher_sets: vec![matchers, Vec::new()] };
    LabelQuestion { name: Some("job".into()), query }
}

pub(super) fn held() -> ReadReply {
    ReadReply::Held {
        flags: Flags { generation: GenerationNumber(4), filled: true },
        dropped: vec![(TimestampMs(7_200_000), "closed/c/0/7200000.json".into())],
        watermark: TimestampMs(3_600_000),
    }
}

type Batches = Vec<Result<SeriesBatch, SelectError>>;

/// A member, store and scraper that notes what it is asked and answers as it is told.
#[derive(Default)]
pub(super) struct Fake {
    /// What was asked, as text.
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) pushed: Mutex<Vec<(Entry, Bytes)>>,
    /// Answers to pushes; `Ok` at the entry's generation where there is none.
    pub(super) push_replies: Mutex<VecDeque<PushReply>>,
    pub(super) series: Mutex<Batches>,
    /// Batches of an endless answer that were asked for; endless if `endless` is not 0: its number of bytes.
    pub(super) endless: usize,
    pub(super) given: Arc<AtomicUsize>,
    /// Whether nothing is answered.
    pub(super) hangs: bool,
    /// How many answers are being worked on.
    pub(super) at_work: Arc<AtomicUsize>,
    pub(super) values: Vec<String>,
    pub(super) exemplars: Vec<Exemplars>,
    pub(super) page: String,
}

/// Counts down when its work ends, however it ends.
struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    fn begin(count: &Arc<AtomicUsize>) -> AtWork {
        count.fetch_add(1, Ordering::SeqCst);
        AtWork(count.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    fn answer<T: Send + 'static>(&self, asked: String, value: T) -> Answer<T> {
        self.asked.lock().push(asked);
        let (work, hangs) = (AtWork::begin(&self.at_work), self.hangs);
        Box::pin(async move {
            let _work = work;
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(value)
        })
    }

    fn stream(&self) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
        let (work, given, bytes) = (AtWork::begin(&self.at_work), self.given.clone(), self.endless);
        if bytes == 0 {
            return futures::stream::iter(self.series.lock().clone()).boxed();
        }
        let endless = (0u128..).map(move |n| {
            let _work = &work;
            given.fetch_add(1, Ordering::SeqCst);
            Ok(series(n, &[&[bytes]]))
        });
        futures::stream::iter(endless).boxed()
    }
}

impl Member for Fake {
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply> {
        let ok = PushReply::Ok(entry.newest().number);
        self.pushed.lock().push((entry, batch.bytes().clone()));
        let reply = self.push_replies.lock().pop_front().unwrap_or(ok);
        if reply == (PushReply::Full { limit_bytes: 0 }) {
            return Box::pin(async { Err(Unanswered("the log is gone".into())) });
        }
        self.answer("push".into(), reply)
    }

    fn list(&self, puller: Replica, entry: Entry, after: Position) -> Answer<ListReply> {
        let batch =
            Listed::Batch { key: BatchKey { writer: 7, seq: 9 }, bounds: Some((TimestampMs(1), TimestampMs(2))) };
        let merged = Listed::Merged { of: puller.clone(), position: 11 };
        let unbounded = Listed::Batch { key: BatchKey { writer: 7, seq: 10 }, bounds: None };
        let reply = match after {
            0 => ListReply::Truncated,
            _ => ListReply::Listed { to: after + 3, items: vec![(1, batch), (2, merged), (3, unbounded)] },
        };
        self.answer(format!("list {puller} {entry:?} {after}"), reply)
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Option<Fetched>> {
        let there = fetch.positions.first().is_some_and(|first| *first > 0);
        let fetched = there.then(|| Fetched {
            batches: (0..9).map(|seq| batch(seq, 5_000)).collect(),
            definitions: vec![batch(100, 0)],
        });
        self.answer(format!("fetch {fetch:?}"), fetched)
    }

    fn seal(&self, entry: Entry, start: TimestampMs) -> Answer<SealReply> {
        let reply = match start.0 {
            0 => SealReply::Early,
            1 => SealReply::Stale(entry.clone()),
            _ => SealReply::Sealed { flags: Flags { generation: entry.newest().number, filled: false }, position: 77 },
        };
        self.answer(format!("seal {entry:?} {start}"), reply)
    }

    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected> {
        let selected = Selected { reply: held(), series: self.stream() };
        self.answer(format!("select {entry:?} {request:?}"), selected)
    }

    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled> {
        let reply = ReadReply::Stale(entry.clone());
        self.answer(format!("labels {entry:?} {question:?}"), Labelled { reply, values: self.values.clone() })
    }

    fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        self.answer(format!("exemplars {tenant} {range:?} {sets:?}"), self.exemplars.clone())
    }

    fn metadata(&self, tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        self.answer(format!("metadata {tenant}"), metadata())
    }
}

pub(super) fn metadata() -> BTreeMap<String, Metadata> {
    let of = |metric_type, help: &str| Metadata { metric_type, help: help.into(), unit: "seconds".into() };
    BTreeMap::from([
        ("a".into(), of(MetricType::StateSet, "")),
        ("b".into(), of(MetricType::Unknown, "what is not known")),
        ("c".into(), of(MetricType::GaugeHistogram, "ü")),
    ])
}

pub(super) fn exemplars(count: i64) -> Exemplars {
    let one = |n: i64| Exemplar {
        labels: labels("trace"),
        value: n as f64,
        timestamp: (n % 2 == 0).then_some(TimestampMs(n)),
    };
    Exemplars { labels: labels("m"), exemplars: (0..count).map(one).collect() }
}

impl Store for Fake {
    fn select(&self, blocks: Vec<BlockName>, request: SelectRequest) -> Answer<StoreSelected> {
        let selected = StoreSelected { served: blocks.clone(), series: self.stream() };
        self.answer(format!("select {blocks:?} {request:?}"), selected)
    }

    fn labels(&self, blocks: Vec<BlockName>, question: LabelQuestion) -> Answer<StoreLabels> {
        let labels = StoreLabels { served: blocks.clone(), values: self.values.clone() };
        self.answer(format!("labels {blocks:?} {question:?}"), labels)
    }

    fn manifest(&self, tenant: TenantId, name: String) -> Answer<ManifestAnswer> {
        let answer = ManifestAnswer { start: TimestampMs(7), blocks: vec![u128::MAX, 3], hole: true };
        if name == "none" {
            return Box::pin(async { Err(Unanswered("there is no such manifest".into())) });
        }
        self.answer(format!("manifest {tenant} {name}"), answer)
    }

    fn index(&self, tenant: TenantId, range: TimeRange) -> Answer<Index> {
        let ours = IndexEntry { block: 5, origin: Some((cluster::GroupId(2), TimestampMs(9))), range, set_aside: None };
        let foreign = IndexEntry { block: 6, origin: None, range, set_aside: Some("no index".into()) };
        let index = Index { entries: vec![ours, foreign], age: Duration::from_millis(1234) };
        self.answer(format!("index {tenant} {range:?}"), index)
    }
}

impl ScrapingNode for Fake {
    fn ask(&self, path: String, query: String) -> Answer<ScrapeState> {
        self.answer(format!("ask {path} {query}"), self.page.clone())
    }
}

/// A node on threads of its own, that can be killed.
pub(super) struct Served {
    pub(super) address: String,
    runtime: Option<Runtime>,
    _stop: watch::Sender<bool>,
}

impl Served {
    /// Serves a fake in all roles as `replica` of cluster `c`, at this address or any.
    pub(super) fn start(
        replica: &Replica,
        fake: &Arc<Fake>,
        address: Option<&str>,
        tls: Option<Arc<rustls::ServerConfig>>,
        map: Option<watch::Receiver<Arc<ClusterMap>>>,
    ) -> Served {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let own = Own { cluster: "c".into(), replica: replica.clone() };
        let mut routes = Routes::builder();
        routes.add_service(IngesterService::server(own.clone(), fake.clone(), map));
        routes.add_service(StoreService::server(own.clone(), fake.clone()));
        routes.add_service(ScraperService::server(own, fake.clone()));
        let router = routes.routes().into_axum_router();
        let (stop, stopped) = watch::channel(false);
        let (say, hear) = std::sync::mpsc::channel();
        let address = address.unwrap_or("127.0.0.1:0").to_owned();
        runtime.spawn(async move {
            let server = loop {
                // One that was killed may hold its address for a moment.
                match Server::bind(&address, tls.clone(), ServerLimits::default()).await {
                    Ok(server) => break server,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            say.send(server.address().unwrap().to_string()).unwrap();
            server.serve(router, stopped).await;
        });
        let address = hear.recv_timeout(PATIENCE).unwrap();
        Served { address, runtime: Some(runtime), _stop: stop }
    }

    pub(super) fn plain(fake: &Arc<Fake>) -> Served {
        Served::start(&replica("a", 1), fake, None, None, None)
    }

    /// All of it ends at once, its connections too.
    pub(super) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Connections of another node of cluster `c`.
pub(super) fn connections(map: Arc<ClusterMap>, limits: Limits) -> (Arc<Connections>, watch::Sender<Arc<ClusterMap>>) {
    let (say, map) = watch::channel(map);
    (Connections::new("c", Dialer::default(), map, limits), say)
}

/// Ingester `a`, as another node sees it, and the entry of its group.
pub(super) fn member_at(address: &str, limits: Limits) -> (Arc<dyn Member>, Entry) {
    let (map, entry) = group_of_a(address);
    let (connections, _say) = connections(map, limits);
    (connections.member(&replica("a", 1)).unwrap(), entry)
}

/// Waits for something that has no notice of its own.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Pushes until there is an answer: the first call on a connection that was cut may fail.
pub(super) async fn until_answered(member: &dyn Member, entry: &Entry) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Err(why) = member.push(entry.clone(), batch(50, 3)).await {
        assert!(std::time::Instant::now() < deadline, "{why}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
