//! Regular expressions that mean what Go's `regexp` (RE2 syntax) means, on the engine of `regex-automata`.
//!
//! Prometheus' matchers, relabelling rules, templates and `label_replace` are all defined by Go's package. This crate never
//! implements an automaton; it reads Go's syntax itself, because `regex-syntax` reads another one (there `\d` is Unicode,
//! `[a&&b]` an intersection and `a**` legal), and extracts literals for the index.
//!
//! Texts are UTF-8. Where Go meets a byte that is none, it sees U+FFFD; whoever decodes such bytes puts that in their place.

mod decider;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod glob;
mod pattern;
mod shape;
mod syntax;
mod template;

mod unicode;

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};

pub use error::{Error, ErrorKind};
use pattern::Compiled;
use template::Piece;

/// A compiled regular expression. Cloning shares, and all threads that match with clones share the engine's scratch memory,
/// of which each takes its own piece without waiting.
#[derive(Clone)]
pub struct Regexp(Arc<Compiled>);

impl Regexp {
    /// The regular expression of a label matcher (`=~`): `pattern` is parsed by itself, then anchored at both ends; `.`
    /// matches newlines.
    pub fn matcher(pattern: &str) -> Result<Regexp, Error> {
        Compiled::matcher(pattern).map(Regexp::new)
    }

    /// As [`Regexp::matcher`], of a pattern that may not be UTF-8: refused, except where it has no special characters but `|`,
    /// since Prometheus does not parse such patterns.
    pub fn matcher_of_bytes(pattern: &[u8]) -> Result<Regexp, Error> {
        Compiled::matcher_of_bytes(pattern).map(Regexp::new)
    }

    /// The regular expression of a relabelling rule or of `label_replace`: the text `^(?s:pattern)$` is parsed as a whole,
    /// so that `a)|(b` is legal here, as it is in Prometheus. That example is then anchored at one end only in each half.
    pub fn wrapped(pattern: &str) -> Result<Regexp, Error> {
        Compiled::wrapped(pattern).map(Regexp::new)
    }

    /// The regular expression as it is, which may match anywhere: that of `reReplaceAll` and `match` in templates.
    pub fn unanchored(pattern: &str) -> Result<Regexp, Error> {
        Compiled::unanchored(pattern).map(Regexp::new)
    }

    fn new(compiled: Compiled) -> Regexp {
        Regexp(Arc::new(compiled))
    }

    /// The pattern as it was written, without anchors.
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Whether `text` matches: the whole of it where the expression is anchored.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.decider.is_match(text)
    }

    /// Whether the empty text, which is an absent label, matches.
    pub fn matches_empty(&self) -> bool {
        self.0.matches_empty
    }

    /// Whether any text matches (`.*`).
    pub fn matches_all(&self) -> bool {
        self.0.decider.is_all()
    }

    /// All texts that match, when they are few and known (`a|b|c`); sorted. `None` when they are not.
    pub fn literals(&self) -> Option<&[String]> {
        self.0.decider.literals()
    }

    /// A text with which every match begins; may be empty.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The leftmost match in `text` with its groups.
    pub fn captures<'r, 't>(&'r self, text: &'t str) -> Option<Captures<'r, 't>> {
        self.captures_from(text, 0)
    }

    fn captures_from<'r, 't>(&'r self, text: &'t str, start: usize) -> Option<Captures<'r, 't>> {
        let names = &self.0.names;
        if self.0.anchored && (start > 0 || !self.is_match(text)) {
            return None;
        }
        if self.0.groups_are_whole {
            let whole = [NonMaxUsize::new(0), NonMaxUsize::new(text.len())];
            return Some(Captures { text, names, slots: whole.repeat(names.len()) });
        }
        let engine = self.0.engine()?;
        let input = Input::new(text).range(start..).anchored(Anchored::No);
        let mut slots = vec![None; engine.group_info().slot_len().max(2)];
        engine.search_slots(&input, &mut slots)?;
        Some(Captures { text, names, slots })
    }

    /// If `text` matches, appends `template` to `out` with `$1`, `${1}`, `$name` and `${name}` replaced as Go's
    /// `Regexp.Expand` replaces them, and returns true.
    pub fn expand(&self, text: &str, template: &str, out: &mut String) -> bool {
        let captures = self.captures(text);
        if let Some(captures) = &captures {
            captures.expand(template, out);
        }
        captures.is_some()
    }

    /// `text` with every match replaced by `template`, as Go's `Regexp.ReplaceAllString` does it.
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        let mut start = 0;
        while start <= text.len() {
            let Some(captures) = self.captures_from(text, start) else { break };
            let (from, to) = captures.span(0).expect("group 0 is the match");
            out.push_str(&text[copied..from]);
            // An empty match right behind the last one is none.
            if to > copied || from == 0 {
                captures.expand(template, &mut out);
            }
            copied = to;
            let next_char = text[start..].chars().next().map_or(1, char::len_utf8);
            start = (start + next_char).max(to);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        out
    }
}

impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regexp").field(&self.pattern()).finish()
    }
}

/// A match: where it is and where its groups are.
#[derive(Clone, Debug)]
pub struct Captures<'r, 't> {
    text: &'t str,
    names: &'r [Option<Box<str>>],
    /// Start and end of each group. Groups that can never take part (`(a){0}`) may have none.
    slots: Vec<Option<NonMaxUsize>>,
}

impl<'t> Captures<'_, 't> {
    fn span(&self, index: usize) -> Option<(usize, usize)> {
        let start = index.checked_mul(2)?;
        let [Some(start), Some(end)] = *self.slots.get(start..start.checked_add(2)?)? else { return None };
        Some((start.get(), end.get()))
    }

    /// The text of group `index`; 0 is the match. `None` where there is no such group or it took no part.
    pub fn group(&self, index: usize) -> Option<&'t str> {
        self.span(index).map(|(start, end)| &self.text[start..end])
    }

    /// The text of the first group named `name` that took part.
    pub fn named(&self, name: &str) -> Option<&'t str> {
        let with_name = self.names.iter().enumerate().filter(|(_, known)| known.as_deref() == Some(name));
        with_name.into_iter().find_map(|(index, _)| self.group(index))
    }

    /// Appends `template` to `out`; see [`Regexp::expand`].
    pub fn expand(&self, template: &str, out: &mut String) {
        for piece in template::pieces(template) {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Number(index) => self.group(index).unwrap_or_default(),
                Piece::Name(name) => self.named(name).unwrap_or_default(),
            });
        }
    }
}

/// The engine with groups, made when it is first needed.
type LazyEngine = OnceLock<Option<meta::Regex>>;

#[cfg(test)]
mod tests;
