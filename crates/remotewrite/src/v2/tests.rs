use model::TimestampMs;
use proptest::prelude::*;
use storage::{AppendError, AppendOutcome};

use crate::testing::{self, Stored, bytes_field, double};

use super::*;

const SYMBOLS: &[&str] = &["", "__name__", "m_bucket", "job", "a", "help text", "seconds", "trace_id", "abc"];

fn symbols() -> Vec<u8> {
    SYMBOLS.iter().flat_map(|symbol| bytes_field(4, symbol.as_bytes())).collect()
}

fn refs(refs: &[u8]) -> Vec<u8> {
    bytes_field(1, refs)
}

/// A sample with a start timestamp.
fn sample(at: u8, v: f64) -> Vec<u8> {
    bytes_field(2, &[double(1, v), vec![2 << 3, at, 3 << 3, 1]].concat())
}

fn series(parts: &[Vec<u8>]) -> Vec<u8> {
    bytes_field(5, &parts.concat())
}

fn request(all: &[Vec<u8>]) -> Vec<u8> {
    [symbols(), all.concat()].concat()
}

fn write(request: &[u8]) -> (Stored, Result<AppendOutcome, AppendError>) {
    testing::write(Request::new(request).as_ref().map_err(Clone::clone))
}

/// What is stored of a request, and in words what is refused.
fn check(request: &[u8], stored: &[&str], refused: &[&str]) {
    let (Stored { lines, .. }, outcome) = write(request);
    assert_eq!(lines, stored);
    let outcome = outcome.unwrap();
    let got: Vec<String> = outcome.rejections.iter().map(|r| format!("{} {}", r.sample_count, r.example)).collect();
    assert_eq!(got, refused);
}

