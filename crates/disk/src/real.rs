//! The operating system's files.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

use crate::{Disk, File};

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile {
    file: fs::File,
    map: Option<Map>,
}

/// A shared map and the same bytes as [`Bytes`]; both keep the map alive.
struct Map {
    map: Arc<Mmap>,
    bytes: Bytes,
}

struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn map(file: &fs::File) -> io::Result<Map> {
    // SAFETY: the file lies in our locked data directory, is only appended to through `write_at` of the same process, and is
    // never shortened while mapped (`set_len` refuses); readers look only at ranges that were written before they learned of
    // them. A failing disk can still raise SIGBUS: the price of not copying 200,000 chunks per query.
    let map = Arc::new(unsafe { MmapOptions::new().map(file)? });
    Ok(Map { bytes: Bytes::from_owner(Owner(map.clone())), map })
}

fn options() -> fs::OpenOptions {
    let mut o = fs::OpenOptions::new();
    o.read(true).write(true);
    o
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile { file: options().create(true).truncate(true).open(path)?, map: None }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile { file: options().open(path)?, map: None }))
    }

    fn create_mapped(&self, path: &Path, len: u64) -> io::Result<Arc<dyn File>> {
        let file = options().create(true).truncate(true).open(path)?;
        file.set_len(len)?;
        let map = map(&file)?;
        Ok(Arc::new(RealFile { file, map: Some(map) }))
    }

    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = options().open(path)?;
        let map = map(&file)?;
        Ok(Arc::new(RealFile { file, map: Some(map) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.map.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a mapped file keeps its length"));
        }
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let Some(map) = &self.map else {
            let mut buf = vec![0; len];
            self.read_at(&mut buf, offset)?;
            return Ok(buf.into());
        };
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).filter(|end| *end <= map.bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(map.bytes.slice(start..end))
    }

    fn drop_resident(&self) -> io::Result<()> {
        match &self.map {
            // SAFETY: the map is shared and file-backed, so dropped pages come back from the page cache with the same bytes.
            Some(m) => unsafe { m.map.unchecked_advise(UncheckedAdvice::DontNeed) },
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_shows_what_was_written_after_mapping() {
        let dir = tempfile::tempdir().unwrap();
        let f = RealDisk.create_mapped(&dir.path().join("m"), 1 << 20).unwrap();
        f.write_at(b"hello", 4096).unwrap();
        assert_eq!(&f.bytes(4096, 5).unwrap()[..], b"hello");
        f.drop_resident().unwrap();
        assert_eq!(&f.bytes(4094, 9).unwrap()[..], b"\0\0hello\0\0");
        assert!(f.bytes(1 << 20, 1).is_err());
        assert!(f.set_len(0).is_err());
    }
}
