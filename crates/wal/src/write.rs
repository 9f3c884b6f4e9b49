//! Appending to a log, syncing it, truncating it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, File};

use crate::{
    Error, Event, Limits, MAGIC, PAYLOAD_BYTES_MAX, Position, RECORD_HEADER_BYTES, Reader, checksum, segment_first,
    segment_path,
};

/// The writing end of a log; one owner.
pub struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limits: Limits,
    /// First positions of all segments, oldest first; the last is open.
    segments: Vec<Position>,
    /// Bytes of the segments but the open one.
    closed_bytes: BTreeMap<Position, u64>,
    file: Arc<dyn File>,
    /// Bytes of the open segment that are written; more where it is closed.
    written: u64,
    /// Records that are not written yet.
    buffer: Vec<u8>,
    /// Number of records in `buffer`.
    buffered: u64,
    /// Position of the last record appended, written or not.
    last: Position,
    durable: Position,
    poisoned: bool,
}

impl Log {
    /// Opens the log of `folder` for appending behind its last good record. `replay` is given everything from `from` on, in
    /// order; torn bytes at the end are cut off.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        limits: Limits,
        from: Position,
        mut replay: impl FnMut(Event),
    ) -> Result<Log, Error> {
        disk.create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut reader = Reader::open(disk.clone(), folder, from)?;
        while let Some(event) = reader.next_event()? {
            replay(event);
        }
        let last = reader.next_position() - 1;
        let segments: Vec<Position> =
            disk.list(folder).map_err(Error::io("list", folder))?.iter().filter_map(|p| segment_first(p)).collect();
        // Where all records of a damaged segment lie before its name they are none of this log: it is begun anew.
        let is_foreign = reader.tail_is_damaged() && segments.last().is_some_and(|first| *first > last);
        let mut log = match reader.tail() {
            Some((path, end)) if *end >= MAGIC.len() as u64 && !is_foreign => {
                let file = disk.open(path).map_err(Error::io("open", path))?;
                file.set_len(*end).map_err(Error::io("cut", path))?;
                // What was read may still sit in the page cache only (after a kill): it is acted upon now.
                file.sync().map_err(Error::io("sync", path))?;
                disk.sync_dir(folder).map_err(Error::io("sync", folder))?;
                // Bad bytes may look like the start of a record that reaches into what is appended behind them; so the
                // next record begins a segment.
                let written = if reader.tail_is_damaged() { limits.segment_bytes.max(*end) } else { *end };
                Log::new(disk, folder, limits, segments, file, written, last)
            }
            _ => {
                let (file, written) = create_segment(&*disk, folder, last + 1)?;
                let mut segments = segments;
                segments.retain(|s| *s != last + 1);
                segments.push(last + 1);
                Log::new(disk, folder, limits, segments, file, written, last)
            }
        };
        log.durable = last;
        log.closed_bytes = log.measure_closed()?;
        Ok(log)
    }

    fn new(
        disk: Arc<dyn Disk>,
        folder: &Path,
        limits: Limits,
        segments: Vec<Position>,
        file: Arc<dyn File>,
        written: u64,
        last: Position,
    ) -> Log {
        Log {
            disk,
            folder: folder.to_owned(),
            limits,
            segments,
            closed_bytes: BTreeMap::new(),
            file,
            written,
            buffer: Vec::new(),
            buffered: 0,
            last,
            durable: 0,
            poisoned: false,
        }
    }

    /// Position of the last record appended.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Position up to which records survive power loss.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Oldest position that can still be read.
    pub fn first(&self) -> Position {
        self.segments.first().copied().unwrap_or(1)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes.values().sum::<u64>() + self.written
    }

    /// Whether a sync has failed, so that nothing is taken until the log is opened anew.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Bytes not yet written.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends a record, whose payload is given in two parts, to the buffer; it is neither written nor durable yet.
    pub fn append(&mut self, front: &[u8], rest: &[u8]) -> Position {
        let payload_bytes = front.len() + rest.len();
        assert!(payload_bytes <= PAYLOAD_BYTES_MAX, "a payload of {payload_bytes} bytes");
        self.last += 1;
        self.buffered += 1;
        let len = u32::try_from(payload_bytes).expect("PAYLOAD_BYTES_MAX fits");
        let crc = crc32c::crc32c_append(checksum(self.last, front), rest);
        self.buffer.reserve(RECORD_HEADER_BYTES + payload_bytes);
        self.buffer.extend_from_slice(&len.to_le_bytes());
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        self.buffer.extend_from_slice(&self.last.to_le_bytes());
        self.buffer.extend_from_slice(front);
        self.buffer.extend_from_slice(rest);
        self.last
    }

    /// Writes the buffer to the file. On an error (a full disk) all records since the last `write` are taken back, as if they
    /// had never been appended.
    pub fn write(&mut self) -> Result<(), Error> {
        if self.poisoned {
            self.take_back();
            return Err(Error::Poisoned);
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.written >= self.limits.segment_bytes {
            // The closed segment is synced before the next is begun, so only the last one can be torn.
            let first = self.last - self.buffered + 1;
            if let Err(e) = self.sync().and_then(|_| self.begin_segment(first)) {
                self.take_back();
                return Err(e);
            }
        }
        if let Err(source) = self.file.write_at(&self.buffer, self.written) {
            self.take_back();
            // Half a record may lie there; the next write starts at the same place and a reader stops before it.
            return Err(Error::Io { action: "write", path: self.segment(), source });
        }
        self.written += self.buffer.len() as u64;
        self.clear_buffer();
        Ok(())
    }

    /// Makes all that was written durable.
    pub fn sync(&mut self) -> Result<Position, Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        let written = self.last - self.buffered;
        if written > self.durable {
            if let Err(source) = self.file.sync() {
                self.poisoned = true;
                return Err(Error::Io { action: "sync", path: self.segment(), source });
            }
            self.durable = written;
        }
        Ok(self.durable)
    }

    /// Deletes segments whose records all lie before `position`.
    pub fn truncate_before(&mut self, position: Position) -> Result<(), Error> {
        let mut removed = false;
        while self.segments.len() > 1 && self.segments[1] <= position {
            let path = segment_path(&self.folder, self.segments[0]);
            self.disk.remove(&path).map_err(Error::io("remove", &path))?;
            let first = self.segments.remove(0);
            self.closed_bytes.remove(&first);
            removed = true;
        }
        if removed {
            self.disk.sync_dir(&self.folder).map_err(Error::io("sync", &self.folder))?;
        }
        Ok(())
    }

    fn measure_closed(&self) -> Result<BTreeMap<Position, u64>, Error> {
        let (_, closed) = self.segments.split_last().unwrap_or((&0, &[]));
        let measure = |first: &Position| {
            let path = segment_path(&self.folder, *first);
            let len = self.disk.open(&path).and_then(|file| file.len()).map_err(Error::io("measure", &path))?;
            Ok((*first, len))
        };
        closed.iter().map(measure).collect()
    }

    fn begin_segment(&mut self, first: Position) -> Result<(), Error> {
        let (file, written) = create_segment(&*self.disk, &self.folder, first)?;
        self.closed_bytes.extend(self.segments.last().map(|closed| (*closed, self.written)));
        self.file = file;
        self.written = written;
        self.segments.push(first);
        Ok(())
    }

    fn segment(&self) -> PathBuf {
        segment_path(&self.folder, self.segments.last().copied().unwrap_or(1))
    }

    fn take_back(&mut self) {
        self.last -= self.buffered;
        self.clear_buffer();
    }

    fn clear_buffer(&mut self) {
        self.buffered = 0;
        self.buffer.clear();
        // A burst must not stay in memory for ever.
        self.buffer.shrink_to(4 << 20);
    }
}

fn create_segment(disk: &dyn Disk, folder: &Path, first: Position) -> Result<(Arc<dyn File>, u64), Error> {
    let path = segment_path(folder, first);
    let file = disk.create(&path).map_err(Error::io("create", &path))?;
    file.write_at(MAGIC, 0).map_err(Error::io("write", &path))?;
    file.sync().map_err(Error::io("sync", &path))?;
    disk.sync_dir(folder).map_err(Error::io("sync", folder))?;
    Ok((file, MAGIC.len() as u64))
}
