//! Functions of numbers, labels and the calendar.

use model::{Labels, LabelsBuilder, MatchOp};

use super::{Element, Evaluated, Naive, Value, unique, unnamed};
use crate::ast::{AggregateOp, Call, Expr, ExprKind};

#[expect(clippy::cast_precision_loss, reason = "times of a test")]
pub(super) fn secs(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of the whole population.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64
}

/// Between the two values next to the rank; NaN counts as the least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
pub(super) fn quantile(q: f64, values: &[f64]) -> f64 {
    if q.is_nan() || values.is_empty() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (sorted.len() - 1) as f64;
    let (low, weight) = (rank.floor() as usize, rank - rank.floor());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] * (1.0 - weight) + sorted[high] * weight
}

/// An aggregation of the values of a group.
pub(super) fn aggregated(op: AggregateOp, param: f64, values: &[f64]) -> f64 {
    let numbers = || values.iter().copied().filter(|v| !v.is_nan());
    match op {
        // Prometheus begins with a zero that is positive, so that a sum of negative zeros is none.
        AggregateOp::Sum => values.iter().sum::<f64>() + 0.0,
        AggregateOp::Avg => mean(values),
        AggregateOp::Count => values.len() as f64,
        AggregateOp::Group => 1.0,
        AggregateOp::Min => numbers().reduce(f64::min).unwrap_or(f64::NAN),
        AggregateOp::Max => numbers().reduce(f64::max).unwrap_or(f64::NAN),
        AggregateOp::Stddev => variance(values).sqrt(),
        AggregateOp::Stdvar => variance(values),
        AggregateOp::Quantile => quantile(param, values),
        other => unreachable!("{other:?} gives elements"),
    }
}

/// A value as `count_values` writes it.
pub(super) fn written(v: f64) -> String {
    if v.is_nan() {
        "NaN".to_owned()
    } else if v.is_infinite() {
        if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{v}")
    }
}

/// `f` of the function's name, where it is one of one number.
fn math(function: &str, v: f64) -> Option<f64> {
    Some(match function {
        "abs" => v.abs(),
        "ceil" => v.ceil(),
        "floor" => v.floor(),
        "exp" => v.exp(),
        "sqrt" => v.sqrt(),
        "ln" => v.ln(),
        "log2" => v.log2(),
        "log10" => v.log10(),
        "sin" => v.sin(),
        "cos" => v.cos(),
        "tan" => v.tan(),
        "asin" => v.asin(),
        "acos" => v.acos(),
        "atan" => v.atan(),
        "sinh" => v.sinh(),
        "cosh" => v.cosh(),
        "tanh" => v.tanh(),
        "asinh" => v.asinh(),
        "acosh" => v.acosh(),
        "atanh" => v.atanh(),
        "rad" => v * std::f64::consts::PI / 180.0,
        "deg" => v * 180.0 / std::f64::consts::PI,
        "sgn" if v > 0.0 => 1.0,
        "sgn" if v < 0.0 => -1.0,
        "sgn" => v,
        _ => return None,
    })
}

/// Year, month, day, day of the week (0: Sunday), day of the year, days in the month: counted from 1970 on, day by day.
fn calendar(days: i64) -> [i64; 6] {
    let is_leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    // The calendar repeats itself after 400 years.
    let (mut year, mut rest) = (1970 + 400 * days.div_euclid(146_097), days.rem_euclid(146_097));
    let length = |y: i64| if is_leap(y) { 366 } else { 365 };
    while rest >= length(year) {
        rest -= length(year);
        year += 1;
    }
    let (mut month, mut day) = (0, rest);
    let months = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while day >= months[month] {
        day -= months[month];
        month += 1;
    }
    [year, month as i64 + 1, day + 1, (days + 4).rem_euclid(7), rest + 1, months[month]]
}

