//! Planning of `info()`.

use std::collections::BTreeMap;

use model::{METRIC_NAME, MatchOp, Matcher, TimeRange, TimestampMs};

use super::selector::window_range;
use super::{Built, BuiltKind, Planner, Scope};
use crate::ast::{AtModifier, Call, DurationExpr, Expr, ExprKind};
use crate::engine::column::Grid;
use crate::engine::error::QueryError;
use crate::engine::info::{InfoNode, name_matchers};
use crate::engine::invariant::unparen;
use crate::engine::node::{Node, Pipeline, SinkSpec, Source};
use crate::engine::window::WindowEnd;

impl Planner<'_> {
    #[inline(never)]
    pub(super) fn info(&mut self, call: &Call, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let Some(vector) = call.args.first() else { return Err(QueryError::Malformed("info() of nothing")) };
        let written = match call.args.get(1).map(|arg| &unparen(arg).kind) {
            None => Vec::new(),
            Some(ExprKind::Vector(selector)) => selector.matchers.clone(),
            Some(_) => return Err(QueryError::Malformed("no label selector where one is wanted")),
        };
        let (names, others): (Vec<Matcher>, Vec<Matcher>) = written.into_iter().partition(|m| m.name() == METRIC_NAME);
        let names = name_matchers(names);
        let mut matchers = [names.clone(), others.clone()].concat();
        if matchers.iter().all(Matcher::matches_empty) {
            // Storage is never asked for everything; every series that tells of a target has a name.
            matchers.push(Matcher::new(METRIC_NAME, MatchOp::NotEqual, "").map_err(|_| NOT_A_MATCHER)?);
        }
        let mut data: BTreeMap<String, Vec<Matcher>> = BTreeMap::new();
        for matcher in others {
            data.entry(matcher.name().to_owned()).or_default().push(matcher);
        }
        let range = self.info_range(vector, grid)?;
        let built = self.vector(vector, grid, scope)?;
        let input = self.close(built);
        let leaf = self.leaf(matchers, range);
        let source = Source::Info { range, lookback: self.params.lookback.0 };
        let pipeline = self.register(Pipeline {
            leaf,
            source,
            grid,
            unique: None,
            steps: Vec::new(),
            sink: SinkSpec::Collect,
            repeat: scope.repeat,
            reads: self.reads[scope.reads].clone(),
            counts: scope.counts,
            stats_only: false,
        });
        let node = InfoNode { input, pipeline, names, data, grid };
        Ok(Built { kind: BuiltKind::Node(Box::new(Node::Info(Box::new(node)))), grid, names_vary: true })
    }

    /// From when samples of info series count: as Prometheus 3.14 has it, the first selector within `vector` moves that by its
    /// `@` and offset, though the samples are taken at the time of each step.
    fn info_range(&self, vector: &Expr, grid: Grid) -> Result<TimeRange, QueryError> {
        let (mut start, mut end, mut offset) = (grid.start, self.until, 0);
        if let Some((at, by)) = self.first_modifiers(vector) {
            if let Some(at) = at {
                (start, end) = (self.at(at), self.at(at));
            }
            offset = by.map_or(Ok(0), |offset| self.times.any(offset))?;
        }
        let moved = |t: i64| TimestampMs(t.saturating_sub(offset));
        let first = start.saturating_sub(self.params.lookback.0).saturating_add(1);
        let moved = TimeRange::new(moved(first), moved(end.saturating_add(1)));
        let looked_at = window_range(grid, WindowEnd::Before(0), self.params.lookback.0);
        let mint = moved.mint.max(looked_at.mint);
        Ok(TimeRange::new(mint, moved.maxt.min(looked_at.maxt).max(mint)))
    }

    /// `@` and offset of the selector that is written first. A subquery that is the argument of a function stands for all within:
    /// Prometheus has put its value in its place by then.
    fn first_modifiers<'e>(&self, expr: &'e Expr) -> Option<(Option<AtModifier>, Option<&'e DurationExpr>)> {
        match &expr.kind {
            ExprKind::Vector(selector) => Some((selector.at, selector.offset.as_ref())),
            ExprKind::Matrix(matrix) => Some((matrix.selector.at, matrix.selector.offset.as_ref())),
            ExprKind::Subquery(subquery) if self.invariants.is_lost(expr) => self.first_modifiers(&subquery.expr),
            ExprKind::Subquery(subquery) => Some((subquery.at, subquery.offset.as_ref())),
            ExprKind::Aggregate(aggregate) => {
                // The parameter is written first, and Prometheus looks at it last.
                let param = || aggregate.param.as_deref().and_then(|param| self.first_modifiers(param));
                self.first_modifiers(&aggregate.expr).or_else(param)
            }
            ExprKind::Binary(binary) => self.first_modifiers(&binary.lhs).or_else(|| self.first_modifiers(&binary.rhs)),
            ExprKind::Call(call) => call.args.iter().find_map(|arg| self.first_modifiers(arg)),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.first_modifiers(inner),
            ExprKind::Number(_) | ExprKind::String(_) => None,
        }
    }
}

const NOT_A_MATCHER: QueryError = QueryError::Malformed("a matcher that is none");
