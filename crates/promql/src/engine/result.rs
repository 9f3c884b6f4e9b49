//! The value of a query.

use std::sync::Arc;

use model::{FloatHistogram, Labels, TimestampMs};

use super::annotations::Annotations;
use super::column::{Grid, count_present, is_absent};
use super::limits::QueryStats;
use super::steps::StepStats;

/// What came of a query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// What there is to say about it.
    pub annotations: Annotations,
    /// What it took.
    pub stats: QueryStats,
    /// The same step by step, where that was asked for.
    pub steps: Option<StepStats>,
}

/// The value of a query.
#[derive(Clone, Debug)]
pub enum Value {
    /// Samples per series, ordered by labels: of range queries, and of instant queries that ask for a range.
    Matrix(Vec<RangeSeries>),
    /// One sample per series; ordered as the query says, else by labels.
    Vector {
        /// The instant of the query.
        at: TimestampMs,
        /// The elements.
        samples: Vec<VectorSample>,
    },
    /// A number.
    Scalar {
        /// The instant of the query.
        at: TimestampMs,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// The instant of the query.
        at: TimestampMs,
        /// The text.
        text: String,
    },
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// Its value; zero where it is a histogram.
    pub value: f64,
    /// Its value where that is a histogram.
    pub histogram: Option<Arc<FloatHistogram>>,
}

/// One series of a matrix.
#[derive(Clone, Debug)]
pub struct RangeSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its samples.
    pub points: Points,
}

/// Samples of a series, ordered by time.
#[derive(Clone, Debug)]
pub struct Points {
    floats: Layout,
    /// Ordered by time.
    hists: Vec<(i64, Arc<FloatHistogram>)>,
}

#[derive(Clone, Debug)]
enum Layout {
    /// One value per step, or none.
    OnGrid {
        grid: Grid,
        values: Box<[f64]>,
    },
    Listed {
        ts: Vec<i64>,
        values: Vec<f64>,
    },
}

impl Points {
    pub(crate) fn on_grid(grid: Grid, values: Box<[f64]>, hists: Vec<(i64, Arc<FloatHistogram>)>) -> Points {
        Points { floats: Layout::OnGrid { grid, values }, hists }
    }

    pub(crate) fn listed(ts: Vec<i64>, values: Vec<f64>, hists: Vec<(i64, Arc<FloatHistogram>)>) -> Points {
        Points { floats: Layout::Listed { ts, values }, hists }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        let floats = match &self.floats {
            Layout::OnGrid { values, .. } => count_present(values),
            Layout::Listed { ts, .. } => ts.len(),
        };
        floats + self.hists.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hists.is_empty() && self.iter().next().is_none()
    }

    /// Timestamps and histograms.
    pub fn histograms(&self) -> impl Iterator<Item = (TimestampMs, &Arc<FloatHistogram>)> + '_ {
        self.hists.iter().map(|(t, h)| (TimestampMs(*t), h))
    }

    /// Timestamps and floats.
    pub fn iter(&self) -> impl Iterator<Item = (TimestampMs, f64)> + '_ {
        let n = match &self.floats {
            Layout::OnGrid { values, .. } => values.len(),
            Layout::Listed { ts, .. } => ts.len(),
        };
        (0..n).filter_map(|i| match &self.floats {
            Layout::OnGrid { grid, values } => (!is_absent(values[i])).then(|| (TimestampMs(grid.at(i)), values[i])),
            Layout::Listed { ts, values } => Some((TimestampMs(ts[i]), values[i])),
        })
    }
}
