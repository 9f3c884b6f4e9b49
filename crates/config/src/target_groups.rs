//! Groups of targets: as `static_configs` lists them, as the files of `file_sd_configs` hold them, and as the servers of
//! `http_sd_configs` answer. Source: `discovery/targetgroup/targetgroup.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Position, Refused};
use crate::go;
use crate::raw::text::LabelSet;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal, record};

/// Targets with labels in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// Addresses: what becomes `__address__` of each target.
    pub targets: Vec<String>,
    /// Labels of all of them; names are not empty.
    pub labels: BTreeMap<String, String>,
}

/// In what a list of target groups is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFormat {
    /// JSON: files `*.json`, and http discovery.
    Json,
    /// YAML: files `*.yml` and `*.yaml`.
    Yaml,
}

impl TargetFormat {
    /// By the extension of a file's name, in any case.
    pub fn of_file(name: &str) -> Option<TargetFormat> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "json" => Some(TargetFormat::Json),
            "yml" | "yaml" => Some(TargetFormat::Yaml),
            _ => None,
        }
    }
}

const NULL_GROUP: &str = "nil target group item found";
const EMPTY_NAME: &str = "\"\" is not a valid label name";

/// Reads a list of target groups. Unknown keys, groups that are null and bad label names are refused, as Prometheus does;
/// an empty text is no groups in YAML and refused in JSON.
pub fn parse_target_groups(text: &str, format: TargetFormat) -> Result<Vec<TargetGroup>, Refused> {
    match format {
        TargetFormat::Json => parse_json(text),
        TargetFormat::Yaml => parse_yaml(text),
    }
}

fn parse_yaml(text: &str) -> Result<Vec<TargetGroup>, Refused> {
    let mut groups: Vec<Option<TargetGroup>> = Vec::new();
    crate::read::read_into(text, &mut groups)?;
    let at = Position { line: 1, column: 1 };
    groups.into_iter().map(|g| g.ok_or_else(|| Refused::Value { at, text: NULL_GROUP.to_owned() })).collect()
}

fn parse_json(text: &str) -> Result<Vec<TargetGroup>, Refused> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| Refused::Syntax { at: Position { line: e.line(), column: e.column() }, text: e.to_string() })?;
    // serde_json keeps no positions in values.
    let refused = |text: String| Refused::Value { at: Position { line: 1, column: 1 }, text };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| json_group(item).map_err(refused)).collect(),
        other => Err(refused(mismatch(&other, "[]*targetgroup.Group"))),
    }
}

fn json_group(value: &Value) -> Result<TargetGroup, String> {
    let mut group = TargetGroup::default();
    match value {
        Value::Null => return Err(NULL_GROUP.to_owned()),
        Value::Object(fields) => {
            for (name, value) in fields {
                // Go matches the names of fields in any case.
                match name.to_ascii_lowercase().as_str() {
                    "targets" => group.targets = json_targets(value)?,
                    "labels" => group.labels = json_labels(value)?,
                    _ => return Err(format!("json: unknown field {}", go::quote(name))),
                }
            }
        }
        other => return Err(mismatch(other, "struct")),
    }
    Ok(group)
}

fn json_targets(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(json_string).collect(),
        other => Err(mismatch(other, "[]string")),
    }
}

fn json_labels(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let Value::Object(entries) = value else {
        return if value.is_null() { Ok(BTreeMap::new()) } else { Err(mismatch(value, "model.LabelSet")) };
    };
    if entries.contains_key("") {
        return Err(EMPTY_NAME.to_owned());
    }
    entries.iter().map(|(name, value)| Ok((name.clone(), json_string(value)?))).collect()
}

/// Null leaves Go's strings empty.
fn json_string(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(mismatch(other, "string")),
    }
}

fn mismatch(value: &Value, wanted: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {kind} into Go value of type {wanted}")
}

record! {
    /// A group as it is written.
    struct Written as "struct" in "struct { Targets []string \"yaml:\\\"targets\\\"\"; Labels model.LabelSet \"yaml:\\\"labels\\\"\" }" [] {
        targets: Vec<String> = "targets" [];
        labels: LabelSet = "labels" [omit];
    }
}

/// A name that is null is not checked when it is read, as in Go, and is empty then.
fn no_empty_names(group: &mut Written) -> Result<(), Refusal> {
    let any = group.labels.0.keys().any(|name| name.0.is_empty());
    if any { Err(EMPTY_NAME.to_owned().into()) } else { Ok(()) }
}

impl Decode for TargetGroup {
    fn type_name() -> String {
        "targetgroup.Group".to_owned()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let mut written = Written::default();
        if !d.fill_then_check(id, &mut written, no_empty_names)? {
            return Ok(false);
        }
        self.targets = written.targets;
        self.labels = written.labels.0.into_iter().map(|(name, value)| (name.0, value.0)).collect();
        Ok(true)
    }
}

impl Encode for TargetGroup {
    fn is_zero(&self) -> bool {
        self.targets.is_empty() && self.labels.is_empty()
    }
    fn encode(&self) -> Out {
        let mut out = vec![("targets".to_owned(), self.targets.encode())];
        if !self.labels.is_empty() {
            out.push(("labels".to_owned(), self.labels.encode()));
        }
        Out::Map(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(targets: &[&str], labels: &[(&str, &str)]) -> TargetGroup {
        TargetGroup {
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn both_forms_give_the_same_groups() {
        let expected = [group(&["a:1", "b"], &[("x", "1"), ("y", "")]), group(&[], &[])];
        let yaml = "- targets: [a:1, b]\n  labels: {x: 1, y: null}\n- {}\n";
        let json = r#"[{"targets": ["a:1", "b"], "labels": {"x": "1", "y": null}}, {"Targets": null}]"#;
        assert_eq!(parse_target_groups(yaml, TargetFormat::Yaml).unwrap(), expected);
        assert_eq!(parse_target_groups(json, TargetFormat::Json).unwrap(), expected);
        assert_eq!(parse_target_groups("", TargetFormat::Yaml).unwrap(), []);
        assert_eq!(parse_target_groups("null", TargetFormat::Json).unwrap(), []);
    }

    #[test]
    fn what_prometheus_refuses_is_refused() {
        for (text, format, expected) in [
            ("- targts: [a]", TargetFormat::Yaml, "line 1: field targts not found"),
            ("- targets: a", TargetFormat::Yaml, "cannot unmarshal !!str `a` into []string"),
            ("- labels: {'': x}", TargetFormat::Yaml, "\"\" is not a valid label name"),
            ("- labels: {~: x}", TargetFormat::Yaml, "\"\" is not a valid label name"),
            ("- null", TargetFormat::Yaml, "nil target group item found"),
            ("{}", TargetFormat::Yaml, "cannot unmarshal !!map into []*targetgroup.Group"),
            ("", TargetFormat::Json, "EOF"),
            ("{}", TargetFormat::Json, "cannot unmarshal object"),
            ("[null]", TargetFormat::Json, "nil target group item found"),
            (r#"[{"foo": 1}]"#, TargetFormat::Json, "json: unknown field \"foo\""),
            (r#"[{"targets": [1]}]"#, TargetFormat::Json, "cannot unmarshal number"),
            (r#"[{"labels": {"": "x"}}]"#, TargetFormat::Json, "\"\" is not a valid label name"),
        ] {
            let error = parse_target_groups(text, format).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(error.at().line > 0);
        }
    }
}
