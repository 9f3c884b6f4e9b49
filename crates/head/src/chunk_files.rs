//! Sealed chunks of all heads of a node, in memory-mapped files.
//!
//! ```text
//! file   = record*                                    `chunks/NNNNNNNN`, 64 MiB, zeros behind the last record
//! record = len u32 · crc32c u32 · encoding u8 · data   (little-endian; the checksum covers encoding and data)
//! ```
//!
//! Nothing here is needed to survive a crash: what a snapshot does not refer to, the log brings back. A snapshot syncs the files
//! first. Files go when all their chunks are older than what any kept snapshot refers to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use disk::{Disk, File};
use model::TimestampMs;
use parking_lot::Mutex;
use storage::ChunkEncoding;

use crate::Error;

/// Length of a file: address space, not disk space, which is taken as it is written.
const FILE_BYTES: u64 = 64 << 20;
/// Written to the file when so much has gathered: 200,000 chunks are sealed within seconds at each half hour.
const BUFFER_BYTES: usize = 256 << 10;
const RECORD_HEADER_BYTES: usize = 9;
/// Bounds what a damaged length can make us read. A chunk of 120 samples is at most 2.5 KiB.
const DATA_BYTES_MAX: usize = 1 << 20;

/// Where a sealed chunk lies, and when: 16 bytes, of which every series in memory holds up to a dozen.
///
/// From the top: `mint` in ms (48 bits, signed), `maxt - mint` in ms (24 bits), file (24 bits), offset (32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SealedChunk(u128);

/// Numbers of files are below this: those of a snapshot that are not are damaged.
pub(crate) const FILES_MAX: u32 = 1 << 24;

/// Longest time that a sealed chunk may span, in ms: 4.6 hours; chunks are cut at half hours.
pub(crate) const CHUNK_SPAN_MS_MAX: i64 = (1 << 24) - 1;

