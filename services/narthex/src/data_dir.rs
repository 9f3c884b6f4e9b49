//! The data directory: one process at a time, and the random number born with it.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use cluster::Incarnation;

/// An opened and locked data directory.
pub(crate) struct DataDir {
    /// Held while the process lives.
    _lock: File,
    /// Born with the directory.
    pub(crate) incarnation: Incarnation,
}

/// Creates the directory if it is not there, and locks it.
pub(crate) fn open(path: &Path) -> anyhow::Result<DataDir> {
    fs::create_dir_all(path).with_context(|| format!("create data directory {}", path.display()))?;
    let lock = File::create(path.join("lock")).with_context(|| format!("open {}", path.join("lock").display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("data directory {} is in use by another process", path.display()),
        Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("lock {}", path.display())),
    }
    Ok(DataDir { _lock: lock, incarnation: incarnation(path)? })
}

fn incarnation(path: &Path) -> anyhow::Result<Incarnation> {
    let file = path.join("incarnation");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let number = u64::from_str_radix(text.trim(), 16);
            Ok(Incarnation(number.with_context(|| format!("{} is damaged", file.display()))?))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if has_entries(&path.join("log"))? {
                bail!("{} is missing beside a log: the directory is damaged", file.display());
            }
            let new = Incarnation(rand::random());
            write_durably(path, &file, &format!("{:016x}\n", new.0))
                .with_context(|| format!("write {}", file.display()))?;
            Ok(new)
        }
        Err(e) => Err(e).with_context(|| format!("read {}", file.display())),
    }
}

fn write_durably(folder: &Path, file: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = file.with_extension("tmp");
    let mut f = File::create(&unfinished)?;
    f.write_all(text.as_bytes())?;
    f.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(folder)?.sync_all()
}

fn has_entries(folder: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).with_context(|| format!("read {}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_one_number() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        assert!(open(dir.path()).err().unwrap().to_string().contains("in use"));
        let number = first.incarnation;
        drop(first);
        assert_eq!(open(dir.path()).unwrap().incarnation, number);
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/x"), "").unwrap();
        fs::remove_file(dir.path().join("incarnation")).unwrap();
        assert!(open(dir.path()).err().unwrap().to_string().contains("damaged"));
    }
}
