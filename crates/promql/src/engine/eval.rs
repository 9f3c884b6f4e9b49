//! What remains when storage has answered: the tree over the pipelines' results, from the leaves to the root.

mod info;
mod limit_ratio;
mod pipelines;
mod scalar;
mod warnings;

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Labels, TimestampMs};

use super::annotations::Annotations;
use super::binary::{self, Join};
use super::column::{ABSENT, Grid};
use super::error::QueryError;
use super::limits::{QueryStats, Ticker};
use super::load::{Count, Load};
use super::map::{self, Work};
use super::node::{BinaryNode, HistogramFn, HistogramNode, MapOp, Node, Root, Scalar, ScalarNode, SinkSpec, Step};
use super::result::{Points, RangeSeries, Value, VectorSample};
use super::row::{Key, Row, Uniqueness, check_unique, merge_kinds, merge_rows, sort_by_place};
use super::sink::{Made, Sink, held_by};
use super::source::{Buffers, Env};
use super::steps::StepStats;
use super::window::Number;
use super::{PlanState, histogram, sort};
use crate::ast::Cardinality;

/// What the pipelines left, by their numbers.
#[derive(Default)]
pub(crate) struct Pipelines {
    /// What they made; taken by the one node that wants it.
    pub(crate) made: Vec<Option<Made>>,
    /// What Prometheus would hold for them.
    pub(crate) loads: Vec<Load>,
    /// What is wrong with their samples.
    pub(crate) faults: Vec<Option<QueryError>>,
}

