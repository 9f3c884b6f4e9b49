//! A cluster made of values: groups of three whose members lag, move on and drop ranges while they are asked, and stores over
//! one bucket; all of them can be slow, silent, gone, or break off in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cluster::{
    Address, ClusterId, ClusterMap, Command, GroupId, Hole, Incarnation, NodeId, Outcome, Replica as ReplicaId, Role,
    Roles, State, Zone,
};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use model::{Exemplar, Labels, Matcher, Metadata, PartitionId, SeriesId, TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use peer::{
    Answer, Exemplars, Fetch, Fetched, Index, IndexEntry, LabelQuestion, Labelled, ManifestAnswer, Member, Members,
    Selected, Store, StoreLabels, StoreSelected, Stores, Unanswered,
};
use replication::manifest::BlockName;
use replication::quorum::Flags;
use replication::range::{RANGE, span_of};
use replication::replica::{ListReply, PushReply, ReadReply, SealReply};
use replication::{Entry, Position};
use storage::{Chunk, ChunkEncoding, SelectError, SelectRequest, Series, SeriesBatch};

pub(crate) const HOUR: i64 = 3_600_000;
/// Where the first of the ranges begins.
pub(crate) const BASE: i64 = 80 * HOUR;
pub(crate) const NOW: i64 = 96 * HOUR;
/// Ranges with samples; the last reaches up to now.
pub(crate) const RANGES: i64 = 8;
/// Series in a batch of a fake.
const BATCH: usize = 3;

/// Xorshift.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.below(2);
        }
        random
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Timestamps by series.
pub(crate) type Held = BTreeMap<u128, BTreeSet<i64>>;

/// What is wrong with a member or a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Unknown,
    Refuses,
    NeverAnswers,
    Slow(u64),
    /// After so many batches.
    BreaksOff(usize),
    /// Says nothing more after so many batches.
    Silent(usize),
}

impl Fault {
    pub(crate) fn pick(random: &mut Random) -> Fault {
        match random.below(6) {
            0 => Fault::Unknown,
            1 => Fault::Refuses,
            2 => Fault::NeverAnswers,
            3 => Fault::Slow(100 + random.below(2_000)),
            4 => Fault::BreaksOff(random.below(4) as usize),
            _ => Fault::Silent(random.below(4) as usize),
        }
    }
}

#[derive(Debug)]
pub(crate) struct MemberState {
    pub(crate) held: Held,
    pub(crate) filled: bool,
    /// Ranges before this one (by number) are dropped.
    pub(crate) dropped: i64,
    /// And those before this one not named any more.
    pub(crate) watermark: i64,
    pub(crate) fault: Fault,
}

#[derive(Debug)]
pub(crate) struct GroupState {
    pub(crate) entry: Entry,
    pub(crate) members: BTreeMap<ReplicaId, MemberState>,
    pub(crate) acked: Held,
    /// Ranges before this one are in blocks.
    pub(crate) closed: i64,
    /// Blocks by the number of their range.
    pub(crate) manifests: BTreeMap<i64, Vec<BlockName>>,
}

#[derive(Clone, Debug)]
pub(crate) struct BlockState {
    pub(crate) held: Held,
    pub(crate) origin: Option<(GroupId, TimestampMs)>,
    pub(crate) range: TimeRange,
    pub(crate) sources: Vec<BlockName>,
    /// A store that reads on fails, and sets it aside.
    pub(crate) damaged: bool,
}

#[derive(Debug)]
pub(crate) struct StoreState {
    pub(crate) fault: Fault,
    pub(crate) index_age: Duration,
    pub(crate) set_aside: BTreeSet<BlockName>,
    /// Blocks that it does not manage to load.
    pub(crate) lacks: BTreeSet<BlockName>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) groups: BTreeMap<GroupId, GroupState>,
    pub(crate) blocks: BTreeMap<BlockName, BlockState>,
    pub(crate) stores: BTreeMap<NodeId, StoreState>,
    pub(crate) control: State,
    /// Ranges are closed and dropped while questions are answered.
    pub(crate) moves: bool,
    pub(crate) next_block: BlockName,
    pub(crate) asked: BTreeMap<String, usize>,
}

