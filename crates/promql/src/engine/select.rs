//! Quantiles of windows so long that an interrupt must be seen on the way.

use super::error::QueryError;
use super::limits::Ticker;
use super::math;

/// As [`math::quantile`]. Of many values only those around the rank are kept, pass by pass, until few are left.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "q is in [0, 1], so ranks are indexes")]
pub(crate) fn quantile(q: f64, values: &mut [f64], ticker: &mut Ticker) -> Result<f64, QueryError> {
    if !Ticker::is_long(values.len()) || !(0.0..=1.0).contains(&q) {
        ticker.tick(values.len())?;
        return Ok(math::quantile(q, values));
    }
    let rank = q * super::column::float(values.len() - 1);
    let (lower, weight) = (rank.floor() as usize, rank - rank.floor());
    let low = nth(values, lower, ticker)?;
    // Also where its weight is zero: an infinity makes that NaN.
    let high = if lower + 1 < values.len() { nth(values, lower + 1, ticker)? } else { low };
    Ok(low * (1.0 - weight) + high * weight)
}

/// An integer per value, in their order: NaN first, then as numbers; 0 and -0 are equal.
fn order(v: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    if v.is_nan() {
        return 0;
    }
    let bits = (v + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The value of rank `n`, from 0: its order is found 16 bits at a time, by counting.
fn nth(values: &[f64], n: usize, ticker: &mut Ticker) -> Result<f64, QueryError> {
    const BITS: u32 = 16;
    let (mut prefix, mut rank) = (0u64, n);
    let mut found = math::quantile(0.0, &mut []);
    for shift in [48, 32, 16, 0] {
        let mut counts = vec![0usize; 1 << BITS];
        ticker.each_part(values, |part| {
            for v in part {
                let key = order(*v);
                // The bits above those that are counted are known.
                if shift == 48 || key >> (shift + BITS) == prefix {
                    counts[(key >> shift & 0xffff) as usize] += 1;
                    found = *v;
                }
            }
        })?;
        let mut digit = 0;
        for (at, count) in (0u64..).zip(&counts) {
            if rank < *count {
                digit = at;
                break;
            }
            rank -= count;
        }
        prefix = prefix << BITS | digit;
    }
    ticker.each_part(values, |part| {
        if let Some(v) = part.iter().find(|v| order(**v) == prefix) {
            found = *v;
        }
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::limits::Interrupt;
    use super::*;

    #[test]
    fn long_windows_have_the_quantiles_of_short_ones() {
        let mut x = 7u64;
        let mut values: Vec<f64> = (0..100_000)
            .map(|_| {
                x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                match x >> 60 {
                    0 => f64::NAN,
                    1 => f64::NEG_INFINITY,
                    2 => -0.0,
                    3..8 => -((x >> 40) as f64),
                    _ => (x >> 40) as f64 / 8.0,
                }
            })
            .collect();
        let mut ticker = Ticker::new(&Interrupt::default());
        for q in [0.0, 0.01, 0.1, 0.123_456, 0.25, 0.5, 0.75, 0.9, 0.999, 1.0, -1.0, 2.0] {
            let (found, expected) =
                (quantile(q, &mut values, &mut ticker).unwrap(), math::quantile(q, &mut values.clone()));
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{q}: {found}, not {expected}");
        }
    }
}
