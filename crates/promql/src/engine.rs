//! The engine: plans an expression, takes series as storage gives them, and answers.
//!
//! Evaluation is series-major: a series is decoded once, all steps of the query are computed for it, what can be aggregated is
//! added to the columns of its group, and the series is forgotten. The engine never pulls and knows neither clock nor threads:
//!
//! 1. [`plan`] says what is wanted ([`Plan::leaves`]).
//! 2. For each leaf one or more [`LeafWorker`]s take series ([`LeafWorker::push`]), on as many threads as there are workers.
//! 3. [`Plan::finish`] joins what they made and gives the value.
//!
//! Native histograms are refused in extended range selectors, and their start timestamps are not looked at (see [`Feature`]).

mod aggregate;
mod annotations;
mod binary;
mod column;
mod decode;
mod duration;
mod elements;
mod error;
mod eval;
mod extended;
mod format;
mod go_math;
mod histogram;
mod hists;
mod info;
mod invariant;
mod lanes;
mod limits;
mod load;
mod map;
mod math;
#[cfg(test)]
mod naive;
mod node;
mod plan;
mod rate;
mod regression;
mod result;
mod row;
mod select;
mod sink;
mod sort;
mod source;
mod starts;
mod steps;
mod time;
mod window;
mod worker;

use std::sync::Arc;

use model::{DurationMs, Matcher, TimeRange, TimestampMs};

pub use annotations::{Annotation, Annotations, Severity};
pub use error::{DurationProblem, Feature, QueryError};
pub(crate) use histogram::almost_equal;
pub use limits::{Interrupt, Limits, QueryStats};
pub use result::{Points, QueryResult, RangeSeries, Value, VectorSample};
pub use steps::StepStats;
pub use worker::LeafWorker;

use crate::ast::Expr;
use eval::Evaluator;
use limits::Budget;
use load::{Count, Load};
use plan::Planned;
use sink::Made;
use worker::PipelineState;

/// How a query is evaluated.
#[derive(Clone, Debug)]
pub struct QueryParams {
    /// The first instant.
    pub start: TimestampMs,
    /// The last instant (inclusive); that of an instant query is its `start`.
    pub end: TimestampMs,
    /// From instant to instant; zero for an instant query.
    pub step: DurationMs,
    /// How old the sample of an instant may be (exclusive).
    pub lookback: DurationMs,
    /// The step of subqueries that name none.
    pub subquery_step: DurationMs,
    /// Bounds.
    pub limits: Limits,
    /// Ways of evaluation.
    pub options: Options,
    /// Rows whose labels were replaced are kept until all are there ([`QueryError::KindsMeet`]).
    pub keeps_relabelled: bool,
    /// Samples are also counted step by step.
    pub counts_steps: bool,
    /// Stops the query.
    pub interrupt: Interrupt,
    /// The query as it was written, for the log of queries under way.
    pub text: Arc<str>,
}

impl QueryParams {
    /// An instant query at `at`, with Prometheus' defaults.
    pub fn instant(at: TimestampMs) -> QueryParams {
        QueryParams::range(at, at, DurationMs::ZERO)
    }

    /// A range query, with Prometheus' defaults.
    pub fn range(start: TimestampMs, end: TimestampMs, step: DurationMs) -> QueryParams {
        QueryParams {
            start,
            end,
            step,
            lookback: DurationMs::mins(5),
            subquery_step: DurationMs::mins(1),
            limits: Limits::default(),
            options: Options::default(),
            keeps_relabelled: false,
            counts_steps: false,
            interrupt: Interrupt::default(),
            text: Arc::from(""),
        }
    }

    fn is_instant(&self) -> bool {
        self.step <= DurationMs::ZERO
    }
}

/// Ways of evaluation that Prometheus has flags for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Names are dropped at the very end (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Types come from `__type__` (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Start timestamps of samples tell resets (`use-start-timestamps`).
    pub start_timestamps: bool,
    /// Counts per step may be asked for (`promql-per-step-stats`).
    pub per_step_stats: bool,
}

