//! The plan: pipelines that run series by series while storage answers, and the tree that joins what they leave.

use std::sync::Arc;

use model::{Labels, TimeRange};
use regexp::Regexp;

use super::column::Grid;
use super::error::QueryError;
use super::extended::Extension;
use super::histogram::HistogramStat;
use super::info::InfoNode;
use super::math::{Keep, MathFn};
use super::row::Uniqueness;
use super::time::TimeFn;
use super::window::{Number, WindowEnd, WindowFn, WindowSpec};
use crate::ast::{AggregateOp, BinaryOp, Pos, VectorMatching};

/// A number per step.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    /// The same at every step.
    Const(f64),
    /// Known when the query was planned.
    Column(Arc<[f64]>),
    /// Known when storage has answered.
    Late(Arc<ScalarNode>),
}

impl Scalar {
    /// The numbers, where they are known.
    pub(crate) fn known(&self) -> Option<Number<'_>> {
        match self {
            Scalar::Const(v) => Some(Number::Const(*v)),
            Scalar::Column(column) => Some(Number::Column(column)),
            Scalar::Late(_) => None,
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Scalar::Late(_))
    }
}

/// A number per step that needs storage.
#[derive(Clone, Debug)]
pub(crate) enum ScalarNode {
    /// `scalar(v)`; the node gives one row.
    Of(Node),
    /// Between numbers.
    Binary(BinaryOp, Scalar, Scalar),
    /// `-s`
    Negate(Scalar),
    /// `max_of(a, b)`
    Max(Scalar, Scalar),
    /// `min_of(a, b)`
    Min(Scalar, Scalar),
    /// The first value at all steps.
    Repeat(Scalar),
}

/// What a pipeline makes of the samples of one series.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The newest sample of each step, at most `lookback` old.
    Instant { end: WindowEnd, lookback: i64 },
    /// Its timestamp.
    Timestamp { end: WindowEnd, lookback: i64 },
    /// Its start timestamp.
    Start { end: WindowEnd, lookback: i64 },
    /// The value at each step on the line between the samples beside it, at most `lookback` away.
    Smoothed { end: WindowEnd, lookback: i64, pos: Pos },
    /// When the newest sample within `range` was taken, in milliseconds; of info series.
    Info { range: TimeRange, lookback: i64 },
    /// A function of the window of each step.
    Window(WindowCall),
}

impl Source {
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Source::Instant { .. }
            | Source::Timestamp { .. }
            | Source::Start { .. }
            | Source::Smoothed { .. }
            | Source::Info { .. } => true,
            Source::Window(call) => call.is_ready(),
        }
    }
}

/// A function of windows with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct WindowCall {
    pub(crate) function: WindowFn,
    pub(crate) spec: WindowSpec,
    pub(crate) numbers: [Scalar; 2],
    /// The first argument, to which annotations point.
    pub(crate) pos: Pos,
    /// Where samples beside the window count.
    pub(crate) extension: Option<Extension>,
}

impl WindowCall {
    pub(crate) fn is_ready(&self) -> bool {
        !self.numbers.iter().any(Scalar::is_late)
    }
}

/// What is done to each row by itself.
#[derive(Clone, Debug)]
pub(crate) enum MapOp {
    /// `-v`
    Negate,
    /// A function of each value.
    Math(MathFn),
    /// `round(v, s)`
    Round(Scalar),
    /// `clamp(v, min, max)`
    Clamp { min: Scalar, max: Scalar },
    /// `v op s`, or `s op v`.
    Scalar { op: BinaryOp, keep: Keep, scalar: Scalar, scalar_first: bool, pos: Pos },
    /// A function of the calendar.
    Time(TimeFn),
    /// `timestamp(v)` of anything but a selector: the time of the step.
    StepTime,
    /// `label_replace`
    LabelReplace(Arc<LabelReplace>),
    /// `label_join`
    LabelJoin(Arc<LabelJoin>),
    /// A function of the windows of a subquery, whose steps are `from`.
    /// Its points count as seen `repeat` times.
    Subquery { call: WindowCall, from: Grid, repeat: u64 },
    /// The value of the only step at so many steps.
    Repeat(usize),
    /// `limit_ratio`
    LimitRatio(Scalar),
    /// A number of each native histogram: floats have no result.
    HistogramStat(HistogramStat),
    /// Nothing stays.
    Nothing,
    /// Only floats stay.
    FloatsOnly,
}

impl MapOp {
    /// Whether everything it needs is known.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            MapOp::Round(s) | MapOp::Scalar { scalar: s, .. } | MapOp::LimitRatio(s) => !s.is_late(),
            MapOp::Clamp { min, max } => !min.is_late() && !max.is_late(),
            MapOp::Subquery { call, .. } => call.is_ready(),
            MapOp::Negate
            | MapOp::Math(_)
            | MapOp::Time(_)
            | MapOp::StepTime
            | MapOp::LabelReplace(_)
            | MapOp::LabelJoin(_)
            | MapOp::Repeat(_)
            | MapOp::HistogramStat(_)
            | MapOp::Nothing
            | MapOp::FloatsOnly => true,
        }
    }
}

/// An operation on rows, and what must hold after it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) op: MapOp,
    /// The steps of its result.
    pub(crate) grid: Grid,
    /// Whether rows may have come to have the same labels.
    pub(crate) unique: Option<Uniqueness>,
}

/// Arguments of `label_replace`.
#[derive(Debug)]
pub(crate) struct LabelReplace {
    pub(crate) dst: String,
    pub(crate) replacement: String,
    pub(crate) src: String,
    pub(crate) regexp: Regexp,
}

