//! Floats, against Prometheus and the standard library.

use super::*;
use crate::parser::tests::conformance;
use proptest::prelude::*;

fn written(value: f64, format: fn(&mut Vec<u8>, f64)) -> String {
    let mut out = Vec::new();
    format(&mut out, value);
    String::from_utf8(out).unwrap()
}

fn float_of(bits: &serde_json::Value) -> f64 {
    f64::from_bits(u64::from_str_radix(bits.as_str().unwrap().trim_start_matches("0x"), 16).unwrap())
}

#[test]
fn floats_are_written_and_read_as_in_go() {
    let Some(cases) = conformance("numbers/format.jsonl") else { return };
    let mut counts = [0usize; 3];
    for line in String::from_utf8(cases).unwrap().lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        match case["op"].as_str().unwrap() {
            "openmetrics_float" => {
                counts[0] += 1;
                assert_eq!(case["text"], written(float_of(&case["bits"]), format_openmetrics_float), "{line}");
            }
            "format_g" => {
                counts[1] += 1;
                assert_eq!(case["text"], written(float_of(&case["bits"]), append_g), "{line}");
            }
            "go_parse_float" => {
                counts[2] += 1;
                let parsed = parse_go_float(case["input"].as_str().unwrap().as_bytes());
                assert_eq!(parsed.is_ok(), case["ok"].as_bool().unwrap(), "{line}");
                if let Ok(value) = parsed {
                    let expected = float_of(&case["out_bits"]);
                    assert!(value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan(), "{line}");
                }
            }
            _ => {}
        }
    }
    assert_eq!(counts, [177, 177, 141]);
}

#[test]
fn shortest_digits_that_are_equally_near_are_even_as_in_go() {
    for (bits, text) in [
        (0x3e60_0000_0000_0000, "2.9802322387695312e-08"),
        // Here the even digits would be another float's.
        (0x3e70_0000_0000_0000, "5.960464477539063e-08"),
        (0x409d_8415_d000_0000, "1889.0213012695312"),
        (0x4193_4201_d35a_0000, "8.077323683789062e+07"),
        (0x4281_e96f_80c5_6240, "2.4617869702842812e+12"),
        (0x4340_0000_0000_0001, "9.007199254740994e+15"),
    ] {
        assert_eq!(written(f64::from_bits(bits), format_float), text);
    }
}

#[test]
fn the_fast_path_takes_what_real_pages_hold() {
    for (text, value, length) in [
        ("0", 0.0, 1),
        ("190932\n", 190_932.0, 6),
        ("-1.5 x", -1.5, 4),
        ("4.059092e+06", 4_059_092.0, 12),
        ("7.6238e-05", 7.6238e-5, 10),
        ("1.726839813016e+09", 1_726_839_813.016, 18),
        ("44.985611511", 44.985_611_511, 12),
        ("9223372036854775807", 9_223_372_036_854_775_807.0, 19),
        (".5", 0.5, 2),
        ("5.", 5.0, 2),
        ("1E3", 1000.0, 3),
    ] {
        assert_eq!(fast_decimal(text.as_bytes()), Some((value, length)), "{text}");
    }
    for text in
        ["", "-", ".", "-.", "e5", "1e", "1e+", "NaN", "+1", "12345678901234567890", "1e23", "1e-23", "1e9999999999"]
    {
        assert_eq!(fast_decimal(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_value(b"-0").unwrap().to_bits(), (-0.0f64).to_bits());
}

#[test]
fn hexadecimal_floats_round_to_nearest_even() {
    for (text, value) in [
        ("0x1p-2", Ok(0.25)),
        ("-0x1.8p1", Ok(-3.0)),
        ("0x1.fffffffffffff8p0", Ok(2.0)),
        ("0x1.00000000000008p0", Ok(1.0)),
        ("0x1.00000000000008000000000000001p0", Ok(1.0 + f64::EPSILON)),
        ("0x1p-1074", Ok(f64::from_bits(1))),
        ("0x1p-1075", Ok(0.0)),
        ("0x1.8p-1075", Ok(f64::from_bits(1))),
        ("0x1p-99999999999", Ok(0.0)),
        ("0x1.fffffffffffffp1023", Ok(f64::MAX)),
        ("0x1.fffffffffffff8p1023", Err(FloatError::Range)),
        ("0x1p1024", Err(FloatError::Range)),
        ("0x_1_0p0", Ok(16.0)),
        ("0x1", Err(FloatError::Syntax)),
        ("0xp1", Err(FloatError::Syntax)),
        ("0x1p", Err(FloatError::Syntax)),
        ("1_", Err(FloatError::Syntax)),
        ("_1", Err(FloatError::Syntax)),
        ("1__0", Err(FloatError::Syntax)),
        ("1_0.2_5e1_0", Ok(10.25e10)),
        ("1_.5", Err(FloatError::Syntax)),
    ] {
        assert_eq!(parse_go_float(text.as_bytes()), value, "{text}");
    }
}

proptest! {
    #[test]
    fn decimals_are_read_as_the_standard_library_reads_them(
        sign in "-?", whole in "[0-9]{0,12}", fraction in "(\\.[0-9]{0,12})?", exponent in "(e[-+]?[0-9]{1,3})?"
    ) {
        let text = format!("{sign}{whole}{fraction}{exponent}");
        let expected = text.parse::<f64>().ok().filter(|v| v.is_finite());
        prop_assert_eq!(parse_value(text.as_bytes()).ok().map(f64::to_bits), expected.map(f64::to_bits));
    }

    #[test]
    fn what_is_written_comes_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        for format in [format_float, format_openmetrics_float] {
            let text = written(value, format);
            let back = parse_value(text.as_bytes()).unwrap();
            prop_assert!(back == value || back.is_nan() && value.is_nan(), "{}", text);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..24), text in "[-+0-9._xXpPeEa-fA-FinIN]{0,24}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _both = (parse_value(bytes).is_ok(), parse_go_float(bytes).is_ok());
        }
    }
}
