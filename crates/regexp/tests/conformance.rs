//! The cases that Prometheus itself has decided; see the conformance folder's README.

use regexp::Regexp;
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "tests find the conformance folder by the environment")]
fn cases() -> Option<Vec<Value>> {
    let Ok(folder) = std::env::var("NARTHEX_CONFORMANCE") else {
        eprintln!("skipped: NARTHEX_CONFORMANCE is not set");
        return None;
    };
    let lines = std::fs::read_to_string(format!("{folder}/regexp/cases.jsonl")).expect("the folder has the file");
    Some(lines.lines().map(|line| serde_json::from_str(line).expect("lines are JSON")).collect())
}

/// The bytes of a field that may stand in base64.
fn bytes(case: &Value, field: &str) -> Option<Vec<u8>> {
    if let Some(text) = case[field].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let encoded = case[format!("{field}_base64")].as_str()?.trim_end_matches('=');
    let digit = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{encoded} is no base64"),
    };
    let bits = encoded.bytes().fold(Vec::new(), |mut bits, b| {
        bits.extend((0..6).rev().map(|i| digit(b) >> i & 1));
        bits
    });
    Some(bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |n, bit| n << 1 | bit)).collect())
}

/// What a Go regexp sees of a text: U+FFFD for each byte that is not UTF-8.
fn as_go_sees(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

#[test]
fn matchers_match_and_refuse_as_prometheus_does() {
    let Some(cases) = cases() else { return };
    let (mut refused, mut matched, mut unmatched, mut either, mut not_utf8) = (0, 0, 0, 0, 0);
    let mut wrong = Vec::new();
    for case in &cases {
        let pattern = bytes(case, "pattern").unwrap();
        let compiled = Regexp::matcher_of_bytes(&pattern);
        if case["ok"] == false {
            refused += 1;
            let error = compiled.err().map(|e| e.to_string());
            if error.as_deref() != case["error"].as_str() {
                wrong.push(format!("{case}: {error:?}"));
            }
            continue;
        }
        let text = bytes(case, "text").unwrap();
        not_utf8 += usize::from(std::str::from_utf8(&text).is_err());
        let expected = case["match"].as_bool().unwrap();
        let found = compiled.map(|r| r.is_match(&as_go_sees(&text)));
        match case["plain_regexp_match"].as_bool() {
            Some(_) if found.is_ok() => either += 1,
            _ if found == Ok(expected) && expected => matched += 1,
            _ if found == Ok(expected) => unmatched += 1,
            _ => wrong.push(format!("{case}: {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((cases.len(), refused, matched, unmatched, either, not_utf8), (2830, 138, 1404, 1276, 12, 118));
}
