//! The thread that makes writes durable: one fsync for all that came since the last.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::disk::Db;
use crate::types::IoFlushed;

/// Writes that may wait for an fsync at once; past it, writers wait for a place.
const WAITING_MAX: usize = 1024;

/// Where writers leave word to be told when what they wrote is durable. Clones share the thread, which ends with the last.
#[derive(Clone)]
pub(crate) struct Flusher {
    waiting: mpsc::Sender<IoFlushed>,
}

impl Flusher {
    pub(crate) fn start(db: Arc<Db>) -> io::Result<(Flusher, JoinHandle<()>)> {
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("raft-flush".into()).spawn(move || run(&db, inbox))?;
        Ok((Flusher { waiting }, thread))
    }

    /// Calls `flushed` once everything written before is durable.
    pub(crate) async fn when_flushed(&self, flushed: IoFlushed) -> io::Result<()> {
        // Cancel-safe because a callback that is dropped unsent is one that openraft no longer waits for.
        self.waiting.send(flushed).await.map_err(|_| io::Error::other("the flush thread has ended"))
    }
}

fn run(db: &Db, mut inbox: mpsc::Receiver<IoFlushed>) {
    let mut batch = Vec::new();
    while let Some(first) = inbox.blocking_recv() {
        batch.push(first);
        while batch.len() < WAITING_MAX
            && let Ok(next) = inbox.try_recv()
        {
            batch.push(next);
        }
        let result = db.sync();
        for flushed in batch.drain(..) {
            // An I/O error cannot be cloned.
            let result = match &result {
                Ok(()) => Ok(()),
                Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
            };
            flushed.io_completed(result);
        }
    }
}
