//! Operators between two vectors: joins of rows by labels, computed once per row and not per step.
//!
//! Source: Prometheus `VectorBinop`, `VectorAnd`, `VectorOr`, `VectorUnless`, `resultMetric` of `promql/engine.go`.

mod fill;

use fill::{Fills, Met, Pair};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use model::{Labels, LabelsBuilder};

use super::aggregate::Grouper;
use super::annotations::Annotations;
use super::column::{ABSENT, any_present, is_absent};
use super::elements::{self, Element, Operand};
use super::error::QueryError;
use super::hists::Hists;
use super::limits::{Budget, Ticker};
use super::math::{self, Keep, binary_columns};
use super::node::{BinaryNode, Groups};
use super::row::{Key, METADATA_LABELS, Row, merge_rows, sort_by_place};
use crate::ast::{BinaryOp, Cardinality, VectorMatching};

/// What a join works with besides its rows.
pub(crate) struct Join<'a> {
    pub(crate) delayed: bool,
    /// Whether the rows of the left and of the right side come in the order in which Prometheus has them.
    pub(crate) in_order: [bool; 2],
    pub(crate) annotations: &'a mut Annotations,
    pub(crate) ticker: &'a mut Ticker,
    pub(crate) budget: &'a Budget,
}

/// Evaluates the operator over the rows of both sides.
pub(crate) fn evaluate(
    node: &BinaryNode,
    lhs: Vec<Row>,
    rhs: Vec<Row>,
    join: &mut Join<'_>,
) -> Result<Vec<Row>, QueryError> {
    let n = node.grid.count;
    let (mut lhs, mut rhs) = (lhs, rhs);
    let has_hists = || lhs.iter().chain(&rhs).any(|row| !row.hists.is_empty());
    // What is noted depends on the order of the pairs.
    if is_put_in_order(node) || !math::is_set(node.op) && has_hists() {
        let [left_in_order, right_in_order] = std::mem::replace(&mut join.in_order, [true, true]);
        if !left_in_order {
            sort_by_place(&mut lhs);
        }
        if !right_in_order {
            sort_by_place(&mut rhs);
        }
    }
    let mut grouper = Grouper::new(&Groups { without: !node.matching.on, names: sorted(&node.matching.labels) }, true);
    let left_groups: Vec<usize> = lhs.iter().map(|row| grouper.find(&row.key)).collect();
    let right_groups: Vec<usize> = rhs.iter().map(|row| grouper.find(&row.key)).collect();
    let rows = match node.op {
        BinaryOp::And => {
            let present = presence(&rhs, &right_groups, n);
            filter(lhs, &left_groups, &present, true)
        }
        BinaryOp::Unless => {
            let present = presence(&rhs, &right_groups, n);
            filter(lhs, &left_groups, &present, false)
        }
        BinaryOp::Or => {
            let present = presence(&lhs, &left_groups, n);
            let mut rows = lhs;
            rows.extend(filter(rhs, &right_groups, &present, false));
            rows
        }
        _ => {
            let sides = Sides::new(node, lhs, left_groups, rhs, right_groups);
            sides.check_one_side(node, join.in_order[usize::from(!sides.swapped)])?;
            sides.operate(node, join)?
        }
    };
    // At a single step Prometheus leaves equal labels to the end where names are dropped there.
    if join.delayed && n == 1 { Ok(rows) } else { merge_rows(rows) }
}

