//! What was acknowledged, and the assertions of the protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{GenerationNumber, Group, GroupId, Replica as ReplicaId};
use model::TimestampMs;
use replication::range::range_of;
use replication::{Position, Record, Rule};

use crate::data::{Head, Key, Sample, stays};
use crate::node::{Logged, Node};
use crate::world::World;

/// `Err`: the violation, in words.
pub(crate) type Checked = Result<(), String>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) value: f64,
    pub(crate) generation: GenerationNumber,
    pub(crate) number: u64,
}

/// What a data position of a log holds.
#[derive(Clone, Debug)]
pub(crate) enum Holding {
    Batch(Arc<Vec<Sample>>),
    Content(Arc<Head>),
}

#[derive(Clone, Debug, Default)]
struct Seen {
    position: Position,
    generation: u64,
    sealed_before: i64,
    watermark: i64,
    covers: BTreeMap<ReplicaId, Position>,
}

/// Knows everything.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) acked: BTreeMap<GroupId, BTreeMap<Key, Vec<Ack>>>,
    pub(crate) written: BTreeMap<Key, Vec<f64>>,
    pub(crate) acks: u64,
    /// All data that was ever synced in each log.
    logs: BTreeMap<ReplicaId, Vec<(Position, Holding)>>,
    seen: BTreeMap<ReplicaId, Seen>,
    pub(crate) complete_answers: u64,
}

impl Ledger {
    pub(crate) fn log_grew(&mut self, of: &ReplicaId, logged: &Logged) {
        let holding = match (&logged.record, &logged.content) {
            (Record::Batch(batch), _) => Holding::Batch(batch.samples.clone()),
            (Record::Merged(_), Some(content)) => Holding::Content(content.clone()),
            _ => return,
        };
        self.logs.entry(of.clone()).or_default().push((logged.position, holding));
    }

    pub(crate) fn forget_replica(&mut self, of: &ReplicaId) {
        self.logs.remove(of);
        self.seen.remove(of);
    }
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    /// A sample was acknowledged to the caller.
    pub(crate) fn acknowledged(&mut self, group: GroupId, sample: Sample, generation: GenerationNumber) -> Checked {
        self.ledger.acks += 1;
        let ack = Ack { value: sample.value, generation, number: self.ledger.acks };
        self.ledger.acked.entry(group).or_default().entry(sample.key).or_default().push(ack);
        self.check_held(group, sample.key, sample.value)?;
        let start = range_of(TimestampMs(sample.key.1)).0;
        let closed = self.store.manifests.contains_key(&(group, start));
        expect(!closed || self.store.holds(group, start, sample.key, sample.value), || {
            format!(
                "assertion 7: {:?} of group {group} is acknowledged and not in the blocks of its manifest",
                sample.key
            )
        })
    }

    /// Assertion 4 for one sample.
    fn check_held(&self, group: GroupId, key: Key, value: f64) -> Checked {
        let entry = self.group(group);
        let (holders, needed) = (self.holders(entry, key, value), self.copies_needed(entry));
        if holders >= needed {
            return Ok(());
        }
        let start = range_of(TimestampMs(key.1)).0;
        expect(self.store.holds(group, start, key, value), || {
            format!(
                "assertion 4: {key:?} of group {group} is on {holders} living members, not {needed}, and in no manifest"
            )
        })
    }

    fn holders(&self, entry: &Group, key: Key, value: f64) -> usize {
        let members = replication::live_members(entry);
        let living = members.iter().filter_map(|id| self.nodes.iter().find(|node| node.id == *id)?.process.as_ref());
        living.filter(|process| process.head.holds(key, value)).count()
    }

    fn copies_needed(&self, entry: &Group) -> usize {
        let newest = entry.newest();
        let lost = newest.members.iter().any(|m| !self.nodes.iter().any(|node| node.id == m.replica));
        if !newest.all_filled() || lost { 1 } else { newest.members.len().min(2) }
    }

    /// Assertion 4 for a whole group.
    pub(crate) fn check_acked(&self, group: GroupId) -> Checked {
        let Some(acked) = self.ledger.acked.get(&group) else { return Ok(()) };
        for (key, acks) in acked {
            let value = acks.iter().map(|ack| ack.value).reduce(model::join_values).unwrap_or_default();
            self.check_held(group, *key, value)?;
        }
        Ok(())
    }

    /// Assertion 7, when a manifest appears.
    pub(crate) fn check_manifest(&self, group: GroupId, start: i64) -> Checked {
        expect(self.store.is_closed(group, start), || {
            format!("assertion 7: the manifest of {start} of group {group} names a block that is not there")
        })?;
        let Some(acked) = self.ledger.acked.get(&group) else { return Ok(()) };
        for (key, acks) in acked.iter().filter(|(key, _)| range_of(TimestampMs(key.1)).0 == start) {
            let value = acks.iter().map(|ack| ack.value).reduce(model::join_values).unwrap_or_default();
            expect(self.store.holds(group, start, *key, value), || {
                format!("assertion 7: {key:?} of group {group} is acknowledged and not in the blocks of {start}")
            })?;
        }
        Ok(())
    }

