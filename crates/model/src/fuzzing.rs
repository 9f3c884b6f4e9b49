//! Entry points for fuzzing: labels from the wire and from disk, durations from files.

use crate::{DurationMs, PackedLabels, TenantId};

/// Packed labels that are taken are label sets, and come back as the same bytes.
pub fn fuzz_labels(bytes: &[u8]) {
    let Some(packed) = PackedLabels::check(bytes) else { return };
    let labels = packed.to_labels();
    assert_eq!(labels.as_packed(), bytes);
    let pairs: Vec<(&str, &str)> = labels.iter().map(|l| (l.name, l.value)).collect();
    assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "{labels}");
    for (name, value) in &pairs {
        assert!(!name.is_empty() && !value.is_empty(), "{labels}");
        assert_eq!(labels.get(name), Some(*value), "{labels}");
    }
    assert_eq!(crate::Labels::from_pairs(pairs.iter().copied()), Some(labels.clone()));
    let names: Vec<&str> = pairs.iter().map(|p| p.0).take(1).collect();
    assert_eq!(labels.only(&names).len() + labels.without(&names).len(), labels.len());
}

/// A duration; what is printed of it is the same duration.
pub fn fuzz_duration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(duration) = DurationMs::parse(&text) {
        assert_eq!(DurationMs::parse(&duration.to_string()), Ok(duration), "{text:?}");
    }
    if let Some(tenant) = TenantId::new(&text) {
        assert_eq!(tenant.as_str(), text);
    }
}
