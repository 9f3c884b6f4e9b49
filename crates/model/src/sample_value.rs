//! Values of any kind, and the order that decides between two of one timestamp.

use std::cmp::Ordering;

use crate::{CounterResetHint, FloatHistogram, Histogram, Span, is_stale, join_values};

/// What a sample holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram with integer counts.
    Histogram(Box<Histogram>),
    /// A native histogram with float counts.
    FloatHistogram(Box<FloatHistogram>),
}

impl SampleValue {
    /// Whether it marks the end of its series.
    pub fn is_stale(&self) -> bool {
        match self {
            SampleValue::Float(v) => is_stale(*v),
            SampleValue::Histogram(h) => is_stale(h.sum),
            SampleValue::FloatHistogram(h) => is_stale(h.sum),
        }
    }

    fn to_float(&self) -> Option<FloatHistogram> {
        match self {
            SampleValue::Float(_) => None,
            SampleValue::Histogram(h) => Some(h.to_float()),
            SampleValue::FloatHistogram(h) => Some((**h).clone()),
        }
    }
}

/// The value that stays when both were written for one series and timestamp: a value before a staleness marker, a histogram before
/// a float, then the greater. Commutative, associative and idempotent, so replicas agree in whatever order they hear. Histograms
/// are compared as queries see them, with float counts: the kind of count decides only between equal ones.
pub fn join(a: SampleValue, b: SampleValue) -> SampleValue {
    match (&a, &b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => return SampleValue::Float(join_values(*a, *b)),
        _ if a.is_stale() != b.is_stale() => return if a.is_stale() { b } else { a },
        (SampleValue::Float(_), _) => return b,
        (_, SampleValue::Float(_)) => return a,
        _ => {}
    }
    let kind = |v: &SampleValue| matches!(v, SampleValue::Histogram(_));
    let order = match (a.to_float(), b.to_float()) {
        (Some(x), Some(y)) => meaning_order(&x, &y).then(kind(&a).cmp(&kind(&b))).then_with(|| form_order(&x, &y)),
        _ => Ordering::Equal,
    };
    if order.is_lt() { b } else { a }
}

/// As [`join`], of two histograms with float counts.
pub fn join_histograms(a: FloatHistogram, b: FloatHistogram) -> FloatHistogram {
    if is_stale(a.sum) != is_stale(b.sum) {
        return if is_stale(a.sum) { b } else { a };
    }
    let order = meaning_order(&a, &b).then_with(|| form_order(&a, &b));
    if order.is_lt() { b } else { a }
}

/// A total order of what was observed. Buckets that hold nothing, and how spans are written, mean nothing here: a chunk may have
/// added and joined them. Of two markers none is greater.
fn meaning_order(a: &FloatHistogram, b: &FloatHistogram) -> Ordering {
    if is_stale(a.sum) && is_stale(b.sum) {
        return Ordering::Equal;
    }
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    (a.count.total_cmp(&b.count))
        .then_with(|| a.sum.total_cmp(&b.sum))
        .then_with(|| a.zero_count.total_cmp(&b.zero_count))
        .then_with(|| a.schema.cmp(&b.schema))
        .then_with(|| a.zero_threshold.total_cmp(&b.zero_threshold))
        .then_with(|| floats_order(a.custom_values.iter().copied(), b.custom_values.iter().copied()))
        .then_with(|| buckets_order(&a.positive_spans, &a.positive_buckets, &b.positive_spans, &b.positive_buckets))
        .then_with(|| buckets_order(&a.negative_spans, &a.negative_buckets, &b.negative_spans, &b.negative_buckets))
        .then_with(|| gauge(a).cmp(&gauge(b)))
}

/// Between histograms that mean the same: how they are written.
fn form_order(a: &FloatHistogram, b: &FloatHistogram) -> Ordering {
    let hint = |h: &FloatHistogram| h.counter_reset_hint as u8;
    let spans = |spans: &[Span]| spans.iter().map(|s| (s.offset, s.length)).collect::<Vec<_>>();
    // What is known of resets depends on the chunk; the least knowledge is the safe one.
    (hint(b).cmp(&hint(a)))
        .then_with(|| spans(&a.positive_spans).cmp(&spans(&b.positive_spans)))
        .then_with(|| spans(&a.negative_spans).cmp(&spans(&b.negative_spans)))
}

