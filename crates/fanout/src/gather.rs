//! The first replies of all that have a part in an answer, and what is missing from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::{ClusterMap, Group, GroupId, NodeId, Replica as ReplicaId};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::TimeRange;
use peer::Index;
use replication::manifest::BlockName;
use replication::reader::{self, Ask, Reader};

use crate::cluster::Shared;
use crate::members::{Answered, ask_group};
use crate::question::Question;
use crate::shortage::{Because, Shortage};
use crate::stores::{Failures, Shelves, read_blocks};

/// Everyone who has a part in an answer.
pub(crate) struct Gathered<P> {
    /// What replicas hold.
    pub(crate) members: Vec<(GroupId, ReplicaId, P)>,
    /// What is in blocks, with the store and the blocks that it serves.
    pub(crate) stores: Vec<(NodeId, Vec<BlockName>, P)>,
    /// What is missing.
    pub(crate) shortages: Vec<Shortage>,
    /// What each block that was asked for stands for.
    pub(crate) stands_for: StandsFor,
    /// The list of the bucket that was used.
    pub(crate) index: ListOfBlocks,
}

/// What would be missing without a block: the time of groups, or of blocks that no group has written.
pub(crate) type StandsFor = BTreeMap<BlockName, Vec<(Option<GroupId>, TimeRange)>>;

/// What is known of the bucket.
#[derive(Clone)]
pub(crate) enum ListOfBlocks {
    NotAsked,
    Unread,
    Read(Arc<Index>),
}

impl<P> Gathered<P> {
    /// All parts.
    pub(crate) fn parts(self) -> impl Iterator<Item = P> {
        self.members.into_iter().map(|(_, _, part)| part).chain(self.stores.into_iter().map(|(_, _, part)| part))
    }
}

/// The shortages of a block that nobody serves.
pub(crate) fn without_block(stands_for: &StandsFor, block: BlockName) -> impl Iterator<Item = Shortage> {
    let spans = stands_for.get(&block).cloned().unwrap_or_default();
    spans.into_iter().map(move |(group, range)| Shortage { group, range, because: Because::Block(block) })
}

/// Asks all groups, and then the stores.
pub(crate) async fn gather<Q: Question>(shared: &Shared, question: &Q) -> Gathered<Q::Part> {
    let map = shared.map();
    let shelves = Shelves::up(shared);
    let range = question.range();
    let open_since = (shared.clock)() - shared.timing.recent;
    let entries = map.groups().iter().map(|group| Arc::new(group.clone()));
    // Bounded by the number of groups of a cluster.
    let mut asking: FuturesUnordered<_> =
        entries.map(|entry| async move { ask_group(shared, entry, question, &[]).await }).collect();
    let groups = async {
        let mut answered = Vec::new();
        while let Some(group) = asking.next().await {
            answered.push(group);
        }
        answered
    };
    let index = async {
        if range.mint < open_since { read_index(shared, &shelves, question).await } else { ListOfBlocks::NotAsked }
    };
    let (groups, index) = futures::future::join(groups, index).await;
    let mut gathering = Gathering { shared, question, map: &map, shelves, shortages: Vec::new(), index };
    gathering.judge_map();
    gathering.judge_index(open_since);
    gathering.finish(groups, Elsewhere::Included, &BTreeSet::new()).await
}

/// Asks a group once more, the replicas of `avoid` last, and for the blocks that it names beside `streaming`.
pub(crate) async fn gather_group<Q: Question>(
    shared: &Shared,
    question: &Q,
    group: GroupId,
    avoid: &[ReplicaId],
    index: ListOfBlocks,
    streaming: &BTreeSet<BlockName>,
) -> Gathered<Q::Part> {
    let map = shared.map();
    let answered = match map.group(group) {
        Some(entry) => vec![ask_group(shared, Arc::new(entry.clone()), question, avoid).await],
        None => Vec::new(),
    };
    let shelves = Shelves::up(shared);
    let gathering = Gathering { shared, question, map: &map, shelves, shortages: Vec::new(), index };
    gathering.finish(answered, Elsewhere::LeftOut, streaming).await
}

async fn read_index<Q: Question>(shared: &Shared, shelves: &Shelves, question: &Q) -> ListOfBlocks {
    match shelves.index(shared, question.tenant(), question.range()).await {
        Some(index) => ListOfBlocks::Read(Arc::new(index)),
        None => ListOfBlocks::Unread,
    }
}

/// Whether blocks that no group has written belong to the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    Included,
    LeftOut,
}

struct Gathering<'a, Q: Question> {
    shared: &'a Shared,
    question: &'a Q,
    map: &'a ClusterMap,
    shelves: Shelves,
    shortages: Vec<Shortage>,
    index: ListOfBlocks,
}

