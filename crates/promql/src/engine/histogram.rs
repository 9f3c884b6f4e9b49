//! Functions of histograms. Here are those of classic ones: series whose label `le` is the upper bound of a bucket.
//!
//! Source: Prometheus `BucketQuantile` and `BucketFraction` of `promql/quantile.go`.

mod native;

use hashbrown::HashMap;
use model::{Labels, LabelsBuilder};

pub(crate) use native::HistogramStat;

use super::annotations::Annotations;
use super::column::{ABSENT, Grid, NORMAL_NAN, any_present, is_absent};
use super::format::go_f;
use super::hists::Hists;
use super::node::{HistogramFn, HistogramNode, Scalar};
use super::row::{Key, Row};
use super::window::Number;
use crate::ast::Pos;

const BUCKET_LABEL: &str = "le";

/// Differences between buckets below this share of them are taken for rounding errors.
const SMALL_DELTA: f64 = 1e-12;

/// One bucket at one step: all observations up to `bound`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The series of one histogram.
struct Histogram {
    key: Key,
    /// Upper bounds and rows, ordered by bound.
    buckets: Vec<(f64, Box<[f64]>)>,
    /// Native histograms of one series.
    native: Hists,
}

impl Histogram {
    fn new(key: Key) -> Histogram {
        Histogram { key, buckets: Vec::new(), native: Hists::default() }
    }
}

/// Puts the rows of each classic histogram together, and gives each row with native ones its own.
fn group(rows: Vec<Row>, delayed: bool, pos: Pos, annotations: &mut Annotations) -> Vec<Histogram> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<Histogram> = Vec::new();
    let mut natives: Vec<Histogram> = Vec::new();
    for row in rows {
        if !row.hists.is_empty() {
            natives.push(Histogram { native: row.hists, ..Histogram::new(row.key.clone()) });
        }
        if !any_present(&row.values) {
            continue;
        }
        let le = row.key.labels.get(BUCKET_LABEL).unwrap_or("");
        let Ok(bound) = crate::numbers::parse_float(le) else {
            let name = if delayed { row.key.labels.metric_name().unwrap_or("") } else { "" };
            annotations.bad_bucket_label(pos, name, le);
            continue;
        };
        let labels = row.key.labels.without(&[BUCKET_LABEL]);
        let at = *index.entry(labels).or_insert_with_key(|labels| {
            histograms.push(Histogram::new(Key::new(labels.clone())));
            histograms.len() - 1
        });
        histograms[at].buckets.push((bound, row.values));
    }
    for histogram in &mut histograms {
        histogram.buckets.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    }
    for native in &mut natives {
        if let Some(at) = index.get(&native.key.labels) {
            exclude_both(&mut histograms[*at], native, delayed, pos, annotations);
        }
    }
    histograms.extend(natives);
    histograms
}

/// Where there are a classic and a native histogram of the same labels, neither counts.
fn exclude_both(
    classic: &mut Histogram,
    native: &mut Histogram,
    delayed: bool,
    pos: Pos,
    annotations: &mut Annotations,
) {
    let has_classic = |i: usize| classic.buckets.iter().any(|(_, column)| !is_absent(column[i]));
    let both: Vec<usize> = native.native.iter().map(|(i, _)| i).filter(|i| has_classic(*i)).collect();
    if both.is_empty() {
        return;
    }
    let name = if delayed { native.key.labels.metric_name().unwrap_or("") } else { "" };
    annotations.mixed_classic_native(pos, name);
    for (_, column) in &mut classic.buckets {
        both.iter().for_each(|i| column[*i] = ABSENT);
    }
    native.native.retain(|i| !both.contains(&i));
}

/// A function with its numbers, which are known.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a HistogramNode,
    pub(crate) function: &'a HistogramFn,
    pub(crate) delayed: bool,
}

