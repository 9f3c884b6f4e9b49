//! Entry points for fuzzers: whatever the bytes are, these return.

use crate::{Question, answer, read};

/// The bytes as each kind of answer. What can be read is read the same once more after it was written.
pub fn fuzz_answer(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(mut snapshot) = read::targets(text) {
        // A float may change in its last digit.
        snapshot.active.iter_mut().for_each(|t| t.last_scrape_seconds = 0.0);
        assert_eq!(read::targets(&answer::targets(&snapshot)), Ok(snapshot));
    }
    if let Ok(names) = read::scrape_pools(text) {
        assert_eq!(read::scrape_pools(&answer::scrape_pools(&names)), Ok(names));
    }
    if let Ok(all) = read::metadata(text) {
        assert_eq!(read::metadata(&answer::metadata(&all)), Ok(all));
    }
    if let Ok(rules) = read::relabel_rules(text) {
        let again = answer::relabel_rules(&rules);
        assert_eq!(read::relabel_rules(&again).map(|rules| answer::relabel_rules(&rules)), Ok(again));
    }
}

/// The bytes as path and query, a line each. A question is the same after it was asked.
pub fn fuzz_question(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (path, query) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(question) = Question::parse(path, query) {
        assert_eq!(Question::parse(question.path(), &question.query()), Ok(question));
    }
}
