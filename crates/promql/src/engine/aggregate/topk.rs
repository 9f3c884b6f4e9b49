//! `topk`, `bottomk`, `limitk`: the best rows of each group at each step.
//!
//! A step of a group holds its best values only, so memory follows the result. Among equal values the row whose labels come
//! first wins, where Prometheus lets the order of storage and of its heap decide.

use model::Labels;

use super::Grouper;
use crate::engine::column::{ABSENT, is_absent};
use crate::engine::error::QueryError;
use crate::engine::limits::Tally;
use crate::engine::node::{Groups, Scalar};
use crate::engine::row::{Key, Row};
use crate::ast::AggregateOp;

use std::cmp::Ordering;

/// A value that stays for now, and the row it came from.
#[derive(Clone, Copy, Debug)]
struct Entry {
    value: f64,
    row: u32,
}

/// A row with values that stay.
#[derive(Debug)]
struct Candidate {
    key: Key,
    used: u32,
}

#[derive(Debug)]
pub(crate) struct TopK {
    op: AggregateOp,
    k: Vec<usize>,
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
    pub(crate) fn new(op: AggregateOp, groups: &Groups, k: &Scalar, delayed: bool, n: usize) -> TopK {
        TopK {
            op,
            k: counts(k, n),
            grouper: Grouper::new(groups, delayed),
            delayed,
            heaps: Vec::new(),
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, key: &Key, column: &[f64], tally: &mut Tally<'_>) -> Result<(), QueryError> {
        let group = self.grouper.find(key);
        if group == self.heaps.len() {
            self.heaps.push(vec![Vec::new(); self.k.len()]);
        }
        let mut key = key.clone();
        if !self.delayed {
            key.settle();
        }
        let row = match self.free.pop() {
            Some(row) => {
                self.rows[row as usize] = Candidate { key, used: 0 };
                row
            }
            None => {
                self.rows.push(Candidate { key, used: 0 });
                u32::try_from(self.rows.len() - 1).map_err(|_| QueryError::TooManySamples)?
            }
        };
        let mut held = 0;
        for (i, v) in column.iter().enumerate() {
            if !is_absent(*v) {
                held += usize::from(self.offer(group, i, Entry { value: *v, row }));
            }
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
    pub(crate) fn merge(&mut self, other: TopK, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        for row in other.finish() {
            tally.release(row.values.iter().filter(|v| !is_absent(**v)).count());
            self.add(&row.key, &row.values, tally)?;
        }
        Ok(())
    }

    /// The rows that have values left: group by group, within a group by the order of the last step, best first.
    pub(crate) fn finish(self) -> Vec<Row> {
        let TopK { op, k, heaps, rows, .. } = self;
        let n = k.len();
        let mut values: Vec<Option<Box<[f64]>>> = Vec::new();
        values.resize_with(rows.len(), || None);
        let mut order = Vec::new();
        for group in heaps {
            for (i, mut heap) in group.into_iter().enumerate().rev() {
                heap.sort_unstable_by(|a, b| rank(op, a, b, &rows));
                for entry in heap {
                    let at = entry.row as usize;
                    let column = values[at].get_or_insert_with(|| {
                        order.push(at);
                        vec![ABSENT; n].into()
                    });
                    column[i] = entry.value;
                }
            }
        }
        order
            .into_iter()
            .filter_map(|at| Some(Row { key: rows[at].key.clone(), values: values[at].take()? }))
            .collect()
    }
}

/// `Less` where `a` is better than `b`.
fn rank(op: AggregateOp, a: &Entry, b: &Entry, rows: &[Candidate]) -> Ordering {
    let labels = |e: &Entry| -> &Labels { &rows[e.row as usize].key.labels };
    let by_value = match (op, a.value.is_nan(), b.value.is_nan()) {
        (AggregateOp::Limitk, _, _) | (_, true, true) => Ordering::Equal,
        (_, true, false) => Ordering::Greater,
        (_, false, true) => Ordering::Less,
        (AggregateOp::Bottomk, false, false) => a.value.partial_cmp(&b.value).expect("neither is NaN"),
        (_, false, false) => b.value.partial_cmp(&a.value).expect("neither is NaN"),
    };
    by_value.then_with(|| labels(a).cmp(labels(b)))
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
