//! Entry points for fuzzing: arbitrary bytes are read and never panic; what loads prints, and what it prints loads.

use crate::glob::{Pattern, expand};
use crate::url::Url;
use crate::{ByteSize, Defaults, TargetFormat};

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

/// The web configuration.
pub fn fuzz_web(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(web) = crate::parse_web(text, "/etc/narthex") {
        assert!(web.rate_limit.is_none_or(|limit| limit.interval_ns != 0), "no limit is none");
    }
}

/// The object store's configuration.
pub fn fuzz_object_store(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(store) = crate::parse_object_store(text) {
        assert!(!store.prefix.starts_with('/'), "a prefix has no slash at its ends");
    }
}

/// What stands in single values: URLs, sizes, and patterns of file names, each line as all of them.
pub fn fuzz_values(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for line in text.lines().take(64) {
        if let Ok(url) = Url::parse(line) {
            let printed = url.reveal();
            let again = Url::parse(&printed).map(|url| url.reveal());
            assert_eq!(again.as_ref(), Ok(&printed), "{line:?}");
        }
        // Negative ones are printed as Go does, with a sign at each part; beyond 53 bits floats are not exact.
        if let Some(size) = ByteSize::parse(line).ok().filter(|size| (0..1 << 53).contains(&size.0)) {
            assert_eq!(ByteSize::parse(&size.to_string()), Ok(size), "{line:?}");
        }
        let names = |_: &str| vec!["a".to_owned(), "aab.yml".to_owned(), "\u{e9}*[".to_owned()];
        let found = expand(line, &names, &|file| file.len() % 2 == 0);
        if Pattern::parse(line).is_err() {
            assert!(found.is_err(), "{line:?}");
        }
    }
}
