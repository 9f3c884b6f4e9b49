//! Numbers and times, as PromQL and the HTTP API read and write them.

use promql::ast::ExprKind;
use promql::numbers::{format_f, format_g, json_float, json_timestamp, parse_float, parse_limit, parse_time};
use promql::{ParseOptions, parse_expr, quoted};
use serde_json::Value;

use crate::cases::{Report, json_lines, text};

/// The bits of a float, in hexadecimal, in that field.
fn float(case: &Value, field: &str) -> f64 {
    let bits = text(case, field).strip_prefix("0x").expect("bits in hexadecimal");
    f64::from_bits(u64::from_str_radix(bits, 16).expect("bits in hexadecimal"))
}

fn bits(f: f64) -> String {
    format!("{:#018x}", f.to_bits())
}

fn check_promql_number(report: &mut Report, name: &str, case: &Value) {
    let expr = match parse_expr(text(case, "input"), &ParseOptions::STABLE) {
        Ok(expr) => expr,
        Err(e) => return report.check(name, e.to_string().as_str(), text(case, "error")),
    };
    match expr.kind {
        ExprKind::Number(n) => {
            report.check(name, bits(n.value).as_str(), text(case, "out_bits"));
            report.check(name, expr.to_string().as_str(), text(case, "text"));
        }
        _ => {
            let error = format!("not a number literal: {}", expr.value_type().name());
            report.check(name, error.as_str(), text(case, "error"));
        }
    }
}

fn check_time(report: &mut Report, name: &str, case: &Value) {
    let input = text(case, "input");
    match parse_time(input) {
        Some(t) => {
            report.check(name, case["ok"].as_bool().unwrap(), true);
            report.check(name, t.seconds, case["seconds"].as_i64().unwrap_or(-1));
            report.check(name, i64::from(t.nanos), case["nanos"].as_i64().unwrap_or(-1));
            report.check(name, t.millis(), case["ms"].as_i64().unwrap_or(-1));
        }
        None => {
            let error = format!("cannot parse {} to a valid timestamp", quoted(input.as_bytes()));
            report.check(name, error.as_str(), text(case, "error"));
        }
    }
}

/// Checks one case; false where it concerns the exposition formats, which are another crate's.
fn check_case(report: &mut Report, name: &str, case: &Value) -> bool {
    let input = text(case, "input");
    match text(case, "op") {
        "json_float" => report.check(name, json_float(float(case, "bits")).as_str(), text(case, "text")),
        "format_f" => report.check(name, format_f(float(case, "bits")).as_str(), text(case, "text")),
        "format_g" => report.check(name, format_g(float(case, "bits")).as_str(), text(case, "text")),
        "json_timestamp" => {
            report.check(name, json_timestamp(case["int"].as_i64().unwrap()).as_str(), text(case, "text"));
        }
        "go_parse_float" => match parse_float(input) {
            Ok(f) => report.check(name, bits(f).as_str(), text(case, "out_bits")),
            Err(e) => report.check(name, e.to_string().as_str(), text(case, "error")),
        },
        "promql_number" => check_promql_number(report, name, case),
        "api_time" => check_time(report, name, case),
        "api_limit" => match parse_limit(input) {
            Ok(n) => report.check(name, i64::try_from(n).unwrap(), case["int"].as_i64().unwrap_or(-1)),
            Err(e) => report.check(name, e.to_string().as_str(), text(case, "error")),
        },
        "openmetrics_float"
        | "exposition_text"
        | "exposition_openmetrics"
        | "timestamp_text"
        | "timestamp_openmetrics"
        | "le_text"
        | "le_openmetrics" => return false,
        op => panic!("unknown op {op}"),
    }
    true
}

#[test]
fn numbers_and_times_are_read_and_written_as_in_prometheus() {
    let Some(cases) = json_lines("numbers/format.jsonl") else { return };
    let mut report = Report::default();
    let mut of_expositions = 0;
    for case in &cases {
        let name = format!("{} {}{}{}", text(case, "op"), case["input"], text(case, "bits"), case["int"]);
        if check_case(&mut report, &name, case) {
            report.count();
        } else {
            of_expositions += 1;
        }
    }
    assert_eq!(of_expositions, 537);
    report.finish(1068);
}
