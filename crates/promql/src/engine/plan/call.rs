//! Planning of function calls.

use std::sync::Arc;

use regexp::Regexp;

use super::selector::{Instant, samples_of};
use super::{Built, BuiltKind, Changes, Planner, Scope, absent_labels};
use crate::ast::{Call, Expr, ExprKind, Pos};
use crate::engine::column::Grid;
use crate::engine::error::QueryError;
use crate::engine::extended::{self, Extension};
use crate::engine::histogram::HistogramStat;
use crate::engine::invariant::unparen;
use crate::engine::math::MathFn;
use crate::engine::node::{
    HistogramFn, HistogramNode, LabelJoin, LabelReplace, MapOp, Node, Scalar, SinkSpec, SortBy, Source, Warning,
    WindowCall,
};
use crate::engine::time::TimeFn;
use crate::engine::window::{WindowFn, WindowSpec};

/// Argument `at` of a call.
fn arg(call: &Call, at: usize) -> Result<&Expr, QueryError> {
    call.args.get(at).map(unparen).ok_or(QueryError::Malformed("a missing argument"))
}

/// Argument `at`, which is a text.
fn text(call: &Call, at: usize) -> Result<&str, QueryError> {
    match &arg(call, at)?.kind {
        ExprKind::String(literal) => Ok(&literal.text),
        _ => Err(QueryError::Malformed("no text where one is wanted")),
    }
}

/// Whether the text of an argument is all of its bytes.
fn is_utf8(call: &Call, at: usize) -> bool {
    matches!(arg(call, at).map(|arg| &arg.kind), Ok(ExprKind::String(literal)) if literal.exact.is_none())
}

