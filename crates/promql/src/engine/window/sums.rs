//! Sums and means of windows: by prefix sums where they are as good as summing each window.

use super::{Call, Scratch};
use crate::engine::column::float;
use crate::engine::error::QueryError;
use crate::engine::limits::Ticker;
use crate::engine::math::kahan;

/// `a + b` and what rounding lost. Source: Knuth, TAOCP 2, 4.2.2, theorem B.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let bb = s - a;
    (s, (a - (s - bb)) + (b - bb))
}

/// Prefix sums of `values` as unevaluated pairs of doubles; false where they would not be as good as summing each window:
/// values that are not finite, or so far apart that 106 bits do not hold their sum.
fn prefix_sums(values: &[f64], sums: &mut Vec<(f64, f64)>, ticker: &mut Ticker) -> Result<bool, QueryError> {
    const SPREAD_MAX: f64 = 1e15;
    let (mut least, mut largest) = (f64::INFINITY, 0.0f64);
    ticker.each_part(values, |part| {
        for v in part {
            let a = v.abs();
            largest = if a > largest || a.is_nan() { a } else { largest };
            least = if a != 0.0 && a < least { a } else { least };
        }
    })?;
    if !(largest < 1e290 && largest <= least * SPREAD_MAX || largest == 0.0) {
        return Ok(false);
    }
    sums.clear();
    sums.reserve(values.len() + 1);
    // What rounding loses is summed beside the sums and not into them: two short chains instead of a long one.
    let (mut hi, mut lo) = (0.0, 0.0);
    sums.push((hi, lo));
    ticker.each_part(values, |part| {
        for v in part {
            let (s, e) = two_sum(hi, *v);
            (hi, lo) = (s, lo + e);
            sums.push((hi, lo));
        }
    })?;
    Ok(true)
}

#[inline(always)]
fn prefix_difference(sums: &[(f64, f64)], lo: usize, hi: usize) -> f64 {
    let (a, b) = (sums[hi], sums[lo]);
    let (s, e) = two_sum(a.0, -b.0);
    s + (e + (a.1 - b.1))
}

/// Windows shorter than this are summed as they are.
const SHORT_WINDOW: u64 = 6;

fn prefer_prefix(call: &Call<'_>) -> bool {
    let total: u64 = call.windows.lo.iter().zip(&call.windows.hi).map(|(lo, hi)| u64::from(hi - lo)).sum();
    let steps = call.windows.lo.len() as u64;
    total > SHORT_WINDOW * steps && total > 2 * call.samples.values.len() as u64
}

pub(super) fn sum(
    call: &Call<'_>,
    out: &mut [f64],
    scratch: &mut Scratch,
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    if prefer_prefix(call) && prefix_sums(call.samples.values, &mut scratch.sums, ticker)? {
        let sums = &scratch.sums;
        call.each(out, |_, lo, hi| prefix_difference(sums, lo, hi));
        return Ok(());
    }
    call.each_slice(out, ticker, |_, values, ticker| {
        let (mut sum, mut c) = (0.0, 0.0);
        ticker.each_part(values, |part| {
            for v in part {
                (sum, c) = kahan(*v, sum, c);
            }
        })?;
        Ok(if sum.is_infinite() { sum } else { sum + c })
    })
}

pub(super) fn avg(
    call: &Call<'_>,
    out: &mut [f64],
    scratch: &mut Scratch,
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    if prefer_prefix(call) && prefix_sums(call.samples.values, &mut scratch.sums, ticker)? {
        let sums = &scratch.sums;
        call.each(out, |_, lo, hi| prefix_difference(sums, lo, hi) / float(hi - lo));
        return Ok(());
    }
    call.each_slice(out, ticker, |_, values, ticker| mean(values, ticker))
}

/// The mean, directly while the sum is finite, incrementally from where it is not.
pub(super) fn mean(values: &[f64], ticker: &mut Ticker) -> Result<f64, QueryError> {
    let (mut sum, mut c, mut count) = (values[0], 0.0, 1.0);
    let mut incremental: Option<f64> = None;
    ticker.each_part(&values[1..], |part| {
        for v in part {
            count += 1.0;
            let before = match incremental {
                Some(mean) => mean,
                None => {
                    let (new_sum, new_c) = kahan(*v, sum, c);
                    if !new_sum.is_infinite() {
                        (sum, c) = (new_sum, new_c);
                        continue;
                    }
                    c /= count - 1.0;
                    sum / (count - 1.0)
                }
            };
            let q = (count - 1.0) / count;
            let (mean, new_c) = kahan(v / count, q * before, q * c);
            (incremental, c) = (Some(mean), new_c);
        }
    })?;
    Ok(match incremental {
        Some(mean) => mean + c,
        None => sum / count + c / count,
    })
}
