//! Functions and operators of single values.

pub(crate) use model::kahan;

use super::column::{ABSENT, NORMAL_NAN, is_absent};
use super::go_math;
use crate::ast::BinaryOp;

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MathFn {
    Abs,
    Ceil,
    Floor,
    Exp,
    Sqrt,
    Ln,
    Log2,
    Log10,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Rad,
    Deg,
    Sgn,
}

impl MathFn {
    pub(crate) fn of_name(name: &str) -> Option<MathFn> {
        Some(match name {
            "abs" => MathFn::Abs,
            "ceil" => MathFn::Ceil,
            "floor" => MathFn::Floor,
            "exp" => MathFn::Exp,
            "sqrt" => MathFn::Sqrt,
            "ln" => MathFn::Ln,
            "log2" => MathFn::Log2,
            "log10" => MathFn::Log10,
            "sin" => MathFn::Sin,
            "cos" => MathFn::Cos,
            "tan" => MathFn::Tan,
            "asin" => MathFn::Asin,
            "acos" => MathFn::Acos,
            "atan" => MathFn::Atan,
            "sinh" => MathFn::Sinh,
            "cosh" => MathFn::Cosh,
            "tanh" => MathFn::Tanh,
            "asinh" => MathFn::Asinh,
            "acosh" => MathFn::Acosh,
            "atanh" => MathFn::Atanh,
            "rad" => MathFn::Rad,
            "deg" => MathFn::Deg,
            "sgn" => MathFn::Sgn,
            _ => return None,
        })
    }

    /// Applies it to every value of a column.
    pub(crate) fn apply(self, column: &mut [f64]) {
        match self {
            MathFn::Abs => map(column, f64::abs),
            MathFn::Ceil => map(column, f64::ceil),
            MathFn::Floor => map(column, f64::floor),
            MathFn::Exp => map(column, go_math::exp),
            MathFn::Sqrt => map(column, f64::sqrt),
            MathFn::Ln => map(column, go_math::ln),
            MathFn::Log2 => map(column, go_math::log2),
            MathFn::Log10 => map(column, go_math::log10),
            MathFn::Sin => map(column, go_math::sin),
            MathFn::Cos => map(column, go_math::cos),
            MathFn::Tan => map(column, go_math::tan),
            MathFn::Asin => map(column, go_math::asin),
            MathFn::Acos => map(column, go_math::acos),
            MathFn::Atan => map(column, go_math::atan),
            MathFn::Sinh => map(column, go_math::sinh),
            MathFn::Cosh => map(column, go_math::cosh),
            MathFn::Tanh => map(column, go_math::tanh),
            MathFn::Asinh => map(column, go_math::asinh),
            MathFn::Acosh => map(column, go_math::acosh),
            MathFn::Atanh => map(column, go_math::atanh),
            MathFn::Rad => map(column, |v| v * std::f64::consts::PI / 180.0),
            MathFn::Deg => map(column, |v| v * 180.0 / std::f64::consts::PI),
            MathFn::Sgn => map(column, |v| {
                if v < 0.0 {
                    -1.0
                } else if v > 0.0 {
                    1.0
                } else {
                    v
                }
            }),
        }
    }
}

/// Applies `f` to every value of a column.
#[inline(always)]
pub(crate) fn map(column: &mut [f64], f: impl Fn(f64) -> f64) {
    for v in column {
        *v = if is_absent(*v) { ABSENT } else { f(*v) };
    }
}

/// Go's `math.Max`: an infinity wins over NaN, NaN over the rest, 0 over -0.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        NORMAL_NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// Go's `math.Min`.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        NORMAL_NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// `round(v, to_nearest)`, given `1 / to_nearest`, which causes fewer surprises than dividing.
pub(crate) fn round(v: f64, inverse: f64) -> f64 {
    (v * inverse + 0.5).floor() / inverse
}

/// Whether an operator compares.
pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eql | BinaryOp::Neq | BinaryOp::Lte | BinaryOp::Lss | BinaryOp::Gte | BinaryOp::Gtr)
}

/// Whether an operator is `and`, `or`, `unless`.
pub(crate) fn is_set(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
}

/// Whether an operator cuts native histograms.
pub(crate) fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
}

/// Whether the result of an operator means something else than its operands, so that the metric's name goes.
pub(crate) fn is_arithmetic(op: BinaryOp) -> bool {
    !is_comparison(op) && !is_set(op) && !is_trim(op)
}

fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eql => a == b,
        BinaryOp::Neq => a != b,
        BinaryOp::Lte => a <= b,
        BinaryOp::Lss => a < b,
        BinaryOp::Gte => a >= b,
        BinaryOp::Gtr => a > b,
        _ => false,
    }
}