impl Planner<'_> {
    #[inline(never)]
    pub(super) fn call(&mut self, expr: &Expr, call: &Call, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        if let Some(function) = WindowFn::of_name(call.function) {
            return self.window(call, function, grid, scope);
        }
        if let Some(function) = MathFn::of_name(call.function) {
            return self.map_first(call, MapOp::Math(function), grid, scope);
        }
        if let Some(stat) = HistogramStat::of_name(call.function) {
            let scope = Scope { within_stats: scope.within_stats || stat.needs_no_buckets(), ..scope };
            return self.map_first(call, MapOp::HistogramStat(stat), grid, scope);
        }
        if let Some(function) = TimeFn::of_name(call.function) {
            if !call.args.is_empty() {
                return self.map_first(call, MapOp::Time(function), grid, scope);
            }
            let now = Scalar::Column(grid.iter().map(crate::engine::column::secs).collect());
            let built = node(Node::Vector(now, grid.count), grid);
            return Ok(self.map(built, MapOp::Time(function), grid, Changes::DropsName));
        }
        self.other(expr, call, grid, scope)
    }

    #[inline(never)]
    fn other(&mut self, expr: &Expr, call: &Call, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let inf = Scalar::Const(f64::INFINITY);
        let neg_inf = Scalar::Const(f64::NEG_INFINITY);
        match call.function {
            "round" => {
                let to_nearest = match call.args.len() {
                    1 => Scalar::Const(1.0),
                    _ => self.scalar(arg(call, 1)?, grid, scope)?,
                };
                self.map_first(call, MapOp::Round(to_nearest), grid, scope)
            }
            "clamp" => {
                let min = self.scalar(arg(call, 1)?, grid, scope)?;
                let max = self.scalar(arg(call, 2)?, grid, scope)?;
                self.map_first(call, MapOp::Clamp { min, max }, grid, scope)
            }
            "clamp_min" => {
                let min = self.scalar(arg(call, 1)?, grid, scope)?;
                self.map_first(call, MapOp::Clamp { min, max: inf }, grid, scope)
            }
            "clamp_max" => {
                let max = self.scalar(arg(call, 1)?, grid, scope)?;
                self.map_first(call, MapOp::Clamp { min: neg_inf, max }, grid, scope)
            }
            "timestamp" => match &arg(call, 0)?.kind {
                ExprKind::Vector(selector) => self.instant((selector, expr.pos), grid, scope, Instant::Timestamp),
                _ => self.map_first(call, MapOp::StepTime, grid, scope),
            },
            // Start timestamps belong to samples of storage: any other expression has lost them.
            "start_timestamp" => match &arg(call, 0)?.kind {
                ExprKind::Vector(selector) if self.params.options.start_timestamps => {
                    self.instant((selector, expr.pos), grid, scope, Instant::Start)
                }
                _ => self.map_first(call, MapOp::Nothing, grid, scope),
            },
            "vector" => {
                let number = self.scalar(arg(call, 0)?, grid, scope)?;
                Ok(node(Node::Vector(number, grid.count), grid))
            }
            "absent" => self.absent(arg(call, 0)?, grid, scope),
            "label_replace" => self.label_replace(call, grid, scope),
            "label_join" => self.label_join(call, grid, scope),
            "sort" => self.sort(expr, call, SortBy::Value, false, grid, scope),
            "sort_desc" => self.sort(expr, call, SortBy::Value, true, grid, scope),
            "sort_by_label" | "sort_by_label_desc" => {
                let names: Result<Vec<String>, QueryError> =
                    (1..call.args.len()).map(|at| text(call, at).map(str::to_owned)).collect();
                let descending = call.function == "sort_by_label_desc";
                self.sort(expr, call, SortBy::Labels(names?), descending, grid, scope)
            }
            "histogram_quantile" => {
                let q = self.scalar(arg(call, 0)?, grid, scope)?;
                self.histogram(call, HistogramFn::Quantile(q, arg(call, 0)?.pos), arg(call, 1)?, grid, scope)
            }
            "histogram_fraction" => {
                let lower = self.scalar(arg(call, 0)?, grid, scope)?;
                let upper = self.scalar(arg(call, 1)?, grid, scope)?;
                self.histogram(call, HistogramFn::Fraction(lower, upper), arg(call, 2)?, grid, scope)
            }
            "histogram_quantiles" => {
                let label = text(call, 1)?.to_owned();
                let qs: Result<Vec<_>, QueryError> = (2..call.args.len())
                    .map(|at| Ok((self.scalar(arg(call, at)?, grid, scope)?, arg(call, at)?.pos)))
                    .collect();
                self.histogram(call, HistogramFn::Quantiles(label, qs?), arg(call, 0)?, grid, scope)
            }
            "info" => self.info(call, grid, scope),
            _ => Err(QueryError::Malformed("an unknown function")),
        }
    }

    /// An operation on each row of the first argument, which drops the metric's name.
    #[inline(never)]
    fn map_first(&mut self, call: &Call, op: MapOp, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let built = self.vector(arg(call, 0)?, grid, scope)?;
        Ok(self.map(built, op, grid, Changes::DropsName))
    }

    /// A function of windows of a selector or subquery.
    #[inline(never)]
    fn window(&mut self, call: &Call, function: WindowFn, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let is_range = |e: &&Expr| matches!(e.kind, ExprKind::Matrix(_) | ExprKind::Subquery(_));
        let Some(range) = call.args.iter().map(unparen).find(is_range) else {
            return Err(QueryError::Malformed("no range vector where one is wanted"));
        };
        let mut numbers = [Scalar::Const(0.0), Scalar::Const(0.0)];
        let others = call.args.iter().map(unparen).filter(|e| !is_range(e));
        for (slot, number) in numbers.iter_mut().zip(others) {
            *slot = self.scalar(number, grid, scope)?;
        }
        let pos = match &arg(call, 0)?.kind {
            // Prometheus has replaced the subquery by its value, which stands nowhere. The end says when it is evaluated.
            ExprKind::Subquery(_) => Pos { start: 0, end: arg(call, 0)?.pos.end },
            _ => arg(call, 0)?.pos,
        };
        let is_absent = call.function == "absent_over_time";
        let keeps_labels = function.keeps_name() || is_absent;
        let changes = || if keeps_labels { Changes::Nothing } else { Changes::DropsName };
        let (built, labels) = match &range.kind {
            ExprKind::Matrix(matrix) => {
                let (end, matchers) = self.selector(&matrix.selector)?;
                let spec = WindowSpec { range: self.times.positive(&matrix.range)?, end };
                if let Some(refused) = extended::refusal(matrix.selector.edges, call.function) {
                    return Err(refused);
                }
                let extension = Extension::new(matrix.selector.edges, self.params.lookback.0);
                let labels = absent_labels(&matchers);
                let samples = samples_of(grid, spec, extension);
                let source = Source::Window(WindowCall { function, spec, numbers, pos, extension });
                (self.stream(matchers, samples, source, grid, scope, changes()), labels)
            }
            ExprKind::Subquery(subquery) => {
                let (from, spec) = self.subquery_windows(subquery, grid)?;
                let offset = subquery.offset.as_ref().map_or(Ok(0), |offset| self.times.any(offset))?;
                let reads = self.read_by(from, grid, (offset, spec.range), scope.reads);
                let within = Scope { reads, counts: false, needs_buckets: true, ..scope };
                let until = spec.end.of(grid.last());
                let mut inner = self.up_to(until, |planner| planner.vector(&subquery.expr, from, within))?;
                if self.invariants.is_lost(range) {
                    inner = self.map(inner, MapOp::Nothing, from, Changes::Nothing);
                }
                let repeat = if scope.counts { scope.repeat } else { 0 };
                let op = MapOp::Subquery {
                    call: WindowCall { function, spec, numbers, pos, extension: None },
                    from,
                    repeat,
                };
                (self.map(inner, op, grid, changes()), model::Labels::empty())
            }
            _ => return Err(QueryError::Malformed("no range vector where one is wanted")),
        };
        if is_absent {
            return Ok(self.reduce(built, SinkSpec::Absent { labels }, false));
        }
        Ok(built)
    }

    #[inline(never)]
    fn absent(&mut self, vector: &Expr, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let labels = match &vector.kind {
            ExprKind::Vector(selector) => absent_labels(&selector.matchers),
            _ => model::Labels::empty(),
        };
        let built = self.vector(vector, grid, scope)?;
        Ok(self.reduce(built, SinkSpec::Absent { labels }, false))
    }

    #[inline(never)]
    fn label_replace(&mut self, call: &Call, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let (dst, replacement, src, pattern) = (text(call, 1)?, text(call, 2)?, text(call, 3)?, text(call, 4)?);
        let regexp = Regexp::wrapped(pattern).ok().filter(|_| is_utf8(call, 4));
        let regexp = regexp.ok_or_else(|| QueryError::InvalidRegexp(pattern.to_owned()))?;
        self.check_label("label_replace", "destination", call, 1)?;
        let built = self.vector(arg(call, 0)?, grid, scope)?;
        let arguments =
            LabelReplace { dst: dst.to_owned(), replacement: replacement.to_owned(), src: src.to_owned(), regexp };
        Ok(self.map(built, MapOp::LabelReplace(Arc::new(arguments)), grid, Changes::Label { name: dst }))
    }

    #[inline(never)]
    fn label_join(&mut self, call: &Call, grid: Grid, scope: Scope) -> Result<Built, QueryError> {
        let (dst, separator) = (text(call, 1)?, text(call, 2)?);
        let mut srcs = Vec::new();
        for at in 3..call.args.len() {
            self.check_label("label_join", "source", call, at)?;
            srcs.push(text(call, at)?.to_owned());
        }
        self.check_label("label_join", "destination", call, 1)?;
        let built = self.vector(arg(call, 0)?, grid, scope)?;
        let arguments = LabelJoin { dst: dst.to_owned(), separator: separator.to_owned(), srcs };
        Ok(self.map(built, MapOp::LabelJoin(Arc::new(arguments)), grid, Changes::Label { name: dst }))
    }

    /// An error where argument `at` cannot be the name of a label.
    fn check_label(
        &self,
        function: &'static str,
        role: &'static str,
        call: &Call,
        at: usize,
    ) -> Result<(), QueryError> {
        match &arg(call, at)?.kind {
            ExprKind::String(literal) if !literal.text.is_empty() && literal.exact.is_none() => Ok(()),
            ExprKind::String(literal) => Err(QueryError::InvalidLabel { role, function, name: literal.text.clone() }),
            _ => Err(QueryError::Malformed("no text where one is wanted")),
        }
    }

    #[inline(never)]
    fn sort(
        &mut self,
        expr: &Expr,
        call: &Call,
        by: SortBy,
        descending: bool,
        grid: Grid,
        scope: Scope,
    ) -> Result<Built, QueryError> {
        let mut built = self.vector(arg(call, 0)?, grid, scope)?;
        if matches!(by, SortBy::Value) {
            built = self.map(built, MapOp::FloatsOnly, grid, Changes::Nothing);
        }
        if !grid.is_instant && !self.invariants.is_wrapped(expr) {
            return Ok(self.with_warning(built, Some(Warning::Sort(expr.pos))));
        }
        let names_vary = built.names_vary;
        let input = Box::new(self.close(built));
        let kind = BuiltKind::Node(Box::new(Node::Sort { input, by, descending }));
        Ok(Built { kind, grid, names_vary })
    }

    #[inline(never)]
    fn histogram(
        &mut self,
        call: &Call,
        function: HistogramFn,
        vector: &Expr,
        grid: Grid,
        scope: Scope,
    ) -> Result<Built, QueryError> {
        let (pos, first_pos) = (vector.pos, arg(call, 0)?.pos);
        let built = self.vector(vector, grid, Scope { needs_buckets: true, ..scope })?;
        let input = self.close(built);
        Ok(node(Node::Histogram(Box::new(HistogramNode { function, input, grid, pos, first_pos })), grid))
    }
}

/// A vector whose rows do not differ in names alone, or have their own check.
fn node(node: Node, grid: Grid) -> Built {
    Built { kind: BuiltKind::Node(Box::new(node)), grid, names_vary: true }
}
