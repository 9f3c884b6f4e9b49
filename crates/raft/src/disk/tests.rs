//! Directories that are fresh, held, half made, of another format, or damaged.

use tempfile::TempDir;

use super::*;

fn open(dir: &TempDir, id: u64) -> Result<Db, OpenError> {
    Db::open(&dir.path().join("raft"), VoterId(id))
}

fn check_refused(dir: &TempDir, expected: &str) {
    let error = open(dir, 9).err().expect("must be refused");
    let message = error.to_string().replace(&dir.path().display().to_string(), "DIR");
    assert_eq!(message, expected, "{error:?}");
}

/// Files of RocksDB with this suffix.
fn files(dir: &TempDir, suffix: &str) -> Vec<PathBuf> {
    let items = fs::read_dir(dir.path().join("raft/db")).unwrap();
    let paths = items.map(|item| item.unwrap().path());
    paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
}

#[test]
fn the_id_is_as_old_as_the_directory() {
    let dir = TempDir::new().unwrap();
    assert_eq!(open(&dir, 1).unwrap().id(), VoterId(1));
    assert_eq!(open(&dir, 2).unwrap().id(), VoterId(1));
    fs::remove_dir_all(dir.path().join("raft")).unwrap();
    assert_eq!(open(&dir, 3).unwrap().id(), VoterId(3), "a wiped directory is another voter");
}

#[test]
fn a_directory_in_use_is_refused_and_given_back() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir, 1).unwrap();
    check_refused(&dir, "raft directory DIR/raft is in use by another process");
    drop(db);
    open(&dir, 1).unwrap();
}

#[test]
fn a_crash_while_the_directory_is_made_does_no_harm() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("raft/db.new")).unwrap();
    fs::write(dir.path().join("raft/db.new/MANIFEST-000001"), b"half").unwrap();
    assert_eq!(open(&dir, 1).unwrap().id(), VoterId(1));
    assert!(!dir.path().join("raft/db.new").exists());
}

#[test]
fn a_directory_without_its_files_is_damage_and_no_fresh_start() {
    for missing in ["CURRENT", "MANIFEST"] {
        let dir = TempDir::new().unwrap();
        drop(open(&dir, 1).unwrap());
        let items = fs::read_dir(dir.path().join("raft/db")).unwrap().map(|item| item.unwrap().path());
        let gone: Vec<_> = items.filter(|path| path.to_string_lossy().contains(missing)).collect();
        gone.iter().for_each(|path| fs::remove_file(path).unwrap());
        check_refused(&dir, "raft directory DIR/raft is damaged");
    }
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("raft/db")).unwrap();
    check_refused(&dir, "raft directory DIR/raft is damaged");
}

#[test]
fn another_format_is_refused() {
    let dir = TempDir::new().unwrap();
    open(&dir, 1).unwrap().write(|batch| batch.put(KEY_FORMAT, &[2])).unwrap();
    check_refused(&dir, "raft directory DIR/raft has format 2, this program reads 1");
}

#[test]
fn a_flipped_bit_before_the_end_is_damage_and_a_torn_end_is_not() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir, 1).unwrap();
    for index in 0..100 {
        db.write(|batch| batch.put_entry(index, &[7; 100])).unwrap();
    }
    db.sync().unwrap();
    drop(db);
    let logs = files(&dir, ".log");
    let wal = logs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let whole = fs::read(wal).unwrap();
    assert!(whole.len() > 10_000);

    fs::write(wal, &whole[..whole.len() - 5]).unwrap();
    let db = open(&dir, 1).unwrap();
    assert_eq!(db.last_entry().unwrap().unwrap().0, 98, "the torn record was never acknowledged");
    drop(db);

    // Recovery wrote what it read to a file, so the damage goes to a copy of its own.
    let dir = TempDir::new().unwrap();
    let db = open(&dir, 1).unwrap();
    for index in 0..100 {
        db.write(|batch| batch.put_entry(index, &[7; 100])).unwrap();
    }
    db.sync().unwrap();
    drop(db);
    let logs = files(&dir, ".log");
    let wal = logs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut flipped = fs::read(wal).unwrap();
    flipped[5000] ^= 1;
    fs::write(wal, flipped).unwrap();
    check_refused(&dir, "raft directory DIR/raft is damaged");
}

#[test]
fn ranges_of_entries_go_whole() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir, 1).unwrap();
    db.write(|batch| (0..300).for_each(|index| batch.put_entry(index, b"x"))).unwrap();
    let indices = |start| db.entries(start).map(|item| item.unwrap().0).collect::<Vec<_>>();
    db.write(|batch| batch.remove_entries_up_to(255)).unwrap();
    assert_eq!(indices(0), (256..300).collect::<Vec<_>>());
    db.write(|batch| {
        batch.remove_entries_from(290);
        batch.put_entry(290, b"again");
    })
    .unwrap();
    assert_eq!(indices(280), (280..=290).collect::<Vec<_>>());
    assert_eq!(db.last_entry().unwrap().unwrap(), (290, Box::from(&b"again"[..])));
    db.write(|batch| batch.remove_entries_up_to(u64::MAX)).unwrap();
    assert_eq!(db.last_entry().unwrap(), None);
}
