//! Histograms against a model of them: maps from the places of buckets to counts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Buckets of one side by place, without empty ones.
type Map = BTreeMap<i32, f64>;

fn map(spans: &[Span], buckets: &[f64]) -> Map {
    let mut out = Map::new();
    for (index, count) in side::indexed(spans, buckets) {
        *out.entry(index).or_default() += count;
    }
    out.retain(|_, count| *count != 0.0);
    out
}

/// A side whose buckets lie at `indexes`, cut into spans anywhere, with counts that floats add exactly.
fn side_of(places: &[(bool, u8, u8)]) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut buckets) = (Vec::<Span>::new(), Vec::new());
    for (starts, gap, count) in places {
        match spans.last_mut() {
            Some(span) if !starts => span.length += 1,
            last => {
                let offset = i32::from(*gap % 5) - if last.is_none() { 7 } else { 0 };
                spans.push(Span { offset, length: 1 });
            }
        }
        buckets.push(f64::from(*count % 9));
    }
    (spans, buckets)
}

prop_compose! {
    fn any_side()(places in prop::collection::vec(any::<(bool, u8, u8)>(), 0..12)) -> (Vec<Span>, Vec<f64>) {
        side_of(&places)
    }
}

prop_compose! {
    /// A valid exponential histogram.
    fn any_histogram(zero: bool)(
        schema in -2..=3i32,
        positive in any_side(),
        negative in any_side(),
        zero_count in 0..9u8,
        width in 0..5u8,
        hint in 0..4usize,
    ) -> FloatHistogram {
        let zero_threshold = if zero { [0.0, 0.001, 0.3, 1.0, 5.0][usize::from(width)] } else { 0.25 };
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        let count = f64::from(zero_count) + positive.1.iter().chain(&negative.1).sum::<f64>();
        FloatHistogram {
            counter_reset_hint: [Unknown, Reset, NotReset, Gauge][hint],
            schema,
            zero_threshold,
            zero_count: f64::from(zero_count),
            count,
            sum: count / 2.0,
            positive_spans: positive.0,
            negative_spans: negative.0,
            positive_buckets: positive.1,
            negative_buckets: negative.1,
            custom_values: Vec::new(),
        }
    }
}

fn total(h: &FloatHistogram) -> f64 {
    h.zero_count + h.positive_buckets.iter().chain(&h.negative_buckets).sum::<f64>()
}

/// Buckets of schema `to`, summed one by one.
fn reduced(side: &Map, from: i32, to: i32) -> Map {
    let mut out = Map::new();
    for (index, count) in side {
        let joined = (f64::from(*index) / f64::from(1 << (from - to))).ceil() as i32;
        *out.entry(joined).or_default() += count;
    }
    out
}

