//! The functions of windows by name.

/// Functions of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowFn {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Sum,
    Avg,
    Count,
    Min,
    Max,
    TsOfMin,
    TsOfMax,
    First,
    Last,
    TsOfFirst,
    TsOfLast,
    Present,
    Stddev,
    Stdvar,
    Mad,
    Quantile,
    Changes,
    Resets,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
}

impl WindowFn {
    pub(crate) fn of_name(name: &str) -> Option<WindowFn> {
        Some(match name {
            "rate" => WindowFn::Rate,
            "increase" => WindowFn::Increase,
            "delta" => WindowFn::Delta,
            "irate" => WindowFn::Irate,
            "idelta" => WindowFn::Idelta,
            "sum_over_time" => WindowFn::Sum,
            "avg_over_time" => WindowFn::Avg,
            "count_over_time" => WindowFn::Count,
            "min_over_time" => WindowFn::Min,
            "max_over_time" => WindowFn::Max,
            "ts_of_min_over_time" => WindowFn::TsOfMin,
            "ts_of_max_over_time" => WindowFn::TsOfMax,
            "first_over_time" => WindowFn::First,
            "last_over_time" => WindowFn::Last,
            "ts_of_first_over_time" => WindowFn::TsOfFirst,
            "ts_of_last_over_time" => WindowFn::TsOfLast,
            "present_over_time" | "absent_over_time" => WindowFn::Present,
            "stddev_over_time" => WindowFn::Stddev,
            "stdvar_over_time" => WindowFn::Stdvar,
            "mad_over_time" => WindowFn::Mad,
            "quantile_over_time" => WindowFn::Quantile,
            "changes" => WindowFn::Changes,
            "resets" => WindowFn::Resets,
            "deriv" => WindowFn::Deriv,
            "predict_linear" => WindowFn::PredictLinear,
            "double_exponential_smoothing" => WindowFn::DoubleExponentialSmoothing,
            _ => return None,
        })
    }

    /// Whether the result is still the metric itself.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, WindowFn::First | WindowFn::Last)
    }

    /// How many numbers it is given besides the window.
    pub(crate) fn number_count(self) -> usize {
        match self {
            WindowFn::Quantile | WindowFn::PredictLinear => 1,
            WindowFn::DoubleExponentialSmoothing => 2,
            _ => 0,
        }
    }

    /// Whether the metric should be a counter by its name.
    pub(crate) fn wants_counter(self) -> bool {
        matches!(self, WindowFn::Rate | WindowFn::Increase)
    }
}
