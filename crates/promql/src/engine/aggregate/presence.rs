//! `absent` and `scalar`: what depends on how many rows have a value.

use crate::engine::column::{ABSENT, NORMAL_NAN, is_absent};
use crate::engine::hists::View;
use crate::engine::row::{Key, Row};

/// `1` at the steps where no row has a value.
#[derive(Debug)]
pub(crate) struct Absence {
    seen: Vec<bool>,
}

impl Absence {
    pub(crate) fn new(n: usize) -> Absence {
        Absence { seen: vec![false; n] }
    }

    pub(crate) fn add(&mut self, column: View<'_>) {
        for (s, v) in self.seen.iter_mut().zip(column.values) {
            *s |= !is_absent(*v);
        }
        column.hists.iter().for_each(|(i, _)| self.seen[i] = true);
    }

    pub(crate) fn merge(&mut self, other: Absence) {
        self.seen.iter_mut().zip(other.seen).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn finish(self, labels: model::Labels) -> Vec<Row> {
        if self.seen.iter().all(|s| *s) {
            return Vec::new();
        }
        let values = self.seen.iter().map(|s| if *s { ABSENT } else { 1.0 }).collect();
        vec![Row::of_floats(Key::new(labels), values)]
    }
}

/// The value of the only row, NaN where there is none or more.
#[derive(Debug)]
pub(crate) struct Single {
    value: Vec<f64>,
    count: Vec<u32>,
}

impl Single {
    pub(crate) fn new(n: usize) -> Single {
        Single { value: vec![NORMAL_NAN; n], count: vec![0; n] }
    }

    pub(crate) fn add(&mut self, column: &[f64]) {
        for (i, v) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
            self.value[i] = *v;
            self.count[i] = self.count[i].saturating_add(1);
        }
    }

    pub(crate) fn merge(&mut self, other: Single) {
        for (i, n) in other.count.iter().enumerate().filter(|(_, n)| **n > 0) {
            self.value[i] = other.value[i];
            self.count[i] = self.count[i].saturating_add(*n);
        }
    }

    pub(crate) fn finish(self) -> Vec<Row> {
        let values = self.value.iter().zip(&self.count).map(|(v, n)| if *n == 1 { *v } else { NORMAL_NAN }).collect();
        vec![Row::of_floats(Key::new(model::Labels::empty()), values)]
    }
}
