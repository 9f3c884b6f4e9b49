//! Series descriptions.

use model::{FloatHistogram, is_stale};
use promql::numbers::format_f;
use promql::{SequenceValue, Sign, format_histogram, parse_series_desc, test_expression};
use serde_json::{Map, Value, json};

use crate::cases::text;
use crate::expressions::{check_errors, check_kind};

fn combine(base: &FloatHistogram, step: &FloatHistogram, sign: Sign) -> Result<FloatHistogram, String> {
    let mut h = base.clone();
    let combined = match sign {
        Sign::Plus => h.add(step),
        Sign::Minus => h.sub(step),
    };
    combined.map(|_| h).map_err(|e| e.to_string())
}

fn value_json(value: &SequenceValue) -> Value {
    match value {
        SequenceValue::Omitted => json!({ "omitted": true }),
        SequenceValue::Float(f) if is_stale(*f) => json!({ "value": "stale" }),
        SequenceValue::Float(f) => json!({ "value": format_f(*f) }),
        SequenceValue::Histogram { histogram, hint_set } => {
            let mut fields = Map::new();
            fields.insert("test_expression".to_owned(), json!(test_expression(histogram)));
            fields.insert("histogram".to_owned(), json!(format_histogram(histogram)));
            if *hint_set {
                fields.insert("counter_reset_hint_set".to_owned(), json!(true));
            }
            Value::Object(fields)
        }
    }
}

#[test]
fn series_descriptions_parse_as_in_prometheus() {
    check_kind("series", 141, |report, name, case, input| match parse_series_desc(input, &combine) {
        Ok(series) => {
            report.check(name, true, case["ok"].as_bool().unwrap());
            report.check(name, series.metric.to_string().as_str(), text(case, "string"));
            let got: Vec<Value> = series.values.iter().map(value_json).collect();
            report.check(name, Value::Array(got), Value::Array(case["values"].as_array().cloned().unwrap_or_default()));
        }
        Err(errors) => {
            report.check(name, false, case["ok"].as_bool().unwrap());
            check_errors(report, name, case, &errors, "");
        }
    });
}
