//! The postings offset table: where the list of postings of each label pair lies.
//!
//! It is as large as all distinct pairs together, so only every 32nd entry is kept, as Prometheus does, with the checksum of
//! the 32: entries between are read again when they are needed, and checked again.

use std::ops::Range;

use super::{Toc, check_section, section};
use crate::cursor::Cursor;
use crate::source::OpenFile;
use crate::stream::Stream;
use crate::{Damage, ReadError};

/// Entries of a group.
const GROUP_ENTRIES: usize = 32;

/// Bytes of the table read at once.
const READ_BYTES: u64 = 1 << 18;

/// Up to 32 entries of one name.
struct Group {
    first_value: Box<str>,
    /// Where the group begins, from the start of the table's content.
    offset: u32,
    crc: u32,
    /// Where the first list begins.
    postings: u64,
}

/// A list of postings.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRange {
    pub(super) start: u64,
    /// Where the next list begins; only a hint, as an index may order its lists otherwise.
    pub(super) end: u64,
}

/// The samples of the table.
pub(super) struct PostingsTable {
    /// Sorted; each with its groups.
    names: Vec<(Box<str>, Range<usize>)>,
    groups: Vec<Group>,
    /// Where the content begins and ends in the index.
    start: u64,
    end: u64,
    /// Where the section of postings ends at the latest.
    postings_end: u64,
}

/// Which values are looked for.
pub(super) struct Values<'a> {
    pub(super) prefix: &'a str,
    pub(super) wanted: &'a dyn Fn(&str) -> bool,
}

struct Entry<'a> {
    name: &'a str,
    value: &'a str,
    postings: u64,
}

fn skip_entry(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.uvarint()?;
    cursor.text()?;
    cursor.text()?;
    cursor.uvarint().map(drop)
}

fn parse_entry<'a>(cursor: &mut Cursor<'a>) -> Result<Entry<'a>, Damage> {
    let mut fields = || Some((cursor.uvarint()?, cursor.text()?, cursor.text()?, cursor.uvarint()?));
    let (keys, name, value, postings) = fields().ok_or(Damage::Truncated)?;
    if keys != 2 {
        return Err(Damage::Count);
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Damage::Utf8);
    Ok(Entry { name: text(name)?, value: text(value)?, postings })
}

impl PostingsTable {
    /// Reads the whole table once.
    pub(super) fn read(index: &OpenFile, toc: &Toc) -> Result<PostingsTable, ReadError> {
        let (start, end) = section(index, toc.table, toc.end)?;
        let mut table = PostingsTable { names: Vec::new(), groups: Vec::new(), start, end, postings_end: toc.table };
        let mut stream = Stream::new(index, start, end);
        let count = stream.entry(|cursor| cursor.be32().map(drop))?;
        let count = Cursor::new(count).be32().expect("four bytes");
        let mut last_value = String::new();
        let mut in_group = 0;
        for _ in 0..count {
            let offset = stream.offset();
            let bytes = stream.entry(skip_entry)?;
            let entry = parse_entry(&mut Cursor::new(bytes)).map_err(|damage| index.corrupt(offset, damage))?;
            let order = || index.corrupt(offset, Damage::Order);
            let begins_name = match table.names.last() {
                None => true,
                Some((last, _)) if **last == *entry.name => {
                    if *entry.value <= *last_value {
                        return Err(order());
                    }
                    false
                }
                Some((last, _)) if **last < *entry.name => true,
                Some(_) => return Err(order()),
            };
            if begins_name {
                table.names.push((entry.name.into(), table.groups.len()..table.groups.len()));
            }
            if begins_name || in_group == GROUP_ENTRIES {
                in_group = 0;
                let offset = u32::try_from(offset - start).expect("a section's length has 32 bits");
                let first_value = entry.value.into();
                table.groups.push(Group { first_value, offset, crc: 0, postings: entry.postings });
                table.names.last_mut().expect("pushed before").1.end += 1;
            }
            let group = table.groups.last_mut().expect("pushed before");
            group.crc = crc32c::crc32c_append(group.crc, bytes);
            in_group += 1;
            last_value.clear();
            last_value.push_str(entry.value);
        }
        if !stream.is_at_end() {
            return Err(index.corrupt(stream.offset(), Damage::Count));
        }
        check_section(index, start, end, stream.into_crc())?;
        table.names.shrink_to_fit();
        table.groups.shrink_to_fit();
        Ok(table)
    }

