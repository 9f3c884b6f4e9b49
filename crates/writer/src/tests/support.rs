//! Groups of members with faults, and a source of samples that they are checked against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use batch::{Batch, Column};
use cluster::{GenerationNumber, GroupId, NodeId, Replica as ReplicaId};
use futures::FutureExt;
use model::{Labels, SeriesId, TenantId, TimestampMs};
use peer::{Answer, Member, Members, Unanswered};
use replication::replica::{NotNow, PushReply};
use replication::{Entry, Payload, is_newer};
use storage::{AppendError, AppendOutcome};
use tokio::sync::watch;

use crate::testing::{Plane, PushOnly};
use crate::{Limits, SampleSink, SampleSource, Writer};

pub(super) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// How a member behaves.
#[derive(Clone, Debug, Default)]
pub(super) enum Mode {
    /// As it should.
    #[default]
    Well,
    /// It is stopped: nothing is ever said.
    Stopped,
    /// Nobody is there.
    Dead,
    /// As it should, after a while.
    Slow(Duration),
    /// It takes it, and the answer is lost.
    AnswerLost,
    /// Something else.
    Says(PushReply),
}

/// What a member holds.
#[derive(Default)]
pub(super) struct Node {
    pub(super) mode: Mode,
    entry: Option<Entry>,
    /// Series and their definitions.
    pub(super) labels: BTreeSet<SeriesId>,
    pub(super) sealed_before: Option<TimestampMs>,
    /// Batches taken by name: their bytes, and at which generations it was said.
    pub(super) log: BTreeMap<(GroupId, u64), Batch>,
    pub(super) acks: BTreeMap<(GroupId, u64), BTreeSet<GenerationNumber>>,
    /// Calls that are open, and their bytes.
    pub(super) open: (usize, usize),
    pub(super) open_bytes_max: usize,
    pub(super) calls: usize,
}

impl Node {
    fn say(&mut self, me: &ReplicaId, entry: &Entry, batch: &Batch) -> PushReply {
        if let Mode::Says(reply) = &self.mode {
            return reply.clone();
        }
        let own = self.entry.get_or_insert_with(|| entry.clone());
        if is_newer(entry, own) {
            *own = entry.clone();
        } else if entry.newest().number < own.newest().number {
            return PushReply::Stale(own.clone());
        }
        match own.newest().members.iter().find(|m| m.replica == *me) {
            None => return PushReply::NotNow(NotNow::NoMember),
            Some(member) if !member.filled => return PushReply::NotNow(NotNow::Unfilled),
            Some(_) => {}
        }
        let generation = own.newest().number;
        let name = (entry.id(), batch.key().seq);
        if let Some((before, (mint, _))) = self.sealed_before.zip(Payload::bounds(batch))
            && mint < before
        {
            return PushReply::Sealed(before);
        }
        if !self.log.contains_key(&name) {
            let mut defined = BTreeSet::new();
            let mut unknown = Vec::new();
            for column in batch.sections().flat_map(|s| s.columns()) {
                match column {
                    Column::Definitions(d) => defined.extend(d.map(|d| d.id)),
                    Column::Floats(f) => unknown.extend(f.ids().filter(|id| !self.labels.contains(id))),
                    Column::Histograms(_) | Column::Exemplars(_) | Column::Metadata(_) => {}
                }
            }
            unknown.retain(|id| !defined.contains(id));
            if !unknown.is_empty() {
                return PushReply::Need(unknown);
            }
            self.labels.extend(defined);
            self.log.insert(name, batch.clone());
        }
        self.acks.entry(name).or_default().insert(generation);
        PushReply::Ok(generation)
    }

    pub(super) fn learn(&mut self, entry: Entry) {
        self.entry = Some(entry);
    }
}

/// Nodes by name. Those that nobody knows yet come into being when they are asked for.
#[derive(Clone, Default)]
pub(super) struct Nodes(pub(super) Arc<Mutex<BTreeMap<NodeId, Arc<Mutex<Node>>>>>);

/// Counts an open call.
struct Open(Arc<Mutex<Node>>, usize);

impl Open {
    fn new(node: &Arc<Mutex<Node>>, bytes: usize) -> Open {
        let mut held = node.lock().unwrap();
        held.calls += 1;
        held.open.0 += 1;
        held.open.1 += bytes;
        held.open_bytes_max = held.open_bytes_max.max(held.open.1);
        Open(node.clone(), bytes)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut held = self.0.lock().unwrap();
        held.open.0 -= 1;
        held.open.1 -= self.1;
    }
}

impl Nodes {
    pub(super) fn node(&self, number: usize) -> Arc<Mutex<Node>> {
        self.by_name(&NodeId::new(&format!("n{number}")).unwrap())
    }

    fn by_name(&self, name: &NodeId) -> Arc<Mutex<Node>> {
        self.0.lock().unwrap().entry(name.clone()).or_default().clone()
    }

