//! The targets of one job and their loops.

use std::collections::HashMap;
use std::sync::Arc;

use discovery::{Group, Known};
use model::{Labels, TimestampMs};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use crate::elsewhere::series_hash;
use crate::end_of_run;
use crate::metrics::JobLabel;
use crate::page::Memory;
use crate::report::ReportSeries;
use crate::sample_rules::SampleRules;
use crate::schedule::Schedule;
use crate::scrape_loop::{ScrapeLoop, Shared, Stop};
use crate::settings::JobSettings;
use crate::share::Share;
use crate::snapshot::{ActiveTarget, DroppedTarget, PoolSnapshot};
use crate::target::{self, Found, Target};

pub(crate) struct Pool {
    shared: Arc<Shared>,
    settings: Arc<JobSettings>,
    /// What targets were made of last.
    groups: Arc<Vec<Group>>,
    /// Those that it holds, by hash.
    loops: HashMap<u64, Running>,
    /// Those that are another scraper's now, until that one must have taken over.
    moving: HashMap<u64, Running>,
    /// Hashes of the targets that are others', and of the labels of their series.
    elsewhere: HashMap<u64, u64>,
    /// This scraper's share of what relabelling drops.
    dropped: Vec<Labels>,
    dropped_count: usize,
    /// Counts configurations: who found groups for an earlier one has nothing to say any more.
    epoch: Epoch,
}

/// Under which configuration of a job something was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

struct Running {
    scrape_loop: Arc<ScrapeLoop>,
    /// The labels before relabelling; they may change while the target stays the same.
    discovered: Labels,
    task: JoinHandle<Option<TimestampMs>>,
}

/// What a loop that takes another's place does with it.
struct Predecessor {
    running: Running,
    /// Whether the series that it had go on under the same rules.
    goes_on: bool,
    /// Whether it had given the target away: ticks that have passed since are another's.
    is_over: bool,
}

