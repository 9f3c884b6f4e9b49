//! One thread's share of a leaf: series come in, are decoded once, run through the pipelines that want them, and are forgotten.

use std::sync::Arc;

use model::Labels;
use storage::Series;

use super::PlanState;
use super::annotations::Annotations;
use super::column::Grid;
use super::decode::Decoded;
use super::error::QueryError;
use super::limits::{Budget, QueryStats, Ticker};
use super::load::{self, Count};
use super::map::{self, Work};
use super::node::{MapOp, Pipeline, SinkSpec, Source};
use super::row::{Key, Seen};
use super::sink::{Sink, State};
use super::source::{self, Buffers, Env, Input};
use super::steps::{Counted, StepStats, read_of};

/// What is wrong with the samples of a pipeline, and where Prometheus would find it.
#[derive(Debug)]
pub(crate) struct Fault {
    /// How many operations were done before.
    stage: usize,
    /// The series; none where it was found when all series had passed.
    labels: Option<Labels>,
    pub(crate) error: QueryError,
}

impl Fault {
    /// Whether it is found before `other`.
    fn is_before(&self, other: &Fault) -> bool {
        let of_series = |fault: &Fault| fault.labels.is_none();
        let place = |fault: &Fault| (fault.stage, of_series(fault));
        (place(self), &self.labels) < (place(other), &other.labels)
    }
}

/// What one thread knows of a pipeline.
#[derive(Debug)]
pub(crate) struct PipelineState {
    pub(crate) sink: Sink,
    /// Labels that passed the source, where they must be watched.
    pub(crate) source_seen: Seen,
    /// The same for each step.
    pub(crate) step_seen: Vec<Seen>,
    /// What came out of the source.
    pub(crate) source_count: Count,
    /// The same for each step.
    pub(crate) step_counts: Vec<Count>,
    /// What is wrong, and would be found first.
    pub(crate) fault: Option<Fault>,
}

impl PipelineState {
    pub(crate) fn new(pipeline: &Pipeline, delayed: bool) -> PipelineState {
        let mut step_seen = Vec::new();
        step_seen.resize_with(pipeline.steps.len(), Seen::default);
        let sink = Sink::new(&pipeline.sink, pipeline.out_grid(), delayed);
        let step_counts = vec![Count::default(); pipeline.steps.len()];
        PipelineState {
            sink,
            source_seen: Seen::default(),
            step_seen,
            source_count: Count::default(),
            step_counts,
            fault: None,
        }
    }

    /// Keeps what is wrong with samples for when the tree comes to the pipeline; other errors end the query.
    fn note(&mut self, stage: usize, labels: &Labels, error: QueryError) -> Result<(), QueryError> {
        if !error.is_of_samples() {
            return Err(error);
        }
        let labels = (!matches!(error, QueryError::DuplicateLabelset)).then(|| labels.clone());
        self.note_fault(Fault { stage, labels, error });
        Ok(())
    }

    fn note_fault(&mut self, fault: Fault) {
        if self.fault.as_ref().is_none_or(|known| fault.is_before(known)) {
            self.fault = Some(fault);
        }
    }

    /// Adds what another thread knows.
    pub(crate) fn merge(&mut self, other: PipelineState, budget: &Budget) -> Result<(), QueryError> {
        let mut merged = vec![self.source_seen.merge(other.source_seen)];
        merged.extend(self.step_seen.iter_mut().zip(other.step_seen).map(|(mine, theirs)| mine.merge(theirs)));
        for (stage, merged) in merged.into_iter().enumerate() {
            merged.or_else(|error| self.note(stage, &Labels::empty(), error))?;
        }
        if let Some(fault) = other.fault {
            self.note_fault(fault);
        }
        self.source_count.add(other.source_count);
        for (mine, theirs) in self.step_counts.iter_mut().zip(other.step_counts) {
            mine.add(theirs);
        }
        self.sink.merge(other.sink, budget)
    }
}

/// Takes series of one leaf. There may be several, on as many threads; each series goes to one of them, whole.
#[derive(Debug)]
pub struct LeafWorker {
    plan: Arc<PlanState>,
    leaf: usize,
    states: Vec<PipelineState>,
    decoded: Decoded,
    buffers: Buffers,
    work: Work,
    annotations: Annotations,
    ticker: Ticker,
    stats: QueryStats,
    steps: Option<StepStats>,
}

