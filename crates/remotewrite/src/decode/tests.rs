use model::{CounterResetHint, Histogram, SampleValue, Span};
use proptest::prelude::*;
use storage::{AppendError, AppendOutcome};

use crate::testing::{self, Stored, bytes_field, double};

use super::*;

fn label(name: &str, value: &str) -> Vec<u8> {
    bytes_field(1, &[bytes_field(1, name.as_bytes()), bytes_field(2, value.as_bytes())].concat())
}

fn sample(t: u8, v: f64) -> Vec<u8> {
    let mut s = vec![1 << 3 | 1];
    s.extend_from_slice(&v.to_le_bytes());
    s.extend_from_slice(&[2 << 3, t]);
    bytes_field(2, &s)
}

fn series(parts: &[Vec<u8>]) -> Vec<u8> {
    bytes_field(1, &parts.concat())
}

fn write(request: &[u8]) -> (Stored, Result<AppendOutcome, AppendError>) {
    testing::write(Ok(&WriteRequest::new(request)))
}

#[test]
fn series_come_with_sorted_labels_whatever_their_order() {
    let request = [
        series(&[label("__name__", "up"), label("job", "a"), sample(1, 1.0), sample(2, 0.0)]),
        series(&[sample(1, 5.0), label("zone", ""), label("job", "b"), label("__name__", "up")]),
    ]
    .concat();
    let (Stored { lines, .. }, outcome) = write(&request);
    assert_eq!(
        lines,
        [r#"{__name__="up", job="a"} 0 @2"#, r#"{__name__="up", job="a"} 1 @1"#, r#"{__name__="up", job="b"} 5 @1"#]
    );
    assert_eq!(outcome.unwrap().stored_samples, 3);
}

#[test]
fn metadata_and_exemplars_are_kept_and_bad_histograms_refused() {
    let exemplar = bytes_field(
        3,
        &[label("trace_id", "abc"), vec![2 << 3 | 1], 7f64.to_le_bytes().to_vec(), vec![3 << 3, 9]].concat(),
    );
    let histogram = bytes_field(4, &[1 << 3, 5]);
    let metadata = bytes_field(3, &[vec![1 << 3, 1], bytes_field(2, b"up"), bytes_field(4, b"help")].concat());
    let request = [series(&[label("__name__", "up"), sample(1, 1.0), exemplar, histogram]), metadata].concat();
    let (Stored { lines, .. }, outcome) = write(&request);
    assert_eq!(
        lines,
        [r#"exemplar {trace_id="abc"} 7 @9"#, r#"family up counter "help" """#, r#"{__name__="up"} 1 @1"#]
    );
    let outcome = outcome.unwrap();
    assert_eq!((outcome.stored_samples, outcome.stored_exemplars), (1, 1));
    assert_eq!(outcome.rejections[0].reason, RejectReason::InvalidHistogram);
    assert_eq!(
        WriteRequest::new(&request).validate(),
        Ok(Counts { series: 1, samples: 1, histograms: 1, exemplars: 1 })
    );
}

#[test]
fn histograms_of_both_kinds_are_kept() {
    let span = |number: u8, offset: u8, length: u8| bytes_field(number, &[1 << 3, offset, 2 << 3, length]);
    // Two buckets from index -1 (zigzag 1) with counts 3 and 2, custom bounds in a second one; deltas packed and not.
    let integer = [
        vec![1 << 3, 6],
        double(3, 1.5),
        vec![4 << 3, 2],
        double(5, 0.25),
        vec![6 << 3, 1],
        span(11, 1, 2),
        vec![12 << 3, 6, 12 << 3, 1],
        vec![14 << 3, 2],
        vec![15 << 3, 7],
    ]
    .concat();
    let mut custom = [double(2, 2.5), vec![4 << 3, 105], span(11, 0, 1), double(13, 2.5), vec![15 << 3, 8]].concat();
    // Field 16 has a tag of two bytes.
    custom.extend_from_slice(&[0x82, 1, 8]);
    custom.extend_from_slice(&0.5f64.to_le_bytes());
    let fields = [label("__name__", "h"), bytes_field(4, &integer), bytes_field(4, &custom)];
    let (Stored { lines, histograms }, outcome) = write(&series(&fields));
    assert_eq!(outcome.unwrap().stored_samples, 2);
    let expected = Histogram {
        counter_reset_hint: CounterResetHint::NotReset,
        schema: 1,
        zero_threshold: 0.25,
        zero_count: 1,
        count: 6,
        sum: 1.5,
        positive_spans: vec![Span { offset: -1, length: 2 }],
        positive_buckets: vec![3, -1],
        ..Histogram::default()
    };
    assert_eq!(histograms[0], SampleValue::Histogram(Box::new(expected)));
    assert_eq!(lines, [r#"{__name__="h"} floats -53 [0.5] [2.5] @8"#, r#"{__name__="h"} integers 1 [] [3.0, 2.0] @7"#]);
}

#[test]
fn unusable_labels_are_refused_and_the_rest_is_stored() {
    let bad = [
        series(&[sample(1, 1.0)]),
        series(&[label("job", "a"), sample(1, 1.0)]),
        series(&[label("__name__", "up"), label("a", "1"), label("a", "2"), sample(1, 1.0)]),
        series(&[
            label("__name__", "up"),
            bytes_field(1, &[bytes_field(1, b"a"), bytes_field(2, &[0xff])].concat()),
            sample(1, 1.0),
        ]),
    ];
    let good = series(&[label("__name__", "up"), sample(1, 1.0)]);
    let (Stored { lines, .. }, outcome) = write(&[bad.concat(), good].concat());
    assert_eq!(lines, [r#"{__name__="up"} 1 @1"#]);
    let rejections = outcome.unwrap().rejections;
    assert_eq!((rejections[0].reason, rejections[0].sample_count), (RejectReason::InvalidLabels, 4));
}

#[test]
fn a_malformed_request_changes_nothing() {
    let good = series(&[label("__name__", "up"), sample(1, 1.0)]);
    for bad in [&[0x0a, 5, 1][..], &[0x0f], &[0x0a, 2, 0x0a, 9], &[8, 1], &[0xff; 11]] {
        let (Stored { lines, .. }, outcome) = write(&[&good[..], bad].concat());
        assert!(matches!(outcome, Err(AppendError::Malformed(_))), "{bad:?}");
        assert!(lines.is_empty());
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_request_or_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..100),
        at in 0usize..80,
        byte in any::<u8>(),
    ) {
        crate::fuzzing::fuzz_write_request(&bytes);
        bytes = series(&[label("__name__", "up"), label("job", "a"), sample(1, 1.0), sample(2, 0.0)]);
        bytes.extend(series(&[label("__name__", "h"), bytes_field(4, &[1 << 3, 2, 11 << 3 | 2, 2, 2 << 3, 1, 12 << 3 | 2, 1, 4])]));
        let n = bytes.len();
        bytes[at % n] = byte;
        crate::fuzzing::fuzz_write_request(&bytes);
        drop(write(&bytes));
    }
}
