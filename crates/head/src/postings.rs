//! The inverted index of one partition: for each label pair the series that have it.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use model::{Labels, MatchOp, Matcher};

/// Number of a series within its partition. Numbers only go up until the partition is compacted.
pub(crate) type SeriesRef = u32;

/// Sorted references; most pairs of a high-cardinality label have one.
#[derive(Debug)]
enum List {
    One([SeriesRef; 1]),
    Many(Vec<SeriesRef>),
}

impl List {
    fn as_slice(&self) -> &[SeriesRef] {
        match self {
            List::One(one) => one,
            List::Many(many) => many,
        }
    }

    fn push(&mut self, r: SeriesRef) {
        match self {
            List::One([first]) => *self = List::Many(vec![*first, r]),
            List::Many(many) => {
                if many.len() == many.capacity() {
                    many.reserve_exact((many.len() / 4).max(2));
                }
                many.push(r);
            }
        }
    }
}

type Values = HashMap<Box<str>, List, foldhash::fast::FixedState>;

/// The index. Only `add` changes it; removal rebuilds it (see `Partition::compact`).
#[derive(Debug, Default)]
pub(crate) struct Postings {
    names: BTreeMap<Box<str>, Values>,
}

impl Postings {
    /// Adds a series, whose number must be greater than all before.
    pub(crate) fn add(&mut self, r: SeriesRef, labels: &Labels) {
        for l in labels {
            let values = match self.names.get_mut(l.name) {
                Some(values) => values,
                None => self.names.entry(l.name.into()).or_default(),
            };
            match values.get_mut(l.value) {
                Some(list) => list.push(r),
                None => {
                    values.insert(l.value.into(), List::One([r]));
                }
            }
        }
    }

    /// Names of labels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|n| &**n)
    }

    /// Values of a label with the number of series that have each, in no order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        self.names.get(name).into_iter().flatten().map(|(v, list)| (&**v, list.as_slice().len()))
    }

    /// The series for which all matchers hold, ascending. `labels_of` gives a series' labels; `all` yields every series.
    pub(crate) fn select<'a>(
        &self,
        matchers: &[Matcher],
        labels_of: impl Fn(SeriesRef) -> &'a Labels,
        all: impl Iterator<Item = SeriesRef>,
    ) -> Vec<SeriesRef> {
        let (mut result, rest) = match self.smallest(matchers) {
            Smallest::Nothing => return Vec::new(),
            Smallest::List(i, list) => (list.to_vec(), without(matchers, i)),
            Smallest::NoEquality => self.first_of_regex(matchers, all),
        };
        for m in rest {
            if result.is_empty() {
                return result;
            }
            self.narrow(&mut result, m, &labels_of);
        }
        result
    }

    /// The shortest list among matchers that ask for one value.
    fn smallest(&self, matchers: &[Matcher]) -> Smallest<'_> {
        let mut best: Option<(usize, &[SeriesRef])> = None;
        for (i, m) in matchers.iter().enumerate() {
            if m.op() != MatchOp::Equal || m.value().is_empty() {
                continue;
            }
            match self.list(m.name(), m.value()) {
                None => return Smallest::Nothing,
                Some(list) if best.is_none_or(|(_, b)| list.len() < b.len()) => best = Some((i, list)),
                Some(_) => {}
            }
        }
        best.map_or(Smallest::NoEquality, |(i, list)| Smallest::List(i, list))
    }

    fn list(&self, name: &str, value: &str) -> Option<&[SeriesRef]> {
        Some(self.names.get(name)?.get(value)?.as_slice())
    }

    /// Without an equality: the union of all values that a pattern accepts, if one does not accept the absent label.
    fn first_of_regex<'m>(
        &self,
        matchers: &'m [Matcher],
        all: impl Iterator<Item = SeriesRef>,
    ) -> (Vec<SeriesRef>, Vec<&'m Matcher>) {
        match matchers.iter().position(|m| !m.matches_empty()) {
            Some(i) => (self.union(&matchers[i], |m, v| m.matches(v)), without(matchers, i)),
            None => (all.collect(), matchers.iter().collect()),
        }
    }

    /// Series with a value of the matcher's label that `wanted` accepts, ascending.
    fn union(&self, m: &Matcher, wanted: impl Fn(&Matcher, &str) -> bool) -> Vec<SeriesRef> {
        let Some(values) = self.names.get(m.name()) else { return Vec::new() };
        let literals = m.regexp().and_then(|re| re.literals()).filter(|_| m.op() == MatchOp::Regex);
        let mut out = Vec::new();
        match literals {
            Some(literals) => {
                for list in literals.iter().filter_map(|l| values.get(l.as_str())) {
                    out.extend_from_slice(list.as_slice());
                }
            }
            None => {
                for (_, list) in values.iter().filter(|(v, _)| wanted(m, v)) {
                    out.extend_from_slice(list.as_slice());
                }
            }
        }
        // A series has one value per label, so the lists are disjoint.
        out.sort_unstable();
        out
    }

    /// Keeps the series for which `m` holds: by looking at their labels where that is less work than reading lists.
    fn narrow<'a>(&self, result: &mut Vec<SeriesRef>, m: &Matcher, labels_of: &impl Fn(SeriesRef) -> &'a Labels) {
        if m.op() == MatchOp::Equal && !m.value().is_empty() {
            match self.list(m.name(), m.value()) {
                None => result.clear(),
                Some(list) if list.len() < 16 * result.len() => intersect(result, list),
                Some(list) => result.retain(|r| list.binary_search(r).is_ok()),
            }
            return;
        }
        let value_count = self.names.get(m.name()).map_or(0, HashMap::len);
        if result.len() <= value_count {
            result.retain(|r| m.matches_labels(labels_of(*r)));
        } else if m.matches_empty() {
            let bad = self.union_refused(m);
            result.retain(|r| bad.binary_search(r).is_err());
        } else {
            intersect(result, &self.union(m, |m, v| m.matches(v)));
        }
    }

    fn union_refused(&self, m: &Matcher) -> Vec<SeriesRef> {
        let Some(values) = self.names.get(m.name()) else { return Vec::new() };
        let mut out = Vec::new();
        for (_, list) in values.iter().filter(|(v, _)| !m.matches(v)) {
            out.extend_from_slice(list.as_slice());
        }
        out.sort_unstable();
        out
    }
}

