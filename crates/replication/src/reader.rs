//! The reader: what it takes to call an answer complete (rule *Read*).
//!
//! One reader asks one group, at one map, from one moment. First the replicas: all members of the generations that count,
//! hedged; then the blocks that stand for what they have dropped. Samples and blocks are the caller's; the union of all
//! that was sent in counts as the answer, whether complete or not.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Group, GroupId, Replica as ReplicaId};
use model::{DurationMs, TimeRange, TimestampMs};

use crate::entry::{adopt, is_newer, live_members};
use crate::manifest::BlockName;
use crate::quorum::{Purpose, Replies, has_quorum};
use crate::range::span_of;
use crate::replica::ReadReply;
use crate::state::ManifestName;
use crate::{Entry, Rule, Rules};

/// When to do what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Those that were not asked at first are asked after this.
    pub hedge_after: DurationMs,
    /// The answer is given after this, complete or not.
    pub give_up_after: DurationMs,
}

/// What the reader wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What a replica holds, at an entry.
    Replica {
        /// Who.
        to: ReplicaId,
        /// At which generation.
        entry: Entry,
    },
    /// The blocks of a manifest.
    Manifest {
        /// Start of the range.
        start: TimestampMs,
        /// Its name.
        name: ManifestName,
    },
    /// The samples of a block.
    Block(BlockName),
    /// The index of older blocks.
    Index,
}

/// Why an answer is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The group.
    pub group: GroupId,
    /// The time of which samples may be missing.
    pub range: TimeRange,
    /// What is missing.
    pub why: Why,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No quorum of the replicas answered.
    Replicas,
    /// The manifest was not read.
    Manifest,
    /// A block was not read, or is set aside.
    Block(BlockName),
    /// The index of older blocks is too old, or was not read.
    Index,
    /// Samples were lost for good, or could not be cut.
    Hole,
}

/// The index of blocks, for ranges that are not named any more.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Blocks of this group in the query's range, by the range that they hold.
    pub blocks: Vec<(TimestampMs, BlockName)>,
    /// Whether it is young enough to list everything that was dropped before the watermark.
    pub is_young: bool,
}

/// A query to one group.
#[derive(Debug)]
pub struct Reader {
    rules: Rules,
    timing: Timing,
    entry: Entry,
    range: TimeRange,
    /// When the query began; complete means: everything acknowledged before.
    began: TimestampMs,
    asked: BTreeSet<ReplicaId>,
    hedged: bool,
    replies: Replies,
    named: BTreeMap<TimestampMs, ManifestName>,
    watermark: TimestampMs,
    /// Set when the replicas have answered.
    manifests: BTreeMap<TimestampMs, Option<Vec<BlockName>>>,
    blocks: BTreeMap<BlockName, (TimestampMs, bool)>,
    holes: Vec<TimeRange>,
    index: Option<Index>,
    replicas_done: bool,
}

impl Reader {
    /// A query at `now`. Begin with [`Reader::begin`].
    pub fn new(entry: Entry, range: TimeRange, timing: Timing, now: TimestampMs, rules: Rules) -> Reader {
        Reader {
            rules,
            timing,
            entry,
            range,
            began: now,
            asked: BTreeSet::new(),
            hedged: false,
            replies: Replies::new(),
            named: BTreeMap::new(),
            watermark: TimestampMs::MIN,
            manifests: BTreeMap::new(),
            blocks: BTreeMap::new(),
            holes: Vec::new(),
            index: None,
            replicas_done: false,
        }
    }

    /// The group's entry as this query knows it.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whom to ask first: so many that they can be a quorum, in the order of `preferred` and then of the map.
    pub fn begin(&mut self, preferred: &[ReplicaId]) -> Vec<Ask> {
        let mut order = live_members(&self.entry);
        order.sort_by_key(|id| preferred.iter().position(|p| p == id).unwrap_or(preferred.len()));
        let mut expected = Replies::new();
        let mut asks = Vec::new();
        for to in order {
            if self.expects_quorum(&expected) {
                break;
            }
            let generation = self.entry.newest().number;
            expected.insert(to.clone(), crate::quorum::Flags { generation, filled: filled_by_map(&self.entry, &to) });
            asks.push(self.ask(to));
        }
        asks
    }

    /// Asks everyone who was not asked.
    pub fn hedge(&mut self) -> Vec<Ask> {
        self.hedged = true;
        let others = live_members(&self.entry).into_iter().filter(|to| !self.asked.contains(to));
        others.collect::<Vec<_>>().into_iter().map(|to| self.ask(to)).collect()
    }

    fn ask(&mut self, to: ReplicaId) -> Ask {
        self.asked.insert(to.clone());
        Ask::Replica { to, entry: self.entry.clone() }
    }

    fn expects_quorum(&self, replies: &Replies) -> bool {
        if !self.rules.keep(Rule::ReadsAskAQuorum) {
            return replies.values().any(|flags| flags.filled);
        }
        has_quorum(&self.entry, Purpose::Read, replies, self.rules)
    }

    /// An entry that came by another way. The query goes on where only more members are filled, and starts again at a new
    /// generation: then what was sent in so far is to be thrown away, and the asks to be sent.
    pub fn learn(&mut self, entry: &Entry) -> Option<Vec<Ask>> {
        if !is_newer(entry, &self.entry) || self.replicas_done {
            return None;
        }
        if !adopt(&mut self.entry, entry) {
            self.check_replicas();
            return None;
        }
        self.asked.clear();
        self.replies.clear();
        self.named.clear();
        self.watermark = TimestampMs::MIN;
        Some(if self.hedged { self.hedge() } else { self.begin(&[]) })
    }