/// What a worker leaves behind.
pub(crate) struct Leavings {
    pub(crate) leaf: usize,
    pub(crate) states: Vec<PipelineState>,
    pub(crate) annotations: Annotations,
    pub(crate) stats: QueryStats,
    pub(crate) steps: Option<StepStats>,
}

impl LeafWorker {
    pub(crate) fn new(plan: Arc<PlanState>, leaf: usize) -> LeafWorker {
        let delayed = plan.params.options.delayed_name_removal;
        let pipelines = &plan.planned.leaf_plans[leaf].pipelines;
        let states = pipelines.iter().map(|at| PipelineState::new(&plan.planned.pipelines[*at], delayed)).collect();
        let ticker = Ticker::new(&plan.params.interrupt);
        let work = Work::new(Key::new(Labels::empty()));
        let steps = plan.step_stats();
        LeafWorker {
            plan,
            leaf,
            states,
            decoded: Decoded::default(),
            buffers: Buffers::default(),
            work,
            annotations: Annotations::default(),
            ticker,
            stats: QueryStats::default(),
            steps,
        }
    }

    /// Evaluates as much of the query as can be known of each of these series alone.
    pub fn push(&mut self, batch: &[Series]) -> Result<(), QueryError> {
        let plan = Arc::clone(&self.plan);
        self.ticker.look()?;
        for series in batch {
            self.push_one(&plan, series)?;
        }
        Ok(())
    }

    fn push_one(&mut self, plan: &PlanState, series: &Series) -> Result<(), QueryError> {
        let range = plan.planned.leaves[self.leaf].range;
        self.stats.series += 1;
        plan.budget.take(series)?;
        let pipelines = &plan.planned.leaf_plans[self.leaf].pipelines;
        let is_raw = |at: &usize| matches!(plan.planned.pipelines[*at].sink, SinkSpec::Raw);
        let wants_stats = pipelines.iter().any(|at| plan.planned.pipelines[*at].stats_only);
        let decoded = if pipelines.iter().all(is_raw) {
            0
        } else {
            self.decoded.fill(series, range, wants_stats, &mut self.ticker)?
        };
        self.stats.samples_decoded += decoded as u64;
        plan.budget.glance(self.decoded.len())?;
        let mut env = Env {
            delayed: plan.params.options.delayed_name_removal,
            type_and_unit_labels: plan.params.options.type_and_unit_labels,
            start_timestamps: plan.params.options.start_timestamps,
            counts_steps: self.steps.is_some(),
            annotations: &mut self.annotations,
            ticker: &mut self.ticker,
            buffers: &mut self.buffers,
        };
        for (at, state) in pipelines.iter().zip(&mut self.states) {
            let pipeline = &plan.planned.pipelines[*at];
            match &mut state.sink.state {
                State::Raw(kept) => {
                    kept.push(series.clone());
                    continue;
                }
                State::Points { .. } => {
                    let input = Input { floats: self.decoded.without_markers(), hists: self.decoded.hists(false) };
                    let n = match state.sink.add_points(&series.labels, input, pipeline.grid, &plan.budget) {
                        Ok(n) => n as u64,
                        Err(error) => {
                            state.note(0, &series.labels, error)?;
                            continue;
                        }
                    };
                    self.stats.total_queryable_samples += n;
                    self.stats.samples_read += n;
                    if let Some(steps) = &mut self.steps {
                        steps.see(&[n], 1);
                        steps.read(&[n], None);
                    }
                    state.source_count.add(Count { points: n, last: 0, window: 0 });
                    continue;
                }
                _ => {}
            }
            self.work.key = Key::new(series.labels.clone());
            let (source, grid, unique) = (&pipeline.source, pipeline.grid, pipeline.unique);
            let run = Run { source, grid, unique, stats_only: pipeline.stats_only };
            let budget = &plan.budget;
            env.counts_steps = self.steps.is_some() || pipeline.reads.is_some();
            let run = run.source(&self.decoded, &mut self.work, &mut state.source_seen, &mut env, budget);
            let (any, looked) = match run {
                Ok(ran) => ran,
                Err(error) => {
                    state.note(0, &series.labels, error)?;
                    continue;
                }
            };
            count_source(pipeline, looked, &env.buffers.counted, (&mut self.stats, &mut self.steps));
            state.source_count.add(looked.out);
            if any
                && run_steps(
                    pipeline,
                    looked.out,
                    state,
                    &mut self.work,
                    &mut env,
                    budget,
                    (&mut self.stats, &mut self.steps),
                )?
            {
                state.sink.add(&self.work.key, self.work.view(), env.delayed, budget)?;
            }
        }
        Ok(())
    }

