//! The functions of PromQL: names, types of their arguments and results. What they compute is in the engine.
//!
//! Source: Prometheus `promql/parser/functions.go` at v3.14.0.

use crate::ast::ValueType;

/// Whether the last argument in the list may be left out or repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Neither.
    No,
    /// It may be left out, or be there up to so many times.
    UpTo(u8),
    /// It may be left out, or be there any number of times.
    Many,
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Types of its arguments.
    pub args: &'static [ValueType],
    /// What may be done with the last of them.
    pub variadic: Variadic,
    /// Type of its result.
    pub returns: ValueType,
    /// Whether the flag `promql-experimental-functions` must be on.
    pub experimental: bool,
}

impl Function {
    /// Fewest and most arguments; `None` is no bound.
    pub fn arg_counts(&self) -> (usize, Option<usize>) {
        let n = self.args.len();
        match self.variadic {
            Variadic::No => (n, Some(n)),
            Variadic::UpTo(more) => (n - 1, Some(n - 1 + usize::from(more))),
            Variadic::Many => (n - 1, None),
        }
    }

    /// As Prometheus writes it in the tree of an expression: 0, the number, -1.
    pub(crate) fn variadic_number(&self) -> i64 {
        match self.variadic {
            Variadic::No => 0,
            Variadic::UpTo(n) => i64::from(n),
            Variadic::Many => -1,
        }
    }
}

/// The function of that name; names are lower case.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;
const S: ValueType = ValueType::Scalar;
const T: ValueType = ValueType::String;

const fn stable(name: &'static str, args: &'static [ValueType], variadic: Variadic, returns: ValueType) -> Function {
    Function { name, args, variadic, returns, experimental: false }
}

const fn experimental(
    name: &'static str,
    args: &'static [ValueType],
    variadic: Variadic,
    returns: ValueType,
) -> Function {
    Function { name, args, variadic, returns, experimental: true }
}

