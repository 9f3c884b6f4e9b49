//! Durations as texts.

use promql::duration::{
    DurationError, format_duration, parse_api_duration, parse_duration, parse_duration_allow_negative,
};

use crate::cases::{Report, bytes, json_lines, text};

#[test]
fn durations_parse_and_print_as_in_prometheus() {
    let Some(cases) = json_lines("parser/duration.jsonl") else { return };
    let mut report = Report::default();
    for case in &cases {
        report.count();
        let op = text(case, "op");
        let input = String::from_utf8(bytes(case, "input")).expect("durations are UTF-8 here");
        let name = format!("{op} {input:?} {}", case["ns"]);
        let parsed: Result<i64, DurationError> = match op {
            "string" => {
                report.check(&name, format_duration(case["ns"].as_i64().unwrap()).as_str(), text(case, "text"));
                continue;
            }
            "parse" => parse_duration(&input),
            "parse_allow_negative" => parse_duration_allow_negative(&input),
            "api_duration" => parse_api_duration(&input),
            _ => panic!("unknown op {op}"),
        };
        match parsed {
            Ok(ns) => {
                report.check(&name, ns, case["ns"].as_i64().unwrap_or(-1));
                if case.get("text").is_some() {
                    report.check(&name, format_duration(ns).as_str(), text(case, "text"));
                }
            }
            Err(e) => report.check(&name, e.to_string().as_str(), text(case, "error")),
        }
    }
    report.finish(341);
}
