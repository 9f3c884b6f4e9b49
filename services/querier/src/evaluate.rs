//! Running a query: selects feed the plan's leaves on the compute pool; no compute thread waits for a socket.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::TenantId;
use promql::ast::Expr;
use promql::engine::{self, Interrupt, LeafWorker, Plan, QueryError, QueryParams, QueryResult};
use server::ComputePool;
use storage::{Queryable, SelectError, SelectRequest, SeriesBatch, Shard};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ActiveQueries;

/// Bounds of the querier.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Queries evaluated at once; more wait (`--query.max-concurrency`).
    pub concurrency_max: usize,
    /// Series that one selector may match: bounds what is noted per series before anything is decoded.
    pub series_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { concurrency_max: 20, series_max: 10_000_000 }
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The engine says so.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The store says so.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The query did not end in time.
    #[error("query timed out in {stage}")]
    TimedOut {
        /// Where it was then.
        stage: &'static str,
    },
    /// A bug: the engine panicked. The log has more.
    #[error("the query failed inside")]
    Panicked,
}

/// Evaluates queries over a store.
#[derive(Clone)]
pub struct Evaluator {
    store: Arc<dyn Queryable>,
    pool: ComputePool,
    limits: Limits,
    running: Arc<Semaphore>,
    active: Option<ActiveQueries>,
}

/// Where the time of a query went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for other queries to end.
    pub queue: Duration,
    /// Planning.
    pub preparation: Duration,
    /// Reading series and evaluating; the two run at once.
    pub evaluation: Duration,
}

/// A query's value and what it took.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Value, annotations, counts.
    pub result: QueryResult,
    /// Times.
    pub timings: Timings,
    /// What could not be asked, in words for `warnings`.
    pub missing: Vec<String>,
}

/// How often a query is begun again because something in the store turned out to be unreadable and was set aside.
const ATTEMPTS_MAX: usize = 4;

/// Interrupts the query when the caller goes away.
struct CancelOnDrop(Interrupt);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Evaluator {
    /// Evaluates over `store` on the threads of `pool`.
    pub fn new(store: Arc<dyn Queryable>, pool: ComputePool, limits: Limits) -> Evaluator {
        let running = Arc::new(Semaphore::new(limits.concurrency_max));
        Evaluator { store, pool, limits, running, active: None }
    }

    /// Has the queries under way written to a file.
    pub fn with_active_queries(self, active: ActiveQueries) -> Evaluator {
        Evaluator { active: Some(active), ..self }
    }

    /// Bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Threads for computing.
    pub fn pool(&self) -> &ComputePool {
        &self.pool
    }

    /// What is asked.
    pub fn store(&self) -> &Arc<dyn Queryable> {
        &self.store
    }

    /// Evaluates `expr`, within `timeout`. Dropping the future stops the work.
    pub async fn evaluate(
        &self,
        tenant: &TenantId,
        expr: &Expr,
        params: QueryParams,
        timeout: Duration,
    ) -> Result<Evaluated, EvaluateError> {
        let interrupt = params.interrupt.clone();
        let _cancel = CancelOnDrop(interrupt.clone());
        let asked = Instant::now();
        let deadline = asked + timeout;
        let queued = tokio::time::timeout_at(deadline, self.running.acquire()).await;
        let _permit = queued.map_err(|_| EvaluateError::TimedOut { stage: "query queue" })?;
        let _entry = self.active.as_ref().and_then(|active| active.begin(&params.text, server::clock::now()));
        let started = Instant::now();
        let again = params.clone();
        let plan = Arc::new(engine::plan(expr, params)?);
        let planned = Instant::now();
        if planned >= deadline {
            // The runtime's timer is not that fine.
            return Err(EvaluateError::TimedOut { stage: "query execution" });
        }
        match tokio::time::timeout_at(deadline, self.run_past_damage(tenant, expr, plan, &again)).await {
            Ok(result) => {
                let (result, missing) = result?;
                let timings =
                    Timings { queue: started - asked, preparation: planned - started, evaluation: planned.elapsed() };
                Ok(Evaluated { result, timings, missing })
            }
            Err(_) => {
                interrupt.time_out();
                Err(EvaluateError::TimedOut { stage: "expression evaluation" })
            }
        }
    }

    /// Runs the plan, and once more with the rows kept where that is needed; what turns out to be unreadable is set aside by its store, and the rest is asked again. The answer says what
    /// is missing.
    async fn run_past_damage(
        &self,
        tenant: &TenantId,
        expr: &Expr,
        plan: Arc<Plan>,
        params: &QueryParams,
    ) -> Result<(QueryResult, Vec<String>), EvaluateError> {
        let (mut plan, mut params) = (plan, params.clone());
        for attempt in 1.. {
            match self.run(tenant, plan).await {
                Err(EvaluateError::Select(SelectError::Unreadable { .. })) if attempt < ATTEMPTS_MAX => {}
                Err(EvaluateError::Query(QueryError::KindsMeet)) if !params.keeps_relabelled => {
                    params.keeps_relabelled = true;
                }
                done => return done,
            }
            plan = Arc::new(engine::plan(expr, params.clone())?);
        }
        Err(EvaluateError::Panicked)
    }

    async fn run(&self, tenant: &TenantId, plan: Arc<Plan>) -> Result<(QueryResult, Vec<String>), EvaluateError> {
        let mut workers = Vec::new();
        let mut missing = BTreeSet::new();
        for leaf in 0..plan.leaves().len() {
            let (fed, named) = self.feed(tenant, &plan, leaf).await?;
            workers.extend(fed);
            missing.extend(named);
        }
        let result = self.pool.run(move || plan.finish(workers)).await;
        Ok((result.ok_or(EvaluateError::Panicked)??, missing.into_iter().collect()))
    }

    /// Pushes the series of a leaf into as many workers as there are threads; returns them when all is pushed, and what is missing.
    async fn feed(
        &self,
        tenant: &TenantId,
        plan: &Arc<Plan>,
        leaf: usize,
    ) -> Result<(Vec<LeafWorker>, Vec<String>), EvaluateError> {
        let wanted = &plan.leaves()[leaf];
        let mut series = self.store.select(SelectRequest {
            tenant: tenant.clone(),
            range: wanted.range,
            matchers: wanted.matchers.clone(),
            shard: Shard::ALL,
            with_chunks: wanted.with_chunks,
            series_max: self.limits.series_max,
        });
        let mut idle: VecDeque<LeafWorker> = VecDeque::new();
        let mut started = 0;
        let mut busy = FuturesUnordered::new();
        loop {
            let worker = match idle.pop_front() {
                Some(worker) => worker,
                None if started < self.pool.threads() => {
                    started += 1;
                    plan.worker(leaf)
                }
                None => match busy.next().await {
                    Some(done) => take_back(done)?,
                    None => return Err(EvaluateError::Panicked),
                },
            };
            match series.next().await {
                Some(batch) => busy.push(self.pool.run({
                    let batch: SeriesBatch = batch?;
                    move || push(worker, &batch)
                })),
                None => {
                    idle.push_back(worker);
                    break;
                }
            }
        }
        while let Some(done) = busy.next().await {
            idle.push_back(take_back(done)?);
        }
        Ok((idle.into(), series.missing()))
    }
}

fn push(mut worker: LeafWorker, batch: &SeriesBatch) -> Result<LeafWorker, QueryError> {
    worker.push(batch)?;
    Ok(worker)
}

fn take_back(done: Option<Result<LeafWorker, QueryError>>) -> Result<LeafWorker, EvaluateError> {
    Ok(done.ok_or(EvaluateError::Panicked)??)
}
