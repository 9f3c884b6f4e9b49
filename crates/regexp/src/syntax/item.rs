//! What the parser has understood so far: pieces of the expression together with the numbers that Go limits.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

use crate::unicode;

/// How one expression is made of others; Go flattens a concatenation within a concatenation, and so with alternations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Concat,
    Alternate,
    Other,
}

/// A part of the expression.
#[derive(Debug)]
pub(super) enum Part {
    /// Characters that stand for themselves or, with `fold`, for their case variants.
    Text { chars: String, fold: bool },
    /// Anything.
    Hir(Hir),
}

/// A part and what Go would count in it.
#[derive(Debug)]
pub(super) struct Item {
    part: Part,
    op: Op,
    /// Levels of Go's tree.
    pub(super) height: u32,
    /// Instructions of Go's program, roughly; kept by Go to refuse what is too large.
    pub(super) size: u64,
    /// The largest product of counted repetitions within each other.
    repeats: u64,
}

impl Item {
    pub(super) fn text(c: char, fold: bool) -> Item {
        Item { part: Part::Text { chars: c.into(), fold }, op: Op::Other, height: 1, size: 1, repeats: 1 }
    }

    pub(super) fn leaf(hir: Hir) -> Item {
        Item { part: Part::Hir(hir), op: Op::Other, height: 1, size: 1, repeats: 1 }
    }

    /// Appends `next` where both are text of the same kind; otherwise gives it back.
    pub(super) fn append(&mut self, next: Item) -> Result<(), Item> {
        match (&mut self.part, &next.part) {
            (Part::Text { chars, fold }, Part::Text { chars: more, fold: same }) if fold == same => {
                chars.push_str(more);
                self.size += next.size;
                Ok(())
            }
            _ => Err(next),
        }
    }

    pub(super) fn capture(self, hir: impl FnOnce(Hir) -> Hir) -> Item {
        let (height, size, repeats) = (self.height + 1, self.size.saturating_add(2), self.repeats);
        Item { part: Part::Hir(hir(self.into_hir())), op: Op::Other, height, size, repeats }
    }

    /// The item `min` to `max` times. `counted`: written in braces.
    pub(super) fn repeat(self, min: u32, max: Option<u32>, greedy: bool, counted: bool) -> Item {
        let size = match (min, max) {
            (0, None) => self.size.saturating_add(2),
            (_, _) if !counted => self.size.saturating_add(1),
            (_, None) => self.size.saturating_mul(u64::from(min)).saturating_add(1),
            (_, Some(max)) => self.size.saturating_mul(u64::from(max)).saturating_add(u64::from(max - min)),
        };
        let repeats = match max {
            Some(0) => 1,
            _ if !counted => self.repeats,
            _ => self.repeats.saturating_mul(u64::from(max.unwrap_or(min).max(1))),
        };
        let height = self.height + 1;
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(self.into_hir()) });
        Item { part: Part::Hir(hir), op: Op::Other, height, size: size.max(1), repeats }
    }

    /// Whether no innermost expression is repeated more than 1,000 times by braces.
    pub(super) fn repeats_are_few(&self) -> bool {
        const REPEATS_MAX: u64 = 1000;
        self.repeats <= REPEATS_MAX
    }

    pub(super) fn concat(items: Vec<Item>) -> Item {
        Item::combine(items, Op::Concat).unwrap_or_else(|| Item::leaf(Hir::empty()))
    }

    pub(super) fn alternate(branches: Vec<Item>) -> Item {
        // Go makes one class of alternatives that are single characters.
        if branches.len() > 1 && branches.iter().all(Item::is_single_char) {
            return Item::leaf(Hir::alternation(branches.into_iter().map(Item::into_hir).collect()));
        }
        Item::combine(branches, Op::Alternate).unwrap_or_else(|| Item::leaf(Hir::fail()))
    }

    fn combine(mut items: Vec<Item>, op: Op) -> Option<Item> {
        if items.len() < 2 {
            return items.pop();
        }
        let joints = if op == Op::Alternate { items.len() as u64 - 1 } else { 0 };
        let size = items.iter().fold(joints, |n, item| n.saturating_add(item.size));
        let height = items.iter().map(|item| item.height - u32::from(item.op == op)).max()? + 1;
        let repeats = items.iter().map(|item| item.repeats).max()?;
        let hirs = items.into_iter().map(Item::into_hir).collect();
        let hir = if op == Op::Alternate { Hir::alternation(hirs) } else { Hir::concat(hirs) };
        Some(Item { part: Part::Hir(hir), op, height, size: size.max(1), repeats })
    }

    /// Levels with something before and after it.
    pub(super) fn height_enclosed(&self) -> u32 {
        self.height + u32::from(self.op != Op::Concat)
    }

    /// How many parts move when this becomes part of the expression around it.
    pub(super) fn parts(&self) -> usize {
        match &self.part {
            Part::Text { chars, .. } => chars.len(),
            Part::Hir(hir) => hir.kind().subs().len(),
        }
    }

    fn is_single_char(&self) -> bool {
        match &self.part {
            Part::Text { chars, .. } => chars.chars().nth(1).is_none(),
            Part::Hir(hir) => matches!(hir.kind(), HirKind::Class(_)),
        }
    }

    pub(super) fn into_hir(self) -> Hir {
        match self.part {
            Part::Text { chars, fold: false } => Hir::literal(chars.into_bytes()),
            Part::Text { chars, fold: true } => {
                Hir::concat(chars.chars().map(|c| Hir::class(Class::Unicode(unicode::orbit(c)))).collect())
            }
            Part::Hir(hir) => hir,
        }
    }
}
