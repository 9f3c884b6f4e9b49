//! What Prometheus would hold in memory for a part of a query, for the statistic `peakSamples`.
//!
//! Prometheus materialises each node of an expression and counts; this engine mostly does not, so the number is computed from
//! how many samples went in and came out of each operation. It is exact where windows are equally full.

use super::hists::View;
use super::node::{MapOp, SinkSpec, Source, Step};
use super::row::Row;
use super::sink::held_by;
use crate::ast::AggregateOp;

/// Samples that came out of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// At all steps.
    pub(crate) points: u64,
    /// At the last step.
    pub(crate) last: u64,
    /// The fullest window that was looked at.
    pub(crate) window: u64,
}

impl Count {
    /// Of one column.
    pub(crate) fn of(column: View<'_>, window: u64) -> Count {
        Count { points: column.weight() as u64, last: column.last_weight() as u64, window }
    }

    /// Of all rows of a node.
    pub(crate) fn of_rows(rows: &[Row]) -> Count {
        let last = rows.iter().map(|row| row.view().last_weight()).sum::<usize>() as u64;
        Count { points: held_by(rows) as u64, last, window: 0 }
    }

    pub(crate) fn add(&mut self, other: Count) {
        self.points += other.points;
        self.last += other.last;
        self.window = self.window.max(other.window);
    }
}

/// Samples that a node holds when it is done, and the most it held on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) held: u64,
    pub(crate) last: u64,
    pub(crate) peak: u64,
}

impl Load {
    fn done(out: Count, peak: u64) -> Load {
        Load { held: out.points, last: out.last, peak: peak.max(out.points) }
    }

    /// A selector, or a function of its windows, at `n` steps.
    pub(crate) fn source(source: &Source, out: Count, n: usize) -> Load {
        let load = Load::done(out, out.points + out.window);
        match source {
            Source::Window(call) => load.with_numbers(call.function.number_count(), n),
            Source::Instant { .. }
            | Source::Timestamp { .. }
            | Source::Start { .. }
            | Source::Smoothed { .. }
            | Source::Info { .. } => load,
        }
    }

    /// A number at `n` steps.
    pub(crate) fn numbers(n: usize) -> Load {
        let n = n as u64;
        Load { held: n, last: n.min(1), peak: n }
    }

    /// An operation that Prometheus runs step by step over its inputs.
    pub(crate) fn stepwise(inputs: &[Load], out: Count) -> Load {
        let (mut held, mut peak, mut last) = (0, 0, 0);
        for input in inputs {
            peak = peak.max(held + input.peak);
            held += input.held;
            last += input.last;
        }
        Load::done(out, peak.max(held + out.points + last))
    }

    /// An aggregation with a parameter, which is evaluated first, or without.
    pub(crate) fn aggregate(self, param: Load, out: Count) -> Load {
        Load::done(out, param.peak.max(param.held + self.peak))
    }

    /// A function of windows with so many numbers as arguments at `n` steps.
    pub(crate) fn with_numbers(self, numbers: usize, n: usize) -> Load {
        let held = (numbers * n) as u64;
        Load { peak: self.peak + held, ..self }
    }

    /// An operation on rows at `n` steps.
    pub(crate) fn step(self, op: &MapOp, out: Count, n: usize) -> Load {
        let number = Load::numbers(n);
        match op {
            MapOp::Negate
            | MapOp::LabelReplace(_)
            | MapOp::LabelJoin(_)
            | MapOp::Repeat(_)
            | MapOp::LimitRatio(_)
            | MapOp::FloatsOnly => Load::done(out, self.peak),
            MapOp::Subquery { call, .. } => {
                let load = Load::done(out, self.peak.max(self.held + out.points + out.window));
                load.with_numbers(call.function.number_count(), n)
            }
            MapOp::Math(_) | MapOp::Time(_) | MapOp::StepTime | MapOp::HistogramStat(_) | MapOp::Nothing => {
                Load::stepwise(&[self], out)
            }
            MapOp::Round(_) | MapOp::Scalar { .. } => Load::stepwise(&[self, number], out),
            MapOp::Clamp { .. } => Load::stepwise(&[self, number, number], out),
        }
    }

    /// The steps of a pipeline.
    pub(crate) fn steps(self, steps: &[Step], counts: &[Count]) -> Load {
        steps.iter().zip(counts).fold(self, |load, (step, out)| load.step(&step.op, *out, step.grid.count))
    }

    /// The sink of a pipeline or node.
    pub(crate) fn sink(self, spec: &SinkSpec, out: Count, n: usize) -> Load {
        match spec {
            SinkSpec::Collect | SinkSpec::Raw | SinkSpec::Points(..) => self,
            SinkSpec::Aggregate { op: AggregateOp::Quantile, .. } | SinkSpec::TopK { .. } => {
                self.aggregate(Load::numbers(n), out)
            }
            SinkSpec::Aggregate { .. } => self.aggregate(Load::default(), out),
            SinkSpec::CountValues { .. } | SinkSpec::Absent { .. } | SinkSpec::ScalarOf => Load::stepwise(&[self], out),
        }
    }
}

/// Whether an operation may remove values of a row that has no histograms.
pub(crate) fn filters(op: &MapOp) -> bool {
    match op {
        MapOp::Scalar { op, .. } => super::math::is_comparison(*op) || super::math::is_trim(*op),
        MapOp::Clamp { .. } | MapOp::Subquery { .. } | MapOp::Repeat(_) | MapOp::LimitRatio(_) => true,
        MapOp::Negate
        | MapOp::Math(_)
        | MapOp::Round(_)
        | MapOp::Time(_)
        | MapOp::StepTime
        | MapOp::LabelReplace(_)
        | MapOp::LabelJoin(_)
        | MapOp::HistogramStat(_)
        | MapOp::Nothing
        | MapOp::FloatsOnly => false,
    }
}
