//! Reading the files of cases, and reporting what differs.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The folder of cases; `None`, with a word about it, where none is set.
pub(crate) fn folder() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests find the cases by the environment")]
    let folder = std::env::var("NARTHEX_CONFORMANCE");
    if folder.is_err() {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
    }
    folder.ok().map(PathBuf::from)
}

/// The cases of a file of JSON lines.
pub(crate) fn json_lines(path: &str) -> Option<Vec<Value>> {
    let text = fs::read_to_string(folder()?.join(path)).expect("the file of cases is there");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a case a line")).collect())
}

/// The text of a field; empty where it is absent.
pub(crate) fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or("")
}

/// The bytes of a field that is either a text or, as `…_base64`, encoded bytes.
pub(crate) fn bytes(case: &Value, field: &str) -> Vec<u8> {
    match case[format!("{field}_base64")].as_str() {
        Some(encoded) => base64(encoded),
        None => text(case, field).as_bytes().to_vec(),
    }
}

fn base64(encoded: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = encoded.bytes().filter(|b| *b != b'=').map(digit).collect();
    let mut out = Vec::new();
    for chunk in digits.chunks(4) {
        let n = chunk.iter().fold(0u32, |n, d| n << 6 | u32::from(*d)) << (6 * (4 - chunk.len()));
        out.extend_from_slice(&n.to_be_bytes()[1..chunk.len()]);
    }
    out
}

/// What differs, with a count of all that was checked.
#[derive(Default)]
pub(crate) struct Report {
    checked: usize,
    differing: Vec<String>,
}

impl Report {
    /// Compares one thing of one case.
    pub(crate) fn check<T: PartialEq + std::fmt::Display>(&mut self, case: &str, got: T, expected: T) {
        if got != expected {
            self.differing.push(format!("{case}\n  got      {got}\n  expected {expected}"));
        }
    }

    /// Counts one case.
    pub(crate) fn count(&mut self) {
        self.checked += 1;
    }

    /// Fails with the first twenty differences, or where the number of cases is not what it should be.
    pub(crate) fn finish(self, expected: usize) {
        let shown: Vec<&str> = self.differing.iter().take(20).map(String::as_str).collect();
        assert!(shown.is_empty(), "{} differences:\n{}", self.differing.len(), shown.join("\n"));
        assert_eq!(self.checked, expected, "number of cases");
    }
}
