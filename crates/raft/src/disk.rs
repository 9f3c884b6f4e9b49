//! The directory of a Raft node: RocksDB with two column families, and the lock that keeps a second process out.
//!
//! `lock` is an empty file, locked while the node lives. `db/` is RocksDB; it is made under another name and renamed once
//! it holds the voter's id, so a `db/` without its files is damage, never a fresh start: a voter must not forget its votes.
//! In `meta` lie format, voter's id, vote, committed and purged log ids and the newest snapshot; in `log` the entries under
//! their index, big-endian.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind, IteratorMode,
    LogLevel, Options, WriteBatch, WriteOptions,
};

use crate::transport::VoterId;

const META: &str = "meta";
const LOG: &str = "log";

const KEY_FORMAT: &str = "format";
const KEY_ID: &str = "id";

/// Names of the other records of `meta`.
pub(crate) const KEY_VOTE: &str = "vote";
pub(crate) const KEY_COMMITTED: &str = "committed";
pub(crate) const KEY_PURGED: &str = "purged";
pub(crate) const KEY_SNAPSHOT: &str = "snapshot";

/// The layout of the directory; another number is refused.
const FORMAT: u8 = 1;

/// Above every key of `log`, which have 8 bytes.
const AFTER_LAST: [u8; 9] = [0xff; 9];

/// Write buffer per column family. Entries are small and live until the next snapshot but one, so most of them never leave
/// it for a file.
const WRITE_BUFFER_BYTES: usize = 4 << 20;

/// RocksDB's own log is cut off here.
const WAL_BYTES_MAX: u64 = 32 << 20;

/// Why a Raft directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one a second time, has it open.
    #[error("raft directory {dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be made, read or written.
    #[error("open raft directory {dir}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is in it is not what was written. Restore it from a copy, or, with other voters alive, empty it and let the
    /// node join as a new voter.
    #[error("raft directory {dir} is damaged")]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Written by a version of this program that lays it out differently.
    #[error("raft directory {dir} has format {found}, this program reads {FORMAT}")]
    Format {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u8,
    },
    /// The settings contradict each other or a thread cannot be had.
    #[error("start raft node")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// RocksDB and the lock on its directory. Reads and writes are plain calls; a write is durable after [`Db::sync`].
pub(crate) struct Db {
    // Dropped in this order: the lock is given back when RocksDB has closed its files.
    rocks: DB,
    id: VoterId,
    _lock: File,
}

impl Db {
    /// Opens the directory, making it if it is absent or empty. `new_id` is used then.
    pub(crate) fn open(dir: &Path, new_id: VoterId) -> Result<Db, OpenError> {
        let fail = |source| OpenError::Io { dir: dir.into(), source };
        fs::create_dir_all(dir).map_err(fail)?;
        let lock = File::create(dir.join("lock")).map_err(fail)?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => OpenError::Locked { dir: dir.into() },
            TryLockError::Error(source) => fail(source),
        })?;
        let path = dir.join("db");
        if !path.try_exists().map_err(fail)? {
            create(dir, &path, new_id)?;
        }
        let rocks = open_rocks(&path, Existing::Must).map_err(|e| classify(dir, e))?;
        let id = identify(dir, &rocks)?;
        Ok(Db { rocks, id, _lock: lock })
    }

    /// The voter's id, as old as the directory.
    pub(crate) fn id(&self) -> VoterId {
        self.id
    }

    /// A record of `meta`.
    pub(crate) fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.rocks.get_cf(meta(&self.rocks), key).map_err(to_io)
    }

    /// Writes in one go.
    pub(crate) fn write(&self, fill: impl FnOnce(&mut Batch<'_>)) -> io::Result<()> {
        let mut batch = Batch { db: self, batch: WriteBatch::default() };
        fill(&mut batch);
        self.rocks.write_opt(batch.batch, &WriteOptions::default()).map_err(to_io)
    }

    /// Makes all that was written before durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.rocks.flush_wal(true).map_err(to_io)
    }

    /// The entries from `start` on, in order, as of now.
    pub(crate) fn entries(&self, start: u64) -> impl Iterator<Item = io::Result<(u64, Box<[u8]>)>> + '_ {
        let from = start.to_be_bytes();
        let items = self.rocks.iterator_cf(log(&self.rocks), IteratorMode::From(&from, Direction::Forward));
        items.map(|item| item.map_err(to_io).and_then(with_index))
    }

    /// The entry with the greatest index.
    pub(crate) fn last_entry(&self) -> io::Result<Option<(u64, Box<[u8]>)>> {
        let last = self.rocks.iterator_cf(log(&self.rocks), IteratorMode::End).next();
        last.transpose().map_err(to_io)?.map(with_index).transpose()
    }
}

/// Changes that are made together or not at all.
pub(crate) struct Batch<'a> {
    db: &'a Db,
    batch: WriteBatch,
}

