//! The ledger on disk: a file per connection, a record of fixed length per request, each with a checksum and synced before
//! the next request goes out. A torn last record is as if it had not been written; damage before it is an error.
//!
//! ```text
//! record  := kind:u8  zero:u8  status:u16  attempts:u32  request:u64  at_ms:i64  crc32c:u32    (little endian)
//! ```

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Bytes of a record.
pub const RECORD_BYTES: usize = BODY_BYTES + 4;
const BODY_BYTES: usize = 24;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx: it must be there.
    Acked,
    /// 4xx, with the status: it may be there or not.
    Refused(u16),
    /// No answer within the time for retries: it may be there or not.
    GivenUp,
    /// The ledger ended in order: nothing was sent after the request before.
    Finished,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What became of it.
    pub outcome: Outcome,
    /// How often it was sent.
    pub attempts: u32,
    /// Its number on its connection.
    pub request: u64,
    /// When the answer came.
    pub at_ms: i64,
}

impl Record {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let (kind, status) = match self.outcome {
            Outcome::Acked => (1, 0),
            Outcome::Refused(status) => (2, status),
            Outcome::GivenUp => (3, 0),
            Outcome::Finished => (4, 0),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = kind;
        bytes[2..4].copy_from_slice(&status.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.attempts.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.request.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at_ms.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None where the checksum or the kind is not ours.
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let crc = u32::from_le_bytes(*bytes[BODY_BYTES..].first_chunk()?);
        if crc != crc32c::crc32c(&bytes[..BODY_BYTES]) {
            return None;
        }
        let outcome = match bytes[0] {
            1 => Outcome::Acked,
            2 => Outcome::Refused(u16::from_le_bytes(*bytes[2..].first_chunk()?)),
            3 => Outcome::GivenUp,
            4 => Outcome::Finished,
            _ => return None,
        };
        Some(Record {
            outcome,
            attempts: u32::from_le_bytes(*bytes[4..].first_chunk()?),
            request: u64::from_le_bytes(*bytes[8..].first_chunk()?),
            at_ms: i64::from_le_bytes(*bytes[16..].first_chunk()?),
        })
    }
}

/// What the ledger knows of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// By number of the request.
    pub requests: Vec<Record>,
    /// Ended in order. Otherwise the request after the last may have been sent.
    pub finished: bool,
    /// Bytes of records that are whole.
    pub(crate) whole_bytes: u64,
}

impl Account {
    /// Reads records; a torn last one is left out.
    pub fn parse(bytes: &[u8]) -> Result<Account> {
        let mut account = Account::default();
        let count = bytes.len() / RECORD_BYTES;
        for (index, piece) in bytes.chunks_exact(RECORD_BYTES).enumerate() {
            let record = Record::decode(piece.first_chunk().expect("chunks of this length"));
            let Some(record) = record else {
                ensure!(index + 1 == count, "record {index} of {count} is damaged, and it is not the last");
                break;
            };
            let expected = account.requests.len() as u64;
            ensure!(record.request == expected, "record {index} is of request {}, not {expected}", record.request);
            account.finished = record.outcome == Outcome::Finished;
            if !account.finished {
                account.requests.push(record);
            }
            account.whole_bytes += RECORD_BYTES as u64;
        }
        Ok(account)
    }

    /// Reads the file of a connection; one that is not there has sent nothing.
    pub fn load(folder: &Path, connection: u64) -> Result<Account> {
        let file = file_of(folder, connection);
        match std::fs::read(&file) {
            Ok(bytes) => Account::parse(&bytes).with_context(|| format!("{}", file.display())),
            // Files are made before anything is sent.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Account { finished: true, ..Account::default() })
            }
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    /// Whether samples of this request may be in the system.
    pub fn may_be_sent(&self, request: u64) -> bool {
        request < self.requests_sent()
    }

    /// So many requests may have been sent.
    pub fn requests_sent(&self) -> u64 {
        self.requests.len() as u64 + u64::from(!self.finished)
    }

    /// The record of a request that was acknowledged.
    pub fn acked(&self, request: u64) -> Option<&Record> {
        let record = self.requests.get(usize::try_from(request).ok()?)?;
        (record.outcome == Outcome::Acked).then_some(record)
    }
}

/// The file of a connection.
pub fn file_of(folder: &Path, connection: u64) -> PathBuf {
    folder.join(format!("connection-{connection}.ledger"))
}

/// The number of records of a folder, cheaply: while it is being written too.
pub fn count(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let ledgers = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "ledger"));
    ledgers.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()) / RECORD_BYTES as u64).sum()
}

