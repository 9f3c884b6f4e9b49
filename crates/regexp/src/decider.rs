//! How a text is tested: by comparing, where that is enough, or by an automaton.

use std::collections::HashSet;

use regex_automata::{Anchored, Input, meta};

use crate::glob::Glob;

/// Texts that are compared one by one; more are hashed.
const COMPARED_MAX: usize = 8;

/// All texts that match.
#[derive(Debug)]
pub(crate) struct Literals {
    sorted: Vec<String>,
    /// Bit n for a text of n bytes, the last for all that are longer.
    lengths: u64,
    /// Empty where there are few.
    hashed: HashSet<Box<str>, foldhash::fast::RandomState>,
}

impl Literals {
    pub(crate) fn new(sorted: Vec<String>) -> Literals {
        let lengths = sorted.iter().fold(0, |bits, t| bits | Literals::length_bit(t));
        let many = sorted.len() > COMPARED_MAX;
        let hashed = sorted.iter().filter(|_| many).map(|t| t.as_str().into()).collect();
        Literals { sorted, lengths, hashed }
    }

    fn length_bit(text: &str) -> u64 {
        1 << text.len().min(63)
    }

    fn contains(&self, text: &str) -> bool {
        self.lengths & Literals::length_bit(text) != 0
            && if self.hashed.is_empty() { self.sorted.iter().any(|t| t == text) } else { self.hashed.contains(text) }
    }
}

/// What decides, the cheapest that can.
#[derive(Debug)]
pub(crate) enum Decider {
    /// One of these.
    Literals(Literals),
    /// Literals and gaps.
    Glob(Glob),
    /// An automaton that says whether it finds something.
    Engine(meta::Regex),
}

impl Decider {
    pub(crate) fn is_match(&self, text: &str) -> bool {
        match self {
            Decider::Literals(literals) => literals.contains(text),
            Decider::Glob(glob) => glob.is_match(text),
            Decider::Engine(engine) => engine.is_match(Input::new(text).anchored(Anchored::No)),
        }
    }

    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Decider::Glob(glob) if glob.is_all())
    }

    pub(crate) fn literals(&self) -> Option<&[String]> {
        match self {
            Decider::Literals(literals) => Some(&literals.sorted),
            Decider::Glob(_) | Decider::Engine(_) => None,
        }
    }
}
