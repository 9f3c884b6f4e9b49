//! Entry points for fuzzing: what a log and a snapshot hold of an ingester.

use std::path::Path;
use std::sync::Arc;

use disk::{Disk, SimDisk};

use crate::control::{Change, Control};
use crate::recover;

/// The payload of a record that is no batch; one that can be read is written back as the same bytes.
pub fn fuzz_change(bytes: &[u8]) {
    let Some(change) = Change::decode(bytes) else { return };
    assert_eq!(change.encode(), bytes, "a change has one encoding");
    let mut control = Control::default();
    control.apply(&change);
    assert_eq!(Control::decode(&control.encode()), Some(control));
}

/// The state in a snapshot.
pub fn fuzz_control(bytes: &[u8]) {
    let Some(control) = Control::decode(bytes) else { return };
    assert_eq!(Control::decode(&control.encode()), Some(control));
}

/// Payloads of records, each behind its length in two bytes (little-endian): a log with them is recovered, and so is the
/// snapshot of what that gave.
pub fn fuzz_replay(bytes: &[u8]) {
    let (disk, folder) = (SimDisk::new(), Path::new("/data"));
    let log_folder = folder.join("log");
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let log = wal::Log::open(shared.clone(), &log_folder, wal::Limits::default(), 1, drop);
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
    let limits = head::Limits { partition_count: 4, ..head::Limits::default() };
    let open = || recover::open(shared.clone(), folder, limits, wal::Limits::default()).expect("the disk works");
    let opened = open();
    assert_eq!((opened.recovery.records, opened.recovery.last), (records, records));
    let control = opened.control.clone();
    let tenants = opened.head.tenants();
    opened.head.write_snapshot(|| control.encode()).expect("the disk works");
    drop(opened);
    let again = open();
    assert_eq!(again.recovery.damaged_snapshots, [] as [String; 0]);
    assert_eq!((again.recovery.snapshot, again.recovery.records), (records, 0));
    assert_eq!((again.control, again.head.tenants()), (control, tenants));
}
