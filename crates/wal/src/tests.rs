use std::path::Path;
use std::sync::Arc;

use disk::{Disk, SimDisk};
use proptest::prelude::*;

use crate::{Event, Limits, Log};

const FOLDER: &str = "/log";

fn open(disk: &SimDisk, from: u64) -> (Log, Vec<String>) {
    let mut seen = Vec::new();
    let log = Log::open(Arc::new(disk.clone()), Path::new(FOLDER), Limits { segment_bytes: 256 }, from, |e| {
        seen.push(match e {
            Event::Record { position, payload } => format!("{position}:{}", String::from_utf8_lossy(&payload)),
            Event::Damage { first, last, .. } => format!("lost {first}-{last}"),
            Event::TornTail { bytes } => format!("torn {bytes}"),
        });
    })
    .unwrap();
    (log, seen)
}

fn append(log: &mut Log, texts: &[&str]) {
    for t in texts {
        log.append(t.as_bytes(), b"");
    }
    log.write().unwrap();
}

#[test]
fn what_was_synced_comes_back_and_what_was_not_does_not() {
    let disk = SimDisk::new();
    let (mut log, seen) = open(&disk, 1);
    assert!(seen.is_empty());
    append(&mut log, &["a", "b"]);
    assert_eq!(log.sync().unwrap(), 2);
    append(&mut log, &["c"]);
    let (_, seen) = open(&disk.after_power_loss(), 1);
    assert_eq!(seen, ["1:a", "2:b"]);
    let (mut log, seen) = open(&disk, 2);
    assert_eq!(seen, ["2:b", "3:c"], "a killed process loses nothing that it had written");
    append(&mut log, &["d"]);
    assert_eq!(log.last(), 4);
}

#[test]
fn replay_stops_at_a_torn_tail_and_goes_on_behind_it() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, 1);
    append(&mut log, &["a", "b", "c"]);
    log.sync().unwrap();
    let f = disk.open(&Path::new(FOLDER).join(format!("{:020}", 1))).unwrap();
    f.set_len(f.len().unwrap() - 1).unwrap();
    let (mut log, seen) = open(&disk, 1);
    assert_eq!(seen, ["1:a", "2:b", "torn 16"]);
    append(&mut log, &["d"]);
    let (_, seen) = open(&disk, 1);
    assert_eq!(seen, ["1:a", "2:b", "3:d"]);
}

#[test]
fn damage_in_the_middle_is_named_and_what_follows_is_kept() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, 1);
    append(&mut log, &["a", "b", "c", "d"]);
    log.sync().unwrap();
    let f = disk.open(&Path::new(FOLDER).join(format!("{:020}", 1))).unwrap();
    f.write_at(&[0xff], 8 + 17 + 16).unwrap();
    let (mut log, seen) = open(&disk, 1);
    assert_eq!(seen, ["1:a", "lost 2-2", "3:c", "4:d"]);
    let len = f.len().unwrap();
    append(&mut log, &["e"]);
    assert_eq!(f.len().unwrap(), len, "nothing is appended behind damage: it could look like a record's start");
    let (_, seen) = open(&disk, 1);
    assert_eq!(seen, ["1:a", "lost 2-2", "3:c", "4:d", "5:e"]);
}

/// A record as it lies in a segment.
fn record(position: u64, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&len[..], &crate::checksum(position, payload).to_le_bytes(), &position.to_le_bytes(), payload].concat()
}

