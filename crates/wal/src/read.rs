//! Reading a log from a position on, past damage.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use disk::{Disk, File};

use crate::{Error, MAGIC, PAYLOAD_BYTES_MAX, POSITION_MAX, Position, RECORD_HEADER_BYTES, checksum, segment_first};

/// What a reader meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record.
    Record {
        /// Its number.
        position: Position,
        /// Its payload.
        payload: Bytes,
    },
    /// Records that are gone while later ones are there; they may have been acknowledged.
    Damage {
        /// First position lost.
        first: Position,
        /// Last position lost.
        last: Position,
        /// Bytes passed over.
        bytes: u64,
    },
    /// Bytes at the end that form no record. Nothing in them was acknowledged, unless the file was damaged by more than a crash.
    TornTail {
        /// Bytes dropped.
        bytes: u64,
    },
}

/// Reads records in order. Holds one segment in memory.
pub struct Reader {
    disk: Arc<dyn Disk>,
    segments: VecDeque<PathBuf>,
    segment: Bytes,
    /// Place in `segment`.
    at: usize,
    /// The next position to give.
    next: Position,
    /// Bad bytes at the ends of older segments, of which no loss has told yet.
    unclaimed: u64,
    pending: Option<Event>,
    /// Where the good bytes of the last segment end.
    tail: Option<(PathBuf, u64)>,
    /// Whether bad bytes lie before that end.
    tail_is_damaged: bool,
}

impl Reader {
    /// Reads `folder` from `first` on. Positions before the oldest segment are passed over: they were truncated.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path, first: Position) -> Result<Reader, Error> {
        let mut segments: VecDeque<PathBuf> = disk
            .list(folder)
            .map_err(Error::io("list", folder))?
            .into_iter()
            .filter(|p| segment_first(p).is_some())
            .collect();
        let holds_first = |next: &PathBuf| segment_first(next).is_some_and(|f| f <= first);
        while segments.get(1).is_some_and(holds_first) {
            segments.pop_front();
        }
        let mut reader = Reader {
            disk,
            segments,
            segment: Bytes::new(),
            at: 0,
            next: first.max(1),
            unclaimed: 0,
            pending: None,
            tail: None,
            tail_is_damaged: false,
        };
        if let Some(oldest) = reader.segments.front().and_then(|p| segment_first(p)) {
            reader.next = reader.next.max(oldest);
        }
        Ok(reader)
    }

    /// The position after the last record given.
    pub fn next_position(&self) -> Position {
        self.next
    }

    /// The last segment and where its good bytes end; known when [`Reader::next_event`] has given `None`.
    pub(crate) fn tail(&self) -> Option<&(PathBuf, u64)> {
        self.tail.as_ref()
    }

    /// Whether bad bytes lie among the good ones of the last segment.
    pub(crate) fn tail_is_damaged(&self) -> bool {
        self.tail_is_damaged
    }

    /// The next thing met; `None` at the end.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        if let Some(event) = self.pending.take() {
            return Ok(Some(event));
        }
        loop {
            if self.at < self.segment.len() {
                match self.step() {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            let Some(path) = self.segments.pop_front() else { return Ok(None) };
            self.load(&path)?;
            // A segment is begun when all records before its name are durable. So where it comes too early they are lost,
            // even if it holds nothing, and their positions are not given again.
            let first = segment_first(&path).unwrap_or(0);
            if first > self.next {
                return Ok(Some(self.lost_before(first, 0)));
            }
        }
    }

    fn lost_before(&mut self, position: Position, skipped: u64) -> Event {
        let first = std::mem::replace(&mut self.next, position);
        Event::Damage { first, last: position - 1, bytes: skipped + std::mem::take(&mut self.unclaimed) }
    }

    fn load(&mut self, path: &Path) -> Result<(), Error> {
        let file: Arc<dyn File> = self.disk.open(path).map_err(Error::io("open", path))?;
        let len = file.len().map_err(Error::io("measure", path))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.segment = file.bytes(0, len).map_err(Error::io("read", path))?;
        let good_magic = self.segment.starts_with(MAGIC);
        self.at = if good_magic { MAGIC.len() } else { 0 };
        self.tail = Some((path.to_owned(), self.at as u64));
        self.tail_is_damaged = false;
        Ok(())
    }

    /// The record at `at`, if one is there.
    fn record_at(&self, at: usize) -> Option<(Position, Bytes)> {
        let header = self.segment.get(at..at + RECORD_HEADER_BYTES)?;
        let u32_at = |i: usize| u32::from_le_bytes(header[i..i + 4].try_into().expect("4 bytes"));
        let u64_at = |i: usize| u64::from_le_bytes(header[i..i + 8].try_into().expect("8 bytes"));
        let len = usize::try_from(u32_at(0)).ok().filter(|n| *n <= PAYLOAD_BYTES_MAX)?;
        let position = u64_at(8);
        let start = at + RECORD_HEADER_BYTES;
        let payload = self.segment.get(start..start + len)?;
        // A run of zeros is no record: its checksum would have to be that of position 0.
        let good = (1..=POSITION_MAX).contains(&position) && checksum(position, payload) == u32_at(4);
        good.then(|| (position, self.segment.slice(start..start + len)))
    }

    /// Advances by a record or a stretch of damage; `None` where the record lies before the first position wanted.
    fn step(&mut self) -> Option<Event> {
        if let Some((position, payload)) = self.record_at(self.at) {
            self.at += RECORD_HEADER_BYTES + payload.len();
            return self.take(position, payload, 0);
        }
        let from = self.at;
        let later = (from + 1..self.segment.len()).find_map(|at| self.record_at(at).map(|r| (at, r)));
        match later {
            Some((at, (position, payload))) => {
                self.at = at + RECORD_HEADER_BYTES + payload.len();
                self.tail_is_damaged = true;
                self.take(position, payload, (at - from) as u64)
            }
            None => {
                let bytes = (self.segment.len() - from) as u64;
                self.at = self.segment.len();
                if self.segments.is_empty() {
                    return Some(Event::TornTail { bytes });
                }
                // The rest of an older segment: the next segment tells how much is lost.
                self.unclaimed += bytes;
                None
            }
        }
    }

    fn take(&mut self, position: Position, payload: Bytes, skipped: u64) -> Option<Event> {
        if let Some((_, end)) = &mut self.tail {
            *end = self.at as u64;
        }
        if position < self.next {
            return None;
        }
        let lost = (self.next < position).then(|| self.lost_before(position, skipped));
        self.next = position + 1;
        let record = Event::Record { position, payload };
        if lost.is_some() {
            self.pending = Some(record);
            return lost;
        }
        Some(record)
    }
}
