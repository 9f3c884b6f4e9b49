//! Random expressions of the whole language, and what occurs in each.

use std::collections::BTreeSet;

use e2e::random::Random;

use super::since::Language;

mod aggregations;
mod calls;
mod durations;
mod operators;
mod selectors;

/// An expression, and what is to be known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expression {
    pub(crate) text: String,
    /// Functions, operators, modifiers, and whatever else is counted.
    pub(crate) constructs: BTreeSet<&'static str>,
    /// What `topk` and the like choose from: where values are equal, either may be chosen.
    pub(crate) chosen_from: Vec<String>,
}

/// What the series of a vector are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Floats,
    Histograms,
}

pub(crate) struct Grammar<'a> {
    pub(crate) random: &'a mut Random,
    language: Language,
    /// Within a subquery.
    in_subquery: bool,
    out: Expression,
}

impl<'a> Grammar<'a> {
    /// A random expression.
    pub(crate) fn expression(random: &'a mut Random, language: Language, in_range: bool) -> Expression {
        let mut grammar = Grammar { random, language, in_subquery: false, out: Expression::default() };
        let depth = 1 + grammar.below(4);
        let text = match grammar.below(60) {
            0..3 => grammar.scalar(depth),
            3 if !in_range => grammar.matrix(depth),
            4 if !in_range => grammar.string(),
            5..8 if language.is_newer() => {
                let kind = Kind::Histograms;
                grammar.vector(depth, kind)
            }
            _ => grammar.vector(depth, Kind::Floats),
        };
        Expression { text, ..grammar.out }
    }

    fn string(&mut self) -> String {
        self.note("string");
        self.pick(&["\"a \\\"text\\\"\"", "'single'", "`raw\\text`", "\"\\u00e9\\n\""]).to_owned()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len() as u64) as usize]
    }

    /// Counts a construct.
    fn note(&mut self, construct: &'static str) {
        self.out.constructs.insert(construct);
    }

    /// One of some words, counted.
    fn noted(&mut self, all: &[&'static str]) -> &'static str {
        let word = {
            let word = self.pick(all);
            self.language.word(word)
        };
        self.note(word);
        word
    }

    fn number(&mut self) -> String {
        match self.below(24) {
            0 => {
                self.note("NaN");
                "NaN".to_owned()
            }
            1 => {
                self.note("Inf");
                self.pick(&["Inf", "-Inf", "+Inf", "inf"]).to_owned()
            }
            2 => self.pick(&["0x1F", "1e3", "1.5e-3", ".5", "5.", "017"]).to_owned(),
            3 if self.language.is_newer() => {
                self.note("duration as number");
                self.pick(&["1m", "1h30m", "90s", "500ms"]).to_owned()
            }
            4 => "0".to_owned(),
            5 => format!("-{}", self.below(50)),
            6..12 => format!("{}", self.below(8)),
            12..16 => format!("{}", self.below(2000) as f64 / 16.0),
            _ => format!("{}", self.below(100)),
        }
    }

    /// A number that a function takes for one between 0 and 1, nearly always.
    fn ratio(&mut self) -> String {
        match self.below(12) {
            0 => self.number(),
            1 => self.pick(&["0", "1", "-0.5", "1.5"]).to_owned(),
            _ => format!("{}", (1 + self.below(15)) as f64 / 16.0),
        }
    }

    fn scalar(&mut self, depth: u64) -> String {
        if depth == 0 {
            return self.number();
        }
        let newer = self.language.is_newer();
        match self.below(14) {
            0 => self.call0("time"),
            1 => self.call0("pi"),
            2 | 3 => {
                self.note("scalar");
                let inner = match self.one_in(2) {
                    true => self.single(depth - 1),
                    false => self.vector(depth - 1, Kind::Floats),
                };
                format!("scalar({inner})")
            }
            4 if newer => {
                let name = self.pick(&["start", "end", "step", "range"]);
                self.call0(name)
            }
            5 if newer => {
                let name = self.noted(&["min_of", "max_of"]);
                format!("{name}({}, {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            6 | 7 => {
                let op = self.noted(&["+", "-", "*", "/", "%", "^", "atan2"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            8 => {
                let op = self.noted(&["==", "!=", "<", "<=", ">", ">="]);
                self.note("bool");
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            9 => {
                self.note("unary -");
                format!("-({})", self.scalar(depth - 1))
            }
            _ => self.number(),
        }
    }

    fn call0(&mut self, name: &'static str) -> String {
        self.note(name);
        format!("{name}()")
    }

    /// A vector of one element, nearly always.
    fn single(&mut self, depth: u64) -> String {
        let op = self.noted(&["sum", "max", "avg", "count"]);
        format!("{op}({})", self.vector(depth, Kind::Floats))
    }

    /// An instant vector, nearly always of `kind`.
    fn vector(&mut self, depth: u64, kind: Kind) -> String {
        let newer = self.language.is_newer();
        // What is not expected may come, too.
        let kind = match kind {
            _ if !newer => Kind::Floats,
            Kind::Floats if self.one_in(24) => Kind::Histograms,
            Kind::Histograms if self.one_in(20) => Kind::Floats,
            kind => kind,
        };
        if depth == 0 {
            return self.instant_selector(kind);
        }
        match (self.below(24), kind) {
            (0..2, _) => self.instant_selector(kind),
            (2, _) => {
                self.note("parentheses");
                format!("({})", self.vector(depth - 1, kind))
            }
            (3, _) => {
                let sign = self.noted(&["unary -", "unary +"]);
                let sign = sign.trim_start_matches("unary ");
                format!("{sign}({})", self.vector(depth - 1, kind))
            }
            (4..9, _) => self.aggregation(depth, kind),
            (9..13, _) => self.binary(depth, kind),
            (13..19, _) => self.of_window(depth, kind),
            (_, kind) => self.call(depth, kind),
        }
    }
}
