//! From an expression to a plan: which series are wanted, what is done to each, and what joins the rest.

mod binary;
mod call;
mod info;
mod scalar;

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher, TimeRange, TimestampMs};

use super::column::Grid;
use super::duration::QueryTimes;
use super::error::QueryError;
use super::extended::Extension;
use super::invariant::{Invariants, unparen};
use super::node::{Groups, LeafPlan, MapOp, Node, Pipeline, Root, Scalar, SinkSpec, Source, Step, Warning};
use super::row::Uniqueness;
use super::sink::selects_rows;
use super::window::{WindowEnd, WindowSpec};
use super::{Leaf, QueryParams};
use crate::ast::{
    Aggregate, AggregateOp, AtModifier, Edges, Expr, ExprKind, Pos, Subquery, UnaryOp, ValueType, VectorSelector,
};

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
    /// Within the parameter of an aggregation, which Prometheus 3.14 does not prepare: there `@ start()` and `@ end()` mean
    /// nothing, `@ t` holds at the first step only and moves on with the steps, and positions have their parentheses.
    within_param: bool,
    /// Until when the selector at hand has samples, where its `@` moves on: those after it were not asked for.
    last_sample: Option<i64>,
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
        within_param: false,
        last_sample: None,
        cut_leaves: Vec::new(),
    };
    let root = planner.root(unparen(expr), grid, is_instant)?;
    let Planner { leaves, leaf_plans, pipelines, .. } = planner;
    Ok(Planned { root, grid, leaves, leaf_plans, pipelines })
}

