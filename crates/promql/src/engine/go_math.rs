//! Elementary functions to the last bit of Go's `math` on amd64 with FMA, which is what Prometheus answers with: a last digit that
//! differs is seen where `count_values` makes a label of it, or where `%` or a difference leaves nothing else.
//!
//! Source of the methods and their coefficients: Cephes (Moshier) for trigonometric and hyperbolic functions, FreeBSD's msun for
//! logarithms and `exp2`, and the Taylor series of Go's `exp_amd64.s`.

#![expect(clippy::excessive_precision, reason = "coefficients are written as they were published")]

mod trig;

use std::f64::consts::{LN_2, LOG2_E, LOG10_E};

pub(crate) use trig::{acos, asin, atan, atan2, cos, sin, tan};

const LN2_HI: f64 = 6.931_471_803_691_238_164_90e-1;
const LN2_LO: f64 = 1.908_214_929_270_587_700_02e-10;
/// Of the series of the logarithm, from the last.
const LOG: [f64; 7] = [
    1.479_819_860_511_658_591e-1,
    1.531_383_769_920_937_332e-1,
    1.818_357_216_161_805_012e-1,
    2.222_219_843_214_978_396e-1,
    2.857_142_874_366_239_149e-1,
    3.999_999_999_940_941_908e-1,
    6.666_666_666_666_735_130e-1,
];

/// A polynomial, its highest coefficient first.
fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// A fraction in [0.5, 1) and the power of two it is multiplied by. Of a finite number that is not zero.
fn split(x: f64) -> (f64, i32) {
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    let (x, extra) = if x.abs() < f64::MIN_POSITIVE { (x * TWO_52, -52) } else { (x, 0) };
    let bits = x.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).expect("11 bits");
    (f64::from_bits((bits & !(0x7ff << 52)) | (0x3fe << 52)), exponent - 1022 + extra)
}

/// `fraction * 2^exponent`, rounded once.
fn scale(fraction: f64, exponent: i64) -> f64 {
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let (fraction, own) = split(fraction);
    let exponent = exponent + i64::from(own) - 1;
    // The fraction is in [1, 2) from here.
    let fraction = fraction * 2.0;
    let power = |e: i64| f64::from_bits(u64::try_from(e + 1023).expect("within the range of exponents") << 52);
    match exponent {
        ..-1075 => 0.0_f64.copysign(fraction),
        -1075..-1022 => fraction * power(exponent + 53) * (0.5 / 4_503_599_627_370_496.0),
        -1022..=1023 => fraction * power(exponent),
        _ => f64::INFINITY.copysign(fraction),
    }
}

pub(crate) fn exp(x: f64) -> f64 {
    const LN2_UPPER: f64 = 0.693_147_180_559_662_956_511_601_805_686_950_683_593_75;
    const LN2_LOWER: f64 = 0.282_352_905_630_315_771_225_884_481_750_134_360_255_254_120_68e-12;
    // 1/8!, 1/7!, … 1/0! but for 1/1!.
    const SERIES: [f64; 8] = [
        2.480_158_730_158_730_158_7e-5,
        1.984_126_984_126_984_127_0e-4,
        1.388_888_888_888_888_888_9e-3,
        8.333_333_333_333_333_333_3e-3,
        4.166_666_666_666_666_666_7e-2,
        1.666_666_666_666_666_666_7e-1,
        0.5,
        1.0,
    ];
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x == f64::NEG_INFINITY {
        return 0.0;
    }
    if x > 7.097_827_128_933_84e2 {
        return f64::INFINITY;
    }
    let k = (LOG2_E * x).round_ties_even();
    if k < -1100.0 {
        return 0.0;
    }
    let reduced = (-LN2_LOWER).mul_add(k, (-LN2_UPPER).mul_add(k, x)) * 0.0625;
    let series = SERIES[1..].iter().fold(SERIES[0], |sum, c| sum.mul_add(reduced, *c));
    // exp(r) - 1 of a sixteenth, squared four times.
    let mut y = reduced * series;
    for _ in 0..3 {
        y *= y + 2.0;
    }
    let y = y.mul_add(y + 2.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "between -1100 and 1024")]
    let exponent = k as i64 + 0x3ff;
    let power = |biased: i64| f64::from_bits(u64::try_from(biased).expect("a biased exponent") << 52);
    match exponent {
        0x7ff.. => f64::INFINITY,
        1.. => y * power(exponent),
        -52.. => y * power(exponent + 0x3fe) * power(1),
        _ => 0.0,
    }
}