/// All functions, sorted by name.
pub static FUNCTIONS: [Function; 90] = [
    stable("abs", &[V], Variadic::No, V),
    stable("absent", &[V], Variadic::No, V),
    stable("absent_over_time", &[M], Variadic::No, V),
    stable("acos", &[V], Variadic::No, V),
    stable("acosh", &[V], Variadic::No, V),
    stable("asin", &[V], Variadic::No, V),
    stable("asinh", &[V], Variadic::No, V),
    stable("atan", &[V], Variadic::No, V),
    stable("atanh", &[V], Variadic::No, V),
    stable("avg_over_time", &[M], Variadic::No, V),
    stable("ceil", &[V], Variadic::No, V),
    stable("changes", &[M], Variadic::No, V),
    stable("clamp", &[V, S, S], Variadic::No, V),
    stable("clamp_max", &[V, S], Variadic::No, V),
    stable("clamp_min", &[V, S], Variadic::No, V),
    stable("cos", &[V], Variadic::No, V),
    stable("cosh", &[V], Variadic::No, V),
    stable("count_over_time", &[M], Variadic::No, V),
    stable("day_of_month", &[V], Variadic::UpTo(1), V),
    stable("day_of_week", &[V], Variadic::UpTo(1), V),
    stable("day_of_year", &[V], Variadic::UpTo(1), V),
    stable("days_in_month", &[V], Variadic::UpTo(1), V),
    stable("deg", &[V], Variadic::No, V),
    stable("delta", &[M], Variadic::No, V),
    stable("deriv", &[M], Variadic::No, V),
    experimental("double_exponential_smoothing", &[M, S, S], Variadic::No, V),
    experimental("end", &[], Variadic::No, S),
    stable("exp", &[V], Variadic::No, V),
    stable("first_over_time", &[M], Variadic::No, V),
    stable("floor", &[V], Variadic::No, V),
    stable("histogram_avg", &[V], Variadic::No, V),
    stable("histogram_count", &[V], Variadic::No, V),
    stable("histogram_fraction", &[S, S, V], Variadic::No, V),
    stable("histogram_quantile", &[S, V], Variadic::No, V),
    experimental("histogram_quantiles", &[V, T, S, S], Variadic::UpTo(9), V),
    stable("histogram_stddev", &[V], Variadic::No, V),
    stable("histogram_stdvar", &[V], Variadic::No, V),
    stable("histogram_sum", &[V], Variadic::No, V),
    stable("hour", &[V], Variadic::UpTo(1), V),
    stable("idelta", &[M], Variadic::No, V),
    stable("increase", &[M], Variadic::No, V),
    experimental("info", &[V, V], Variadic::UpTo(1), V),
    stable("irate", &[M], Variadic::No, V),
    stable("label_join", &[V, T, T, T], Variadic::Many, V),
    stable("label_replace", &[V, T, T, T, T], Variadic::No, V),
    stable("last_over_time", &[M], Variadic::No, V),
    stable("ln", &[V], Variadic::No, V),
    stable("log10", &[V], Variadic::No, V),
    stable("log2", &[V], Variadic::No, V),
    experimental("mad_over_time", &[M], Variadic::No, V),
    experimental("max_of", &[S, S], Variadic::No, S),
    stable("max_over_time", &[M], Variadic::No, V),
    experimental("min_of", &[S, S], Variadic::No, S),
    stable("min_over_time", &[M], Variadic::No, V),
    stable("minute", &[V], Variadic::UpTo(1), V),
    stable("month", &[V], Variadic::UpTo(1), V),
    stable("pi", &[], Variadic::No, S),
    stable("predict_linear", &[M, S], Variadic::No, V),
    stable("present_over_time", &[M], Variadic::No, V),
    stable("quantile_over_time", &[S, M], Variadic::No, V),
    stable("rad", &[V], Variadic::No, V),
    experimental("range", &[], Variadic::No, S),
    stable("rate", &[M], Variadic::No, V),
    stable("resets", &[M], Variadic::No, V),
    stable("round", &[V, S], Variadic::UpTo(1), V),
    stable("scalar", &[V], Variadic::No, S),
    stable("sgn", &[V], Variadic::No, V),
    stable("sin", &[V], Variadic::No, V),
    stable("sinh", &[V], Variadic::No, V),
    stable("sort", &[V], Variadic::No, V),
    experimental("sort_by_label", &[V, T], Variadic::Many, V),
    experimental("sort_by_label_desc", &[V, T], Variadic::Many, V),
    stable("sort_desc", &[V], Variadic::No, V),
    stable("sqrt", &[V], Variadic::No, V),
    experimental("start", &[], Variadic::No, S),
    experimental("start_timestamp", &[V], Variadic::No, V),
    stable("stddev_over_time", &[M], Variadic::No, V),
    stable("stdvar_over_time", &[M], Variadic::No, V),
    experimental("step", &[], Variadic::No, S),
    stable("sum_over_time", &[M], Variadic::No, V),
    stable("tan", &[V], Variadic::No, V),
    stable("tanh", &[V], Variadic::No, V),
    stable("time", &[], Variadic::No, S),
    stable("timestamp", &[V], Variadic::No, V),
    experimental("ts_of_first_over_time", &[M], Variadic::No, V),
    experimental("ts_of_last_over_time", &[M], Variadic::No, V),
    experimental("ts_of_max_over_time", &[M], Variadic::No, V),
    experimental("ts_of_min_over_time", &[M], Variadic::No, V),
    stable("vector", &[S], Variadic::No, V),
    stable("year", &[V], Variadic::UpTo(1), V),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(FUNCTIONS.is_sorted_by_key(|f| f.name));
        assert_eq!(FUNCTIONS.len(), 90);
        assert_eq!(FUNCTIONS.iter().filter(|f| f.experimental).count(), 17);
        assert_eq!(function("rate").unwrap().arg_counts(), (1, Some(1)));
        assert_eq!(function("round").unwrap().arg_counts(), (1, Some(2)));
        assert_eq!(function("label_join").unwrap().arg_counts(), (3, None));
        assert_eq!(function("histogram_quantiles").unwrap().arg_counts(), (3, Some(12)));
        assert!(function("Rate").is_none());
    }
}
