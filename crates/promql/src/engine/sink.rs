//! Where rows end: kept, or added to groups.

use model::Labels;
use storage::Series;

use super::aggregate::{Absence, Aggregator, CountValues, Single, TopK};
use super::column::{Grid, count_present};
use super::error::QueryError;
use super::limits::Budget;
use super::node::{Scalar, SinkSpec};
use super::row::{Key, Row};
use super::window::{Samples, WindowSpec, Windows};
use crate::ast::AggregateOp;

/// The state of a sink.
#[derive(Debug)]
pub(crate) enum Sink {
    Collect(Vec<Row>),
    Raw(Vec<Series>),
    Points { spec: WindowSpec, series: Vec<(Labels, Vec<i64>, Vec<f64>)> },
    Aggregate(Aggregator),
    TopK(TopK),
    CountValues(CountValues),
    Absent(Absence),
    ScalarOf(Single),
}

/// What a sink made.
pub(crate) enum Made {
    Rows(Vec<Row>),
    Raw(Vec<Series>),
    Points(Vec<(Labels, Vec<i64>, Vec<f64>)>),
}

impl Sink {
    pub(crate) fn new(spec: &SinkSpec, grid: Grid, delayed: bool) -> Sink {
        let n = grid.count;
        match spec {
            SinkSpec::Collect => Sink::Collect(Vec::new()),
            SinkSpec::Raw => Sink::Raw(Vec::new()),
            SinkSpec::Points(spec) => Sink::Points { spec: *spec, series: Vec::new() },
            SinkSpec::Aggregate { op, groups, .. } => Sink::Aggregate(Aggregator::new(*op, groups, delayed, n)),
            SinkSpec::TopK { op, groups, k } => Sink::TopK(TopK::new(*op, groups, k, delayed, n)),
            SinkSpec::CountValues { groups, label } => Sink::CountValues(CountValues::new(groups, label, delayed, n)),
            SinkSpec::Absent { .. } => Sink::Absent(Absence::new(n)),
            SinkSpec::ScalarOf => Sink::ScalarOf(Single::new(n)),
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, key: &Key, column: &[f64], delayed: bool, budget: &Budget) -> Result<(), QueryError> {
        match self {
            Sink::Collect(rows) => {
                let present = count_present(column);
                if present > 0 {
                    budget.hold(present)?;
                    let mut key = key.clone();
                    if !delayed {
                        key.settle();
                    }
                    rows.push(Row { key, values: column.into() });
                }
                Ok(())
            }
            Sink::Aggregate(state) => state.add(key, column, budget),
            Sink::TopK(state) => state.add(key, column, budget),
            Sink::CountValues(state) => state.add(key, column, budget),
            Sink::Absent(state) => {
                state.add(column);
                Ok(())
            }
            Sink::ScalarOf(state) => {
                state.add(column);
                Ok(())
            }
            Sink::Raw(_) | Sink::Points { .. } => {
                debug_assert!(false, "this sink takes series, not rows");
                Ok(())
            }
        }
    }

    /// Adds the samples of a series in the only window.
    pub(crate) fn add_points(
        &mut self,
        labels: &Labels,
        samples: Samples<'_>,
        grid: Grid,
        budget: &Budget,
    ) -> Result<usize, QueryError> {
        let Sink::Points { spec, series } = self else { return Ok(0) };
        let mut windows = Windows::default();
        windows.find(samples.ts, grid.first(), *spec);
        if windows.lo.is_empty() {
            return Ok(0);
        }
        let (lo, hi) = windows.at(0);
        if lo < hi {
            budget.hold(hi - lo)?;
            series.push((labels.clone(), samples.ts[lo..hi].to_vec(), samples.values[lo..hi].to_vec()));
        }
        Ok(hi - lo)
    }

    /// Adds what another thread has.
    pub(crate) fn merge(&mut self, other: Sink, budget: &Budget) -> Result<(), QueryError> {
        match (self, other) {
            (Sink::Collect(a), Sink::Collect(b)) => a.extend(b),
            (Sink::Raw(a), Sink::Raw(b)) => a.extend(b),
            (Sink::Points { series: a, .. }, Sink::Points { series: b, .. }) => a.extend(b),
            (Sink::Aggregate(a), Sink::Aggregate(b)) => a.merge(b, budget),
            (Sink::TopK(a), Sink::TopK(b)) => a.merge(b, budget)?,
            (Sink::CountValues(a), Sink::CountValues(b)) => a.merge(b, budget),
            (Sink::Absent(a), Sink::Absent(b)) => a.merge(b),
            (Sink::ScalarOf(a), Sink::ScalarOf(b)) => a.merge(b),
            (_, _) => debug_assert!(false, "sinks of two pipelines"),
        }
        Ok(())
    }

    /// What came of it.
    pub(crate) fn finish(self, spec: &SinkSpec) -> Made {
        Made::Rows(match self {
            Sink::Raw(series) => return Made::Raw(series),
            Sink::Points { series, .. } => return Made::Points(series),
            Sink::Collect(rows) => rows,
            Sink::Aggregate(state) => match spec {
                SinkSpec::Aggregate { param, .. } => state.finish(param),
                _ => state.finish(&Scalar::Const(0.0)),
            },
            Sink::TopK(state) => state.finish(),
            Sink::CountValues(state) => state.finish(),
            Sink::Absent(state) => match spec {
                SinkSpec::Absent { labels } => state.finish(labels.clone()),
                _ => state.finish(Labels::empty()),
            },
            Sink::ScalarOf(state) => state.finish(),
        })
    }
}

/// Whether an aggregation keeps the labels of its input.
pub(crate) fn selects_rows(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk)
}
