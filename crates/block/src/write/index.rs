//! The file `index`, version 2. Source: `tsdb/index/index.go`; the sections follow each other as Prometheus 3.14 writes them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Labels, TimestampMs};

use super::disk::{Directory, Output};
use crate::cursor::{Cursor, put_crc, put_text, put_uvarint, put_varint};
use crate::source::{Checksums, OpenFile};
use crate::stream::Stream;
use crate::{
    BlockFile, CRC_BYTES, Damage, INDEX_HEADER_BYTES, INDEX_MAGIC, INDEX_VERSION, ReadError, SERIES_ALIGN, Symbols,
    WriteError,
};

/// Where a list of postings lies and which label it is of, by number of symbol; `None` is the list of all series.
struct ListOffset {
    label: Option<(u32, u32)>,
    offset: u64,
}

/// A finished index.
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) series_max_bytes: u64,
}

/// Writes the index.
pub(super) struct IndexWriter {
    out: Output,
    symbols: Symbols,
    postings_per_pass: usize,
    /// Offset of each series, divided by 16.
    series: Vec<u32>,
    /// How many series have each name, by number of symbol.
    name_uses: BTreeMap<u32, usize>,
    series_start: u64,
    series_max_bytes: u64,
    /// Labels of the series being added, then its chunks.
    entry: Vec<u8>,
    chunk_metas: Vec<u8>,
    /// End and reference of the chunk before.
    last_chunk: Option<(TimestampMs, u64)>,
    scratch: Vec<u8>,
}

impl IndexWriter {
    pub(super) fn create(
        disk: &Arc<dyn Directory>,
        path: PathBuf,
        symbols: Symbols,
        postings_per_pass: usize,
    ) -> Result<IndexWriter, WriteError> {
        let mut out = Output::create(disk, path)?;
        out.append(&INDEX_MAGIC.to_be_bytes())?;
        out.append(&[INDEX_VERSION])?;
        write_symbols(&mut out, &symbols)?;
        let series_start = out.position();
        Ok(IndexWriter {
            out,
            symbols,
            postings_per_pass,
            series: Vec::new(),
            name_uses: BTreeMap::new(),
            series_start,
            series_max_bytes: 0,
            entry: Vec::new(),
            chunk_metas: Vec::new(),
            last_chunk: None,
            scratch: Vec::new(),
        })
    }

    /// Changes nothing when it fails.
    pub(super) fn begin_series(&mut self, labels: &Labels) -> Result<(), WriteError> {
        self.entry.clear();
        self.chunk_metas.clear();
        self.last_chunk = None;
        put_uvarint(&mut self.entry, labels.len() as u64);
        for label in labels {
            let numbers = self.symbols.number(label.name).zip(self.symbols.number(label.value));
            let Some((name, value)) = numbers else {
                return Err(WriteError::UnknownSymbol { labels: labels.clone() });
            };
            put_uvarint(&mut self.entry, u64::from(name));
            put_uvarint(&mut self.entry, u64::from(value));
        }
        Ok(())
    }

    /// Adds a chunk, which follows the one before, to the series.
    pub(super) fn add_chunk(&mut self, mint: TimestampMs, maxt: TimestampMs, reference: u64) {
        let out = &mut self.chunk_metas;
        match self.last_chunk {
            None => put_varint(out, mint.0),
            Some((previous_maxt, _)) => put_uvarint(out, mint.0.wrapping_sub(previous_maxt.0).cast_unsigned()),
        }
        put_uvarint(out, maxt.0.wrapping_sub(mint.0).cast_unsigned());
        match self.last_chunk {
            None => put_uvarint(out, reference),
            Some((_, previous)) => put_varint(out, reference.wrapping_sub(previous).cast_signed()),
        }
        self.last_chunk = Some((maxt, reference));
    }

