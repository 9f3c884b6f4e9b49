//! Where rows end: kept, or added to groups.

use std::sync::Arc;

use model::{FloatHistogram, Labels};
use storage::Series;

use super::aggregate::{Absence, Aggregator, CountValues, Single, TopK};
use super::annotations::Annotations;
use super::column::Grid;
use super::error::QueryError;
use super::extended::{self, Extension};
use super::hists::{View, weight};
use super::limits::{Budget, Tally};
use super::node::{Scalar, SinkSpec};
use super::row::{Key, Row};
use super::source::Input;
use super::window::{WindowSpec, Windows};
use crate::ast::AggregateOp;

/// A sink and the samples it holds.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) state: State,
    held: usize,
}

/// The state of a sink.
#[derive(Debug)]
pub(crate) enum State {
    Collect(Vec<Row>),
    Raw(Vec<Series>),
    Points { spec: WindowSpec, extension: Option<Extension>, series: Vec<PointRow> },
    Aggregate(Aggregator),
    TopK(TopK),
    CountValues(CountValues),
    Absent(Absence),
    ScalarOf(Single),
}

/// The samples of a series in a window.
#[derive(Debug)]
pub(crate) struct PointRow {
    pub(crate) labels: Labels,
    pub(crate) floats: (Vec<i64>, Vec<f64>),
    pub(crate) hists: Vec<(i64, Arc<FloatHistogram>)>,
}

/// What a sink made.
pub(crate) enum Made {
    Rows(Vec<Row>),
    Raw(Vec<Series>),
    Points(Vec<PointRow>),
}

impl Sink {
    pub(crate) fn new(spec: &SinkSpec, grid: Grid, delayed: bool) -> Sink {
        let n = grid.count;
        let state = match spec {
            SinkSpec::Collect => State::Collect(Vec::new()),
            SinkSpec::Raw => State::Raw(Vec::new()),
            SinkSpec::Points(spec, extension) => {
                State::Points { spec: *spec, extension: *extension, series: Vec::new() }
            }
            SinkSpec::Aggregate { op, groups, pos, .. } => {
                State::Aggregate(Aggregator::new(*op, groups, *pos, delayed, n))
            }
            SinkSpec::TopK { op, groups, k, pos } => State::TopK(TopK::new((*op, *pos), groups, k, delayed, n)),
            SinkSpec::CountValues { groups, label } => State::CountValues(CountValues::new(groups, label, delayed, n)),
            SinkSpec::Absent { .. } => State::Absent(Absence::new(n)),
            SinkSpec::ScalarOf => State::ScalarOf(Single::new(n)),
        };
        Sink { state, held: 0 }
    }

    /// Rows come sorted.
    pub(crate) fn keep_order(&mut self) {
        match &mut self.state {
            State::Aggregate(state) => state.keep_order(),
            State::TopK(state) => state.keep_order(),
            _ => {}
        }
    }

    /// Adds a row.
    pub(crate) fn add(
        &mut self,
        key: &Key,
        column: View<'_>,
        delayed: bool,
        budget: &Budget,
    ) -> Result<(), QueryError> {
        let mut tally = Tally { budget, held: &mut self.held };
        match &mut self.state {
            State::Collect(rows) => {
                let present = column.weight();
                if present > 0 {
                    tally.hold(present)?;
                    let mut key = key.clone();
                    if !delayed {
                        key.settle();
                    }
                    rows.push(Row { key, values: column.values.into(), hists: column.hists.clone() });
                }
            }
            State::Aggregate(state) => state.add(key, column, &mut tally)?,
            State::TopK(state) => state.add(key, column, &mut tally)?,
            State::CountValues(state) => state.add(key, column, &mut tally)?,
            State::Absent(state) => state.add(column),
            State::ScalarOf(state) => state.add(column.values),
            State::Raw(_) | State::Points { .. } => debug_assert!(false, "this sink takes series, not rows"),
        }
        Ok(())
    }

