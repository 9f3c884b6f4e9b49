use super::*;

fn written(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    put(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn labels_are_escaped_as_little_as_json_allows_and_other_texts_for_html() {
    for (text, label, other) in [
        ("plain é 日本", r#""plain é 日本""#, r#""plain é 日本""#),
        ("a\"b\\c", r#""a\"b\\c""#, r#""a\"b\\c""#),
        (
            "\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}",
            "\"\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\u{7f}\"",
            "\"\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\u{7f}\"",
        ),
        ("<a>&", r#""<a>&""#, r#""\u003ca\u003e\u0026""#),
        ("\u{2028}\u{2029}\u{2030}", "\"\u{2028}\u{2029}\u{2030}\"", "\"\\u2028\\u2029\u{2030}\""),
    ] {
        assert_eq!(written(|out| put_label_text(out, text)), label);
        assert_eq!(written(|out| put_text(out, text)), other);
    }
}

#[test]
fn values_are_written_as_numbers_writes_them() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let special = [0.0, -0.0, 1.0, -1.0, 0.1, 1e15, -1e15, 1e16, 1e21, 1e-4, 9.9e-5, 1e-6, 1e-7, 123_456.789];
    let limits =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324, 999_999_999_999_999.9];
    // Any bits, and numbers of common size with few and with many digits.
    let any: Vec<f64> = (0..20_000).map(|_| f64::from_bits(random())).collect();
    let common: Vec<f64> = any.iter().map(|f| (f.to_bits() % 1_000_000_007) as f64 / 1000.0).collect();
    let many: Vec<f64> = any.iter().map(|f| (f.to_bits() >> 11) as f64 / 9_007_199_254_740_992.0 * 1e6).collect();
    for f in special.into_iter().chain(limits).chain(any).chain(common).chain(many) {
        assert_eq!(written(|out| put_value(out, f)), numbers::json_float(f), "{f:e}");
    }
}

#[test]
fn times_are_written_as_numbers_writes_them() {
    for ms in [0, 1, 10, 100, 999, 1000, 1001, -1, -1000, -1500, 1_435_781_451_781, i64::MAX, i64::MIN] {
        assert_eq!(written(|out| put_timestamp(out, TimestampMs(ms))), numbers::json_timestamp(ms));
    }
}

#[test]
fn other_numbers_are_those_of_go() {
    for (f, expected) in
        [(0.0, "0"), (2.6029e-5, "0.000026029"), (1e-9, "1e-9"), (1.5e-7, "1.5e-7"), (1e21, "1e+21"), (1e-10, "1e-10")]
    {
        assert_eq!(written(|out| put_number(out, f)), expected);
    }
}

#[test]
fn dates_are_those_of_go() {
    for (ms, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_400_000, "2023-11-14T22:20:00Z"),
        (1_709_164_800_120, "2024-02-29T00:00:00.12Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(written(|out| put_date(out, TimestampMs(ms))), format!("\"{expected}\""));
    }
}
