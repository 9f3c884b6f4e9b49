//! `topk`, `bottomk`, `limitk`: the best rows of each group at each step.
//!
//! While the rows are few they are kept, and at the end each step goes through Prometheus' own heap in order of labels, so that
//! of equal values the same ones stay and come in the same order. Past a bound a step of a group holds its best
//! values only, so memory follows the result; of equal values those of the first labels stay then.

use model::Labels;

use super::Grouper;
use crate::ast::{AggregateOp, Pos};
use crate::engine::annotations::Annotations;
use crate::engine::column::{ABSENT, is_absent};
use crate::engine::error::QueryError;
use crate::engine::hists::{Hists, NO_HISTS, View};
use crate::engine::limits::Tally;
use crate::engine::node::{Groups, Scalar};
use crate::engine::row::{Key, Row, sort_by_place};

use std::cmp::Ordering;
use std::sync::Arc;

/// A value that stays for now, and the row it came from.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Zero for a histogram.
    value: f64,
    is_histogram: bool,
    row: u32,
}

/// A row with values that stay.
#[derive(Debug)]
struct Candidate {
    key: Key,
    hists: Hists,
    used: u32,
}

#[derive(Debug)]
pub(crate) struct TopK {
    op: AggregateOp,
    /// All rows, while they are few.
    kept: Option<Vec<Row>>,
    /// Rows come in the order in which Prometheus has them, which need not be that of labels.
    in_order: bool,
    k: Vec<usize>,
    /// The aggregation, to which annotations point.
    pos: Pos,
    /// Whether histograms were passed over.
    ignored: bool,
    grouper: Grouper,
    delayed: bool,
    /// Per group and step a heap, the worst on top.
    heaps: Vec<Vec<Vec<Entry>>>,
    rows: Vec<Candidate>,
    free: Vec<u32>,
}

/// `k` as a count at each step.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
fn counts(k: &Scalar, n: usize) -> Vec<usize> {
    let Some(k) = k.known() else { return vec![0; n] };
    (0..n)
        .map(|i| {
            let v = k.at(i);
            if v >= 1.0 { v.min(1e15) as usize } else { 0 }
        })
        .collect()
}