/// Arguments of `label_join`.
#[derive(Debug)]
pub(crate) struct LabelJoin {
    pub(crate) dst: String,
    pub(crate) separator: String,
    pub(crate) srcs: Vec<String>,
}

/// How rows are put into groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) without: bool,
    /// Sorted, unique.
    pub(crate) names: Vec<String>,
}

/// What rows end in.
#[derive(Clone, Debug)]
pub(crate) enum SinkSpec {
    /// They are kept.
    Collect,
    /// The series themselves are kept: what is made of them is not known yet.
    Raw,
    /// Samples of the window are kept: `x[5m]` as the whole query.
    Points(WindowSpec, Option<Extension>),
    /// One row per group.
    Aggregate { op: AggregateOp, groups: Groups, param: Scalar, pos: Pos },
    /// Some rows of each group at each step.
    TopK { op: AggregateOp, groups: Groups, k: Scalar, pos: Pos },
    /// One row per group and value.
    CountValues { groups: Groups, label: String },
    /// 1 where no row has a value.
    Absent { labels: Labels },
    /// The value where exactly one row has one, else NaN.
    ScalarOf,
}

/// The way of one selector's series from storage to a sink.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    pub(crate) leaf: usize,
    pub(crate) source: Source,
    /// The steps of the source.
    pub(crate) grid: Grid,
    /// What must hold of the labels of the source.
    pub(crate) unique: Option<Uniqueness>,
    pub(crate) steps: Vec<Step>,
    pub(crate) sink: SinkSpec,
    /// How often its result is used, for the count of samples.
    pub(crate) repeat: u64,
    /// Which step of the query reads first what each step of the source reads; the same where nothing is said.
    pub(crate) reads: Option<Arc<[u32]>>,
    /// Whether its samples count as seen (within subqueries those of the subquery's points do).
    pub(crate) counts: bool,
    /// Whether only counts and sums of histograms are looked at.
    pub(crate) stats_only: bool,
}

impl Pipeline {
    /// The steps of the sink.
    pub(crate) fn out_grid(&self) -> Grid {
        self.steps.last().map_or(self.grid, |step| step.grid)
    }
}

/// What gives rows once storage has answered.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// What the sink of a pipeline made.
    Pipeline(usize),
    /// A source that had to wait for numbers, over the series that a pipeline kept.
    Deferred { pipeline: usize, source: Box<Source>, grid: Grid, unique: Option<Uniqueness> },
    /// An operation on each row.
    Map { input: Box<Node>, from: Grid, step: Box<Step> },
    /// A sink over rows.
    Reduce { input: Box<Node>, spec: Box<SinkSpec>, grid: Grid },
    /// `vector(s)`
    Vector(Scalar, usize),
    /// Two vectors.
    Binary(Box<BinaryNode>),
    /// `histogram_quantile`, `histogram_quantiles`, `histogram_fraction`.
    Histogram(Box<HistogramNode>),
    /// `info(v, {…})`
    Info(Box<InfoNode>),
    /// `sort` and its kin.
    Sort { input: Box<Node>, by: SortBy, descending: bool },
    /// `limit_ratio` at a single step, where its order is that of Prometheus' heaps.
    LimitRatio { input: Box<Node>, ratio: Scalar, groups: Groups },
    /// An error, where there are so many steps and not none.
    Fail(Box<QueryError>, usize),
    /// Evaluates the first for its warnings and errors, gives the second.
    Also(Box<Warning>, Box<Node>),
}

/// A warning that needs numbers of the query.
#[derive(Clone, Debug)]
pub(crate) enum Warning {
    /// `quantile(φ, x)`
    Quantile(Scalar, Pos),
    /// `limit_ratio(r, x)`
    Ratio(Scalar, Pos),
    /// `topk(k, x)`: errors where k is no count.
    Count(Scalar),
    /// `sort(x)` in a range query.
    Sort(Pos),
}

/// An operator between vectors.
#[derive(Clone, Debug)]
pub(crate) struct BinaryNode {
    pub(crate) op: BinaryOp,
    pub(crate) lhs: Box<Node>,
    pub(crate) rhs: Box<Node>,
    pub(crate) matching: VectorMatching,
    pub(crate) return_bool: bool,
    pub(crate) grid: Grid,
    pub(crate) pos: Pos,
}

/// A function of classic and native histograms.
#[derive(Clone, Debug)]
pub(crate) struct HistogramNode {
    pub(crate) function: HistogramFn,
    pub(crate) input: Node,
    pub(crate) grid: Grid,
    /// The vector, to which annotations of classic histograms point.
    pub(crate) pos: Pos,
    /// The first argument, to which those of native histograms point.
    pub(crate) first_pos: Pos,
}

/// The functions of classic and native histograms.
#[derive(Clone, Debug)]
pub(crate) enum HistogramFn {
    /// `histogram_quantile(φ, v)`
    Quantile(Scalar, Pos),
    /// `histogram_quantiles(v, label, φ, …)`
    Quantiles(String, Vec<(Scalar, Pos)>),
    /// `histogram_fraction(lower, upper, v)`
    Fraction(Scalar, Scalar),
}

/// By what rows are ordered.
#[derive(Clone, Debug)]
pub(crate) enum SortBy {
    Value,
    Labels(Vec<String>),
}

/// Who waits for a leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeafPlan {
    pub(crate) pipelines: Vec<usize>,
}

/// The outermost expression.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    Vector {
        node: Node,
        ordered: bool,
    },
    Scalar(Scalar),
    String(String),
    /// `x[5m]`
    Points(usize),
    /// `x[5m:1m]`
    Subquery {
        node: Node,
        grid: Grid,
    },
}
