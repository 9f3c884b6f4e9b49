//! Which group a row belongs to.

use hashbrown::HashMap;
use model::{Labels, METRIC_NAME};

use crate::engine::node::Groups;
use crate::engine::row::{Key, METADATA_LABELS};

/// A group: its labels, and whether the metric's name is to be dropped from them.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) key: Key,
    id: Box<[u8]>,
}

/// Finds the group of a row without allocating, once the group is known.
#[derive(Debug)]
pub(crate) struct Grouper {
    without: bool,
    /// Names of `by`, or all that `without` leaves out; sorted.
    names: Vec<String>,
    /// The same for rows whose metric's name was dropped.
    names_if_dropped: Vec<String>,
    delayed: bool,
    index: HashMap<Box<[u8]>, usize>,
    groups: Vec<Group>,
    scratch: Vec<u8>,
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

impl Grouper {
    pub(crate) fn new(groups: &Groups, delayed: bool) -> Grouper {
        let mut names = groups.names.clone();
        let mut names_if_dropped = names.clone();
        if groups.without {
            names.push(METRIC_NAME.to_owned());
            names_if_dropped.extend(METADATA_LABELS.map(str::to_owned));
        } else {
            names_if_dropped.retain(|n| !METADATA_LABELS.contains(&n.as_str()));
        }
        for list in [&mut names, &mut names_if_dropped] {
            list.sort_unstable();
            list.dedup();
        }
        Grouper {
            without: groups.without,
            names,
            names_if_dropped,
            delayed,
            index: HashMap::new(),
            groups: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn names_for(&self, key: &Key) -> &[String] {
        if key.drop_name && !self.delayed { &self.names_if_dropped } else { &self.names }
    }

    /// The labels of the group of a row.
    pub(crate) fn labels(&self, key: &Key) -> Labels {
        let names = self.names_for(key);
        if self.without { key.labels.without(names) } else { key.labels.only(names) }
    }

    /// The number of the row's group; groups are numbered in the order in which they come.
    pub(crate) fn find(&mut self, key: &Key) -> usize {
        let mut id = std::mem::take(&mut self.scratch);
        id.clear();
        let names = self.names_for(key);
        if self.without || !names.is_empty() {
            let mut rest = names.iter().peekable();
            for label in &key.labels {
                while rest.next_if(|name| name.as_str() < label.name).is_some() {}
                let listed = rest.peek().is_some_and(|name| name.as_str() == label.name);
                if listed != self.without {
                    put(&mut id, label.name);
                    put(&mut id, label.value);
                }
            }
        }
        let at = match self.index.get(id.as_slice()) {
            Some(at) => *at,
            None => {
                let labels = self.labels(key);
                self.insert(Group { key: Key::new(labels), id: id.as_slice().into() })
            }
        };
        self.groups[at].key.drop_name |= key.drop_name && self.delayed;
        self.scratch = id;
        at
    }

    fn insert(&mut self, group: Group) -> usize {
        let at = self.groups.len();
        self.index.insert(group.id.clone(), at);
        self.groups.push(group);
        at
    }

    /// The number of a group of another grouper.
    pub(crate) fn adopt(&mut self, group: Group) -> usize {
        match self.index.get(&group.id) {
            Some(at) => {
                self.groups[*at].key.drop_name |= group.key.drop_name;
                *at
            }
            None => self.insert(group),
        }
    }

    pub(crate) fn into_groups(self) -> Vec<Group> {
        self.groups
    }
}
