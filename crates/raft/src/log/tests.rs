//! openraft's own suite over log and state machine, and what it does not ask.

use openraft::storage::RaftLogStorageExt as _;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt as _;
use openraft::{StorageError, Vote as RaftVote};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::machine::Machine;
use crate::transport::VoterId;
use crate::types::{LeaderId, Payload};

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let (log, machine) = open(&dir);
        Ok((dir, log, machine))
    }
}

fn open(dir: &TempDir) -> (Log, Machine) {
    let db = Arc::new(Db::open(dir.path(), VoterId(1)).unwrap());
    let (flusher, _) = Flusher::start(Arc::clone(&db)).unwrap();
    let (publish, _) = watch::channel(Arc::default());
    (Log::new(Arc::clone(&db), flusher.clone()), Machine::new(db, flusher, publish))
}

#[test]
fn openrafts_suite_passes() {
    TypeConfig::run(async { Suite::test_all(Builder).await.unwrap() });
}

fn entry(index: u64) -> Entry {
    Entry { log_id: LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index }, payload: Payload::Blank }
}

#[test]
fn a_read_is_bounded_in_bytes_but_never_empty() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    TypeConfig::run(async move {
        log.blocking_append((0..10).map(entry)).await.unwrap();
        let bytes = codec::encode_entry(&entry(0)).len();
        let read = |bytes_max| log.read(2, 9, bytes_max).unwrap().len();
        assert_eq!([read(1), read(bytes), read(bytes + 1), read(usize::MAX)], [1, 1, 2, 7]);
    });
}

#[test]
fn a_hole_in_the_log_is_an_error() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    TypeConfig::run(async move {
        log.blocking_append([entry(0), entry(2)]).await.unwrap();
        let error = log.try_get_log_entries(0..3).await.unwrap_err();
        assert_eq!(error.to_string(), "log entry 2 is missing or in another's place");
        log.db.write(|batch| batch.put_entry(1, &codec::encode_entry(&entry(7)))).unwrap();
        assert!(log.try_get_log_entries(0..2).await.is_err());
        log.db.write(|batch| batch.put_entry(1, b"?")).unwrap();
        assert_eq!(log.try_get_log_entries(1..2).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn callbacks_come_when_durable_and_votes_survive_without_a_close() {
    let dir = TempDir::new().unwrap();
    let (mut log, _machine) = open(&dir);
    let copy = TempDir::new().unwrap();
    TypeConfig::run(async move {
        let waits: Vec<_> = (0..200)
            .map(|index| {
                let (sender, receiver) = TypeConfig::oneshot();
                (entry(index), IoFlushed::signal(sender), receiver)
            })
            .collect();
        let mut receivers = Vec::new();
        for (entry, callback, receiver) in waits {
            let index = entry.log_id.index;
            log.append([entry], callback).await.unwrap();
            // Readable at once, durable later.
            assert_eq!(log.try_get_log_entries(index..=index).await.unwrap().len(), 1);
            receivers.push(receiver);
        }
        for receiver in receivers {
            receiver.await.unwrap().unwrap();
        }
        log.save_vote(&RaftVote::new_committed(7, 1)).await.unwrap();
        log.save_committed(Some(entry(150).log_id)).await.unwrap();
        copy_files(dir.path(), copy.path());
        let (mut log, _machine) = open(&copy);
        assert_eq!(log.read_vote().await.unwrap(), Some(RaftVote::new_committed(7, 1)));
        assert_eq!(log.read_committed().await.unwrap(), Some(entry(150).log_id));
        assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(entry(199).log_id));
    });
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_files(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}
