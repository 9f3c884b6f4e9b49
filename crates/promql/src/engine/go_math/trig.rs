//! Sines and their kin.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

use super::{odd, polynomial};
use crate::engine::column::NORMAL_NAN;

const SIN: [f64; 6] = [
    1.589_623_015_765_465_680_60e-10,
    -2.505_074_776_285_780_728_66e-8,
    2.755_731_362_138_572_452_13e-6,
    -1.984_126_982_958_953_859_96e-4,
    8.333_333_333_322_118_588_78e-3,
    -1.666_666_666_666_663_072_95e-1,
];
const COS: [f64; 6] = [
    -1.135_853_652_138_768_173_00e-11,
    2.087_570_084_197_473_167_78e-9,
    -2.755_731_417_929_673_881_12e-7,
    2.480_158_728_885_170_453_48e-5,
    -1.388_888_888_887_305_641_16e-3,
    4.166_666_666_666_659_292_18e-2,
];

/// In which eighth of the circle a number lies, made even and counted on without end, and how far it lies from there. Of a
/// number that is not negative.
fn octant(x: f64) -> (u64, f64) {
    // Above this the product of the octant and the parts of pi/4 would not be exact.
    const HUGE: f64 = 536_870_912.0;
    // pi/4 in three parts.
    const A: f64 = 7.853_981_256_484_985_351_56e-1;
    const B: f64 = 3.774_894_707_930_798_176_68e-8;
    const C: f64 = 2.695_151_429_079_059_526_45e-15;
    if x >= HUGE {
        return octant_of_huge(x);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^30, not negative")]
    let mut j = (x * (2.0 * FRAC_2_PI)) as u32;
    j += j & 1;
    let y = f64::from(j);
    (u64::from(j), ((x - y * A) - y * B) - y * C)
}

/// The same by 4/pi with as many bits as are needed. Source: Payne, Hanek, "Radian Reduction for Trigonometric Functions", 1983.
fn octant_of_huge(x: f64) -> (u64, f64) {
    const FOUR_BY_PI: [u64; 20] = [
        0x0000_0000_0000_0001,
        0x45f3_06dc_9c88_2a53,
        0xf84e_afa3_ea69_bb81,
        0xb6c5_2b32_7887_2083,
        0xfca2_c757_bd77_8ac3,
        0x6e48_dc74_849b_a5c0,
        0x0c92_5dd4_13a3_2439,
        0xfc3b_d639_6253_4e7d,
        0xd104_6bea_5d76_8909,
        0xd338_e04d_68be_fc82,
        0x7323_ac73_06a6_73e9,
        0x3908_bf17_7bf2_5076,
        0x3ff1_2fff_bc0b_301f,
        0xde5e_2316_b414_da3e,
        0xda6c_fd9e_4f96_136e,
        0x9e8c_7ecd_3cbf_d45a,
        0xea4f_758f_d7cb_e2f6,
        0x7a0e_73ef_14a5_25d4,
        0xd7f6_bf62_3f1a_ba10,
        0xac06_608d_f8f6_d757,
    ];
    let bits = x.to_bits();
    let exponent = usize::try_from((bits >> 52) & 0x7ff).expect("11 bits") + 61 - 1023 - 52;
    let mantissa = u128::from((bits & ((1 << 52) - 1)) | (1 << 52));
    let (digit, shift) = (exponent / 64, exponent % 64);
    let product = |at: usize| {
        let both = (u128::from(FOUR_BY_PI[at]) << 64) | u128::from(FOUR_BY_PI[at + 1]);
        (((both << shift) >> 64) & u128::from(u64::MAX)) * mantissa
    };
    let sum = (product(digit) << 64).wrapping_add(product(digit + 1)).wrapping_add(product(digit + 2) >> 64);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (high, low) = ((sum >> 64) as u64, sum as u64);
    let j = high >> 61;
    let fraction = (high << 3) | (low >> 61);
    let zeros = fraction.leading_zeros() + 1;
    // The bits that are shifted in are those that came in above already: Go does so, too.
    let fraction = fraction.checked_shl(zeros).unwrap_or(0) | (low >> (64 - zeros.min(63)));
    let z = f64::from_bits((fraction >> 12) | (u64::from(1023 - zeros) << 52));
    if j & 1 == 1 { ((j + 1) & 7, (z - 1.0) * FRAC_PI_4) } else { (j, z * FRAC_PI_4) }
}

fn sine_near_zero(z: f64) -> f64 {
    let square = z * z;
    z + z * square * polynomial(square, &SIN)
}

fn cosine_near_zero(z: f64) -> f64 {
    let square = z * z;
    1.0 - 0.5 * square + square * square * polynomial(square, &COS)
}

pub(crate) fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return NORMAL_NAN;
    }
    odd(x, |x| {
        let (j, z) = octant(x);
        let value = if j & 2 == 2 { cosine_near_zero(z) } else { sine_near_zero(z) };
        if j & 4 == 4 { -value } else { value }
    })
}

