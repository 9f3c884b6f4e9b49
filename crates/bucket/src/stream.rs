//! The series of one block as a stream, one batch read ahead.
//!
//! No thread waits for whoever merges the streams: a merge wants the first series of all its blocks before it gives any, and
//! there may be more blocks than threads.

use std::sync::Arc;

use block::{Block, Matched, ReadError};
use futures::StreamExt;
use futures::stream::BoxStream;
use storage::{SelectError, SelectRequest, SeriesBatch};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What is told of a block that cannot be read.
pub type OnFailure = Arc<dyn Fn(ReadError) -> SelectError + Send + Sync>;

/// A step of reading: what was read, and where to go on.
type Step = Result<Option<(SeriesBatch, Matched)>, SelectError>;

struct Reading {
    block: Arc<Block>,
    /// How many blocks may be read at the same moment.
    threads: Arc<Semaphore>,
    failed: OnFailure,
}

impl Reading {
    /// Reads the next batch on a thread that may wait.
    fn begin(&self, from: Result<Matched, SelectRequest>) -> JoinHandle<Step> {
        let (block, threads, failed) = (self.block.clone(), self.threads.clone(), self.failed.clone());
        tokio::spawn(async move {
            let stopping = || SelectError::Unavailable("the reader of blocks".to_owned());
            let permit = threads.acquire_owned().await.map_err(|_| stopping())?;
            let read = move || {
                let _permit = permit;
                let mut matched = match from {
                    Ok(matched) => matched,
                    Err(request) => block.find_matching(&request).map_err(|e| failed(e))?,
                };
                let batch = block.next_batch(&mut matched).map_err(|e| failed(e))?;
                Ok(batch.map(|batch| (batch, matched)))
            };
            tokio::task::spawn_blocking(read).await.map_err(|_| stopping())?
        })
    }
}

/// Aborts the step when nobody waits for it any more; one that has begun to read ends by itself.
struct AbortOnDrop(JoinHandle<Step>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The series of `block`, sorted by id. `threads` bounds how many blocks are read at the same moment; what makes the block
/// unreadable goes through `failed`.
pub fn stream_block(
    block: Arc<Block>,
    request: SelectRequest,
    threads: Arc<Semaphore>,
    failed: OnFailure,
) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
    let reading = Reading { block, threads, failed };
    let first = AbortOnDrop(reading.begin(Err(request)));
    futures::stream::unfold(Some((reading, first)), |state| async {
        let (reading, mut step) = state?;
        match (&mut step.0).await {
            Ok(Ok(Some((batch, matched)))) => {
                let next = AbortOnDrop(reading.begin(Ok(matched)));
                Some((Ok(batch), Some((reading, next))))
            }
            Ok(Ok(None)) => None,
            Ok(Err(e)) => Some((Err(e), None)),
            Err(_) => Some((Err(SelectError::Unavailable("the reader of blocks".to_owned())), None)),
        }
    })
    .boxed()
}
