//! Functions that fit a line or a curve to a window.

use super::column::{ABSENT, NORMAL_NAN, float, secs};
use super::error::QueryError;
use super::limits::Ticker;
use super::math::kahan;

/// Slope and value at `at` of the least-squares line. Source: Prometheus `linearRegression`.
pub(crate) fn line(ts: &[i64], values: &[f64], at: i64, ticker: &mut Ticker) -> Result<(f64, f64), QueryError> {
    let first = values[0];
    let mut is_constant = true;
    ticker.each_part(values, |part| is_constant &= part.iter().all(|v| *v == first))?;
    if is_constant {
        return Ok(if first.is_infinite() { (NORMAL_NAN, NORMAL_NAN) } else { (0.0, first) });
    }
    let (mut x, mut y, mut xy, mut xx) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    let mut times = ts.iter();
    ticker.each_part(values, |part| {
        for (v, t) in part.iter().zip(&mut times) {
            let dx = secs(t.saturating_sub(at));
            x = kahan(dx, x.0, x.1);
            y = kahan(*v, y.0, y.1);
            xy = kahan(dx * v, xy.0, xy.1);
            xx = kahan(dx * dx, xx.0, xx.1);
        }
    })?;
    let [x, y, xy, xx] = [x, y, xy, xx].map(|(sum, c)| sum + c);
    let n = float(values.len());
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    Ok((slope, y / n - slope * x / n))
}

/// An error where the factors of `double_exponential_smoothing` are none.
pub(crate) fn check_factors(sf: f64, tf: f64) -> Result<(), QueryError> {
    if sf <= 0.0 || sf >= 1.0 {
        return Err(QueryError::InvalidFactor { name: "smoothing", symbol: "sf", value: sf });
    }
    if tf <= 0.0 || tf >= 1.0 {
        return Err(QueryError::InvalidFactor { name: "trend", symbol: "tf", value: tf });
    }
    Ok(())
}

/// `double_exponential_smoothing`; the factors were checked.
pub(crate) fn smooth(values: &[f64], sf: f64, tf: f64, ticker: &mut Ticker) -> Result<f64, QueryError> {
    let [first, second, ..] = values else { return Ok(ABSENT) };
    let (mut before, mut smoothed, mut trend) = (0.0, *first, second - first);
    let mut is_first = true;
    ticker.each_part(&values[1..], |part| {
        for v in part {
            if !is_first {
                trend = tf * (smoothed - before) + (1.0 - tf) * trend;
            }
            is_first = false;
            let next = sf * v + (1.0 - sf) * (smoothed + trend);
            (before, smoothed) = (smoothed, next);
        }
    })?;
    Ok(smoothed)
}
