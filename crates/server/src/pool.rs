//! Threads for computing, apart from those that wait for sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::error;

/// An expression of a thousand levels is evaluated by recursion.
const STACK_BYTES: usize = 8 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// As many threads as cores. Jobs wait in a bounded queue; who offers one more waits for room.
#[derive(Clone)]
pub struct ComputePool {
    jobs: SyncSender<Job>,
    threads: usize,
}

impl ComputePool {
    /// Starts `threads` threads with room for `queue_max` waiting jobs.
    pub fn start(threads: usize, queue_max: usize) -> std::io::Result<ComputePool> {
        let (jobs, receiver) = sync_channel::<Job>(queue_max);
        let receiver = Arc::new(Mutex::new(receiver));
        for i in 0..threads {
            let receiver = receiver.clone();
            let builder = std::thread::Builder::new().name(format!("compute-{i}")).stack_size(STACK_BYTES);
            builder.spawn(move || work(&receiver))?;
        }
        Ok(ComputePool { jobs, threads })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `f` on the pool. `None` if it panicked, which is logged.
    pub async fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || drop(reply.send(f())));
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(std::sync::mpsc::TrySendError::Full(job)) => {
                let jobs = self.jobs.clone();
                tokio::task::spawn_blocking(move || drop(jobs.send(job))).await.ok()?;
            }
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => return None,
        }
        answer.await.ok()
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock guards waiting only: it is let go before the job runs.
        let job = jobs.lock().recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            error!("a computation panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_and_a_panic_ends_only_its_own() {
        let pool = ComputePool::start(2, 1).unwrap();
        assert_eq!(pool.run(|| 1).await, Some(1));
        assert_eq!(pool.run::<u8>(|| panic!("on purpose")).await, None);
        let many: Vec<_> = (0..50).map(|i| pool.run(move || i)).collect();
        let mut sum = 0;
        for job in many {
            sum += job.await.unwrap();
        }
        assert_eq!(sum, 49 * 50 / 2);
    }
}
