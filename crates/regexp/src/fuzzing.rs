//! Entry points for fuzzers: they must return, whatever the bytes are.

use crate::Regexp;

/// Up to the first newline a pattern, then a text.
pub fn fuzz_regexp(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&b| b == b'\n');
    let pattern = parts.next().unwrap_or_default();
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    if let Err(e) = Regexp::matcher_of_bytes(pattern) {
        assert!(e.to_string().starts_with("error parsing regexp: "));
    }
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let matcher = Regexp::matcher(pattern);
    for compiled in [&matcher, &Regexp::wrapped(pattern), &Regexp::unanchored(pattern)].into_iter().flatten() {
        let found = compiled.captures(&text);
        assert!(found.is_none() || compiled.is_match(&text), "{pattern:?} {text:?}");
        if let Some(texts) = compiled.literals() {
            assert!(texts.iter().all(|t| compiled.is_match(t) && t.starts_with(compiled.prefix())), "{pattern:?}");
        }
        assert!(!compiled.is_match(&text) || text.starts_with(compiled.prefix()), "{pattern:?} {text:?}");
        compiled.replace_all(&text, "<$0$1$a>");
    }
}