impl Batch<'_> {
    pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
        self.batch.put_cf(meta(&self.db.rocks), key, value);
    }

    pub(crate) fn put_entry(&mut self, index: u64, value: &[u8]) {
        self.batch.put_cf(log(&self.db.rocks), index.to_be_bytes(), value);
    }

    /// Removes the entries with indices up to `last`.
    pub(crate) fn remove_entries_up_to(&mut self, last: u64) {
        let end = last.checked_add(1).map_or(AFTER_LAST.to_vec(), |end| end.to_be_bytes().to_vec());
        self.batch.delete_range_cf(log(&self.db.rocks), 0_u64.to_be_bytes().to_vec(), end);
    }

    /// Removes the entries with indices from `first` on.
    pub(crate) fn remove_entries_from(&mut self, first: u64) {
        self.batch.delete_range_cf(log(&self.db.rocks), first.to_be_bytes().to_vec(), AFTER_LAST.to_vec());
    }
}

fn with_index((key, value): (Box<[u8]>, Box<[u8]>)) -> io::Result<(u64, Box<[u8]>)> {
    let key: [u8; 8] = key[..].try_into().map_err(|_| invalid("key of a log entry has not 8 bytes"))?;
    Ok((u64::from_be_bytes(key), value))
}

/// What was read cannot be what was written.
pub(crate) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn to_io(error: rocksdb::Error) -> io::Error {
    match error.kind() {
        ErrorKind::Corruption => invalid(error),
        _ => io::Error::other(error),
    }
}

fn meta(rocks: &DB) -> &ColumnFamily {
    rocks.cf_handle(META).expect("the database was opened with this column family")
}

fn log(rocks: &DB) -> &ColumnFamily {
    rocks.cf_handle(LOG).expect("the database was opened with this column family")
}

enum Existing {
    Must,
    MustNot,
}

fn open_rocks(path: &Path, existing: Existing) -> Result<DB, rocksdb::Error> {
    let mut options = Options::default();
    let create = matches!(existing, Existing::MustNot);
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_error_if_exists(create);
    options.set_paranoid_checks(true);
    // A torn record at the end is what a crash leaves behind and was never acknowledged. A bad one before it is damage: the
    // default would quietly go back to the state before it, and the voter would have forgotten a vote.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(64);
    options.set_max_background_jobs(2);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    let families = ["default", META, LOG].map(|name| {
        let mut family = Options::default();
        family.set_write_buffer_size(WRITE_BUFFER_BYTES);
        family.set_compression_type(DBCompressionType::None);
        ColumnFamilyDescriptor::new(name, family)
    });
    DB::open_cf_descriptors(&options, path, families)
}

/// Makes `path` with the id in it: under another name first, so that it is there whole or not at all.
fn create(dir: &Path, path: &Path, id: VoterId) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { dir: dir.into(), source };
    let unfinished = dir.join("db.new");
    if unfinished.try_exists().map_err(fail)? {
        fs::remove_dir_all(&unfinished).map_err(fail)?;
    }
    let rocks = open_rocks(&unfinished, Existing::MustNot).map_err(|e| classify(dir, e))?;
    let mut batch = WriteBatch::default();
    batch.put_cf(meta(&rocks), KEY_FORMAT, [FORMAT]);
    batch.put_cf(meta(&rocks), KEY_ID, id.0.to_le_bytes());
    let mut durable = WriteOptions::default();
    durable.set_sync(true);
    rocks.write_opt(batch, &durable).map_err(|e| classify(dir, e))?;
    drop(rocks);
    fs::rename(&unfinished, path).map_err(fail)?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(fail)?;
    // The directory's own name must outlast a power loss as well.
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|d| d.sync_all()).map_err(fail)
}

fn identify(dir: &Path, rocks: &DB) -> Result<VoterId, OpenError> {
    let damaged = |what: &str| OpenError::Damaged { dir: dir.into(), source: what.into() };
    let format = rocks.get_cf(meta(rocks), KEY_FORMAT).map_err(|e| classify(dir, e))?;
    match format.as_deref() {
        Some(&[FORMAT]) => {}
        Some(&[found]) => return Err(OpenError::Format { dir: dir.into(), found }),
        _ => return Err(damaged("the format number is missing")),
    }
    let id = rocks.get_cf(meta(rocks), KEY_ID).map_err(|e| classify(dir, e))?;
    let id = id.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    id.map(VoterId).ok_or_else(|| damaged("the voter's id is missing"))
}

fn classify(dir: &Path, error: rocksdb::Error) -> OpenError {
    match error.kind() {
        // A file that is missing is an I/O error in RocksDB's words, but for the user it is damage.
        ErrorKind::IOError if !error.as_ref().contains("No such file") => {
            OpenError::Io { dir: dir.into(), source: io::Error::other(error) }
        }
        _ => OpenError::Damaged { dir: dir.into(), source: error.into() },
    }
}

#[cfg(test)]
mod tests;