    pub(super) fn end_series(&mut self, chunk_count: usize) -> Result<(), WriteError> {
        put_uvarint(&mut self.entry, chunk_count as u64);
        self.entry.extend_from_slice(&self.chunk_metas);
        self.out.pad(SERIES_ALIGN)?;
        let reference = u32::try_from(self.out.position() / SERIES_ALIGN).map_err(|_| WriteError::IndexTooLarge)?;
        self.count_names();
        self.scratch.clear();
        put_uvarint(&mut self.scratch, self.entry.len() as u64);
        put_crc(&mut self.entry, 0);
        self.series_max_bytes = self.series_max_bytes.max((self.scratch.len() + self.entry.len()) as u64);
        self.out.append(&self.scratch)?;
        self.out.append(&self.entry)?;
        self.series.push(reference);
        Ok(())
    }

    fn count_names(&mut self) {
        let mut cursor = Cursor::new(&self.entry);
        let mut next = || u32::try_from(cursor.uvarint().expect("written just now")).expect("a symbol's number");
        for _ in 0..next() {
            let (name, _value) = (next(), next());
            *self.name_uses.entry(name).or_default() += 1;
        }
    }

    /// Writes postings, their table and the table of contents; makes the file durable.
    pub(super) fn finish(mut self, disk: &Arc<dyn Directory>) -> Result<Finished, WriteError> {
        let series_end = self.out.position();
        self.out.pad(4)?;
        let all = std::mem::take(&mut self.series);
        let mut lists = vec![ListOffset { label: None, offset: self.out.position() }];
        write_list(&mut self.out, &mut self.scratch, all.iter().copied())?;
        self.write_lists(disk, &all, series_end, &mut lists)?;
        let table_start = self.out.position();
        self.write_table(&lists)?;
        self.scratch.clear();
        // Label indices are not written since Prometheus 2.x: both their sections are empty.
        for offset in [INDEX_HEADER_BYTES, self.series_start, series_end, table_start, series_end, table_start] {
            self.scratch.extend_from_slice(&offset.to_be_bytes());
        }
        put_crc(&mut self.scratch, 0);
        self.out.append(&self.scratch)?;
        let bytes = self.out.finish()?;
        Ok(Finished { bytes, series_max_bytes: self.series_max_bytes })
    }

    /// The lists of all label pairs, as many names at a time as memory allows, from the series as they were written.
    fn write_lists(
        &mut self,
        disk: &Arc<dyn Directory>,
        all: &[u32],
        series_end: u64,
        lists: &mut Vec<ListOffset>,
    ) -> Result<(), WriteError> {
        self.out.flush()?;
        let path = self.out.path();
        let reader = disk.open(path).map_err(|source| WriteError::Io { path: path.to_owned(), source })?;
        let file = OpenFile::new(reader, BlockFile::Index, Checksums::Compared).map_err(WriteError::ReadBack)?;
        let room = self.postings_per_pass.max(all.len());
        let mut names = std::mem::take(&mut self.name_uses).into_iter().peekable();
        while let Some((first, mut taken)) = names.next() {
            let mut last = first;
            while let Some((name, uses)) = names.next_if(|(_, uses)| taken + uses <= room) {
                last = name;
                taken += uses;
            }
            let mut postings = Vec::with_capacity(taken);
            collect_postings(&file, all, series_end, first..=last, &mut postings).map_err(WriteError::ReadBack)?;
            postings.sort_unstable();
            for list in postings.chunk_by(|a, b| (a.name, a.value) == (b.name, b.value)) {
                self.out.pad(4)?;
                lists.push(ListOffset { label: Some((list[0].name, list[0].value)), offset: self.out.position() });
                write_list(&mut self.out, &mut self.scratch, list.iter().map(|p| p.series))?;
            }
        }
        Ok(())
    }

