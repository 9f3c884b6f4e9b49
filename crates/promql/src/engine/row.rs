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
}

impl Key {
    pub(crate) fn new(labels: Labels) -> Key {
        Key { labels, drop_name: false }
    }

    /// Does what was noted.
    pub(crate) fn settle(&mut self) {
        if self.drop_name {
            self.labels = strip_metadata(&self.labels);
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
            Some(Presence::Steps(known)) => match presence {
                Presence::Everywhere => Err(QueryError::DuplicateLabelset),
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

/// An error where two rows have the same labels.
pub(crate) fn check_unique(rows: &[Row]) -> Result<(), QueryError> {
    let mut seen = hashbrown::HashSet::with_capacity(rows.len());
    if rows.iter().all(|row| seen.insert(identity(&row.key.labels))) {
        Ok(())
    } else {
        Err(QueryError::DuplicateLabelset)
    }
}