    /// What must hold after a record was synced and applied.
    pub(crate) fn check_applied(&mut self, index: usize, record: &Record<crate::data::SimBatch>) -> Checked {
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return Ok(()) };
        let state = process.replica.durable();
        let group = state.entry.id();
        match record {
            Record::Merged(_) => self.counted.merges += 1,
            Record::Freed { .. } => self.counted.freed += 1,
            Record::Watermark { .. } => self.counted.watermarks += 1,
            _ => {}
        }
        match record {
            Record::Filled(_) => self.check_filled(index)?,
            Record::Dropped { start, .. } => self.check_dropped(node, group, start.0)?,
            Record::Merged(merged) => {
                for start in merged.dropped.keys() {
                    self.check_dropped(node, group, start.0)?;
                }
                self.suspect(group);
            }
            Record::Freed { .. } => self.suspect(group),
            Record::Batch(_)
            | Record::Adopted(_)
            | Record::Covered { .. }
            | Record::Sealed { .. }
            | Record::Watermark { .. } => {}
        }
        Ok(())
    }

    /// Assertion 8; stricter, since a dropped range is not served any more.
    fn check_dropped(&self, node: &Node, group: GroupId, start: i64) -> Checked {
        expect(self.store.is_closed(group, start), || {
            format!(
                "assertion 8: {} dropped {start} of group {group}, which no manifest with all its blocks replaces",
                node.id
            )
        })
    }

    /// Assertion 6.
    fn check_filled(&self, index: usize) -> Checked {
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return Ok(()) };
        let state = process.replica.durable();
        let joined = state.joined.unwrap_or(GenerationNumber(0));
        let Some(acked) = self.ledger.acked.get(&state.entry.id()) else { return Ok(()) };
        for (key, acks) in acked {
            for ack in acks.iter().filter(|ack| ack.generation < joined) {
                let held = process.head.holds(*key, ack.value) || state.discards(TimestampMs(key.1));
                expect(held, || format!("assertion 6: {} is filled and lacks {key:?}", node.id))?;
            }
        }
        Ok(())
    }

    /// Assertions 1, 5 and 10 for a replica whose durable state may have changed.
    pub(crate) fn check_node(&mut self, index: usize) -> Checked {
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return Ok(()) };
        let state = process.replica.durable();
        let mut seen = self.ledger.seen.remove(&node.id).unwrap_or_default();
        let now = Seen {
            position: state.data_position,
            generation: state.entry.newest().number.0,
            sealed_before: state.sealed_before.0,
            watermark: state.watermark.0,
            covers: BTreeMap::new(),
        };
        let forward = now.position >= seen.position
            && now.generation >= seen.generation
            && (now.sealed_before >= seen.sealed_before || seen.position == 0)
            && (now.watermark >= seen.watermark || seen.position == 0);
        expect(forward, || format!("assertion 1: {} went back from {seen:?} to {now:?}", node.id))?;
        for (of, cover) in &state.covers {
            let before = seen.covers.get(of).copied().unwrap_or(0);
            expect(*cover >= before, || format!("assertion 1: cover of {of} at {} went back", node.id))?;
            if *cover > before {
                self.check_cover(node, of, before, *cover)?;
            }
        }
        let live = replication::live_members(&state.entry).len();
        expect(state.covers.len() <= live, || format!("assertion 10: {} has too many covers", node.id))?;
        for (start, drop) in &state.dropped {
            expect(!drop.freed || !process.head.ranges.contains_key(&start.0), || {
                format!("assertion 10: {} holds samples of {start}, which it has freed", node.id)
            })?;
        }
        let (_, waiting) = process.replica.sizes();
        expect(waiting <= self.setup.limits.waiting_max, || format!("assertion 10: {waiting} requests wait"))?;
        seen = Seen { covers: state.covers.clone(), ..now };
        self.ledger.seen.insert(node.id.clone(), seen);
        Ok(())
    }

    /// Assertion 5.
    fn check_cover(&self, node: &Node, of: &ReplicaId, from: Position, to: Position) -> Checked {
        let (Some(process), Some(log)) = (&node.process, self.ledger.logs.get(of)) else { return Ok(()) };
        let state = process.replica.durable();
        let holds = |key: Key, value: f64| process.head.holds(key, value) || state.discards(TimestampMs(key.1));
        let first = log.partition_point(|(position, _)| *position <= from);
        for (position, holding) in log[first..].iter().take_while(|(position, _)| *position <= to) {
            let lacks = match holding {
                Holding::Batch(samples) => samples.iter().find(|s| !holds(s.key, s.value)).map(|s| s.key),
                Holding::Content(head) => {
                    head.ranges.values().flatten().find(|(key, value)| !holds(**key, **value)).map(|(key, _)| *key)
                }
            };
            expect(lacks.is_none(), || {
                format!("assertion 5: {} covers {of} up to {to} and lacks {lacks:?} of position {position}", node.id)
            })?;
        }
        Ok(())
    }

    /// Assertion 10: a log holds a batch once.
    pub(crate) fn check_logged_once(&self, index: usize, record: &Record<crate::data::SimBatch>) -> Checked {
        let Record::Batch(batch) = record else { return Ok(()) };
        let node = &self.nodes[index];
        let again = node.disk.log.iter().any(|l| matches!(&l.record, Record::Batch(b) if b.key == batch.key));
        expect(!again, || format!("assertion 10: {} logs {:?} twice", node.id, batch.key))
    }

    /// The log is truncated only to what others cover, unless the retention has passed.
    pub(crate) fn check_truncation(&self, index: usize, to: Position, expired: Position) -> Checked {
        let node = &self.nodes[index];
        let Some(process) = &node.process else { return Ok(()) };
        let lost = node.disk.log.iter().filter(|l| l.position <= to && l.position > expired);
        let data = lost.filter(|l| matches!(l.record, Record::Batch(_) | Record::Merged(_))).map(|l| l.position).max();
        let Some(data) = data else { return Ok(()) };
        for other in replication::live_members(&process.replica.durable().entry) {
            let Some(peer) = self.nodes.iter().find(|n| n.id == other && n.id != node.id) else { continue };
            let cover = peer.process.as_ref().map_or(0, |p| p.replica.cover_of(&node.id));
            let follows =
                peer.process.as_ref().is_some_and(|p| replication::is_live(&p.replica.durable().entry, &node.id));
            expect(cover >= data || !follows, || {
                format!("rule truncate: {} cuts its log to {to}, but {other} covers {cover} only", node.id)
            })?;
        }
        Ok(())
    }

    /// Assertion 9: a complete answer of a query that began after `acks` acknowledgements.
    pub(crate) fn check_answer(&mut self, group: GroupId, answer: &BTreeMap<Key, f64>, acks: u64) -> Checked {
        self.ledger.complete_answers += 1;
        if let Some(acked) = self.ledger.acked.get(&group) {
            for (key, of_key) in acked {
                for ack in of_key.iter().filter(|ack| ack.number <= acks) {
                    let told = answer.get(key).is_some_and(|held| stays(*held, ack.value));
                    expect(told, || {
                        format!(
                            "assertion 9: a complete answer of group {group} has {:?} for {key:?}, acknowledged as {}",
                            answer.get(key),
                            ack.value
                        )
                    })?;
                }
            }
        }
        for (key, value) in answer {
            let written = self.ledger.written.get(key);
            let known = written.is_some_and(|values| values.iter().any(|v| v.to_bits() == value.to_bits()));
            expect(known, || format!("assertion 9: {key:?} = {value} was never written"))?;
        }
        Ok(())
    }

    /// When all is repaired: members hold the same.
    pub(crate) fn check_equal(&self, group: GroupId) -> Checked {
        let members: Vec<&Node> = self
            .group(group)
            .newest()
            .members
            .iter()
            .filter_map(|m| self.nodes.iter().find(|n| n.id == m.replica))
            .collect();
        for pair in members.windows(2) {
            let (Some(a), Some(b)) = (&pair[0].process, &pair[1].process) else { continue };
            let open = |start: i64| {
                let start = TimestampMs(start);
                !a.replica.durable().is_dropped(start) && !b.replica.durable().is_dropped(start)
            };
            let starts = a.head.ranges.keys().chain(b.head.ranges.keys()).filter(|start| open(**start));
            for start in starts {
                let bits = |head: &Head| -> BTreeMap<Key, u64> {
                    let range = head.ranges.get(start);
                    range.into_iter().flatten().map(|(key, value)| (*key, value.to_bits())).collect()
                };
                expect(bits(&a.head) == bits(&b.head), || {
                    format!("repaired, but {} and {} differ in range {start}", pair[0].id, pair[1].id)
                })?;
            }
        }
        Ok(())
    }

    /// In a run without faults each range is uploaded once for each tenant.
    pub(crate) fn check_uploaded_once(&self) -> Checked {
        for ((group, start, tenant), count) in &self.store.uploads {
            expect(*count == 1, || {
                format!(
                    "tenant {tenant}'s range {start} of group {group} was uploaded {count} times in a healthy cluster"
                )
            })?;
        }
        Ok(())
    }

    pub(crate) fn suspect(&mut self, group: GroupId) {
        if !self.suspects.contains(&group) {
            self.suspects.push(group);
        }
    }

    /// Whether the rule is kept in this run.
    pub(crate) fn keep(&self, rule: Rule) -> bool {
        self.setup.rules.keep(rule)
    }
}
