//! Entry points for fuzzing: segments as a crash, a bad disk or another program left them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, SimDisk};

use crate::{Event, Limits, Log, MAGIC, POSITION_MAX, RECORD_HEADER_BYTES, checksum, segment_path};

/// Segments, each beginning with the magic (bytes before the first one are a segment too), as they are and with all checksums
/// set right: what lies behind checksums must not panic either.
pub fn fuzz_segments(bytes: &[u8]) {
    let mut starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(MAGIC)).take(8).collect();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    let segments: Vec<Vec<u8>> = starts.iter().zip(ends).map(|(start, end)| bytes[*start..end].to_vec()).collect();
    recover(&segments);
    recover(&segments.into_iter().map(sealed).collect::<Vec<_>>());
}

/// The segment with the checksums that its records should have.
fn sealed(mut segment: Vec<u8>) -> Vec<u8> {
    let mut at = MAGIC.len();
    while let Some(header) = segment.get(at..at + RECORD_HEADER_BYTES) {
        let len = u32::from_le_bytes(header[..4].try_into().expect("4 bytes")) as usize;
        let position = u64::from_le_bytes(header[8..].try_into().expect("8 bytes"));
        let start = at + RECORD_HEADER_BYTES;
        let Some(payload) = segment.get(start..start + len) else { break };
        let crc = checksum(position, payload);
        segment[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at = start + len;
    }
    segment
}

fn recover(segments: &[Vec<u8>]) {
    let (disk, folder) = (SimDisk::new(), Path::new("/log"));
    for (i, segment) in segments.iter().enumerate() {
        let file = disk.create(&path(folder, i, segment)).expect("a new disk has room");
        file.write_at(segment, 0).expect("a new disk has room");
    }
    let (mut log, records) = open(&disk, folder, "as it was found");
    if log.last() == POSITION_MAX {
        return;
    }
    let position = log.append(b"one", b" more");
    log.write().expect("the disk works");
    log.sync().expect("the disk works");
    drop(log);
    let (log, again) = open(&disk, folder, "after a recovery");
    assert_eq!(log.last(), position, "a record that was synced is there");
    assert_eq!(again.len(), records.len() + 1, "a recovery loses nothing that it gave");
    assert!(again.starts_with(&records), "a recovery loses nothing that it gave");
}

/// Named by its first record, as the log does.
fn path(folder: &Path, i: usize, segment: &[u8]) -> PathBuf {
    let first = segment.get(MAGIC.len() + 8..MAGIC.len() + 16).filter(|_| segment.starts_with(MAGIC));
    let first = first.map_or(i as u64, |b| u64::from_le_bytes(b.try_into().expect("8 bytes")));
    segment_path(folder, first)
}

fn open(disk: &SimDisk, folder: &Path, when: &str) -> (Log, Vec<(u64, Vec<u8>)>) {
    let (mut records, mut next) = (Vec::new(), 0);
    let log = Log::open(Arc::new(disk.clone()), folder, Limits::default(), 1, |event| match event {
        Event::Record { position, payload } => {
            assert!(position >= next, "{when}: positions go up");
            next = position + 1;
            records.push((position, payload.to_vec()));
        }
        Event::Damage { first, last, .. } => {
            assert!(next <= first && first <= last, "{when}: positions go up");
            next = last + 1;
        }
        Event::TornTail { bytes } => assert!(bytes > 0, "{when}: a torn tail has bytes"),
    });
    (log.expect("the disk works"), records)
}