/// The cluster as the fan-out sees it.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) world: Arc<Mutex<World>>,
    /// Calls and streams that are alive.
    pub(crate) live: Arc<AtomicUsize>,
}

/// Counts itself while it lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Live {
        count.fetch_add(1, Ordering::SeqCst);
        Live(count.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn start_of(range: i64) -> TimestampMs {
    TimestampMs(BASE + range * RANGE.0)
}

fn number_of(at: i64) -> i64 {
    (at - BASE).div_euclid(RANGE.0)
}

pub(crate) fn replica(group: u32, number: usize) -> ReplicaId {
    ReplicaId { node: NodeId::new(&format!("g{group}m{number}")).unwrap(), incarnation: Incarnation(1) }
}

impl World {
    pub(crate) fn decide(&mut self, command: &Command) {
        let outcome = self.control.apply(self.control.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command:?}: {outcome:?}");
    }

    pub(crate) fn map(&self) -> Arc<ClusterMap> {
        Arc::new(self.control.map().clone())
    }

    pub(crate) fn entry_of(&self, group: GroupId) -> Entry {
        Arc::new(self.control.map().group(group).unwrap().clone())
    }

    /// Groups of three healthy members, that hold nothing, and stores that are well.
    pub(crate) fn new(seed: u64, groups: u32, stores: usize) -> World {
        let mut world = World {
            random: Random::new(seed),
            groups: BTreeMap::new(),
            blocks: BTreeMap::new(),
            stores: BTreeMap::new(),
            control: State::default(),
            moves: false,
            next_block: 1,
            asked: BTreeMap::new(),
        };
        let (cluster, partition_count) = (ClusterId(7), 4);
        world.decide(&Command::Birth { cluster, partition_count, replication_factor: 3, bootstrap_ingesters: 3 });
        for group in 0..groups {
            for number in 0..4 {
                let ReplicaId { node, incarnation } = replica(group, number);
                let zone = Zone::new(&format!("z{}", number.min(2))).unwrap();
                let (roles, address) = (Roles::one(Role::Ingester), Address::new("host:1").unwrap());
                world.decide(&Command::Join { node, roles, zone, address, incarnation });
            }
            let members: Vec<ReplicaId> = (0..3).map(|number| replica(group, number)).collect();
            world.decide(&Command::CreateGroup { group: GroupId(group), members: members.clone() });
            let state = GroupState {
                entry: world.entry_of(GroupId(group)),
                members: members.into_iter().map(|id| (id, MemberState::new(true))).collect(),
                acked: Held::new(),
                closed: 0,
                manifests: BTreeMap::new(),
            };
            world.groups.insert(GroupId(group), state);
        }
        let owners = (0..partition_count).map(|p| (PartitionId(p), GroupId(p % groups))).collect();
        world.decide(&Command::PlacePartitions { owners });
        for number in 0..stores {
            let state = StoreState {
                fault: Fault::None,
                index_age: Duration::from_secs(30),
                set_aside: BTreeSet::new(),
                lacks: BTreeSet::new(),
            };
            world.stores.insert(NodeId::new(&format!("s{number}")).unwrap(), state);
        }
        world
    }

    /// Samples that two members or all have acknowledged, and some that one has, and nobody was told.
    pub(crate) fn write(&mut self, series: u64, samples: u64) {
        let groups = self.groups.len() as u64;
        for id in 0..series {
            for _ in 0..samples {
                let ts = BASE + self.random.below((RANGES * RANGE.0 / 60_000) as u64) as i64 * 60_000;
                let (left_out, acked) = (self.random.below(4) as usize, !self.random.one_in(8));
                let group = self.groups.get_mut(&GroupId((id % groups) as u32)).unwrap();
                let id = u128::from(id * 7 + 1);
                if acked {
                    group.acked.entry(id).or_default().insert(ts);
                }
                for (number, member) in group.members.values_mut().enumerate() {
                    if acked && number != left_out || !acked && number == left_out {
                        member.held.entry(id).or_default().insert(ts);
                    }
                }
            }
        }
    }

    pub(crate) fn add_block(&mut self, block: BlockState) -> BlockName {
        let name = self.next_block;
        self.next_block += 1;
        self.blocks.insert(name, block);
        name
    }

    /// Closes the next range of a group: a block or two of what its members hold, and the manifest.
    pub(crate) fn close(&mut self, id: GroupId) {
        let group = &self.groups[&id];
        let number = group.closed;
        if number >= RANGES - 2 {
            return;
        }
        let mut parts = [Held::new(), Held::new()];
        for member in group.members.values() {
            for (series, samples) in &member.held {
                let within = samples.iter().copied().filter(|ts| number_of(*ts) == number);
                let part = &mut parts[usize::from(series % 5 == 0)];
                part.entry(*series).or_default().extend(within);
            }
        }
        let start = start_of(number);
        let mut names = Vec::new();
        for mut held in parts {
            held.retain(|_, samples| !samples.is_empty());
            if !held.is_empty() {
                let (range, origin) = (span_of(start), Some((id, start)));
                names.push(self.add_block(BlockState { held, origin, range, sources: vec![], damaged: false }));
            }
        }
        let group = self.groups.get_mut(&id).unwrap();
        group.closed += 1;
        group.manifests.insert(number, names);
    }

    /// Merges two blocks into one from then on.
    pub(crate) fn compact(&mut self, a: BlockName, b: BlockName) {
        let (Some(a_block), Some(b_block)) = (self.blocks.remove(&a), self.blocks.remove(&b)) else { return };
        let mut held = a_block.held;
        for (series, samples) in b_block.held {
            held.entry(series).or_default().extend(samples);
        }
        let mint = a_block.range.mint.min(b_block.range.mint);
        let range = TimeRange::new(mint, a_block.range.maxt.max(b_block.range.maxt));
        self.add_block(BlockState { held, origin: None, range, sources: vec![a, b], damaged: false });
    }

    /// The next replica takes the place of the last one, and is not filled.
    pub(crate) fn replace_last(&mut self, id: GroupId) {
        let (seen, leaving, joining) = (self.groups[&id].entry.newest().number, replica(id.0, 2), replica(id.0, 3));
        self.decide(&Command::ReplaceMember { group: id, seen, leaving, joining: joining.clone() });
        let entry = self.entry_of(id);
        let group = self.groups.get_mut(&id).unwrap();
        group.entry = entry;
        let mut state = MemberState::new(false);
        let first = &group.members[&replica(id.0, 0)];
        (state.held, state.dropped, state.watermark) = (first.held.clone(), first.dropped, first.watermark);
        group.members.insert(joining, state);
    }

    /// It has heard of all that was acknowledged.
    pub(crate) fn fill(&mut self, id: GroupId) {
        let (seen, replica) = (self.groups[&id].entry.newest().number, replica(id.0, 3));
        self.decide(&Command::ReportFilled { group: id, seen, replica: replica.clone() });
        let entry = self.entry_of(id);
        let group = self.groups.get_mut(&id).unwrap();
        group.entry = entry;
        let member = group.members.get_mut(&replica).unwrap();
        member.filled = true;
        for (series, samples) in &group.acked {
            member.held.entry(*series).or_default().extend(samples);
        }
    }

    pub(crate) fn record_hole(&mut self, group: GroupId, range: TimeRange) {
        self.decide(&Command::RecordHole(Hole { group, range }));
    }

    /// While a question is on its way a range is closed, or dropped by whom was asked.
    fn time_passes(&mut self, id: GroupId, asked: &ReplicaId) {
        if !self.moves {
            return;
        }
        if self.random.one_in(3) {
            self.close(id);
        }
        let dropping = self.random.one_in(2);
        let group = self.groups.get_mut(&id).unwrap();
        if let Some(member) = group.members.get_mut(asked).filter(|m| dropping && m.dropped < group.closed) {
            member.dropped += 1;
            member.watermark = member.watermark.max(member.dropped - 3);
        }
    }
}

impl MemberState {
    fn new(filled: bool) -> MemberState {
        MemberState { held: Held::new(), filled, dropped: 0, watermark: 0, fault: Fault::None }
    }
}

/// Series with a chunk for each range; labels tell the number of the series.
fn batches(held: &Held, range: TimeRange, with: impl Fn(i64) -> bool) -> Vec<SeriesBatch> {
    let mut all = Vec::new();
    for (id, samples) in held {
        let mut by_range: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for ts in samples.iter().filter(|ts| with(**ts) && range.contains(TimestampMs(**ts))) {
            by_range.entry(number_of(*ts)).or_default().push(*ts);
        }
        let chunk = |samples: Vec<i64>| Chunk {
            encoding: ChunkEncoding::Xor,
            mint: TimestampMs(samples[0]),
            maxt: TimestampMs(samples[samples.len() - 1]),
            data: Bytes::from(samples.iter().flat_map(|ts| ts.to_le_bytes()).collect::<Vec<u8>>()),
        };
        let labels = Labels::from_pairs([("n", id.to_string().as_str())]).unwrap();
        let chunks: Vec<Chunk> = by_range.into_values().map(chunk).collect();
        if !chunks.is_empty() {
            all.push(Series { id: SeriesId(*id), labels, chunks });
        }
    }
    all.chunks(BATCH).map(<[Series]>::to_vec).collect()
}

fn values(batches: &[SeriesBatch]) -> Vec<String> {
    batches.iter().flatten().map(|series| series.labels.get("n").unwrap().to_owned()).collect()
}

type Item = Result<SeriesBatch, SelectError>;

/// The batches as a stream that fails as it should.
fn streamed(batches: Vec<SeriesBatch>, fault: Fault, damaged: bool, live: Live) -> BoxStream<'static, Item> {
    let unreadable = || SelectError::Unreadable { what: "it".to_owned(), reason: "broken".to_owned() };
    let (kept, end): (usize, BoxStream<'static, Item>) = match fault {
        Fault::BreaksOff(after) => (after, futures::stream::iter([Err(unreadable())]).boxed()),
        Fault::Silent(after) => (after, futures::stream::pending().boxed()),
        _ if damaged => (1, futures::stream::iter([Err(unreadable())]).boxed()),
        _ => (usize::MAX, futures::stream::empty().boxed()),
    };
    let given = futures::stream::iter(batches.into_iter().take(kept).map(Ok)).chain(end);
    given.map(move |item| (item, &live).0).boxed()
}

