//! Prometheus' verdicts, as its own `Validate` gives them at v3.14.0.

use super::*;

const INF: f64 = f64::INFINITY;

fn spans(text: &str) -> Vec<Span> {
    let span = |s: &str| {
        let (offset, length) = s.split_once('/').unwrap();
        Span { offset: offset.parse().unwrap(), length: length.parse().unwrap() }
    };
    text.split_whitespace().map(span).collect()
}

/// Both sides as `spans: buckets`.
fn sides(positive: &str, negative: &str) -> Histogram {
    let side = |text: &str| {
        let (s, b) = text.split_once(':').unwrap();
        (spans(s), b.split_whitespace().map(|n| n.parse().unwrap()).collect())
    };
    let ((positive_spans, positive_buckets), (negative_spans, negative_buckets)) = (side(positive), side(negative));
    Histogram { positive_spans, positive_buckets, negative_spans, negative_buckets, ..Histogram::default() }
}

fn custom(positive: &str, bounds: &[f64]) -> Histogram {
    Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: bounds.to_vec(), ..sides(positive, ":") }
}

/// Fills in the count, then compares both kinds' verdicts; empty: none.
fn check(h: Histogram, integer: &str, float: &str) {
    let text = |r: Result<(), HistogramError>| r.map_or_else(|e| e.to_string(), |()| String::new());
    assert_eq!(text(h.validate()), integer, "{h:?}");
    let mut f = h.to_float();
    (f.zero_count, f.zero_threshold) = (h.zero_count as f64, h.zero_threshold);
    (f.negative_spans, f.custom_values) = (h.negative_spans.clone(), h.custom_values.clone());
    if h.uses_custom_buckets() {
        f.negative_buckets = h.negative_buckets.iter().map(|n| *n as f64).collect();
    }
    assert_eq!(text(f.validate()), float, "{f:?}");
}

#[test]
fn histograms_that_are_whole_are_taken() {
    check(Histogram::default(), "", "");
    check(Histogram { count: 12, zero_count: 2, sum: 1.0, ..sides("0/2 1/1: 1 2 -1", "-3/1: 4") }, "", "");
    check(Histogram { count: 99, sum: f64::NAN, ..sides("0/1: 1", ":") }, "", "");
    check(Histogram { count: 5, ..custom("0/2 1/1: 1 0 2", &[1.0, 2.0, 3.0]) }, "", "");
}

#[test]
fn counts_agree_with_buckets_in_integer_histograms() {
    let mismatch = "3 observations found in buckets, but the Count field is 4: histogram's observation count should equal \
                    the number of observations found in the buckets (in absence of NaN)";
    check(Histogram { count: 4, ..sides("0/2: 1 1", ":") }, mismatch, "");
    let small = "3 observations found in buckets, but the Count field is 2: histogram's observation count should be at \
                 least the number of observations found in the buckets";
    check(Histogram { count: 2, sum: f64::NAN, ..sides("0/2: 1 1", ":") }, small, "");
}

#[test]
fn negative_counts_are_refused() {
    let positive = "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation \
                    count is negative";
    check(sides("0/2: 1 -2", ":"), positive, positive);
    let negative = "negative side: bucket number 1 has observation count of -1: histogram has a bucket whose observation \
                    count is negative";
    check(sides(":", "7/1: -1"), negative, negative);
    let large = "positive side: bucket number 1 has observation count of -1.234567e+06: histogram has a bucket whose \
                 observation count is negative";
    let f = FloatHistogram { positive_buckets: vec![-1_234_567.0], ..sides("0/1: 0", ":").to_float() };
    assert_eq!(f.validate().unwrap_err().to_string(), large);
    let zero = FloatHistogram { zero_count: -0.5, ..FloatHistogram::default() }.validate().unwrap_err();
    let expected =
        "zero bucket has observation count of -0.5: histogram has a bucket whose observation count is negative";
    assert_eq!(zero.to_string(), expected);
    let count = FloatHistogram { count: -INF, ..FloatHistogram::default() }.validate().unwrap_err();
    assert_eq!(count.to_string(), "observation count is  -Inf: histogram's observation count is negative");
}

