//! The log, the vote and the committed log id, as openraft asks for them.
//!
//! A write goes to RocksDB's own log at once, in order, and can be read at once; the flush thread says when it is durable.
//! Since that log is one sequence, whatever is durable implies that all before it is.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::OptionalSend;
use openraft::storage::{LogState, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt as _;

use crate::codec;
use crate::disk::{Db, KEY_COMMITTED, KEY_PURGED, KEY_VOTE, invalid};
use crate::flusher::Flusher;
use crate::types::{Entry, IoFlushed, LogId, TypeConfig, Vote};

/// Bytes of entries that one request to a follower carries, give or take one entry.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of a voter. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Log {
    db: Arc<Db>,
    flusher: Flusher,
}

impl Log {
    pub(crate) fn new(db: Arc<Db>, flusher: Flusher) -> Log {
        Log { db, flusher }
    }

    /// Resolves when all that was written before is durable.
    pub(crate) async fn flush(flusher: &Flusher) -> io::Result<()> {
        let (sender, receiver) = TypeConfig::oneshot();
        flusher.when_flushed(IoFlushed::signal(sender)).await?;
        receiver.await.map_err(|_| io::Error::other("the flush thread has ended"))?
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        if start >= end {
            return Ok(entries);
        }
        for item in self.db.entries(start) {
            let (index, value) = item?;
            if index >= end || bytes >= bytes_max {
                break;
            }
            let entry = codec::decode_entry(&value).map_err(invalid)?;
            let follows = entries.last().is_none_or(|last| last.log_id.index + 1 == index);
            if entry.log_id.index != index || !follows {
                return Err(invalid(format!("log entry {index} is missing or in another's place")));
            }
            bytes += value.len();
            entries.push(entry);
        }
        Ok(entries)
    }

    fn log_id(&self, key: &str) -> io::Result<Option<LogId>> {
        match self.db.get(key)? {
            Some(bytes) => codec::decode_log_id(&bytes).map_err(invalid),
            None => Ok(None),
        }
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.db.get(KEY_VOTE)?.map(|bytes| codec::decode_vote(&bytes).map_err(invalid)).transpose()
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.log_id(KEY_PURGED)?;
        let last = self.db.last_entry()?;
        let last = last.map(|(_, value)| codec::decode_entry_log_id(&value).map_err(invalid)).transpose()?;
        Ok(LogState { last_purged_log_id, last_log_id: last.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.db.write(|batch| batch.put(KEY_VOTE, &codec::encode_vote(vote)))?;
        Log::flush(&self.flusher).await
    }

    /// Not waited for: after a power loss the state machine may come back a little older, and catches up once the group
    /// has committed anew; after a kill it comes back the same.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.db.write(|batch| batch.put(KEY_COMMITTED, &codec::encode_log_id(committed.as_ref())))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.log_id(KEY_COMMITTED)
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.db.write(|batch| {
            for entry in entries {
                batch.put_entry(entry.log_id.index, &codec::encode_entry(&entry));
            }
        })?;
        self.flusher.when_flushed(callback).await
    }

    /// Not waited for: entries that come back after a power loss were never part of what this voter said it holds.
    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let first = last_log_id.map_or(0, |last| last.index + 1);
        self.db.write(|batch| batch.remove_entries_from(first))
    }

    /// Not waited for: what is purged is in a snapshot that is durable.
    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.db.write(|batch| {
            batch.put(KEY_PURGED, &codec::encode_log_id(Some(&log_id)));
            batch.remove_entries_up_to(log_id.index);
        })
    }
}

#[cfg(test)]
mod tests;