/// A function of the calendar at `v` seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "times of a test")]
fn time_part(function: &str, v: f64) -> Option<f64> {
    let seconds = v as i64;
    let [year, month, day, weekday, day_of_year, days_in_month] = calendar(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let part = match function {
        "year" => year,
        "month" => month,
        "day_of_month" => day,
        "day_of_week" => weekday,
        "day_of_year" => day_of_year,
        "days_in_month" => days_in_month,
        "hour" => of_day / 3600,
        "minute" => of_day / 60 % 60,
        _ => return None,
    };
    Some(part as f64)
}

fn text(call: &Call, at: usize) -> &str {
    match &call.args[at].kind {
        ExprKind::String(literal) => &literal.text,
        other => panic!("no text: {other:?}"),
    }
}

impl Naive<'_> {
    pub(super) fn call(&self, call: &Call, t: i64) -> Evaluated<Value> {
        if let Some(value) = self.window_function(call, t)? {
            return Ok(value);
        }
        if let Some(number) = self.number_function(call, t)? {
            return Ok(Value::Number(number));
        }
        let number = |at: usize, default: f64| call.args.get(at).map_or(Ok(default), |arg| self.number(arg, t));
        let vector = || match call.args.first() {
            Some(arg) => self.vector(arg, t),
            None => Ok(vec![Element { labels: Labels::empty(), v: secs(t) }]),
        };
        match call.function {
            "vector" => Ok(Value::Vector(vec![Element { labels: Labels::empty(), v: number(0, 0.0)? }])),
            "timestamp" => {
                let mut argument = &call.args[0];
                while let ExprKind::Paren(inner) = &argument.kind {
                    argument = inner;
                }
                if let ExprKind::Vector(selector) = &argument.kind {
                    let moved = self.moved(selector.at, selector.offset.as_ref(), t);
                    // With `@` the offset says which samples are read, and not where is looked.
                    let at = if selector.at.is_some() { self.moved(selector.at, None, t) } else { moved };
                    let was_read = |t: &i64| *t > moved - self.lookback && *t <= moved;
                    let found = self.matching(&selector.matchers).filter_map(|(labels, samples)| {
                        let read: Vec<(i64, f64)> = samples.iter().copied().filter(|(t, _)| was_read(t)).collect();
                        Some(Element { labels: labels.clone(), v: secs(self.newest(&read, at)?.0) })
                    });
                    return unnamed(found.collect(), Some);
                }
                unnamed(vector()?, |_| Some(secs(t)))
            }
            "round" => {
                let inverse = 1.0 / number(1, 1.0)?;
                unnamed(vector()?, |v| Some((v * inverse + 0.5).floor() / inverse))
            }
            "clamp" => clamp(vector()?, number(1, 0.0)?, number(2, 0.0)?),
            "clamp_min" => clamp(vector()?, number(1, 0.0)?, f64::INFINITY),
            "clamp_max" => clamp(vector()?, f64::NEG_INFINITY, number(1, 0.0)?),
            "absent" => {
                let labels = self.absent_labels(&call.args[0]);
                let absent = vector()?.is_empty().then_some(Element { labels, v: 1.0 });
                Ok(Value::Vector(absent.into_iter().collect()))
            }
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => Ok(Value::Vector(vector()?)),
            "label_replace" => label_replace(call, vector()?),
            "label_join" => label_join(call, vector()?),
            "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev" | "histogram_stdvar" => {
                vector()?;
                Ok(Value::Vector(Vec::new()))
            }
            function if math(function, 0.0).is_some() => unnamed(vector()?, |v| math(function, v)),
            function if time_part(function, 0.0).is_some() => unnamed(vector()?, |v| time_part(function, v)),
            other => Err(format!("unknown function {other}")),
        }
    }

    fn number_function(&self, call: &Call, t: i64) -> Evaluated<Option<f64>> {
        let argument = |at: usize| self.number(&call.args[at], t);
        Ok(Some(match call.function {
            "time" => secs(t),
            "pi" => std::f64::consts::PI,
            "start" => secs(self.start),
            "end" => secs(self.end),
            "range" => secs(self.end - self.start),
            "step" if self.start == self.end => 0.0,
            "step" => secs(self.step),
            "max_of" => argument(0)?.max(argument(1)?),
            "min_of" => argument(0)?.min(argument(1)?),
            "scalar" => match self.vector(&call.args[0], t)?.as_slice() {
                [one] => one.v,
                _ => f64::NAN,
            },
            _ => return Ok(None),
        }))
    }

    /// What a selector says of the labels of its series.
    pub(super) fn absent_labels(&self, expr: &Expr) -> Labels {
        let matchers = match &expr.kind {
            ExprKind::Vector(selector) => &selector.matchers,
            ExprKind::Matrix(matrix) => &matrix.selector.matchers,
            ExprKind::Paren(inner) => return self.absent_labels(inner),
            _ => return Labels::empty(),
        };
        let mut builder = LabelsBuilder::default();
        for m in matchers {
            let is_only = matchers.iter().filter(|other| other.name() == m.name()).count() == 1;
            if m.op() == MatchOp::Equal && is_only && m.name() != "__name__" {
                builder.set(m.name(), m.value());
            }
        }
        builder.build()
    }
}

fn clamp(vector: Vec<Element>, min: f64, max: f64) -> Evaluated<Value> {
    if max < min {
        return Ok(Value::Vector(Vec::new()));
    }
    let clamped = |v: f64| {
        // A NaN anywhere is the result, but for a bound that leaves only infinity.
        if min == f64::INFINITY {
            min
        } else if max == f64::NEG_INFINITY && !min.is_nan() {
            max
        } else if v.is_nan() || min.is_nan() || max.is_nan() {
            f64::NAN
        } else {
            v.min(max).max(min)
        }
    };
    unnamed(vector, |v| Some(clamped(v)))
}

/// With the two patterns that the grammar knows: `(.*)`, and a plain text.
fn label_replace(call: &Call, vector: Vec<Element>) -> Evaluated<Value> {
    let (dst, replacement, src, pattern) = (text(call, 1), text(call, 2), text(call, 3), text(call, 4));
    let replaced = |e: Element| {
        let value = e.labels.get(src).unwrap_or("");
        if pattern != "(.*)" && pattern != value {
            return e;
        }
        let group = if pattern == "(.*)" { value } else { "" };
        let mut builder = LabelsBuilder::from_labels(&e.labels);
        builder.set(dst, &replacement.replace("$1", group));
        Element { labels: builder.build(), ..e }
    };
    unique(vector.into_iter().map(replaced).collect())
}

fn label_join(call: &Call, vector: Vec<Element>) -> Evaluated<Value> {
    let joined = |e: Element| {
        let values: Vec<&str> = (3..call.args.len()).map(|at| e.labels.get(text(call, at)).unwrap_or("")).collect();
        let mut builder = LabelsBuilder::from_labels(&e.labels);
        builder.set(text(call, 1), &values.join(text(call, 2)));
        Element { labels: builder.build(), ..e }
    };
    unique(vector.into_iter().map(joined).collect())
}
