//! Aggregations into group columns: a row is added to its group at all steps at once, and forgotten.
//!
//! While the rows are few they are kept and added in order of labels at the end: then sums are Prometheus' to the last bit.

mod count_values;
mod group;
mod histograms;
mod presence;
mod topk;

pub(crate) use count_values::CountValues;
pub(crate) use group::Grouper;
pub(crate) use presence::{Absence, Single};
pub(crate) use topk::{TopK, heap_order};

use super::annotations::Annotations;
use super::column::{ABSENT, NORMAL_NAN, is_absent};
use super::error::QueryError;
use super::hists::{Hists, View};
use super::limits::Tally;
use super::math::{kahan, quantile};
use super::node::{Groups, Scalar};
use super::row::{Key, Row, sort_by_place};
use crate::ast::{AggregateOp, Pos};
use histograms::{HistTotals, Notes};

/// The columns of one group.
#[derive(Debug)]
enum Columns {
    /// Sum and compensation.
    Sum {
        sum: Vec<f64>,
        c: Vec<f64>,
    },
    /// Sum, compensation, count; where `incremental` the sum is the mean, because the sum itself overflowed.
    Avg {
        sum: Vec<f64>,
        c: Vec<f64>,
        count: Vec<f64>,
        incremental: Vec<bool>,
    },
    Least(Vec<f64>),
    Largest(Vec<f64>),
    Count(Vec<f64>),
    Group(Vec<f64>),
    /// Count, mean, sum of squared distances (Welford).
    Moments {
        count: Vec<f64>,
        mean: Vec<f64>,
        m2: Vec<f64>,
    },
    /// All values.
    Rows(Vec<Box<[f64]>>),
}

impl Columns {
    fn new(op: AggregateOp, n: usize) -> Columns {
        let absent = || vec![ABSENT; n];
        let zero = || vec![0.0; n];
        match op {
            AggregateOp::Sum => Columns::Sum { sum: absent(), c: zero() },
            AggregateOp::Avg => Columns::Avg { sum: absent(), c: zero(), count: zero(), incremental: Vec::new() },
            AggregateOp::Min => Columns::Least(absent()),
            AggregateOp::Max => Columns::Largest(absent()),
            AggregateOp::Count => Columns::Count(zero()),
            AggregateOp::Stddev | AggregateOp::Stdvar => Columns::Moments { count: zero(), mean: zero(), m2: zero() },
            AggregateOp::Quantile => Columns::Rows(Vec::new()),
            AggregateOp::Group
            | AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::CountValues
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => Columns::Group(absent()),
        }
    }

    fn add(&mut self, view: View<'_>) {
        let column = view.values;
        match self {
            Columns::Sum { sum, c } => add_sum(sum, c, column),
            Columns::Avg { sum, c, count, incremental } => add_avg(sum, c, count, incremental, column),
            Columns::Least(least) => add_extreme(least, column, |new, old| new < old),
            Columns::Largest(largest) => add_extreme(largest, column, |new, old| new > old),
            Columns::Count(count) => {
                for (n, v) in count.iter_mut().zip(column) {
                    *n += if is_absent(*v) { 0.0 } else { 1.0 };
                }
                view.hists.iter().for_each(|(i, _)| count[i] += 1.0);
            }
            Columns::Group(seen) => {
                for (s, v) in seen.iter_mut().zip(column) {
                    *s = if is_absent(*v) { *s } else { 1.0 };
                }
                view.hists.iter().for_each(|(i, _)| seen[i] = 1.0);
            }
            Columns::Moments { count, mean, m2 } => {
                for (i, &v) in column.iter().enumerate() {
                    if is_absent(v) {
                        continue;
                    }
                    count[i] += 1.0;
                    if count[i] == 1.0 {
                        mean[i] = v;
                        m2[i] = if v.is_finite() { 0.0 } else { NORMAL_NAN };
                    } else {
                        let delta = v - mean[i];
                        mean[i] += delta / count[i];
                        m2[i] += delta * (v - mean[i]);
                    }
                }
            }
            Columns::Rows(rows) => rows.push(column.into()),
        }
    }