    /// All names but the empty one, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name).filter(|name| !name.is_empty())
    }

    /// Upper bound of the number of values of a name, and bytes of all their lists together.
    pub(super) fn extent(&self, name: &str) -> (usize, u64) {
        let groups = self.groups_of(name);
        let Some(first) = self.groups[groups.clone()].first() else { return (0, 0) };
        (groups.len() * GROUP_ENTRIES, self.postings_after(groups.end - 1).saturating_sub(first.postings))
    }

    /// The list of one pair.
    pub(super) fn find(&self, index: &OpenFile, name: &str, value: &str) -> Result<Option<ListRange>, ReadError> {
        let mut found = None;
        let groups = self.groups_of(name);
        let after = groups.start + self.groups[groups.clone()].partition_point(|g| *g.first_value <= *value);
        if after > groups.start {
            self.visit(index, name, after - 1..after, &mut |v, list| {
                if v == value {
                    found = Some(list);
                }
            })?;
        }
        Ok(found)
    }

    /// Visits the values of a name that are looked for, in order, with their lists.
    pub(super) fn scan(
        &self,
        index: &OpenFile,
        name: &str,
        values: &Values<'_>,
        visit: &mut dyn FnMut(&str, ListRange),
    ) -> Result<(), ReadError> {
        let mut groups = self.groups_of(name);
        let prefix = values.prefix;
        if !prefix.is_empty() {
            let own = &self.groups[groups.clone()];
            let begin = own.partition_point(|g| *g.first_value <= *prefix).saturating_sub(1);
            let end = own.partition_point(|g| *g.first_value <= *prefix || g.first_value.starts_with(prefix));
            groups = groups.start + begin..groups.start + end;
        }
        self.visit(index, name, groups, &mut |value, list| {
            if value.starts_with(prefix) && (values.wanted)(value) {
                visit(value, list);
            }
        })
    }

    fn groups_of(&self, name: &str) -> Range<usize> {
        match self.names.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(at) => self.names[at].1.clone(),
            Err(_) => 0..0,
        }
    }

    /// Where the list after the last of a group begins.
    fn postings_after(&self, group: usize) -> u64 {
        self.groups.get(group + 1).map_or(self.postings_end, |next| next.postings)
    }

    fn group_end(&self, group: usize) -> u64 {
        self.groups.get(group + 1).map_or(self.end, |next| self.start + u64::from(next.offset))
    }

    /// Reads groups and visits their entries.
    fn visit(
        &self,
        index: &OpenFile,
        name: &str,
        groups: Range<usize>,
        visit: &mut dyn FnMut(&str, ListRange),
    ) -> Result<(), ReadError> {
        let mut next = groups.start;
        while next < groups.end {
            let start = self.start + u64::from(self.groups[next].offset);
            let mut end = next + 1;
            while end < groups.end && self.group_end(end) - start <= READ_BYTES {
                end += 1;
            }
            let bytes = index.read(start, self.group_end(end - 1) - start)?;
            for group in next..end {
                let from = self.start + u64::from(self.groups[group].offset);
                let own = &bytes[as_len(from - start)..as_len(self.group_end(group) - start)];
                self.visit_group(index, name, group, own, visit)?;
            }
            next = end;
        }
        Ok(())
    }

    fn visit_group(
        &self,
        index: &OpenFile,
        name: &str,
        group: usize,
        bytes: &[u8],
        visit: &mut dyn FnMut(&str, ListRange),
    ) -> Result<(), ReadError> {
        let offset = self.start + u64::from(self.groups[group].offset);
        index.check(offset, self.groups[group].crc, crc32c::crc32c(bytes))?;
        let damaged = |damage| index.corrupt(offset, damage);
        let mut cursor = Cursor::new(bytes);
        let mut current: Option<Entry<'_>> = None;
        loop {
            let next = if cursor.rest.is_empty() { None } else { Some(parse_entry(&mut cursor).map_err(damaged)?) };
            if next.as_ref().is_some_and(|entry| entry.name != name) {
                return Err(damaged(Damage::Order));
            }
            if let Some(entry) = current.take() {
                let end = next.as_ref().map_or_else(|| self.postings_after(group), |next| next.postings);
                visit(entry.value, ListRange { start: entry.postings, end });
            }
            if next.is_none() {
                return Ok(());
            }
            current = next;
        }
    }
}

/// A length within a read of [`READ_BYTES`] or one group.
fn as_len(n: u64) -> usize {
    usize::try_from(n).expect("a part of bytes in memory")
}