    pub(crate) fn into_leavings(self) -> Leavings {
        Leavings {
            leaf: self.leaf,
            states: self.states,
            annotations: self.annotations,
            stats: self.stats,
            steps: self.steps,
        }
    }
}

/// A source and its steps.
pub(crate) struct Run<'a> {
    pub(crate) source: &'a Source,
    pub(crate) grid: Grid,
    pub(crate) unique: Option<super::row::Uniqueness>,
    /// Whether only counts and sums of histograms are looked at.
    pub(crate) stats_only: bool,
}

impl Run<'_> {
    /// Makes the row of a series; false where nothing comes of it.
    pub(crate) fn source(
        &self,
        decoded: &Decoded,
        work: &mut Work,
        seen: &mut Seen,
        env: &mut Env<'_>,
        budget: &Budget,
    ) -> Result<(bool, source::Looked), QueryError> {
        budget.glance_columns(self.grid.count)?;
        let (any, looked) = source::run(self.source, (decoded, self.stats_only), self.grid, work, env)?;
        if let (true, Some(mode)) = (any, self.unique) {
            if !env.delayed {
                work.key.settle();
            }
            seen.insert(&work.key.labels, work.view(), mode)?;
        }
        Ok((any, looked))
    }
}

/// Counts what a source looked at.
pub(crate) fn count_source(
    pipeline: &Pipeline,
    looked: source::Looked,
    counted: &Counted,
    (stats, steps): (&mut QueryStats, &mut Option<StepStats>),
) {
    let repeat = if pipeline.counts { pipeline.repeat } else { 0 };
    stats.total_queryable_samples += looked.seen * repeat;
    let reads = pipeline.reads.as_deref();
    stats.samples_read += reads.map_or(looked.read, |readers| read_of(&counted.read, readers));
    if let Some(steps) = steps {
        steps.see(&counted.seen, repeat);
        steps.read(&counted.read, reads);
    }
}

/// Applies the steps of a pipeline to the row at hand; false where nothing is left of it.
fn run_steps(
    pipeline: &Pipeline,
    source_count: Count,
    state: &mut PipelineState,
    work: &mut Work,
    env: &mut Env<'_>,
    budget: &Budget,
    (stats, step_stats): (&mut QueryStats, &mut Option<StepStats>),
) -> Result<bool, QueryError> {
    let (mut from, mut count) = (pipeline.grid, Count { window: 0, ..source_count });
    for (at, step) in pipeline.steps.iter().enumerate() {
        budget.glance_columns(step.grid.count)?;
        let had_hists = !work.hists.is_empty();
        let (left, looked) = match map::apply(&step.op, from, step.grid, work, env) {
            Ok(applied) => applied,
            Err(error) => {
                let labels = work.key.place().clone();
                return state.note(at + 1, &labels, error).map(|()| false);
            }
        };
        stats.total_queryable_samples += looked.seen;
        if let (Some(steps), MapOp::Subquery { repeat, .. }) = (&mut *step_stats, &step.op) {
            steps.see(&env.buffers.counted.seen, *repeat);
        }
        if !left {
            return Ok(false);
        }
        if load::filters(&step.op) || had_hists {
            count = Count::of(work.view(), looked.out.window);
        }
        state.step_counts[at].add(count);
        if let Some(mode) = step.unique {
            if !env.delayed {
                work.key.settle();
            }
            if let Err(error) = state.step_seen[at].insert(&work.key.labels, work.view(), mode) {
                return state.note(at + 1, &Labels::empty(), error).map(|()| false);
            }
        }
        from = step.grid;
    }
    Ok(true)
}