impl<Q: Question> Gathering<'_, Q> {
    fn lacks(&mut self, range: TimeRange, because: Because) {
        self.shortages.push(Shortage { group: None, range, because });
    }

    /// A map that does not know who has what may not know of something acknowledged.
    fn judge_map(&mut self) {
        let range = self.question.range();
        if self.map.cluster().is_none() {
            self.lacks(range, Because::Map);
        } else if self.map.unplaced().next().is_some() {
            self.lacks(range, Because::Placement);
        }
    }

    /// Blocks from elsewhere are known by the list alone.
    fn judge_index(&mut self, open_since: model::TimestampMs) {
        let is_short = match &self.index {
            ListOfBlocks::NotAsked => false,
            ListOfBlocks::Unread => true,
            ListOfBlocks::Read(index) => !self.is_young(index),
        };
        let range = self.question.range();
        if is_short {
            self.lacks(TimeRange::new(range.mint, range.maxt.min(open_since)), Because::Index);
        }
    }

    fn is_young(&self, index: &Index) -> bool {
        index.age <= self.shared.timing.index_age_max
    }

    /// From the replies of groups to all that is needed beside them.
    async fn finish(
        mut self,
        groups: Vec<Answered<Q::Part>>,
        elsewhere: Elsewhere,
        streaming: &BTreeSet<BlockName>,
    ) -> Gathered<Q::Part> {
        let mut members = Vec::new();
        let mut readers: Vec<Reader> = Vec::new();
        for group in groups {
            let id = group.reader.entry().id();
            members.extend(group.parts.into_iter().map(|(replica, part)| (id, replica, part)));
            readers.push(group.reader);
        }
        self.read_manifests(&mut readers).await;
        self.tell_index(&mut readers).await;
        let (wanted, stands_for) = self.wanted(&readers, elsewhere);
        let asked: BTreeSet<BlockName> = wanted.difference(streaming).copied().collect();
        let served = read_blocks(self.shared, &self.shelves, self.question, &asked, &Failures::new()).await;
        for block in wanted.difference(&served.unserved) {
            readers.iter_mut().for_each(|reader| reader.block_read(*block));
        }
        for reader in &readers {
            let holes = self.map.holes().of(reader.entry().id());
            self.shortages.extend(reader.missing(holes).into_iter().map(Shortage::from));
        }
        let of_no_group = served.unserved.iter().flat_map(|block| without_block(&stands_for, *block));
        self.shortages.extend(of_no_group.filter(|shortage| shortage.group.is_none()));
        Gathered { members, stores: served.parts, shortages: self.shortages, stands_for, index: self.index }
    }

    /// Reads what the replicas name, all at once; what cannot be read stays wanted, and is named.
    async fn read_manifests(&self, readers: &mut [Reader]) {
        let mut reading = FuturesUnordered::new();
        for (at, reader) in readers.iter().enumerate() {
            for ask in reader.blocks_wanted() {
                let Ask::Manifest { start, name } = ask else { continue };
                reading.push(async move {
                    let answer = self.shelves.manifest(self.shared, self.question.tenant(), &name).await;
                    (at, start, answer)
                });
            }
        }
        while let Some((at, start, answer)) = reading.next().await {
            if let Some(answer) = answer.filter(|answer| answer.start == start) {
                readers[at].manifest_told(start, &answer.blocks, answer.hole);
            }
        }
    }

    /// Gives each group its part of the list, where it needs one.
    async fn tell_index(&mut self, readers: &mut [Reader]) {
        let is_needed = |reader: &Reader| reader.blocks_wanted().contains(&Ask::Index);
        if matches!(self.index, ListOfBlocks::NotAsked) && readers.iter().any(is_needed) {
            self.index = read_index(self.shared, &self.shelves, self.question).await;
        }
        let ListOfBlocks::Read(index) = &self.index else { return };
        for reader in readers.iter_mut() {
            let own = |group: &Group| {
                let of = index.entries.iter().filter_map(|entry| entry.origin.map(|origin| (origin, entry.block)));
                of.filter(|((id, _), _)| *id == group.id()).map(|((_, start), block)| (start, block)).collect()
            };
            let blocks = own(reader.entry());
            reader.index_read(reader::Index { blocks, is_young: self.is_young(index) });
        }
    }

    /// The blocks to be asked for, and what each stands for. Those that are set aside are named instead.
    fn wanted(&mut self, readers: &[Reader], elsewhere: Elsewhere) -> (BTreeSet<BlockName>, StandsFor) {
        let mut wanted = BTreeSet::new();
        let mut stands_for = StandsFor::new();
        for reader in readers {
            let asks = reader.blocks_wanted().into_iter();
            for block in asks.filter_map(|ask| if let Ask::Block(block) = ask { Some(block) } else { None }) {
                wanted.insert(block);
                let span = reader.span_of_block(block).map(|span| (Some(reader.entry().id()), span));
                stands_for.entry(block).or_default().extend(span);
            }
        }
        let ListOfBlocks::Read(index) = self.index.clone() else { return (wanted, stands_for) };
        let range = self.question.range();
        let overlap = |of: TimeRange| TimeRange::new(of.mint.max(range.mint), of.maxt.min(range.maxt));
        for entry in index.entries.iter() {
            let is_foreign = entry.origin.is_none() && elsewhere == Elsewhere::Included && entry.range.overlaps(&range);
            let is_aside = entry.set_aside.is_some();
            if is_foreign && is_aside {
                self.lacks(overlap(entry.range), Because::Block(entry.block));
            } else if is_foreign {
                wanted.insert(entry.block);
                stands_for.entry(entry.block).or_default().push((None, overlap(entry.range)));
            }
            if is_aside {
                wanted.remove(&entry.block);
            }
        }
        (wanted, stands_for)
    }
}