pub(crate) fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return NORMAL_NAN;
    }
    let (j, z) = octant(x.abs());
    let value = if j & 2 == 2 { sine_near_zero(z) } else { cosine_near_zero(z) };
    if matches!(j & 7, 2 | 4) { -value } else { value }
}

pub(crate) fn tan(x: f64) -> f64 {
    const P: [f64; 3] =
        [-1.309_369_391_813_837_776_46e4, 1.153_516_648_385_874_161_40e6, -1.795_652_519_764_848_779_88e7];
    const Q: [f64; 5] = [
        1.0,
        1.368_129_634_706_929_546_78e4,
        -1.320_892_344_402_109_674_47e6,
        2.500_838_018_233_579_158_39e7,
        -5.386_957_559_294_546_298_81e7,
    ];
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return NORMAL_NAN;
    }
    odd(x, |x| {
        let (j, z) = octant(x);
        let square = z * z;
        let value = if square > 1e-14 { z + z * (square * polynomial(square, &P) / polynomial(square, &Q)) } else { z };
        if j & 2 == 2 { -1.0 / value } else { value }
    })
}

/// Of a number in [0, 0.66].
fn atan_near_zero(x: f64) -> f64 {
    const P: [f64; 5] = [
        -8.750_608_600_031_904_122_785e-1,
        -1.615_753_718_733_365_076_637e1,
        -7.500_855_792_314_704_667_340e1,
        -1.228_866_684_490_136_173_410e2,
        -6.485_021_904_942_025_371_773e1,
    ];
    const Q: [f64; 6] = [
        1.0,
        2.485_846_490_142_306_297_962e1,
        1.650_270_098_316_988_542_046e2,
        4.328_810_604_912_902_668_951e2,
        4.853_903_996_359_136_964_868e2,
        1.945_506_571_482_613_964_425e2,
    ];
    let square = x * x;
    let ratio = square * polynomial(square, &P) / polynomial(square, &Q);
    x * ratio + x
}

fn atan_of_positive(x: f64) -> f64 {
    // pi/2 less its nearest float.
    const MORE: f64 = 6.123_233_995_736_765_886_130e-17;
    if x <= 0.66 {
        atan_near_zero(x)
    } else if x > 2.414_213_562_373_095_048_80 {
        FRAC_PI_2 - atan_near_zero(1.0 / x) + MORE
    } else {
        FRAC_PI_4 + atan_near_zero((x - 1.0) / (x + 1.0)) + 0.5 * MORE
    }
}

pub(crate) fn atan(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { odd(x, atan_of_positive) }
}

pub(crate) fn atan2(y: f64, x: f64) -> f64 {
    if y.is_nan() || x.is_nan() || y == 0.0 || x == 0.0 || x.is_infinite() || y.is_infinite() {
        // These have one answer, whoever computes it.
        return y.atan2(x);
    }
    let angle = atan(y / x);
    if x >= 0.0 {
        angle
    } else if angle <= 0.0 {
        angle + PI
    } else {
        angle - PI
    }
}

pub(crate) fn asin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.abs() > 1.0 {
        return NORMAL_NAN;
    }
    odd(x, |x| {
        let other = (1.0 - x * x).sqrt();
        if x > 0.7 { FRAC_PI_2 - atan_of_positive(other / x) } else { atan_of_positive(x / other) }
    })
}

pub(crate) fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}