/// What becomes of loops whose targets stay.
#[derive(Clone, Copy, PartialEq)]
enum Stay {
    AsTheyAre,
    /// They are started again.
    Anew,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>, settings: Arc<JobSettings>) -> Pool {
        Pool {
            shared,
            settings,
            groups: Arc::default(),
            loops: HashMap::new(),
            moving: HashMap::new(),
            elsewhere: HashMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            epoch: Epoch::default(),
        }
    }

    pub(crate) fn settings(&self) -> &Arc<JobSettings> {
        &self.settings
    }

    /// What to make targets of. A mechanism that has not looked yet knows nothing of the targets that its predecessor found: they
    /// stay until it has.
    pub(crate) fn groups_for(&self, known: &Known) -> Arc<Vec<Group>> {
        if known.is_complete {
            return known.groups.clone();
        }
        let mut all = self.groups.to_vec();
        all.extend(known.groups.iter().filter(|group| !self.groups.contains(group)).cloned());
        Arc::new(all)
    }

    /// Takes another configuration; targets that stay are started again under it once their scrape has ended, with what is
    /// remembered of their pages where it is still right.
    pub(crate) fn reload(&mut self, settings: Arc<JobSettings>, groups: Arc<Vec<Group>>) -> Epoch {
        self.shared.metrics.pool_reloads.inc();
        self.settings = settings;
        self.groups = groups;
        self.settle(Stay::Anew);
        self.epoch.0 += 1;
        self.epoch
    }

    /// As [`Pool::sync`], of what discovery knows now, unless another configuration has come in between.
    pub(crate) fn follow(&mut self, epoch: Epoch, known: &Known) {
        if self.epoch == epoch {
            let groups = self.groups_for(known);
            self.sync(groups);
        }
    }

    /// Starts loops for what is new in `groups` and ends those of what is gone; all others are left alone.
    fn sync(&mut self, groups: Arc<Vec<Group>>) {
        self.groups = groups;
        let label = JobLabel { scrape_job: self.settings.config.job_name.clone() };
        self.shared.metrics.pool_syncs.get_or_create(&label).inc();
        self.settle(Stay::AsTheyAre);
    }

    /// The share has changed: starts what is this scraper's now, and gives away what is another's.
    pub(crate) fn share_again(&mut self) {
        self.settle(Stay::AsTheyAre);
    }

    fn settle(&mut self, stay: Stay) {
        let share = self.shared.share.lock().clone();
        let (mut held, mut moving) = (std::mem::take(&mut self.loops), std::mem::take(&mut self.moving));
        self.elsewhere.clear();
        for target in self.find(&share) {
            let hash = target.hash;
            if self.loops.contains_key(&hash) {
                continue;
            }
            let running = held.remove(&hash);
            if !share.is_mine(hash) {
                self.elsewhere.insert(hash, series_hash(&target.labels));
                if let Some(running) = running {
                    self.give_away(running);
                } else if let Some(running) = moving.remove(&hash) {
                    self.moving.insert(hash, running);
                }
                continue;
            }
            match running {
                Some(running) if stay == Stay::AsTheyAre => {
                    self.loops.insert(hash, Running { discovered: target.discovered, ..running });
                }
                running => {
                    let predecessor = running.or_else(|| moving.remove(&hash)).map(|r| self.predecessor(r));
                    self.start(target, predecessor);
                }
            }
        }
        held.into_values().for_each(Pool::end);
        // Whoever holds the target now ends its series.
        moving.into_values().for_each(Pool::let_go);
        self.after_change();
    }

    /// Another scraper holds the target. It may not know so yet: the loop goes on until it must.
    fn give_away(&mut self, running: Running) {
        let scrape_loop = &running.scrape_loop;
        let last = self.shared.overlap.last_tick_max(server::clock::now(), scrape_loop.schedule.interval());
        scrape_loop.stop.send_replace(Stop::After(last));
        self.shared.metrics.given_targets.inc();
        self.moving.insert(scrape_loop.target.hash, running);
    }

    /// Ends a loop whose target was given away.
    fn let_go(running: Running) {
        running.scrape_loop.stop.send_replace(Stop::Now);
    }

    fn predecessor(&self, running: Running) -> Predecessor {
        let goes_on = self.settings.reads_pages_like(&running.scrape_loop.rules.job);
        Predecessor { goes_on, is_over: running.task.is_finished(), running }
    }

    /// Forgets those that were given away and have ended. Whether some have not.
    pub(crate) fn forget_given(&mut self) -> bool {
        self.moving.retain(|_, running| !running.task.is_finished());
        !self.moving.is_empty()
    }

    /// What was given away, to wait for its end.
    pub(crate) fn take_given(&mut self) -> Vec<JoinHandle<Option<TimestampMs>>> {
        self.moving.drain().map(|(_, running)| running.task).collect()
    }

    /// The job is gone from the configuration.
    pub(crate) fn end_all(&mut self) {
        self.epoch.0 += 1;
        self.loops.drain().for_each(|(_, running)| Pool::end(running));
        self.moving.drain().for_each(|(_, running)| Pool::let_go(running));
        self.elsewhere.clear();
        self.after_change();
    }

    /// The process ends: scrapes under way are finished, no series is ended. What is to be waited for comes back.
    pub(crate) fn stop(&mut self) -> Vec<JoinHandle<Option<TimestampMs>>> {
        self.epoch.0 += 1;
        let stopped = self.loops.drain().chain(self.moving.drain()).map(|(_, running)| {
            running.scrape_loop.stop.send_replace(Stop::Now);
            running.task
        });
        stopped.collect()
    }

    /// All targets, this scraper's and others', and this scraper's share of those that are dropped.
    fn find(&mut self, share: &Share) -> Vec<Target> {
        let mut targets = Vec::new();
        (self.dropped, self.dropped_count) = (Vec::new(), 0);
        let job = &self.settings.config;
        let keep_max = usize::try_from(job.limits.keep_dropped_targets).unwrap_or(usize::MAX);
        for group in self.groups.iter() {
            for (i, address) in group.targets.iter().enumerate() {
                match target::find(address, group, job, &self.settings.relabel) {
                    Ok(Found::Target(target)) => targets.push(*target),
                    Ok(Found::Dropped(discovered)) if !share.is_mine(series_hash(&discovered)) => {}
                    Ok(Found::Dropped(discovered)) => {
                        self.dropped_count += 1;
                        if keep_max == 0 || self.dropped.len() < keep_max {
                            self.dropped.push(discovered);
                        }
                    }
                    Err(e) => {
                        let label = JobLabel { scrape_job: job.job_name.clone() };
                        self.shared.metrics.sync_failures.get_or_create(&label).inc();
                        error!(scrape_pool = job.job_name, group = group.source, instance = i, error = %e,
                            "create target failed");
                    }
                }
            }
        }
        targets
    }

    fn start(&mut self, target: Target, predecessor: Option<Predecessor>) {
        let rules = SampleRules { job: self.settings.clone(), target_labels: target.labels.clone() };
        let memory = match &predecessor {
            Some(Predecessor { running, goes_on: true, .. }) => running.scrape_loop.memory.clone(),
            _ => Arc::new(Mutex::new(Memory::new(&rules))),
        };
        let status = predecessor.as_ref().map(|p| p.running.scrape_loop.status.lock().clone());
        let (hash, discovered) = (target.hash, target.discovered.clone());
        let scrape_loop = Arc::new(ScrapeLoop {
            report: Arc::new(ReportSeries::new(&rules, &self.shared.tenant)),
            schedule: self.schedule(&target),
            shared: self.shared.clone(),
            rules,
            memory,
            status: Mutex::new(status.unwrap_or_default()),
            forced_error: Mutex::new(None),
            written_at: Mutex::new(None),
            number: self.shared.loops.next_number(),
            stop: watch::channel(Stop::No).0,
            target,
        });
        self.shared.loops.add(&scrape_loop);
        let task = self.shared.spawn(run_after(predecessor, scrape_loop.clone()));
        self.loops.insert(hash, Running { scrape_loop, discovered, task });
    }

    fn schedule(&self, target: &Target) -> Schedule {
        let schedule = Schedule::new(target.interval, target.hash);
        match *self.shared.share.lock() {
            Share::Everything => schedule,
            Share::Nothing | Share::Arcs { .. } => schedule.of_many(),
        }
    }

    /// Ends a loop for good: its scrape is finished, its series are ended later.
    fn end(running: Running) {
        let Running { scrape_loop, task, .. } = running;
        scrape_loop.stop.send_replace(Stop::Now);
        let shared = scrape_loop.shared.clone();
        drop(shared.spawn(async move {
            let last = task.await.ok().flatten();
            end_of_run::run(scrape_loop, last).await;
            None
        }));
    }

    fn after_change(&mut self) {
        let job = &self.settings.config;
        let label = JobLabel { scrape_job: job.job_name.clone() };
        let count = self.loops.len();
        self.shared.metrics.pool_targets.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
        self.shared.elsewhere.set(&job.job_name, self.elsewhere.values().copied().collect());
        // The limit is one of the job, whoever scrapes.
        let count = count + self.elsewhere.len();
        let limit = job.limits.targets;
        let forced: Option<Arc<str>> = (limit > 0 && count as u64 > limit).then(|| {
            self.shared.metrics.over_target_limit.inc();
            format!("target_limit exceeded (number of targets: {count}, limit: {limit})").into()
        });
        for running in self.loops.values() {
            forced.clone_into(&mut running.scrape_loop.forced_error.lock());
        }
    }

    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let name = &self.settings.config.job_name;
        let mut active: Vec<ActiveTarget> = self.loops.values().map(|running| running.snapshot(name)).collect();
        active.sort_by(|a, b| a.scrape_url.cmp(&b.scrape_url).then_with(|| a.labels.cmp(&b.labels)));
        let dropped = self
            .dropped
            .iter()
            .map(|labels| DroppedTarget { discovered_labels: labels.clone(), scrape_pool: name.clone() });
        PoolSnapshot { name: name.clone(), active, dropped: dropped.collect(), dropped_count: self.dropped_count }
    }

    pub(crate) fn scrape_loops(&self) -> impl Iterator<Item = &Arc<ScrapeLoop>> {
        self.loops.values().map(|running| &running.scrape_loop)
    }
}

