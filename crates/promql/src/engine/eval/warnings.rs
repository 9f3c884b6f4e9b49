//! Warnings and errors that follow from numbers of the query.

use super::{Evaluator, numbers};
use crate::engine::error::QueryError;
use crate::engine::math::{go_max, go_min};
use crate::engine::node::{Scalar, Warning};
use crate::engine::window::Number;

impl Evaluator<'_> {
    #[inline(never)]
    pub(super) fn warn(&mut self, warning: &Warning) -> Result<(), QueryError> {
        match warning {
            Warning::Sort(pos) => self.annotations.sort_in_range_query(*pos),
            Warning::Quantile(q, pos) => {
                let limits = Extremes::of(&self.resolve(q)?);
                if limits.any_nan {
                    self.annotations.invalid_quantile(*pos, f64::NAN);
                }
                if limits.max > 1.0 {
                    self.annotations.invalid_quantile(*pos, limits.max);
                }
                if limits.min < 0.0 {
                    self.annotations.invalid_quantile(*pos, limits.min);
                }
            }
            Warning::Ratio(ratio, pos) => {
                let limits = Extremes::of(&self.resolve(ratio)?);
                if limits.max == 0.0 && limits.min == 0.0 {
                    return Ok(());
                }
                if limits.any_nan {
                    return Err(QueryError::RatioNan);
                }
                if limits.max > 1.0 {
                    self.annotations.invalid_ratio(*pos, limits.max, 1.0);
                }
                if limits.min < -1.0 {
                    self.annotations.invalid_ratio(*pos, limits.min, -1.0);
                }
            }
            Warning::Count(k) => {
                const LIMIT: f64 = 9_223_372_036_854_775_808.0;
                let limits = Extremes::of(&self.resolve(k)?);
                if limits.max < 1.0 {
                    return Ok(());
                }
                if limits.any_nan {
                    return Err(QueryError::ParameterNan);
                }
                if limits.min <= -LIMIT {
                    return Err(QueryError::ScalarUnderflow(limits.min));
                }
                if limits.max >= LIMIT {
                    return Err(QueryError::ScalarOverflow(limits.max));
                }
            }
        }
        Ok(())
    }
}

/// The least and largest of the numbers of all steps.
struct Extremes {
    min: f64,
    max: f64,
    any_nan: bool,
}

impl Extremes {
    fn of(scalar: &Scalar) -> Extremes {
        match numbers(scalar) {
            Number::Const(v) => Extremes { min: v, max: v, any_nan: v.is_nan() },
            Number::Column(column) => Extremes {
                min: column.iter().fold(f64::MAX, |a, b| go_min(a, *b)),
                max: column.iter().fold(-f64::MAX, |a, b| go_max(a, *b)),
                any_nan: column.iter().any(|v| v.is_nan()),
            },
        }
    }
}
