//! From an expression to a plan: which series are wanted, what is done to each, and what joins the rest.

mod aggregate;
mod binary;
mod call;
mod info;
mod scalar;
mod selector;

use std::sync::Arc;

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher, TimeRange, TimestampMs};

use super::column::Grid;
use super::duration::QueryTimes;
use super::error::QueryError;
use super::extended::Extension;
use super::invariant::{Invariants, unparen};
use super::node::{LeafPlan, MapOp, Node, Pipeline, Root, SinkSpec, Source, Step};
use super::row::Uniqueness;
use super::window::WindowSpec;
use super::{Leaf, QueryParams};
use crate::ast::{Expr, ExprKind, UnaryOp, ValueType};
use selector::{Instant, samples_of};

/// A planned query.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) root: Root,
    pub(crate) grid: Grid,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) leaf_plans: Vec<LeafPlan>,
    pub(crate) pipelines: Vec<Pipeline>,
}

/// A vector that is being planned: still series by series, or a node.
struct Built {
    kind: BuiltKind,
    /// Its steps.
    grid: Grid,
    /// Whether its rows may differ in nothing but the metric's name.
    names_vary: bool,
}

enum BuiltKind {
    Stream(Box<Pipeline>),
    Node(Box<Node>),
}

/// Where in the query an expression stands.
#[derive(Clone, Copy)]
struct Scope {
    /// At how many steps its result is used.
    repeat: u64,
    /// Which steps of the query read its samples: a place in the planner's list.
    reads: usize,
    /// Whether samples of its selectors count as seen.
    counts: bool,
    /// Whether it is an argument of a function that looks at counts and sums of histograms only.
    within_stats: bool,
    /// Whether something around it needs whole histograms.
    needs_buckets: bool,
}

struct Planner<'a> {
    params: &'a QueryParams,
    times: QueryTimes,
    invariants: Invariants,
    leaves: Vec<Leaf>,
    leaf_plans: Vec<LeafPlan>,
    pipelines: Vec<Pipeline>,
    /// Which step of the query reads first what each step of a subquery reads; the first is that of the query itself.
    reads: Vec<Option<Arc<[u32]>>>,
    /// Within the parameter of an aggregation, which Prometheus 3.14 does not prepare: there `@ start()` and `@ end()` mean
    /// nothing, `@ t` holds at the first step only and moves on with the steps, and positions have their parentheses.
    within_param: bool,
    /// Until when the selector at hand has samples, where its `@` moves on: those after it were not asked for.
    last_sample: Option<i64>,
    /// Until when Prometheus evaluates the expression at hand: the end asked for, though the last step may lie before it.
    until: i64,
    /// Leaves that end early, and so are nobody else's.
    cut_leaves: Vec<usize>,
}

/// Plans `expr`.
pub(crate) fn plan(expr: &Expr, params: &QueryParams) -> Result<Planned, QueryError> {
    let (start, end) = (params.start.0, params.end.0);
    let is_instant = params.is_instant();
    let grid = if is_instant { Grid::new(start, start, 1) } else { Grid::new(start, end, params.step.0.max(1)) };
    if grid.count.saturating_sub(1) as u64 > params.limits.steps_max {
        return Err(QueryError::TooManySteps(params.limits.steps_max));
    }
    let mut planner = Planner {
        params,
        times: QueryTimes { start, end, step: if is_instant { 0 } else { params.step.0 } },
        invariants: Invariants::of(expr),
        leaves: Vec::new(),
        leaf_plans: Vec::new(),
        pipelines: Vec::new(),
        reads: vec![None],
        within_param: false,
        last_sample: None,
        until: end,
        cut_leaves: Vec::new(),
    };
    let root = planner.root(unparen(expr), grid, is_instant)?;
    let Planner { leaves, leaf_plans, pipelines, .. } = planner;
    Ok(Planned { root, grid, leaves, leaf_plans, pipelines })
}

