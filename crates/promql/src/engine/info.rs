//! `info()`: adds labels of info series (`target_info`) to the series of their targets.
//!
//! Source: Prometheus `promql/info.go` at v3.14.0.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher, TimestampMs};

use super::column::{ABSENT, Grid, is_absent};
use super::error::QueryError;
use super::limits::{Budget, Ticker};
use super::node::Node;
use super::row::{Key, Row, merge_rows};

/// The labels by which targets are known.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// `info(v, {…})`
#[derive(Clone, Debug)]
pub(crate) struct InfoNode {
    pub(crate) input: Node,
    /// Gives for each info series when its sample of each step was taken.
    pub(crate) pipeline: usize,
    /// Which series are info series, by name.
    pub(crate) names: Vec<Matcher>,
    /// Which labels are wanted, by name; all where empty.
    pub(crate) data: BTreeMap<String, Vec<Matcher>>,
    pub(crate) grid: Grid,
}

/// The conditions on names of info series: of only negative ones, also that the name ends in `_info`.
pub(crate) fn name_matchers(written: Vec<Matcher>) -> Vec<Matcher> {
    let is_positive = |m: &Matcher| matches!(m.op(), MatchOp::Equal | MatchOp::Regex);
    if written.is_empty() {
        return vec![Matcher::equal(METRIC_NAME, "target_info")];
    }
    if written.iter().any(is_positive) {
        return written;
    }
    let mut names = vec![Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info").expect("a valid expression")];
    names.extend(written);
    names
}

/// What a combination works with besides its rows.
pub(crate) struct Enrichment<'a> {
    pub(crate) ticker: &'a mut Ticker,
    pub(crate) budget: &'a Budget,
}

/// Adds labels of `infos` to `rows`.
pub(crate) fn evaluate(
    node: &InfoNode,
    rows: Vec<Row>,
    infos: Vec<Row>,
    env: &mut Enrichment<'_>,
) -> Result<Vec<Row>, QueryError> {
    let is_info = |row: &Row| {
        let name = row.key.labels.get(METRIC_NAME).unwrap_or("");
        node.names.iter().all(|m| m.matches(name))
    };
    let ignored: Vec<bool> = rows.iter().map(is_info).collect();
    let infos = of_targets(&rows, &ignored, infos);
    let any_row = (0..node.grid.count).map(|i| rows.iter().any(|row| row.view().has(i))).collect::<Vec<bool>>();
    let newest = Newest::of(&infos, &any_row, env.ticker)?;
    let mut out = Vec::new();
    let mut made = 0;
    for (row, ignored) in rows.iter().zip(ignored) {
        env.ticker.tick(node.grid.count)?;
        if ignored {
            let key = Key::instead_of(&row.key, row.key.labels.clone(), false);
            out.push(Row { key, ..row.clone() });
            continue;
        }
        for enriched in enrich(node, row, &infos, &newest)? {
            made += node.grid.count;
            env.budget.glance(made)?;
            out.push(enriched);
        }
    }
    merge_rows(out)
}

/// Those info series whose identifying labels some row has.
fn of_targets(rows: &[Row], ignored: &[bool], mut infos: Vec<Row>) -> Vec<Row> {
    let mut any = false;
    for name in IDENTIFYING {
        let wanted = rows.iter().zip(ignored).filter(|(_, ignored)| !**ignored);
        let values: HashSet<&str> = wanted.filter_map(|(row, _)| row.key.labels.get(name)).collect();
        if !values.is_empty() {
            any = true;
            infos.retain(|info| info.key.labels.get(name).is_some_and(|value| values.contains(value)));
        }
    }
    if !any {
        infos.clear();
    }
    infos.sort_by(|a, b| a.key.labels.cmp(&b.key.labels));
    infos
}

/// Of all info series of one name and target the one with the newest sample, at each step.
struct Newest<'a> {
    /// By name, then by target: the index of the info series plus one, or 0.
    by_name: BTreeMap<&'a str, HashMap<Labels, Vec<u32>>>,
}