/// `answer` as late as the fault has it.
fn answered<T: Send + 'static>(fault: Fault, live: Live, answer: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    async move {
        let _live = live;
        match fault {
            Fault::NeverAnswers => futures::future::pending().await,
            Fault::Unknown | Fault::Refuses => {
                tokio::time::sleep(Duration::from_millis(3)).await;
                return Err(Unanswered("refused".to_owned()));
            }
            Fault::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Fault::None | Fault::BreaksOff(_) | Fault::Silent(_) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(answer())
    }
    .boxed()
}

struct FakeMember {
    fake: Fake,
    group: GroupId,
    id: ReplicaId,
}

impl FakeMember {
    fn fault(&self, what: &str) -> Fault {
        let mut world = self.fake.world.lock();
        *world.asked.entry(format!("{what} {}", self.id.node)).or_default() += 1;
        world.groups[&self.group].members[&self.id].fault
    }
}

/// What a member says now.
fn says(fake: &Fake, id: GroupId, who: &ReplicaId, entry: &Entry, range: TimeRange) -> (ReadReply, Vec<SeriesBatch>) {
    let mut world = fake.world.lock();
    world.time_passes(id, who);
    let group = world.groups.get_mut(&id).unwrap();
    let generation = entry.newest().number;
    if group.entry.newest().number > generation {
        return (ReadReply::Stale(group.entry.clone()), Vec::new());
    }
    let member = &group.members[who];
    let named = (member.watermark..member.dropped).filter(|number| span_of(start_of(*number)).overlaps(&range));
    let name = |number: i64| format!("closed/{}/{number}", id.0).into();
    let reply = ReadReply::Held {
        flags: Flags { generation, filled: member.filled },
        dropped: named.map(|number| (start_of(number), name(number))).collect(),
        watermark: start_of(member.watermark),
    };
    (reply, batches(&member.held, range, |ts| number_of(ts) >= member.dropped))
}

