//! `count_values`: one row per group and value.

use hashbrown::HashMap;
use model::{Labels, LabelsBuilder};

use super::Grouper;
use crate::engine::column::{ABSENT, is_absent};
use crate::engine::error::QueryError;
use crate::engine::format::go_f;
use crate::engine::hists::View;
use crate::engine::limits::Tally;
use crate::engine::node::Groups;
use crate::engine::row::{Key, Row};
use crate::histogram_text::format_histogram;

#[derive(Debug)]
pub(crate) struct CountValues {
    label: String,
    n: usize,
    delayed: bool,
    grouper: Grouper,
    counts: HashMap<Labels, Box<[f64]>>,
}

impl CountValues {
    /// `groups` are as written: the label of the value belongs to `by`.
    pub(crate) fn new(groups: &Groups, label: &str, delayed: bool, n: usize) -> CountValues {
        let mut groups = groups.clone();
        if !groups.without {
            groups.names.push(label.to_owned());
            groups.names.sort_unstable();
        }
        let grouper = Grouper::new(&groups, delayed);
        CountValues { label: label.to_owned(), n, delayed, grouper, counts: HashMap::new() }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, key: &Key, column: View<'_>, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        let mut key = key.clone();
        if !self.delayed {
            key.settle();
        }
        let mut by_value: HashMap<u64, Labels> = HashMap::new();
        for (i, v) in column.values.iter().enumerate() {
            if is_absent(*v) {
                continue;
            }
            let bits = if v.is_nan() { u64::MAX } else { v.to_bits() };
            let labels = by_value.entry(bits).or_insert_with(|| self.labels(&key, &go_f(*v))).clone();
            self.count(labels, i, tally)?;
        }
        for (i, h) in column.hists.iter() {
            let labels = self.labels(&key, &format_histogram(h));
            self.count(labels, i, tally)?;
        }
        Ok(())
    }

    /// The labels of the group of a row with this value.
    fn labels(&self, key: &Key, value: &str) -> Labels {
        let mut with_value = LabelsBuilder::from_labels(&key.labels);
        with_value.set(&self.label, value);
        self.grouper.labels(&Key::new(with_value.build()))
    }

    fn count(&mut self, labels: Labels, i: usize, tally: &mut Tally<'_>) -> Result<(), QueryError> {
        let n = self.n;
        let counts = match self.counts.get_mut(&labels) {
            Some(counts) => counts,
            None => {
                tally.hold(n)?;
                self.counts.entry(labels).or_insert_with(|| vec![0.0; n].into())
            }
        };
        counts[i] += 1.0;
        Ok(())
    }

    /// Adds the counts of another thread.
    pub(crate) fn merge(&mut self, other: CountValues, tally: &mut Tally<'_>) {
        for (labels, counts) in other.counts {
            match self.counts.get_mut(&labels) {
                Some(known) => {
                    tally.release(self.n);
                    known.iter_mut().zip(counts).for_each(|(a, b)| *a += b);
                }
                None => {
                    self.counts.insert(labels, counts);
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Row> {
        self.counts
            .into_iter()
            .map(|(labels, mut counts)| {
                counts.iter_mut().for_each(|n| *n = if *n == 0.0 { ABSENT } else { *n });
                Row::of_floats(Key::new(labels), counts)
            })
            .collect()
    }
}