impl Planner<'_> {
    fn root(&mut self, expr: &Expr, grid: Grid, is_instant: bool) -> Result<Root, QueryError> {
        let scope = Scope { repeat: 1, counts: true, within_stats: false, needs_buckets: false };
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
                    counts: true,
                    stats_only: false,
                };
                Ok(Root::Points(self.register(pipeline)))
            }
            (ValueType::Matrix, ExprKind::Subquery(subquery)) => {
                let (inner, _) = self.subquery_windows(subquery, grid)?;
                let built = self.vector(&subquery.expr, inner, Scope { needs_buckets: true, ..scope })?;
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
            Node::Sort { .. } => true,
            Node::Pipeline(at) => matches!(self.pipelines[*at].sink, SinkSpec::TopK { .. }),
            Node::Reduce { spec, .. } => matches!(**spec, SinkSpec::TopK { .. }),
            Node::Map { input, .. } | Node::Also(_, input) => self.is_ordered(input),
            Node::Deferred { .. } | Node::Vector(..) | Node::Binary(_) | Node::Histogram(_) | Node::Info(_) => false,
        }
    }

    /// Plans a vector; what does not change from step to step is evaluated at the first.
    fn vector(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let expr = unparen(expr);
        if grid.count < 2 || !self.invariants.contains(expr) {
            return self.vector_each(expr, grid, scope);
        }
        let once = Scope { repeat: scope.repeat.saturating_mul(grid.count as u64), ..scope };
        let built = self.vector_each(expr, grid.first(), once)?;
        Ok(self.map(built, MapOp::Repeat(grid.count), grid, Changes::Nothing))
    }

    #[inline(never)]
    fn vector_each(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
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

    /// Where the windows of a selector end, and its matchers.
    fn selector(&mut self, selector: &VectorSelector) -> Result<(WindowEnd, Vec<Matcher>), QueryError> {
        let offset = selector.offset.as_ref().map_or(Ok(0), |offset| self.times.any(offset))?;
        let end = self.window_end(selector.at, offset);
        if let (true, Some(AtModifier::Timestamp(at))) = (self.within_param, selector.at) {
            self.last_sample = Some(at.saturating_sub(offset));
        }
        Ok((end, selector.matchers.clone()))
    }

    fn window_end(&self, at: Option<AtModifier>, offset: i64) -> WindowEnd {
        match at {
            None => WindowEnd::Before(offset),
            Some(AtModifier::Timestamp(at)) if self.within_param => {
                WindowEnd::Before(self.times.start.saturating_sub(at).saturating_add(offset))
            }
            Some(_) if self.within_param => WindowEnd::Before(offset),
            Some(at) => WindowEnd::At(self.at(at).saturating_sub(offset)),
        }
    }

    /// What an annotation of an aggregation or function points to.
    fn pos_of(&self, expr: &Expr) -> Pos {
        if self.within_param { expr.pos } else { unparen(expr).pos }
    }

    fn at(&self, at: AtModifier) -> i64 {
        match at {
            AtModifier::Timestamp(t) => t,
            AtModifier::Start => self.times.start,
            AtModifier::End => self.times.end,
        }
    }

    #[inline(never)]
    fn instant(
        &mut self,
        (selector, pos): (&VectorSelector, Pos),
        grid: Grid,
        scope: Scope,
        what: Instant,
    ) -> Result<Built, QueryError> {
        let (end, matchers) = self.selector(selector)?;
        let lookback = self.params.lookback.0;
        let smoothed = Extension::new(Edges::Smoothed, lookback).filter(|_| selector.edges == Edges::Smoothed);
        let (source, extension) = match (what, smoothed) {
            (Instant::Value, Some(_)) => (Source::Smoothed { end, lookback, pos }, smoothed),
            (Instant::Value, None) => (Source::Instant { end, lookback }, None),
            (Instant::Timestamp, _) => (Source::Timestamp { end, lookback }, None),
            (Instant::Start, _) => (Source::Start { end, lookback }, None),
        };
        let changes = match what {
            Instant::Value => Changes::Nothing,
            Instant::Timestamp | Instant::Start => Changes::DropsName,
        };
        // A smoothed selector is like a range of no width.
        let width = if extension.is_some() { 0 } else { lookback };
        let range = samples_of(grid, WindowSpec { range: width, end }, extension);
        Ok(self.stream(matchers, range, source, grid, scope, changes))
    }

    /// A pipeline from storage.
    #[inline(never)]
    fn stream(
        &mut self,
        matchers: Vec<Matcher>,
        range: TimeRange,
        source: Source,
        grid: Grid,
        scope: Scope,
        changes: Changes,
    ) -> Built {
        let names_vary = !matchers.iter().any(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal);
        let strict = matches!(source, Source::Window(_));
        let (unique, names_vary) = self.uniqueness(&changes, names_vary, strict);
        let leaf = self.leaf(matchers, range);
        let mut pipeline = Pipeline {
            leaf,
            source,
            grid,
            unique,
            steps: Vec::new(),
            sink: SinkSpec::Collect,
            repeat: scope.repeat,
            counts: scope.counts,
            stats_only: scope.within_stats && !scope.needs_buckets,
        };
        if pipeline.source.is_ready() {
            return Built { kind: BuiltKind::Stream(Box::new(pipeline)), grid, names_vary };
        }
        pipeline.sink = SinkSpec::Raw;
        let source = pipeline.source.clone();
        let node = Node::Deferred { pipeline: self.register(pipeline), source: Box::new(source), grid, unique };
        Built { kind: BuiltKind::Node(Box::new(node)), grid, names_vary }
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
            Changes::Label { name } => (Some(Uniqueness::Overlap), names_vary || *name == METRIC_NAME),
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
        let step = Step { op, grid, unique };
        let from = built.grid;
        let kind = match built.kind {
            BuiltKind::Stream(mut pipeline) if step.op.is_ready() => {
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

    #[inline(never)]
    fn aggregate(&mut self, expr: &Expr, aggregate: &Aggregate, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let input = unparen(&aggregate.expr);
        let mut names = aggregate.grouping.labels.clone();
        names.sort_unstable();
        names.dedup();
        let by_name = !aggregate.grouping.without && names.iter().any(|n| n == METRIC_NAME);
        let groups = Groups { without: aggregate.grouping.without, names };
        let param = aggregate.param.as_deref().map(unparen);
        if aggregate.op == AggregateOp::CountValues {
            let Some(ExprKind::String(label)) = param.map(|p| &p.kind) else {
                return Err(QueryError::Malformed("count_values without a label"));
            };
            if label.text.is_empty() || label.exact.is_some() {
                let bytes = label.exact.as_deref().unwrap_or(label.text.as_bytes());
                return Err(QueryError::InvalidLabelName { quoted: crate::quoted(bytes) });
            }
            let built = self.vector(input, grid, scope)?;
            let names_vary = by_name || label.text == METRIC_NAME;
            return Ok(self.reduce(built, SinkSpec::CountValues { groups, label: label.text.clone() }, names_vary));
        }
        let number = match param {
            Some(param) => {
                let outside = std::mem::replace(&mut self.within_param, true);
                let number = self.scalar(param, grid, scope);
                self.within_param = outside;
                number?
            }
            None => Scalar::Const(0.0),
        };
        let param_pos = aggregate.param.as_deref().map_or(input.pos, |param| self.pos_of(param));
        let built = self.vector(input, grid, scope)?;
        let names_vary = built.names_vary;
        let op = aggregate.op;
        let (built, warning) = if selects_rows(op) {
            let warning = Warning::Count(number.clone());
            let spec = SinkSpec::TopK { op, groups, k: number, pos: expr.pos };
            (self.reduce(built, spec, names_vary), Some(warning))
        } else if op == AggregateOp::LimitRatio {
            let warning = Warning::Ratio(number.clone(), param_pos);
            (self.map(built, MapOp::LimitRatio(number), grid, Changes::Nothing), Some(warning))
        } else {
            let warning = (op == AggregateOp::Quantile).then(|| Warning::Quantile(number.clone(), param_pos));
            let spec = SinkSpec::Aggregate { op, groups, param: number, pos: self.pos_of(&aggregate.expr) };
            (self.reduce(built, spec, by_name), warning)
        };
        Ok(self.with_warning(built, warning))
    }

    #[inline(never)]
    fn with_warning(&mut self, built: Built, warning: Option<Warning>) -> Built {
        // Where there are no steps nothing is said.
        let Some(warning) = warning.filter(|_| built.grid.count > 0) else { return built };
        let (grid, names_vary) = (built.grid, built.names_vary);
        let node = Node::Also(Box::new(warning), Box::new(self.close(built)));
        Built { kind: BuiltKind::Node(Box::new(node)), grid, names_vary }
    }

    /// Plans a vector that is wanted whole.
    #[inline(never)]
    fn vector_node(&mut self, expr: &Expr, grid: Grid, scope: Scope) -> Result<Box<Node>, QueryError> {
        let built = self.vector(expr, grid, scope)?;
        Ok(Box::new(self.close(built)))
    }

    /// The steps of a subquery, and the windows of the outer steps over them.
    fn subquery_windows(&self, subquery: &Subquery, outer: Grid) -> Result<(Grid, WindowSpec), QueryError> {
        let range = self.times.positive(&subquery.range)?;
        let offset = subquery.offset.as_ref().map_or(Ok(0), |offset| self.times.any(offset))?;
        let step = match &subquery.step {
            Some(step) => self.times.positive(step)?,
            None => self.params.subquery_step.0,
        };
        let step = step.max(1);
        let end = self.window_end(subquery.at, offset);
        let before = end.of(outer.start).saturating_sub(range);
        let mut start = step * (before / step);
        if start <= before {
            start = start.saturating_add(step);
        }
        let last = end.of(outer.last());
        let inner = if outer.count == 0 {
            Grid { start, step, count: 0, is_instant: false }
        } else {
            Grid::new(start, last, step)
        };
        Ok((inner, WindowSpec { range, end }))
    }
}

#[derive(Clone, Copy)]
enum Instant {
    Value,
    Timestamp,
    Start,
}

/// What an operation does to the labels of rows.
enum Changes<'a> {
    Nothing,
    DropsName,
    Label { name: &'a str },
}

/// The samples that windows need at all steps.
fn samples_of(grid: Grid, spec: WindowSpec, extension: Option<Extension>) -> TimeRange {
    let WindowSpec { range, end } = extension.map_or(spec, |extension| extension.widen(spec));
    window_range(grid, end, range)
}

/// The samples that windows of `width` milliseconds need at all steps.
fn window_range(grid: Grid, end: WindowEnd, width: i64) -> TimeRange {
    let first = end.of(grid.start).saturating_sub(width).saturating_add(1);
    let last = end.of(grid.last()).saturating_add(1);
    TimeRange::new(TimestampMs(first), TimestampMs(last))
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
