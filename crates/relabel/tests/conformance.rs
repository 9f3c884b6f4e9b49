//! The cases that Prometheus itself has decided; see the conformance folder's README.

use std::collections::BTreeMap;

use model::LabelsBuilder;
use relabel::{Draft, Fields, NameValidationScheme, Rule, Verdict};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    category: String,
    config: String,
    name_validation_scheme: String,
    labels: BTreeMap<String, String>,
    ok: bool,
    error_stage: Option<String>,
    error: Option<String>,
    dropped: bool,
    output: Option<BTreeMap<String, String>>,
}

/// A rule as YAML has it. The `config` crate has its own; this one is for the cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Yaml {
    source_labels: Option<Vec<String>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    separator: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    regex: Option<String>,
    modulus: Option<Modulus>,
    #[serde(default, deserialize_with = "null_is_empty")]
    target_label: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    replacement: Option<String>,
    #[serde(default, deserialize_with = "present")]
    action: Option<Option<String>>,
}

/// Tells `action:` from no action.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer).map(|text: Option<String>| Some(text.unwrap_or_default()))
}

/// An unsigned number as Go's YAML library takes it: floats are cut, quoted ones refused.
struct Modulus(u64);

impl<'de> Deserialize<'de> for Modulus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Modulus, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = Modulus;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number that is not negative")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Modulus, E> {
                Ok(Modulus(n))
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Modulus, E> {
                u64::try_from(n).map(Modulus).map_err(E::custom)
            }
            fn visit_u128<E: serde::de::Error>(self, n: u128) -> Result<Modulus, E> {
                self.visit_f64(n as f64)
            }
            fn visit_i128<E: serde::de::Error>(self, n: i128) -> Result<Modulus, E> {
                self.visit_f64(n as f64)
            }
            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Modulus, E> {
                match n {
                    n if n < 0.0 || n > u64::MAX as f64 => Err(E::custom("out of range")),
                    // What an amd64 makes of 2^64.
                    n if n == u64::MAX as f64 => Ok(Modulus(1 << 63)),
                    n => Ok(Modulus(n as u64)),
                }
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// What became of a case, in the words of the file.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused(&'static str, String),
    Dropped,
    Kept(BTreeMap<String, String>),
}

fn rules(case: &Case) -> Result<Vec<Rule>, Outcome> {
    let yaml = |e: String| Outcome::Refused("yaml", e);
    // Two questions of YAML alone, on which this library and Go's differ: a tab that indents, and binary that is no text.
    if case.config.lines().any(|line| line.starts_with('\t')) {
        return Err(yaml("a tab indents".to_owned()));
    }
    let config = case.config.replace("!!binary //8=", r#""\uFFFD\uFFFD""#);
    let list: Option<Vec<Option<Yaml>>> = serde_saphyr::from_str(&config).map_err(|e| yaml(e.to_string()))?;
    let scheme = match case.name_validation_scheme.as_str() {
        "legacy" => NameValidationScheme::Legacy,
        "utf8" => NameValidationScheme::Utf8,
        other => panic!("{other}"),
    };
    let mut drafts = Vec::new();
    for rule in list.unwrap_or_default() {
        let rule = rule.map(|y| {
            Draft::new(Fields {
                source_labels: y.source_labels,
                separator: y.separator,
                regex: y.regex,
                modulus: y.modulus.map(|m| m.0),
                target_label: y.target_label,
                replacement: y.replacement,
                action: y.action,
            })
        });
        drafts.push(rule.transpose().map_err(|e| yaml(e.to_string()))?);
    }
    let mut rules = Vec::new();
    for draft in drafts {
        let null = || Outcome::Refused("null rule", "empty or null target relabeling rule in scrape config".to_owned());
        let rule = draft.ok_or_else(null)?.validate(scheme);
        rules.push(rule.map_err(|e| Outcome::Refused("validate", e.to_string()))?);
    }
    Ok(rules)
}

fn run(case: &Case) -> Outcome {
    let rules = match rules(case) {
        Ok(rules) => rules,
        Err(refused) => return refused,
    };
    let mut builder = LabelsBuilder::default();
    for (name, value) in &case.labels {
        builder.set(name, value);
    }
    match relabel::process(&rules, &mut builder) {
        Verdict::Keep => Outcome::Kept(builder.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()),
        Verdict::Drop => Outcome::Dropped,
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests find the conformance folder by the environment")]
fn rules_do_what_prometheus_does() {
    let Ok(folder) = std::env::var("NARTHEX_CONFORMANCE") else {
        eprintln!("skipped: NARTHEX_CONFORMANCE is not set");
        return;
    };
    let lines = std::fs::read_to_string(format!("{folder}/relabel/cases.jsonl")).unwrap();
    let (mut kept, mut dropped, mut yaml, mut read, mut validate, mut null) = (0, 0, 0, 0, 0, 0);
    let mut wrong = Vec::new();
    for line in lines.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let found = run(&case);
        let right = match (&found, case.error_stage.as_deref()) {
            (Outcome::Refused("yaml", text), Some("yaml")) => {
                // Texts of the YAML library differ; those of this crate must not.
                let expected = case.error.as_deref().unwrap_or_default();
                let is_ours = !expected.starts_with("yaml: ");
                *(if is_ours { &mut read } else { &mut yaml }) += 1;
                !is_ours || text == expected
            }
            (Outcome::Refused(stage, text), Some(expected)) => {
                *(if *stage == "null rule" { &mut null } else { &mut validate }) += 1;
                *stage == expected && Some(text) == case.error.as_ref()
            }
            (Outcome::Dropped, None) => {
                dropped += 1;
                case.ok && case.dropped && case.output.is_none()
            }
            (Outcome::Kept(output), None) => {
                kept += 1;
                case.ok && !case.dropped && Some(output) == case.output.as_ref()
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{} {line}: {found:?}", case.category));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(lines.lines().count(), 555);
    assert_eq!((kept, dropped, yaml, read, validate, null), (341, 36, 29, 25, 120, 4));
}
