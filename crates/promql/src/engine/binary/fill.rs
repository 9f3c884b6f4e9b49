//! `fill`, `fill_left`, `fill_right`: values for what has no match on the other side.
//!
//! Source: Prometheus `VectorBinop` of `promql/engine.go`. With `group_right` the sides are exchanged there and the values are
//! not: what is missing on the side that may have one element is always filled with `fill_right`.

use hashbrown::HashMap;

use super::{Sides, match_labels};
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
    /// For each row of the one side, what it meets where the many side has nothing.
    manys: Vec<Option<Row>>,
}

impl Fills {
    pub(super) fn of(sides: &Sides, node: &BinaryNode) -> Fills {
        let matching = &node.matching;
        let labels = |row: &Row| Key::new(match_labels(&row.key.labels, matching));
        let (mut ones, mut manys) = (Vec::new(), Vec::new());
        if let Some(fill) = matching.fill_right {
            ones = sides
                .many
                .iter()
                .zip(&sides.many_groups)
                .map(|(many, group)| {
                    let there: Vec<&Row> = sides.ones(*group).iter().map(|at| &sides.one[*at]).collect();
                    filled(many, &there, fill, labels)
                })
                .collect();
        }
        if let Some(fill) = matching.fill_left {
            let mut many_of: HashMap<usize, Vec<&Row>> = HashMap::new();
            for (many, group) in sides.many.iter().zip(&sides.many_groups) {
                many_of.entry(*group).or_default().push(many);
            }
            let none = Vec::new();
            manys = sides
                .one
                .iter()
                .zip(&sides.one_groups)
                .map(|(one, group)| filled(one, many_of.get(group).unwrap_or(&none), fill, labels))
                .collect();
        }
        Fills { ones, manys }
    }

    /// All rows that meet: those that match, and those that meet what stands for a missing row.
    pub(super) fn pairs<'a>(&'a self, sides: &'a Sides) -> impl Iterator<Item = Pair<'a>> {
        let with_many = sides.many.iter().zip(&sides.many_groups).enumerate().flat_map(move |(at, (many, group))| {
            let found = sides.ones(*group).iter().map(|at| &sides.one[*at]);
            let filled = self.ones.get(at).and_then(Option::as_ref);
            found.chain(filled).map(move |one| Pair { many, one, group: *group })
        });
        let without = sides.one.iter().zip(&sides.one_groups).zip(&self.manys);
        with_many
            .chain(without.filter_map(|((one, group), many)| Some(Pair { many: many.as_ref()?, one, group: *group })))
    }
}

/// A row with `fill` at the steps at which `row` has a value and none of `others` has.
fn filled(row: &Row, others: &[&Row], fill: f64, labels: impl Fn(&Row) -> Key) -> Option<Row> {
    let at = |i: usize| {
        let is_missing = row.view().has(i) && !others.iter().any(|other| other.view().has(i));
        if is_missing { fill } else { ABSENT }
    };
    let values: Box<[f64]> = (0..row.values.len()).map(at).collect();
    any_present(&values).then(|| Row::of_floats(labels(row), values))
}