impl Member for FakeMember {
    fn push(&self, _: Entry, _: batch::Batch) -> Answer<PushReply> {
        unreachable!("reads only")
    }
    fn list(&self, _: ReplicaId, _: Entry, _: Position) -> Answer<ListReply> {
        unreachable!("reads only")
    }
    fn fetch(&self, _: Fetch) -> Answer<Option<Fetched>> {
        unreachable!("reads only")
    }
    fn seal(&self, _: Entry, _: TimestampMs) -> Answer<SealReply> {
        unreachable!("reads only")
    }

    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected> {
        let fault = self.fault("select");
        let (fake, group, id) = (self.fake.clone(), self.group, self.id.clone());
        answered(fault, Live::new(&self.fake.live), move || {
            let (reply, batches) = says(&fake, group, &id, &entry, request.range);
            Selected { reply, series: streamed(batches, fault, false, Live::new(&fake.live)) }
        })
    }

    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled> {
        let fault = self.fault("labels");
        let (fake, group, id) = (self.fake.clone(), self.group, self.id.clone());
        answered(fault, Live::new(&self.fake.live), move || {
            let (reply, batches) = says(&fake, group, &id, &entry, question.query.range);
            Labelled { reply, values: values(&batches) }
        })
    }

    fn exemplars(&self, _: TenantId, _: TimeRange, _: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        let (fault, id) = (self.fault("exemplars"), self.id.clone());
        answered(fault, Live::new(&self.fake.live), move || {
            let exemplar = |value: f64| Exemplar { labels: Labels::empty(), value, timestamp: Some(TimestampMs(1)) };
            let labels = Labels::from_pairs([("group", &id.node.as_str()[..2])]).unwrap();
            let own = f64::from(id.node.as_str().as_bytes()[3]);
            vec![Exemplars { labels, exemplars: vec![exemplar(1.0), exemplar(own)] }]
        })
    }