/// Appends records of one connection.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    in_flight: bool,
}

impl Recorder {
    /// Opens the file of a connection, cuts off a torn tail, and says what is in it.
    pub fn open(folder: &Path, connection: u64) -> Result<(Recorder, Account)> {
        let path = file_of(folder, connection);
        let context = || format!("open {}", path.display());
        let existed = path.exists();
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).with_context(context)?;
        let bytes = std::fs::read(&path).with_context(context)?;
        let mut account = Account::parse(&bytes).with_context(context)?;
        let in_flight = existed && !account.finished;
        if account.finished {
            // It goes on: then its end is not the end.
            account.whole_bytes -= RECORD_BYTES as u64;
            account.finished = false;
        }
        file.set_len(account.whole_bytes).with_context(context)?;
        file.seek(SeekFrom::End(0)).with_context(context)?;
        file.sync_all().with_context(context)?;
        Ok((Recorder { file, in_flight }, account))
    }

    /// Whether an earlier ledger may have sent the next request already.
    pub fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Appends a record. When this returns it is on disk.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.file.write_all(&record.encode()).context("append to the ledger")?;
        self.file.sync_data().context("sync the ledger")
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Ok(()) => Ok(()),
        Err(error) => bail!("sync {}: {error}", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(request: u64, outcome: Outcome) -> Record {
        Record { outcome, attempts: 3, request, at_ms: 1_700_000_000_123 }
    }

    fn bytes(records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(Record::encode).collect()
    }

    fn some() -> Vec<Record> {
        vec![record(0, Outcome::Acked), record(1, Outcome::Refused(422)), record(2, Outcome::GivenUp)]
    }

    #[test]
    fn records_are_read_back_and_tell_what_may_have_been_sent() {
        let account = Account::parse(&bytes(&some())).unwrap();
        assert_eq!(account.requests, some());
        assert!(account.acked(0).is_some() && account.acked(1).is_none() && account.acked(9).is_none());
        assert!(account.may_be_sent(3) && !account.may_be_sent(4));
        let finished = [some(), vec![record(3, Outcome::Finished)]].concat();
        let account = Account::parse(&bytes(&finished)).unwrap();
        assert!(account.may_be_sent(2) && !account.may_be_sent(3));
    }

    #[test]
    fn a_torn_tail_is_left_out_wherever_it_is_torn() {
        let whole = bytes(&some());
        for length in 0..whole.len() {
            let account = Account::parse(&whole[..length]).unwrap();
            assert_eq!(account.requests, some()[..length / RECORD_BYTES], "{length} bytes");
        }
        for at in whole.len() - RECORD_BYTES..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 0x10;
            assert_eq!(Account::parse(&torn).unwrap().requests, some()[..2], "byte {at}");
        }
    }

    #[test]
    fn damage_before_the_last_record_is_an_error() {
        let whole = bytes(&some());
        for at in 0..whole.len() - RECORD_BYTES {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(Account::parse(&damaged).is_err(), "byte {at}");
        }
        let error = Account::parse(&bytes(&[record(0, Outcome::Acked), record(2, Outcome::Acked)])).unwrap_err();
        assert_eq!(error.to_string(), "record 1 is of request 2, not 1");
    }

    #[test]
    fn a_ledger_that_is_opened_again_goes_on_after_its_last_whole_record() {
        let folder = tempfile::tempdir().unwrap();
        let (mut recorder, account) = Recorder::open(folder.path(), 5).unwrap();
        assert_eq!(account, Account::default());
        some().iter().for_each(|record| recorder.append(record).unwrap());
        recorder.append(&record(3, Outcome::Finished)).unwrap();
        assert!(Account::load(folder.path(), 5).unwrap().finished);

        let (mut recorder, account) = Recorder::open(folder.path(), 5).unwrap();
        assert_eq!((account.requests.len(), account.finished), (3, false));
        recorder.append(&record(3, Outcome::Acked)).unwrap();
        let mut torn = std::fs::read(file_of(folder.path(), 5)).unwrap();
        torn.extend([1, 2, 3]);
        std::fs::write(file_of(folder.path(), 5), &torn).unwrap();

        let (_, account) = Recorder::open(folder.path(), 5).unwrap();
        assert_eq!(account.requests.len(), 4);
        assert_eq!(count(folder.path()), 4);
        assert_eq!(std::fs::metadata(file_of(folder.path(), 5)).unwrap().len(), 4 * RECORD_BYTES as u64);
    }
}
