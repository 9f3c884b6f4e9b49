//! Applying rules to label sets.

use md5::{Digest, Md5};
use model::{Labels, LabelsBuilder};

use crate::case;
use crate::rule::{Action, Rule, has_variable};

/// What became of a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It stays, as the rules have left it.
    Keep,
    /// It goes.
    Drop,
}

/// Applies `rules` in order to the labels in `builder`, which is left as it is where a rule says drop. A rule may set a label
/// without a name (`labelmap` with a replacement that comes out empty): whoever takes the result checks names.
pub fn process(rules: &[Rule], builder: &mut LabelsBuilder) -> Verdict {
    let mut work = Work { builder, value: String::new(), changed: Vec::new(), tracks_changes: false };
    work.tracks_changes = rules.iter().any(|rule| rule.action == Action::LabelMap);
    for rule in rules {
        if work.apply(rule) == Verdict::Drop {
            return Verdict::Drop;
        }
    }
    Verdict::Keep
}

/// The labels after `rules`; `None` where they are dropped.
pub fn relabel(rules: &[Rule], labels: &Labels) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels.clone());
    }
    let mut builder = LabelsBuilder::from_labels(labels);
    match process(rules, &mut builder) {
        Verdict::Keep => Some(builder.build()),
        Verdict::Drop => None,
    }
}

struct Work<'b> {
    builder: &'b mut LabelsBuilder,
    /// The values of the source labels, joined.
    value: String,
    /// Names set by rules so far, in order: `labelmap` comes to them last, and where two names become one, the last wins.
    changed: Vec<String>,
    /// Whether anybody asks for `changed`.
    tracks_changes: bool,
}

impl Work<'_> {
    fn apply(&mut self, rule: &Rule) -> Verdict {
        self.join(rule);
        let drop = match rule.action {
            Action::Keep => !rule.regex.is_match(&self.value),
            Action::Drop => rule.regex.is_match(&self.value),
            Action::KeepEqual => self.builder.get(&rule.target) != self.value,
            Action::DropEqual => self.builder.get(&rule.target) == self.value,
            Action::Replace | Action::HashMod | Action::Lowercase | Action::Uppercase => {
                self.set_target(rule);
                false
            }
            Action::LabelMap => {
                self.map_labels(rule);
                false
            }
            Action::LabelDrop => {
                self.delete_labels(|name| rule.regex.is_match(name));
                false
            }
            Action::LabelKeep => {
                self.delete_labels(|name| !rule.regex.is_match(name));
                false
            }
        };
        if drop { Verdict::Drop } else { Verdict::Keep }
    }

    fn join(&mut self, rule: &Rule) {
        self.value.clear();
        for (i, name) in rule.source_labels.iter().enumerate() {
            if i > 0 {
                self.value.push_str(&rule.separator);
            }
            self.value.push_str(self.builder.get(name));
        }
    }

    fn set_target(&mut self, rule: &Rule) {
        match rule.action {
            Action::HashMod => {
                let remainder = last_half_of_md5(&self.value) % rule.modulus;
                self.set(&rule.target, &remainder.to_string());
            }
            Action::Lowercase => self.set(&rule.target, &case::to_lower(&self.value)),
            Action::Uppercase => self.set(&rule.target, &case::to_upper(&self.value)),
            _ => self.replace(rule),
        }
    }

    fn replace(&mut self, rule: &Rule) {
        let target_is_fixed = !has_variable(&rule.target);
        if target_is_fixed && rule.regex.matches_all() && !has_variable(&rule.replacement) {
            return self.set(&rule.target, &rule.replacement);
        }
        let Some(captures) = rule.regex.captures(&self.value) else { return };
        let mut value = String::new();
        captures.expand(&rule.replacement, &mut value);
        if target_is_fixed {
            return self.set(&rule.target, &value);
        }
        let mut target = String::new();
        captures.expand(&rule.target, &mut target);
        if rule.scheme.is_valid_label_name(&target) {
            self.set(&target, &value);
        }
    }

    fn map_labels(&mut self, rule: &Rule) {
        let is_old = |name: &str| !self.changed.iter().any(|changed| changed == name);
        let matching = self.builder.iter().filter(|(name, _)| rule.regex.is_match(name) && is_old(name));
        let mut mapped: Vec<(String, String)> = matching.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        mapped.sort_unstable();
        for name in self.changed.iter().filter(|name| rule.regex.is_match(name)) {
            mapped.push((name.clone(), self.builder.get(name).to_owned()));
        }
        for (name, value) in mapped {
            self.set(&rule.regex.replace_all(&name, &rule.replacement), &value);
        }
    }

    fn delete_labels(&mut self, goes: impl Fn(&str) -> bool) {
        let names: Vec<String> =
            self.builder.iter().map(|(name, _)| name).filter(|n| goes(n)).map(str::to_owned).collect();
        for name in names {
            self.set(&name, "");
        }
    }

    /// Sets a label; an empty value deletes it.
    fn set(&mut self, name: &str, value: &str) {
        if self.tracks_changes {
            let at = self.changed.iter().position(|changed| changed == name);
            match at {
                Some(at) if value.is_empty() => drop(self.changed.remove(at)),
                None if !value.is_empty() => self.changed.push(name.to_owned()),
                _ => {}
            }
        }
        self.builder.set(name, value);
    }
}

/// The last eight bytes of the MD5 of `text`, the highest first.
fn last_half_of_md5(text: &str) -> u64 {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().skip(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests;