impl SealedChunk {
    fn new(mint: i64, maxt: i64, file: u32, offset: u32) -> SealedChunk {
        let span = maxt - mint;
        assert!((0..=CHUNK_SPAN_MS_MAX).contains(&span), "a chunk spans {span} ms");
        assert!(file < FILES_MAX);
        let mint_bits = (mint as u128) & ((1 << 48) - 1);
        SealedChunk(mint_bits << 80 | (span as u128) << 56 | u128::from(file) << 32 | u128::from(offset))
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> SealedChunk {
        SealedChunk(u128::from_le_bytes(bytes))
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    pub(crate) fn mint(self) -> i64 {
        (self.0 as i128 >> 80) as i64
    }

    pub(crate) fn maxt(self) -> i64 {
        self.mint() + ((self.0 >> 56) & ((1 << 24) - 1)) as i64
    }

    pub(crate) fn file(self) -> u32 {
        (self.0 >> 32) as u32 & ((1 << 24) - 1)
    }

    fn offset(self) -> u32 {
        self.0 as u32
    }
}

/// All sealed chunks of a node.
pub(crate) struct ChunkFiles {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    files: BTreeMap<u32, OpenFile>,
    /// The file being written; `None` until the first chunk after opening.
    current: Option<u32>,
    next_file: u32,
    /// Bytes of the current file, those in `buffer` included.
    end: u64,
    buffer: Vec<u8>,
    /// Why the last flush failed; the buffer is kept and tried again.
    unsynced: bool,
}

struct OpenFile {
    file: Arc<dyn File>,
    maxt: i64,
}

fn path(folder: &Path, file: u32) -> PathBuf {
    folder.join(format!("{file:08}"))
}

impl ChunkFiles {
    /// Opens the files that a snapshot refers to (number and greatest timestamp) and deletes the others.
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path, referred: &BTreeMap<u32, i64>) -> Result<ChunkFiles, Error> {
        disk.create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut files = BTreeMap::new();
        for p in disk.list(folder).map_err(Error::io("list", folder))? {
            let number: Option<u32> = p.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
            match number.and_then(|n| referred.get(&n).map(|maxt| (n, *maxt))) {
                Some((n, maxt)) => {
                    let file = disk.open_mapped(&p).map_err(Error::io("open", &p))?;
                    files.insert(n, OpenFile { file, maxt });
                }
                None => disk.remove(&p).map_err(Error::io("remove", &p))?,
            }
        }
        let next_file = files.keys().next_back().map_or(1, |n| n + 1);
        let inner = Inner { files, current: None, next_file, end: 0, buffer: Vec::new(), unsynced: false };
        Ok(ChunkFiles { disk, folder: folder.to_owned(), inner: Mutex::new(inner) })
    }

    /// Gives no file the number of one that a chunk refers to: where such a file is lost, what is stored later must not be read
    /// in its place. To be called before the first chunk is stored.
    pub(crate) fn number_files_after(&self, referred: u32) {
        let mut inner = self.inner.lock();
        inner.next_file = inner.next_file.max(referred + 1);
    }

    /// Stores an encoded chunk. A disk that cannot be written keeps it in memory and is tried again: the samples are in the log,
    /// which refuses more of them while the disk is full, so this is bounded.
    pub(crate) fn append(
        &self,
        mint: i64,
        maxt: i64,
        encoding: ChunkEncoding,
        data: &[u8],
    ) -> Result<SealedChunk, Error> {
        let mut inner = self.inner.lock();
        let record_bytes = (RECORD_HEADER_BYTES + data.len()) as u64;
        let number = match inner.current {
            Some(n) if inner.end + record_bytes <= FILE_BYTES => n,
            _ => self.begin_file(&mut inner)?,
        };
        let offset = u32::try_from(inner.end).expect("FILE_BYTES fits 32 bits");
        let code = encoding_code(encoding);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[code]), data);
        let len = u32::try_from(data.len()).expect("chunks are small");
        inner.buffer.extend_from_slice(&len.to_le_bytes());
        inner.buffer.extend_from_slice(&crc.to_le_bytes());
        inner.buffer.push(code);
        inner.buffer.extend_from_slice(data);
        inner.end += record_bytes;
        inner.unsynced = true;
        let file = inner.files.get_mut(&number).expect("the current file is open");
        file.maxt = file.maxt.max(maxt);
        if inner.buffer.len() >= BUFFER_BYTES {
            // Tried again at the next chunk and at the next snapshot, where failing is an error.
            if let Err(e) = flush(&mut inner) {
                drop(e);
            }
        }
        Ok(SealedChunk::new(mint, maxt, number, offset))
    }

    fn begin_file(&self, inner: &mut Inner) -> Result<u32, Error> {
        if let Some(n) = inner.current {
            flush(inner).map_err(Error::io("write", &path(&self.folder, n)))?;
            let file = inner.files.get(&n).expect("the current file is open");
            file.file.sync().map_err(Error::io("sync", &path(&self.folder, n)))?;
        }
        let n = inner.next_file;
        let p = path(&self.folder, n);
        let file = self.disk.create_mapped(&p, FILE_BYTES).map_err(Error::io("create", &p))?;
        inner.files.insert(n, OpenFile { file, maxt: i64::MIN });
        inner.next_file += 1;
        inner.current = Some(n);
        inner.end = 0;
        Ok(n)
    }

    /// The chunk's encoding and data.
    pub(crate) fn read(&self, chunk: SealedChunk) -> Result<(ChunkEncoding, Bytes), Error> {
        let offset = u64::from(chunk.offset());
        let damaged = |what| Error::DamagedChunk { file: path(&self.folder, chunk.file()), offset, what };
        let (file, buffered) = {
            let inner = self.inner.lock();
            let written = inner.end - inner.buffer.len() as u64;
            if inner.current == Some(chunk.file()) && offset >= written {
                let at = usize::try_from(offset - written).expect("the buffer is in memory");
                (None, Bytes::copy_from_slice(record_at(&inner.buffer, at).ok_or_else(|| damaged("length"))?))
            } else {
                let file = inner.files.get(&chunk.file()).ok_or_else(|| damaged("the file is gone"))?;
                (Some(file.file.clone()), Bytes::new())
            }
        };
        let record = match file {
            None => buffered,
            Some(file) => {
                let io = |_| damaged("the file ends before");
                let header = file.bytes(offset, RECORD_HEADER_BYTES).map_err(io)?;
                let len = u32::from_le_bytes(header[..4].try_into().expect("4 bytes"));
                let len = usize::try_from(len).expect("32 bits fit").min(DATA_BYTES_MAX);
                file.bytes(offset, RECORD_HEADER_BYTES + len).map_err(io)?
            }
        };
        let crc = u32::from_le_bytes(record[4..8].try_into().expect("4 bytes"));
        if crc32c::crc32c(&record[8..]) != crc {
            return Err(damaged("checksum"));
        }
        let encoding = encoding_of(record[8]).ok_or_else(|| damaged("encoding"))?;
        Ok((encoding, record.slice(RECORD_HEADER_BYTES..)))
    }

    /// Writes and syncs all chunks; what was given out before survives power loss.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        let Some(n) = inner.current.filter(|_| inner.unsynced) else { return Ok(()) };
        flush(&mut inner).map_err(Error::io("write", &path(&self.folder, n)))?;
        inner.unsynced = false;
        let file = inner.files[&n].file.clone();
        // The sync itself may take long; readers and writers of chunks go on.
        drop(inner);
        file.sync().map_err(Error::io("sync", &path(&self.folder, n)))?;
        self.disk.sync_dir(&self.folder).map_err(Error::io("sync", &self.folder))
    }

    /// Deletes files whose chunks all end before `t`.
    pub(crate) fn remove_before(&self, t: TimestampMs) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        let current = inner.current;
        let old: Vec<u32> =
            inner.files.iter().filter(|(n, f)| f.maxt < t.0 && Some(**n) != current).map(|(n, _)| *n).collect();
        for n in old {
            let p = path(&self.folder, n);
            self.disk.remove(&p).map_err(Error::io("remove", &p))?;
            inner.files.remove(&n);
        }
        Ok(())
    }

    /// Gives the memory of mapped pages back to the kernel.
    pub(crate) fn drop_resident(&self) -> Result<(), Error> {
        let files: Vec<_> = self.inner.lock().files.iter().map(|(n, f)| (*n, f.file.clone())).collect();
        for (n, file) in files {
            file.drop_resident().map_err(Error::io("advise", &path(&self.folder, n)))?;
        }
        Ok(())
    }

    /// Greatest timestamp by file, for a snapshot.
    pub(crate) fn files(&self) -> BTreeMap<u32, i64> {
        self.inner.lock().files.iter().map(|(n, f)| (*n, f.maxt)).collect()
    }
}