    /// Adds the samples of a series in the only window.
    pub(crate) fn add_points(
        &mut self,
        labels: &Labels,
        input: Input<'_>,
        grid: Grid,
        budget: &Budget,
    ) -> Result<usize, QueryError> {
        let State::Points { spec, extension, series } = &mut self.state else { return Ok(0) };
        if let Some(extension) = extension {
            let mut windows = Windows::default();
            windows.find(input.hists.ts, grid.first(), extension.widen(*spec));
            if windows.lo.iter().zip(&windows.hi).any(|(lo, hi)| lo < hi) {
                let modifier = if extension.is_smoothed() { "smoothed" } else { "anchored" };
                return Err(QueryError::EdgesOfHistograms { modifier });
            }
            let floats = extended::points(input.floats, grid, *spec, *extension);
            let n = floats.0.len();
            if n > 0 {
                Tally { budget, held: &mut self.held }.hold(n)?;
                series.push(PointRow { labels: labels.clone(), floats, hists: Vec::new() });
            }
            return Ok(n);
        }
        let window = |ts: &[i64]| {
            let mut windows = Windows::default();
            windows.find(ts, grid.first(), *spec);
            let (lo, hi) = if windows.lo.is_empty() { (0, 0) } else { windows.at(0) };
            lo..hi
        };
        let Input { floats, hists } = input;
        let (float_window, hist_window) = (window(floats.ts), window(hists.ts));
        let n = float_window.len() + hists.hists[hist_window.clone()].iter().map(|h| weight(h)).sum::<usize>();
        if n > 0 {
            Tally { budget, held: &mut self.held }.hold(n)?;
            series.push(PointRow {
                labels: labels.clone(),
                floats: (floats.ts[float_window.clone()].to_vec(), floats.values[float_window].to_vec()),
                hists: hists.ts[hist_window.clone()]
                    .iter()
                    .copied()
                    .zip(hists.hists[hist_window].iter().cloned())
                    .collect(),
            });
        }
        Ok(n)
    }

    /// Adds what another thread has.
    pub(crate) fn merge(&mut self, other: Sink, budget: &Budget) -> Result<(), QueryError> {
        self.held += other.held;
        let mut tally = Tally { budget, held: &mut self.held };
        match (&mut self.state, other.state) {
            (State::Collect(a), State::Collect(b)) => a.extend(b),
            (State::Raw(a), State::Raw(b)) => a.extend(b),
            (State::Points { series: a, .. }, State::Points { series: b, .. }) => a.extend(b),
            (State::Aggregate(a), State::Aggregate(b)) => a.merge(b, &mut tally)?,
            (State::TopK(a), State::TopK(b)) => a.merge(b, &mut tally)?,
            (State::CountValues(a), State::CountValues(b)) => a.merge(b, &mut tally),
            (State::Absent(a), State::Absent(b)) => a.merge(b),
            (State::ScalarOf(a), State::ScalarOf(b)) => a.merge(b),
            (_, _) => debug_assert!(false, "sinks of two pipelines"),
        }
        Ok(())
    }

    /// What came of it; rows hold as many samples of the budget as they have.
    pub(crate) fn finish(
        self,
        spec: &SinkSpec,
        budget: &Budget,
        annotations: &mut Annotations,
    ) -> Result<Made, QueryError> {
        let rows = match self.state {
            State::Raw(series) => return Ok(Made::Raw(series)),
            State::Points { series, .. } => return Ok(Made::Points(series)),
            State::Collect(rows) => return Ok(Made::Rows(rows)),
            State::Aggregate(state) => match spec {
                SinkSpec::Aggregate { param, .. } => state.finish(param, annotations),
                _ => state.finish(&Scalar::Const(0.0), annotations),
            },
            State::TopK(state) => state.finish(annotations),
            State::CountValues(state) => state.finish(),
            State::Absent(state) => match spec {
                SinkSpec::Absent { labels } => state.finish(labels.clone()),
                _ => state.finish(Labels::empty()),
            },
            State::ScalarOf(state) => state.finish(),
        };
        budget.release(self.held);
        budget.hold(held_by(&rows))?;
        Ok(Made::Rows(rows))
    }
}

/// Samples of the budget that rows hold.
pub(crate) fn held_by(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.view().weight()).sum()
}

/// Whether an aggregation keeps the labels of its input.
pub(crate) fn selects_rows(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk)
}