proptest! {
    #[test]
    fn compacting_keeps_what_is_not_empty(h in any_histogram(true), empty_max in 0..4usize) {
        let mut compact = h.clone();
        compact.compact(empty_max);
        prop_assert_eq!(map(&compact.positive_spans, &compact.positive_buckets), map(&h.positive_spans, &h.positive_buckets));
        let spans = &compact.positive_spans;
        prop_assert!(spans.iter().skip(1).all(|span| span.offset > empty_max as i32), "{:?}", spans);
        prop_assert_eq!(spans.iter().map(|span| span.length as usize).sum::<usize>(), compact.positive_buckets.len());
        let runs = compact.positive_buckets.chunk_by(|a, b| (*a == 0.0) == (*b == 0.0)).filter(|run| run[0] == 0.0);
        prop_assert!(runs.into_iter().all(|run| run.len() <= empty_max));
        let again = { let mut again = compact.clone(); again.compact(empty_max); again };
        prop_assert_eq!(again, compact);
    }

    #[test]
    fn reducing_the_resolution_joins_buckets(h in any_histogram(true), by in 1..4i32) {
        let mut coarse = h.clone();
        coarse.reduce_resolution(h.schema - by);
        let expected = reduced(&map(&h.positive_spans, &h.positive_buckets), h.schema, h.schema - by);
        prop_assert_eq!(map(&coarse.positive_spans, &coarse.positive_buckets), expected);
        prop_assert_eq!(coarse.schema, h.schema - by);
    }

    #[test]
    fn sums_are_those_of_the_buckets(a in any_histogram(false), b in any_histogram(false)) {
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        let schema = a.schema.min(b.schema);
        prop_assert_eq!(sum.schema, schema);
        prop_assert_eq!(sum.count, a.count + b.count);
        for side in [
            |h: &FloatHistogram| map(&h.positive_spans, &h.positive_buckets),
            |h: &FloatHistogram| map(&h.negative_spans, &h.negative_buckets),
        ] {
            // Buckets that the zero bucket covers do not count.
            let covered = |index: &i32| bounds::exponential(*index, schema) <= 0.25;
            let (mut expected, theirs) = (reduced(&side(&a), a.schema, schema), reduced(&side(&b), b.schema, schema));
            theirs.iter().filter(|(i, _)| !covered(i)).for_each(|(i, n)| *expected.entry(*i).or_default() += n);
            prop_assert_eq!(side(&sum), expected);
        }
    }

    #[test]
    fn what_was_added_can_be_subtracted(a in any_histogram(false), b in any_histogram(false)) {
        let mut both = a.clone();
        both.add(&b).unwrap();
        both.sub(&b).unwrap();
        both.compact(0);
        let mut expected = a.clone();
        expected.reduce_resolution(both.schema);
        expected.compact(0);
        both.counter_reset_hint = expected.counter_reset_hint;
        prop_assert!(spans_match(&both.positive_spans, &expected.positive_spans));
        prop_assert_eq!(both, expected);
    }

    #[test]
    fn zero_buckets_of_different_width_lose_nothing(a in any_histogram(true), b in any_histogram(true)) {
        // Of one resolution: with different ones Prometheus counts what lies across the new threshold twice.
        let (mut a, mut b) = (a, b);
        (a.schema, b.schema) = (1, 1);
        let clear = |h: &FloatHistogram| {
            let mut h = h.clone();
            let (schema, width) = (h.schema, h.zero_threshold);
            for (spans, buckets) in [
                (&h.positive_spans, &mut h.positive_buckets),
                (&h.negative_spans, &mut h.negative_buckets),
            ] {
                for (place, count) in side::places(spans).zip(buckets) {
                    if bounds::exponential(place.index - 1, schema) < width {
                        *count = 0.0;
                    }
                }
            }
            h
        };
        let (a, b) = (clear(&a), clear(&b));
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        prop_assert_eq!(total(&sum), total(&a) + total(&b));
        prop_assert!(sum.zero_threshold >= a.zero_threshold.max(b.zero_threshold));
        let mut other = b.clone();
        other.add(&a).unwrap();
        other.compact(0);
        sum.compact(0);
        other.counter_reset_hint = sum.counter_reset_hint;
        prop_assert_eq!(other, sum);
    }

    #[test]
    fn compensated_sums_of_few_bits_are_plain_sums(all in prop::collection::vec(any_histogram(true), 1..5)) {
        let mut plain = all[0].clone();
        let mut sum = HistogramSum::new(&all[0]);
        for h in &all[1..] {
            plain.add(h).unwrap();
            sum.add(h).unwrap();
        }
        plain.compact(0);
        let mut found = sum.total();
        found.compact(0);
        prop_assert_eq!(found, plain);
    }

    #[test]
    fn a_counter_that_grew_was_not_reset(a in any_histogram(false), b in any_histogram(false)) {
        let unknown = |h: &FloatHistogram| FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..h.clone() };
        let (a, b) = (unknown(&a), unknown(&b));
        let mut grown = a.clone();
        grown.add(&b).unwrap();
        prop_assert!(!grown.is_reset_after(&a));
        let mut less = grown.clone();
        less.count = a.count - 1.0;
        prop_assert!(less.is_reset_after(&a));
    }

    #[test]
    fn buckets_ascend_and_descend(h in any_histogram(true)) {
        let up: Vec<Bucket> = h.ascending().collect();
        let mut down: Vec<Bucket> = h.descending().collect();
        down.reverse();
        prop_assert_eq!(&up, &down);
        let bounds = |b: &Bucket| (b.lower, b.upper);
        prop_assert_eq!(up.len(), h.positive_buckets.len() + h.negative_buckets.len() + usize::from(h.zero_count > 0.0));
        let narrow = h.zero_threshold == 0.0;
        prop_assert!(!narrow || up.windows(2).all(|p| p[0].upper <= p[1].lower), "{:?}", up.iter().map(bounds).collect::<Vec<_>>());
    }

    #[test]
    fn trimming_far_outside_changes_nothing(h in any_histogram(true)) {
        let mut trimmed = h.clone();
        trimmed.trim_above(1e300);
        trimmed.trim_below(-1e300);
        prop_assert_eq!(&trimmed, &h);
        trimmed.trim_above(-1e300);
        prop_assert_eq!(total(&trimmed), 0.0);
    }

    #[test]
    fn whatever_the_parts_nothing_panics(
        spans in prop::collection::vec((any::<i32>(), prop_oneof![0..5u32, any::<u32>()]), 0..4),
        buckets in prop::collection::vec(any::<f64>(), 0..6),
        bounds in prop::collection::vec(any::<f64>(), 0..4),
        schema in prop_oneof![-9..=9i32, Just(crate::CUSTOM_BUCKETS_SCHEMA), any::<i32>()],
        zero in any::<(f64, f64)>(),
        other in any_histogram(true),
    ) {
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        let h = FloatHistogram {
            schema,
            zero_threshold: zero.0,
            zero_count: zero.1,
            positive_spans: spans.clone(),
            negative_spans: spans,
            positive_buckets: buckets.clone(),
            negative_buckets: buckets,
            custom_values: bounds,
            ..FloatHistogram::default()
        };
        prop_assert!(h.ascending().count() <= 13 && h.descending().count() <= 13);
        for (a, b) in [(&h, &other), (&other, &h), (&h, &h)] {
            let mut sum = a.clone();
            let added = sum.add(b).is_ok();
            prop_assert_eq!(added, sum.sub(b).is_ok());
            sum.compact(3);
            sum.trim_above(0.5);
            sum.trim_below(-0.5);
            sum.reduce_resolution(-4);
            // Only that it ends.
            std::hint::black_box(a.is_reset_after(b));
        }
    }
}

