//! `info()` in the tree.

use super::Evaluator;
use crate::engine::error::QueryError;
use crate::engine::info::{self, Enrichment, InfoNode};
use crate::engine::load::{Count, Load};
use crate::engine::row::Row;
use crate::engine::sink::held_by;

impl Evaluator<'_> {
    #[inline(never)]
    pub(super) fn info(
        &mut self,
        node: &InfoNode,
        base: Load,
        rows: Vec<Row>,
        infos: Vec<Row>,
    ) -> Result<Vec<Row>, QueryError> {
        let found = self.load;
        let held = held_by(&rows) + held_by(&infos);
        let mut env = Enrichment { ticker: &mut self.ticker, budget: &self.plan.budget };
        let rows = info::evaluate(node, rows, infos, &mut env)?;
        self.plan.budget.hold(held_by(&rows))?;
        self.plan.budget.release(held);
        self.load = Load::stepwise(&[base, found], Count::of_rows(&rows));
        Ok(rows)
    }
}