fn buckets_order(a_spans: &[Span], a: &[f64], b_spans: &[Span], b: &[f64]) -> Ordering {
    let mut a = filled(a_spans, a);
    let mut b = filled(b_spans, b);
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((i, x)), Some((j, y))) => {
                let order = i.cmp(&j).then(x.total_cmp(&y));
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// Index and count of the buckets that hold something.
fn filled(spans: &[Span], counts: &[f64]) -> impl Iterator<Item = (i64, f64)> {
    let mut next = 0;
    let indexes = spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    });
    indexes.zip(counts.iter().copied()).filter(|(_, count)| *count != 0.0)
}

fn floats_order(mut a: impl Iterator<Item = f64>, mut b: impl Iterator<Item = f64>) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) if x.to_bits() == y.to_bits() => {}
            (Some(x), Some(y)) => return x.total_cmp(&y),
            (a, b) => return a.is_some().cmp(&b.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stale_nan;
    use proptest::prelude::*;

    fn any_sum() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), Just(1.5), Just(-0.0), Just(f64::NAN), Just(stale_nan())]
    }

    prop_compose! {
        fn any_histogram()(
            sum in any_sum(), count in 0..2u64, schema in 0..2i32, hint in 0..4usize,
            first in 0..3i64, second in 0..2i64, form in 0..3usize,
        ) -> Histogram {
            let span = |offset, length| Span { offset, length };
            let hints = [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge];
            let (positive_spans, positive_buckets) = match form {
                0 => (vec![span(0, 2)], vec![first, second - first]),
                1 => (vec![span(0, 1), span(0, 1)], vec![first, second - first]),
                _ => (vec![span(-1, 4)], vec![0, first, second - first, -second]),
            };
            let counter_reset_hint = hints[hint];
            Histogram { sum, count, schema, counter_reset_hint, positive_spans, positive_buckets, ..Histogram::default() }
        }
    }

    fn any_value() -> impl Strategy<Value = SampleValue> {
        prop_oneof![
            any_sum().prop_map(SampleValue::Float),
            any_histogram().prop_map(|h| SampleValue::Histogram(Box::new(h))),
            any_histogram().prop_map(|h| SampleValue::FloatHistogram(Box::new(h.to_float()))),
        ]
    }

    /// Equal by bits: NaNs print with their sign only, so their bits are added.
    fn text(v: &SampleValue) -> String {
        let sum = match v {
            SampleValue::Float(v) => *v,
            SampleValue::Histogram(h) => h.sum,
            SampleValue::FloatHistogram(h) => h.sum,
        };
        format!("{:x} {v:?}", sum.to_bits())
    }

    proptest! {
        #[test]
        fn joining_is_commutative_associative_idempotent(a in any_value(), b in any_value(), c in any_value()) {
            let j = |a: &SampleValue, b: &SampleValue| join(a.clone(), b.clone());
            // Markers differ in nothing that is kept: their kind is compared, not what else they carry.
            let same = |x: &SampleValue, y: &SampleValue| {
                let kind = std::mem::discriminant(x) == std::mem::discriminant(y);
                if x.is_stale() { y.is_stale() && kind } else { text(x) == text(y) }
            };
            prop_assert!(same(&j(&a, &b), &j(&b, &a)));
            prop_assert!(same(&j(&a, &j(&b, &c)), &j(&j(&a, &b), &c)));
            prop_assert!(same(&j(&a, &a), &a));
        }

        #[test]
        fn joining_floats_of_histograms_is_joining_their_meaning(a in any_histogram(), b in any_histogram()) {
            let joined = join(SampleValue::Histogram(Box::new(a.clone())), SampleValue::Histogram(Box::new(b.clone())));
            let floats = join_histograms(a.to_float(), b.to_float());
            let joined = joined.to_float().unwrap();
            prop_assert!(meaning_order(&joined, &floats).is_eq());
        }
    }

    #[test]
    fn values_win_over_markers_and_histograms_over_floats() {
        let histogram = || SampleValue::Histogram(Box::default());
        let stale = || SampleValue::Histogram(Box::new(Histogram::stale()));
        let float = |v| SampleValue::Float(v);
        assert_eq!(join(histogram(), float(f64::INFINITY)), histogram());
        assert_eq!(join(float(1.0), stale()), float(1.0));
        assert_eq!(join(histogram(), float(stale_nan())), histogram());
        assert!(matches!(join(float(stale_nan()), stale()), SampleValue::Histogram(_)));
    }
}
