//! Three ingesters in three folders of three disks, wired in memory, with faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use batch::{Batch, BatchBuilder, BatchHeader};
use chunkenc::XorDecoder;
use cluster::{
    Address, ClusterId, Command, GroupId, Incarnation, NodeId, Outcome, Replica as ReplicaId, Role, Roles, Zone,
};
use disk::SimDisk;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use model::{DurationMs, Labels, Matcher, Metadata, SeriesId, TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use peer::{Answer, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Members, Selected, Unanswered};
use replication::replica::{ListReply, PushReply, ReadReply, SealReply};
use replication::{Entry, Position};
use storage::{SelectRequest, Shard};
use tokio::sync::watch;

use crate::pull::PullLimits;
use crate::{Config, Ingester};

pub(super) const NOW: i64 = 1_700_000_000_000;
/// As in production, but that nobody wants to wait.
const PULLING: PullLimits = PullLimits {
    interval: Duration::from_millis(5),
    patience: Duration::from_millis(1),
    timeout: Duration::from_millis(500),
    rounds_max: 64,
};

pub(super) fn id(n: usize) -> ReplicaId {
    ReplicaId { node: NodeId::new(&format!("n{n}")).unwrap(), incarnation: Incarnation(1) }
}

/// The control plane of one group of n0, n1, n2; n3 waits.
pub(super) struct Control(cluster::State);

impl Control {
    pub(super) fn new() -> Control {
        let mut control = Control(cluster::State::default());
        control.decide(&Command::Birth {
            cluster: ClusterId(7),
            partition_count: 16,
            replication_factor: 3,
            bootstrap_ingesters: 3,
        });
        for n in 0..4 {
            let ReplicaId { node, incarnation } = id(n);
            let (roles, zone) = (Roles::one(Role::Ingester), Zone::new(&format!("z{}", n.min(2))).unwrap());
            control.decide(&Command::Join { node, roles, zone, address: Address::new("host:1").unwrap(), incarnation });
        }
        control.decide(&Command::CreateGroup { group: GroupId(0), members: (0..3).map(id).collect() });
        control
    }

    fn decide(&mut self, command: &Command) {
        let outcome = self.0.apply(self.0.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    pub(super) fn replace(&mut self, leaving: usize, joining: usize) {
        let seen = self.entry().newest().number;
        let (leaving, joining) = (id(leaving), id(joining));
        self.decide(&Command::ReplaceMember { group: GroupId(0), seen, leaving, joining });
    }

    pub(super) fn entry(&self) -> Entry {
        Arc::new(self.0.map().group(GroupId(0)).unwrap().clone())
    }
}

/// SplitMix64, as in the simulation.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// Two of three.
    pub(super) fn two(&mut self) -> [usize; 2] {
        let without = usize::try_from(self.below(3)).unwrap();
        [(without + 1) % 3, (without + 2) % 3]
    }
}

/// What the wire does to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// Nothing arrives.
    Cut,
    /// It is done, and the answer is lost.
    AnswerLost,
    Delayed(Duration),
}

#[derive(Default)]
pub(super) struct Wire {
    pub(super) nodes: Mutex<BTreeMap<usize, Arc<Ingester>>>,
    /// By caller and called.
    pub(super) faults: Mutex<BTreeMap<(usize, usize), Fault>>,
}

pub(super) struct World {
    pub(super) wire: Arc<Wire>,
    pub(super) disks: Vec<SimDisk>,
    pub(super) entry: Entry,
    pub(super) configure: fn(Config) -> Config,
    /// What every clock says.
    clock: Arc<AtomicI64>,
    stops: BTreeMap<usize, watch::Sender<bool>>,
    seq: u64,
}

impl World {
    pub(super) fn new() -> World {
        World::configured(|config| config)
    }

    pub(super) fn configured(configure: fn(Config) -> Config) -> World {
        let disks = (0..3).map(|_| SimDisk::new()).collect();
        let entry = Control::new().entry();
        let clock = Arc::new(AtomicI64::new(NOW));
        let mut world = World { wire: Arc::default(), disks, entry, configure, clock, stops: BTreeMap::new(), seq: 0 };
        (0..3).for_each(|n| world.start(n));
        world
    }

    pub(super) fn config(&self, n: usize) -> Config {
        let clock = self.clock.clone();
        let config = Config {
            disk: Arc::new(self.disks[n].clone()),
            replica: id(n),
            entry: self.entry.clone(),
            clock: Arc::new(move || TimestampMs(clock.load(Ordering::SeqCst))),
            window: Arc::new(|| DurationMs::hours(1)),
            snapshot_after_bytes: 4096,
            ..Config::new("/data".into())
        };
        (self.configure)(config)
    }

    pub(super) fn set_clock(&self, now: TimestampMs) {
        self.clock.store(now.0, Ordering::SeqCst);
    }

    pub(super) fn start(&mut self, n: usize) {
        let ingester = Ingester::open(self.config(n)).unwrap();
        self.wire.nodes.lock().insert(n, ingester);
    }

    /// Loses what was not synced.
    pub(super) fn crash(&mut self, n: usize) {
        self.disks[n] = self.disks[n].after_power_loss();
        self.stops.remove(&n);
        self.wire.nodes.lock().remove(&n);
    }

    pub(super) fn pull(&mut self, n: usize) {
        let (stop, stopped) = watch::channel(false);
        let members = Arc::new(From { wire: self.wire.clone(), from: n });
        tokio::spawn(self.node(n).pull_loop(members, PULLING, stopped));
        self.stops.insert(n, stop);
    }

    pub(super) fn node(&self, n: usize) -> Arc<Ingester> {
        self.wire.nodes.lock()[&n].clone()
    }

    pub(super) fn fault(&self, from: usize, to: usize, fault: Fault) {
        self.wire.faults.lock().insert((from, to), fault);
    }

    pub(super) fn batch(&mut self, define: bool, samples: &[(u32, i64, f64)]) -> Batch {
        self.seq += 1;
        let mut builder = BatchBuilder::new();
        let tenant = TenantId::anonymous();
        for (n, at, value) in samples {
            let (id, labels) = (series(*n), labels(*n));
            if define {
                builder.define(id.partition(16), id, labels.as_packed());
            }
            builder.push(id.partition(16), id, *at, *value);
        }
        let mut bytes = Vec::new();
        builder.finish(BatchHeader { group: 0, generation: 1, writer: 99, seq: self.seq }, &tenant, &mut bytes);
        Batch::parse(bytes.into()).unwrap()
    }

    /// What each of them says to a batch.
    pub(super) async fn push(&self, to: &[usize], batch: &Batch) -> Vec<PushReply> {
        let mut replies = Vec::new();
        for n in to {
            replies.push(self.node(*n).push(self.entry.clone(), batch.clone()).await.unwrap());
        }
        replies
    }

    /// Sent until they have it, with definitions where those are asked for. Whether all of them took it.
    pub(super) async fn write(&mut self, to: &[usize], samples: &[(u32, i64, f64)]) -> bool {
        let batch = self.batch(false, samples);
        let definitions = self.batch(true, samples);
        let mut all = true;
        for n in to {
            let mut reply = self.push(&[*n], &batch).await.remove(0);
            if matches!(reply, PushReply::Need(_)) {
                reply = self.push(&[*n], &definitions).await.remove(0);
            }
            all &= matches!(reply, PushReply::Ok(_));
        }
        all
    }

    pub(super) async fn read(&self, n: usize) -> BTreeMap<(String, i64), u64> {
        let node = self.node(n);
        let selected = node.select(self.entry.clone(), everything()).await.unwrap();
        assert!(matches!(selected.reply, ReadReply::Held { .. }));
        samples(selected).await
    }

    /// Until all three hold the same, and each has covered all of the others.
    pub(super) async fn settled(&self) {
        let settled = async {
            loop {
                let mut behind = Vec::new();
                for n in 0..3 {
                    let node = self.node(n);
                    let covers = node.state().covers;
                    for peer in (0..3).filter(|peer| *peer != n) {
                        let last = self.node(peer).state().data_position;
                        if covers.get(&id(peer)).copied().unwrap_or(0) < last {
                            behind.push((n, peer));
                        }
                    }
                }
                if behind.is_empty() {
                    return;
                }
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), settled).await.is_err() {
            let peers: Vec<_> = (0..3).map(|n| self.node(n).peers()).collect();
            panic!("it does not settle: {peers:#?}");
        }
    }
}

pub(super) fn labels(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
}

pub(super) fn series(n: u32) -> SeriesId {
    SeriesId::compute(&TenantId::anonymous(), &labels(n), &mut Vec::new())
}

pub(super) fn everything() -> SelectRequest {
    SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
        matchers: vec![Matcher::equal("__name__", "m")],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 1_000_000,
    }
}