fn record_at(buffer: &[u8], at: usize) -> Option<&[u8]> {
    let len = u32::from_le_bytes(buffer.get(at..at + 4)?.try_into().expect("4 bytes"));
    buffer.get(at..at + RECORD_HEADER_BYTES + usize::try_from(len).ok()?)
}

fn flush(inner: &mut Inner) -> std::io::Result<()> {
    let Some(n) = inner.current else { return Ok(()) };
    let written = inner.end - inner.buffer.len() as u64;
    inner.files[&n].file.write_at(&inner.buffer, written)?;
    inner.buffer.clear();
    inner.buffer.shrink_to(2 * BUFFER_BYTES);
    Ok(())
}

fn encoding_code(e: ChunkEncoding) -> u8 {
    match e {
        ChunkEncoding::Xor => 1,
        ChunkEncoding::Histogram => 2,
        ChunkEncoding::FloatHistogram => 3,
        ChunkEncoding::Xor2 => 4,
    }
}

fn encoding_of(code: u8) -> Option<ChunkEncoding> {
    match code {
        1 => Some(ChunkEncoding::Xor),
        2 => Some(ChunkEncoding::Histogram),
        3 => Some(ChunkEncoding::FloatHistogram),
        4 => Some(ChunkEncoding::Xor2),
        _ => None,
    }
}

/// For fuzzing alone: the file with the checksum that its record at `offset` should have.
pub(crate) fn sealed(mut bytes: Vec<u8>, offset: u32) -> Vec<u8> {
    let at = offset as usize;
    let crc = record_at(&bytes, at).map(|record| crc32c::crc32c(&record[8..]));
    if let Some(crc) = crc {
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::{RealDisk, SimDisk};

    #[test]
    fn a_sealed_chunk_fits_16_bytes() {
        for (mint, maxt, file, offset) in [
            (0, 0, 0, 0),
            (1_700_000_000_000, 1_700_001_800_000, 77, u32::MAX),
            (-62_135_596_800_000, -62_135_596_799_999, (1 << 24) - 1, 5),
        ] {
            let c = SealedChunk::new(mint, maxt, file, offset);
            assert_eq!((c.mint(), c.maxt(), c.file(), c.offset()), (mint, maxt, file, offset));
            assert_eq!(SealedChunk::from_bytes(c.to_bytes()), c);
        }
    }

    #[test]
    fn chunks_are_read_from_buffer_and_file() {
        let dir = std::env::temp_dir().join(format!("narthex-chunk-files-{}", std::process::id()));
        let disks: [Arc<dyn Disk>; 2] = [Arc::new(RealDisk), Arc::new(SimDisk::new())];
        for disk in disks {
            let files = ChunkFiles::open(disk.clone(), &dir, &BTreeMap::new()).unwrap();
            let data = |i: usize| vec![i as u8; 1 + i % 300];
            let refs: Vec<_> = (0..3000)
                .map(|i| files.append(i as i64, i as i64 + 5, ChunkEncoding::Xor, &data(i)).unwrap())
                .collect();
            for (i, r) in refs.iter().enumerate() {
                assert_eq!(files.read(*r).unwrap(), (ChunkEncoding::Xor, Bytes::from(data(i))));
            }
            files.sync().unwrap();
            files.drop_resident().unwrap();
            let again = ChunkFiles::open(disk, &dir, &files.files()).unwrap();
            assert_eq!(again.read(refs[2999]).unwrap().1, data(2999));
            again.remove_before(TimestampMs(i64::MAX)).unwrap();
            assert!(matches!(again.read(refs[0]), Err(Error::DamagedChunk { .. })));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let disk = SimDisk::new();
        let folder = Path::new("/chunks");
        let files = ChunkFiles::open(Arc::new(disk.clone()), folder, &BTreeMap::new()).unwrap();
        let chunk = files.append(1, 2, ChunkEncoding::Xor, b"0123456789").unwrap();
        files.sync().unwrap();
        for at in 0..19 {
            let f = disk.open(&path(folder, 1)).unwrap();
            let was = f.bytes(at, 1).unwrap();
            f.write_at(&[was[0] ^ 4], at).unwrap();
            assert!(files.read(chunk).is_err(), "byte {at}");
            f.write_at(&was, at).unwrap();
        }
        files.read(chunk).unwrap();
    }
}