    fn metadata(&self, _: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        let (fault, id) = (self.fault("metadata"), self.id.clone());
        answered(fault, Live::new(&self.fake.live), move || {
            [(id.node.as_str()[..2].to_owned(), Metadata::default())].into()
        })
    }
}

impl Members for Fake {
    fn member(&self, replica: &ReplicaId) -> Option<Arc<dyn Member>> {
        let world = self.world.lock();
        let (group, member) = world.groups.iter().find_map(|(id, group)| Some((*id, group.members.get(replica)?)))?;
        let known = member.fault != Fault::Unknown;
        known.then(|| Arc::new(FakeMember { fake: self.clone(), group, id: replica.clone() }) as Arc<dyn Member>)
    }
}

struct FakeStore {
    fake: Fake,
    id: NodeId,
}

impl FakeStore {
    fn fault(&self, what: &str) -> Fault {
        let mut world = self.fake.world.lock();
        *world.asked.entry(format!("{what} {}", self.id)).or_default() += 1;
        world.stores[&self.id].fault
    }
}

/// The blocks that a store serves of those asked for, what is in them, and whether that ends badly.
fn serves(
    fake: &Fake,
    store: &NodeId,
    blocks: &[BlockName],
    range: TimeRange,
) -> (Vec<BlockName>, Vec<SeriesBatch>, bool) {
    let mut world = fake.world.lock();
    let world = &mut *world;
    let state = world.stores.get_mut(store).unwrap();
    let (mut served, mut held, mut damaged) = (Vec::new(), Held::new(), false);
    for name in blocks {
        let stands_in = || world.blocks.iter().find(|(_, block)| block.sources.contains(name));
        let Some((name_found, block)) = world.blocks.get_key_value(name).or_else(stands_in) else { continue };
        if state.lacks.contains(name_found) || state.set_aside.contains(name_found) {
            continue;
        }
        if block.damaged {
            state.set_aside.insert(*name_found);
            damaged = true;
        }
        served.push(*name);
        for (series, samples) in &block.held {
            held.entry(*series).or_default().extend(samples);
        }
    }
    (served, batches(&held, range, |_| true), damaged)
}