impl Call<'_> {
    /// Evaluates the function over the rows of its vector.
    pub(crate) fn evaluate(&self, rows: Vec<Row>, annotations: &mut Annotations) -> Vec<Row> {
        let grid = self.node.grid;
        match self.function {
            HistogramFn::Quantile(q, q_pos) => warn_of(q, grid, *q_pos, annotations),
            HistogramFn::Quantiles(_, qs) => qs.iter().for_each(|(q, q_pos)| warn_of(q, grid, *q_pos, annotations)),
            HistogramFn::Fraction(..) => {}
        }
        let histograms = group(rows, self.delayed, self.node.pos, annotations);
        let mut out = Vec::new();
        for histogram in &histograms {
            match self.function {
                HistogramFn::Quantile(q, _) => {
                    let values = self.quantiles(histogram, q, annotations);
                    out.push(dropped(histogram.key.labels.clone(), values));
                }
                HistogramFn::Quantiles(label, qs) => {
                    for (q, _) in qs {
                        let values = self.quantiles(histogram, q, annotations);
                        out.extend(by_quantile(histogram, label, q, &values));
                    }
                }
                HistogramFn::Fraction(lower, upper) => {
                    let values = self.fractions(histogram, numbers(lower), numbers(upper), annotations);
                    out.push(dropped(histogram.key.labels.clone(), values));
                }
            }
        }
        if !self.delayed {
            out.iter_mut().for_each(|row| row.key.settle());
        }
        out
    }

    fn name<'a>(&self, histogram: &'a Histogram) -> &'a str {
        if self.delayed { histogram.key.labels.metric_name().unwrap_or("") } else { "" }
    }

    fn quantiles(&self, histogram: &Histogram, q: &Scalar, annotations: &mut Annotations) -> Box<[f64]> {
        if !histogram.native.is_empty() {
            return self.natives(histogram, annotations, |i, h| native::quantile(numbers(q).at(i), h));
        }
        let q = numbers(q);
        let grid = self.node.grid;
        each_step(histogram, grid, |i, buckets| {
            let (value, forced) = quantile(q.at(i), buckets);
            if let Some(Forced { bucket_min, bucket_max, diff_max }) = forced {
                let (pos, name) = (self.node.pos, self.name(histogram));
                annotations.forced_monotonicity(pos, name, grid.at(i), bucket_min, bucket_max, diff_max);
            }
            value
        })
    }

    fn fractions(
        &self,
        histogram: &Histogram,
        lower: Number<'_>,
        upper: Number<'_>,
        annotations: &mut Annotations,
    ) -> Box<[f64]> {
        if !histogram.native.is_empty() {
            return self.natives(histogram, annotations, |i, h| native::fraction(lower.at(i), upper.at(i), h));
        }
        each_step(histogram, self.node.grid, |i, buckets| fraction(lower.at(i), upper.at(i), buckets))
    }

    /// Calls `f` with the native histogram of each step that has one.
    fn natives(
        &self,
        histogram: &Histogram,
        annotations: &mut Annotations,
        f: impl Fn(usize, &model::FloatHistogram) -> (f64, Option<native::Note>),
    ) -> Box<[f64]> {
        let mut values: Box<[f64]> = vec![ABSENT; self.node.grid.count].into();
        for (i, h) in histogram.native.iter() {
            let (value, note) = f(i, h);
            values[i] = value;
            if let Some(note) = note {
                note.say(self.node.first_pos, self.name(histogram), annotations);
            }
        }
        values
    }
}

fn dropped(labels: Labels, values: Box<[f64]>) -> Row {
    let mut key = Key::new(labels);
    key.drop_name = true;
    Row::of_floats(key, values)
}

fn numbers(scalar: &Scalar) -> Number<'_> {
    debug_assert!(!scalar.is_late(), "numbers are known when rows are");
    scalar.known().unwrap_or(Number::Const(NORMAL_NAN))
}

/// Warns of quantiles outside of [0, 1].
fn warn_of(q: &Scalar, grid: Grid, pos: Pos, annotations: &mut Annotations) {
    let number = numbers(q);
    let steps = if matches!(number, Number::Const(_)) { grid.count.min(1) } else { grid.count };
    for q in (0..steps).map(|i| number.at(i)) {
        if q.is_nan() || !(0.0..=1.0).contains(&q) {
            annotations.invalid_quantile(pos, q);
        }
    }
}

/// One row per number that the quantile is at some step, as it is part of the labels.
fn by_quantile(histogram: &Histogram, label: &str, q: &Scalar, values: &[f64]) -> Vec<Row> {
    let q = numbers(q);
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for (i, v) in values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
        let bits = q.at(i).to_bits();
        let at = rows.iter().position(|(known, _)| *known == bits).unwrap_or_else(|| {
            let mut builder = LabelsBuilder::from_labels(&histogram.key.labels);
            builder.set(label, &open_metrics_float(q.at(i)));
            rows.push((bits, dropped(builder.build(), vec![ABSENT; values.len()].into())));
            rows.len() - 1
        });
        rows[at].1.values[i] = *v;
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// As OpenMetrics writes a float in `le` and `quantile`: with a point or an exponent.
fn open_metrics_float(v: f64) -> String {
    let text =
        if v.is_finite() && v != 0.0 && !(1e-4..1e21).contains(&v.abs()) { super::format::go_g(v) } else { go_f(v) };
    if v.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}

/// Calls `f` with the buckets of each step that has any.
fn each_step(histogram: &Histogram, grid: Grid, mut f: impl FnMut(usize, &mut Vec<Bucket>) -> f64) -> Box<[f64]> {
    let mut buckets = Vec::with_capacity(histogram.buckets.len());
    (0..grid.count)
        .map(|i| {
            buckets.clear();
            let present = histogram.buckets.iter().filter(|(_, column)| !is_absent(column[i]));
            buckets.extend(present.map(|(bound, column)| Bucket { bound: *bound, count: column[i] }));
            if buckets.is_empty() { ABSENT } else { f(i, &mut buckets) }
        })
        .collect()
}

/// What was done to make buckets monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Forced {
    bucket_min: f64,
    bucket_max: f64,
    diff_max: f64,
}

