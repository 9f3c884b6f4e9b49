//! `fill`, `fill_left`, `fill_right`: values for what has no match on the other side.
//!
//! Source: Prometheus `VectorBinop` of `promql/engine.go`. With `group_right` the sides are exchanged there and the values are
//! not: what is missing on the side that may have one element is always filled with `fill_right`.

use hashbrown::HashMap;

use super::{Sides, match_labels};
use crate::ast::VectorMatching;
use crate::engine::column::{ABSENT, any_present};
use crate::engine::node::BinaryNode;
use crate::engine::row::{Key, Row};

/// Rows that meet.
pub(super) struct Pair<'a> {
    pub(super) many: &'a Row,
    pub(super) one: &'a Row,
    pub(super) group: usize,
}

/// Rows that stand for missing ones.
pub(super) struct Fills {
    /// For each row of the many side, what it meets where the one side has nothing.
    ones: Vec<Option<Row>>,
}

impl Fills {
    pub(super) fn of(sides: &Sides, node: &BinaryNode) -> Fills {
        let Some(fill) = node.matching.fill_right else { return Fills { ones: Vec::new() } };
        let of_row = |(many, group): (&Row, &usize)| {
            let there: Vec<&Row> = sides.ones(*group).iter().map(|at| &sides.one[*at]).collect();
            let is_missing = |i: usize| !there.iter().any(|one| one.view().has(i));
            filled(many, is_missing, fill, &node.matching)
        };
        Fills { ones: sides.many.iter().zip(&sides.many_groups).map(of_row).collect() }
    }

    /// The rows that match, and those of the many side that meet what stands for a missing row.
    pub(super) fn pairs<'a>(&'a self, sides: &'a Sides) -> impl Iterator<Item = Pair<'a>> {
        sides.many.iter().zip(&sides.many_groups).enumerate().flat_map(move |(at, (many, group))| {
            let found = sides.ones(*group).iter().map(|at| &sides.one[*at]);
            let filled = self.ones.get(at).and_then(Option::as_ref);
            found.chain(filled).map(move |one| Pair { many, one, group: *group })
        })
    }
}

/// At which steps each group had two rows that went together; those that did not leave the one side without a match.
#[derive(Default)]
pub(super) struct Met(HashMap<usize, Vec<bool>>);

impl Met {
    pub(super) fn note(&mut self, group: usize, met: impl Iterator<Item = bool>) {
        let known = self.0.entry(group).or_default();
        for (i, met) in met.enumerate() {
            match known.get_mut(i) {
                Some(known) => *known |= met,
                None => known.push(met),
            }
        }
    }

    /// For each row of the one side, what it meets where nothing of the many side went with it.
    pub(super) fn manys(&self, sides: &Sides, node: &BinaryNode) -> Vec<Option<Row>> {
        let Some(fill) = node.matching.fill_left else { return Vec::new() };
        let of_row = |(one, group): (&Row, &usize)| {
            let met = self.0.get(group);
            filled(one, |i| !met.is_some_and(|met| met[i]), fill, &node.matching)
        };
        sides.one.iter().zip(&sides.one_groups).map(of_row).collect()
    }
}

/// A row with `fill` at the steps at which `row` has a value and what it should meet is missing.
fn filled(row: &Row, is_missing: impl Fn(usize) -> bool, fill: f64, matching: &VectorMatching) -> Option<Row> {
    let at = |i: usize| if row.view().has(i) && is_missing(i) { fill } else { ABSENT };
    let values: Box<[f64]> = (0..row.values.len()).map(at).collect();
    any_present(&values).then(|| Row::of_floats(Key::new(match_labels(&row.key.labels, matching)), values))
}
