//! Entry points for fuzzing: what a log and a snapshot hold of an ingester.

mod seeds;

use std::path::Path;
use std::sync::Arc;

use disk::{Disk, SimDisk};

use crate::config::Config;
use crate::ingester::OpenError;
use crate::{records, recover};

pub use seeds::{changes, states};

/// The payload of a record; one that can be read is written back as the same bytes.
pub fn fuzz_change(bytes: &[u8]) {
    let Ok(record) = records::decode(bytes) else { return };
    let (front, rest) = records::encode(&record);
    assert_eq!([&front[..], rest.map_or(&[], |rest| &rest[..])].concat(), bytes, "a record has one encoding");
}

/// The state in a snapshot.
pub fn fuzz_control(bytes: &[u8]) {
    let Ok(state) = records::decode_state(bytes) else { return };
    assert_eq!(records::encode_state(&state), bytes, "a state has one encoding");
}

/// Payloads of records, each behind its length in two bytes (little-endian): a log with them is recovered, and so is the
/// snapshot of what that gave.
pub fn fuzz_replay(bytes: &[u8]) {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let config = Config { disk: disk.clone(), partition_count: 4, ..Config::new(Path::new("/data").to_owned()) };
    let log = wal::Log::open(disk, &config.folder.join("log"), wal::Limits::default(), 1, drop);
    let mut log = log.expect("the disk works");
    let mut rest = bytes;
    let mut records = 0;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (payload, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes(*len))));
        log.append(payload, &[]);
        records += 1;
        rest = after;
    }
    log.write().and_then(|()| log.sync()).expect("the disk works");
    drop(log);
    let open = || match recover::open(&config, replication::replica::Limits::default()) {
        Ok(opened) => Some(opened),
        // Records of other versions and groups, and groups of several members, which do not put up with damage.
        Err(OpenError::Version(_) | OpenError::OtherGroup { .. } | OpenError::Damaged(_)) => None,
        Err(e) => panic!("the disk works: {e}"),
    };
    let Some(opened) = open() else { return };
    assert_eq!((opened.recovery.records, opened.recovery.last), (records, records));
    let state = opened.core.durable().clone();
    let tenants = opened.head.tenants();
    opened.head.write_snapshot(|| records::encode_state(&state)).expect("the disk works");
    drop(opened);
    let Some(again) = open() else { return };
    assert_eq!(again.recovery.damaged_snapshots, [] as [String; 0]);
    assert_eq!(again.recovery.snapshot, records);
    assert_eq!((again.core.durable(), again.head.tenants()), (&state, tenants));
}
