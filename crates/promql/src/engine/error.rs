//! Why a query has no answer. The words are Prometheus' where it has any.

use model::{Labels, TimestampMs};
use storage::ErrorClass;

use super::format::go_g;

/// A part of the language that this version parses and does not evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Start timestamps of native histograms.
    HistogramStarts,
}

impl Feature {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Feature::HistogramStarts => "start timestamps of native histograms",
        }
    }
}

/// What is wrong with a duration expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationProblem {
    /// Not finite.
    #[error("duration is NaN or infinite")]
    NotFinite,
    /// Zero or negative where time must pass.
    #[error("duration must be greater than 0")]
    NotPositive,
    /// Beyond nanoseconds in 64 bits.
    #[error("duration is out of range")]
    OutOfRange,
    /// `/ 0`.
    #[error("division by zero")]
    DivisionByZero,
    /// `% 0`.
    #[error("modulo by zero")]
    ModuloByZero,
}

/// Why a query cannot be evaluated or was not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// A range query of something that has no value per step.
    #[error("invalid expression type {found:?} for range query, must be Scalar or instant Vector")]
    NotForRangeQuery {
        /// The type found, in Prometheus' words.
        found: &'static str,
    },
    /// A duration expression without a usable value.
    #[error("{start}:{end}: {problem}")]
    Duration {
        /// First byte of the expression.
        start: usize,
        /// First byte after it.
        end: usize,
        /// What is wrong.
        problem: DurationProblem,
    },
    /// More samples than the query may hold.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// More series than the query may read.
    #[error("query processing would load too many series into memory in query execution")]
    TooManySeries,
    /// More bytes of chunks than the query may read.
    #[error("query processing would load too many bytes into memory in query execution")]
    TooManyBytes,
    /// More steps than a range query may have.
    #[error(
        "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
        with_commas(*.0)
    )]
    TooManySteps(u64),
    /// The caller gave up.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The deadline passed.
    #[error("query timed out in expression evaluation")]
    TimedOut,
    /// Two elements of one vector have the same labels.
    #[error("vector cannot contain metrics with the same labelset")]
    DuplicateLabelset,
    /// Two series came to have the same labels in a pipeline, one with floats where the other has histograms. Whoever plans again
    /// with `keeps_relabelled` gets Prometheus' answer.
    #[error("vector cannot contain metrics with the same labelset")]
    KindsMeet,
    /// Several elements of a match group on the side that may have one.
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, \
         {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany {
        /// Labels of the group.
        group: Labels,
        /// `left` or `right`.
        side: &'static str,
        /// One of them.
        first: Labels,
        /// Another.
        second: Labels,
    },
    /// Several elements of the left side meet one of the right in a one-to-one operation.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOneNotExplicit,
    /// Elements of the many side that give the same labels.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    GroupingNotUnique,
    /// `x[5m] anchored` of histograms as the whole query.
    #[error("{modifier} modifier is not supported with histograms")]
    EdgesOfHistograms {
        /// The modifier.
        modifier: &'static str,
    },
    /// `topk(NaN, x)`.
    #[error("Parameter value is NaN")]
    ParameterNan,
    /// `limit_ratio(NaN, x)`.
    #[error("Ratio value is NaN")]
    RatioNan,
    /// `topk(-1e30, x)`.
    #[error("Scalar value {} underflows int64", go_g(*.0))]
    ScalarUnderflow(f64),
    /// `topk(1e30, x)`.
    #[error("Scalar value {} overflows int64", go_g(*.0))]
    ScalarOverflow(f64),
    /// `count_values("", x)`.
    #[error("invalid label name {quoted}")]
    InvalidLabelName {
        /// The name, in quotes.
        quoted: String,
    },
    /// A regular expression in `label_replace` that is none.
    #[error("invalid regular expression in label_replace(): {0}")]
    InvalidRegexp(String),
    /// A label name in `label_replace` or `label_join` that is none.
    #[error("invalid {role} label name in {function}(): {name}")]
    InvalidLabel {
        /// `source` or `destination`.
        role: &'static str,
        /// The function.
        function: &'static str,
        /// The name.
        name: String,
    },
    /// A factor of `double_exponential_smoothing` outside of (0, 1).
    #[error("invalid {name} factor. Expected: 0 < {symbol} < 1, got: {}", go_fixed(*value))]
    InvalidFactor {
        /// `smoothing` or `trend`.
        name: &'static str,
        /// `sf` or `tf`.
        symbol: &'static str,
        /// What was given.
        value: f64,
    },
    /// `deriv(x[5m] smoothed)`
    #[error("{modifier} modifier can only be used with: {functions} - not with {function}")]
    EdgesNotAllowed {
        /// `anchored` or `smoothed`.
        modifier: &'static str,
        /// Those that allow it.
        functions: String,
        /// The one that does not.
        function: &'static str,
    },
    /// Two series tell of the same target with the same name at the same time.
    #[error("found duplicate series for info metric: existing {existing} @ {existing_at}, new {new} @ {new_at}")]
    DuplicateInfo {
        /// One of them.
        existing: Labels,
        /// When its sample was taken.
        existing_at: TimestampMs,
        /// Another.
        new: Labels,
        /// When its sample was taken.
        new_at: TimestampMs,
    },
    /// Two info series give one label different values.
    #[error("conflicting label: {0}")]
    ConflictingInfoLabel(String),
    /// An info series that has histograms.
    #[error("this should be an info metric, with float samples: {0}")]
    InfoHistogram(Labels),
    /// Parsed, and not evaluated by this version.
    #[error("not supported by this version: {}", .0.as_str())]
    Unsupported(Feature),
    /// An expression that the parser does not let through.
    #[error("unexpected expression: {0}")]
    Malformed(&'static str),
    /// A chunk that cannot be decoded.
    #[error("decode chunk of {labels} at {mint}")]
    Corrupt {
        /// The series.
        labels: Labels,
        /// Start of the chunk.
        mint: TimestampMs,
        /// What is wrong with it.
        #[source]
        source: chunkenc::DecodeError,
    },
}

/// `11,000`
fn with_commas(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl QueryError {
    /// Whether Prometheus tells it when the evaluation comes to the expression, though it follows from the text.
    pub(crate) fn is_told_in_turn(&self) -> bool {
        matches!(
            self,
            QueryError::InvalidLabelName { .. }
                | QueryError::InvalidRegexp(_)
                | QueryError::InvalidLabel { .. }
                | QueryError::EdgesNotAllowed { .. }
        )
    }

    /// Whether it says what is wrong with the samples of a part of the query, so that what is wrong with parts before comes first.
    pub(crate) fn is_of_samples(&self) -> bool {
        matches!(
            self,
            QueryError::DuplicateLabelset
                | QueryError::InvalidFactor { .. }
                | QueryError::EdgesOfHistograms { .. }
                | QueryError::InfoHistogram(_)
        )
    }

    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            QueryError::Canceled | QueryError::TimedOut => ErrorClass::Overload,
            QueryError::Corrupt { .. } => ErrorClass::Corrupt,
            _ => ErrorClass::Caller,
        }
    }
}
/// A number with six decimals, as Go's `%f` writes it.
fn go_fixed(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{value:.6}")
}
