//! What there is to say about native histograms.

use super::{Annotations, for_metric};
use crate::ast::Pos;
use crate::engine::format::go_quote;

/// What was done to histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            HistogramOperation::Addition => "addition",
            HistogramOperation::Subtraction => "subtraction",
            HistogramOperation::Aggregation => "aggregation",
        }
    }
}

impl Annotations {
    /// A range with floats and histograms, where there may be one kind.
    pub(crate) fn mixed_range(&mut self, pos: Pos, name: &str) {
        let name = go_quote(name);
        self.warning(pos, format!("encountered a mix of histograms and floats for metric name {name}"));
    }

    /// A group with floats and histograms.
    pub(crate) fn mixed_group(&mut self, pos: Pos) {
        self.warning(pos, "encountered a mix of histograms and floats for aggregation".to_owned());
    }

    /// A classic and a native histogram of the same labels.
    pub(crate) fn mixed_classic_native(&mut self, pos: Pos, name: &str) {
        self.warning(pos, for_metric("vector contains a mix of classic and native histograms".to_owned(), name));
    }

    /// Exponential and custom buckets, where there may be one kind.
    pub(crate) fn mixed_schemas(&mut self, pos: Pos, name: &str) {
        let name = go_quote(name);
        self.warning(
            pos,
            format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name}"
            ),
        );
    }

    /// `rate` of gauge histograms.
    pub(crate) fn histogram_not_counter(&mut self, pos: Pos, name: &str) {
        self.warning(pos, format!("this native histogram metric is not a counter: {}", go_quote(name)));
    }

    /// `delta` of counter histograms.
    pub(crate) fn histogram_not_gauge(&mut self, pos: Pos, name: &str) {
        self.warning(pos, format!("this native histogram metric is not a gauge: {}", go_quote(name)));
    }

    /// An operator between histograms with exponential and custom buckets.
    pub(crate) fn incompatible_layout(&mut self, pos: Pos, operator: &str) {
        self.warning(pos, format!("incompatible bucket layout encountered for binary operator {operator}"));
    }

    /// Hints that say the opposite.
    pub(crate) fn resets_collide(&mut self, pos: Pos, operation: HistogramOperation) {
        self.warning(pos, format!("conflicting counter resets during histogram {}", operation.as_str()));
    }

    /// Custom bounds that differed.
    pub(crate) fn bounds_reconciled(&mut self, pos: Pos, operation: HistogramOperation) {
        self.info(pos, format!("mismatched custom buckets were reconciled during {}", operation.as_str()));
    }

    /// An operator that such operands do not have.
    pub(crate) fn incompatible_types(&mut self, pos: Pos, lhs: &str, operator: &str, rhs: &str) {
        let quoted = go_quote(operator);
        self.info(
            pos,
            format!("incompatible sample types encountered for binary operator {quoted}: {lhs} {operator} {rhs}"),
        );
    }

    /// Histograms in an aggregation of floats.
    pub(crate) fn ignored_in_aggregation(&mut self, pos: Pos, aggregation: &str) {
        self.info(pos, format!("ignored histogram in {aggregation} aggregation"));
    }

    /// Histograms in a range of which only floats count.
    pub(crate) fn ignored_in_range(&mut self, pos: Pos, name: &str) {
        let name = go_quote(name);
        self.info(
            pos,
            format!("ignored histograms in a range containing both floats and histograms for metric name {name}"),
        );
    }

    /// A quantile that lies among NaNs.
    pub(crate) fn quantile_is_nan(&mut self, pos: Pos, name: &str) {
        let text = "input to histogram_quantile has NaN observations, result is NaN";
        self.info(pos, for_metric(text.to_owned(), name));
    }

    /// A quantile that is too high, as NaNs count as the highest.
    pub(crate) fn quantile_is_skewed(&mut self, pos: Pos, name: &str) {
        let text = "input to histogram_quantile has NaN observations, result is skewed higher";
        self.info(pos, for_metric(text.to_owned(), name));
    }

    /// A fraction of observations some of which are NaN.
    pub(crate) fn fraction_without_nans(&mut self, pos: Pos, name: &str) {
        let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        self.info(pos, for_metric(text.to_owned(), name));
    }
}
