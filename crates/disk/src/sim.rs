//! A disk in memory that loses what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Disk, File};

/// A disk in memory; clones are the same disk.
///
/// Power loss is [`SimDisk::after_power_loss`]: a file's contents come back as they were at its last `sync`, and it is there at
/// all only if its folder was synced after it was created or renamed. That is stricter than any real file system.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What a running process sees.
    entries: BTreeMap<PathBuf, usize>,
    /// What survives power loss.
    durable_entries: BTreeMap<PathBuf, usize>,
    files: Vec<Contents>,
    /// Writes that would grow the disk beyond this fail with `StorageFull`.
    capacity: Option<u64>,
    /// After so many more syncs, all writes and syncs fail.
    syncs_left: Option<u64>,
}

#[derive(Default, Clone)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
}

impl State {
    fn used(&self) -> u64 {
        self.entries.values().map(|i| self.files[*i].now.len() as u64).sum()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// The disk as it is found after power loss at this moment.
    pub fn after_power_loss(&self) -> SimDisk {
        let old = self.0.lock();
        let files = old.files.iter().map(|f| Contents { now: f.durable.clone(), durable: f.durable.clone() }).collect();
        SimDisk(Arc::new(Mutex::new(State {
            entries: old.durable_entries.clone(),
            durable_entries: old.durable_entries.clone(),
            files,
            capacity: None,
            syncs_left: None,
        })))
    }

    /// Makes the disk run full at so many bytes; `None` gives it room again.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// After `n` more syncs nothing can be written or synced any more: the moment of a crash, chosen by the test.
    pub fn fail_after_syncs(&self, n: u64) {
        self.0.lock().syncs_left = Some(n);
    }

    /// Bytes in files.
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used()
    }
}

struct SimFile {
    disk: SimDisk,
    index: usize,
}

fn dead() -> io::Error {
    io::Error::other("the simulated disk has failed")
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut s = self.0.lock();
        if s.syncs_left == Some(0) {
            return Err(dead());
        }
        s.files.push(Contents::default());
        let index = s.files.len() - 1;
        s.entries.insert(path.to_owned(), index);
        Ok(Arc::new(SimFile { disk: self.clone(), index }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let index = *self.0.lock().entries.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), index }))
    }

    fn create_mapped(&self, path: &Path, _len: u64) -> io::Result<Arc<dyn File>> {
        self.create(path)
    }

    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut s = self.0.lock();
        if s.syncs_left == Some(0) {
            return Err(dead());
        }
        let index = s.entries.remove(from).ok_or(io::ErrorKind::NotFound)?;
        s.entries.insert(to.to_owned(), index);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut s = self.0.lock();
        if s.syncs_left == Some(0) {
            return Err(dead());
        }
        s.entries.remove(path);
        Ok(())
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.lock().entries.keys().filter(|p| p.parent() == Some(folder)).cloned().collect())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut guard = self.0.lock();
        let s = &mut *guard;
        count_sync(s)?;
        s.durable_entries.retain(|p, _| p.parent() != Some(folder));
        let here = s.entries.iter().filter(|(p, _)| p.parent() == Some(folder));
        s.durable_entries.extend(here.map(|(p, i)| (p.clone(), *i)));
        Ok(())
    }
}

fn count_sync(s: &mut State) -> io::Result<()> {
    match &mut s.syncs_left {
        None => Ok(()),
        Some(0) => Err(dead()),
        Some(n) => {
            *n -= 1;
            Ok(())
        }
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.index].now.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let s = self.disk.0.lock();
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let from = s.files[self.index].now.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut s = self.disk.0.lock();
        if s.syncs_left == Some(0) {
            return Err(dead());
        }
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let end = start + data.len();
        let growth = end.saturating_sub(s.files[self.index].now.len()) as u64;
        if growth > 0 && s.capacity.is_some_and(|c| s.used() + growth > c) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let now = &mut s.files[self.index].now;
        if now.len() < end {
            now.resize(end, 0);
        }
        now[start..end].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.disk.0.lock().files[self.index].now.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut s = self.disk.0.lock();
        count_sync(&mut s)?;
        let f = &mut s.files[self.index];
        f.durable.clone_from(&f.now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_gone_after_power_loss() {
        let disk = SimDisk::new();
        let dir = Path::new("/d");
        let (a, b) = (disk.create(&dir.join("a")).unwrap(), disk.create(&dir.join("b")).unwrap());
        a.write_at(b"one", 0).unwrap();
        a.sync().unwrap();
        a.write_at(b"two", 3).unwrap();
        b.write_at(b"x", 0).unwrap();
        b.sync().unwrap();
        disk.rename(&dir.join("b"), &dir.join("c")).unwrap();
        assert_eq!(disk.after_power_loss().list(dir).unwrap().len(), 0, "the folder was never synced");
        disk.sync_dir(dir).unwrap();
        disk.remove(&dir.join("c")).unwrap();
        let after = disk.after_power_loss();
        assert_eq!(after.list(dir).unwrap(), [dir.join("a"), dir.join("c")]);
        assert_eq!(after.open(&dir.join("a")).unwrap().len().unwrap(), 3);
    }

    #[test]
    fn a_full_disk_refuses_growth_only() {
        let disk = SimDisk::new();
        let f = disk.create(Path::new("/f")).unwrap();
        f.write_at(&[0; 10], 0).unwrap();
        disk.set_capacity(Some(12));
        assert_eq!(f.write_at(&[0; 3], 10).unwrap_err().kind(), io::ErrorKind::StorageFull);
        f.write_at(&[1; 10], 0).unwrap();
        f.write_at(&[0; 2], 10).unwrap();
    }
}