#[test]
fn spans_go_forward_and_name_all_buckets() {
    let back = "negative side: span number 2 with offset -1: histogram has a span whose offset is negative";
    check(sides(":", "0/1 -1/1: 1 1"), back, back);
    let few = "positive side: spans need 4294967295 buckets, have 1 buckets: histogram spans specify different number of \
               buckets than provided";
    check(sides("0/4294967295: 1", ":"), few, few);
    let schema = "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for \
                  custom buckets, got schema -5";
    check(Histogram { schema: -5, ..Histogram::default() }, schema, schema);
    let bounds = "histogram with exponential schema must not have custom bounds";
    check(Histogram { custom_values: vec![1.0], ..Histogram::default() }, bounds, bounds);
}

#[test]
fn custom_bounds_rise_and_suffice() {
    let both = |h: Histogram, text: &str| check(h, text, text);
    both(custom(":", &[1.0, f64::NAN]), "custom buckets: histogram custom bounds must not be NaN");
    both(
        custom(":", &[1.0, 1.0 / 3.0]),
        "custom buckets: previous bound is 1.000000 and current is 0.333333: histogram custom bounds must be in strictly \
         increasing order",
    );
    both(
        custom(":", &[1.0, INF]),
        "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite",
    );
    both(
        custom("-1/1: 1", &[1.0]),
        "custom buckets: span number 1 with offset -1: histogram has a span whose offset is negative",
    );
    both(
        custom("0/2: 1", &[1.0]),
        "custom buckets: spans need 2 buckets, have 1 buckets: histogram spans specify different number of buckets than \
         provided",
    );
    both(
        custom("1/2: 1 1", &[1.0]),
        "custom buckets: only 1 custom bounds defined which is insufficient to cover total span length of 3: histogram \
         custom bounds are too few",
    );
    let with = |change: fn(&mut Histogram)| {
        let mut h = custom(":", &[1.0]);
        change(&mut h);
        h
    };
    both(with(|h| h.zero_count = 1), "custom buckets: must have zero count of 0");
    both(with(|h| h.zero_threshold = 0.1), "custom buckets: must have zero threshold of 0");
    both(with(|h| h.negative_spans = spans("0/1")), "custom buckets: must not have negative spans");
    both(with(|h| h.negative_buckets = vec![1]), "custom buckets: must not have negative buckets");
}

#[test]
fn sizes_are_bounded() {
    let too_many = vec![0; BUCKETS_MAX + 1];
    let wide = Span { offset: 0, length: too_many.len() as u32 };
    let h = Histogram { positive_spans: vec![wide], positive_buckets: too_many, ..Histogram::default() };
    assert!(matches!(h.validate(), Err(HistogramError::TooMany { found: 65_537, .. })));
    let far = sides("2147483647/1 2147483647/1: 1 1", ":");
    assert!(matches!(far.validate(), Err(HistogramError::IndexTooHigh { side: SpanSide::Positive })));
    assert!(check_layout(20, &spans("0/2 1/3"), &[], &[]).is_ok());
    assert!(check_layout(0, &[Span { offset: 0, length: u32::MAX }; 3], &[], &[]).is_err());
    assert!(check_layout(53, &[], &[], &[]).is_err());
}

#[test]
fn resolutions_that_are_too_fine_are_reduced() {
    let mut h = Histogram { schema: 9, count: 2, ..sides("0/2: 1 0", ":") };
    assert_eq!(h.normalize(), Ok(()));
    assert_eq!((h.schema, &h.positive_spans[..], &h.positive_buckets[..]), (8, &spans("0/2")[..], &[1, 0][..]));
    let mut f = Histogram { schema: 12, count: 2, ..sides("1/2: 1 0", ":") }.to_float();
    assert_eq!(f.normalize(), Ok(()));
    assert_eq!((f.schema, &f.positive_spans[..], &f.positive_buckets[..]), (8, &spans("1/1")[..], &[2.0][..]));
    assert!(Histogram { schema: 53, ..Histogram::default() }.normalize().is_err());
}