    /// What a replica said. True where its samples belong to the answer.
    pub fn replied(&mut self, from: &ReplicaId, reply: &ReadReply) -> bool {
        let ReadReply::Held { flags, dropped, watermark } = reply else { return false };
        let generation = self.entry.newest().number;
        let counts = flags.generation == generation || !self.rules.keep(Rule::OlderGenerationsRefused);
        if self.replicas_done || !counts || !self.asked.contains(from) {
            return false;
        }
        let flags = crate::quorum::Flags { generation, ..*flags };
        self.replies.insert(from.clone(), flags);
        self.watermark = self.watermark.max(*watermark);
        for (start, name) in dropped {
            self.named.insert(*start, name.clone());
        }
        self.check_replicas();
        true
    }

    fn check_replicas(&mut self) {
        self.replicas_done |= self.expects_quorum(&self.replies);
    }

    /// Whether a quorum of the replicas has answered: what they have dropped is next ([`Reader::blocks_wanted`]).
    pub fn replicas_done(&self) -> bool {
        self.replicas_done
    }

    /// Manifests, blocks and the index: what is named or listed and was not answered. To be asked again until it is.
    pub fn blocks_wanted(&self) -> Vec<Ask> {
        let manifests = self.named.iter().filter(|(start, _)| self.manifests.get(*start).is_none_or(Option::is_none));
        let mut asks: Vec<Ask> =
            manifests.map(|(start, name)| Ask::Manifest { start: *start, name: name.clone() }).collect();
        asks.extend(self.blocks.iter().filter(|(_, (_, answered))| !answered).map(|(block, _)| Ask::Block(*block)));
        if self.lacks_index() {
            asks.push(Ask::Index);
        }
        asks
    }

    /// The watermark of the replicas that answered: older ranges are the index's.
    pub fn watermark(&self) -> TimestampMs {
        self.watermark
    }

    fn lacks_index(&self) -> bool {
        self.range.mint < self.watermark && !self.index.as_ref().is_some_and(|index| index.is_young)
    }

    /// A manifest was read.
    pub fn manifest_read(&mut self, manifest: &crate::manifest::Manifest) {
        self.manifest_told(manifest.start, &manifest.blocks, !manifest.holes.is_empty());
    }

    /// What a manifest says of the range that starts here: the blocks that this query needs, and whether something that it asks
    /// for could not be cut.
    pub fn manifest_told(&mut self, start: TimestampMs, blocks: &[BlockName], is_hole: bool) {
        if !self.named.contains_key(&start) {
            return;
        }
        for block in blocks {
            self.blocks.entry(*block).or_insert((start, false));
        }
        if is_hole {
            self.holes.push(span_of(start));
        }
        self.manifests.insert(start, Some(blocks.to_vec()));
    }

    /// The time that a block stands for, as far as it lies in the query; `None` where the query does not need it.
    pub fn span_of_block(&self, block: BlockName) -> Option<TimeRange> {
        self.blocks.get(&block).map(|(start, _)| within(span_of(*start), self.range))
    }

    /// A store served a block, or one that lists it in `sources`.
    pub fn block_read(&mut self, block: BlockName) {
        if let Some((_, answered)) = self.blocks.get_mut(&block) {
            *answered = true;
        }
    }

    /// The index of older blocks.
    pub fn index_read(&mut self, index: Index) {
        for (start, block) in &index.blocks {
            if *start < self.watermark {
                self.blocks.entry(*block).or_insert((*start, false));
            }
        }
        self.index = Some(index);
    }

    /// Whether waiting longer cannot make the answer more complete.
    pub fn is_done(&self) -> bool {
        self.replicas_done && self.missing(&[]).is_empty()
    }

    /// What is due at `now`: the hedge once, and whether to give up.
    pub fn tick(&mut self, now: TimestampMs) -> (Vec<Ask>, bool) {
        let give_up = now >= self.began + self.timing.give_up_after;
        let hedge = !self.hedged && !self.replicas_done && now >= self.began + self.timing.hedge_after;
        (if hedge { self.hedge() } else { Vec::new() }, give_up)
    }

    /// What may be missing, named; empty: the answer is complete. `holes` are those on record for this group, quarantined
    /// blocks included.
    pub fn missing(&self, holes: &[TimeRange]) -> Vec<Missing> {
        let group = self.entry.id();
        let part = |range: TimeRange, why: Why| Missing { group, range: within(range, self.range), why };
        let mut missing = Vec::new();
        if !self.replicas_done {
            missing.push(part(self.range, Why::Replicas));
        }
        for start in self.named.keys() {
            if self.manifests.get(start).is_none_or(Option::is_none) {
                missing.push(part(span_of(*start), Why::Manifest));
            }
        }
        for (block, (start, answered)) in &self.blocks {
            if !answered {
                missing.push(part(span_of(*start), Why::Block(*block)));
            }
        }
        if self.lacks_index() {
            missing.push(part(TimeRange::new(self.range.mint, self.watermark), Why::Index));
        }
        let holes = holes.iter().chain(&self.holes).filter(|hole| hole.overlaps(&self.range));
        missing.extend(holes.map(|hole| part(*hole, Why::Hole)));
        missing
    }
}

fn within(range: TimeRange, query: TimeRange) -> TimeRange {
    TimeRange::new(range.mint.max(query.mint), range.maxt.min(query.maxt))
}

fn filled_by_map(group: &Group, replica: &ReplicaId) -> bool {
    // One that is in no newer generation than an all-filled one is filled in that.
    let newest = group.generations().iter().rev().find_map(|g| g.position(replica).map(|place| &g.members[place]));
    newest.is_some_and(|member| member.filled)
}

#[cfg(test)]
mod tests;
