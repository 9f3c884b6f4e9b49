//! Entry points for fuzzing: what files and servers say of targets.

use config::TargetFormat;

use crate::{Group, file, http};

/// The first line is a content type, the rest the body of an answer.
pub fn fuzz_http_answer(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |b| *b == b'\n');
    let content_type = String::from_utf8_lossy(parts.next().unwrap_or_default());
    if !http::is_json(&content_type) {
        return;
    }
    if let Ok(groups) = http::groups_in("http://sd:1/x", parts.next().unwrap_or_default().to_vec()) {
        check("http://sd:1/x", "__meta_url", &groups);
    }
}

/// A file of groups, as both formats.
pub fn fuzz_file(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for format in [TargetFormat::Json, TargetFormat::Yaml] {
        if let Ok(groups) = file::groups_in("/sd/a.yml", text, format) {
            check("/sd/a.yml", "__meta_filepath", &groups);
        }
    }
}

fn check(origin: &str, label: &str, groups: &[Group]) {
    for (i, group) in groups.iter().enumerate() {
        assert_eq!(group.source, format!("{origin}:{i}"));
        assert_eq!(group.labels.get(label).map(String::as_str), Some(origin));
    }
}
