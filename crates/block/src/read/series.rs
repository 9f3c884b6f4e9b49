//! Entries of series in the index: labels as symbols, then where the chunks are.

use bytes::Bytes;
use model::{Labels, Matcher, TimestampMs};

use super::{Block, ChunkMeta, SeriesRef};
use crate::cursor::{Cursor, split_crc};
use crate::source::OpenFile;
use crate::symbols::Texts;
use crate::{CRC_BYTES, Damage, ReadError, SERIES_ALIGN};

/// The entry of a series, checked against its checksum.
pub(super) struct SeriesEntry<'a> {
    block: &'a Block,
    offset: u64,
    body: &'a [u8],
}

impl Block {
    /// Visits the entries of `series`, which are sorted.
    pub(super) fn visit_series(
        &self,
        series: &[u32],
        visit: &mut dyn FnMut(SeriesRef, SeriesEntry<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let offset_of = |series: u32| u64::from(series) * SERIES_ALIGN;
        let mut rest = series;
        while let Some(first) = rest.first() {
            let start = offset_of(*first);
            let near = rest.windows(2).take_while(|pair| {
                let near = offset_of(pair[1]) - offset_of(pair[0]) <= self.reach.gap_bytes;
                near && offset_of(pair[1]) - start <= self.reach.series_bytes
            });
            let together = 1 + near.count();
            let last = offset_of(rest[together - 1]);
            if start < self.toc.series || last >= self.toc.series_end {
                return Err(self.index.corrupt(last, Damage::SeriesRef));
            }
            let window =
                self.index.read(start, (last + self.reach.last_series_bytes).min(self.toc.series_end) - start)?;
            for series in &rest[..together] {
                let offset = offset_of(*series);
                let at = usize::try_from(offset - start).expect("within a window");
                match entry_body(&self.index, offset, &window[at..])? {
                    Some(body) => visit(SeriesRef(*series), SeriesEntry { block: self, offset, body })?,
                    None => {
                        let bytes = self.read_long_entry(offset)?;
                        let body = entry_body(&self.index, offset, &bytes)?
                            .ok_or_else(|| self.index.corrupt(offset, Damage::Truncated))?;
                        visit(SeriesRef(*series), SeriesEntry { block: self, offset, body })?;
                    }
                }
            }
            rest = &rest[together..];
        }
        Ok(())
    }

    /// Labels and chunks of one series.
    pub fn series(&self, series: SeriesRef) -> Result<(Labels, Vec<ChunkMeta>), ReadError> {
        let mut found = None;
        self.visit_series(&[series.0], &mut |_, entry| {
            found = Some((entry.labels()?, entry.chunks()?));
            Ok(())
        })?;
        Ok(found.expect("visited once, or failed"))
    }

    /// An entry that does not fit into a window.
    fn read_long_entry(&self, offset: u64) -> Result<Bytes, ReadError> {
        let limit = self.toc.series_end - offset;
        let head = self.index.read(offset, limit.min(10))?;
        let mut cursor = Cursor::new(&head);
        let len = cursor.uvarint().ok_or_else(|| self.index.corrupt(offset, Damage::Truncated))?;
        let prefix = (head.len() - cursor.rest.len()) as u64;
        let whole = len.checked_add(prefix + CRC_BYTES).filter(|whole| *whole <= limit);
        self.index.read(offset, whole.ok_or_else(|| self.index.corrupt(offset, Damage::Truncated))?)
    }
}

/// The content of the entry that begins `bytes`; `None` where they end too early.
fn entry_body<'a>(index: &OpenFile, offset: u64, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, ReadError> {
    let mut cursor = Cursor::new(bytes);
    let Some(len) = cursor.uvarint() else { return Ok(None) };
    let whole = usize::try_from(len).ok().and_then(|len| len.checked_add(CRC_BYTES as usize));
    let Some(entry) = whole.and_then(|whole| cursor.take(whole)) else { return Ok(None) };
    let (body, crc) = split_crc(entry).expect("longer than a checksum");
    index.check(offset, crc, crc32c::crc32c(body))?;
    Ok(Some(body))
}