/// Evaluates the tree.
pub(crate) struct Evaluator<'a> {
    pub(crate) plan: &'a PlanState,
    pipelines: Pipelines,
    pub(crate) annotations: Annotations,
    pub(crate) stats: QueryStats,
    pub(crate) steps: Option<StepStats>,
    ticker: Ticker,
    buffers: Buffers,
    /// What Prometheus would hold for the node that was evaluated last.
    load: Load,
    /// Numbers that were late, by the address of their node.
    late: HashMap<*const ScalarNode, Scalar>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        plan: &'a PlanState,
        pipelines: Pipelines,
        annotations: Annotations,
        (stats, steps): (QueryStats, Option<StepStats>),
    ) -> Evaluator<'a> {
        Evaluator {
            plan,
            pipelines,
            annotations,
            stats,
            steps,
            ticker: Ticker::new(&plan.params.interrupt),
            buffers: Buffers::default(),
            load: Load::default(),
            late: HashMap::new(),
        }
    }

    /// The most samples that Prometheus would have held.
    pub(crate) fn peak(&self) -> u64 {
        self.load.peak
    }

    fn delayed(&self) -> bool {
        self.plan.params.options.delayed_name_removal
    }

    /// The value of the query.
    pub(crate) fn value(&mut self) -> Result<Value, QueryError> {
        let plan = self.plan;
        let (grid, is_instant) = (plan.planned.grid, plan.params.is_instant());
        let at = TimestampMs(grid.start);
        match &plan.planned.root {
            Root::String(text) => Ok(Value::String { at, text: text.clone() }),
            Root::Scalar(scalar) => {
                let scalar = self.resolve(scalar)?;
                let number = numbers(&scalar);
                if is_instant {
                    self.load.peak = self.load.peak.max(1);
                    return Ok(Value::Scalar { at, value: number.at(0) });
                }
                plan.budget.hold(grid.count)?;
                self.load.peak = self.load.peak.max(grid.count as u64);
                let values = (0..grid.count).map(|i| number.at(i)).collect();
                let points = Points::on_grid(grid, values, Vec::new());
                Ok(Value::Matrix(vec![RangeSeries { labels: Labels::empty(), points }]))
            }
            Root::Points(pipeline) => {
                let Some(Made::Points(series)) = self.take(*pipeline)? else { return Ok(Value::Matrix(vec![])) };
                let series = series.into_iter().map(|row| {
                    let (ts, values) = row.floats;
                    RangeSeries { labels: row.labels, points: Points::listed(ts, values, row.hists) }
                });
                Ok(Value::Matrix(by_labels(series.collect())))
            }
            Root::Subquery { node, grid } => {
                let rows = self.final_rows(node)?;
                Ok(Value::Matrix(matrix(rows, *grid)))
            }
            Root::Vector { node, .. } if !is_instant => {
                let rows = self.final_rows(node)?;
                Ok(Value::Matrix(matrix(rows, grid)))
            }
            Root::Vector { node, ordered } => {
                let rows = self.final_rows(node)?;
                let mut samples: Vec<VectorSample> = rows
                    .into_iter()
                    .filter(|row| row.view().any())
                    .map(|row| match row.hists.get(0).cloned() {
                        Some(h) => VectorSample { labels: row.key.labels, value: 0.0, histogram: Some(h) },
                        None => VectorSample { labels: row.key.labels, value: row.values[0], histogram: None },
                    })
                    .collect();
                if !ordered {
                    samples.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                Ok(Value::Vector { at, samples })
            }
        }
    }

    /// The rows of the outermost node, with names dropped that are to be.
    fn final_rows(&mut self, node: &Node) -> Result<Vec<Row>, QueryError> {
        let mut rows = self.rows(node)?;
        if !self.delayed() {
            return Ok(rows);
        }
        rows.iter_mut().for_each(|row| row.key.settle());
        merge_rows(rows)
    }

    /// The rows of a node. Without delayed name removal their names are dropped where they are to be.
    #[inline(never)]
    fn rows(&mut self, node: &Node) -> Result<Vec<Row>, QueryError> {
        self.plan.params.interrupt.check()?;
        match node {
            Node::Pipeline(at) => self.pipeline_rows(*at),
            Node::Deferred { pipeline, source, grid, unique } => self.deferred(*pipeline, source, *grid, *unique),
            // Inputs are evaluated here, so that deep expressions need little stack.
            Node::Map { input, from, step } => {
                if let MapOp::Scalar { scalar, scalar_first: true, .. } = &step.op {
                    self.resolve(scalar)?;
                }
                let mut rows = self.rows(input)?;
                if matches!(step.op, MapOp::Subquery { .. }) && !self.is_in_order(input) {
                    sort_by_place(&mut rows);
                }
                self.map(rows, *from, step)
            }
            Node::Reduce { input, spec, grid } => {
                let in_order = self.is_in_order(input);
                if let SinkSpec::Aggregate { param: number, .. } | SinkSpec::TopK { k: number, .. } = spec.as_ref() {
                    self.resolve(number)?;
                }
                let rows = self.rows(input)?;
                self.reduce(rows, in_order, spec, *grid)
            }
            Node::Vector(scalar, n) => {
                let scalar = self.resolve(scalar)?;
                self.plan.budget.glance_columns(*n)?;
                let number = numbers(&scalar);
                let values = (0..*n).map(|i| number.at(i)).collect();
                let rows = vec![Row::of_floats(Key::new(Labels::empty()), values)];
                self.plan.budget.hold(held_by(&rows))?;
                self.load = Load::stepwise(&[Load::numbers(*n)], Count::of_rows(&rows));
                Ok(rows)
            }
            Node::Binary(node) => {
                let in_order = [&node.lhs, &node.rhs].map(|side| self.is_in_order(side));
                let lhs = self.rows(&node.lhs)?;
                let left = self.load;
                let rhs = self.rows(&node.rhs)?;
                self.binary(node, in_order, left, (lhs, rhs))
            }
            Node::Histogram(node) => {
                match &node.function {
                    HistogramFn::Quantile(q, _) => drop(self.resolve(q)?),
                    HistogramFn::Fraction(lower, upper) => drop((self.resolve(lower)?, self.resolve(upper)?)),
                    HistogramFn::Quantiles(..) => {}
                }
                let rows = self.rows(&node.input)?;
                self.histogram(node, rows)
            }
            Node::Info(node) => {
                let rows = self.rows(&node.input)?;
                let base = self.load;
                let infos = self.pipeline_rows(node.pipeline)?;
                self.info(node, base, rows, infos)
            }
            Node::Sort { input, by, descending } => {
                let mut rows = self.rows(input)?;
                rows.retain(|row| row.view().any());
                // Prometheus' sorting leaves few equals as they were.
                if !self.is_in_order(input) {
                    sort_by_place(&mut rows);
                }
                sort::sort(&mut rows, by, *descending);
                self.load = Load::stepwise(&[self.load], Count::of_rows(&rows));
                Ok(rows)
            }
            Node::LimitRatio { input, ratio, groups } => {
                let in_order = self.is_in_order(input);
                self.resolve(ratio)?;
                let rows = self.rows(input)?;
                self.limit_ratio(rows, in_order, ratio, groups)
            }
            Node::Fail(_, 0) => Ok(Vec::new()),
            Node::Fail(error, _) => Err(QueryError::clone(error)),
            Node::Also(warning, node) => {
                let rows = self.rows(node)?;
                self.warn(warning)?;
                Ok(rows)
            }
        }
    }

    /// Whether the rows of a node come in the order in which Prometheus has them; others are in order by their places.
    fn is_in_order(&self, node: &Node) -> bool {
        match node {
            Node::Sort { .. } | Node::LimitRatio { .. } | Node::Vector(..) => true,
            Node::Reduce { spec, grid, .. } => is_ordered_sink(spec, *grid),
            Node::Pipeline(at) => {
                let pipeline = &self.plan.planned.pipelines[*at];
                is_ordered_sink(&pipeline.sink, pipeline.out_grid())
            }
            Node::Map { input, .. } | Node::Also(_, input) => self.is_in_order(input),
            Node::Binary(node) if binary::is_put_in_order(node) => true,
            Node::Binary(node) if node.matching.cardinality == Cardinality::OneToMany => self.is_in_order(&node.rhs),
            Node::Binary(node) => self.is_in_order(&node.lhs),
            Node::Info(node) => self.is_in_order(&node.input),
            Node::Deferred { .. } | Node::Histogram(_) | Node::Fail(..) => false,
        }
    }

    #[inline(never)]
    fn map(&mut self, rows: Vec<Row>, from: Grid, step: &Step) -> Result<Vec<Row>, QueryError> {
        let load = self.load;
        let op = self.resolve_op(&step.op)?;
        let mut window = 0;
        let delayed = self.delayed();
        let mut out = Vec::with_capacity(rows.len());
        let mut work = Work::new(Key::new(Labels::empty()));
        self.plan.budget.glance_columns(step.grid.count)?;
        for row in rows {
            let before = row.view().weight();
            work.key = row.key;
            work.column = row.values.into();
            work.hists = row.hists;
            let mut env = Env {
                delayed,
                type_and_unit_labels: self.plan.params.options.type_and_unit_labels,
                start_timestamps: self.plan.params.options.start_timestamps,
                counts_steps: self.steps.is_some(),
                annotations: &mut self.annotations,
                ticker: &mut self.ticker,
                buffers: &mut self.buffers,
            };
            let (left, looked) = map::apply(&op, from, step.grid, &mut work, &mut env)?;
            self.stats.total_queryable_samples += looked.seen;
            if let (Some(steps), MapOp::Subquery { repeat, .. }) = (&mut self.steps, &op) {
                steps.see(&env.buffers.counted.seen, *repeat);
            }
            window = looked.out.window.max(window);
            self.plan.budget.release(before);
            if left {
                let mut key = work.key.clone();
                if !delayed {
                    key.settle();
                }
                self.plan.budget.hold(work.view().weight())?;
                out.push(Row { key, values: work.column.as_slice().into(), hists: std::mem::take(&mut work.hists) });
            }
        }
        match step.unique {
            None => {}
            Some(Uniqueness::Overlap) => out = merge_rows(out)?,
            Some(Uniqueness::OverlapOfKind) => out = merge_kinds(out)?,
            Some(Uniqueness::Strict) => check_unique(&out)?,
        }
        self.load = load.step(&op, Count { window, ..Count::of_rows(&out) }, step.grid.count);
        Ok(out)
    }

    #[inline(never)]
    fn reduce(&mut self, rows: Vec<Row>, in_order: bool, spec: &SinkSpec, grid: Grid) -> Result<Vec<Row>, QueryError> {
        let load = self.load;
        let spec = match spec {
            SinkSpec::Aggregate { op, groups, param, pos } => {
                SinkSpec::Aggregate { op: *op, groups: groups.clone(), param: self.resolve(param)?, pos: *pos }
            }
            SinkSpec::TopK { op, groups, k, pos } => {
                SinkSpec::TopK { op: *op, groups: groups.clone(), k: self.resolve(k)?, pos: *pos }
            }
            other => other.clone(),
        };
        let delayed = self.delayed();
        let mut sink = Sink::new(&spec, grid, delayed);
        if in_order {
            sink.keep_order();
        }
        let budget = &self.plan.budget;
        for row in rows {
            self.ticker.tick(grid.count)?;
            sink.add(&row.key, row.view(), delayed, budget)?;
            budget.release(row.view().weight());
        }
        match sink.finish(&spec, budget, &mut self.annotations)? {
            Made::Rows(rows) => {
                self.load = load.sink(&spec, Count::of_rows(&rows), grid.count);
                Ok(rows)
            }
            Made::Raw(_) | Made::Points(_) => Err(QueryError::Malformed("a sink of series within an expression")),
        }
    }

    #[inline(never)]
    fn binary(
        &mut self,
        node: &BinaryNode,
        in_order: [bool; 2],
        left: Load,
        (lhs, rhs): (Vec<Row>, Vec<Row>),
    ) -> Result<Vec<Row>, QueryError> {
        let right = self.load;
        let held = held_by(&lhs) + held_by(&rhs);
        let mut join = Join {
            delayed: self.plan.params.options.delayed_name_removal,
            in_order,
            annotations: &mut self.annotations,
            ticker: &mut self.ticker,
            budget: &self.plan.budget,
        };
        let rows = binary::evaluate(node, lhs, rhs, &mut join)?;
        self.plan.budget.hold(held_by(&rows))?;
        self.plan.budget.release(held);
        self.load = Load::stepwise(&[left, right], Count::of_rows(&rows));
        Ok(rows)
    }

    #[inline(never)]
    fn histogram(&mut self, node: &HistogramNode, rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
        let mut loads = vec![self.load];
        let numbers = match &node.function {
            HistogramFn::Quantile(..) => 1,
            HistogramFn::Fraction(..) => 2,
            HistogramFn::Quantiles(_, qs) => qs.len(),
        };
        loads.resize(1 + numbers, Load::numbers(node.grid.count));
        let function = match &node.function {
            HistogramFn::Quantile(q, pos) => HistogramFn::Quantile(self.resolve(q)?, *pos),
            HistogramFn::Fraction(lower, upper) => HistogramFn::Fraction(self.resolve(lower)?, self.resolve(upper)?),
            HistogramFn::Quantiles(label, qs) => {
                let qs: Result<Vec<_>, QueryError> = qs.iter().map(|(q, pos)| Ok((self.resolve(q)?, *pos))).collect();
                HistogramFn::Quantiles(label.clone(), qs?)
            }
        };
        self.ticker.tick(rows.len() * node.grid.count)?;
        let held = held_by(&rows);
        let delayed = self.delayed();
        let call = histogram::Call { node, function: &function, delayed };
        let rows = call.evaluate(rows, &mut self.annotations);
        self.plan.budget.release(held);
        self.plan.budget.hold(held_by(&rows))?;
        self.load = Load::stepwise(&loads, Count::of_rows(&rows));
        if delayed && node.grid.count == 1 { Ok(rows) } else { merge_rows(rows) }
    }
}