enum Smallest<'a> {
    Nothing,
    List(usize, &'a [SeriesRef]),
    NoEquality,
}

fn without(matchers: &[Matcher], i: usize) -> Vec<&Matcher> {
    matchers.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, m)| m).collect()
}

/// Keeps what is in both; both ascending.
fn intersect(result: &mut Vec<SeriesRef>, list: &[SeriesRef]) {
    let mut list = list.iter().copied().peekable();
    result.retain(|r| {
        while list.next_if(|l| l < r).is_some() {}
        list.peek() == Some(r)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matcher() -> impl Strategy<Value = Matcher> {
        let op =
            prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
        let value = prop_oneof![
            "[ab]{0,2}",
            Just("a|b".to_owned()),
            Just("a.*".to_owned()),
            Just(".*".to_owned()),
            Just(".+".to_owned())
        ];
        ("[xyz]", op, value).prop_map(|(n, op, v)| Matcher::new(&n, op, &v).unwrap())
    }

    proptest! {
        /// Against looking at every series.
        #[test]
        fn the_index_selects_what_looking_at_all_series_selects(
            series in proptest::collection::vec(proptest::collection::btree_map("[xyz]", "[ab]{1,2}", 1..3), 0..40),
            matchers in proptest::collection::vec(matcher(), 1..4),
        ) {
            let series: Vec<Labels> = series
                .iter()
                .map(|m| Labels::from_pairs(m.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap())
                .collect();
            let mut index = Postings::default();
            for (i, l) in series.iter().enumerate() {
                index.add(i as u32, l);
            }
            let all = 0..series.len() as u32;
            let expected: Vec<u32> =
                all.clone().filter(|i| matchers.iter().all(|m| m.matches_labels(&series[*i as usize]))).collect();
            prop_assert_eq!(index.select(&matchers, |r| &series[r as usize], all), expected);
        }
    }
}