impl SeriesEntry<'_> {
    /// Visits the pairs of symbols' numbers and returns what follows them.
    fn pairs(&self, visit: &mut dyn FnMut(u64, u64) -> Result<(), ReadError>) -> Result<Cursor<'_>, ReadError> {
        let truncated = || self.corrupt(Damage::Truncated);
        let mut cursor = Cursor::new(self.body);
        let count = cursor.uvarint().ok_or_else(truncated)?;
        for _ in 0..count {
            let name = cursor.uvarint().ok_or_else(truncated)?;
            visit(name, cursor.uvarint().ok_or_else(truncated)?)?;
        }
        Ok(cursor)
    }

    /// Visits the numbers of the names' symbols.
    pub(super) fn names(&self, visit: &mut dyn FnMut(u64)) -> Result<(), ReadError> {
        self.pairs(&mut |name, _| {
            visit(name);
            Ok(())
        })
        .map(drop)
    }

    pub(super) fn labels(&self) -> Result<Labels, ReadError> {
        let mut pairs = Vec::with_capacity(16);
        self.pairs(&mut |name, value| {
            pairs.push((self.symbol(name)?, self.symbol(value)?));
            Ok(())
        })?;
        Labels::from_pairs(pairs).ok_or_else(|| self.corrupt(Damage::Labels))
    }

    /// The value of a label; empty where it is absent.
    pub(super) fn value(&self, wanted: &str) -> Result<&str, ReadError> {
        let mut found = "";
        self.pairs(&mut |name, value| {
            if self.symbol(name)? == wanted {
                found = self.symbol(value)?;
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether all matchers are satisfied.
    pub(super) fn matches(&self, matchers: &[&Matcher]) -> Result<bool, ReadError> {
        for matcher in matchers {
            if !matcher.matches(self.value(matcher.name())?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The chunks, sorted by their start.
    pub(super) fn chunks(&self) -> Result<Vec<ChunkMeta>, ReadError> {
        let truncated = || self.corrupt(Damage::Truncated);
        let mut cursor = self.pairs(&mut |_, _| Ok(()))?;
        let count = cursor.uvarint().ok_or_else(truncated)?;
        let mut chunks: Vec<ChunkMeta> = Vec::new();
        for _ in 0..count {
            let chunk = next_chunk(&mut cursor, chunks.last()).ok_or_else(truncated)?;
            if chunk.maxt < chunk.mint {
                return Err(self.corrupt(Damage::ChunkTimes));
            }
            chunks.push(chunk);
        }
        if !chunks.is_sorted_by_key(|chunk| chunk.mint) {
            chunks.sort_by_key(|chunk| chunk.mint);
        }
        Ok(chunks)
    }

    fn symbol(&self, number: u64) -> Result<&str, ReadError> {
        symbol(&self.block.symbols, number).ok_or_else(|| self.corrupt(Damage::Symbol(number)))
    }

    fn corrupt(&self, damage: Damage) -> ReadError {
        self.block.index.corrupt(self.offset, damage)
    }
}

fn symbol(symbols: &Texts, number: u64) -> Option<&str> {
    symbols.get(usize::try_from(number).ok()?)
}

/// Differences wrap around, as in Go: chunks that overlap the one before come as large ones.
fn next_chunk(cursor: &mut Cursor<'_>, last: Option<&ChunkMeta>) -> Option<ChunkMeta> {
    let mint = match last {
        None => cursor.varint()?,
        Some(last) => last.maxt.0.wrapping_add(cursor.uvarint()?.cast_signed()),
    };
    let maxt = mint.wrapping_add(cursor.uvarint()?.cast_signed());
    let reference = match last {
        None => cursor.uvarint()?,
        Some(last) => last.reference.wrapping_add(cursor.varint()?.cast_unsigned()),
    };
    Some(ChunkMeta { mint: TimestampMs(mint), maxt: TimestampMs(maxt), reference })
}
