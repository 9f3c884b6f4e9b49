//! Rows: what an expression gives for one series, and the rule that no two rows of a vector have the same labels.

use hashbrown::HashMap;
use model::{Labels, METRIC_NAME, SeriesId};

use super::column::is_absent;
use super::error::QueryError;
use super::hists::{Hists, View};

/// Labels that belong to the metric itself and go when its meaning changes; sorted.
pub(crate) const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// `labels` without those that name the metric.
pub(crate) fn strip_metadata(labels: &Labels) -> Labels {
    let has_any = labels.iter().any(|l| METADATA_LABELS.contains(&l.name));
    if has_any { labels.without(&METADATA_LABELS) } else { labels.clone() }
}

/// The labels of a row. Dropping the metric's name is noted and done when somebody looks, which with delayed name removal is at
/// the very end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) labels: Labels,
    pub(crate) drop_name: bool,
    /// What the labels were when the row came from storage, where they have changed since.
    origin: Option<Labels>,
}

impl Key {
    pub(crate) fn new(labels: Labels) -> Key {
        Key { labels, drop_name: false, origin: None }
    }

    /// `labels` for a row that stands in the place of `row`.
    pub(crate) fn instead_of(row: &Key, labels: Labels, drop_name: bool) -> Key {
        Key { labels, drop_name, origin: Some(row.place().clone()) }
    }

    /// By what rows are in order as Prometheus has them: the labels by which storage gave them.
    pub(crate) fn place(&self) -> &Labels {
        self.origin.as_ref().unwrap_or(&self.labels)
    }

    /// Gives the row other labels, in the same place.
    pub(crate) fn relabel(&mut self, labels: Labels) {
        let before = std::mem::replace(&mut self.labels, labels);
        self.origin.get_or_insert(before);
    }

    /// Does what was noted.
    pub(crate) fn settle(&mut self) {
        if self.drop_name {
            self.relabel(strip_metadata(&self.labels));
            self.drop_name = false;
        }
    }
}

/// The labels of a row and its values over all steps.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) values: Box<[f64]>,
    pub(crate) hists: Hists,
}

impl Row {
    /// A row of floats.
    pub(crate) fn of_floats(key: Key, values: Box<[f64]>) -> Row {
        Row { key, values, hists: Hists::default() }
    }

    /// Its values.
    pub(crate) fn view(&self) -> View<'_> {
        View { values: &self.values, hists: &self.hists }
    }
}

/// Puts rows in the order in which storage gave the series that they come from.
pub(crate) fn sort_by_place(rows: &mut [Row]) {
    rows.sort_by(|a, b| a.key.place().cmp(b.key.place()));
}

/// The text by which labels are recognised; 128 bits, so that chance never makes two label sets one.
fn identity(labels: &Labels) -> u128 {
    SeriesId::of_packed(labels.as_packed()).0
}

/// What may not happen to rows with the same labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uniqueness {
    /// To exist.
    Strict,
    /// To have values at the same step.
    Overlap,
    /// To have floats at the same step, or histograms: Prometheus looks at each kind by itself where labels are replaced.
    OverlapOfKind,
}

/// The steps that have values, as bits.
fn steps_of(column: View<'_>) -> Box<[u64]> {
    let bits_of = |part: &[f64]| part.iter().enumerate().fold(0, |bits, (i, v)| bits | u64::from(!is_absent(*v)) << i);
    let mut steps: Box<[u64]> = column.values.chunks(64).map(bits_of).collect();
    for (i, _) in column.hists.iter() {
        steps[i / 64] |= 1 << (i % 64);
    }
    steps
}

#[derive(Debug)]
enum Presence {
    Everywhere,
    Steps(Box<[u64]>),
    /// Of floats and of histograms.
    Kinds([Box<[u64]>; 2]),
}

/// The steps at which there are floats, and those at which there are histograms.
fn kinds_of(column: View<'_>) -> [Box<[u64]>; 2] {
    let hists = Hists::default();
    let floats = steps_of(View { values: column.values, hists: &hists });
    let mut steps = vec![0; floats.len()].into_boxed_slice();
    for (i, _) in column.hists.iter() {
        steps[i / 64] |= 1 << (i % 64);
    }
    [floats, steps]
}

fn meet(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).any(|(a, b)| a & b != 0)
}

/// The rows that passed a point of a pipeline, as far as is needed to find two with the same labels.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    rows: HashMap<u128, Presence>,
}

impl Seen {
    /// Notes a row; an error where it may not be.
    pub(crate) fn insert(&mut self, labels: &Labels, column: View<'_>, mode: Uniqueness) -> Result<(), QueryError> {
        let presence = match mode {
            Uniqueness::Strict => Presence::Everywhere,
            Uniqueness::Overlap if column.values.iter().all(|v| !is_absent(*v)) => Presence::Everywhere,
            Uniqueness::Overlap => Presence::Steps(steps_of(column)),
            Uniqueness::OverlapOfKind => Presence::Kinds(kinds_of(column)),
        };
        self.note(identity(labels), presence)
    }

