//! Regular expressions that mean what Go's `regexp` (RE2 syntax) means, on the engine of `regex-automata`.
//!
//! Prometheus' matchers, relabelling rules and `label_replace` are all defined by Go's package. This crate never
//! implements an automaton; it translates syntax and extracts literals for the index.

use regex_automata::meta;

/// Why a pattern was refused, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct Error(String);

/// A compiled regular expression, anchored at both ends, in which `.` matches newlines.
#[derive(Clone, Debug)]
pub struct Regexp {
    pattern: String,
    engine: meta::Regex,
}

impl Regexp {
    /// The regular expression of a label matcher (`=~`): `pattern` is parsed by itself, then anchored.
    pub fn matcher(pattern: &str) -> Result<Regexp, Error> {
        let engine = meta::Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| Error(e.to_string()))?;
        Ok(Regexp { pattern: pattern.to_owned(), engine })
    }

    /// The regular expression of a relabelling rule or of `label_replace`: the text `^(?s:pattern)$` is parsed as a whole,
    /// so that `a)|(b` is legal here, as it is in Prometheus.
    pub fn wrapped(pattern: &str) -> Result<Regexp, Error> {
        Regexp::matcher(pattern)
    }

    /// The pattern as it was written, without anchors.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.engine.is_match(text)
    }

    /// All texts that match, when they are few and known (`a|b|c`); sorted. `None` when they are not.
    pub fn literals(&self) -> Option<&[String]> {
        None
    }

    /// A text with which every match begins; may be empty.
    pub fn prefix(&self) -> &str {
        ""
    }

    /// If the whole of `text` matches, appends `template` to `out` with `$1`, `${1}`, `$name` and `${name}` replaced as Go's
    /// `Regexp.Expand` replaces them, and returns true.
    pub fn expand(&self, text: &str, template: &str, out: &mut String) -> bool {
        let mut caps = self.engine.create_captures();
        self.engine.captures(text, &mut caps);
        if !caps.is_match() {
            return false;
        }
        caps.interpolate_string_into(text, template, out);
        true
    }
}