    fn merge(&mut self, other: Columns) {
        match (self, other) {
            (Columns::Sum { sum, c }, Columns::Sum { sum: other_sum, c: other_c }) => {
                for i in 0..sum.len() {
                    if is_absent(other_sum[i]) {
                        continue;
                    }
                    if is_absent(sum[i]) {
                        (sum[i], c[i]) = (other_sum[i], other_c[i]);
                    } else {
                        (sum[i], c[i]) = kahan(other_sum[i], sum[i], c[i]);
                        c[i] += if sum[i].is_infinite() { 0.0 } else { other_c[i] };
                    }
                }
            }
            (
                Columns::Avg { sum, c, count, incremental },
                Columns::Avg { sum: sum_b, c: c_b, count: count_b, incremental: incremental_b },
            ) => {
                for i in 0..sum.len() {
                    let b = Mean { sum: sum_b[i], c: c_b[i], count: count_b[i], incremental: flag(&incremental_b, i) };
                    let a = Mean { sum: sum[i], c: c[i], count: count[i], incremental: flag(incremental, i) };
                    let both = a.join(b);
                    (sum[i], c[i], count[i]) = (both.sum, both.c, both.count);
                    set_flag(incremental, i, sum.len(), both.incremental);
                }
            }
            (Columns::Least(a), Columns::Least(b)) => add_extreme(a, &b, |new, old| new < old),
            (Columns::Largest(a), Columns::Largest(b)) => add_extreme(a, &b, |new, old| new > old),
            (Columns::Count(a), Columns::Count(b)) => a.iter_mut().zip(b).for_each(|(a, b)| *a += b),
            (Columns::Group(a), Columns::Group(b)) => {
                a.iter_mut().zip(b).for_each(|(a, b)| *a = if is_absent(b) { *a } else { b });
            }
            (Columns::Moments { count, mean, m2 }, Columns::Moments { count: count_b, mean: mean_b, m2: m2_b }) => {
                // Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances".
                for i in 0..count.len() {
                    if count_b[i] == 0.0 {
                        continue;
                    }
                    if count[i] == 0.0 {
                        (count[i], mean[i], m2[i]) = (count_b[i], mean_b[i], m2_b[i]);
                        continue;
                    }
                    let n = count[i] + count_b[i];
                    let delta = mean_b[i] - mean[i];
                    m2[i] += m2_b[i] + delta * delta * (count[i] * count_b[i] / n);
                    mean[i] += delta * (count_b[i] / n);
                    count[i] = n;
                }
            }
            (Columns::Rows(a), Columns::Rows(b)) => a.extend(b),
            (_, _) => debug_assert!(false, "columns of two aggregations"),
        }
    }

    fn finish(self, op: AggregateOp, param: &Scalar, n: usize) -> Box<[f64]> {
        let absent_if_none = |count: f64, v: f64| if count == 0.0 { ABSENT } else { v };
        match self {
            Columns::Sum { sum, c } => {
                sum.iter().zip(c).map(|(s, c)| if is_absent(*s) { ABSENT } else { s + c }).collect()
            }
            Columns::Avg { sum, c, count, incremental } => (0..n)
                .map(|i| {
                    let (s, c, count) = (sum[i], c[i], count[i]);
                    let mean = if flag(&incremental, i) { s + c } else { s / count + c / count };
                    absent_if_none(count, mean)
                })
                .collect(),
            Columns::Least(v) | Columns::Largest(v) | Columns::Group(v) => v.into(),
            Columns::Count(count) => count.iter().map(|c| absent_if_none(*c, *c)).collect(),
            Columns::Moments { count, m2, .. } => count
                .iter()
                .zip(m2)
                .map(|(n, m2)| {
                    let variance = m2 / n;
                    absent_if_none(*n, if op == AggregateOp::Stddev { variance.sqrt() } else { variance })
                })
                .collect(),
            Columns::Rows(rows) => {
                let mut values = Vec::with_capacity(rows.len());
                let q = param.known();
                (0..n)
                    .map(|i| {
                        values.clear();
                        values.extend(rows.iter().map(|row| row[i]).filter(|v| !is_absent(*v)));
                        if values.is_empty() { ABSENT } else { quantile(q.map_or(0.0, |q| q.at(i)), &mut values) }
                    })
                    .collect()
            }
        }
    }
}

fn flag(flags: &[bool], i: usize) -> bool {
    flags.get(i).copied().unwrap_or(false)
}

fn set_flag(flags: &mut Vec<bool>, i: usize, n: usize, on: bool) {
    if on {
        flags.resize(n, false);
        flags[i] = true;
    }
}