    /// The table of all lists, in order of names and values, which is the order of their symbols.
    fn write_table(&mut self, lists: &[ListOffset]) -> Result<(), WriteError> {
        let texts = self.symbols.texts();
        let text = |number: u32| texts.get(number as usize).expect("a number of our own");
        let put = |out: &mut Vec<u8>, list: &ListOffset| {
            let (name, value) = list.label.map_or(("", ""), |(name, value)| (text(name), text(value)));
            put_uvarint(out, 2);
            put_text(out, name);
            put_text(out, value);
            put_uvarint(out, list.offset);
        };
        let mut entry = Vec::new();
        let mut bytes = 4;
        for list in lists {
            entry.clear();
            put(&mut entry, list);
            bytes += entry.len();
        }
        let bytes = u32::try_from(bytes).map_err(|_| WriteError::IndexTooLarge)?;
        let count = u32::try_from(lists.len()).map_err(|_| WriteError::IndexTooLarge)?.to_be_bytes();
        self.out.append(&bytes.to_be_bytes())?;
        self.out.append(&count)?;
        let mut crc = crc32c::crc32c(&count);
        for list in lists {
            entry.clear();
            put(&mut entry, list);
            crc = crc32c::crc32c_append(crc, &entry);
            self.out.append(&entry)?;
        }
        self.out.append(&crc.to_be_bytes())
    }
}

/// That a series has a label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Posting {
    name: u32,
    value: u32,
    series: u32,
}

/// Reads the series and keeps the labels whose name's symbol is in `names`.
fn collect_postings(
    file: &OpenFile,
    all: &[u32],
    series_end: u64,
    names: std::ops::RangeInclusive<u32>,
    postings: &mut Vec<Posting>,
) -> Result<(), ReadError> {
    let Some(first) = all.first() else { return Ok(()) };
    let mut stream = Stream::new(file, u64::from(*first) * SERIES_ALIGN, series_end);
    for series in all {
        let offset = u64::from(*series) * SERIES_ALIGN;
        stream.skip_to(offset);
        let entry = stream.entry(|cursor| {
            let len = usize::try_from(cursor.uvarint()?).ok()?;
            cursor.take(len.checked_add(CRC_BYTES as usize)?).map(|_| ())
        })?;
        let mut cursor = Cursor::new(entry);
        let labels = (|| {
            cursor.uvarint()?;
            for _ in 0..cursor.uvarint()? {
                let name = u32::try_from(cursor.uvarint()?).ok()?;
                let value = u32::try_from(cursor.uvarint()?).ok()?;
                if names.contains(&name) {
                    postings.push(Posting { name, value, series: *series });
                }
            }
            Some(())
        })();
        labels.ok_or_else(|| file.corrupt(offset, Damage::Truncated))?;
    }
    Ok(())
}

fn write_symbols(out: &mut Output, symbols: &Symbols) -> Result<(), WriteError> {
    let texts = symbols.texts();
    let mut scratch = Vec::new();
    let mut length_bytes = |text: &str| {
        scratch.clear();
        put_uvarint(&mut scratch, text.len() as u64);
        (scratch.len() + text.len()) as u64
    };
    let bytes = 4 + texts.iter().map(&mut length_bytes).sum::<u64>();
    let bytes = u32::try_from(bytes).map_err(|_| WriteError::SymbolsTooLarge)?;
    let count = u32::try_from(texts.len()).map_err(|_| WriteError::SymbolsTooLarge)?.to_be_bytes();
    out.append(&bytes.to_be_bytes())?;
    out.append(&count)?;
    let mut crc = crc32c::crc32c(&count);
    let mut entry = Vec::new();
    for text in texts.iter() {
        entry.clear();
        put_text(&mut entry, text);
        crc = crc32c::crc32c_append(crc, &entry);
        out.append(&entry)?;
    }
    out.append(&crc.to_be_bytes())
}

fn write_list(
    out: &mut Output,
    scratch: &mut Vec<u8>,
    series: impl ExactSizeIterator<Item = u32>,
) -> Result<(), WriteError> {
    let bytes = u32::try_from(4 + 4 * series.len() as u64).map_err(|_| WriteError::IndexTooLarge)?;
    scratch.clear();
    scratch.extend_from_slice(&bytes.to_be_bytes());
    scratch.extend_from_slice(&((bytes - 4) / 4).to_be_bytes());
    series.for_each(|s| scratch.extend_from_slice(&s.to_be_bytes()));
    put_crc(scratch, 4);
    out.append(scratch)
}