#[test]
fn a_series_is_what_its_references_point_to() {
    let sorted = series(&[refs(&[1, 2, 3, 4]), sample(1, 1.0), sample(2, 0.5)]);
    let not_packed = series(&[vec![8, 3, 8, 0, 8, 1, 8, 5], sample(3, 7.0)]);
    check(
        &request(&[sorted, not_packed]),
        &[
            r#"{__name__="help text"} 7 @3"#,
            r#"{__name__="m_bucket", job="a"} 0.5 @2"#,
            r#"{__name__="m_bucket", job="a"} 1 @1"#,
        ],
        &[],
    );
    // The table may stand behind what points to it.
    let behind = [series(&[refs(&[1, 4]), sample(1, 1.0)]), symbols()].concat();
    check(&behind, &[r#"{__name__="a"} 1 @1"#], &[]);
    check(&request(&[]), &[], &[]);
}

#[test]
fn exemplars_and_metadata_come_with_their_series() {
    let exemplar = bytes_field(4, &[refs(&[7, 8]), double(2, 1.5), vec![3 << 3, 9]].concat());
    let too_long = bytes_field(4, &refs(&[5; 30]));
    let said = bytes_field(5, &[1 << 3, 3, 3 << 3, 5, 4 << 3, 6]);
    let one = series(&[refs(&[1, 2]), sample(1, 1.0), exemplar, too_long, said.clone()]);
    // Of the same family: told once.
    let other = series(&[refs(&[1, 2, 3, 4]), sample(1, 2.0), said]);
    check(
        &request(&[one, other]),
        &[
            r#"exemplar {trace_id="abc"} 1.5 @9"#,
            r#"family m histogram "help text" "seconds""#,
            r#"{__name__="m_bucket", job="a"} 2 @1"#,
            r#"{__name__="m_bucket"} 1 @1"#,
        ],
        &["0 labels of an exemplar are too long or invalid"],
    );
}

#[test]
fn metadata_that_was_stored_is_not_written_again_for_a_while() {
    let family = |help: u8| {
        let said = bytes_field(5, &[1 << 3, 2, 3 << 3, help]);
        request(&[series(&[refs(&[1, 4]), sample(1, 1.0), said])])
    };
    let known = KnownFamilies::default();
    let told = |help: u8, now: i64, is_stored: bool| {
        let message = family(help);
        let request = Request::new(&message).unwrap().leaving_out(&known, TimestampMs(now));
        let (Stored { lines, .. }, outcome) = testing::write(Ok(&request));
        outcome.unwrap();
        if is_stored {
            request.is_stored();
        }
        lines.iter().any(|line| line.starts_with("family a gauge"))
    };
    const MINUTE: i64 = 60_000;
    let told: Vec<bool> = [
        (5, 0, false),
        (5, 1, true),
        (5, 2, true),
        // It says something else now.
        (6, 3, true),
        (5, 4, true),
        // Too long ago; and the clock went back.
        (5, 10 * MINUTE, true),
        (5, 11 * MINUTE, true),
        (5, 0, true),
    ]
    .into_iter()
    .map(|(help, now, is_stored)| told(help, now, is_stored))
    .collect();
    assert_eq!(told, [true, true, false, true, false, true, false, true]);
}

#[test]
fn histograms_of_all_kinds_are_kept_and_bad_ones_refused() {
    let span = bytes_field(11, &[1 << 3, 0, 2 << 3, 2]);
    let at = |t: u8| vec![15 << 3, t];
    let integers = [vec![1 << 3, 5], vec![4 << 3, 4], span.clone(), bytes_field(12, &[6, 1]), at(1)].concat();
    let floats = [double(2, 1.5), span.clone(), double(13, 0.5), double(13, 1.0), at(2)].concat();
    // Schema -53, a bound in field 16, a start timestamp in field 17.
    let bound = [&[0x82, 1, 8][..], &0.25f64.to_le_bytes(), &[0x88, 1, 7]].concat();
    let custom = [vec![1 << 3, 3], vec![4 << 3, 105], span, bytes_field(12, &[2, 2]), at(3), bound].concat();
    let bad = [vec![1 << 3, 3], at(4)].concat();
    let all = [integers, floats, custom, bad].map(|histogram| bytes_field(3, &histogram));
    let one = series(&[refs(&[1, 4]), all.concat()]);
    let (Stored { lines, .. }, outcome) = write(&request(std::slice::from_ref(&one)));
    assert_eq!(
        lines,
        [
            r#"{__name__="a"} floats 0 [] [0.5, 1.0] @2"#,
            r#"{__name__="a"} integers -53 [0.25] [1.0, 2.0] @3"#,
            r#"{__name__="a"} integers 2 [] [3.0, 2.0] @1"#,
        ]
    );
    let outcome = outcome.unwrap();
    assert_eq!((outcome.stored_samples, outcome.stored_histograms), (3, 3));
    assert_eq!((outcome.rejections[0].reason, outcome.rejections[0].sample_count), (RejectReason::InvalidHistogram, 1));
    let counts = Counts { series: 1, samples: 0, histograms: 4, exemplars: 0 };
    assert_eq!(Request::new(&request(&[one])).unwrap().validate(), Ok(counts));
}

#[test]
fn a_series_that_cannot_be_is_refused_alone_in_prometheus_words() {
    let good = || series(&[refs(&[1, 4]), sample(1, 1.0)]);
    let bad_unit = bytes_field(5, &[4 << 3, 77]);
    let bad_exemplar = bytes_field(4, &refs(&[7]));
    for (bad, words) in [
        (
            series(&[refs(&[1, 99]), sample(1, 1.0)]),
            "1 parsing labels for series [1 99]: labelRefs 1 (name) = 99 (value) outside of symbols table (size 9)",
        ),
        (
            series(&[refs(&[1, 2, 3]), sample(1, 1.0), sample(2, 1.0)]),
            "2 parsing labels for series [1 2 3]: invalid labelRefs length 3",
        ),
        (
            series(&[refs(&[1, 2]), bad_unit, sample(1, 1.0)]),
            "1 parsing metadata for series [1 2]: metadata unit_ref 77 outside of symbols table (size 9)",
        ),
        (series(&[sample(1, 1.0)]), "1 invalid metric name or labels, got {}"),
        (series(&[refs(&[1, 0]), sample(1, 1.0)]), r#"1 invalid metric name or labels, got {__name__=""}"#),
        (series(&[refs(&[3, 4]), sample(1, 1.0)]), r#"1 invalid metric name or labels, got {job="a"}"#),
        (
            series(&[refs(&[1, 4, 3, 2, 3, 4]), sample(1, 1.0)]),
            r#"1 invalid labels for series, labels {__name__="a", job="m_bucket", job="a"}, duplicated label job"#,
        ),
        (
            series(&[refs(&[1, 2])]),
            r#"0 TimeSeries must contain at least one sample or histogram for series {__name__="m_bucket"}"#,
        ),
        (
            series(&[refs(&[1, 4]), sample(2, 2.0), bad_exemplar]),
            r#"0 parsing exemplar for series {__name__="a"}: invalid labelRefs length 1"#,
        ),
    ] {
        let (Stored { lines, .. }, outcome) = write(&request(&[bad, good()]));
        let outcome = outcome.unwrap();
        let got: Vec<_> = outcome.rejections.iter().map(|r| format!("{} {}", r.sample_count, r.example)).collect();
        assert_eq!(got, [words]);
        assert!(lines.contains(&r#"{__name__="a"} 1 @1"#.to_owned()), "{lines:?}");
    }
    let not_utf8 = [symbols(), bytes_field(4, &[0xff]), series(&[refs(&[1, 9]), sample(1, 1.0)])].concat();
    check(&not_utf8, &[], &["1 invalid metric name or labels, got {__name__=\"\u{fffd}\"}"]);
}

#[test]
fn a_malformed_request_changes_nothing() {
    let good = || request(&[series(&[refs(&[1, 4]), sample(1, 1.0)])]);
    for bad in [&[0x2a, 5, 1][..], &[0x2a, 2, 0x0a, 9], &[0x28, 1], &[0x20, 1], &[0xff; 11], &[0x2a, 2, 0x12, 1]] {
        let (Stored { lines, .. }, outcome) = write(&[&good()[..], bad].concat());
        assert!(matches!(outcome, Err(AppendError::Malformed(_))), "{bad:?}");
        assert!(lines.is_empty());
    }
}

#[test]
fn symbols_are_bounded() {
    let mut many = [4 << 3 | 2, 0].repeat(SYMBOLS_MAX);
    assert!(Request::new(&many).is_ok());
    many.extend([4 << 3 | 2, 0]);
    assert_eq!(Request::new(&many).err(), Some("more than 1048576 symbols in a request".to_owned()));
}

proptest! {
    #[test]
    fn any_bytes_give_a_request_or_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..100),
        at in 0usize..200,
        byte in any::<u8>(),
    ) {
        crate::fuzzing::fuzz_v2_request(&bytes);
        let histogram = bytes_field(3, &[1 << 3, 2, 11 << 3 | 2, 2, 2 << 3, 1, 12 << 3 | 2, 1, 4]);
        let exemplar = bytes_field(4, &[refs(&[7, 8]), double(2, 1.5)].concat());
        bytes = request(&[series(&[refs(&[1, 2, 3, 4]), sample(1, 1.0), exemplar, histogram])]);
        let n = bytes.len();
        bytes[at % n] = byte;
        crate::fuzzing::fuzz_v2_request(&bytes);
        drop(write(&bytes));
    }
}
