//! Reading single records of a log that is being written, by position.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use disk::{Disk, File};

use crate::{Error, MAGIC, PAYLOAD_BYTES_MAX, Position, RECORD_HEADER_BYTES, checksum, segment_first, segment_path};

/// Bytes read at once while headers are walked.
const WINDOW_BYTES: usize = 64 << 10;
/// A place in a segment is remembered about so often.
const MARK_BYTES: u64 = 64 << 10;

/// Finds records by position. Reads headers from the nearest place that it remembers, a thousand places per segment at most.
pub struct Lookup {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// By first position of a segment: positions, and where their records begin.
    marks: BTreeMap<Position, Vec<(Position, u64)>>,
}

/// A segment that is being read.
struct Segment {
    first: Position,
    file: Arc<dyn File>,
    path: PathBuf,
    len: u64,
    window: Bytes,
    window_at: u64,
}

impl Lookup {
    /// Over the log of `folder`.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path) -> Lookup {
        Lookup { disk, folder: folder.to_owned(), marks: BTreeMap::new() }
    }

    /// Payloads of the records at `positions` (ascending): of the first ones, up to one that is not there, or until `bytes_max`
    /// would be passed. One is given however long it is. Positions that are not written yet are not there.
    pub fn read(&mut self, positions: &[Position], bytes_max: usize) -> Result<Vec<Bytes>, Error> {
        let listed = self.disk.list(&self.folder).map_err(Error::io("list", &self.folder))?;
        let segments: Vec<Position> = listed.iter().filter_map(|path| segment_first(path)).collect();
        self.marks.retain(|first, _| segments.contains(first));
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut open: Option<Segment> = None;
        for position in positions {
            let at = segments.partition_point(|first| first <= position);
            let Some(first) = at.checked_sub(1).map(|at| segments[at]) else { break };
            if open.as_ref().is_none_or(|segment| segment.first != first) {
                open = self.open(first)?;
            }
            let Some(segment) = &mut open else { break };
            let marks = self.marks.entry(first).or_default();
            let Some(payload) = segment.find(*position, marks)? else { break };
            if !found.is_empty() && bytes + payload.len() > bytes_max {
                break;
            }
            bytes += payload.len();
            found.push(payload);
        }
        Ok(found)
    }

    /// `None` where it was deleted meanwhile.
    fn open(&self, first: Position) -> Result<Option<Segment>, Error> {
        let path = segment_path(&self.folder, first);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let len = file.len().map_err(Error::io("measure", &path))?;
        Ok(Some(Segment { first, file, path, len, window: Bytes::new(), window_at: 0 }))
    }
}

impl Segment {
    /// The payload of the record, walking on from the nearest mark.
    fn find(&mut self, wanted: Position, marks: &mut Vec<(Position, u64)>) -> Result<Option<Bytes>, Error> {
        let at = marks.partition_point(|(position, _)| *position <= wanted);
        let (_, mut offset) = at.checked_sub(1).map_or((self.first, MAGIC.len() as u64), |at| marks[at]);
        while let Some((position, crc, len)) = self.header(offset)? {
            if position > wanted {
                return Ok(None);
            }
            let is_far = marks.last().is_none_or(|(last, mark)| *last < position && mark + MARK_BYTES <= offset);
            if is_far {
                marks.push((position, offset));
            }
            let start = offset + RECORD_HEADER_BYTES as u64;
            offset = start + len as u64;
            if position == wanted && offset <= self.len {
                let payload = self.file.bytes(start, len).map_err(Error::io("read", &self.path))?;
                return Ok((checksum(position, &payload) == crc).then_some(payload));
            }
        }
        Ok(None)
    }

    /// Position, checksum and length of payload of the record that begins here; `None` at the end, and where no header is.
    fn header(&mut self, offset: u64) -> Result<Option<(Position, u32, usize)>, Error> {
        let end = offset + RECORD_HEADER_BYTES as u64;
        if end > self.len {
            return Ok(None);
        }
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let len = usize::try_from(self.len - offset).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.window = self.file.bytes(offset, len).map_err(Error::io("read", &self.path))?;
            self.window_at = offset;
        }
        let at = usize::try_from(offset - self.window_at).expect("a window is small");
        let header = &self.window[at..at + RECORD_HEADER_BYTES];
        let u32_at = |i: usize| u32::from_le_bytes(header[i..i + 4].try_into().expect("4 bytes"));
        let position = u64::from_le_bytes(header[8..16].try_into().expect("8 bytes"));
        let len = usize::try_from(u32_at(0)).ok().filter(|len| *len <= PAYLOAD_BYTES_MAX);
        Ok(len.map(|len| (position, u32_at(4), len)))
    }
}

#[cfg(test)]
mod tests {
    use disk::SimDisk;

    use super::*;
    use crate::{Limits, Log};

    fn log(disk: &SimDisk, segment_bytes: u64) -> Log {
        Log::open(Arc::new(disk.clone()), Path::new("/log"), Limits { segment_bytes }, 1, drop).unwrap()
    }

    fn text(position: Position) -> String {
        format!("record {position} {}", "x".repeat(usize::try_from(position * 37 % 3000).unwrap()))
    }

    #[test]
    fn records_are_found_wherever_they_lie() {
        let disk = SimDisk::new();
        let mut log = log(&disk, 200_000);
        let mut lookup = Lookup::new(Arc::new(disk.clone()), Path::new("/log"));
        for position in 1..=1000 {
            assert_eq!(log.append(b"", text(position).as_bytes()), position);
            log.write().unwrap();
        }
        for step in [1, 2, 7, 300, 999] {
            let positions: Vec<Position> = (1..=1000).step_by(step).collect();
            let found = lookup.read(&positions, usize::MAX).unwrap();
            assert_eq!(found.len(), positions.len());
            for (position, payload) in positions.iter().zip(found) {
                assert_eq!(payload, text(*position));
            }
        }
        assert!(lookup.marks.len() > 3 && lookup.marks.values().all(|marks| marks.len() <= 5), "{:?}", lookup.marks);
        assert_eq!(lookup.read(&[1000, 1001, 5], usize::MAX).unwrap(), [text(1000)], "up to what is not there");
        assert_eq!(lookup.read(&[300, 301, 302], 1).unwrap(), [text(300)], "one however long");
        log.truncate_before(500).unwrap();
        assert!(lookup.read(&[1, 600], usize::MAX).unwrap().is_empty(), "truncated");
        assert_eq!(lookup.read(&[600], usize::MAX).unwrap(), [text(600)]);
    }

    #[test]
    fn a_damaged_record_is_not_there() {
        let disk = SimDisk::new();
        let mut log = log(&disk, 1 << 20);
        for position in 1..=3 {
            assert_eq!(log.append(b"", text(position).as_bytes()), position);
        }
        log.write().unwrap();
        let file = disk.open(&segment_path(Path::new("/log"), 1)).unwrap();
        let second = (MAGIC.len() + RECORD_HEADER_BYTES + text(1).len() + RECORD_HEADER_BYTES) as u64;
        file.write_at(b"R", second).unwrap();
        let mut lookup = Lookup::new(Arc::new(disk), Path::new("/log"));
        assert_eq!(lookup.read(&[1, 2, 3], usize::MAX).unwrap(), [text(1)]);
        assert_eq!(lookup.read(&[3], usize::MAX).unwrap(), [text(3)]);
    }
}
