//! Counting what is read from the bucket.

use std::io;
use std::sync::Arc;

use block::{BlockFile, BlockSource, RangeRead};

use crate::Metrics;

/// A block of which every read is counted.
pub(crate) struct CountedBlock {
    pub(crate) inner: Arc<dyn BlockSource>,
    pub(crate) metrics: Metrics,
}

struct CountedFile {
    inner: Arc<dyn RangeRead>,
    metrics: Metrics,
}

impl CountedBlock {
    fn counted(&self, inner: Arc<dyn RangeRead>) -> Arc<dyn RangeRead> {
        Arc::new(CountedFile { inner, metrics: self.metrics.clone() })
    }
}

impl BlockSource for CountedBlock {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        self.inner.open(file).map(|inner| self.counted(inner))
    }

    fn open_sized(&self, file: BlockFile, len: u64) -> io::Result<Arc<dyn RangeRead>> {
        self.inner.open_sized(file, len).map(|inner| self.counted(inner))
    }
}

impl RangeRead for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<bytes::Bytes> {
        self.metrics.reads.inc();
        self.metrics.read_bytes.inc_by(len as u64);
        self.inner.read(offset, len)
    }
}