fn custom(bounds: &[f64], buckets: &[f64]) -> FloatHistogram {
    FloatHistogram {
        schema: crate::CUSTOM_BUCKETS_SCHEMA,
        count: buckets.iter().sum(),
        positive_spans: vec![Span { offset: 0, length: u32::try_from(buckets.len()).unwrap() }],
        positive_buckets: buckets.to_vec(),
        custom_values: bounds.to_vec(),
        ..FloatHistogram::default()
    }
}

#[test]
fn custom_buckets_keep_the_bounds_that_both_have() {
    for (a, b, expected) in [
        (
            custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]),
            custom(&[1.0, 2.0], &[1.0, 1.0, 1.0]),
            custom(&[1.0, 2.0], &[2.0, 3.0, 4.0]),
        ),
        (custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]), custom(&[2.0, 5.0], &[1.0, 1.0, 1.0]), custom(&[2.0], &[4.0, 5.0])),
        (custom(&[1.0], &[1.0, 2.0]), custom(&[3.0], &[1.0, 1.0]), custom(&[], &[5.0])),
    ] {
        let mut sum = a.clone();
        let combined = sum.add(&b).unwrap();
        assert_eq!(combined.bounds_reconciled, a.custom_values != b.custom_values);
        assert_eq!(sum, expected);
        assert!(!sum.is_reset_after(&a), "{sum:?} after {a:?}");
    }
    let mut exponential = FloatHistogram::default();
    assert_eq!(exponential.add(&custom(&[], &[1.0])), Err(MixedSchemas));
    assert_eq!(exponential, FloatHistogram::default(), "an error changes nothing");
}

#[test]
fn hints_of_sums_are_what_both_say() {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    for (a, b, expected, collides) in [
        (Unknown, Unknown, Unknown, false),
        (NotReset, NotReset, NotReset, false),
        (Reset, Reset, Reset, false),
        (Gauge, Reset, Gauge, false),
        (Reset, Gauge, Gauge, false),
        (Unknown, Gauge, Gauge, false),
        (Unknown, Reset, Unknown, false),
        (NotReset, Unknown, Unknown, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
    ] {
        let of = |hint| FloatHistogram { counter_reset_hint: hint, ..FloatHistogram::default() };
        let mut sum = of(a);
        assert_eq!(sum.add(&of(b)).unwrap().resets_collide, collides, "{a:?} and {b:?}");
        assert_eq!(sum.counter_reset_hint, expected, "{a:?} and {b:?}");
    }
}

#[test]
fn trimming_estimates_what_is_kept() {
    let h = || FloatHistogram {
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![4.0, 8.0],
        count: 12.0,
        sum: 30.0,
        ..FloatHistogram::default()
    };
    // Buckets (1,2] and (2,4].
    let mut above = h();
    above.trim_above(2.0);
    assert_eq!((above.count, above.positive_buckets.as_slice()), (4.0, &[4.0][..]));
    assert_eq!(above.sum, 4.0 * std::f64::consts::SQRT_2);
    let mut below = h();
    below.trim_below(8f64.sqrt());
    assert!((below.count - 4.0).abs() < 1e-9, "half of the upper bucket: {below:?}");
    let mut linear = custom(&[0.0, 10.0], &[0.0, 10.0, 0.0]);
    linear.trim_above(2.5);
    assert_eq!((linear.count, linear.sum), (2.5, 3.125));
}

#[test]
fn an_empty_first_span_still_says_where_the_others_lie() {
    let span = |offset, length| Span { offset, length };
    let mut h = FloatHistogram {
        positive_spans: vec![span(2, 0), span(3, 2)],
        positive_buckets: vec![2.0, -1.0],
        ..FloatHistogram::default()
    };
    h.compact(0);
    assert_eq!((h.positive_spans, h.positive_buckets), (vec![span(5, 2)], vec![2.0, -1.0]));
}
