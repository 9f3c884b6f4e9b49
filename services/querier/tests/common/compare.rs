//! Compares an answer with a recorded one, as the README of the recorded answers says.

use serde_json::{Map, Value};

use super::client::HttpAnswer;

/// Headers that count: where the record does not list them they must be absent.
const HEADERS: [&str; 11] = [
    "content-type",
    "content-encoding",
    "vary",
    "allow",
    "location",
    "cache-control",
    "x-content-type-options",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
];

/// How far floats that were added up may differ, as a part of their size.
const LAST_DIGITS: f64 = 1e-13;

/// What differs; `Ok` where nothing does. `host` and `now_ms` stand for `{host}` and `{now}`.
pub(crate) fn compare(case: &Value, answer: &HttpAnswer, host: &str, now_ms: i64) -> Result<(), String> {
    let recorded = placeholders(&case["response"], host, now_ms);
    let how = |what: &str| case["compare"][what].as_str().unwrap_or("exact");
    let bodies =
        || format!("\n  expected {} {recorded}\n  got {} {}", recorded["status"], answer.status, shortened(answer));
    if how("status") == "exact" && recorded["status"] != answer.status {
        return Err(format!("status{}", bodies()));
    }
    if how("headers") == "exact" {
        compare_headers(&recorded["headers"], answer)?;
    }
    let result = match how("body") {
        "exact" | "shape" => compare_body(case, &recorded, answer, how("body") == "shape"),
        "present" => (!answer.body.is_empty()).then_some(()).ok_or_else(|| "no body".to_owned()),
        "one of" => one_of(&case["compare"]["alternatives"], answer),
        "informative" => Ok(()),
        other => Err(format!("no way to compare {other:?}")),
    };
    result.map_err(|e| format!("{e}{}", bodies()))
}

fn shortened(answer: &HttpAnswer) -> String {
    answer.text().chars().take(2000).collect()
}

/// The record with its placeholders filled in; `{any}` stays.
fn placeholders(recorded: &Value, host: &str, now_ms: i64) -> Value {
    let text = recorded.to_string().replace("{host}", host).replace("{now}", &now_ms.to_string());
    serde_json::from_str(&text).unwrap()
}

fn compare_headers(listed: &Value, answer: &HttpAnswer) -> Result<(), String> {
    let listed = listed.as_array().unwrap().iter();
    let mut expected: Vec<(String, String)> =
        listed.map(|h| (h[0].as_str().unwrap().to_lowercase(), h[1].as_str().unwrap().to_owned())).collect();
    let mut got: Vec<(String, String)> =
        answer.headers.iter().filter(|(n, _)| HEADERS.contains(&n.as_str())).cloned().collect();
    expected.sort();
    got.sort();
    if expected == got { Ok(()) } else { Err(format!("headers\n  expected {expected:?}\n  got      {got:?}")) }
}

fn one_of(alternatives: &Value, answer: &HttpAnswer) -> Result<(), String> {
    let body: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
    let fits =
        |a: &Value| a["status"] == answer.status && a["errorType"] == body["errorType"] && a["error"] == body["error"];
    alternatives.as_array().unwrap().iter().any(fits).then_some(()).ok_or_else(|| "none of the alternatives".to_owned())
}

fn compare_body(case: &Value, recorded: &Value, answer: &HttpAnswer, shape: bool) -> Result<(), String> {
    let Some(expected) = recorded.get("json") else {
        let expected = recorded["text"].as_str().unwrap();
        if shape {
            return (!answer.body.is_empty()).then_some(()).ok_or_else(|| "no body".to_owned());
        }
        return if expected == answer.text() { Ok(()) } else { Err("text".to_owned()) };
    };
    let got: Value = serde_json::from_slice(&answer.body).map_err(|e| format!("not JSON: {e}"))?;
    let way = Way { case, shape };
    way.compare(&mut Vec::new(), expected, &got)
}

struct Way<'a> {
    case: &'a Value,
    /// Same keys and types are enough.
    shape: bool,
}