/// Whether the rows that a sink makes come in the order in which Prometheus has them.
fn is_ordered_sink(spec: &SinkSpec, grid: Grid) -> bool {
    match spec {
        SinkSpec::Aggregate { .. } => true,
        SinkSpec::TopK { .. } => grid.count == 1,
        SinkSpec::Collect
        | SinkSpec::Raw
        | SinkSpec::Points(..)
        | SinkSpec::CountValues { .. }
        | SinkSpec::Absent { .. }
        | SinkSpec::ScalarOf => false,
    }
}

fn numbers(scalar: &Scalar) -> Number<'_> {
    debug_assert!(!scalar.is_late(), "resolved before");
    scalar.known().unwrap_or(Number::Const(ABSENT))
}

fn by_labels(mut series: Vec<RangeSeries>) -> Vec<RangeSeries> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

fn matrix(rows: Vec<Row>, grid: Grid) -> Vec<RangeSeries> {
    let rows = rows.into_iter().filter(|row| row.view().any());
    let series = rows.map(|row| {
        let hists = row.hists.iter().map(|(i, h)| (grid.at(i), Arc::clone(h))).collect();
        RangeSeries { labels: row.key.labels, points: Points::on_grid(grid, row.values, hists) }
    });
    by_labels(series.collect())
}