impl Planner<'_> {
    fn root(&mut self, expr: &Expr, grid: Grid, is_instant: bool) -> Result<Root, QueryError> {
        let scope = Scope { repeat: 1, reads: 0, counts: true, within_stats: false, needs_buckets: false };
        let not_for_range = |found| Err(QueryError::NotForRangeQuery { found });
        match (expr.value_type(), &expr.kind) {
            (ValueType::String, ExprKind::String(_)) if !is_instant => not_for_range("string"),
            (ValueType::Matrix, _) if !is_instant => not_for_range("range vector"),
            (ValueType::String, ExprKind::String(literal)) => Ok(Root::String(literal.text.clone())),
            (ValueType::Matrix, ExprKind::Matrix(matrix)) => {
                let (end, matchers) = self.selector(&matrix.selector)?;
                let spec = WindowSpec { range: self.times.positive(&matrix.range)?, end };
                let extension = Extension::new(matrix.selector.edges, self.params.lookback.0);
                let leaf = self.leaf(matchers, samples_of(grid, spec, extension));
                let source = Source::Instant { end, lookback: spec.range };
                let pipeline = Pipeline {
                    leaf,
                    source,
                    grid,
                    unique: None,
                    steps: Vec::new(),
                    sink: SinkSpec::Points(spec, extension),
                    repeat: 1,
                    reads: None,
                    counts: true,
                    stats_only: false,
                };
                Ok(Root::Points(self.register(pipeline)))
            }
            (ValueType::Matrix, ExprKind::Subquery(subquery)) => {
                let (inner, spec) = self.subquery_windows(subquery, grid)?;
                let (until, scope) = (spec.end.of(grid.last()), Scope { needs_buckets: true, ..scope });
                let built = self.up_to(until, |planner| planner.vector(&subquery.expr, inner, scope))?;
                let node = self.close(built);
                Ok(Root::Subquery { node, grid: inner })
            }
            (ValueType::Scalar, _) => Ok(Root::Scalar(self.scalar(expr, grid, scope)?)),
            (ValueType::Vector, _) => {
                let built = self.vector(expr, grid, scope)?;
                let node = self.close(built);
                let ordered = self.is_ordered(&node);
                Ok(Root::Vector { node, ordered })
            }
            _ => Err(QueryError::Malformed("a value of no type")),
        }
    }

    /// Whether the order of the rows is part of the result.
    fn is_ordered(&self, node: &Node) -> bool {
        match node {
            Node::Sort { .. } | Node::LimitRatio { .. } => true,
            Node::Pipeline(at) => matches!(self.pipelines[*at].sink, SinkSpec::TopK { .. }),
            Node::Reduce { spec, .. } => matches!(**spec, SinkSpec::TopK { .. }),
            Node::Map { input, .. } | Node::Also(_, input) => self.is_ordered(input),
            Node::Deferred { .. }
            | Node::Vector(..)
            | Node::Binary(_)
            | Node::Histogram(_)
            | Node::Info(_)
            | Node::Fail(..) => false,
        }
    }

    /// Plans a vector; what does not change from step to step is evaluated at the first.
    fn vector(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let expr = unparen(expr);
        if grid.count < 2 || !self.invariants.contains(expr) {
            return self.vector_each(expr, grid, scope);
        }
        let once = Scope { repeat: scope.repeat.saturating_mul(grid.count as u64), ..scope };
        let built = self.up_to(grid.start, |planner| planner.vector_each(expr, grid.first(), once))?;
        Ok(self.map(built, MapOp::Repeat(grid.count), grid, Changes::Nothing))
    }

    /// What `plan` plans is evaluated until `until`.
    fn up_to<T>(&mut self, until: i64, plan: impl FnOnce(&mut Self) -> T) -> T {
        let outside = std::mem::replace(&mut self.until, until);
        let planned = plan(self);
        self.until = outside;
        planned
    }

    /// Plans a vector at all steps. What is wrong with it in itself is told when its turn comes, as in Prometheus.
    #[inline(never)]
    fn vector_each(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        match self.vector_of(expr, grid, scope) {
            Err(error) if error.is_told_in_turn() => {
                let node = Node::Fail(Box::new(error), grid.count);
                Ok(Built { kind: BuiltKind::Node(Box::new(node)), grid, names_vary: true })
            }
            planned => planned,
        }
    }

    fn vector_of(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        match &expr.kind {
            ExprKind::Vector(selector) => self.instant((selector, expr.pos), grid, scope, Instant::Value),
            ExprKind::Aggregate(aggregate) => self.aggregate(expr, aggregate, grid, scope),
            ExprKind::Binary(binary) if binary.matching.is_some() => self.join(expr, binary, grid, scope),
            ExprKind::Binary(binary) => self.binary(expr, binary, grid, scope),
            ExprKind::Call(call) => self.call(expr, call, grid, scope),
            ExprKind::Paren(inner) => self.vector(inner, grid, scope),
            ExprKind::Unary(UnaryOp::Plus, inner) => self.vector(inner, grid, scope),
            ExprKind::Unary(UnaryOp::Minus, inner) => {
                let built = self.vector(inner, grid, scope)?;
                Ok(self.map(built, MapOp::Negate, grid, Changes::DropsName))
            }
            ExprKind::Matrix(_) | ExprKind::Subquery(_) | ExprKind::Number(_) | ExprKind::String(_) => {
                Err(QueryError::Malformed("no vector where one is wanted"))
            }
        }
    }

    /// What must be watched after an operation, and whether names vary after it.
    fn uniqueness(&self, changes: &Changes, names_vary: bool, strict: bool) -> (Option<Uniqueness>, bool) {
        match changes {
            Changes::Nothing => (None, names_vary),
            Changes::DropsName if self.params.options.delayed_name_removal => (None, names_vary),
            Changes::DropsName => {
                let mode = if strict { Uniqueness::Strict } else { Uniqueness::Overlap };
                (names_vary.then_some(mode), false)
            }
            Changes::Label { name } => (Some(Uniqueness::OverlapOfKind), names_vary || *name == METRIC_NAME),
        }
    }

    /// The leaf with these matchers whose range meets `range`, or a new one.
    fn leaf(&mut self, matchers: Vec<Matcher>, range: TimeRange) -> usize {
        if let Some(last) = self.last_sample.take() {
            let maxt = range.maxt.min(TimestampMs(last.saturating_add(1)));
            self.cut_leaves.push(self.leaves.len());
            return self.new_leaf(matchers, TimeRange::new(range.mint.min(maxt), maxt));
        }
        let same = |leaf: &Leaf| {
            let both_ways = |a: &[Matcher], b: &[Matcher]| a.iter().all(|m| b.contains(m));
            both_ways(&leaf.matchers, &matchers)
                && both_ways(&matchers, &leaf.matchers)
                && leaf.range.mint <= range.maxt
                && range.mint <= leaf.range.maxt
        };
        let shared = |(at, leaf): (usize, &Leaf)| !self.cut_leaves.contains(&at) && same(leaf);
        if let Some(at) = self.leaves.iter().enumerate().position(shared) {
            let known = &mut self.leaves[at].range;
            *known = TimeRange::new(known.mint.min(range.mint), known.maxt.max(range.maxt));
            return at;
        }
        self.new_leaf(matchers, range)
    }

    fn new_leaf(&mut self, matchers: Vec<Matcher>, range: TimeRange) -> usize {
        self.leaves.push(Leaf { matchers, range, with_chunks: true });
        self.leaf_plans.push(LeafPlan::default());
        self.leaves.len() - 1
    }

    fn register(&mut self, pipeline: Pipeline) -> usize {
        let at = self.pipelines.len();
        self.leaf_plans[pipeline.leaf].pipelines.push(at);
        self.pipelines.push(pipeline);
        at
    }

    /// The node of a vector.
    fn close(&mut self, built: Built) -> Node {
        match built.kind {
            BuiltKind::Stream(pipeline) => Node::Pipeline(self.register(*pipeline)),
            BuiltKind::Node(node) => *node,
        }
    }

    /// Adds an operation on each row.
    #[inline(never)]
    fn map(&mut self, built: Built, op: MapOp, grid: Grid, changes: Changes) -> Built {
        let strict = matches!(op, MapOp::Subquery { .. });
        let (unique, names_vary) = self.uniqueness(&changes, built.names_vary, strict);
        let is_kept = self.params.keeps_relabelled && unique == Some(Uniqueness::OverlapOfKind);
        let step = Step { op, grid, unique };
        let from = built.grid;
        let kind = match built.kind {
            BuiltKind::Stream(mut pipeline) if step.op.is_ready() && !is_kept => {
                pipeline.steps.push(step);
                BuiltKind::Stream(pipeline)
            }
            other => {
                let input = self.close(Built { kind: other, grid: from, names_vary });
                BuiltKind::Node(Box::new(Node::Map { input: Box::new(input), from, step: Box::new(step) }))
            }
        };
        Built { kind, grid, names_vary }
    }

    /// Ends the rows in a sink.
    #[inline(never)]
    fn reduce(&mut self, built: Built, spec: SinkSpec, names_vary: bool) -> Built {
        let late = match &spec {
            SinkSpec::Aggregate { param, .. } => param.is_late(),
            SinkSpec::TopK { k, .. } => k.is_late(),
            _ => false,
        };
        let grid = built.grid;
        let node = match built.kind {
            BuiltKind::Stream(mut pipeline) if !late => {
                pipeline.sink = spec;
                Node::Pipeline(self.register(*pipeline))
            }
            other => {
                let input = self.close(Built { kind: other, grid, names_vary });
                Node::Reduce { input: Box::new(input), spec: Box::new(spec), grid }
            }
        };
        Built { kind: BuiltKind::Node(Box::new(node)), grid, names_vary }
    }

    /// Plans a vector that is wanted whole.
    #[inline(never)]
    fn vector_node(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Box<Node>, QueryError> {
        let built = self.vector(expr, grid, scope)?;
        Ok(Box::new(self.close(built)))
    }
}

/// What an operation does to the labels of rows.
enum Changes<'a> {
    Nothing,
    DropsName,
    Label { name: &'a str },
}

/// The labels of `absent(selector)`: those that the selector pins. Source: Prometheus `createLabelsForAbsentFunction`.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        if m.op() == MatchOp::Equal && !seen.contains(&m.name()) {
            builder.set(m.name(), m.value());
            seen.push(m.name());
        } else {
            builder.del(m.name());
        }
    }
    builder.build()
}
