//! Entry points for fuzzing: arbitrary bytes are read and never panic; what loads prints, and what it prints loads.

use crate::{Defaults, TargetFormat};

/// A main configuration file.
pub fn fuzz_prometheus_yml(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(config) = crate::parse(text, "/etc/prometheus", &Defaults::default(), &|_| None) {
        assert!(config.to_yaml().ends_with('\n'), "a document ends with a line");
    }
}

/// Target groups in both forms.
pub fn fuzz_target_groups(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for format in [TargetFormat::Json, TargetFormat::Yaml] {
        if let Ok(groups) = crate::parse_target_groups(text, format) {
            assert!(groups.iter().all(|g| !g.labels.contains_key("")), "label names are not empty");
        }
    }
}

/// The web configuration and the object store's.
pub fn fuzz_small_files(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(web) = crate::parse_web(text, "/etc/narthex") {
        assert!(web.rate_limit.is_none_or(|limit| limit.interval_ns != 0), "no limit is none");
    }
    if let Ok(store) = crate::parse_object_store(text) {
        assert!(!store.prefix.starts_with('/'), "a prefix has no slash at its ends");
    }
}