pub(crate) fn exp2(x: f64) -> f64 {
    const P: [f64; 5] = [
        4.138_136_797_057_238_460_39e-8,
        -1.653_390_220_546_525_153_90e-6,
        6.613_756_321_437_934_361_17e-5,
        -2.777_777_777_701_559_338_42e-3,
        1.666_666_666_666_666_574_15e-1,
    ];
    if x.is_nan() {
        return x;
    }
    if x > 1.023_999_999_999_999_9e3 {
        return f64::INFINITY;
    }
    if x < -1.0740e3 {
        return 0.0;
    }
    let k = if x > 0.0 { (x + 0.5).trunc() } else { (x - 0.5).trunc() };
    let t = x - k;
    let (hi, lo) = (t * LN2_HI, -t * LN2_LO);
    let r = hi - lo;
    let square = r * r;
    let c = r - square * polynomial(square, &P);
    let y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    #[expect(clippy::cast_possible_truncation, reason = "between -1075 and 1024")]
    let k = k as i64;
    scale(y, k)
}

pub(crate) fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        return super::column::NORMAL_NAN;
    }
    // The bits alone, also of numbers below the normal ones, as the machine code does.
    let bits = x.to_bits();
    let mut fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (0x3fe << 52));
    let mut k = f64::from(i32::try_from((bits >> 52) & 0x7ff).expect("11 bits") - 0x3fe);
    if fraction <= std::f64::consts::FRAC_1_SQRT_2 {
        k -= 1.0;
        fraction *= 2.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * polynomial(s4, &[LOG[0], LOG[2], LOG[4], LOG[6]]);
    let even = s4 * polynomial(s4, &[LOG[1], LOG[3], LOG[5]]);
    let rest = odd + even;
    let half = 0.5 * f * f;
    k * LN2_HI - ((half - (s * (half + rest) + k * LN2_LO)) - f)
}

pub(crate) fn log10(x: f64) -> f64 {
    ln(x) * LOG10_E
}

pub(crate) fn log2(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return ln(x);
    }
    let (fraction, exponent) = split(x);
    // A power of two gives a whole number.
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    ln(fraction) * LOG2_E + f64::from(exponent)
}