impl TopK {
    pub(crate) fn new((op, pos): (AggregateOp, Pos), groups: &Groups, k: &Scalar, delayed: bool, n: usize) -> TopK {
        TopK {
            op,
            kept: Some(Vec::new()),
            in_order: false,
            k: counts(k, n),
            pos,
            ignored: false,
            grouper: Grouper::new(groups, delayed),
            delayed,
            heaps: Vec::new(),
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, key: &Key, column: View<'_>, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        let mut column = column;
        if !column.hists.is_empty() && self.op != AggregateOp::Limitk {
            self.ignored |= column.hists.iter().any(|(i, _)| self.k[i] > 0);
            column.hists = &NO_HISTS;
        }
        let Some(kept) = &mut self.kept else { return self.add_best(key, column, tally) };
        tally.hold(self.k.len())?;
        kept.push(Row { key: key.clone(), values: column.values.into(), hists: column.hists.clone() });
        if kept.len().saturating_mul(self.k.len()) > tally.budget.kept_values_max() {
            self.keep_best(tally)?;
        }
        Ok(())
    }

    /// From now on only the best values are kept.
    fn keep_best(&mut self, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        for row in self.kept.take().into_iter().flatten() {
            tally.release(row.values.len());
            self.add_best(&row.key, row.view(), tally)?;
        }
        Ok(())
    }

    fn add_best(&mut self, key: &Key, column: View<'_>, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        let group = self.grouper.find(key);
        if group == self.heaps.len() {
            self.heaps.push(vec![Vec::new(); self.k.len()]);
        }
        let mut key = key.clone();
        if !self.delayed {
            key.settle();
        }
        let candidate = Candidate { key, hists: column.hists.clone(), used: 0 };
        let row = match self.free.pop() {
            Some(row) => {
                self.rows[row as usize] = candidate;
                row
            }
            None => {
                self.rows.push(candidate);
                u32::try_from(self.rows.len() - 1).map_err(|_| QueryError::TooManySamples)?
            }
        };
        let mut held = 0;
        for (i, v) in column.values.iter().enumerate() {
            if !is_absent(*v) {
                held += usize::from(self.offer(group, i, Entry { value: *v, is_histogram: false, row }));
            }
        }
        for (i, _) in column.hists.iter() {
            held += usize::from(self.offer(group, i, Entry { value: 0.0, is_histogram: true, row }));
        }
        if self.rows[row as usize].used == 0 {
            self.free.push(row);
        }
        tally.hold(held)
    }

    /// Takes `entry` where it is among the best; true where the heap grew.
    fn offer(&mut self, group: usize, step: usize, entry: Entry) -> bool {
        let TopK { op, k, heaps, rows, free, .. } = self;
        let heap = &mut heaps[group][step];
        let worse = |a: &Entry, b: &Entry| rank(*op, a, b, rows) == Ordering::Greater;
        if heap.len() < k[step] {
            heap.push(entry);
            let last = heap.len() - 1;
            sift_up(heap, last, worse);
            rows[entry.row as usize].used += 1;
            return true;
        }
        if heap.is_empty() || !worse(&heap[0], &entry) {
            return false;
        }
        let evicted = std::mem::replace(&mut heap[0], entry);
        sift_down(heap, worse);
        rows[entry.row as usize].used += 1;
        let used = &mut rows[evicted.row as usize].used;
        *used -= 1;
        if *used == 0 {
            free.push(evicted.row);
        }
        false
    }

    /// Adds what another thread kept.
    pub(crate) fn merge(&mut self, mut other: TopK, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        self.ignored |= other.ignored;
        if let Some(kept) = other.kept.take() {
            for row in kept {
                tally.release(row.values.len());
                self.add(&row.key, row.view(), tally)?;
            }
            return Ok(());
        }
        self.keep_best(tally)?;
        for row in other.finish(&mut Annotations::default()) {
            tally.release((0..row.values.len()).filter(|i| row.view().has(*i)).count());
            self.add_best(&row.key, row.view(), tally)?;
        }
        Ok(())
    }

    /// Rows are to be taken in the order in which they come.
    pub(crate) fn keep_order(&mut self) {
        self.in_order = true;
    }

    /// Runs each step through Prometheus' heap, in order of labels.
    fn finish_kept(mut self, mut kept: Vec<Row>) -> Vec<Row> {
        if !self.in_order {
            sort_by_place(&mut kept);
        }
        let groups: Vec<usize> = kept.iter().map(|row| self.grouper.find(&row.key)).collect();
        let group_count = groups.iter().max().map_or(0, |max| max + 1);
        let n = self.k.len();
        let mut chosen: Vec<Option<(Box<[f64]>, Hists)>> = Vec::new();
        chosen.resize_with(kept.len(), || None);
        let mut order = Vec::new();
        let mut heaps: Vec<Vec<Entry>> = vec![Vec::new(); group_count];
        for i in (0..n).rev() {
            heaps.iter_mut().for_each(Vec::clear);
            let k = self.k[i].min(kept.len());
            for ((at, row), group) in (0u32..).zip(&kept).zip(&groups) {
                if k > 0 && row.view().has(i) {
                    let is_histogram = is_absent(row.values[i]);
                    let value = if is_histogram { 0.0 } else { row.values[i] };
                    go_offer(self.op, &mut heaps[*group], k, Entry { value, is_histogram, row: at });
                }
            }
            for heap in &mut heaps {
                if self.op != AggregateOp::Limitk {
                    let order = |a: &Entry, b: &Entry| by_value(self.op, a.value, b.value);
                    heap.sort_by(order);
                }
                for entry in heap.iter() {
                    let at = entry.row as usize;
                    let (column, hists) = chosen[at].get_or_insert_with(|| {
                        order.push(at);
                        (vec![ABSENT; n].into(), Hists::default())
                    });
                    match kept[at].hists.get(i).filter(|_| entry.is_histogram) {
                        Some(h) => hists.set(i, n, Arc::clone(h)),
                        None => column[i] = entry.value,
                    }
                }
            }
        }
        let delayed = self.delayed;
        let row_of = |at: usize| -> Option<Row> {
            let mut key = kept[at].key.clone();
            if !delayed {
                key.settle();
            }
            let (values, hists) = chosen[at].take()?;
            Some(Row { key, values, hists })
        };
        order.into_iter().filter_map(row_of).collect()
    }

    /// The rows that have values left: group by group, within a group by the order of the last step, best first.
    pub(crate) fn finish(mut self, annotations: &mut Annotations) -> Vec<Row> {
        if self.ignored {
            let name = if self.op == AggregateOp::Topk { "topk" } else { "bottomk" };
            annotations.ignored_in_aggregation(self.pos, name);
        }
        if let Some(kept) = self.kept.take() {
            return self.finish_kept(kept);
        }
        let TopK { op, k, heaps, rows, .. } = self;
        let n = k.len();
        let mut values: Vec<Option<(Box<[f64]>, Hists)>> = Vec::new();
        values.resize_with(rows.len(), || None);
        let mut order = Vec::new();
        for group in heaps {
            for (i, mut heap) in group.into_iter().enumerate().rev() {
                heap.sort_unstable_by(|a, b| rank(op, a, b, &rows));
                for entry in heap {
                    let at = entry.row as usize;
                    let (column, hists) = values[at].get_or_insert_with(|| {
                        order.push(at);
                        (vec![ABSENT; n].into(), Hists::default())
                    });
                    match rows[at].hists.get(i).filter(|_| entry.is_histogram) {
                        Some(h) => hists.set(i, n, Arc::clone(h)),
                        None => column[i] = entry.value,
                    }
                }
            }
        }
        let row_of = |at: usize| {
            let (values, hists) = values[at].take()?;
            Some(Row { key: rows[at].key.clone(), values, hists })
        };
        order.into_iter().filter_map(row_of).collect()
    }
}

/// `Less` where `a` is better than `b`.
fn rank(op: AggregateOp, a: &Entry, b: &Entry, rows: &[Candidate]) -> Ordering {
    let labels = |e: &Entry| -> &Labels { &rows[e.row as usize].key.labels };
    by_value(op, a.value, b.value).then_with(|| labels(a).cmp(labels(b)))
}

/// `Less` where `a` is better than `b`; NaN is worse than anything.
fn by_value(op: AggregateOp, a: f64, b: f64) -> Ordering {
    match (op, a.is_nan(), b.is_nan()) {
        (AggregateOp::Limitk, _, _) | (_, true, true) => Ordering::Equal,
        (_, true, false) => Ordering::Greater,
        (_, false, true) => Ordering::Less,
        (AggregateOp::Bottomk, false, false) => a.partial_cmp(&b).expect("neither is NaN"),
        (_, false, false) => b.partial_cmp(&a).expect("neither is NaN"),
    }
}

/// Offers an entry as Prometheus' `aggregationK` does; moves within the heap are those of Go's `container/heap`.
fn go_offer(op: AggregateOp, heap: &mut Vec<Entry>, k: usize, entry: Entry) {
    // `Less` of Prometheus' heaps: NaN is less than everything, itself included.
    let less = |a: &Entry, b: &Entry| {
        a.value.is_nan() || if op == AggregateOp::Bottomk { a.value > b.value } else { a.value < b.value }
    };
    if heap.len() < k {
        heap.push(entry);
        let last = heap.len() - 1;
        sift_up(heap, last, less);
        return;
    }
    let top = heap[0].value;
    let is_better = match op {
        AggregateOp::Topk => top < entry.value,
        AggregateOp::Bottomk => top > entry.value,
        _ => false,
    };
    let nan_gives_way = op != AggregateOp::Limitk && top.is_nan() && !entry.value.is_nan();
    if is_better || nan_gives_way {
        heap[0] = entry;
        sift_down(heap, less);
    }
}

/// The rows of a single step in the order in which Prometheus' heap has them, when one after the other was pushed.
pub(crate) fn heap_order(rows: Vec<Row>) -> Vec<Row> {
    let mut heap: Vec<Entry> = Vec::with_capacity(rows.len());
    for (at, row) in (0u32..).zip(&rows) {
        let is_histogram = !row.hists.is_empty();
        let value = if is_histogram { 0.0 } else { row.values[0] };
        go_offer(AggregateOp::Limitk, &mut heap, rows.len(), Entry { value, is_histogram, row: at });
    }
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    heap.iter().filter_map(|entry| rows[entry.row as usize].take()).collect()
}

fn sift_up(heap: &mut [Entry], mut at: usize, worse: impl Fn(&Entry, &Entry) -> bool) {
    while at > 0 {
        let parent = (at - 1) / 2;
        if !worse(&heap[at], &heap[parent]) {
            return;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

fn sift_down(heap: &mut [Entry], worse: impl Fn(&Entry, &Entry) -> bool) {
    let mut at = 0;
    loop {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        let mut top = at;
        if left < heap.len() && worse(&heap[left], &heap[top]) {
            top = left;
        }
        if right < heap.len() && worse(&heap[right], &heap[top]) {
            top = right;
        }
        if top == at {
            return;
        }
        heap.swap(at, top);
        at = top;
    }
}
