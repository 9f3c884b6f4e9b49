//! What a page consists of.

use std::borrow::Cow;

use model::{Exemplar, MetricType, TimestampMs};

use crate::labels::{LabelsError, LabelsScratch};
use crate::scan::Dialect;

/// One entry of a page. Native histograms stand beside the lines: see [`Lines`](crate::Lines).
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    /// A sample of a series.
    Series(Series<'a>),
    /// The type of a family.
    Type {
        /// Name of the family as it stands, without quotes; escapes are left in, as in Prometheus.
        family: &'a [u8],
        /// Type.
        metric_type: MetricType,
    },
    /// What a family means.
    Help {
        /// As in `Type`.
        family: &'a [u8],
        /// The text, escapes resolved.
        text: Cow<'a, str>,
    },
    /// The unit of a family; only in OpenMetrics.
    Unit {
        /// As in `Type`.
        family: &'a [u8],
        /// The unit; may be empty.
        unit: &'a [u8],
    },
    /// Any other line that begins with `#`; only in the text format.
    Comment(&'a [u8]),
}

/// A line with a sample.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) dialect: Dialect,
    pub(crate) metric_type: MetricType,
    /// What the series is at this time.
    pub sample: Sample,
}

impl<'a> Series<'a> {
    /// Name and labels as they stand, blanks before the name included: equal texts are equal series. The reverse does not hold.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The type that the last `TYPE` line before it gave, which decides about `le` and `quantile`.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    /// Writes the labels into `scratch`: escapes resolved, `le` of histograms and `quantile` of summaries normalised.
    pub fn labels(&self, scratch: &mut LabelsScratch) -> Result<(), LabelsError> {
        scratch.read_series(self.text, self.dialect, self.metric_type)
    }
}

/// What a line says besides the series, but for exemplars: [`Parser::exemplar`](crate::Parser::exemplar) has those.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The value; any NaN has the same bits, those of no staleness marker.
    pub value: f64,
    /// When, where it is said.
    pub timestamp: Option<TimestampMs>,
}

/// An exemplar as it stands.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarText<'a> {
    pub(crate) text: &'a [u8],
    /// The value observed.
    pub value: f64,
    /// When, where it is said.
    pub timestamp: Option<TimestampMs>,
}

impl<'a> ExemplarText<'a> {
    /// The labels as they stand, with the closing brace.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Writes the labels into `scratch`. Escapes are left in, as in Prometheus.
    pub fn labels(&self, scratch: &mut LabelsScratch) -> Result<(), LabelsError> {
        scratch.read_exemplar(self.text)
    }

    /// The exemplar as the model has it.
    pub fn to_exemplar(self, scratch: &mut LabelsScratch) -> Result<Exemplar, LabelsError> {
        self.labels(scratch)?;
        Ok(Exemplar { labels: scratch.to_labels()?, value: self.value, timestamp: self.timestamp })
    }
}
