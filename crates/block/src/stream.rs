//! Reading a section of a file from front to back without holding it.

use bytes::Bytes;

use crate::cursor::Cursor;
use crate::source::OpenFile;
use crate::{Damage, ReadError};

/// Bytes read at once: enough that requests do not matter, little beside what is kept of a section.
const WINDOW_BYTES: u64 = 1 << 18;

/// A section read in windows, entry by entry.
pub(crate) struct Stream<'a> {
    file: &'a OpenFile,
    window: Bytes,
    /// Consumed bytes of the window.
    at: usize,
    /// Offset in the file behind the window.
    next: u64,
    end: u64,
    /// Of everything read into windows so far.
    crc: u32,
}

impl<'a> Stream<'a> {
    /// The bytes from `start` to `end` of `file`.
    pub(crate) fn new(file: &'a OpenFile, start: u64, end: u64) -> Stream<'a> {
        Stream { file, window: Bytes::new(), at: 0, next: start, end, crc: 0 }
    }

    /// Offset in the file of what comes next.
    pub(crate) fn offset(&self) -> u64 {
        self.next - (self.window.len() - self.at) as u64
    }

    /// Consumes the bytes that `parse` consumes and returns them. `parse` may run several times.
    pub(crate) fn entry(&mut self, parse: impl Fn(&mut Cursor<'_>) -> Option<()>) -> Result<&[u8], ReadError> {
        loop {
            let mut cursor = Cursor::new(&self.window[self.at..]);
            if parse(&mut cursor).is_some() {
                let end = self.window.len() - cursor.rest.len();
                let start = std::mem::replace(&mut self.at, end);
                return Ok(&self.window[start..end]);
            }
            if self.next == self.end {
                return Err(self.file.corrupt(self.offset(), Damage::Truncated));
            }
            self.enlarge()?;
        }
    }

    /// Whether everything was consumed.
    pub(crate) fn is_at_end(&self) -> bool {
        self.offset() == self.end
    }

    /// Goes on at `offset`, which is not behind the window; bytes in between may then not be under the checksum.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        let ahead = usize::try_from(offset - self.offset()).expect("within the window's distance");
        if self.at + ahead <= self.window.len() {
            self.at += ahead;
        } else {
            self.window = Bytes::new();
            self.at = 0;
            self.next = offset;
        }
    }

    /// The checksum of the whole section, which was consumed.
    pub(crate) fn into_crc(self) -> u32 {
        debug_assert!(self.is_at_end());
        self.crc
    }

    fn enlarge(&mut self) -> Result<(), ReadError> {
        let rest = self.window.slice(self.at..);
        let more = (self.end - self.next).min(WINDOW_BYTES.max(rest.len() as u64));
        let read = self.file.read(self.next, more)?;
        self.crc = crc32c::crc32c_append(self.crc, &read);
        self.next += more;
        self.at = 0;
        self.window = if rest.is_empty() { read } else { [rest, read].concat().into() };
        Ok(())
    }
}
