//! Names and values of labels.

use std::collections::BTreeSet;

use model::Matcher;

use super::postings::Candidates;
use super::table::{ListRange, Values};
use super::{Block, SeriesRef, sets};
use crate::{Damage, ReadError};

/// Reading the label of a series costs about as much as looking up this share of a value's list.
const SERIES_PER_VALUE: usize = 8;

impl Block {
    /// Names of labels of the series that satisfy one of the sets of matchers, sorted; no sets: of all series.
    pub fn label_names(&self, matcher_sets: &[Vec<Matcher>]) -> Result<Vec<String>, ReadError> {
        if matcher_sets.is_empty() {
            return Ok(self.table.names().map(str::to_owned).collect());
        }
        let mut numbers = BTreeSet::new();
        for matchers in matcher_sets {
            let candidates = self.candidates(matchers)?;
            self.visit_series(&candidates.series, &mut |_, entry| {
                if entry.matches(&candidates.unchecked)? {
                    entry.names(&mut |number| {
                        numbers.insert(number);
                    })?;
                }
                Ok(())
            })?;
        }
        let text = |number: u64| {
            let text = usize::try_from(number).ok().and_then(|n| self.symbols.get(n));
            text.map(str::to_owned).ok_or_else(|| self.index.corrupt(self.toc.series, Damage::Symbol(number)))
        };
        let names: BTreeSet<String> = numbers.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok(names.into_iter().collect())
    }

    /// Values of the label `name` of the series that satisfy one of the sets of matchers, sorted; no sets: of all series.
    pub fn label_values(&self, name: &str, matcher_sets: &[Vec<Matcher>]) -> Result<Vec<String>, ReadError> {
        let mut values = BTreeSet::new();
        if name.is_empty() {
            return Ok(Vec::new());
        }
        if matcher_sets.is_empty() {
            let all = Values { prefix: "", wanted: &|_| true };
            self.table.scan(&self.index, name, &all, &mut |value, _| {
                values.insert(value.to_owned());
            })?;
        }
        for matchers in matcher_sets {
            self.values_of(name, matchers, &mut values)?;
        }
        Ok(values.into_iter().collect())
    }

    fn values_of(&self, name: &str, matchers: &[Matcher], values: &mut BTreeSet<String>) -> Result<(), ReadError> {
        let own = |value: &str| matchers.iter().filter(|m| m.name() == name).all(|m| m.matches(value));
        let mut lists: Vec<(String, ListRange)> = Vec::new();
        let wanted = Values { prefix: "", wanted: &own };
        self.table.scan(&self.index, name, &wanted, &mut |value, list| lists.push((value.to_owned(), list)))?;
        if matchers.iter().all(|m| m.name() == name) || lists.is_empty() {
            values.extend(lists.into_iter().map(|(value, _)| value));
            return Ok(());
        }
        let candidates = self.candidates(matchers)?;
        if candidates.series.len() <= lists.len().saturating_mul(SERIES_PER_VALUE) {
            return self.values_of_series(name, &candidates, values);
        }
        let series: Vec<u32> = if candidates.unchecked.is_empty() {
            candidates.series
        } else {
            self.postings(matchers)?.into_iter().map(|SeriesRef(series)| series).collect()
        };
        for (value, list) in lists {
            if !values.contains(&value) && sets::meet(&series, &self.union(vec![list])?) {
                values.insert(value);
            }
        }
        Ok(())
    }

    fn values_of_series(
        &self,
        name: &str,
        candidates: &Candidates<'_>,
        values: &mut BTreeSet<String>,
    ) -> Result<(), ReadError> {
        self.visit_series(&candidates.series, &mut |_, entry| {
            if entry.matches(&candidates.unchecked)? {
                let value = entry.value(name)?;
                if !value.is_empty() && !values.contains(value) {
                    values.insert(value.to_owned());
                }
            }
            Ok(())
        })
    }
}