impl Store for FakeStore {
    fn select(&self, blocks: Vec<BlockName>, request: SelectRequest) -> Answer<StoreSelected> {
        let fault = self.fault("select");
        let (fake, id) = (self.fake.clone(), self.id.clone());
        answered(fault, Live::new(&self.fake.live), move || {
            let (served, batches, damaged) = serves(&fake, &id, &blocks, request.range);
            StoreSelected { served, series: streamed(batches, fault, damaged, Live::new(&fake.live)) }
        })
    }

    fn labels(&self, blocks: Vec<BlockName>, question: LabelQuestion) -> Answer<StoreLabels> {
        let fault = self.fault("labels");
        let (fake, id) = (self.fake.clone(), self.id.clone());
        answered(fault, Live::new(&self.fake.live), move || {
            let (served, batches, _) = serves(&fake, &id, &blocks, question.query.range);
            StoreLabels { served, values: values(&batches) }
        })
    }

    fn manifest(&self, _: TenantId, name: String) -> Answer<ManifestAnswer> {
        let fake = self.fake.clone();
        let found = async move {
            let mut parts = name.split('/').skip(1).map(|part| part.parse::<i64>().unwrap());
            let (group, number) = (parts.next().unwrap(), parts.next().unwrap());
            let world = fake.world.lock();
            let group = &world.groups[&GroupId(u32::try_from(group).unwrap())];
            let blocks = group.manifests.get(&number).ok_or(Unanswered("no such manifest".to_owned()))?.clone();
            Ok(ManifestAnswer { start: start_of(number), blocks, hole: false })
        };
        let late = answered(self.fault("manifest"), Live::new(&self.fake.live), || ());
        async move {
            late.await?;
            found.await
        }
        .boxed()
    }

    fn index(&self, _: TenantId, range: TimeRange) -> Answer<Index> {
        let (fake, id) = (self.fake.clone(), self.id.clone());
        answered(self.fault("index"), Live::new(&self.fake.live), move || {
            let world = fake.world.lock();
            let state = &world.stores[&id];
            let listed = world.blocks.iter().filter(|(_, block)| block.range.overlaps(&range));
            let entry = |(name, block): (&BlockName, &BlockState)| IndexEntry {
                block: *name,
                origin: block.origin,
                range: block.range,
                set_aside: state.set_aside.contains(name).then(|| "damaged".to_owned()),
            };
            Index { entries: listed.map(entry).collect(), age: state.index_age }
        })
    }
}

impl Stores for Fake {
    fn stores(&self) -> Vec<(NodeId, Arc<dyn Store>)> {
        let world = self.world.lock();
        let up = world.stores.iter().filter(|(_, state)| state.fault != Fault::Unknown);
        up.map(|(id, _)| (id.clone(), Arc::new(FakeStore { fake: self.clone(), id: id.clone() }) as Arc<dyn Store>))
            .collect()
    }
}