/// An operator between numbers; comparisons give 0 or 1.
pub(crate) fn scalar_binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => go_math::pow(a, b),
        BinaryOp::Atan2 => go_math::atan2(a, b),
        _ => f64::from(u8::from(compare(op, a, b))),
    }
}

/// What becomes of two values that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The value of the operation.
    Result,
    /// 1 or 0.
    Bool,
    /// The left operand, where the comparison holds.
    Left,
    /// The right operand, where the comparison holds.
    Right,
}

/// An operator between two columns, element by element, into `out`, which may be longer than needed by nobody: all three have
/// one length. Where an operand is absent so is the result.
pub(crate) fn binary_columns(op: BinaryOp, keep: Keep, a: &[f64], b: &[f64], out: &mut [f64]) {
    debug_assert!(a.len() == b.len() && b.len() == out.len());
    macro_rules! zip {
        ($f:expr) => {
            for ((o, &x), &y) in out.iter_mut().zip(a).zip(b) {
                let v: f64 = $f(x, y);
                *o = if is_absent(x) || is_absent(y) { ABSENT } else { v };
            }
        };
    }
    macro_rules! comparison {
        ($cmp:expr) => {
            match keep {
                Keep::Bool | Keep::Result => zip!(|x: f64, y: f64| f64::from(u8::from($cmp(x, y)))),
                Keep::Left => zip!(|x: f64, y: f64| if $cmp(x, y) { x } else { ABSENT }),
                Keep::Right => zip!(|x: f64, y: f64| if $cmp(x, y) { y } else { ABSENT }),
            }
        };
    }
    match op {
        BinaryOp::Add => zip!(|x, y| x + y),
        BinaryOp::Sub => zip!(|x, y| x - y),
        BinaryOp::Mul => zip!(|x, y| x * y),
        BinaryOp::Div => zip!(|x, y| x / y),
        BinaryOp::Mod => zip!(|x: f64, y: f64| x % y),
        BinaryOp::Pow => zip!(go_math::pow),
        BinaryOp::Atan2 => zip!(go_math::atan2),
        BinaryOp::Eql => comparison!(|x, y| x == y),
        BinaryOp::Neq => comparison!(|x, y| x != y),
        BinaryOp::Lte => comparison!(|x, y| x <= y),
        BinaryOp::Lss => comparison!(|x, y| x < y),
        BinaryOp::Gte => comparison!(|x, y| x >= y),
        BinaryOp::Gtr => comparison!(|x, y| x > y),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => {
            out.fill(ABSENT);
        }
    }
}

/// The `q` quantile of values in any order, which are reordered. NaN counts as the least value.
/// Source: Prometheus `quantile` of `promql/quantile.go`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "q is in [0, 1], so ranks are indexes")]
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return NORMAL_NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let order = |a: &f64, b: &f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).expect("neither is NaN"),
    };
    let last = values.len() - 1;
    let rank = q * super::column::float(last);
    let lower = rank.floor();
    let weight = rank - lower;
    let at = lower as usize;
    let (_, low, rest) = values.select_nth_unstable_by(at.min(last), order);
    let low = *low;
    let high = rest.iter().copied().min_by(order).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_take_nan_for_the_least() {
        let nan = f64::NAN;
        for (q, values, expected) in [
            (0.0, vec![3.0, 1.0, 2.0], 1.0),
            (1.0, vec![3.0, 1.0, 2.0], 3.0),
            (0.75, vec![3.0, 1.0, 2.0], 2.5),
            (0.5, vec![nan, 1.0, 2.0], 1.0),
            (-1.0, vec![1.0], f64::NEG_INFINITY),
            (2.0, vec![1.0], f64::INFINITY),
            (0.3, vec![7.0], 7.0),
        ] {
            assert_eq!(quantile(q, &mut values.clone()), expected, "{q} of {values:?}");
        }
        assert!(quantile(nan, &mut [1.0]).is_nan());
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn absent_values_stay_absent_and_arithmetic_makes_none() {
        let a = [1.0, ABSENT, f64::NAN, 4.0];
        let b = [2.0, 2.0, 2.0, ABSENT];
        let mut out = [0.0; 4];
        for op in [BinaryOp::Add, BinaryOp::Pow, BinaryOp::Mod, BinaryOp::Neq] {
            binary_columns(op, Keep::Result, &a, &b, &mut out);
            assert_eq!(out.map(is_absent), [false, true, false, true], "{op:?}");
        }
        binary_columns(BinaryOp::Lss, Keep::Right, &a, &b, &mut out);
        assert_eq!(out[0], 2.0);
        assert_eq!(out.map(is_absent), [false, true, true, true]);
    }

    #[test]
    fn sums_keep_what_plain_addition_loses() {
        let (mut sum, mut c) = (0.0, 0.0);
        for v in [1.0, 1e100, 1.0, -1e100] {
            (sum, c) = kahan(v, sum, c);
        }
        assert_eq!(sum + c, 2.0);
    }
}
