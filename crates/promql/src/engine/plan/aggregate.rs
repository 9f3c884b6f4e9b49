//! Planning of aggregations.

use model::METRIC_NAME;

use super::{Built, BuiltKind, Changes, Planner, Scope};
use crate::ast::{Aggregate, AggregateOp, Expr, ExprKind};
use crate::engine::column::Grid;
use crate::engine::error::QueryError;
use crate::engine::invariant::unparen;
use crate::engine::node::{Groups, MapOp, Node, Scalar, SinkSpec, Warning};
use crate::engine::sink::selects_rows;

impl Planner<'_> {
    #[inline(never)]
    pub(super) fn aggregate(
        &mut self,
        expr: &Expr,
        aggregate: &Aggregate,
        grid: Grid,
        scope: Scope,
    ) -> Result<Built, QueryError> {
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
            (self.limit_ratio(built, number, groups, grid), Some(warning))
        } else {
            let warning = (op == AggregateOp::Quantile).then(|| Warning::Quantile(number.clone(), param_pos));
            let spec = SinkSpec::Aggregate { op, groups, param: number, pos: self.pos_of(&aggregate.expr) };
            (self.reduce(built, spec, by_name), warning)
        };
        Ok(self.with_warning(built, warning))
    }

    #[inline(never)]
    pub(super) fn with_warning(&mut self, built: Built, warning: Option<Warning>) -> Built {
        // Where there are no steps nothing is said.
        let Some(warning) = warning.filter(|_| built.grid.count > 0) else { return built };
        let (grid, names_vary) = (built.grid, built.names_vary);
        let node = Node::Also(Box::new(warning), Box::new(self.close(built)));
        Built { kind: BuiltKind::Node(Box::new(node)), grid, names_vary }
    }

    /// At a single step the order of the result is Prometheus' own; over several it has none.
    fn limit_ratio(&mut self, built: Built, ratio: Scalar, groups: Groups, grid: Grid) -> Built {
        if grid.count != 1 {
            return self.map(built, MapOp::LimitRatio(ratio), grid, Changes::Nothing);
        }
        let names_vary = built.names_vary;
        let input = Box::new(self.close(built));
        Built { kind: BuiltKind::Node(Box::new(Node::LimitRatio { input, ratio, groups })), grid, names_vary }
    }
}
