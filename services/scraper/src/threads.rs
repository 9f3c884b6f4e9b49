//! The threads that scrapes run on.
//!
//! A scrape is a few short steps with waits between them: connect, head, body, write. A runtime of many threads wakes another
//! thread at each step, to look whether there is more to do; that is a tenth of what a scrape costs. Here each loop stays on
//! the one thread that it was begun on, and all that it waits for is there.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Threads of the scraper, or the runtime of the caller.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    handles: Vec<Handle>,
    next: AtomicUsize,
}

impl Threads {
    /// `count` threads that end when `shutdown` says so or is dropped; with 0, tasks go to the runtime that spawns them.
    pub(crate) fn start(count: usize, shutdown: &watch::Receiver<bool>) -> std::io::Result<Threads> {
        let mut handles = Vec::with_capacity(count);
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let mut shutdown = shutdown.clone();
            let run = move || {
                // An error is a sender that is gone: the scraper is, too.
                drop(runtime.block_on(async { shutdown.wait_for(|stopped| *stopped).await.map(|_| ()) }));
                runtime.shutdown_background();
            };
            std::thread::Builder::new().name(format!("scrape-{number}")).spawn(run)?;
        }
        Ok(Threads { handles, next: AtomicUsize::new(0) })
    }

    /// Spawns a task on one of the threads, in turns.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match self.handles.get(turn % self.handles.len().max(1)) {
            Some(handle) => handle.spawn(task),
            None => tokio::spawn(task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_spread_over_threads_that_end_with_the_scraper() {
        let (stop, stopped) = watch::channel(false);
        let threads = Threads::start(2, &stopped).unwrap();
        drop(stopped);
        let name = || async { std::thread::current().name().map(str::to_owned) };
        let first = threads.spawn(name()).await.unwrap();
        let second = threads.spawn(name()).await.unwrap();
        assert_eq!((first.as_deref(), second.as_deref()), (Some("scrape-0"), Some("scrape-1")));
        let unending = threads.spawn(std::future::pending::<()>());
        stop.send_replace(true);
        assert!(unending.await.unwrap_err().is_cancelled());
        // All threads have dropped their ends of the channel.
        stop.closed().await;
        let here = Threads::start(0, &stop.subscribe()).unwrap();
        assert_eq!(here.spawn(async { 7 }).await.unwrap(), 7);
    }
}
