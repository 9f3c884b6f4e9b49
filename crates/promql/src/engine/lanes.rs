//! Four windows at once: functions that look at each sample of each window are chains of dependent additions, and four chains
//! side by side take hardly longer than one. Each lane does what the function of one window does, in the same order.

use super::column::{ABSENT, NORMAL_NAN, float, secs};
use super::error::QueryError;
use super::limits::Ticker;
use super::window::{Call, Samples};

const LANES: usize = 4;

/// One number per lane.
type Lanes = [f64; LANES];

/// `f` of each lane.
#[inline(always)]
fn lanes(f: impl Fn(usize) -> f64) -> Lanes {
    [f(0), f(1), f(2), f(3)]
}

/// Four windows of one length.
#[derive(Clone, Copy)]
struct Four<'a> {
    /// The first step of the four.
    step: usize,
    ts: [&'a [i64]; LANES],
    values: [&'a [f64]; LANES],
}

impl Four<'_> {
    /// The values of the four windows, sample by sample.
    #[inline(always)]
    fn values(&self) -> impl Iterator<Item = Lanes> + '_ {
        let [a, b, c, d] = self.values;
        a.iter().zip(b).zip(c).zip(d).map(|(((a, b), c), d)| [*a, *b, *c, *d])
    }

    #[inline(always)]
    fn times(&self) -> impl Iterator<Item = [i64; LANES]> + '_ {
        let [a, b, c, d] = self.ts;
        a.iter().zip(b).zip(c).zip(d).map(|(((a, b), c), d)| [*a, *b, *c, *d])
    }

    fn len(&self) -> usize {
        self.values[0].len()
    }
}

/// A compensated sum per lane.
#[derive(Clone, Copy, Default)]
struct Sums {
    sum: Lanes,
    c: Lanes,
}

impl Sums {
    /// As `math::kahan`.
    #[inline(always)]
    fn add(&mut self, inc: Lanes) {
        let Sums { sum, c } = *self;
        let t = lanes(|l| sum[l] + inc[l]);
        let sum_first = lanes(|l| (sum[l] - t[l]) + inc[l]);
        let inc_first = lanes(|l| (inc[l] - t[l]) + sum[l]);
        let lost = lanes(|l| if sum[l].abs() >= inc[l].abs() { sum_first[l] } else { inc_first[l] });
        let kept = lanes(|l| c[l] + lost[l]);
        self.c = lanes(|l| if t[l].abs() == f64::INFINITY { 0.0 } else { kept[l] });
        self.sum = t;
    }

    #[inline(always)]
    fn total(&self) -> Lanes {
        lanes(|l| self.sum[l] + self.c[l])
    }
}

/// Calls `four` for four neighbouring windows of one length, `one` for the others.
fn each(
    call: &Call<'_>,
    out: &mut [f64],
    ticker: &mut Ticker,
    four: impl Fn(Four<'_>) -> Lanes,
    one: impl Fn(usize, &[i64], &[f64], &mut Ticker) -> Result<f64, QueryError>,
) -> Result<(), QueryError> {
    let Samples { ts, values } = call.samples;
    let mut step = 0;
    while step < out.len() {
        let (lo, hi) = call.windows.at(step);
        let len = hi - lo;
        let rest = step..out.len().min(step + LANES);
        let alike = rest.len() == LANES
            && len > 1
            && !Ticker::is_long(len)
            && rest.clone().all(|i| {
                let (lo, hi) = call.windows.at(i);
                hi - lo == len
            });
        if alike {
            ticker.tick(len * LANES)?;
            let at = |l: usize| {
                let (lo, hi) = call.windows.at(step + l);
                lo..hi
            };
            let windows = Four {
                step,
                ts: [&ts[at(0)], &ts[at(1)], &ts[at(2)], &ts[at(3)]],
                values: [&values[at(0)], &values[at(1)], &values[at(2)], &values[at(3)]],
            };
            out[rest].copy_from_slice(&four(windows));
            step += LANES;
        } else {
            out[step] = if len == 0 { ABSENT } else { one(step, &ts[lo..hi], &values[lo..hi], ticker)? };
            step += 1;
        }
    }
    Ok(())
}

/// `stdvar_over_time`, or what `finish` makes of it.
pub(crate) fn variance(
    call: &Call<'_>,
    out: &mut [f64],
    ticker: &mut Ticker,
    one: impl Fn(&[f64], &mut Ticker) -> Result<f64, QueryError>,
    finish: impl Fn(f64) -> f64,
) -> Result<(), QueryError> {
    let four = |windows: Four<'_>| {
        let (mut mean, mut aux) = (Sums::default(), Sums::default());
        let mut count = 0.0;
        for v in windows.values() {
            count += 1.0;
            let before = mean.total();
            let delta = lanes(|l| v[l] - before[l]);
            mean.add(lanes(|l| delta[l] / count));
            let after = mean.total();
            aux.add(lanes(|l| delta[l] * (v[l] - after[l])));
        }
        let aux = aux.total();
        lanes(|l| finish(aux[l] / count))
    };
    each(call, out, ticker, four, |_, _, values, ticker| one(values, ticker).map(&finish))
}

/// The least-squares line of each window; `origin` tells the time from which it is measured, `tell` what is wanted of slope and
/// intercept.
pub(crate) fn line(
    call: &Call<'_>,
    out: &mut [f64],
    ticker: &mut Ticker,
    origin: impl Fn(usize, i64) -> i64,
    one: impl Fn(&[i64], &[f64], i64, &mut Ticker) -> Result<(f64, f64), QueryError>,
    tell: impl Fn(usize, f64, f64) -> f64,
) -> Result<(), QueryError> {
    let four = |windows: Four<'_>| {
        let first = lanes(|l| windows.values[l][0]);
        let origin_of = |l: usize| origin(windows.step + l, windows.ts[l][0]);
        let at = [origin_of(0), origin_of(1), origin_of(2), origin_of(3)];
        let (mut x, mut y, mut xy, mut xx) = (Sums::default(), Sums::default(), Sums::default(), Sums::default());
        let mut constant = [true; LANES];
        for (t, v) in windows.times().zip(windows.values()) {
            let dx = lanes(|l| secs(t[l].wrapping_sub(at[l])));
            for l in 0..LANES {
                constant[l] &= v[l] == first[l];
            }
            x.add(dx);
            y.add(v);
            xy.add(lanes(|l| dx[l] * v[l]));
            xx.add(lanes(|l| dx[l] * dx[l]));
        }
        let (x, y, xy, xx) = (x.total(), y.total(), xy.total(), xx.total());
        let n = float(windows.len());
        lanes(|l| {
            let (slope, intercept) = match (constant[l], first[l].is_infinite()) {
                (true, true) => (NORMAL_NAN, NORMAL_NAN),
                (true, false) => (0.0, first[l]),
                (false, _) => {
                    let slope = (xy[l] - x[l] * y[l] / n) / (xx[l] - x[l] * x[l] / n);
                    (slope, y[l] / n - slope * x[l] / n)
                }
            };
            tell(windows.step + l, slope, intercept)
        })
    };
    each(call, out, ticker, four, |i, ts, values, ticker| {
        if values.len() < 2 {
            return Ok(ABSENT);
        }
        let (slope, intercept) = one(ts, values, origin(i, ts[0]), ticker)?;
        Ok(tell(i, slope, intercept))
    })
}
