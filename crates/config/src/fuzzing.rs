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
