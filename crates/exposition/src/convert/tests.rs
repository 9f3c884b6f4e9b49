use super::*;

#[track_caller]
fn check(format: Format, page: &str, classic: ClassicLines, text: &str, beside: &[&str]) {
    let got = with_custom_buckets(format, page.as_bytes(), classic);
    assert_eq!(got.error, None);
    assert_eq!(String::from_utf8_lossy(&got.text), text);
    let histogram = |h: &crate::LineHistogram| {
        let at = h.timestamp.map(|t| t.0);
        match &h.value {
            SampleValue::Histogram(i) => {
                format!("{} {at:?} {} {} {:?} {:?}", h.line, i.count, i.sum, i.custom_values, i.positive_buckets)
            }
            SampleValue::FloatHistogram(f) => {
                format!("{} {at:?} floats {} {} {:?} {:?}", h.line, f.count, f.sum, f.custom_values, f.positive_buckets)
            }
            SampleValue::Float(_) => unreachable!("no histogram"),
        }
    };
    let exemplar =
        |(line, e): &(u64, Exemplar)| format!("{line} {} {} {:?}", e.labels, e.value, e.timestamp.map(|t| t.0));
    let got: Vec<String> = got.histograms.iter().map(histogram).chain(got.exemplars.iter().map(exemplar)).collect();
    assert_eq!(got, beside);
}

const TEXT: &str = "# HELP h Some.
# TYPE h histogram
h_bucket{a=\"1\",le=\"1\"} 1
h_bucket{a=\"1\",le=\"+Inf\"} 3
h_sum{a=\"1\"} 2.5
h_count{a=\"1\"} 3
h_bucket{a=\"2\",le=\"1\"} 0.5
h_sum{a=\"2\"} 7
h_count{a=\"2\"} 0.5
# TYPE g gauge
g 1 17
g_bucket{le=\"1\"} 1
";

#[test]
fn classic_histograms_become_native_ones() {
    check(
        Format::Text,
        TEXT,
        ClassicLines::Drop,
        "# HELP h Some.\n# TYPE h histogram\nh{a=\"1\"} 0\nh{a=\"2\"} 0\n# TYPE g gauge\ng 1 17\ng_bucket{le=\"1\"} 1\n",
        &["0 None 3 2.5 [1.0] [1, 1]", "1 None floats 0.5 7 [1.0] [0.5]"],
    );
}

#[test]
fn classic_lines_may_stay_before_them() {
    let kept = TEXT
        .replace("h_bucket{a=\"2\"", "h{a=\"1\"} 0\nh_bucket{a=\"2\"")
        .replace("# TYPE g", "h{a=\"2\"} 0\n# TYPE g");
    check(
        Format::Text,
        TEXT,
        ClassicLines::Keep,
        &kept,
        &["4 None 3 2.5 [1.0] [1, 1]", "8 None floats 0.5 7 [1.0] [0.5]"],
    );
}

#[test]
fn openmetrics_has_exemplars_timestamps_and_an_end() {
    let page = "# TYPE h histogram
h_bucket{le=\"1.0\"} 1 12.25 # {t=\"dated\"} 0.5 3.5
h_bucket{le=\"+Inf\"} 2 12.25 # {t=\"undated\"} 1.5
h_sum 2.5 12.25
h_count 2 12.25
h_created 1
# TYPE c counter
c_total 1 # {t=\"x\"} 1
# EOF
";
    let text = "# TYPE h histogram\nh 0 12.25\nh_created 1\n# TYPE c counter\nc_total 1 # {t=\"x\"} 1\n# EOF\n";
    let beside = ["0 Some(12250) 2 2.5 [1.0] [1, 0]", r#"0 {t="dated"} 0.5 Some(3500)"#];
    check(Format::OpenMetrics, page, ClassicLines::Drop, text, &beside);
}

#[test]
fn what_is_no_histogram_is_left_as_it_is() {
    // Another family's name, no bound, a bound that is no number, no type.
    for page in [
        "# TYPE x histogram\nh_bucket{le=\"1\"} 1\n",
        "# TYPE h histogram\nh_bucket 1\nh_bucket{le=\"x\"} 1\nh 1\n",
        "# TYPE h summary\nh_count 1\nh_sum 1\n",
        "h_bucket{le=\"1\"} 1\nh_count 1\n",
        "\"\n",
    ] {
        let got = with_custom_buckets(Format::Text, page.as_bytes(), ClassicLines::Drop);
        if got.error.is_none() {
            assert_eq!((String::from_utf8_lossy(&got.text).as_ref(), got.histograms), (page, vec![]));
        }
    }
}

#[test]
fn what_cannot_be_converted_is_left_out() {
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_count 2\ng 1\n";
    check(Format::Text, page, ClassicLines::Drop, "# TYPE h histogram\ng 1\n", &[]);
}

#[test]
fn a_bad_page_has_its_error_behind_the_lines_before() {
    let got = with_custom_buckets(Format::Text, b"g 1\nbad bad\n", ClassicLines::Drop);
    assert_eq!(got.text, b"g 1\n");
    assert!(matches!(got.error, Some(LinesError::Parse(e)) if e.line == 2));
}