/// Whether the join puts its rows in the order in which Prometheus has them, whatever it is given: at a single step, where the
/// rows of the result come from both sides. Over several steps Prometheus puts them into a map.
pub(crate) fn is_put_in_order(node: &BinaryNode) -> bool {
    node.grid.count == 1 && (node.op == BinaryOp::Or || node.matching.fill_left.is_some())
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

/// For each group the steps at which some row has a value.
fn presence(rows: &[Row], groups: &[usize], n: usize) -> HashMap<usize, Vec<bool>> {
    let mut present: HashMap<usize, Vec<bool>> = HashMap::new();
    for (row, group) in rows.iter().zip(groups) {
        let steps = present.entry(*group).or_insert_with(|| vec![false; n]);
        steps.iter_mut().zip(&row.values).for_each(|(s, v)| *s |= !is_absent(*v));
        row.hists.iter().for_each(|(i, _)| steps[i] = true);
    }
    present
}

/// Keeps the values of steps at which the row's group is, or is not, present.
fn filter(rows: Vec<Row>, groups: &[usize], present: &HashMap<usize, Vec<bool>>, wanted: bool) -> Vec<Row> {
    rows.into_iter()
        .zip(groups)
        .filter_map(|(mut row, group)| {
            match present.get(group) {
                None if wanted => return None,
                None => {}
                Some(steps) => {
                    for (v, s) in row.values.iter_mut().zip(steps) {
                        *v = if *s == wanted { *v } else { ABSENT };
                    }
                    row.hists.retain(|i| steps[i] == wanted);
                }
            }
            row.view().any().then_some(row)
        })
        .collect()
}

/// The two sides of an arithmetic or comparison: `many` is the left one, but with `group_right` the right.
struct Sides {
    many: Vec<Row>,
    many_groups: Vec<usize>,
    one: Vec<Row>,
    one_groups: Vec<usize>,
    /// Rows of the one side by group.
    one_of: HashMap<usize, Vec<usize>>,
    swapped: bool,
}

impl Sides {
    fn new(node: &BinaryNode, lhs: Vec<Row>, lg: Vec<usize>, rhs: Vec<Row>, rg: Vec<usize>) -> Sides {
        let swapped = node.matching.cardinality == Cardinality::OneToMany;
        let (many, many_groups, one, one_groups) = if swapped { (rhs, rg, lhs, lg) } else { (lhs, lg, rhs, rg) };
        let mut one_of: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, group) in one_groups.iter().enumerate() {
            one_of.entry(*group).or_default().push(at);
        }
        Sides { many, many_groups, one, one_groups, one_of, swapped }
    }

    /// An error where the one side has two of a group at one step, and the many side has anything there. Named are the first two
    /// as Prometheus has them.
    fn check_one_side(&self, node: &BinaryNode, in_order: bool) -> Result<(), QueryError> {
        let is_crowded = |at: &usize| self.ones(self.one_groups[*at]).len() > 1;
        let mut crowded: Vec<usize> = (0..self.one.len()).filter(is_crowded).collect();
        if crowded.is_empty() {
            return Ok(());
        }
        let labels = |at: usize| &self.one[at].key.labels;
        if !in_order {
            let place = |at: usize| self.one[at].key.place();
            crowded.sort_by(|a, b| place(*a).cmp(place(*b)));
        }
        let is_filled = node.matching.fill_left.is_some() || node.matching.fill_right.is_some();
        let mut seen: HashMap<usize, usize> = HashMap::new();
        for i in 0..node.grid.count {
            if !is_filled && !self.many.iter().any(|row| row.view().has(i)) {
                continue;
            }
            seen.clear();
            for at in crowded.iter().copied().filter(|at| self.one[*at].view().has(i)) {
                if let Some(first) = seen.insert(self.one_groups[at], at) {
                    return Err(QueryError::ManyToMany {
                        group: match_labels(labels(at), &node.matching),
                        side: if self.swapped { "left" } else { "right" },
                        first: labels(at).clone(),
                        second: labels(first).clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The rows of the one side in a group.
    fn ones(&self, group: usize) -> &[usize] {
        self.one_of.get(&group).map_or(&[], Vec::as_slice)
    }

    fn operate(&self, node: &BinaryNode, join: &mut Join<'_>) -> Result<Vec<Row>, QueryError> {
        let keep = match (node.return_bool, math::is_comparison(node.op)) {
            (true, _) => Keep::Bool,
            (false, true) => Keep::Left,
            (false, false) => Keep::Result,
        };
        let mut matches =
            Matches { one_to_one: node.matching.cardinality == Cardinality::OneToOne, taken: HashMap::new() };
        let mut crowd: HashMap<usize, u32> = HashMap::new();
        for group in &self.many_groups {
            *crowd.entry(*group).or_default() += 1;
        }
        let mut work =
            Work { keep, column: vec![ABSENT; node.grid.count], notes: Vec::new(), made: 0, out: Vec::new() };
        let fills = Fills::of(self, node);
        let mut met = Met::default();
        for pair in fills.pairs(self) {
            let is_crowded = crowd.get(&pair.group).is_some_and(|n| *n > 1) || self.ones(pair.group).len() > 1;
            let group = pair.group;
            let together = self.pair(node, pair, is_crowded.then_some(&mut matches), &mut work, join)?;
            if node.matching.fill_left.is_some() {
                met.note(group, together.into_iter());
            }
        }
        let manys = met.manys(self, node);
        for ((one, group), many) in self.one.iter().zip(&self.one_groups).zip(&manys) {
            if let Some(many) = many {
                let pair = Pair { many, one, group: *group };
                self.pair(node, pair, Some(&mut matches), &mut work, join)?;
            }
        }
        work.notes.into_iter().flatten().for_each(|notes| join.annotations.merge(notes));
        Ok(work.out)
    }

    /// Adds the row of a pair, if it has any value; returns at which steps the operands went together.
    fn pair(
        &self,
        node: &BinaryNode,
        Pair { many, one, group }: Pair<'_>,
        matches: Option<&mut Matches>,
        work: &mut Work,
        join: &mut Join<'_>,
    ) -> Result<Vec<bool>, QueryError> {
        join.ticker.tick(node.grid.count)?;
        let labels = result_labels(&many.key.labels, &one.key.labels, node, join.delayed);
        let (lhs, rhs) = if self.swapped { (one, many) } else { (many, one) };
        let mut hists = Hists::default();
        let mut met = Vec::new();
        if lhs.hists.is_empty() && rhs.hists.is_empty() && !math::is_trim(node.op) {
            if matches.is_some() || node.matching.fill_left.is_some() {
                met.extend(many.values.iter().zip(&one.values).map(|(a, b)| !is_absent(*a) && !is_absent(*b)));
            }
            binary_columns(node.op, work.keep, &lhs.values, &rhs.values, &mut work.column);
        } else {
            met = mixed_columns(node, (lhs, rhs), work, &mut hists);
        }
        if let Some(matches) = matches {
            matches.note(group, &labels, met.iter().copied())?;
        }
        if any_present(&work.column) || !hists.is_empty() {
            work.made += node.grid.count + hists.weight();
            join.budget.glance(work.made)?;
            let key = Key::instead_of(&many.key, labels, node.return_bool && join.delayed);
            work.out.push(Row { key, values: work.column.as_slice().into(), hists });
        }
        Ok(met)
    }
}

/// What the pairs of a join leave behind.
struct Work {
    keep: Keep,
    /// The values of the pair at hand.
    column: Vec<f64>,
    /// Of each step what was noted last: Prometheus tells only that.
    notes: Vec<Option<Annotations>>,
    made: usize,
    out: Vec<Row>,
}

impl Work {
    fn note(&mut self, i: usize, notes: Annotations) {
        if !notes.is_empty() {
            self.notes.resize_with(self.column.len(), || None);
            self.notes[i] = Some(notes);
        }
    }
}

fn operand(row: &Row, i: usize) -> Operand<'_> {
    row.hists.get(i).map_or(Operand::Float(row.values[i]), Operand::Histogram)
}

/// An operator between rows of which one has histograms, step by step; returns at which steps the operands went together.
fn mixed_columns(node: &BinaryNode, (lhs, rhs): (&Row, &Row), work: &mut Work, hists: &mut Hists) -> Vec<bool> {
    let n = work.column.len();
    binary_columns(node.op, work.keep, &lhs.values, &rhs.values, &mut work.column);
    let is_float = |row: &Row, i: usize| !is_absent(row.values[i]);
    let mut met: Vec<bool> = (0..n).map(|i| is_float(lhs, i) && is_float(rhs, i)).collect();
    for (i, met) in met.iter_mut().enumerate() {
        let mut notes = Annotations::default();
        if *met {
            if math::is_trim(node.op) {
                notes.incompatible_types(node.pos, "float", node.op.as_str(), "float");
                *met = false;
            }
        } else if lhs.view().has(i) && rhs.view().has(i) {
            let element = elements::combine(node.op, operand(lhs, i), operand(rhs, i), node.pos, &mut notes);
            *met = !matches!(element, Element::Mismatch);
            match elements::keep(element, work.keep) {
                Some(Element::Float(v)) => work.column[i] = v,
                Some(Element::Histogram(h)) => hists.set(i, n, h),
                Some(Element::Mismatch | Element::Unequal) | None => {}
            }
        }
        work.note(i, notes);
    }
    met
}

/// Which steps of which results were matched already, for groups with several rows.
struct Matches {
    one_to_one: bool,
    taken: HashMap<(usize, Option<Labels>), Vec<bool>>,
}

impl Matches {
    fn note(&mut self, group: usize, labels: &Labels, matched: impl Iterator<Item = bool>) -> Result<(), QueryError> {
        let key = (group, (!self.one_to_one).then(|| labels.clone()));
        match self.taken.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(matched.collect());
            }
            Entry::Occupied(mut entry) => {
                for (taken, matched) in entry.get_mut().iter_mut().zip(matched) {
                    if *taken && matched {
                        return Err(if self.one_to_one {
                            QueryError::ManyToOneNotExplicit
                        } else {
                            QueryError::GroupingNotUnique
                        });
                    }
                    *taken |= matched;
                }
            }
        }
        Ok(())
    }
}

/// The labels by which rows met.
fn match_labels(labels: &Labels, matching: &VectorMatching) -> Labels {
    let mut names = sorted(&matching.labels);
    if matching.on {
        return labels.only(&names);
    }
    names.push(model::METRIC_NAME.to_owned());
    names.sort_unstable();
    labels.without(&names)
}

/// The labels of a result.
fn result_labels(many: &Labels, one: &Labels, node: &BinaryNode, delayed: bool) -> Labels {
    let matching = &node.matching;
    let mut builder = LabelsBuilder::from_labels(many);
    if math::is_arithmetic(node.op) || (node.return_bool && !delayed) {
        for name in METADATA_LABELS {
            builder.del(name);
        }
    }
    if matching.cardinality == Cardinality::OneToOne {
        let names: Vec<String> = builder.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            if matching.labels.contains(&name) != matching.on {
                builder.del(&name);
            }
        }
    }
    for name in &matching.include {
        builder.set(name, one.get(name).unwrap_or(""));
    }
    builder.build()
}