    fn note(&mut self, id: u128, presence: Presence) -> Result<(), QueryError> {
        match self.rows.get_mut(&id) {
            None => {
                self.rows.insert(id, presence);
                Ok(())
            }
            Some(Presence::Everywhere) => Err(QueryError::DuplicateLabelset),
            Some(Presence::Kinds([floats, hists])) => {
                let Presence::Kinds([new_floats, new_hists]) = presence else {
                    return Err(QueryError::DuplicateLabelset);
                };
                if meet(floats, &new_floats) || meet(hists, &new_hists) {
                    return Err(QueryError::DuplicateLabelset);
                }
                if meet(floats, &new_hists) || meet(hists, &new_floats) {
                    return Err(QueryError::KindsMeet);
                }
                floats.iter_mut().zip(&new_floats).for_each(|(a, b)| *a |= b);
                hists.iter_mut().zip(&new_hists).for_each(|(a, b)| *a |= b);
                Ok(())
            }
            Some(Presence::Steps(known)) => match presence {
                Presence::Everywhere | Presence::Kinds(_) => Err(QueryError::DuplicateLabelset),
                Presence::Steps(new) => {
                    for (a, b) in known.iter_mut().zip(&new) {
                        if *a & *b != 0 {
                            return Err(QueryError::DuplicateLabelset);
                        }
                        *a |= *b;
                    }
                    Ok(())
                }
            },
        }
    }

    /// Adds the rows of another thread.
    pub(crate) fn merge(&mut self, other: Seen) -> Result<(), QueryError> {
        for (id, presence) in other.rows {
            self.note(id, presence)?;
        }
        Ok(())
    }
}

/// Makes one row of those with the same labels; an error where two have values at the same step.
pub(crate) fn merge_rows(rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
    if rows.len() < 2 {
        return Ok(rows);
    }
    let mut at: HashMap<u128, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match at.entry(identity(&row.key.labels)) {
            hashbrown::hash_map::Entry::Vacant(entry) => {
                entry.insert(out.len());
                out.push(row);
            }
            hashbrown::hash_map::Entry::Occupied(entry) => {
                let known = &mut out[*entry.get()];
                let n = known.values.len();
                for (i, b) in row.values.iter().enumerate().filter(|(_, b)| !is_absent(**b)) {
                    if known.view().has(i) {
                        return Err(QueryError::DuplicateLabelset);
                    }
                    known.values[i] = *b;
                }
                for (i, h) in row.hists.iter() {
                    if known.view().has(i) {
                        return Err(QueryError::DuplicateLabelset);
                    }
                    known.hists.set(i, n, std::sync::Arc::clone(h));
                }
            }
        }
    }
    Ok(out)
}

/// As [`merge_rows`] where only floats or only histograms may not be at the same step. Where one row has a float and the other a
/// histogram, Prometheus takes the float, and comes to no histogram of the series from there on.
pub(crate) fn merge_kinds(rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
    let mut at: HashMap<u128, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    // Of each row from which step on its histograms are hidden.
    let mut hidden: Vec<usize> = Vec::with_capacity(rows.len());
    for row in rows {
        let number = *at.entry(identity(&row.key.labels)).or_insert(out.len());
        let Some(known) = out.get_mut(number) else {
            out.push(row);
            hidden.push(usize::MAX);
            continue;
        };
        let n = known.values.len();
        for (i, b) in row.values.iter().enumerate().filter(|(_, b)| !is_absent(**b)) {
            if !is_absent(known.values[i]) {
                return Err(QueryError::DuplicateLabelset);
            }
            known.values[i] = *b;
        }
        for (i, h) in row.hists.iter() {
            if known.hists.get(i).is_some() {
                return Err(QueryError::DuplicateLabelset);
            }
            known.hists.set(i, n, std::sync::Arc::clone(h));
        }
        let met = known.hists.iter().map(|(i, _)| i).find(|i| !is_absent(known.values[*i]));
        hidden[number] = hidden[number].min(met.unwrap_or(usize::MAX));
    }
    for (row, hidden) in out.iter_mut().zip(hidden).filter(|(_, hidden)| *hidden < usize::MAX) {
        row.hists.retain(|i| i < hidden);
    }
    Ok(out)
}

/// An error where two rows have the same labels.
pub(crate) fn check_unique(rows: &[Row]) -> Result<(), QueryError> {
    let mut seen = hashbrown::HashSet::with_capacity(rows.len());
    if rows.iter().all(|row| seen.insert(identity(&row.key.labels))) {
        Ok(())
    } else {
        Err(QueryError::DuplicateLabelset)
    }
}