/// By series and time; the greater value where chunks differ.
pub(super) async fn samples(mut selected: Selected) -> BTreeMap<(String, i64), u64> {
    let mut out = BTreeMap::new();
    while let Some(batch) = selected.series.next().await {
        for s in batch.unwrap() {
            for c in s.chunks {
                let mut d = XorDecoder::new(&c.data).unwrap();
                while let Some((t, v)) = d.next().unwrap() {
                    let held = out.entry((s.labels.get("n").unwrap().to_owned(), t)).or_insert(v.to_bits());
                    *held = v.to_bits().max(*held);
                }
            }
        }
    }
    out
}

/// How a node finds others.
pub(super) struct From {
    pub(super) wire: Arc<Wire>,
    pub(super) from: usize,
}

impl Members for From {
    fn member(&self, replica: &ReplicaId) -> Option<Arc<dyn Member>> {
        let to = (0..4).find(|n| id(*n) == *replica)?;
        Some(Arc::new(Link { wire: self.wire.clone(), from: self.from, to }))
    }
}

struct Link {
    wire: Arc<Wire>,
    from: usize,
    to: usize,
}

impl Link {
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Ingester) -> Answer<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Unanswered>> {
        let fault = self.wire.faults.lock().get(&(self.from, self.to)).copied().unwrap_or_default();
        let node = self.wire.nodes.lock().get(&self.to).cloned();
        let lost = || Err(Unanswered("the wire is cut".to_owned()));
        async move {
            let Some(node) = node.filter(|_| fault != Fault::Cut) else { return lost() };
            if let Fault::Delayed(delay) = fault {
                tokio::time::sleep(delay).await;
            }
            let answer = call(&node).await;
            if fault == Fault::AnswerLost { lost() } else { answer }
        }
        .boxed()
    }
}

impl Member for Link {
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply> {
        self.call(move |node| node.push(entry, batch))
    }
    fn list(&self, puller: ReplicaId, entry: Entry, after: Position) -> Answer<ListReply> {
        self.call(move |node| node.list(puller, entry, after))
    }
    fn fetch(&self, fetch: Fetch) -> Answer<Option<Fetched>> {
        self.call(move |node| node.fetch(fetch))
    }
    fn seal(&self, entry: Entry, start: TimestampMs) -> Answer<SealReply> {
        self.call(move |node| node.seal(entry, start))
    }
    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected> {
        self.call(move |node| node.select(entry, request))
    }
    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled> {
        self.call(move |node| node.labels(entry, question))
    }
    fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        self.call(move |node| node.exemplars(tenant, range, sets))
    }
    fn metadata(&self, tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        self.call(move |node| node.metadata(tenant))
    }
}

/// The ids that a reply needs.
pub(super) fn needed(reply: &PushReply) -> BTreeSet<SeriesId> {
    match reply {
        PushReply::Need(ids) => ids.iter().copied().collect(),
        other => panic!("{other:?}"),
    }
}
