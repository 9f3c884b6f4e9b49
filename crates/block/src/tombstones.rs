//! The file `tombstones`: intervals that were deleted from series of an immutable block.

use std::collections::HashMap;
use std::io;

use crate::cursor::{Cursor, put_crc, split_crc};
use crate::read::SeriesRef;
use crate::source::{BlockSource, Checksums, OpenFile};
use crate::{BlockFile, Damage, ReadError};

const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;
/// Magic and version; the checksum covers what follows.
const HEADER_BYTES: usize = 5;

/// A deleted interval; both ends are deleted, as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// First deleted millisecond.
    pub mint: i64,
    /// Last deleted millisecond.
    pub maxt: i64,
}

impl Interval {
    pub(crate) fn contains(self, t: i64) -> bool {
        self.mint <= t && t <= self.maxt
    }
}

/// What was deleted, by series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones(HashMap<SeriesRef, Vec<Interval>>);

impl Tombstones {
    /// The deleted intervals of a series: sorted, neither overlapping nor touching.
    pub fn get(&self, series: SeriesRef) -> &[Interval] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the file; none is the same as an empty one.
    pub(crate) fn read(source: &dyn BlockSource, checksums: Checksums) -> Result<Tombstones, ReadError> {
        let file = match OpenFile::open(source, BlockFile::Tombstones, checksums) {
            Ok(file) => file,
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Tombstones::default());
            }
            Err(error) => return Err(error),
        };
        let bytes = file.read(0, file.len)?;
        let truncated = || file.corrupt(0, Damage::Truncated);
        let (body, crc) = split_crc(&bytes).ok_or_else(truncated)?;
        let magic = Cursor::new(body).be32().ok_or_else(truncated)?;
        if magic != MAGIC {
            return Err(file.corrupt(0, Damage::Magic(magic)));
        }
        let (header, stones) = body.split_at_checked(HEADER_BYTES).ok_or_else(truncated)?;
        if header[4] != VERSION {
            return Err(ReadError::UnknownVersion { file: BlockFile::Tombstones, version: u32::from(header[4]) });
        }
        file.check(0, crc, crc32c::crc32c(stones))?;
        Tombstones::decode(stones).map_err(|rest| file.corrupt((body.len() - rest) as u64, Damage::Truncated))
    }

    /// Fails with the number of bytes that are left.
    fn decode(stones: &[u8]) -> Result<Tombstones, usize> {
        let mut cursor = Cursor::new(stones);
        let mut by_series: HashMap<SeriesRef, Vec<Interval>> = HashMap::new();
        while !cursor.rest.is_empty() {
            let left = cursor.rest.len();
            let stone = cursor.uvarint().and_then(|series| Some((series, cursor.varint()?, cursor.varint()?)));
            let (series, mint, maxt) = stone.ok_or(left)?;
            // A reference of more than 32 bits is of no series of this block; Prometheus keeps it and never asks.
            if let (Ok(series), true) = (u32::try_from(series), mint <= maxt) {
                by_series.entry(SeriesRef(series)).or_default().push(Interval { mint, maxt });
            }
        }
        by_series.values_mut().for_each(merge);
        Ok(Tombstones(by_series))
    }
}

/// Sorts intervals and joins those that overlap or touch.
fn merge(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable();
    intervals.dedup_by(|next, kept| {
        let joins = next.mint <= kept.maxt.saturating_add(1);
        if joins {
            kept.maxt = kept.maxt.max(next.maxt);
        }
        joins
    });
}

/// The bytes of a file with these intervals.
pub(crate) fn encode(stones: &[(SeriesRef, Interval)]) -> Vec<u8> {
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.push(VERSION);
    for (series, interval) in stones {
        crate::cursor::put_uvarint(&mut out, u64::from(series.0));
        crate::cursor::put_varint(&mut out, interval.mint);
        crate::cursor::put_varint(&mut out, interval.maxt);
    }
    put_crc(&mut out, HEADER_BYTES);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_joined_by_series() {
        let stone = |series, mint, maxt| (SeriesRef(series), Interval { mint, maxt });
        let bytes = encode(&[stone(7, 10, 20), stone(9, -5, 5), stone(7, 40, 50), stone(7, 21, 30), stone(7, 45, 60)]);
        let tombstones = Tombstones::decode(&bytes[HEADER_BYTES..bytes.len() - 4]).unwrap();
        assert_eq!(tombstones.get(SeriesRef(7)), [Interval { mint: 10, maxt: 30 }, Interval { mint: 40, maxt: 60 }]);
        assert_eq!(tombstones.get(SeriesRef(9)), [Interval { mint: -5, maxt: 5 }]);
        assert_eq!(tombstones.get(SeriesRef(8)), []);
    }

    #[test]
    fn the_empty_file_is_the_one_that_prometheus_writes() {
        assert_eq!(encode(&[]), [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]);
    }
}
