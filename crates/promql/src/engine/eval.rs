//! What remains when storage has answered: the tree over the pipelines' results, from the leaves to the root.

mod info;
mod scalar;

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Labels, TimestampMs};

use super::annotations::Annotations;
use super::binary::{self, Join};
use super::column::{ABSENT, Grid};
use super::decode::Decoded;
use super::error::QueryError;
use super::limits::{QueryStats, Ticker};
use super::load::{Count, Load};
use super::map::{self, Work};
use super::math::{go_max, go_min};
use super::node::{
    BinaryNode, HistogramFn, HistogramNode, Node, Root, Scalar, ScalarNode, SinkSpec, Source, Step, Warning,
};
use super::result::{Points, RangeSeries, Value, VectorSample};
use super::row::{Key, Row, Seen, Uniqueness, check_unique, merge_rows};
use super::sink::{Made, Sink, held_by};
use super::source::{Buffers, Env};
use super::window::Number;
use super::worker::Run;
use super::{PlanState, histogram, sort};
use crate::ast::{BinaryOp, Cardinality};

/// Evaluates the tree.
pub(crate) struct Evaluator<'a> {
    pub(crate) plan: &'a PlanState,
    /// What the pipelines made; taken by the one node that wants it.
    pub(crate) made: Vec<Option<Made>>,
    pub(crate) annotations: Annotations,
    pub(crate) stats: QueryStats,
    ticker: Ticker,
    buffers: Buffers,
    /// What Prometheus would hold for the node that was evaluated last.
    load: Load,
    /// What it would hold for the pipelines.
    pipeline_loads: Vec<Load>,
    /// Numbers that were late, by the address of their node.
    late: HashMap<*const ScalarNode, Scalar>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        plan: &'a PlanState,
        made: Vec<Option<Made>>,
        pipeline_loads: Vec<Load>,
        annotations: Annotations,
        stats: QueryStats,
    ) -> Evaluator<'a> {
        Evaluator {
            plan,
            made,
            annotations,
            stats,
            ticker: Ticker::new(&plan.params.interrupt),
            buffers: Buffers::default(),
            load: Load::default(),
            pipeline_loads,
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
                self.load = self.pipeline_loads[*pipeline];
                let Some(Made::Points(series)) = self.made[*pipeline].take() else { return Ok(Value::Matrix(vec![])) };
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
                let rows = self.rows(input)?;
                self.map(rows, *from, step)
            }
            Node::Reduce { input, spec, grid } => {
                let in_order = self.is_in_order(input, *grid);
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
                let one = if node.matching.cardinality == Cardinality::OneToMany { &node.lhs } else { &node.rhs };
                let one_in_order = self.is_in_order(one, node.grid);
                let lhs = self.rows(&node.lhs)?;
                let left = self.load;
                let rhs = self.rows(&node.rhs)?;
                self.binary(node, one_in_order, left, (lhs, rhs))
            }
            Node::Histogram(node) => {
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
                // Storage gives Prometheus series in order of labels, and its sorting leaves few equals as they were.
                rows.sort_by(|a, b| a.key.labels.cmp(&b.key.labels));
                sort::sort(&mut rows, by, *descending);
                self.load = Load::stepwise(&[self.load], Count::of_rows(&rows));
                Ok(rows)
            }
            Node::Also(warning, node) => {
                let rows = self.rows(node)?;
                self.warn(warning)?;
                Ok(rows)
            }
        }
    }

    /// Whether the rows of a node come in the order in which Prometheus has them; others have none of their own.
    fn is_in_order(&self, node: &Node, grid: Grid) -> bool {
        match node {
            Node::Sort { .. } => true,
            Node::Reduce { spec, .. } => is_ordered_sink(spec, grid),
            Node::Pipeline(at) => is_ordered_sink(&self.plan.planned.pipelines[*at].sink, grid),
            // Over several steps Prometheus puts the series of a result into a map.
            Node::Map { input, .. } => grid.count == 1 && self.is_in_order(input, grid),
            Node::Also(_, input) => self.is_in_order(input, grid),
            Node::Binary(node) if matches!(node.op, BinaryOp::And | BinaryOp::Unless) => {
                grid.count == 1 && self.is_in_order(&node.lhs, grid)
            }
            Node::Deferred { .. } | Node::Vector(..) | Node::Binary(_) | Node::Histogram(_) | Node::Info(_) => false,
        }
    }

    #[inline(never)]
    fn pipeline_rows(&mut self, at: usize) -> Result<Vec<Row>, QueryError> {
        let pipeline = &self.plan.planned.pipelines[at];
        self.load = self.pipeline_loads[at];
        let Some(Made::Rows(rows)) = self.made[at].take() else { return Ok(Vec::new()) };
        let overlaps = |unique: &Option<Uniqueness>| *unique == Some(Uniqueness::Overlap);
        let may_repeat = overlaps(&pipeline.unique) || pipeline.steps.iter().any(|step| overlaps(&step.unique));
        // The pipeline has made sure that rows of the same labels do not overlap; here they become one.
        if may_repeat { merge_rows(rows) } else { Ok(rows) }
    }

    /// Runs a source that waited for numbers over the series that were kept for it.
    #[inline(never)]
    fn deferred(
        &mut self,
        pipeline: usize,
        source: &Source,
        grid: Grid,
        unique: Option<Uniqueness>,
    ) -> Result<Vec<Row>, QueryError> {
        let plan = self.plan;
        let Some(Made::Raw(series)) = self.made[pipeline].take() else { return Ok(Vec::new()) };
        let source = match source {
            Source::Window(call) => Source::Window(self.resolve_call(call)?),
            other => other.clone(),
        };
        let counts = &plan.planned.pipelines[pipeline];
        let range = plan.planned.leaves[counts.leaf].range;
        let delayed = self.delayed();
        let mut decoded = Decoded::default();
        let mut seen = Seen::default();
        let mut rows = Vec::new();
        let mut count = Count::default();
        for one in series {
            self.stats.samples_decoded += decoded.fill(&one, range, counts.stats_only, &mut self.ticker)? as u64;
            let mut work = Work::new(Key::new(one.labels));
            let run = Run { source: &source, grid, unique, stats_only: counts.stats_only };
            let mut env = Env {
                delayed,
                type_and_unit_labels: plan.params.options.type_and_unit_labels,
                start_timestamps: plan.params.options.start_timestamps,
                annotations: &mut self.annotations,
                ticker: &mut self.ticker,
                buffers: &mut self.buffers,
            };
            let (any, looked) = run.source(&decoded, &mut work, &mut seen, &mut env, &plan.budget)?;
            if counts.counts {
                self.stats.total_queryable_samples += looked.seen * counts.repeat;
            }
            self.stats.samples_read += looked.read;
            count.add(looked.out);
            if any {
                plan.budget.hold(work.view().weight())?;
                if !delayed {
                    work.key.settle();
                }
                rows.push(Row { key: work.key, values: work.column.into(), hists: work.hists });
            }
        }
        self.load = Load::source(&source, count, grid.count);
        Ok(rows)
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
                annotations: &mut self.annotations,
                ticker: &mut self.ticker,
                buffers: &mut self.buffers,
            };
            let (left, looked) = map::apply(&op, from, step.grid, &mut work, &mut env)?;
            self.stats.total_queryable_samples += looked.seen;
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
        one_in_order: bool,
        left: Load,
        (lhs, rhs): (Vec<Row>, Vec<Row>),
    ) -> Result<Vec<Row>, QueryError> {
        let right = self.load;
        let held = held_by(&lhs) + held_by(&rhs);
        let mut join = Join {
            delayed: self.plan.params.options.delayed_name_removal,
            one_in_order,
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

    #[inline(never)]
    fn warn(&mut self, warning: &Warning) -> Result<(), QueryError> {
        match warning {
            Warning::Sort(pos) => self.annotations.sort_in_range_query(*pos),
            Warning::Quantile(q, pos) => {
                let limits = Extremes::of(&self.resolve(q)?);
                if limits.any_nan {
                    self.annotations.invalid_quantile(*pos, f64::NAN);
                }
                if limits.max > 1.0 {
                    self.annotations.invalid_quantile(*pos, limits.max);
                }
                if limits.min < 0.0 {
                    self.annotations.invalid_quantile(*pos, limits.min);
                }
            }
            Warning::Ratio(ratio, pos) => {
                let limits = Extremes::of(&self.resolve(ratio)?);
                if limits.max == 0.0 && limits.min == 0.0 {
                    return Ok(());
                }
                if limits.any_nan {
                    return Err(QueryError::RatioNan);
                }
                if limits.max > 1.0 {
                    self.annotations.invalid_ratio(*pos, limits.max, 1.0);
                }
                if limits.min < -1.0 {
                    self.annotations.invalid_ratio(*pos, limits.min, -1.0);
                }
            }
            Warning::Count(k) => {
                const LIMIT: f64 = 9_223_372_036_854_775_808.0;
                let limits = Extremes::of(&self.resolve(k)?);
                if limits.max < 1.0 {
                    return Ok(());
                }
                if limits.any_nan {
                    return Err(QueryError::ParameterNan);
                }
                if limits.min <= -LIMIT {
                    return Err(QueryError::ScalarUnderflow(limits.min));
                }
                if limits.max >= LIMIT {
                    return Err(QueryError::ScalarOverflow(limits.max));
                }
            }
        }
        Ok(())
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

/// The least and largest of the numbers of all steps.
struct Extremes {
    min: f64,
    max: f64,
    any_nan: bool,
}

impl Extremes {
    fn of(scalar: &Scalar) -> Extremes {
        match numbers(scalar) {
            Number::Const(v) => Extremes { min: v, max: v, any_nan: v.is_nan() },
            Number::Column(column) => Extremes {
                min: column.iter().fold(f64::MAX, |a, b| go_min(a, *b)),
                max: column.iter().fold(-f64::MAX, |a, b| go_max(a, *b)),
                any_nan: column.iter().any(|v| v.is_nan()),
            },
        }
    }
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