/// `ln(1 + x)`
fn ln_1p(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    if x < -1.0 || x.is_nan() {
        return super::column::NORMAL_NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let size = x.abs();
    if size < 1.0 / (1u64 << 54) as f64 {
        return x;
    }
    if size < 1.0 / (1u64 << 29) as f64 {
        return x - x * x * 0.5;
    }
    let (mut k, mut f, mut c, mut mantissa) = (0.0, x, 0.0, 1);
    if !(size < 4.142_135_623_730_950_488_017e-1 && x > -2.928_932_188_134_524_755_992e-1) {
        let is_huge = size >= (1u64 << 53) as f64;
        let u = if is_huge { x } else { 1.0 + x };
        let bits = u.to_bits();
        let mut exponent = i32::try_from(bits >> 52).expect("positive, so 11 bits") - 1023;
        if !is_huge {
            c = if exponent > 0 { 1.0 - (u - x) } else { x - (u - 1.0) };
            c /= u;
        }
        mantissa = bits & MANTISSA;
        let normal = if mantissa < 0x0006_a09e_667f_3bcd {
            f64::from_bits(mantissa | 0x3ff0_0000_0000_0000)
        } else {
            exponent += 1;
            let half = f64::from_bits(mantissa | 0x3fe0_0000_0000_0000);
            mantissa = (0x0010_0000_0000_0000 - mantissa) >> 2;
            half
        };
        k = f64::from(exponent);
        f = normal - 1.0;
    }
    let half = 0.5 * f * f;
    if mantissa == 0 {
        if f == 0.0 {
            return if k == 0.0 { 0.0 } else { k * LN2_HI + (c + k * LN2_LO) };
        }
        let rest = half * (1.0 - 0.666_666_666_666_666_66 * f);
        return if k == 0.0 { f - rest } else { k * LN2_HI - ((rest - (k * LN2_LO + c)) - f) };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let rest = z * polynomial(z, &LOG);
    if k == 0.0 {
        return f - (half - s * (half + rest));
    }
    k * LN2_HI - ((half - (s * (half + rest) + (k * LN2_LO + c))) - f)
}

/// `f` of the size, with the sign of `x`.
fn odd(x: f64, f: impl Fn(f64) -> f64) -> f64 {
    if x < 0.0 { -f(-x) } else { f(x) }
}

pub(crate) fn sinh(x: f64) -> f64 {
    const P: [f64; 4] = [
        -0.263_056_321_339_749_706_281_948_9e2,
        -0.289_421_135_598_956_380_728_466_036_6e4,
        -0.899_127_202_203_950_935_539_801_351_1e5,
        -0.630_767_364_049_771_699_118_478_725_1e6,
    ];
    const Q: [f64; 4] = [
        1.0,
        -0.173_678_953_558_233_699_533_450_911e3,
        0.152_151_737_879_001_907_069_648_517_6e5,
        -0.630_767_364_049_771_699_121_207_727_7e6,
    ];
    odd(x, |x| {
        if x > 21.0 {
            return exp(x) * 0.5;
        }
        if x > 0.5 {
            let e = exp(x);
            return (e - 1.0 / e) * 0.5;
        }
        let square = x * x;
        polynomial(square, &P) * x / polynomial(square, &Q)
    })
}

pub(crate) fn cosh(x: f64) -> f64 {
    let e = exp(x.abs());
    if x.abs() > 21.0 { e * 0.5 } else { (e + 1.0 / e) * 0.5 }
}

pub(crate) fn tanh(x: f64) -> f64 {
    const P: [f64; 3] =
        [-9.643_991_794_250_522_386_28e-1, -9.928_772_310_019_185_865_64e1, -1.614_687_684_417_084_479_52e3];
    const Q: [f64; 4] =
        [1.0, 1.128_116_784_916_329_314_02e2, 2.235_488_390_601_004_485_83e3, 4.844_063_053_251_254_860_48e3];
    let size = x.abs();
    if size > 0.5 * 8.802_969_193_111_305_429_598_8e1 {
        return 1.0_f64.copysign(x);
    }
    if size >= 0.625 {
        return odd(x, |x| 1.0 - 2.0 / (exp(2.0 * x) + 1.0));
    }
    if x == 0.0 {
        return x;
    }
    let square = x * x;
    x + x * square * polynomial(square, &P) / polynomial(square, &Q)
}

pub(crate) fn asinh(x: f64) -> f64 {
    const LARGE: f64 = 268_435_456.0;
    if !x.is_finite() {
        return x;
    }
    odd(x, |x| {
        if x > LARGE {
            ln(x) + LN_2
        } else if x > 2.0 {
            ln(2.0 * x + 1.0 / ((x * x + 1.0).sqrt() + x))
        } else if x < 1.0 / LARGE {
            x
        } else {
            ln_1p(x + x * x / (1.0 + (1.0 + x * x).sqrt()))
        }
    })
}

pub(crate) fn acosh(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() {
        return super::column::NORMAL_NAN;
    }
    if x == 1.0 {
        return 0.0;
    }
    if x >= 268_435_456.0 {
        return ln(x) + LN_2;
    }
    if x > 2.0 {
        return ln(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt()));
    }
    let t = x - 1.0;
    ln_1p(t + (2.0 * t + t * t).sqrt())
}

pub(crate) fn atanh(x: f64) -> f64 {
    if !(-1.0..=1.0).contains(&x) {
        return super::column::NORMAL_NAN;
    }
    if x.abs() == 1.0 {
        return f64::INFINITY.copysign(x);
    }
    odd(x, |x| {
        if x < 1.0 / 268_435_456.0 {
            x
        } else if x < 0.5 {
            let twice = x + x;
            0.5 * ln_1p(twice + twice * x / (1.0 - x))
        } else {
            0.5 * ln_1p((x + x) / (1.0 - x))
        }
    })
}

/// Whole powers by squaring, the rest by `exp` and `ln`.
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    if x.is_nan() || y.is_nan() || x == 0.0 || x == 1.0 || y == 0.0 || y == 1.0 || x.is_infinite() || y.is_infinite() {
        // These have one answer, whoever computes it.
        return x.powf(y);
    }
    if y.abs() == 0.5 {
        return if y > 0.0 { x.sqrt() } else { 1.0 / x.sqrt() };
    }
    let (mut whole, mut part) = (y.abs().trunc(), y.abs().fract());
    if part != 0.0 && x < 0.0 {
        return super::column::NORMAL_NAN;
    }
    if whole >= TWO_63 {
        return match x.abs() {
            1.0 => 1.0,
            size if (size < 1.0) == (y > 0.0) => 0.0,
            _ => f64::INFINITY,
        };
    }
    let (mut a, mut power) = (1.0, 0i64);
    if part != 0.0 {
        if part > 0.5 {
            part -= 1.0;
            whole += 1.0;
        }
        a = exp(part * ln(x));
    }
    let (mut base, exponent) = split(x);
    let mut exponent = i64::from(exponent);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, below 2^63")]
    let mut bits = whole as u64;
    while bits != 0 {
        if exponent.abs() > 1 << 12 {
            power += exponent;
            break;
        }
        if bits & 1 == 1 {
            a *= base;
            power += exponent;
        }
        base *= base;
        exponent <<= 1;
        if base < 0.5 {
            base += base;
            exponent -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 { scale(1.0 / a, -power) } else { scale(a, power) }
}

#[cfg(test)]
mod tests;