    pub(super) fn set(&self, number: usize, mode: Mode) {
        self.node(number).lock().unwrap().mode = mode;
    }

    /// The generations at which two members have taken a batch with this sample, and the bytes of each batch are the same at all.
    pub(super) fn is_held_by_two(&self, id: SeriesId, at: i64, members: usize) -> bool {
        let nodes: Vec<_> = self.0.lock().unwrap().values().cloned().collect();
        let mut counts = BTreeMap::<GenerationNumber, usize>::new();
        for node in nodes {
            let node = node.lock().unwrap();
            let holds = |batch: &&Batch| samples_of(batch).contains(&(id, at));
            let said = node.log.iter().filter(|(_, batch)| holds(batch)).flat_map(|(name, _)| node.acks.get(name));
            let generations: BTreeSet<_> = said.flatten().copied().collect();
            generations.into_iter().for_each(|g| *counts.entry(g).or_default() += 1);
        }
        counts.values().any(|count| *count >= members.min(2))
    }

    /// Panics where two members hold different bytes under one name.
    pub(super) fn check_equal_bytes(&self) {
        let nodes: Vec<_> = self.0.lock().unwrap().values().cloned().collect();
        let mut bytes = BTreeMap::new();
        for node in nodes {
            for (name, batch) in &node.lock().unwrap().log {
                let first = bytes.entry(*name).or_insert_with(|| batch.bytes().clone());
                assert_eq!(first, batch.bytes(), "two batches of the name {name:?}");
                assert!(batch.bytes().len() <= batch::BATCH_BYTES_MAX);
            }
        }
    }
}

/// The float samples of a batch.
pub(super) fn samples_of(batch: &Batch) -> Vec<(SeriesId, i64)> {
    let mut samples = Vec::new();
    for column in batch.sections().flat_map(|s| s.columns()) {
        if let Column::Floats(f) = column {
            f.for_each_run(|id, run| samples.extend(run.map(|(at, _)| (id, at))));
        }
    }
    samples
}

impl Members for Nodes {
    fn member(&self, replica: &ReplicaId) -> Option<Arc<dyn Member>> {
        let (node, me) = (self.by_name(&replica.node), replica.clone());
        let push = move |entry: Entry, batch: Batch| -> Answer<PushReply> {
            let open = Open::new(&node, batch.bytes().len());
            let (node, me) = (node.clone(), me.clone());
            async move {
                let _open = open;
                let mode = node.lock().unwrap().mode.clone();
                match mode {
                    Mode::Stopped => futures::future::pending().await,
                    Mode::Dead => return Err(Unanswered("connection refused".to_owned())),
                    Mode::Slow(time) => tokio::time::sleep(time).await,
                    Mode::Well | Mode::Says(_) | Mode::AnswerLost => {}
                }
                let said = node.lock().unwrap().say(&me, &entry, &batch);
                if matches!(mode, Mode::AnswerLost) { Err(Unanswered("lost".to_owned())) } else { Ok(said) }
            }
            .boxed()
        };
        Some(Arc::new(PushOnly(push)))
    }
}

/// Samples of numbered series.
#[derive(Clone, Debug)]
pub(super) struct Samples(pub(super) Vec<(u32, i64)>);

/// Labels of a series; of those past a million they are 60 KB long.
pub(super) fn labels(n: u32) -> Labels {
    let long = if n > 1_000_000 { "x".repeat(60_000) } else { "x".to_owned() };
    Labels::from_pairs([("__name__", "m"), ("long", &long), ("n", &n.to_string())]).unwrap()
}

pub(super) fn id(n: u32) -> SeriesId {
    SeriesId::compute(&TenantId::anonymous(), &labels(n), &mut Vec::new())
}

impl SampleSource for Samples {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        for (n, at) in &self.0 {
            if let Some(id) = sink.series(&labels(*n), 1) {
                sink.sample(id, *at, f64::from(*n));
            }
        }
        Ok(())
    }
}

/// A cluster and a writer to it.
pub(super) struct Rig {
    pub(super) plane: Plane,
    pub(super) map: watch::Sender<Arc<cluster::ClusterMap>>,
    pub(super) nodes: Nodes,
    pub(super) writer: Arc<Writer>,
}

impl Rig {
    pub(super) fn new(groups: u32, factor: u8, limits: Limits) -> Rig {
        let mut plane = Plane::new(groups, factor, 64);
        plane.place();
        let (map, receiver) = watch::channel(plane.map());
        let nodes = Nodes::default();
        let writer = Arc::new(Writer::new(7, receiver, Arc::new(nodes.clone()), limits));
        Rig { plane, map, nodes, writer }
    }

    /// Everybody who follows the map has the newest. The others hear of it from those.
    pub(super) fn publish(&self) {
        self.map.send_replace(self.plane.map());
    }

    pub(super) async fn write(&self, samples: &Samples) -> Result<AppendOutcome, AppendError> {
        self.writer.write(&TenantId::anonymous(), samples, NOW).await
    }
}