/// What is asked of storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Samples wanted.
    pub range: TimeRange,
    /// Whether samples are wanted at all.
    pub with_chunks: bool,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct PlanState {
    params: QueryParams,
    planned: Planned,
    budget: Budget,
}

impl PlanState {
    /// Where samples are counted step by step, if that was asked for.
    fn step_stats(&self) -> Option<StepStats> {
        self.params.counts_steps.then(|| StepStats::new(self.planned.grid.count))
    }
}

/// A query that waits for its series.
#[derive(Debug)]
pub struct Plan {
    state: Arc<PlanState>,
}

/// Plans `expr`.
pub fn plan(expr: &Expr, params: QueryParams) -> Result<Plan, QueryError> {
    let planned = plan::plan(expr, &params)?;
    let budget = Budget::new(&params.limits);
    Ok(Plan { state: Arc::new(PlanState { params, planned, budget }) })
}

impl Plan {
    /// What is asked of storage; the series of each leaf go to its own workers.
    pub fn leaves(&self) -> &[Leaf] {
        &self.state.planned.leaves
    }

    /// A worker for leaf number `leaf`.
    pub fn worker(&self, leaf: usize) -> LeafWorker {
        LeafWorker::new(Arc::clone(&self.state), leaf)
    }

    /// Joins what the workers made and evaluates the rest. A leaf without workers had no series.
    pub fn finish(&self, workers: impl IntoIterator<Item = LeafWorker>) -> Result<QueryResult, QueryError> {
        let plan = self.state.as_ref();
        let mut states: Vec<Option<PipelineState>> = Vec::new();
        states.resize_with(plan.planned.pipelines.len(), || None);
        let mut annotations = Annotations::default();
        let mut stats = QueryStats::default();
        let mut steps = plan.step_stats();
        for worker in workers {
            let leavings = worker.into_leavings();
            annotations.merge(leavings.annotations);
            stats.add(&leavings.stats);
            if let (Some(steps), Some(theirs)) = (&mut steps, &leavings.steps) {
                steps.add(theirs);
            }
            let pipelines = &plan.planned.leaf_plans[leavings.leaf].pipelines;
            for (at, state) in pipelines.iter().zip(leavings.states) {
                match &mut states[*at] {
                    Some(known) => known.merge(state, &plan.budget)?,
                    slot @ None => *slot = Some(state),
                }
            }
        }
        let delayed = plan.params.options.delayed_name_removal;
        let mut made = Vec::new();
        let mut loads = Vec::new();
        let mut faults = Vec::new();
        for (pipeline, state) in plan.planned.pipelines.iter().zip(states) {
            let state = state.unwrap_or_else(|| PipelineState::new(pipeline, delayed));
            let load = Load::source(&pipeline.source, state.source_count, pipeline.grid.count);
            let load = load.steps(&pipeline.steps, &state.step_counts);
            faults.push(state.fault.map(|fault| fault.error));
            let one = state.sink.finish(&pipeline.sink, &plan.budget, &mut annotations)?;
            let out = match &one {
                Made::Rows(rows) => Count::of_rows(rows),
                Made::Raw(_) | Made::Points(_) => Count::default(),
            };
            loads.push(load.sink(&pipeline.sink, out, pipeline.out_grid().count));
            made.push(Some(one));
        }
        let made = eval::Pipelines { made, loads, faults };
        let mut evaluator = Evaluator::new(plan, made, annotations, (stats, steps));
        let value = evaluator.value()?;
        let peak_samples = evaluator.peak();
        let Evaluator { annotations, mut stats, steps, .. } = evaluator;
        stats.peak_samples = peak_samples;
        stats.held_samples = plan.budget.peak();
        Ok(QueryResult { value, annotations, stats, steps })
    }
}

#[cfg(test)]
mod tests;