/// A log of segments as they are found, by name.
fn found(segments: &[(u64, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new();
    for (first, bytes) in segments {
        let file = disk.create(&crate::segment_path(Path::new(FOLDER), *first)).unwrap();
        file.write_at(&[&crate::MAGIC[..], bytes].concat(), 0).unwrap();
    }
    disk
}

/// What is read of the segments, and after one record was appended.
fn check_found(segments: &[(u64, Vec<u8>)], expected: &[&str], appended: &str) {
    let disk = found(segments);
    let (mut log, seen) = open(&disk, 1);
    assert_eq!(seen, expected);
    append(&mut log, &["new"]);
    log.sync().unwrap();
    let (_, again) = open(&disk, 1);
    let kept = expected.iter().filter(|event| !event.starts_with("torn")).copied();
    assert_eq!(again, kept.chain([appended]).collect::<Vec<_>>());
}

#[test]
fn a_damaged_segment_named_beyond_its_records_is_begun_anew() {
    // The bad bytes look like the header of a record that reaches into what is appended.
    let bad = [&40u32.to_le_bytes()[..], &[0; 4], &9u64.to_le_bytes()].concat();
    let segment = [bad, record(3, b"c"), record(4, b"d")].concat();
    check_found(&[(9, segment.clone())], &[], "9:new");
    let lost = ["1:a", "lost 2-8"];
    check_found(&[(1, record(1, b"a")), (9, segment)], &lost, "9:new");
}

#[test]
fn positions_before_the_name_of_a_segment_are_not_given_again() {
    let first = [record(1, b"a"), vec![7; 60]].concat();
    check_found(&[(1, first), (4, vec![])], &["1:a", "lost 2-3"], "4:new");
    check_found(&[(1, record(1, b"a")), (4, record(6, b"f"))], &["1:a", "lost 2-3", "lost 4-5", "6:f"], "7:new");
    check_found(&[(5, vec![])], &[], "5:new");
    check_found(&[(1, vec![]), (2, vec![0; 30])], &["lost 1-1", "torn 30"], "2:new");
}

#[test]
fn segments_are_truncated_and_never_the_last() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, 1);
    for i in 0..40 {
        append(&mut log, &[&format!("payload {i}")]);
    }
    let count = || disk.list(Path::new(FOLDER)).unwrap().len();
    assert!(count() >= 4);
    log.truncate_before(20).unwrap();
    let (log2, seen) = open(&disk, 20);
    assert_eq!(seen.first().unwrap(), "20:payload 19");
    assert!(log2.first() <= 20);
    assert!(log2.first() > 1);
    log.truncate_before(u64::MAX).unwrap();
    assert_eq!(count(), 1);
}

#[test]
fn a_full_disk_takes_the_records_back() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, 1);
    append(&mut log, &["a"]);
    disk.set_capacity(Some(disk.used_bytes() + 10));
    log.append(b"b", b"");
    assert!(log.write().unwrap_err().is_full_disk());
    assert_eq!(log.last(), 1);
    disk.set_capacity(None);
    append(&mut log, &["c"]);
    let (_, seen) = open(&disk, 1);
    assert_eq!(seen, ["1:a", "2:c"]);
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, 1);
    append(&mut log, &["a"]);
    disk.fail_after_syncs(0);
    assert!(log.sync().is_err());
    log.append(b"b", b"");
    assert!(matches!(log.write(), Err(crate::Error::Poisoned)));
}

proptest! {
    /// Against the naive model "a list of texts": whatever was synced before power loss is read, in order, and nothing that
    /// was never appended is.
    #[test]
    fn power_loss_loses_only_what_was_not_synced(
        steps in proptest::collection::vec((0u8..4, 0usize..60), 1..60),
        cut in any::<u16>(),
    ) {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk, 1);
        let (mut appended, mut durable) = (0usize, 0usize);
        for (what, len) in &steps {
            match what {
                0 | 1 => {
                    appended += 1;
                    log.append(appended.to_string().as_bytes(), "x".repeat(*len).as_bytes());
                }
                2 => log.write().unwrap(),
                _ => {
                    log.write().unwrap();
                    durable = usize::try_from(log.sync().unwrap()).unwrap();
                }
            }
        }
        let after = disk.after_power_loss();
        if let Some(last) = after.list(Path::new(FOLDER)).unwrap().last() {
            // Some of the unsynced bytes may have reached the disk all the same.
            let torn = disk.open(last).unwrap();
            let f = after.open(last).unwrap();
            let (kept, all) = (f.len().unwrap(), torn.len().unwrap());
            let extra = usize::try_from(u64::from(cut) % (all - kept + 1)).unwrap();
            f.write_at(&torn.bytes(kept, extra).unwrap(), kept).unwrap();
        }
        let (_, seen) = open(&after, 1);
        let records: Vec<_> = seen.iter().filter(|s| !s.starts_with("torn")).collect();
        prop_assert!(records.len() >= durable, "{durable} synced, {} read", records.len());
        for (i, r) in records.iter().enumerate() {
            let begins = format!("{0}:{0}", i + 1);
            prop_assert!(r.starts_with(&begins), "{} begins with {}", r, begins);
        }
    }
}
