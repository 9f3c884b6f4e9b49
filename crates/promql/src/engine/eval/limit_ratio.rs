//! `limit_ratio` at a single step: the rows that stay come group by group, each group in the order of a heap.
//!
//! Source: Prometheus `aggregationK` of `promql/engine.go`.

use super::{Evaluator, numbers};
use crate::engine::aggregate::{Grouper, heap_order};
use crate::engine::error::QueryError;
use crate::engine::load::Count;
use crate::engine::map::is_in_ratio;
use crate::engine::node::{Groups, MapOp, Scalar};
use crate::engine::row::{Row, sort_by_place};

impl Evaluator<'_> {
    #[inline(never)]
    pub(super) fn limit_ratio(
        &mut self,
        mut rows: Vec<Row>,
        in_order: bool,
        ratio: &Scalar,
        groups: &Groups,
    ) -> Result<Vec<Row>, QueryError> {
        let load = self.load;
        let ratio = self.resolve(ratio)?;
        let delayed = self.delayed();
        if !in_order {
            sort_by_place(&mut rows);
        }
        self.ticker.tick(rows.len())?;
        let mut grouper = Grouper::new(groups, delayed);
        let mut kept: Vec<Vec<Row>> = Vec::new();
        for mut row in rows {
            // Groups are in order of their first rows, also of those that do not stay.
            let group = grouper.find(&row.key);
            if group == kept.len() {
                kept.push(Vec::new());
            }
            if !delayed {
                row.key.settle();
            }
            if row.view().any() && is_in_ratio(numbers(&ratio).at(0), &row.key) {
                kept[group].push(row);
            } else {
                self.plan.budget.release(row.view().weight());
            }
        }
        let rows: Vec<Row> = kept.into_iter().flat_map(heap_order).collect();
        self.load = load.step(&MapOp::LimitRatio(ratio), Count::of_rows(&rows), 1);
        Ok(rows)
    }
}