impl<'a> Newest<'a> {
    /// Two samples of one time are an error at steps where `any_row` holds.
    fn of(infos: &'a [Row], any_row: &[bool], ticker: &mut Ticker) -> Result<Newest<'a>, QueryError> {
        let mut by_name: BTreeMap<&str, HashMap<Labels, Vec<u32>>> = BTreeMap::new();
        for (number, info) in (1u32..).zip(infos) {
            ticker.tick(any_row.len())?;
            let targets = by_name.entry(info.key.labels.get(METRIC_NAME).unwrap_or("")).or_default();
            let target = info.key.labels.only(&IDENTIFYING);
            let column = targets.entry(target).or_insert_with(|| vec![0; any_row.len()]);
            for (i, slot) in column.iter_mut().enumerate() {
                let at = info.values[i];
                if is_absent(at) {
                    continue;
                }
                let Some(known) = (*slot as usize).checked_sub(1).map(|known| &infos[known]) else {
                    *slot = number;
                    continue;
                };
                if at > known.values[i] {
                    *slot = number;
                } else if at == known.values[i] && any_row[i] {
                    return Err(duplicate(known, info, at));
                }
            }
        }
        Ok(Newest { by_name })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a timestamp that came from milliseconds")]
fn duplicate(existing: &Row, new: &Row, at: f64) -> QueryError {
    let at = TimestampMs(at as i64);
    let labels = |row: &Row| row.key.labels.clone();
    QueryError::DuplicateInfo { existing: labels(existing), existing_at: at, new: labels(new), new_at: at }
}

/// The rows that come of one: its labels change when those of its info series do.
fn enrich(node: &InfoNode, row: &Row, infos: &[Row], newest: &Newest<'_>) -> Result<Vec<Row>, QueryError> {
    let target = row.key.labels.only(&IDENTIFYING);
    let columns: Vec<&Vec<u32>> = newest.by_name.values().filter_map(|targets| targets.get(&target)).collect();
    // By the info series that are joined.
    let mut made: HashMap<Vec<u32>, Option<usize>> = HashMap::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut joined = Vec::with_capacity(columns.len());
    for i in (0..row.values.len()).filter(|i| row.view().has(*i)) {
        joined.clear();
        joined.extend(columns.iter().map(|column| column[i]).filter(|number| *number > 0));
        let at = match made.get(&joined) {
            Some(at) => *at,
            None => {
                let series = joined.iter().map(|number| &infos[*number as usize - 1].key.labels);
                let at = labels_of(node, &row.key.labels, series)?.map(|labels| {
                    let values = vec![ABSENT; row.values.len()].into_boxed_slice();
                    rows.push(Row::of_floats(Key::instead_of(&row.key, labels, false), values));
                    rows.len() - 1
                });
                made.insert(joined.clone(), at);
                at
            }
        };
        let Some(at) = at else { continue };
        match row.hists.get(i) {
            Some(h) => rows[at].hists.set(i, row.values.len(), Arc::clone(h)),
            None => rows[at].values[i] = row.values[i],
        }
    }
    rows.retain(|row| row.view().any());
    Ok(rows)
}

/// `base` with the labels of info series; `None` where it has none and the conditions want some.
fn labels_of<'a>(
    node: &InfoNode,
    base: &Labels,
    infos: impl Iterator<Item = &'a Labels>,
) -> Result<Option<Labels>, QueryError> {
    let mut added = LabelsBuilder::default();
    let mut any = false;
    for info in infos {
        any = true;
        for label in info.iter().filter(|label| label.name != METRIC_NAME) {
            if !node.data.is_empty() && !node.data.contains_key(label.name) {
                continue;
            }
            let known = added.get(label.name);
            if !known.is_empty() && known != label.value {
                return Err(QueryError::ConflictingInfoLabel(label.name.to_owned()));
            }
            if base.get(label.name).is_none() {
                added.set(label.name, label.value);
            }
        }
    }
    if !any && !node.data.values().flatten().all(Matcher::matches_empty) {
        return Ok(None);
    }
    let mut builder = LabelsBuilder::from_labels(base);
    added.iter().for_each(|(name, value)| {
        builder.set(name, value);
    });
    Ok(Some(builder.build()))
}
