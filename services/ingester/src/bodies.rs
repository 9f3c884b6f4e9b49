//! What peers fetch: bodies of batches out of memory and the log, and definitions out of the head.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use batch::{BATCH_BYTES_MAX, Batch, BatchBuilder, BatchHeader};
use head::Head;
use model::{SeriesId, TenantId};
use parking_lot::Mutex;
use peer::{Definitions, Fetch, Fetched, Unanswered};
use replication::{Position, Record};
use storage::chain;
use wal::Lookup;

use crate::records;

/// Bytes of an answer: what a message between nodes may hold, with room for what is around it.
const FETCHED_BYTES_MAX: usize = 8 << 20;
/// Of these, what definitions may take: batches always get on.
const DEFINITIONS_BYTES_MAX: usize = 4 << 20;
/// Bytes of a definition besides its labels, with what is around it in a batch.
const DEFINITION_BYTES: usize = 256;

/// Bodies by position.
pub(crate) struct Bodies {
    /// The newest batches, oldest first.
    newest: Mutex<Newest>,
    newest_bytes_max: usize,
    /// One reader at a time: reading is a matter of the disk.
    log: Mutex<Lookup>,
    /// Names this process as a writer of definitions.
    writer: u64,
    seq: AtomicU64,
}

#[derive(Default)]
struct Newest {
    batches: VecDeque<(Position, Arc<Batch>)>,
    bytes: usize,
}

impl Bodies {
    /// `writer` is random: two processes must never give one name to two batches.
    pub(crate) fn new(log: Lookup, newest_bytes_max: usize, writer: u64) -> Bodies {
        Bodies { newest: Mutex::default(), newest_bytes_max, log: Mutex::new(log), writer, seq: AtomicU64::new(0) }
    }

    /// Keeps what was logged just now, since peers will soon ask for it.
    pub(crate) fn remember<'a>(&self, batches: impl Iterator<Item = (Position, &'a Arc<Batch>)>) {
        let mut newest = self.newest.lock();
        for (position, batch) in batches {
            newest.bytes += batch.bytes().len();
            newest.batches.push_back((position, batch.clone()));
        }
        while newest.bytes > self.newest_bytes_max {
            let Some((_, oldest)) = newest.batches.pop_front() else { break };
            newest.bytes -= oldest.bytes().len();
        }
    }

    /// What a peer asked for, of positions up to `synced`; `None` where the first of them is gone. Blocks.
    pub(crate) fn fetch(&self, head: &Head, fetch: &Fetch, synced: Position) -> Result<Option<Fetched>, Unanswered> {
        let definitions = self.definitions(head, fetch);
        let defined: usize = definitions.iter().map(|batch| batch.bytes().len()).sum();
        let bytes_max = FETCHED_BYTES_MAX - defined;
        let there = fetch.positions.partition_point(|position| *position <= synced);
        let positions = &fetch.positions[..there];
        let mut batches = self.of_the_newest(positions, bytes_max);
        if batches.is_empty() {
            batches = self.of_the_log(positions, bytes_max)?;
        }
        Ok((!batches.is_empty()).then_some(Fetched { batches, definitions }))
    }

    /// The first of them, if it is among the newest, and those that follow.
    fn of_the_newest(&self, positions: &[Position], bytes_max: usize) -> Vec<Batch> {
        let newest = self.newest.lock();
        let mut bytes = 0;
        let mut found = Vec::new();
        for position in positions {
            let Ok(at) = newest.batches.binary_search_by_key(position, |(position, _)| *position) else { break };
            let batch = &newest.batches[at].1;
            bytes += batch.bytes().len();
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push((**batch).clone());
        }
        found
    }

    fn of_the_log(&self, positions: &[Position], bytes_max: usize) -> Result<Vec<Batch>, Unanswered> {
        let payloads = self.log.lock().read(positions, bytes_max).map_err(|e| Unanswered(chain(&e)))?;
        let mut found = Vec::new();
        for payload in payloads {
            // What is no batch any more was damaged after it was listed.
            let Ok(Record::Batch(batch)) = records::decode(&payload) else { break };
            found.push(Arc::unwrap_or_clone(batch));
        }
        Ok(found)
    }

    /// Definitions of the series asked for, as far as they are held and fit.
    fn definitions(&self, head: &Head, fetch: &Fetch) -> Definitions {
        let mut batches = Vec::new();
        let mut builders = BTreeMap::<TenantId, BatchBuilder>::new();
        let mut bytes = 0;
        for (tenant, partition, id, labels) in head.definitions(&fetch.define) {
            let more = DEFINITION_BYTES + labels.as_packed().len();
            if bytes + more > DEFINITIONS_BYTES_MAX {
                break;
            }
            bytes += more;
            let builder = builders.entry(tenant.clone()).or_default();
            if builder.byte_len_max() + more > BATCH_BYTES_MAX {
                batches.push(self.finish(builder, &tenant, fetch));
            }
            builder.define(partition, id, labels.as_packed());
        }
        batches.extend(builders.iter_mut().map(|(tenant, builder)| self.finish(builder, tenant, fetch)));
        batches
    }

    fn finish(&self, builder: &mut BatchBuilder, tenant: &TenantId, fetch: &Fetch) -> Batch {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let header = BatchHeader { group: fetch.group.0, generation: 0, writer: self.writer, seq };
        let mut bytes = Vec::with_capacity(builder.byte_len_max());
        builder.finish(header, tenant, &mut bytes);
        Batch::parse(bytes.into()).expect("the builder makes batches")
    }
}

/// Most series that are asked for at once: what fits of them into an answer is logged, and the rest is asked for the next time.
pub(crate) const DEFINE_MAX: usize = 16_384;

/// The first of the series, as many as may be asked for.
pub(crate) fn to_define(unknown: impl IntoIterator<Item = SeriesId>) -> Vec<SeriesId> {
    unknown.into_iter().take(DEFINE_MAX).collect()
}