#[inline]
fn add_sum(sum: &mut [f64], c: &mut [f64], column: &[f64]) {
    let n = column.len();
    let (sum, c) = (&mut sum[..n], &mut c[..n]);
    for i in 0..n {
        let v = column[i];
        let old = sum[i];
        let t = old + v;
        let larger_first = old.abs() >= v.abs();
        let lost = if larger_first { (old - t) + v } else { (v - t) + old };
        let new_c = if t.is_infinite() { 0.0 } else { c[i] + lost };
        let first = is_absent(old);
        let none = is_absent(v);
        sum[i] = if none {
            old
        } else if first {
            v
        } else {
            t
        };
        c[i] = if none || first { c[i] } else { new_c };
    }
}

/// A mean that is being built.
#[derive(Clone, Copy)]
struct Mean {
    sum: f64,
    c: f64,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// Adds one value. Source: Prometheus `aggregation`, case AVG.
    fn add(self, v: f64) -> Mean {
        let count = self.count + 1.0;
        if self.count == 0.0 {
            return Mean { sum: v, c: 0.0, count, incremental: false };
        }
        let (mut mean, mut c) = (self.sum, self.c);
        if !self.incremental {
            let (sum, new_c) = kahan(v, self.sum, self.c);
            if !sum.is_infinite() {
                return Mean { sum, c: new_c, count, incremental: false };
            }
            mean = self.sum / self.count;
            c /= self.count;
        }
        let q = self.count / count;
        let (sum, c) = kahan(v / count, q * mean, q * c);
        Mean { sum, c, count, incremental: true }
    }

    /// The mean of the values of both.
    fn join(self, other: Mean) -> Mean {
        if other.count == 0.0 {
            return self;
        }
        if self.count == 0.0 {
            return other;
        }
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let (sum, c) = kahan(other.sum, self.sum, self.c);
            if !sum.is_infinite() {
                return Mean { sum, c: c + other.c, count, incremental: false };
            }
        }
        let mean = |m: Mean| if m.incremental { m.sum + m.c } else { m.sum / m.count + m.c / m.count };
        let sum = mean(self) * (self.count / count) + mean(other) * (other.count / count);
        Mean { sum, c: 0.0, count, incremental: true }
    }
}

fn add_avg(sum: &mut [f64], c: &mut [f64], count: &mut [f64], incremental: &mut Vec<bool>, column: &[f64]) {
    let n = column.len();
    for (i, v) in column.iter().enumerate() {
        if is_absent(*v) {
            continue;
        }
        let mean = Mean { sum: sum[i], c: c[i], count: count[i], incremental: flag(incremental, i) }.add(*v);
        (sum[i], c[i], count[i]) = (mean.sum, mean.c, mean.count);
        set_flag(incremental, i, n, mean.incremental);
    }
}

fn add_extreme(best: &mut [f64], column: &[f64], beats: impl Fn(f64, f64) -> bool) {
    for (b, v) in best.iter_mut().zip(column) {
        // An absent best is a NaN too.
        if !is_absent(*v) && (beats(*v, *b) || b.is_nan()) {
            *b = *v;
        }
    }
}

/// How an aggregation is called that passes over histograms.
fn ignores_histograms(op: AggregateOp) -> Option<&'static str> {
    match op {
        AggregateOp::Min => Some("min"),
        AggregateOp::Max => Some("max"),
        AggregateOp::Stddev => Some("stddev"),
        AggregateOp::Stdvar => Some("stdvar"),
        AggregateOp::Quantile => Some("quantile"),
        _ => None,
    }
}

/// A group: its floats and its histograms.
#[derive(Debug)]
struct Totals {
    columns: Columns,
    hists: HistTotals,
}

/// Groups and their columns.
#[derive(Debug)]
pub(crate) struct Aggregator {
    op: AggregateOp,
    n: usize,
    delayed: bool,
    /// All rows, while they are few, and how many samples they hold.
    kept: Option<Vec<Row>>,
    kept_held: usize,
    /// Rows come in the order in which Prometheus has them, which need not be that of labels.
    in_order: bool,
    grouper: Grouper,
    groups: Vec<Totals>,
    /// The vector, to which annotations point.
    pos: Pos,
    annotations: Annotations,
}

