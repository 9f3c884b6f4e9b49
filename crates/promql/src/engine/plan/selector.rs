//! Planning of selectors: which samples they read, and where their windows end.

use model::{METRIC_NAME, MatchOp, Matcher, TimeRange, TimestampMs};

use super::{Built, BuiltKind, Changes, Planner, Scope};
use crate::ast::{AtModifier, Edges, Expr, Pos, Subquery, VectorSelector};
use crate::engine::column::Grid;
use crate::engine::error::QueryError;
use crate::engine::extended::Extension;
use crate::engine::invariant::unparen;
use crate::engine::node::{Node, Pipeline, SinkSpec, Source};
use crate::engine::steps::{NOWHERE, readers};
use crate::engine::window::{WindowEnd, WindowSpec};

/// What is wanted of a sample.
#[derive(Clone, Copy)]
pub(super) enum Instant {
    Value,
    Timestamp,
    Start,
}

impl Planner<'_> {
    /// Where the windows of a selector end, and its matchers.
    pub(super) fn selector(&mut self, selector: &VectorSelector) -> Result<(WindowEnd, Vec<Matcher>), QueryError> {
        let offset = selector.offset.as_ref().map_or(Ok(0), |offset| self.times.any(offset))?;
        let end = self.window_end(selector.at, offset);
        if let (true, Some(AtModifier::Timestamp(at))) = (self.within_param, selector.at) {
            self.last_sample = Some(at.saturating_sub(offset));
        }
        Ok((end, selector.matchers.clone()))
    }

    pub(super) fn window_end(&self, at: Option<AtModifier>, offset: i64) -> WindowEnd {
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
    pub(super) fn pos_of(&self, expr: &Expr) -> Pos {
        if self.within_param { expr.pos } else { unparen(expr).pos }
    }

    pub(super) fn at(&self, at: AtModifier) -> i64 {
        match at {
            AtModifier::Timestamp(t) => t,
            AtModifier::Start => self.times.start,
            AtModifier::End => self.times.end,
        }
    }

    #[inline(never)]
    pub(super) fn instant(
        &mut self,
        (selector, pos): (&VectorSelector, Pos),
        grid: Grid,
        scope: Scope,
        what: Instant,
    ) -> Result<Built, QueryError> {
        let (end, matchers) = self.selector(selector)?;
        let (end, lookback) = match what {
            Instant::Value => (end, self.params.lookback.0),
            Instant::Timestamp | Instant::Start => self.told_at(selector, end)?,
        };
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

    /// Where `timestamp()` looks for the newest sample of a selector, and how far back. As Prometheus 3.14 has it, what `@` pins
    /// is looked at without the offset, among the samples that were asked for with it.
    fn told_at(&self, selector: &VectorSelector, end: WindowEnd) -> Result<(WindowEnd, i64), QueryError> {
        let lookback = self.params.lookback.0;
        let at = match selector.at {
            Some(AtModifier::Timestamp(at)) => at,
            Some(at) if !self.within_param => self.at(at),
            _ => return Ok((end, lookback)),
        };
        let offset = selector.offset.as_ref().map_or(Ok(0), |offset| self.times.any(offset))?;
        let lookback = lookback.saturating_sub(offset.saturating_abs()).max(0);
        Ok((WindowEnd::At(at.min(at.saturating_sub(offset))), lookback))
    }

    /// A pipeline from storage.
    #[inline(never)]
    pub(super) fn stream(
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
            reads: self.reads[scope.reads].clone(),
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

    /// Notes which steps of the query read the points of a subquery at the steps `from`; returns where.
    pub(super) fn read_by(&mut self, from: Grid, grid: Grid, window: (i64, i64), outside: usize) -> usize {
        let readers = readers(from, grid, window, self.reads[outside].as_deref());
        if !self.params.counts_steps && !readers.contains(&NOWHERE) {
            return 0;
        }
        self.reads.push(Some(readers));
        self.reads.len() - 1
    }

    /// The steps of a subquery, and the windows of the outer steps over them.
    pub(super) fn subquery_windows(&self, subquery: &Subquery, outer: Grid) -> Result<(Grid, WindowSpec), QueryError> {
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

/// The samples that windows need at all steps.
pub(super) fn samples_of(grid: Grid, spec: WindowSpec, extension: Option<Extension>) -> TimeRange {
    let WindowSpec { range, end } = extension.map_or(spec, |extension| extension.widen(spec));
    window_range(grid, end, range)
}

/// The samples that windows of `width` milliseconds need at all steps.
pub(super) fn window_range(grid: Grid, end: WindowEnd, width: i64) -> TimeRange {
    let first = end.of(grid.start).saturating_sub(width).saturating_add(1);
    let last = end.of(grid.last()).saturating_add(1);
    TimeRange::new(TimestampMs(first), TimestampMs(last))
}
