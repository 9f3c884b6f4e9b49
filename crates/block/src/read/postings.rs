//! From matchers to series. Semantics: `PostingsForMatchers` of `tsdb/querier.go`, where an absent label is the empty text.

use model::{MatchOp, Matcher};

use super::table::{ListRange, Values};
use super::{Block, sets};
use crate::cursor::{Cursor, split_crc};
use crate::source::OpenFile;
use crate::{CRC_BYTES, Damage, ReadError};

/// Lists are read together when no more than this lies between them.
const GAP_BYTES: u64 = 1 << 12;

/// Most bytes of lists read at once, unless one list is larger.
const READ_BYTES: u64 = 1 << 22;

/// Series that may match.
pub(super) struct Candidates<'a> {
    /// Sorted.
    pub(super) series: Vec<u32>,
    /// Matchers that each series still has to satisfy: reading the lists would have cost more than looking at the series.
    pub(super) unchecked: Vec<&'a Matcher>,
}

/// The values whose series a matcher takes or, if it matches the empty text, excludes.
enum Wanted<'a> {
    One(&'a str),
    Few(&'a [String]),
    /// Those with the prefix for which the matcher decides so.
    Scan(&'a str),
}

/// A matcher with what it wants.
struct Condition<'a> {
    matcher: &'a Matcher,
    wanted: Wanted<'a>,
    /// Series without the label satisfy it, so those of the wanted values do not.
    excludes: bool,
}

/// Rough costs in nanoseconds: of looking at the labels of a series, of testing a value and reading its list's place, and of a
/// byte of a list. Only their proportions matter.
const SERIES_COST: u64 = 200;
const VALUE_COST: u64 = 100;
const LIST_BYTE_COST: u64 = 1;

impl<'a> Condition<'a> {
    fn new(matcher: &'a Matcher) -> Condition<'a> {
        let excludes = matcher.matches_empty();
        let (prefix, literals) = matcher.regexp().map_or(("", None), |re| (re.prefix(), re.literals()));
        let wanted = match (matcher.op(), excludes) {
            (MatchOp::Equal, false) | (MatchOp::NotEqual, true) => Wanted::One(matcher.value()),
            (MatchOp::Regex, false) | (MatchOp::NotRegex, true) => match literals {
                Some(literals) => Wanted::Few(literals),
                None => Wanted::Scan(prefix),
            },
            (MatchOp::Equal | MatchOp::Regex, true) | (MatchOp::NotEqual | MatchOp::NotRegex, false) => {
                Wanted::Scan("")
            }
        };
        Condition { matcher, wanted, excludes }
    }
}

impl Block {
    /// Narrows the series down by the lists that are worth reading.
    pub(super) fn candidates<'a>(&self, matchers: &'a [Matcher]) -> Result<Candidates<'a>, ReadError> {
        let mut conditions: Vec<Condition<'a>> = Vec::new();
        for matcher in matchers {
            // No series has a label without a name; an entry of the empty name is the list of all series.
            match (matcher.name().is_empty(), matcher.op(), matcher.value()) {
                (true, ..) if matcher.matches_empty() => {}
                (true, ..) | (_, MatchOp::NotRegex, ".*") => return Ok(Candidates::none()),
                (_, MatchOp::Regex, ".*") => {}
                _ => conditions.push(Condition::new(matcher)),
            }
        }
        // What takes few lists comes first, so that the rest can be weighed against the few series that are left.
        conditions.sort_by_key(|c| (c.excludes, matches!(c.wanted, Wanted::Scan(_))));
        let mut series: Option<Vec<u32>> = None;
        let mut unchecked = Vec::new();
        for condition in conditions {
            if series.as_ref().is_some_and(Vec::is_empty) {
                return Ok(Candidates::none());
            }
            let lists = match self.lists(&condition, series.as_deref())? {
                Some(lists) => lists,
                None => {
                    unchecked.push(condition.matcher);
                    continue;
                }
            };
            series = Some(match (series, condition.excludes) {
                (None, false) => self.union(lists)?,
                (None, true) => {
                    let mut all = self.all_series()?;
                    sets::subtract(&mut all, &self.union(lists)?);
                    all
                }
                (Some(mut series), false) => {
                    sets::intersect(&mut series, &self.union(lists)?);
                    series
                }
                (Some(mut series), true) => {
                    sets::subtract(&mut series, &self.union(lists)?);
                    series
                }
            });
        }
        let series = match series {
            Some(series) => series,
            None => self.all_series()?,
        };
        Ok(Candidates { series, unchecked })
    }

    /// The lists of the wanted values; `None` where looking at each of `series` is cheaper.
    fn lists(&self, condition: &Condition<'_>, series: Option<&[u32]>) -> Result<Option<Vec<ListRange>>, ReadError> {
        let cheaper_alone = |lists_cost: u64| series.is_some_and(|s| s.len() as u64 * SERIES_COST < lists_cost);
        let name = condition.matcher.name();
        let mut lists = Vec::new();
        match condition.wanted {
            Wanted::One(value) => lists.extend(self.table.find(&self.index, name, value)?),
            Wanted::Few(values) => {
                if cheaper_alone(values.len() as u64 * VALUE_COST) {
                    return Ok(None);
                }
                for value in values {
                    lists.extend(self.table.find(&self.index, name, value)?);
                }
            }
            Wanted::Scan(prefix) => {
                let (values, bytes) = self.table.extent(name);
                let share = if prefix.is_empty() { 1 } else { 8 };
                if cheaper_alone((values as u64 * VALUE_COST + bytes * LIST_BYTE_COST) / share) {
                    return Ok(None);
                }
                let wanted = |value: &str| condition.matcher.matches(value) != condition.excludes;
                self.table
                    .scan(&self.index, name, &Values { prefix, wanted: &wanted }, &mut |_, list| lists.push(list))?;
            }
        }
        let bytes: u64 = lists.iter().map(|list| list.end.saturating_sub(list.start)).sum();
        Ok((!cheaper_alone(bytes * LIST_BYTE_COST)).then_some(lists))
    }

    pub(super) fn all_series(&self) -> Result<Vec<u32>, ReadError> {
        match self.table.find(&self.index, "", "")? {
            Some(list) => self.union(vec![list]),
            None => Ok(Vec::new()),
        }
    }

    /// What is in any of the lists, sorted.
    pub(super) fn union(&self, mut lists: Vec<ListRange>) -> Result<Vec<u32>, ReadError> {
        lists.sort_unstable_by_key(|list| list.start);
        let mut out = Vec::new();
        let mut rest = &lists[..];
        while let Some(first) = rest.first() {
            let mut end = first.end;
            let mut together = 1;
            for list in &rest[1..] {
                if list.start < end || list.start - end > GAP_BYTES || list.end.saturating_sub(first.start) > READ_BYTES
                {
                    break;
                }
                end = list.end;
                together += 1;
            }
            self.read_lists(&rest[..together], &mut out)?;
            rest = &rest[together..];
        }
        if lists.len() > 1 {
            out.sort_unstable();
            out.dedup();
        }
        Ok(out)
    }

    /// Reads lists that follow each other at once.
    fn read_lists(&self, lists: &[ListRange], out: &mut Vec<u32>) -> Result<(), ReadError> {
        let index = &self.index;
        let start = lists[0].start;
        let hint = lists[lists.len() - 1].end.min(self.toc.table);
        let bytes = index.read(start, hint.saturating_sub(start))?;
        for list in lists {
            let have = usize::try_from(list.start - start).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            let len = match Cursor::new(have).be32() {
                Some(len) => u64::from(len),
                None => u64::from(Cursor::new(&index.read(list.start, 4)?).be32().expect("four bytes")),
            };
            let whole = 4 + len + CRC_BYTES;
            if list.start < self.toc.postings || list.start.saturating_add(whole) > self.toc.table {
                return Err(index.corrupt(list.start, Damage::Sections));
            }
            match usize::try_from(whole).ok().and_then(|whole| have.get(4..whole)) {
                Some(list_bytes) => decode_list(index, list.start, list_bytes, out)?,
                // The hint was wrong: lists lie in another order than in the table.
                None => decode_list(index, list.start, &index.read(list.start + 4, len + CRC_BYTES)?, out)?,
            }
        }
        Ok(())
    }
}

impl Candidates<'_> {
    fn none() -> Self {
        Candidates { series: Vec::new(), unchecked: Vec::new() }
    }
}

/// Appends the references of a list: a count and that many references, then the checksum.
fn decode_list(index: &OpenFile, offset: u64, bytes: &[u8], out: &mut Vec<u32>) -> Result<(), ReadError> {
    let truncated = || index.corrupt(offset, Damage::Truncated);
    let (body, crc) = split_crc(bytes).ok_or_else(truncated)?;
    index.check(offset, crc, crc32c::crc32c(body))?;
    let (count, refs) = body.split_first_chunk::<4>().ok_or_else(truncated)?;
    let (refs, odd) = refs.as_chunks::<4>();
    if refs.len() != u32::from_be_bytes(*count) as usize || !odd.is_empty() {
        return Err(index.corrupt(offset, Damage::Count));
    }
    let from = out.len();
    out.extend(refs.iter().map(|r| u32::from_be_bytes(*r)));
    if !out[from..].is_sorted_by(|a, b| a < b) {
        return Err(index.corrupt(offset, Damage::Order));
    }
    Ok(())
}