impl Aggregator {
    pub(crate) fn new(op: AggregateOp, groups: &Groups, pos: Pos, delayed: bool, n: usize) -> Aggregator {
        Aggregator {
            op,
            n,
            delayed,
            kept: Some(Vec::new()),
            kept_held: 0,
            in_order: false,
            grouper: Grouper::new(groups, delayed),
            groups: Vec::new(),
            pos,
            annotations: Annotations::default(),
        }
    }

    /// Rows are to be added in the order in which they come.
    pub(crate) fn keep_order(&mut self) {
        self.in_order = true;
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, key: &Key, column: View<'_>, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        let Some(kept) = &mut self.kept else {
            let held = self.add_to_group(key, column);
            return tally.hold(held);
        };
        kept.push(Row { key: key.clone(), values: column.values.into(), hists: column.hists.clone() });
        let held = self.n + column.hists.weight();
        self.kept_held += held;
        tally.hold(held)?;
        if self.kept_held > tally.budget.kept_values_max() { self.add_kept(tally) } else { Ok(()) }
    }

    /// Adds what was kept to its groups.
    fn add_kept(&mut self, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        tally.release(std::mem::take(&mut self.kept_held));
        for row in self.kept.take().into_iter().flatten() {
            let held = self.add_to_group(&row.key, row.view());
            tally.hold(held)?;
        }
        Ok(())
    }

    /// Adds a row to its group; returns how many samples more are held.
    fn add_to_group(&mut self, key: &Key, column: View<'_>) -> usize {
        let at = self.grouper.find(key);
        let is_new = at == self.groups.len();
        if is_new {
            self.groups.push(Totals { columns: Columns::new(self.op, self.n), hists: HistTotals::default() });
        }
        self.groups[at].columns.add(column);
        let held = if is_new || self.op == AggregateOp::Quantile { self.n } else { 0 };
        if column.hists.is_empty() { held } else { held + self.add_hists(at, key, column.hists) }
    }

    #[inline(never)]
    fn add_hists(&mut self, at: usize, key: &Key, hists: &Hists) -> usize {
        if let Some(name) = ignores_histograms(self.op) {
            self.annotations.ignored_in_aggregation(self.pos, name);
        }
        if !matches!(self.op, AggregateOp::Sum | AggregateOp::Avg) {
            return 0;
        }
        let is_unnamed = key.drop_name && !self.delayed;
        let name = if is_unnamed { "" } else { key.labels.metric_name().unwrap_or("") };
        let mut notes = Notes { annotations: &mut self.annotations, pos: self.pos };
        self.groups[at].hists.add(self.op, self.n, hists, name, &mut notes)
    }

    /// Adds what another thread has.
    pub(crate) fn merge(&mut self, mut other: Aggregator, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        self.annotations.merge(std::mem::take(&mut other.annotations));
        if let Some(kept) = other.kept.take() {
            tally.release(other.kept_held);
            for row in kept {
                self.add(&row.key, row.view(), tally)?;
            }
            return Ok(());
        }
        if self.kept.is_some() {
            self.add_kept(tally)?;
        }
        let Aggregator { n, grouper, groups, .. } = other;
        for (group, totals) in grouper.into_groups().into_iter().zip(groups) {
            let at = self.grouper.adopt(group);
            if at == self.groups.len() {
                self.groups.push(totals);
            } else {
                if !matches!(totals.columns, Columns::Rows(_)) {
                    tally.release(n);
                }
                let known = &mut self.groups[at];
                known.columns.merge(totals.columns);
                let mut notes = Notes { annotations: &mut self.annotations, pos: self.pos };
                known.hists.merge(totals.hists, &mut notes);
            }
        }
        Ok(())
    }

    /// One row per group.
    pub(crate) fn finish(mut self, param: &Scalar, annotations: &mut Annotations) -> Vec<Row> {
        if let Some(mut kept) = self.kept.take() {
            if !self.in_order {
                sort_by_place(&mut kept);
            }
            for row in kept {
                self.add_to_group(&row.key, row.view());
            }
        }
        let Aggregator { op, n, grouper, groups, pos, annotations: noted, .. } = self;
        annotations.merge(noted);
        let rows = grouper.into_groups().into_iter().zip(groups).map(|(group, totals)| {
            let mut values = totals.columns.finish(op, param, n);
            let hists = totals.hists.finish(&mut values, &mut Notes { annotations, pos });
            Row { key: group.key, values, hists }
        });
        rows.collect()
    }
}