impl Way<'_> {
    fn compare(&self, path: &mut Vec<String>, expected: &Value, got: &Value) -> Result<(), String> {
        match self.field(path) {
            Some("shape") => return Way { shape: true, ..*self }.compare_values(path, expected, got),
            Some("as many of the whole answer") => return same_length(path, expected, got),
            Some("the two series in either order") => return same_characters(path, expected, got),
            Some("equal values in any order") => return self.any_order(path, expected, got),
            Some(other) => return Err(format!("no way to compare {other:?}")),
            None => {}
        }
        let dotted = path.join(".");
        let listed = self.case["compare"]["unordered"].as_array();
        let unordered = listed.is_some_and(|all| all.iter().any(|u| u == dotted.as_str()));
        if unordered || dotted == "warnings" || dotted == "infos" {
            return self.any_order(path, expected, got);
        }
        self.compare_values(path, expected, got)
    }

    /// What holds for the field at `path`.
    fn field(&self, path: &[String]) -> Option<&str> {
        let fields = self.case["compare"]["fields"].as_object()?;
        let fits = |pattern: &str| {
            let parts: Vec<&str> = pattern.split('.').collect();
            parts.len() == path.len() && parts.iter().zip(path).all(|(p, at)| *p == "*" || p == at)
        };
        fields.iter().find(|(pattern, _)| fits(pattern)).and_then(|(_, how)| how.as_str())
    }

    fn compare_values(&self, path: &mut Vec<String>, expected: &Value, got: &Value) -> Result<(), String> {
        let differs = || Err(format!("at {}: expected {expected}, got {got}", path.join(".")));
        if expected == "{any}" {
            return Ok(());
        }
        match (expected, got) {
            (Value::Object(a), Value::Object(b)) => self.compare_objects(path, a, b),
            (Value::Array(a), Value::Array(b)) => self.compare_arrays(path, a, b),
            (Value::String(a), Value::String(b)) => {
                let equal = self.shape || a == b || (path.iter().any(|p| p == "result") && nearly_equal(a, b));
                if equal { Ok(()) } else { differs() }
            }
            (Value::Number(a), Value::Number(b)) if self.shape || a.as_f64() == b.as_f64() => Ok(()),
            (Value::Bool(a), Value::Bool(b)) if self.shape || a == b => Ok(()),
            (Value::Null, Value::Null) => Ok(()),
            _ => differs(),
        }
    }

    fn compare_objects(
        &self,
        path: &mut Vec<String>,
        a: &Map<String, Value>,
        b: &Map<String, Value>,
    ) -> Result<(), String> {
        // Where only the shape counts, long maps were cut; maps of names that differ between systems are the caller's.
        let keys = |m: &Map<String, Value>| m.keys().cloned().collect::<Vec<_>>();
        if keys(a).iter().collect::<std::collections::BTreeSet<_>>() != keys(b).iter().collect() {
            return Err(format!("keys at {}: expected {:?}, got {:?}", path.join("."), keys(a), keys(b)));
        }
        for (key, expected) in a {
            path.push(key.clone());
            self.compare(path, expected, &b[key])?;
            path.pop();
        }
        Ok(())
    }

    fn compare_arrays(&self, path: &mut Vec<String>, a: &[Value], b: &[Value]) -> Result<(), String> {
        if a.len() != b.len() && !(self.shape && a.is_empty() == b.is_empty()) {
            return Err(format!("at {}: expected {} elements, got {}", path.join("."), a.len(), b.len()));
        }
        for (i, (expected, got)) in a.iter().zip(b).enumerate() {
            path.push(i.to_string());
            self.compare(path, expected, got)?;
            path.pop();
        }
        Ok(())
    }

    /// Finds for each element expected another one that equals it.
    fn any_order(&self, path: &mut Vec<String>, expected: &Value, got: &Value) -> Result<(), String> {
        let (Some(expected), Some(got)) = (expected.as_array(), got.as_array()) else {
            return self.compare_values(path, expected, got);
        };
        same_length(path, &Value::from(expected.clone()), &Value::from(got.clone()))?;
        let mut left: Vec<&Value> = got.iter().collect();
        let depth = path.len();
        for element in expected {
            let found = left.iter().position(|g| {
                // What differs leaves its own path behind.
                path.truncate(depth);
                path.push("*".to_owned());
                self.compare_values(path, element, g).is_ok()
            });
            path.truncate(depth);
            let Some(found) = found else { return Err(format!("at {}: {element} is missing", path.join("."))) };
            left.swap_remove(found);
        }
        Ok(())
    }
}

fn same_length(path: &[String], expected: &Value, got: &Value) -> Result<(), String> {
    let len = |v: &Value| v.as_array().map(Vec::len);
    if len(expected) == len(got) {
        return Ok(());
    }
    Err(format!("at {}: expected {:?} elements, got {:?}", path.join("."), len(expected), len(got)))
}

fn same_characters(path: &[String], expected: &Value, got: &Value) -> Result<(), String> {
    let sorted = |v: &Value| {
        let mut chars: Vec<char> = v.as_str().unwrap_or_default().chars().collect();
        chars.sort_unstable();
        chars
    };
    if sorted(expected) == sorted(got) {
        Ok(())
    } else {
        Err(format!("at {}: expected {expected}, got {got}", path.join(".")))
    }
}

fn nearly_equal(a: &str, b: &str) -> bool {
    let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
    x.is_finite() && y.is_finite() && (x - y).abs() <= LAST_DIGITS * x.abs().max(y.abs())
}