/// The `q` quantile of buckets that are ordered by bound.
fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (NORMAL_NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|b| b.bound != f64::INFINITY) {
        return (NORMAL_NAN, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let n = buckets.len();
    let observations = buckets[n - 1].count;
    if n < 2 || observations == 0.0 {
        return (NORMAL_NAN, forced);
    }
    let mut rank = q * observations;
    let at = search(&buckets[..n - 1], |b| b.count >= rank);
    let value = if at == n - 1 {
        buckets[n - 2].bound
    } else if at == 0 && buckets[0].bound <= 0.0 {
        buckets[0].bound
    } else {
        let mut count = buckets[at].count;
        let mut start = 0.0;
        if at > 0 {
            start = buckets[at - 1].bound;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (buckets[at].bound - start) * (rank / count)
    };
    (value, forced)
}

/// The first bucket for which `test` holds by binary search, as Go's `sort.Search` (which matters where counts are NaN).
fn search(buckets: &[Bucket], test: impl Fn(&Bucket) -> bool) -> usize {
    let (mut lo, mut hi) = (0, buckets.len());
    while lo < hi {
        let mid = lo.midpoint(hi);
        if test(&buckets[mid]) { hi = mid } else { lo = mid + 1 }
    }
    lo
}

/// Adds up buckets of one bound.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|b, kept| {
        let same = b.bound == kept.bound;
        if same {
            kept.count += b.count;
        }
        same
    });
}

fn make_monotonic(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut before = buckets[0].count;
    for b in &mut buckets[1..] {
        let count = b.count;
        if count == before {
            continue;
        }
        if almost_equal(before, count, SMALL_DELTA) {
            b.count = before;
            continue;
        }
        if count < before {
            b.count = before;
            let f = forced.get_or_insert(Forced {
                bucket_min: f64::INFINITY,
                bucket_max: f64::NEG_INFINITY,
                diff_max: 0.0,
            });
            f.bucket_min = f.bucket_min.min(b.bound);
            f.bucket_max = f.bucket_max.max(b.bound);
            f.diff_max = f.diff_max.max(before - count);
            continue;
        }
        before = count;
    }
    forced
}

/// Whether numbers differ by less than `epsilon` of their sum. Source: Prometheus `util/almost`.
pub(crate) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if model::is_stale(a) || model::is_stale(b) {
        return model::is_stale(a) && model::is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let diff = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < epsilon * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < epsilon
}

/// The share of observations in `[lower, upper]`, of buckets that are ordered by bound.
fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|b| b.bound != f64::INFINITY) {
        return NORMAL_NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return NORMAL_NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |v: f64| -> f64 {
        let mut rank = 0.0;
        let mut start = if buckets[0].bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
        for b in buckets.iter() {
            if start >= v {
                return rank;
            }
            if b.bound > v {
                // Nothing can be said about a place within a bucket without end.
                return if start == f64::NEG_INFINITY {
                    b.count
                } else {
                    rank + (b.count - rank) * (v - start) / (b.bound - start)
                };
            }
            rank = b.count;
            start = b.bound;
        }
        count
    };
    let capped = |rank: f64| if rank > count { count } else { rank };
    (capped(rank_of(upper)) - capped(rank_of(lower))) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(of: &[(f64, f64)]) -> Vec<Bucket> {
        of.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
    }

    #[test]
    fn quantiles_interpolate_within_buckets() {
        let inf = f64::INFINITY;
        let given = [(1.0, 2.0), (2.0, 6.0), (inf, 8.0)];
        for (q, expected) in [(0.0, 0.0), (0.125, 0.5), (0.5, 1.5), (0.75, 2.0), (1.0, 2.0)] {
            assert_eq!(quantile(q, &mut buckets(&given)), (expected, None), "{q}");
        }
        assert!(quantile(0.5, &mut buckets(&[(1.0, 2.0)])).0.is_nan(), "no bucket without end");
        assert!(quantile(0.5, &mut buckets(&[(inf, 2.0)])).0.is_nan(), "one bucket");
        assert!(quantile(0.5, &mut buckets(&[(1.0, 0.0), (inf, 0.0)])).0.is_nan(), "no observations");
        let (value, forced) = quantile(0.5, &mut buckets(&[(1.0, 5.0), (2.0, 3.0), (inf, 10.0)]));
        assert_eq!(value, 1.0);
        assert_eq!(forced, Some(Forced { bucket_min: 2.0, bucket_max: 2.0, diff_max: 2.0 }));
    }

    #[test]
    fn fractions_interpolate_within_buckets() {
        let given = [(1.0, 2.0), (2.0, 6.0), (f64::INFINITY, 8.0)];
        for (lower, upper, expected) in [
            (0.0, 1.0, 0.25),
            (0.5, 1.0, 0.125),
            (1.0, 1.5, 0.25),
            (2.0, 1.0, 0.0),
            (0.0, f64::INFINITY, 1.0),
            (3.0, f64::INFINITY, 0.25),
        ] {
            assert_eq!(fraction(lower, upper, &mut buckets(&given)), expected, "{lower}..{upper}");
        }
    }
}
