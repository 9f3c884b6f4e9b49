//! Groups of targets, and what is known of them.

use std::collections::BTreeMap;

/// Targets with labels in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Where it comes from: an index, `file:index` or `URL:index`.
    pub source: String,
    /// Addresses: what becomes `__address__`.
    pub targets: Vec<String>,
    /// Labels of all of them, those that start with `__meta_` included.
    pub labels: BTreeMap<String, String>,
}

/// What a mechanism has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// What one origin (a file, a URL) says now; nothing where there is none any more.
    Groups { mechanism: usize, origin: String, groups: Vec<Group> },
    /// All origins of the mechanism were looked at, in vain or not.
    Looked { mechanism: usize },
}

/// What each origin of a job said last.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    by_origin: BTreeMap<(usize, String), Vec<Group>>,
}

impl Sources {
    /// Takes what `origin` says now in the place of what it said before. Returns whether anything is different.
    pub fn replace(&mut self, mechanism: usize, origin: &str, groups: Vec<Group>) -> bool {
        let key = (mechanism, origin.to_owned());
        if groups.is_empty() {
            return self.by_origin.remove(&key).is_some();
        }
        if self.by_origin.get(&key) == Some(&groups) {
            return false;
        }
        self.by_origin.insert(key, groups);
        true
    }

    /// All groups, by mechanism and origin.
    pub fn groups(&self) -> Vec<Group> {
        self.by_origin.values().flatten().cloned().collect()
    }
}

/// Groups with their sources and with one more label.
pub(crate) fn groups_of(origin: &str, parsed: Vec<config::TargetGroup>, meta: Option<(&str, &str)>) -> Vec<Group> {
    let groups = parsed.into_iter().enumerate().map(|(i, group)| {
        let mut labels = group.labels;
        if let Some((name, value)) = meta {
            labels.insert(name.to_owned(), value.to_owned());
        }
        let source = if origin.is_empty() { i.to_string() } else { format!("{origin}:{i}") };
        Group { source, targets: group.targets, labels }
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(source: &str, target: &str) -> Group {
        Group { source: source.to_owned(), targets: vec![target.to_owned()], labels: BTreeMap::new() }
    }

    #[test]
    fn an_origin_replaces_what_it_said_before() {
        let mut sources = Sources::default();
        assert!(sources.replace(1, "f", vec![group("f:0", "a"), group("f:1", "b")]));
        assert!(sources.replace(0, "u", vec![group("u:0", "c")]));
        assert!(!sources.replace(1, "f", vec![group("f:0", "a"), group("f:1", "b")]));
        let targets = |s: &Sources| s.groups().iter().map(|g| g.targets[0].clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(targets(&sources), "c a b");
        assert!(sources.replace(1, "f", vec![group("f:0", "b")]));
        assert_eq!(targets(&sources), "c b");
        assert!(sources.replace(1, "f", vec![]));
        assert!(!sources.replace(1, "f", vec![]));
        assert_eq!(targets(&sources), "c");
    }
}
