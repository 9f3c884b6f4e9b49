//! Blocks that are read from an object store, a range at a time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use block::{BlockFile, BlockSource, RangeRead};
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use ulid::Ulid;

/// Bytes of ranges that are kept in memory for all blocks together.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Longer ranges are not kept: a query for much reads them once.
const KEPT_RANGE_BYTES_MAX: usize = 1 << 20;

/// A store to read blocks from. Blocks its threads while it reads: for threads that may wait.
#[derive(Clone)]
pub(crate) struct RemoteReads {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    kept: Arc<Mutex<Kept>>,
}

/// A block in it.
pub(crate) struct RemoteBlock {
    reads: RemoteReads,
    ulid: Ulid,
}

struct RemoteFile {
    reads: RemoteReads,
    key: Key,
    name: (Ulid, BlockFile),
    len: u64,
}

/// Block, file, offset and length.
type RangeName = (Ulid, BlockFile, u64, usize);

/// Ranges that were read, the oldest first: dashboards ask for the same again and again. Blocks never change.
#[derive(Default)]
struct Kept {
    ranges: HashMap<RangeName, Bytes>,
    order: VecDeque<RangeName>,
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, name: RangeName, bytes: &Bytes) {
        if bytes.len() > KEPT_RANGE_BYTES_MAX || self.ranges.insert(name, bytes.clone()).is_some() {
            return;
        }
        self.order.push_back(name);
        self.bytes += bytes.len();
        while self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.ranges.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

impl RemoteReads {
    /// `runtime` carries the requests.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, runtime: Handle) -> RemoteReads {
        RemoteReads { store, runtime, kept: Arc::default() }
    }

    pub(crate) fn block(&self, ulid: Ulid) -> RemoteBlock {
        RemoteBlock { reads: self.clone(), ulid }
    }
}

impl BlockSource for RemoteBlock {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        let key = Key::from(format!("{}/{file}", self.ulid));
        let reads = self.reads.clone();
        let len = reads.runtime.block_on(reads.store.head(&key)).map_err(io_error)?.size;
        Ok(Arc::new(RemoteFile { reads, key, name: (self.ulid, file), len }))
    }

    fn open_sized(&self, file: BlockFile, len: u64) -> io::Result<Arc<dyn RangeRead>> {
        let key = Key::from(format!("{}/{file}", self.ulid));
        Ok(Arc::new(RemoteFile { reads: self.reads.clone(), key, name: (self.ulid, file), len }))
    }
}

impl RangeRead for RemoteFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len).ok_or(io::ErrorKind::UnexpectedEof)?;
        let name = (self.name.0, self.name.1, offset, len);
        if let Some(kept) = self.reads.kept.lock().ranges.get(&name) {
            return Ok(kept.clone());
        }
        let RemoteReads { store, runtime, kept } = &self.reads;
        let bytes = runtime.block_on(store.get_range(&self.key, offset..end)).map_err(io_error)?;
        kept.lock().keep(name, &bytes);
        Ok(bytes)
    }
}

/// Only what is certain is "not found"; all else may be better the next time, see [`may_pass`].
fn io_error(e: object_store::Error) -> io::Error {
    match e {
        object_store::Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, e),
        other => io::Error::new(io::ErrorKind::HostUnreachable, storage::chain(&other)),
    }
}

/// Whether a read failed because the store could not be asked, not because of what it holds.
pub fn may_pass(e: &block::ReadError) -> bool {
    matches!(e, block::ReadError::Io { source, .. } if source.kind() == io::ErrorKind::HostUnreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let mut kept = Kept::default();
        let name = |n: u64, len| (Ulid(1), BlockFile::Index, n, len);
        let (long, too_long) =
            (Bytes::from(vec![0; KEPT_RANGE_BYTES_MAX]), Bytes::from(vec![0; KEPT_RANGE_BYTES_MAX + 1]));
        kept.keep(name(0, too_long.len()), &too_long);
        assert!(kept.ranges.is_empty());
        for n in 0..100 {
            kept.keep(name(n, long.len()), &long);
            kept.keep(name(n, long.len()), &long);
        }
        assert_eq!((kept.bytes, kept.ranges.len(), kept.order.len()), (KEPT_BYTES_MAX, 64, 64));
        assert!(kept.ranges.contains_key(&name(99, long.len())) && !kept.ranges.contains_key(&name(35, long.len())));
    }
}