impl Running {
    fn snapshot(&self, pool: &str) -> ActiveTarget {
        let target = &self.scrape_loop.target;
        let status = self.scrape_loop.status.lock().clone();
        ActiveTarget {
            discovered_labels: self.discovered.clone(),
            labels: target.labels.clone(),
            scrape_pool: pool.to_owned(),
            scrape_url: target.url.clone(),
            last_error: status.last_error,
            last_scrape: status.last_scrape,
            last_scrape_seconds: status.last_seconds,
            health: status.health,
            scrape_interval: target.interval,
            scrape_timeout: target.timeout,
        }
    }
}

/// Two loops never scrape one target at a time: the second begins where the first has ended.
async fn run_after(predecessor: Option<Predecessor>, scrape_loop: Arc<ScrapeLoop>) -> Option<TimestampMs> {
    let mut before = None;
    if let Some(Predecessor { running, goes_on, is_over }) = predecessor {
        running.scrape_loop.stop.send_replace(Stop::Now);
        let last = running.task.await.ok().flatten();
        if goes_on {
            before = last.filter(|_| !is_over);
        } else {
            let shared = scrape_loop.shared.clone();
            drop(shared.spawn(async move {
                end_of_run::run(running.scrape_loop, last).await;
                None
            }));
        }
    }
    scrape_loop.run(before).await
}
