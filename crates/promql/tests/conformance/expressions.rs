//! Expressions, selectors and metrics.

use promql::{ParseErrors, ParseOptions, parse_expr, parse_metric, parse_selector, pretty, tree_json};
use serde_json::{Value, json};

use crate::cases::{Report, bytes, folder, json_lines, text};

/// All cases of a kind that `parser/cases.jsonl` has; `check` compares one of them.
pub(crate) fn check_kind(kind: &str, total: usize, check: impl Fn(&mut Report, &str, &Value, &[u8])) {
    let Some(cases) = json_lines("parser/cases.jsonl") else { return };
    let mut report = Report::default();
    for case in cases.iter().filter(|c| text(c, "kind") == kind) {
        report.count();
        let input = bytes(case, "input");
        let name = format!("{kind} {:?} {}", String::from_utf8_lossy(&input), case["options"]);
        check(&mut report, &name, case, &input);
    }
    report.finish(total);
}

/// Compares all errors in order, with their places, and the text of the first as the HTTP API says it.
pub(crate) fn check_errors(report: &mut Report, name: &str, case: &Value, errors: &ParseErrors, prefix: &str) {
    let got: Vec<Value> = errors
        .errors()
        .iter()
        .map(|e| json!({ "message": e.message, "start": e.pos.start, "end": e.pos.end }))
        .collect();
    report.check(name, Value::Array(got), case["errors"].clone());
    report.check(name, format!("{prefix}{errors}").as_str(), text(case, "error_text"));
}

fn options(case: &Value) -> ParseOptions {
    let on = |name: &str| case["options"].as_array().unwrap().iter().any(|o| o == name);
    ParseOptions {
        experimental_functions: on("promql-experimental-functions"),
        duration_expressions: on("promql-duration-expr"),
        extended_range_selectors: on("promql-extended-range-selectors"),
        binop_fill_modifiers: on("promql-binop-fill-modifiers"),
    }
}

#[test]
fn expressions_parse_and_print_as_in_prometheus() {
    check_kind("expr", 3457, |report, name, case, input| {
        let expr = match parse_expr(input, &options(case)) {
            Ok(expr) => expr,
            Err(errors) => {
                report.check(name, false, case["ok"].as_bool().unwrap());
                return check_errors(report, name, case, &errors, "invalid parameter \"query\": ");
            }
        };
        report.check(name, true, case["ok"].as_bool().unwrap());
        report.check(name, expr.value_type().name(), text(case, "type"));
        report.check(name, expr.to_string().as_str(), text(case, "string"));
        report.check(name, pretty(&expr).as_str(), text(case, "pretty"));
        match tree_json(&expr) {
            Ok(tree) => report.check(name, tree, case["tree"].clone()),
            Err(e) => report.check(name, e.to_string().as_str(), text(case, "tree_error")),
        }
    });
}

#[test]
fn selectors_parse_as_in_prometheus() {
    check_kind("selector", 108, |report, name, case, input| match parse_selector(input) {
        Ok(matchers) => {
            report.check(name, true, case["ok"].as_bool().unwrap());
            let got: Vec<Value> = matchers
                .iter()
                .map(|m| json!({ "name": m.name(), "type": m.op().as_str(), "value": m.value() }))
                .collect();
            let expected = case["matchers"].as_array().cloned().unwrap_or_default();
            report.check(name, Value::Array(got), Value::Array(expected));
        }
        Err(errors) => {
            report.check(name, false, case["ok"].as_bool().unwrap());
            check_errors(report, name, case, &errors, "invalid parameter \"match[]\": ");
        }
    });
}

#[test]
fn metrics_parse_as_in_prometheus() {
    check_kind("metric", 27, |report, name, case, input| match parse_metric(input) {
        Ok(labels) => {
            report.check(name, true, case["ok"].as_bool().unwrap());
            report.check(name, labels.to_string().as_str(), text(case, "string"));
            let got: Value = labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
            let expected = case.get("labels").cloned().unwrap_or(json!({}));
            report.check(name, got, expected);
        }
        Err(errors) => {
            report.check(name, false, case["ok"].as_bool().unwrap());
            check_errors(report, name, case, &errors, "");
        }
    });
}

#[test]
fn expressions_of_mixins_and_dashboards_print_as_in_prometheus() {
    let Some(cases) = json_lines("mixins/exprs.jsonl") else { return };
    let mut report = Report::default();
    for case in &cases {
        report.count();
        let input = text(case, "input");
        match parse_expr(input, &ParseOptions::STABLE) {
            Ok(expr) => {
                report.check(input, expr.value_type().name(), text(case, "type"));
                report.check(input, expr.to_string().as_str(), text(case, "string"));
            }
            Err(errors) => report.check(input, errors.to_string().as_str(), ""),
        }
    }
    report.finish(467);
}

/// The expression of an `eval` line of a test script.
fn eval_expr(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("eval")?.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
    let mut words = rest.trim_start().splitn(2, char::is_whitespace);
    let (kind, mut rest) = (words.next()?, words.next()?);
    if !matches!(kind, "instant" | "range") {
        return None;
    }
    for word in ["from", "to", "step", "at"] {
        if let Some(after) = rest.trim_start().strip_prefix(word).and_then(|r| r.strip_prefix(char::is_whitespace)) {
            rest = after.trim_start().split_once(char::is_whitespace)?.1;
        }
    }
    Some(rest.trim())
}

#[test]
fn expressions_of_test_scripts_parse() {
    let Some(folder) = folder() else { return };
    let mut report = Report::default();
    let mut files: Vec<_> = std::fs::read_dir(folder.join("promqltest")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "test")) {
        let script = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = script.lines().map(str::trim).collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.starts_with("eval")) {
            report.count();
            let expr = eval_expr(line).unwrap_or_else(|| panic!("{line}"));
            // A failure that the script expects may be one of parsing.
            let fails = line.starts_with("eval_fail")
                || lines[i + 1..].iter().take_while(|l| !l.is_empty()).any(|l| l.starts_with("expect fail"));
            if let Err(errors) = parse_expr(expr, &ParseOptions::ALL)
                && !fails
            {
                report.check(line, errors.to_string().as_str(), "");
            }
        }
    }
    report.finish(2085);
}
